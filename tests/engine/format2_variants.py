# SPDX-License-Identifier: LGPL-2.1-or-later
"""format2_variants.py - pairs of model files of version 2 that say the same in two ways, for format2.sh.

    format2_variants.py MODEL FOLDER     writes FOLDER/NAME-one and FOLDER/NAME-other

What is tied is stored twice, what has no bias has one of zeros, tables have rows in front that nobody reads, and
feed-forward layers have units that nothing goes into or comes out of. PYTHONPATH names the folder above models/.
"""

import json
import sys
from pathlib import Path

import numpy as np

from models import modelfile


def write(path, tensors, config, metadata):
    modelfile.write_raw(path, tensors, {**metadata, "config": json.dumps(config), "sha256": modelfile.sha256(tensors)})


def zeros(*shape):
    return "F32", np.zeros(shape, "<f4")


def tied(tensors, config):
    """The other file leaves the logits' matrix out."""
    tensors["decoder.logits.weight"] = tensors["decoder.embedding.weight"]
    other = {name: x for name, x in tensors.items() if name != "decoder.logits.weight"}
    return other, {**config, "decoder": {**config["decoder"], "tied_logits": True}}


def biases(tensors, config):
    other = dict(tensors)
    for name in tensors:
        member = name.split(".")[-2]
        if member in ("q", "k", "v", "out") or name == "projection.weight":
            other[name.removesuffix("weight") + "bias"] = zeros(tensors[name][1].shape[0])
    add = {"qkv_bias": True, "out_bias": True}
    return other, {
        **config,
        "encoder": {**config["encoder"], **add},
        "decoder": {**config["decoder"], **add},
        "projection": {"bias": True},
    }


def offset(tensors, config):
    other = dict(tensors)
    nested = dict(config)
    for stack in ("encoder", "decoder"):
        name = f"{stack}.positions.weight"
        if name in tensors:
            table = tensors[name][1]
            other[name] = "F32", np.concatenate([np.full((2, table.shape[1]), 9, "<f4"), table])
            nested[stack] = {**config[stack], "position_offset": 2}
    return other, nested


def wide(tensors, config):
    other = dict(tensors)
    nested = {stack: {**config[stack], "mlp_dim": 4 * config[stack]["dim"] + 3} for stack in ("encoder", "decoder")}
    for name, (_, x) in tensors.items():
        if ".mlp.up." in name:
            other[name] = "F32", np.concatenate([x, np.zeros((3, *x.shape[1:]), "<f4")])
        elif name.endswith(".mlp.down.weight"):
            other[name] = "F32", np.concatenate([x, np.zeros((x.shape[0], 3), "<f4")], 1)
    return other, {**config, **nested}


def main():
    source, folder = sys.argv[1], Path(sys.argv[2])
    modelfile.convert(source, folder / "source", 2)
    for change in (tied, biases, offset, wide):
        tensors, metadata = modelfile.read_raw(folder / "source")
        config = json.loads(metadata["config"])
        other, nested = change(tensors, config)
        write(folder / f"{change.__name__}-one", tensors, config, metadata)
        write(folder / f"{change.__name__}-other", other, nested, metadata)


if __name__ == "__main__":
    main()
