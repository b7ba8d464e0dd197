# SPDX-License-Identifier: LGPL-2.1-or-later
"""modelfile.py - reads and writes model files: the safetensors layout, by hand.

    8 bytes    N, little-endian
    N bytes    JSON: {"__metadata__": {strings}, NAME: {"dtype", "shape", "data_offsets": [begin, end]}, ...}
    the rest   the tensors, little-endian, row-major, without gaps

The strict reader, which trusts nothing, is engine/safetensors.c; this one is for files of our own. Tensors are
numpy arrays. `read` turns every stored type into float32 (integer tensors other than weights stay as they are),
`write` stores weights of rank 2 and 4 as f32, bf16, f16 or int8 with one scale per row, and the rest as float32.
"""
import hashlib
import json
import struct

import numpy as np

from models.data import DataError

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1}
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I8": "|i1", "U8": "|u1"}
NAMES = {np.dtype(t): name for name, t in TYPES.items() if name != "BF16"}
STORES = ("f32", "bf16", "f16", "int8")


def bf16_bits(x):
    """float32 -> the upper half of its bits, rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(x, "<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def bf16_values(bits):
    return (bits.astype("<u4") << 16).view("<f4")


def quantise(x):
    """float32 [rows, ...] -> (int8 [rows, ...], float32 scale [rows]); scale = largest magnitude / 127."""
    flat = x.reshape(x.shape[0], -1).astype("<f4")
    scale = (np.abs(flat).max(1) / np.float32(127)).astype("<f4")
    scale[scale == 0] = 1
    q = np.clip(np.rint(flat / scale[:, None]), -127, 127).astype("|i1")
    return q.reshape(x.shape), scale


def is_weight(name, x):
    """Whether it may be stored in fewer bits: a matrix or a convolution, but no table of positions."""
    return x.ndim in (2, 4) and x.dtype == np.float32 and "pos_emb" not in name


def write_raw(path, tensors, metadata=None):
    """tensors: name -> (dtype name, numpy array of that storage). Wide types come first, so that all are aligned."""
    header, offset = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    order = sorted(tensors, key=lambda name: (-SIZES[tensors[name][0]], name))
    for name in order:
        kind, x = tensors[name]
        header[name] = {"dtype": kind, "shape": list(x.shape), "data_offsets": [offset, offset + x.nbytes]}
        offset += x.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            f.write(np.ascontiguousarray(tensors[name][1]).astype(TYPES[tensors[name][0]], copy=False).tobytes())


def write_arrays(path, arrays, metadata=None):
    """Arrays as they are: float32, int64, uint8..."""
    write_raw(path, {name: (NAMES[x.dtype], x) for name, x in arrays.items()}, metadata)


def store(arrays, how="f32"):
    """name -> float32 array to name -> (dtype name, storage)."""
    if how not in STORES:
        raise ValueError(f"{how} is none of {', '.join(STORES)}")
    stored = {}
    for name, x in arrays.items():
        if how == "f32" or not is_weight(name, x):
            stored[name] = (NAMES[x.dtype], x)
        elif how == "bf16":
            stored[name] = ("BF16", bf16_bits(x))
        elif how == "f16":
            stored[name] = ("F16", x.astype("<f2"))
        else:
            q, scale = quantise(x)
            stored[name], stored[name + ".scale"] = ("I8", q), ("F32", scale)
    return stored


def config_dict(config):
    """What a Config says, for a model file; what is absent by default stays absent."""
    values = {key: value for key, value in vars(config).items() if value is not None}
    precisions = list(values.pop("precisions"))
    return values if precisions == ["f32"] else {**values, "precisions": precisions}


def write(path, arrays, config, tokenizer, card, how="f32", name=None, language=None):
    """A model file. config: dict, or the JSON itself; tokenizer: JSON of the tokenizers library."""
    stored = store(arrays, how)
    digest = hashlib.sha256()
    for key in sorted(stored, key=lambda key: (-SIZES[stored[key][0]], key)):
        digest.update(np.ascontiguousarray(stored[key][1]).tobytes())
    metadata = {"format": "palme", "format_version": "1",
                "config": config if isinstance(config, str) else json.dumps(config),
                "tokenizer": tokenizer, "model_card": card, "sha256": digest.hexdigest()}
    if name:
        metadata["name"] = name
    if language:
        metadata["language"] = language
    write_raw(path, stored, metadata)


def parse(data):
    """(name -> (dtype name, storage), metadata) of a file's bytes. ValueError, KeyError and others where they are not of
    this layout."""
    size = struct.unpack_from("<Q", data)[0] if len(data) >= 8 else 0
    if not 2 <= size <= len(data) - 8:
        raise ValueError("not in the safetensors layout: there is no header of the length that its first bytes say")
    header = json.loads(data[8:8 + size])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        x = np.frombuffer(data, TYPES[entry["dtype"]], (end - begin) // SIZES[entry["dtype"]], 8 + size + begin)
        tensors[name] = (entry["dtype"], x.reshape(entry["shape"]))
    return tensors, metadata


def read_raw(path):
    """(name -> (dtype name, storage), metadata). DataError where there is no file, or one that is not of this layout."""
    try:
        with open(path, "rb") as f:
            return parse(f.read())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: no model file: {error}") from None


def read(path):
    """(name -> array, metadata): half floats and scaled int8 come as float32, companion scales are used up."""
    raw, metadata = read_raw(path)
    arrays = {}
    for name, (kind, x) in raw.items():
        if name.endswith(".scale") and raw.get(name.removesuffix(".scale"), ("",))[0] == "I8":
            continue
        if kind == "BF16":
            x = bf16_values(x)
        elif kind == "F16":
            x = x.astype("<f4")
        elif kind == "I8" and name + ".scale" in raw:
            x = x.astype("<f4") * raw[name + ".scale"][1].reshape([-1] + [1] * (x.ndim - 1))
        arrays[name] = x
    return arrays, metadata


def load(path, config=None):
    """A model of palme.py in float32 (call .double() for more). config: the JSON of the constructor's arguments of
    a plain checkpoint; a model file has its own."""
    import torch

    from models.palme import Config, Palme
    arrays, metadata = read(path)
    if metadata.get("format") == "palme":
        parsed = Config.read(metadata["config"])
    else:
        parsed = Config.read_plain(config)
    return Palme(parsed).load({name: torch.from_numpy(np.array(x)) for name, x in arrays.items()})
