# SPDX-License-Identifier: LGPL-2.1-or-later
"""search.py - captions of many pictures at a time: greedy and beam search.

palme.py is the reference: one picture, no cache. These searches give the same captions many times faster;
tests/python/test_evaluate.py compares the two. They follow the settings of the model file: length_penalty,
no_repeat_ngram, min_length.
"""

import math

import torch

from models.decoder import CachedDecoder


def forbidden(text, ngram):
    """The tokens that would complete an n-gram that the text already has."""
    if not 0 < ngram <= len(text):
        return []
    begin = text[len(text) - ngram + 1 :]
    return [text[i + ngram - 1] for i in range(len(text) - ngram + 1) if text[i : i + ngram - 1] == begin]


def forbid(scores, texts, config, first_too):
    """Sets to -inf what may not follow texts[r] in scores[r, V]. first_too: no sentence begins with its end."""
    for row, text in zip(scores, texts):
        row[forbidden(text, config.no_repeat_ngram)] = -math.inf
        if config.eos_token >= 0 and (len(text) + 1 < config.min_length or (first_too and not text)):
            row[config.eos_token] = -math.inf


class Held:
    """What a sentence about one picture pays, in nats: for words whose labels are unlikely, and for ending without a
    word of a label that is sure. Words are sequences of tokens; the longest that ends with a token counts."""

    def __init__(self, costs, wanted=()):
        """costs: {tuple of ids: nats}, those of the words that cost nothing included where they end with another's;
        wanted: [(nats, list of tuples of ids)], the words of each label that must not be missing"""
        single = [(ids[0], cost) for ids, cost in costs.items() if len(ids) == 1 and cost]
        self.tokens = torch.tensor([t for t, _ in single], dtype=torch.long)
        self.nats = torch.tensor([c for _, c in single], dtype=torch.float64)
        self.single, self.longer = dict(single), {}
        for ids, cost in costs.items():
            if len(ids) > 1:
                self.longer.setdefault(ids[:-1], []).append((ids[-1], cost))
        self.longest = max(map(len, self.longer), default=0)
        self.wanted = wanted

    def apply(self, row, text, eos):
        """Takes from the scores row [V] what each token would cost behind `text`."""
        row[self.tokens] -= self.nats.to(row.dtype)
        settled = set()
        for n in range(min(self.longest, len(text)), 0, -1):
            for token, cost in self.longer.get(tuple(text[-n:]), ()):
                if token not in settled:  # by a longer word
                    settled.add(token)
                    row[token] += self.single.get(token, 0.0) - cost
        for cost, words in self.wanted:
            if not any(contains(text, ids) for ids in words):
                row[eos] -= cost


class Holder:
    """Makes a Held from the labels' probabilities of a picture. A word costs `weight` nats for each nat that the
    likeliest label it may speak of lies below `floor`; a sentence that names no word of a label above `sure` costs
    `require` nats.

    table: [[word or phrase, places of its labels]]; encode: text -> ids; phrases: those of the labels, which are never
    missed where they are empty"""

    def __init__(self, table, encode, phrases, weight, floor, require=0.0, sure=0.6):
        self.able = [bool(phrase) for phrase in phrases]
        self.weight, self.floor, self.require, self.sure = weight, floor, require, sure
        self.table = [(tuple(encode(word)), places) for word, places in table]

    def __call__(self, probabilities):
        costs, wanted = {}, {}
        for ids, places in self.table:
            p = max(float(probabilities[i]) for i in places)
            costs[ids] = self.weight * max(0.0, math.log(self.floor) - math.log(max(p, 1e-4)))
            if self.require:
                for i in places:
                    if probabilities[i] >= self.sure and self.able[i]:
                        wanted.setdefault(i, []).append(ids)
        return Held(costs, [(self.require, words) for words in wanted.values()])


def contains(text, ids):
    """Whether the sequence `ids` stands in the list `text`."""
    return any(tuple(text[i : i + len(ids)]) == ids for i in range(len(text) - len(ids) + 1))


def start(model, context, prompt, beams):
    """A decoder that has read the prompt, and the logits of what follows. prompt: ids, or as many of them for each
    picture as for the others."""
    decoder = CachedDecoder(model, context, beams)
    prompts = prompt if isinstance(prompt[0], list) else [prompt] * context.shape[0]
    for tokens in zip(*prompts):
        logits = decoder.feed(torch.tensor(tokens, device=context.device).repeat_interleave(beams))
    return decoder, logits


def room(model, context, prompt, steps):
    """How many tokens may be generated: the last one is never fed."""
    prefix = 0 if model.config.cross_attend else context.shape[1]
    prompt = prompt[0] if isinstance(prompt[0], list) else prompt
    most = min(steps, model.config.max_seq_len - prefix - len(prompt) + 1)
    if most < 1:
        raise ValueError(f"a prompt of {len(prompt)} tokens leaves no room for a caption")
    return most


@torch.no_grad()
def greedy(model, context, prompt, steps, held=None):
    """(ids without eos_token, mean log-probability with it) of each picture; prompt: ids, ended by bos_token, or such
    for each picture, all of one length. held: a Held for each picture; what words cost is in the score."""
    c, count = model.config, context.shape[0]
    steps = room(model, context, prompt, steps)
    decoder, logits = start(model, context, prompt, 1)
    alive, texts, sums, ended = list(range(count)), [[] for _ in range(count)], [0.0] * count, set()
    for step in range(steps):
        raw = logits.double().log_softmax(-1).cpu()
        if held is not None:
            for row, p in zip(raw, alive):
                held[p].apply(row, texts[p], c.eos_token)
        allowed = logits.cpu().clone() if held is None else raw.clone()
        forbid(allowed, [texts[p] for p in alive], c, False)
        chosen = allowed.argmax(-1)
        for row, (p, token) in enumerate(zip(alive, chosen.tolist())):
            sums[p] += float(raw[row, token])
            if token == c.eos_token:
                ended.add(p)
            else:
                texts[p].append(token)
        keep = [row for row, p in enumerate(alive) if p not in ended]
        if not keep or step + 1 == steps:
            break
        if len(keep) < len(alive):
            rows = torch.tensor(keep, device=context.device)
            decoder.select(rows, rows)
            alive, chosen = [alive[row] for row in keep], chosen[keep]
        logits = decoder.feed(chosen.to(context.device))
    return [(text, total / (len(text) + (p in ended))) for p, (text, total) in enumerate(zip(texts, sums))]


def best_candidates(scores, count):
    """The `count` largest of each row, largest first, ties by the lower index. (values, indices), both [P, count]"""
    values, indices = scores.topk(count, dim=-1)
    tied = (values[:, 1:] == values[:, :-1]).any(-1) | ((scores >= values[:, -1:]).sum(-1) > count)
    for p in tied.nonzero().flatten().tolist():
        order = scores[p].sort(descending=True, stable=True)
        values[p], indices[p] = order.values[:count], order.indices[:count]
    return values.tolist(), indices.tolist()


class Beam:
    """One picture's search: open sentences as (score, text), and the best finished one."""

    def __init__(self, beams):
        self.opened, self.beams = [(0.0, [])], beams
        self.best, self.value, self.score = None, -math.inf, 0.0

    def step(self, values, indices, vocabulary, eos, alpha, steps):
        """Takes the candidates of one step; (parent beam of each open sentence, whether it is over)"""
        following, parents, length = [], [], len(self.opened[0][1]) + 1
        for score, index in zip(values, indices):
            beam, token = divmod(index, vocabulary)
            if score == -math.inf:
                continue
            text = self.opened[beam][1]
            if token == eos:
                if score / length**alpha > self.value:
                    self.best, self.value, self.score = text, score / length**alpha, score / length
            elif len(following) < self.beams:
                following.append((score, text + [token]))
                parents.append(beam)
        over = not following or length == steps or self.value >= following[0][0] / steps**alpha
        self.opened = following or self.opened
        return parents, over

    def result(self):
        if self.best is not None:
            return self.best, self.score
        score, text = self.opened[0]
        return text, score / max(len(text), 1)


@torch.no_grad()
def beam(model, context, prompt, beams, steps, alpha=None, held=None):
    """As greedy(), by a beam search for each picture."""
    c, count = model.config, context.shape[0]
    alpha = c.length_penalty if alpha is None else alpha
    steps = room(model, context, prompt, steps)
    decoder, logits = start(model, context, prompt, beams)
    searches, alive = [Beam(beams) for _ in range(count)], list(range(count))
    while alive:
        raw = logits.double().log_softmax(-1).cpu().unflatten(0, (-1, beams))
        for p, rows in zip(alive, raw):
            opened = searches[p].opened
            forbid(rows, [text for _, text in opened], c, True)
            for b in range(beams):
                if held is not None and b < len(opened):
                    held[p].apply(rows[b], opened[b][1], c.eos_token)
                rows[b] += opened[b][0] if b < len(opened) else -math.inf
        found = best_candidates(raw.flatten(1), 2 * beams)
        rows, tokens, kept, left = [], [], [], []
        for at, (p, values, indices) in enumerate(zip(alive, *found)):
            parents, over = searches[p].step(values, indices, raw.shape[-1], c.eos_token, alpha, steps)
            if over:
                continue
            fill = beams - len(parents)  # rows that no open sentence needs; their scores do not count
            rows += [at * beams + parent for parent in parents + [parents[0]] * fill]
            tokens += [text[-1] for _, text in searches[p].opened] + [0] * fill
            kept.append(at)
            left.append(p)
        if left:
            gone = len(left) < len(alive)
            where = context.device
            decoder.select(torch.tensor(rows, device=where), torch.tensor(kept, device=where) if gone else None)
            logits = decoder.feed(torch.tensor(tokens, device=where))
        alive = left
    return [search.result() for search in searches]


def grouped(model, context, prompts, beams, steps, alpha=None, held=None, at_once=25):
    """As beam() or greedy(), of any number of pictures with a prompt of their own each: those with prompts of one
    length are searched together. In the order of the pictures."""
    out, groups = [None] * len(prompts), {}
    for i, prompt in enumerate(prompts):
        groups.setdefault(len(prompt), []).append(i)
    for some in groups.values():
        for begin in range(0, len(some), at_once):
            part = some[begin : begin + at_once]
            own, costs = [prompts[i] for i in part], None if held is None else [held[i] for i in part]
            found = (
                greedy(model, context[part], own, steps, costs)
                if beams == 1
                else beam(model, context[part], own, beams, steps, alpha, costs)
            )
            for i, result in zip(part, found):
                out[i] = result
    return out
