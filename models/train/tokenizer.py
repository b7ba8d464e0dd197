#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""tokenizer.py - makes a tokenizer from captions: byte-level BPE, lower case, three special tokens.

    tokenizer.py --captions TSV --vocab 4096 --out tokenizer.json
    tokenizer.py --from MODEL.safetensors --vocab 2048 --out tokenizer.json     the first 2048 of a model's own tokens

Tokens are ordered as they were merged, so the first N of them form a tokenizer. A smaller model with such a tokenizer
can start from the first rows of a larger model's tables.
"""

import argparse
import json
import sys
from pathlib import Path

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import data

SPECIAL = ["<pad>", "<bos>", "<eos>"]
PAD, BOS, EOS = range(3)


def tidy(caption):
    """Lower case, one space between words, none before a comma, no full stop at the end."""
    text = " ".join(caption.lower().replace('"', " ").split())
    while text.endswith((".", " ", "!", "`")):
        text = text[:-1]
    return text.replace(" ,", ",").replace(" 's", "'s").replace(" .", ".")


def tidied(captions):
    """Tidies the captions of {id: captions}. Empty captions are left out, and photos that have no others."""
    out = {name: [t for t in map(tidy, texts) if t] for name, texts in captions.items()}
    return {name: texts for name, texts in out.items() if texts}


def lines(path):
    """The tidied lines of a file; of a tsv, its last column."""
    with open(path, encoding="utf-8") as f:
        return [tidy(line.rstrip("\n").rpartition("\t")[2]) for line in f]


def train(captions, size):
    """Trains a tokenizer and returns its JSON. captions: tidied texts"""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(
        captions,
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=SPECIAL,
            show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        ),
    )
    return t.to_str()


def shorten(text, size):
    """A tokenizer (JSON) reduced to its first `size` tokens and the merges that make them"""
    t = json.loads(text)
    vocab = t["model"]["vocab"]
    kept = {token: i for token, i in vocab.items() if i < size}
    merges = [m.split(" ") if isinstance(m, str) else m for m in t["model"]["merges"]]
    t["model"]["merges"] = [m for m in merges if m[0] in kept and m[1] in kept and m[0] + m[1] in kept]
    t["model"]["vocab"] = kept
    if len(kept) != size or any(a["id"] >= size for a in t["added_tokens"]):
        raise data.DataError(
            f"the first {size} of the tokenizer's {len(vocab)} tokens are not a tokenizer of their own"
        )
    return json.dumps(t, ensure_ascii=False)


class Text:
    """Converts captions to ids and back, with the tokenizers library."""

    def __init__(self, text):
        from tokenizers import Tokenizer

        self.json, self.tokenizer = text, Tokenizer.from_str(text)

    def encode(self, caption):
        """The ids of a caption, with bos before and eos after them"""
        return [BOS] + self.tokenizer.encode(caption, add_special_tokens=False).ids + [EOS]

    def decode(self, ids):
        """The text of the ids before the first eos"""
        ids = list(ids)
        return self.tokenizer.decode(ids[: ids.index(EOS)] if EOS in ids else ids).strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--captions", help="tsv with lines of id<TAB>caption")
    source.add_argument("--from", dest="model", help="model file whose tokenizer is shortened")
    parser.add_argument("--vocab", type=int, default=4096, help="number of tokens (4096)")
    parser.add_argument("--out", required=True, help="the tokenizer.json to write")
    options = parser.parse_args()
    try:
        if options.model:
            from models.modelfile import read_raw

            text = shorten(read_raw(options.model)[1]["tokenizer"], options.vocab)
        else:
            captions = tidied(data.read_captions(options.captions))
            text = train((t for texts in captions.values() for t in texts), options.vocab)
        with open(options.out, "w", encoding="utf-8") as f:
            f.write(text)
    except (data.DataError, OSError) as error:
        sys.exit(f"tokenizer.py: {error}")
    print(f"{options.out}: {len(json.loads(text)['model']['vocab'])} tokens")


if __name__ == "__main__":
    main()
