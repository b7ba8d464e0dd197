#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""extend_tokenizer.py - more tokens for a model that is to speak of more: its own tokens stay, new merges come behind them.

    extend_tokenizer.py MODEL.safetensors --text text.txt --words models/words/label-words.tsv --add 1500 --out wider.safetensors

Byte pairs are merged on from where the model's tokenizer stopped, by how often they stand in the words of the texts, so words
that it knew stay as they were. A new token begins with the mean of its pieces' rows in the table, and is as likely as its first
piece: the model says what it said, and learns the rest.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import data, modelfile
from models.train import tokenizer


def merge(pieces, pair, joined):
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
        for pair in zip(pieces, pieces[1:]):
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
            for p in zip(old, old[1:]):
                pairs[p] -= counts[word]
            for p in zip(new, new[1:]):
                pairs[p] += counts[word]
                where.setdefault(p, set()).add(word)
            split[word] = new
        del pairs[pair]
    return found


def extended(text, texts, add, words=()):
    """The JSON of a tokenizer with `add` tokens more, and for each new one the ids of the old tokens it is made of. Each of
    `words` counts as ten of the texts."""
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model file to begin with")
    parser.add_argument(
        "--text", nargs="+", required=True, help="files with a sentence a line; in a tsv behind the tab"
    )
    parser.add_argument("--words", help="label-words.tsv: its words count, too")
    parser.add_argument("--add", type=int, default=1500, help="tokens to add (1500)")
    parser.add_argument("--out", required=True, help="model file to write")
    o = parser.parse_args()
    try:
        arrays, metadata = modelfile.read(o.model)
        texts = []
        for path in o.text:
            with open(path, encoding="utf-8") as f:
                texts += [tokenizer.tidy(line.rstrip("\n").rpartition("\t")[2]) for line in f]
        words = []
        if o.words:
            from models import labels

            words = [w for spoken in labels.Words(o.words).spoken for w in spoken]
        text, made = extended(metadata["tokenizer"], texts, o.add, words)
        config = json.loads(metadata["config"])
        config["num_tokens"] += len(made)
        table = arrays["decoder.net.token_emb.emb.weight"]
        weight, bias = arrays["decoder.net.to_logits.weight"], arrays["decoder.net.to_logits.bias"]
        arrays["decoder.net.token_emb.emb.weight"] = np.concatenate(
            [table, [table[ids].mean(0) for ids in made]]
        ).astype("f4")
        arrays["decoder.net.to_logits.weight"] = np.concatenate([weight, [weight[ids[0]] for ids in made]]).astype("f4")
        arrays["decoder.net.to_logits.bias"] = np.concatenate([bias, [bias[ids[0]] - 1 for ids in made]]).astype("f4")
        modelfile.write(o.out, arrays, config, text, metadata["model_card"], "f32")
    except (data.DataError, OSError) as error:
        sys.exit(f"extend_tokenizer.py: {error}")
    print(f"{o.out}: {config['num_tokens']} tokens, {len(made)} of them new")


if __name__ == "__main__":
    main()
