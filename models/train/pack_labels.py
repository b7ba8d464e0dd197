#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""pack_labels.py - averages checkpoints of mixture.py and selfcritical.py and writes them as a model with labels.

    pack_labels.py RUN/epoch-*.safetensors --head HEADS/head.safetensors --hold 0.3 0.05 0 0.6 \\
                   --out words.safetensors --store int8

A checkpoint that is named twice counts twice. The labels' names, words, thresholds and costs go into the file's config,
as models/FORMAT.md describes.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import data, labels, modelfile
from models.train import mixture


def mean(paths):
    """(arrays, metadata) of the average of model files; metadata is that of the first."""
    total, metadata = None, None
    for path in paths:
        arrays, own = modelfile.read(path)
        if total is None:
            total, metadata = {n: x.astype(np.float64) for n, x in arrays.items()}, own
            continue
        shapes, wanted = ({n: x.shape for n, x in some.items()} for some in (arrays, total))
        if own["tokenizer"] != metadata["tokenizer"] or shapes != wanted:
            raise data.DataError(f"{path}: its tokenizer or tensors differ from those of {paths[0]}")
        for name, x in arrays.items():
            total[name] += x
    return {n: (x / len(paths)).astype(np.float32) for n, x in total.items()}, metadata


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("models", nargs="+", help="model files to average")
    add("--head", help="head.safetensors of heads.py (default: write the average without labels)")
    add("--thresholds", type=float, nargs=2, default=(0.3, 0.15), help="as for mixture.py")
    add(
        "--hold",
        type=float,
        nargs=4,
        default=(0.0, 0.05, 0.0, 0.6),
        metavar=("WEIGHT", "FLOOR", "REQUIRE", "SURE"),
        help="penalty for words whose labels are unlikely, as for score.py (0 0.05 0 0.6: none)",
    )
    add(
        "--unsure",
        type=float,
        nargs=2,
        default=(0.5, 0.5),
        metavar=("CONFIRM", "LEAST"),
        help="a caption is unsure if nothing that it names has a label of at least CONFIRM; a label of at least LEAST "
        "then makes a sentence in its place (0.5 0.5)",
    )
    add("--deny", type=float, default=0.0, help="it is unsure, too, if it names a thing less likely than this (0)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="set a key of the config; VALUE is JSON")
    add("--card", help="Markdown file that becomes the model card")
    add("--name", default="palme", help="name in the model file")
    add("--store", choices=modelfile.STORES, default="int8", help="how weights are stored (int8)")
    add("--out", required=True, help="model file to write")
    return parser.parse_args(arguments)


def main(arguments=None):
    o = options_of(arguments)
    try:
        arrays, metadata = mean(o.models)
        config = json.loads(metadata["config"])
        if o.head:
            words = labels.Words()
            head, own = modelfile.read(o.head)
            described = json.loads(own["labels"])
            if described["names"] != words.names:
                raise data.DataError(f"{o.head}: its labels are not those of label-words.tsv")
            words.know({*described["classes"], *described["things"]} - {-1})
            arrays.update(head)
            thresholds = mixture.thresholds_of(words, o.thresholds)
            config["labels"] = labels.describe(
                words, described["classes"], described["things"], thresholds, o.hold, o.unsure, o.deny
            )
        for setting in o.set:
            key, _, value = setting.partition("=")
            config[key] = json.loads(value)
        card = metadata["model_card"]
        if o.card:
            with open(o.card, encoding="utf-8") as f:
                card = f.read()
        modelfile.write(o.out, arrays, config, metadata["tokenizer"], card, o.store, o.name, "en")
    except (data.DataError, OSError, ValueError) as error:
        sys.exit(f"pack_labels.py: {error}")
    print(f"{o.out}: {sum(x.size for x in arrays.values()) / 1e6:.2f} M parameters, the average of {len(o.models)}")


if __name__ == "__main__":
    main()
