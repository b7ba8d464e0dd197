# SPDX-License-Identifier: LGPL-2.1-or-later
"""truth.py - how often a caption names something that is not in the photo (after CHAIR, Rohrbach et al. 2018).

It counts words for COCO's 80 things that neither the photo's annotations nor any of its human captions name. The words
are in truth-words.tsv, where a hyphen joins two words.
"""

import os
import re

from models import labels

KIN = {
    "tie": {"person"},
    "tv": {"laptop"},
    "laptop": {"tv"},
    "truck": {"car"},
    "car": {"truck"},
    "bus": {"truck"},
    "cup": {"bottle", "wine glass"},
    "sandwich": {"hot dog"},
    "teddy bear": {"bear"},
    "couch": {"chair", "bed"},
    "skis": {"snowboard"},
}  # things that people also call by the name of another


def read_words(path=None):
    """word -> thing"""
    rows = labels.table(path or os.path.join(labels.FOLDER, "truth-words.tsv"), 2)
    return {word: thing for thing, words in rows for word in words.split(", ")}


def read_annotations(path):
    """id -> set of things, of lines `id<TAB>thing,thing`"""
    return {name: set(found.split(",")) for name, found in labels.table(path, 2)}


def things(text, words):
    """The set of things that a text names."""
    found, tokens, i = set(), re.findall(r"[a-z]+", text.lower()), 0
    while i < len(tokens):
        two = "-".join(tokens[i : i + 2])
        if two in words:
            found.add(words[two])
            i += 2
            continue
        if tokens[i] in words:
            found.add(words[tokens[i]])
        i += 1
    return found


def known(annotated, references, words):
    """What a caption may name: the photo's annotations, what its captions name, and things of the same name."""
    fine = set(annotated).union(*(things(t, words) for t in references))
    return fine.union(*(KIN.get(thing, ()) for thing in fine))


def measure(captions, annotations, references, words):
    """captions: id -> text; annotations: id -> things; references: id -> texts. Photos without annotations do not
    count. Returns {"photos": how many count, "false": share of captions that name something absent, "right": share
    that name something present and nothing absent, "named": things named, "wrong": those of them that are absent,
    "each": id -> the absent things it names}"""
    each, named, right = {}, 0, 0
    for name, text in captions.items():
        if name not in annotations:
            continue
        said = things(text, words)
        absent = said - known(annotations[name], references.get(name, ()), words)
        each[name] = absent
        named += len(said)
        right += bool(said) and not absent
    count = max(1, len(each))
    return {
        "photos": len(each),
        "false": sum(map(bool, each.values())) / count,
        "right": right / count,
        "named": named,
        "wrong": sum(map(len, each.values())),
        "each": each,
    }
