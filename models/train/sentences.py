#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""sentences.py - chooses sentences for a model that learns without photos: those whose things a head can tell.

    sentences.py --text coco/text.txt --head HEADS/head.safetensors --out sentences.txt

A sentence must speak of at least one label of the head. If it names a thing of truth-words.tsv (people, dogs, cars and
so on), a label must tell of it: else the decoder would learn to name things of which it cannot know.
"""

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import data
from models.eval import truth
from models.train import mixture, tokenizer


def told(text, words, things):
    """Whether labels of `words` tell of every thing that a text names, and of one at least. things: word -> thing"""
    phrases = [" ".join(phrase) for phrase, _ in words.mentions(text)]
    known = set().union(*(truth.things(phrase, things) for phrase in phrases))
    return bool(phrases) and truth.things(text, things) <= known


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--text", nargs="+", required=True, help="files with one sentence per line; of a tsv, the last column"
    )
    parser.add_argument("--head", required=True, help="head.safetensors of heads.py")
    parser.add_argument("--words", type=int, nargs=2, default=(4, 16), help="words of a sentence, from and to (4 16)")
    parser.add_argument("--out", required=True, help="file to write")
    o = parser.parse_args(arguments)
    try:
        words, things = mixture.words_of_head(o.head), truth.read_words()
        lines = [text for path in o.text for text in tokenizer.lines(path)]
        kept = [t for t in lines if o.words[0] <= len(t.split()) <= o.words[1] and told(t, words, things)]
        if not kept:
            raise data.DataError(f"{', '.join(o.text)}: no sentence whose things the head can tell")
        with open(o.out, "w", encoding="utf-8") as f:
            f.writelines(text + "\n" for text in kept)
    except (data.DataError, OSError) as error:
        sys.exit(f"sentences.py: {error}")
    print(f"{o.out}: {len(kept)} of {len(lines)} sentences")


if __name__ == "__main__":
    main()
