#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""start.py - writes an untrained model: ImageNet's trunk, a tokenizer made from text, random weights elsewhere.

    start.py --size default --text coco/text.txt --tokens 4000 --blind --out start.safetensors

With --blind the encoder's output is zero for every picture, so that the decoder sees a picture only through its labels.
mixture.py then trains it on sentences without photos. Only what the sentences, the trunk and ImageNet's classes allow
has to be asked of a licence.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import data, modelfile
from models.palme import Palme
from models.train import tokenizer, train
from models.train.features import load_trunk


def untrained(size, tokens, seed, blind):
    """A Palme of random weights with ImageNet's trunk."""
    config = train.make_config(size)
    if config.stem == "none":
        raise data.DataError("labels need a trunk, and the size `pure` has none")
    config.num_tokens = tokens
    torch.manual_seed(seed)
    model = Palme(config).eval()
    train.initialise(model, torch.Generator().manual_seed(seed))
    model.encoder.stem.load_state_dict(load_trunk(config.stem).state_dict())
    if blind:
        torch.nn.init.zeros_(model.encoder.attn_layers.final_norm.weight)
        torch.nn.init.zeros_(model.encoder.attn_layers.final_norm.bias)
    return model


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["default", "small"], default="default", help="architecture (default)")
    parser.add_argument(
        "--text", nargs="+", required=True, help="files with one sentence per line; of a tsv, the last column"
    )
    parser.add_argument("--tokens", type=int, default=4000, help="tokens at most (4000)")
    parser.add_argument("--blind", action="store_true", help="the encoder's output is zero for every picture")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random weights (0)")
    parser.add_argument("--out", required=True, help="model file to write")
    o = parser.parse_args(arguments)
    try:
        text = tokenizer.train((line for path in o.text for line in tokenizer.lines(path)), o.tokens)
        count = len(json.loads(text)["model"]["vocab"])
        model = untrained(o.size, count, o.seed, o.blind)
        arrays = {n: x.detach().numpy() for n, x in model.state_dict().items()}
        modelfile.write(o.out, arrays, modelfile.config_dict(model.config), text, "not trained yet", "f32")
    except (data.DataError, OSError) as error:
        sys.exit(f"start.py: {error}")
    print(f"{o.out}: {sum(x.size for x in arrays.values()) / 1e6:.2f} M parameters, {count} tokens")


if __name__ == "__main__":
    main()
