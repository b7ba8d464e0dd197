# SPDX-License-Identifier: LGPL-2.1-or-later
"""rewards.py - CIDEr-D and BLEU for training, fast enough to score each drawn sentence. evaluate.py reports the scores
of pycocoevalcap; these are for rewards and for choosing between epochs.

CIDEr-D is that of Vedantam et al. (2015): n-grams of 1 to 4 words weighted by tf * idf, clipped, with a penalty for
another length (sigma 6), times ten. Sentences are lists of words. As is usual for rewards the end of a sentence counts
as a word, else the best sentences would stop at `in a`.
"""

import math
from collections import Counter, defaultdict

END = "</s>"
SIGMA = 6.0


def words(text):
    return text.replace(",", " ").replace(".", " ").split()


def grams(sentence):
    """Counter of all n-grams of 1 to 4 words"""
    return Counter(tuple(sentence[i : i + n]) for n in range(1, 5) for i in range(len(sentence) - n + 1))


class Cider:
    """references: id -> list of texts; idf over these photos (or over those of `frequencies_of`)."""

    def __init__(self, references, end=True, frequencies_of=None):
        self.end = [END] if end else []
        self.counts = {name: [grams(words(t) + self.end) for t in texts] for name, texts in references.items()}
        of = self if frequencies_of is None else frequencies_of
        if frequencies_of is None:
            self.df, self.n = defaultdict(int), max(len(references), 2)
            for counts in self.counts.values():
                for gram in set().union(*counts):
                    self.df[gram] += 1
        self.df, self.log_n = of.df, math.log(of.n if of is not self else self.n)
        self.vectors = {name: [self.vector(c) for c in counts] for name, counts in self.counts.items()}

    def vector(self, counts):
        """(gram -> weight, norms for n = 1..4, words)"""
        weights, norms = {}, [0.0] * 4
        length = 0
        for gram, count in counts.items():
            df = self.df.get(gram, 0)
            w = count * (self.log_n - math.log(df if df > 1 else 1))
            weights[gram] = w
            norms[len(gram) - 1] += w * w
            if len(gram) == 1:
                length += count
        return weights, [math.sqrt(v) for v in norms], length

    def score(self, name, counts):
        """counts: grams() of the sentence (with END where the references have it)"""
        weights, norms, length = self.vector(counts)
        total = 0.0
        for ref, ref_norms, ref_length in self.vectors[name]:
            dot = [0.0] * 4
            for gram, w in weights.items():
                r = ref.get(gram)
                if r is not None:
                    dot[len(gram) - 1] += min(w, r) * r
            near = math.exp(-((length - ref_length) ** 2) / (2 * SIGMA**2))
            total += near * sum(d / (a * b) for d, a, b in zip(dot, norms, ref_norms) if a > 0 and b > 0)
        return 10 * total / 4 / len(self.vectors[name])


class Reward:
    """CIDEr-D + bleu * sentence BLEU-4 (add-one smoothed) of texts about photos of the training set."""

    def __init__(self, references, bleu):
        self.cider, self.bleu = Cider(references), bleu
        self.most = {}
        for name, counts in self.cider.counts.items():
            most = Counter()
            for c in counts:
                most |= c
            self.most[name] = (most, [sum(n for g, n in c.items() if len(g) == 1) for c in counts])
        self.known = {}

    def __call__(self, name, text):
        key = (name, text)
        if key not in self.known:
            if len(self.known) > 200000:
                self.known.clear()
            counts = grams(words(text) + [END])
            value = self.cider.score(name, counts)
            if self.bleu:
                value += self.bleu * sentence_bleu(counts, *self.most[name])
            self.known[key] = value
        return self.known[key]


class Truthful:
    """A Reward less `price` for each thing that a text names and that is not there. annotations: id -> things; photos
    without them are judged by their captions alone if `trusted` says that those are enough, else not at all."""

    def __init__(self, reward, references, annotations, price, trusted=()):
        from models.eval import truth

        self.reward, self.price, self.words, self.things_of = reward, price, truth.read_words(), truth.things
        self.known = {
            name: truth.known(annotations.get(name, ()), references[name], self.words)
            for name in references
            if name in annotations or name in trusted
        }

    def absent(self, name, text):
        """How many things the text names that are not there."""
        return len(self.things_of(text, self.words) - self.known[name]) if name in self.known else 0

    def __call__(self, name, text):
        return self.reward(name, text) - self.price * self.absent(name, text)


def clipped(counts, most):
    """matches and totals for n = 1..4"""
    hit, total = [0] * 4, [0] * 4
    for gram, count in counts.items():
        total[len(gram) - 1] += count
        hit[len(gram) - 1] += min(count, most.get(gram, 0))
    return hit, total


def closest(length, lengths):
    return min(lengths, key=lambda r: (abs(r - length), r))


def sentence_bleu(counts, most, lengths):
    hit, total = clipped(counts, most)
    length = total[0]
    if not length or not hit[0]:
        return 0.0
    logs = sum(math.log((h + (n > 0)) / (t + (n > 0))) for n, (h, t) in enumerate(zip(hit, total)))
    return min(1.0, math.exp(1 - closest(length, lengths) / length)) * math.exp(logs / 4)


def corpus(references, texts, cider=None):
    """{"bleu4", "cider", "words", "distinct"} of texts: id -> text."""
    cider = cider or Cider({name: references[name] for name in texts}, end=False)
    hits, totals, ours, theirs, value = [0] * 4, [0] * 4, 0, 0, 0.0
    for name, text in texts.items():
        counts = grams(words(text))
        most = Counter()
        for c in cider.counts[name]:
            most |= c
        hit, total = clipped(counts, most)
        hits, totals = [a + b for a, b in zip(hits, hit)], [a + b for a, b in zip(totals, total)]
        ours += total[0]
        theirs += closest(total[0], [sum(n for g, n in c.items() if len(g) == 1) for c in cider.counts[name]])
        value += cider.score(name, counts)
    bleu = 0.0
    if all(hits):
        bleu = math.exp(sum(math.log(h / t) for h, t in zip(hits, totals)) / 4) * min(1.0, math.exp(1 - theirs / ours))
    return {
        "bleu4": bleu,
        "cider": value / len(texts),
        "words": ours / len(texts),
        "distinct": len({w for t in texts.values() for w in words(t)}),
    }
