#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""extend_tokenizer.py - adds tokens to a model's vocabulary.

    extend_tokenizer.py MODEL.safetensors --text text.txt --words models/words/label-words.tsv --add 1500 \\
                        --out wider.safetensors

The model's own tokens keep their numbers. Merging of byte pairs goes on from where its tokenizer stopped, the most
frequent pairs of the texts first, so words that were one token stay one. The embedding of a new token is the mean of
its pieces' embeddings; its logits are those of its first piece with a bias lower by 1. So the model's captions hardly
change, and training has a start.
"""

import argparse
import itertools
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import data, labels, modelfile
from models.train import tokenizer


def merge(pieces, pair, joined):
    """The pieces with each occurrence of the pair replaced by `joined`."""
    out, i = [], 0
    while i < len(pieces):
        if i + 1 < len(pieces) and (pieces[i], pieces[i + 1]) == pair:
            out.append(joined)
            i += 2
        else:
            out.append(pieces[i])
            i += 1
    return out


def more_merges(split, counts, known, add):
    """split: word -> pieces, counts: word -> how often. The next `add` pairs, most frequent first, ties by the text."""
    split, pairs, where = {w: list(p) for w, p in split.items()}, Counter(), {}
    for word, pieces in split.items():
        for pair in itertools.pairwise(pieces):
            pairs[pair] += counts[word]
            where.setdefault(pair, set()).add(word)
    found = []
    while len(found) < add and pairs:
        pair = min(pairs, key=lambda p: (-pairs[p], p))
        if pairs[pair] <= 0:
            break
        joined = "".join(pair)
        if joined not in known:
            found.append(pair)
            known.add(joined)
        for word in where.pop(pair):
            old = split[word]
            new = merge(old, pair, joined)
            for p in itertools.pairwise(old):
                pairs[p] -= counts[word]
            for p in itertools.pairwise(new):
                pairs[p] += counts[word]
                where.setdefault(p, set()).add(word)
            split[word] = new
        del pairs[pair]
    return found


def extended(text, texts, add, words=()):
    """(the JSON of a tokenizer with up to `add` more tokens; for each new one the ids of the old tokens that it is made
    of). A word of `words` counts ten times."""
    from tokenizers import Tokenizer

    old = Tokenizer.from_str(text)
    counts = Counter()
    for line in texts:
        counts.update(w for w, _ in old.pre_tokenizer.pre_tokenize_str(line))
    for line in words:
        counts.update({w: 10 for w, _ in old.pre_tokenizer.pre_tokenize_str(line)})
    split = {w: [t.value for t in old.model.tokenize(w)] for w in counts}
    t = json.loads(text)
    vocab, merges = t["model"]["vocab"], t["model"]["merges"]
    pairs = more_merges({w: p for w, p in split.items() if len(p) > 1}, counts, set(vocab), add)
    as_text = bool(merges) and isinstance(merges[0], str)
    made = []
    pieces = {}
    for a, b in pairs:
        pieces[a + b] = pieces.get(a, [a]) + pieces.get(b, [b])
        made.append([vocab[p] for p in pieces[a + b]])
    for a, b in pairs:
        merges.append(f"{a} {b}" if as_text else [a, b])
        vocab[a + b] = len(vocab)
    return json.dumps(t, ensure_ascii=False), made


def widen(arrays, made):
    """Gives the embedding and the logits of a model's arrays a row for each new token."""
    if not made:
        return
    for name, row in (
        ("token_emb.emb.weight", lambda x, ids: x[ids].mean(0)),
        ("to_logits.weight", lambda x, ids: x[ids[0]]),
        ("to_logits.bias", lambda x, ids: x[ids[0]] - 1),
    ):
        x = arrays[f"decoder.net.{name}"]
        arrays[f"decoder.net.{name}"] = np.concatenate([x, [row(x, ids) for ids in made]]).astype("f4")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model file to start from")
    parser.add_argument(
        "--text", nargs="+", required=True, help="files with one sentence per line; of a tsv, the last column"
    )
    parser.add_argument("--words", help="label-words.tsv; each of its words counts ten times")
    parser.add_argument("--add", type=int, default=1500, help="tokens to add (1500)")
    parser.add_argument("--out", required=True, help="model file to write")
    o = parser.parse_args()
    try:
        arrays, metadata = modelfile.read(o.model)
        texts = [text for path in o.text for text in tokenizer.lines(path)]
        words = [w for spoken in labels.Words(o.words).spoken for w in spoken] if o.words else []
        text, made = extended(metadata["tokenizer"], texts, o.add, words)
        config = json.loads(metadata["config"])
        config["num_tokens"] += len(made)
        widen(arrays, made)
        modelfile.write(o.out, arrays, config, text, metadata["model_card"], "f32")
    except (data.DataError, OSError) as error:
        sys.exit(f"extend_tokenizer.py: {error}")
    print(f"{o.out}: {config['num_tokens']} tokens, {len(made)} of them new")


if __name__ == "__main__":
    main()
