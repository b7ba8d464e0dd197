# SPDX-License-Identifier: LGPL-2.1-or-later
"""generate.py - weights from a formula, so that a model of any size can be a fixture without being in the tree.

    python models/generate.py FOLDER OUT.safetensors

A generated folder holds generate.json: {"config": {...}, "tensors": [{"name", "shape", "scale", "offset"}, ...]}.
Element i of a tensor (row-major, from 0) is, in this order and with nothing fused,

    h  = fnv1a64(name)                        over the bytes of the name: h starts as 0xcbf29ce484222325;
                                              for each byte h = (h ^ byte) * 0x100000001b3  (mod 2^64)
    z  = h + (i + 1) * 0x9e3779b97f4a7c15     mod 2^64; from here on it is splitmix64
    z  = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
    z  = (z ^ (z >> 27)) * 0x94d049bb133111eb
    z  =  z ^ (z >> 31)
    u  = (float)(z >> 40) / 8388608.0f - 1    the upper 24 bits; exact in float32, -1 <= u < 1
    w  = scale * u                            rounded to float32
    value = offset + w                        rounded to float32

where scale and offset are float32; the JSON has enough digits for them to come back exactly through a double. All
tensors are F32. The config is that of a model file. The begin of `name` is decoder.net. as a writer has it.
"""
import json
import math
import sys
from pathlib import Path

import numpy as np

GOLDEN, FIRST, SECOND = (np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def fnv1a64(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def bits24(name, count):
    """The first `count` numbers of a name, 0 <= k < 2^24, as uint32."""
    out = np.empty(count, np.uint32)
    start = np.uint64(fnv1a64(name))
    for begin in range(0, count, 1 << 20):  # in pieces, for the cache
        z = np.arange(begin + 1, min(begin + (1 << 20), count) + 1, dtype=np.uint64)
        z *= GOLDEN
        z += start
        z ^= z >> np.uint64(30)
        z *= FIRST
        z ^= z >> np.uint64(27)
        z *= SECOND
        z ^= z >> np.uint64(31)
        out[begin:begin + len(z)] = z >> np.uint64(40)
    return out


def tensor(name, shape, scale, offset):
    """float32 array of the formula above."""
    u = bits24(name, math.prod(shape)).astype(np.float32)
    u /= np.float32(8388608)
    u -= np.float32(1)
    u *= np.float32(scale)
    u += np.float32(offset)
    return u.reshape(shape)


def tensors(entries):
    return {e["name"]: tensor(e["name"], e["shape"], e["scale"], e["offset"]) for e in entries}


def tokenizer_json(vocabulary):
    """A byte-level BPE with so many ids: <pad>, <bos>, <eos>, the printable ASCII bytes and the space, the other
    bytes, then merges of two letters, of a pair and a letter, and so on."""
    special = ["<pad>", "<bos>", "<eos>"]
    printable = [chr(b) for b in list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))]
    rest = [chr(256 + i) for i in range(256 - len(printable))]  # U+0120 stands for the space
    order = ["\u0120"] + printable[:94] + printable[94:] + [c for c in rest if c != "\u0120"]
    pieces, merges = order[:vocabulary - 3], []
    letters = [chr(c) for c in range(97, 123)]
    level = letters
    while len(pieces) < vocabulary - 3:
        following = []
        for a in level:
            for b in letters:
                if len(pieces) < vocabulary - 3:
                    merges.append(f"{a} {b}")
                    pieces.append(a + b)
                    following.append(a + b)
        level = following
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for i, t in enumerate(special)],
        "normalizer": None, "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {t: i for i, t in enumerate(special + pieces)}, "merges": merges}})


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: python models/generate.py FOLDER OUT.safetensors")
    import modelfile
    description = json.loads((Path(sys.argv[1]) / "generate.json").read_text())
    modelfile.write(sys.argv[2], tensors(description["tensors"]), description["config"],
                    tokenizer_json(description["config"]["num_tokens"]),
                    "# Generated weights\nNumbers from a formula, for tests. They have seen nothing.",
                    name=Path(sys.argv[1]).resolve().name, version=1)


if __name__ == "__main__":
    main()
