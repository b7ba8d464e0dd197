# SPDX-License-Identifier: LGPL-2.1-or-later
"""labels.py - everyday words for what is in a photo, and the words of a text that speak of them. It needs no torch.

Two tables in models/words say what labels there are:

    label-words.tsv      label<TAB>how a sentence names it (`a dog`), empty if the label alone makes no sentence
                         (`sitting`)<TAB>the words and phrases that speak of it
    imagenet-words.tsv   class<TAB>name in ImageNet<TAB>label, empty where the class has no everyday word

The decoder of a model with labels reads the names of the likely ones before the begin token, the most likely first.
"""

import hashlib
import os
import re

from models.data import DataError

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "words")
MOST, JOINER = 8, " "
# COCO's categories that have another name here
COCO = {"mouse": "computer mouse", "remote": "remote control", "sports ball": "ball", "hair drier": "hair dryer"}


def table(path, columns):
    """The lines of a tsv as lists of strings. DataError where a line has another number of columns."""
    try:
        with open(path, encoding="utf-8") as f:
            rows = [line.rstrip("\n").split("\t") for line in f]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    for number, row in enumerate(rows, 1):
        if len(row) != columns:
            raise DataError(f"{path}, line {number}: wanted {columns} columns, found {len(row)}")
    return rows


def listed(name):
    """The labels of a list in models/words, one per line."""
    with open(os.path.join(FOLDER, name), encoding="utf-8") as f:
        return {line.strip() for line in f if line.strip()}


def split(text):
    """The words of a text, lower case, without punctuation."""
    return re.findall(r"[a-z0-9']+", text.lower())


class Words:
    """Labels and the words that speak of them: `names` and `phrases` in the same order; `at`: name -> place."""

    def __init__(self, path=None):
        rows = table(path or os.path.join(FOLDER, "label-words.tsv"), 3)
        self.names = [name for name, _, _ in rows]
        self.phrases = [phrase for _, phrase, _ in rows]
        self.spoken = [[w.strip() for w in words.split(",")] for _, _, words in rows]
        self.at = {name: i for i, name in enumerate(self.names)}
        self.of = {}  # words of a phrase -> the labels it may speak of
        for i, words in enumerate(self.spoken):
            for w in words:
                self.of.setdefault(tuple(split(w)), []).append(i)
        self.know(range(len(self.names)))

    def know(self, places):
        """Forgets the words of all labels but these, for a head that cannot tell the others."""
        known = set(places)
        self.of = {w: [i for i in found if i in known] for w, found in self.of.items() if known.intersection(found)}
        self.longest = max(map(len, self.of))
        self.table = [[" ".join(phrase), found] for phrase, found in self.of.items()]
        return self

    def mentions(self, text):
        """[(phrase as a tuple of words, labels)] in the order of the text; the longest phrase counts, so `hot dog`
        does not speak of a dog."""
        words, found, i = split(text), [], 0
        while i < len(words):
            for n in range(min(self.longest, len(words) - i), 0, -1):
                labels = self.of.get(tuple(words[i : i + n]))
                if labels:
                    found.append((tuple(words[i : i + n]), labels))
                    i += n
                    break
            else:
                i += 1
        return found

    def named(self, text):
        """The labels that a text may speak of, each once, in its order."""
        return list(dict.fromkeys(label for _, labels in self.mentions(text) for label in labels))

    def confirmed(self, text, probabilities):
        """The largest probability of a label that a text speaks of, among labels with a phrase; 0 if it names none.

        A caption that names nothing the head believes in is better not shown.
        """
        return max((float(probabilities[i]) for i in self.named(text) if self.phrases[i]), default=0.0)

    def denied(self, text, probabilities):
        """The probability of the unlikeliest thing that a word of a text speaks of, 1 if it names none."""
        things = ([i for i in found if self.phrases[i]] for _, found in self.mentions(text))
        return min((max(float(probabilities[i]) for i in found) for found in things if found), default=1.0)


def classes(words, path=None):
    """For each class of ImageNet the place of its label in words.names, -1 where it has none."""
    rows = table(path or os.path.join(FOLDER, "imagenet-words.tsv"), 3)
    if [int(row[0]) for row in rows] != list(range(len(rows))):
        raise DataError(f"{path or 'imagenet-words.tsv'}: its classes must be 0, 1, 2 and so on")
    return [words.at[label] if label else -1 for _, _, label in rows]


def chosen(probabilities, thresholds, most=MOST):
    """Places of the labels that reach their threshold, most likely first, at most so many."""
    likely = [i for i, (p, t) in enumerate(zip(probabilities, thresholds)) if p >= t]
    return sorted(likely, key=lambda i: (-probabilities[i], i))[:most]


def prefix(names, joiner=JOINER):
    """What the decoder reads before the begin token, as text."""
    return joiner.join(names)


def describe(words, of, things, thresholds, hold, unsure=(0.5, 0.5), deny=0.0):
    """What a model file's config says of its labels. of: the label of each class of ImageNet; things: those of the
    learned rows; hold: the defaults of search.Holder; unsure: how likely one thing that a caption names must be, and
    how likely a label must be that speaks in place of a caption; deny: how likely all things must be that it names."""
    return {
        "names": words.names,
        "phrases": words.phrases,
        "classes": list(of),
        "things": list(things),
        "thresholds": [round(float(t), 3) for t in thresholds],
        "most": MOST,
        "joiner": JOINER,
        "words": words.table,
        "hold": dict(zip(("weight", "floor", "require", "sure"), hold)),
        "cautious": "a photo of ",
        "unsure": {"confirm": unsure[0], "deny": deny, "least": unsure[1]},
    }


def redundant(name, others):
    """Whether a label adds nothing to others: a bottle to a water bottle, a person to a man."""
    kin = {
        "person": {"man", "woman", "boy", "girl", "child", "baby", "group of people"},
        "child": {"boy", "girl", "baby"},
    }
    return any(other.endswith(" " + name) or other in kin.get(name, ()) for other in others)


def cautious(described, probabilities, least, most=2):
    """A sentence of labels alone, `a photo of a clock and a building`: the likeliest that have a phrase and at least
    this probability. Empty if there is none."""
    able = [i for i, phrase in enumerate(described["phrases"]) if phrase and probabilities[i] >= least]
    able.sort(key=lambda i: (-probabilities[i], i))
    names = [described["names"][i] for i in able[: 2 * most]]
    said = [described["phrases"][i] for i, name in zip(able, names) if not redundant(name, names)][:most]
    if not said:
        return ""
    return described["cautious"] + (", ".join(said[:-1]) + " and " + said[-1] if len(said) > 1 else said[0])


def held_out(name, share=18):
    """Whether a photo is kept from all training: one in `share`, by a hash of its id."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") % share == 0
