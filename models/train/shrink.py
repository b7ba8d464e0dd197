#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""shrink.py - makes the start of a smaller model that reads labels, from a larger one that does.

    shrink.py --encoder palme-small.safetensors --decoder RUN/epoch-00400.safetensors --tokens 1900 \\
              --text flickr8k/train.tsv coco/captions.tsv coco/clauses.tsv --out start.safetensors

The new model has trunk, encoder and settings of --encoder, and the first layers of the decoder of --decoder, as many as
the decoder of --encoder has. Its tokenizer is made anew from --text. A token that the larger model has keeps its row of
the embedding and of the logits; another one gets the mean of its pieces, as in extend_tokenizer.py. mixture.py then
trains it.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import data, modelfile
from models.train import tokenizer

EMBEDDING, LOGITS, BIAS = (f"decoder.net.{n}" for n in ("token_emb.emb.weight", "to_logits.weight", "to_logits.bias"))


def pieces_of(new, old):
    """For each token of the tokenizer `new`, in order, the ids of the tokens of `old` that spell it. Both are JSON."""
    from tokenizers import Tokenizer

    model = Tokenizer.from_str(old).model
    known = json.loads(old)["model"]["vocab"]
    vocab = sorted(json.loads(new)["model"]["vocab"].items(), key=lambda item: item[1])
    return [[known[token]] if token in known else [t.id for t in model.tokenize(token)] for token, _ in vocab]


def rows_of(arrays, pieces):
    """Embedding and logits of the new tokens, from those of the old ones that spell them."""
    rare = np.array([len(ids) > 1 for ids in pieces], np.float32)  # the first piece alone is likelier than the whole
    return {
        EMBEDDING: np.stack([arrays[EMBEDDING][ids].mean(0) for ids in pieces]),
        LOGITS: np.stack([arrays[LOGITS][ids[0]] for ids in pieces]),
        BIAS: np.array([arrays[BIAS][ids[0]] for ids in pieces], np.float32) - rare,
    }


def shrunk(small, config, large, larger, pieces):
    """Arrays of the new model. small, large: arrays of both; config, larger: their configurations."""
    for key in ("decoder_dim", "decoder_heads", "alibi_num_heads", "cross_attend", "qk_norm", "xpos_center"):
        if config.get(key) != larger.get(key):
            raise data.DataError(f"the decoders differ in {key}: {config.get(key)} and {larger.get(key)}")
    if config["decoder_depth"] > larger["decoder_depth"]:
        raise data.DataError(f"a decoder of {larger['decoder_depth']} layers has no {config['decoder_depth']}")
    blocks = config["decoder_depth"] * (3 if config["cross_attend"] else 2)
    out = {n: x for n, x in small.items() if not n.startswith(("decoder.", "labels."))}
    for name, x in large.items():
        layer = re.match(r"decoder\.net\.attn_layers\.layers\.(\d+)\.", name)
        if name.startswith("decoder.") and (not layer or int(layer[1]) < blocks):
            out[name] = x
    return out | rows_of(large, pieces)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True, help="model file with the trunk and the size of the new model")
    parser.add_argument("--decoder", required=True, help="model file of the larger model that reads labels")
    parser.add_argument("--tokens", type=int, default=1900, help="tokens of the new model (1900)")
    parser.add_argument(
        "--text", nargs="+", required=True, help="files with one sentence per line; of a tsv, the last column"
    )
    parser.add_argument("--out", required=True, help="model file to write")
    o = parser.parse_args(arguments)
    try:
        small, metadata = modelfile.read(o.encoder)
        large, other = modelfile.read(o.decoder)
        texts = [text for path in o.text for text in tokenizer.lines(path)]
        text = tokenizer.train(texts, o.tokens)
        config = json.loads(metadata["config"])
        config["num_tokens"] = len(json.loads(text)["model"]["vocab"])
        config.pop("labels", None)
        pieces = pieces_of(text, other["tokenizer"])
        arrays = shrunk(small, config, large, json.loads(other["config"]), pieces)
        modelfile.write(o.out, arrays, config, text, metadata["model_card"], "f32")
    except (data.DataError, OSError) as error:
        sys.exit(f"shrink.py: {error}")
    new = sum(len(ids) > 1 for ids in pieces)
    count = sum(x.size for x in arrays.values()) / 1e6
    print(f"{o.out}: {count:.2f} M parameters, {config['num_tokens']} tokens, {new} of them new")


if __name__ == "__main__":
    main()
