# SPDX-License-Identifier: LGPL-2.1-or-later
"""modelfile.py - reads and writes model files: the safetensors layout, by hand.

    8 bytes    N, little-endian
    N bytes    JSON: {"__metadata__": {strings}, NAME: {"dtype", "shape", "data_offsets": [begin, end]}, ...}
    the rest   the tensors, little-endian, row-major, without gaps

The strict reader, which trusts nothing, is engine/io/safetensors.c; this one is for files of our own. Tensors are
numpy arrays. `read` turns every stored type into float32 (integer tensors other than weights stay as they are),
`write` stores weights of rank 2 and 4 as f32, bf16, f16 or int8 with one scale per row, and the rest as float32.

Files have version 2 of the format (FORMAT.md), or 1. In Python a model always has the names of palme.py and its flat
config, which are those of version 1: `read` and `write` translate, by the tables below; read_raw and write_raw do not.
`convert` puts a file into the other version, with its weights as they are stored.
"""

import hashlib
import json
import re
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
    return x.ndim in (2, 4) and x.dtype == np.float32 and "pos_emb" not in name and "positions" not in name


# ---- Version 2: names -------------------------------------------------------------------------

# version 2, palme.py; before the first dot that follows
BEGINNINGS = [
    ("stem.conv", "encoder.stem.conv"),
    ("stem.head", "encoder.stem.head"),
    ("encoder.patch.input_norm", "encoder.patch_to_embedding.0"),
    ("encoder.patch.output_norm", "encoder.patch_to_embedding.2"),
    ("encoder.patch", "encoder.patch_to_embedding.1"),
    ("encoder.positions.weight", "encoder.pos_embedding"),
    ("encoder.final_norm", "encoder.attn_layers.final_norm"),
    ("projection", "encoder_to_decoder"),
    ("decoder.embedding", "decoder.net.token_emb.emb"),
    ("decoder.positions", "decoder.net.pos_emb.emb"),
    ("decoder.final_norm", "decoder.net.attn_layers.final_norm"),
    ("decoder.logits", "decoder.net.to_logits"),
    ("decoder.rotary", "decoder.net.attn_layers.rotary_pos_emb"),
]
MEMBERS = [
    ("norm", "0.0"),
    ("q", "1.to_q"),
    ("k", "1.to_k"),
    ("v", "1.to_v"),
    ("out", "1.to_out"),
    ("up", "1.ff.0.0"),
    ("down", "1.ff.2"),
]
POSITIONS = ("encoder.positions.weight", "decoder.positions.weight")


def swap(table, name, of, to):
    """A name whose first words are in column `of` of the table, with those of column `to`; None if none fit."""
    for row in table:
        if name == row[of] or name.startswith(row[of] + "."):
            return row[to] + name[len(row[of]) :]
    return None


def name_2(name, cross_attend):
    """The name in version 2 of a tensor of palme.py; one that is unknown stays as it is."""
    if name.startswith("decoder.") and not name.startswith("decoder.net."):
        name = "decoder.net." + name.removeprefix("decoder.")
    found = swap(BEGINNINGS, name, 1, 0)
    if found:
        return found
    if match := re.fullmatch(r"encoder\.stem\.blocks\.(\d+)\.(.*)", name):
        return f"stem.{match[1]}.{match[2]}"
    match = re.fullmatch(r"(encoder|decoder\.net)\.attn_layers\.layers\.(\d+)\.(.*)", name)
    member = match and swap(MEMBERS, match[3], 1, 0)
    if not member:
        return name
    encoder = match[1] == "encoder"
    blocks = ["attn", "mlp"] if encoder else ["self", "cross", "mlp"] if cross_attend else ["self", "mlp"]
    layer, block = divmod(int(match[2]), len(blocks))
    return f"{'encoder' if encoder else 'decoder'}.{layer}.{blocks[block]}.{member}"


def name_1(name, cross_attend):
    """The way back."""
    found = swap(BEGINNINGS, name, 0, 1)
    if found:
        return found
    if match := re.fullmatch(r"stem\.(\d+)\.(.*)", name):
        return f"encoder.stem.blocks.{match[1]}.{match[2]}"
    match = re.fullmatch(r"(encoder|decoder)\.(\d+)\.(attn|self|cross|mlp)\.(.*)", name)
    member = match and swap(MEMBERS, match[4], 0, 1)
    if not member:
        return name
    blocks = 2 if match[1] == "encoder" or not cross_attend else 3
    index = blocks * int(match[2]) + {"mlp": blocks - 1, "cross": 1}.get(match[3], 0)
    return f"{match[1]}{'' if match[1] == 'encoder' else '.net'}.attn_layers.layers.{index}.{member}"


def translate(tensors, config, version):
    """name -> (dtype name, storage) under the names of the other version. config: the flat one. Positions of the
    encoder have a dimension less in version 2, those of the decoder are scaled already."""
    factor = np.float32(config["decoder_dim"] ** -0.5)
    out = {}
    for name, (kind, x) in tensors.items():
        weight = name.removesuffix(".scale")
        of, ending = (weight, ".scale") if name != weight and tensors.get(weight, ("",))[0] == "I8" else (name, "")
        other = (name_2 if version == 2 else name_1)(of, config["cross_attend"])
        plain = other if version == 2 else of
        if plain == POSITIONS[0]:
            x = x.reshape(x.shape[-2:] if version == 2 else (1, *x.shape))
        elif plain == POSITIONS[1]:
            x = floats(kind, x) * factor if version == 2 else floats(kind, x) / factor
            kind = "F32"
        if other + ending in out:
            raise DataError(f"tensor {name} is there twice")
        out[other + ending] = (kind, x)
    return out


def layer_of(name):
    """What FORMAT.md, 3.5, calls the layer that has this tensor of version 2."""
    layer = name.removesuffix(".weight")
    if match := re.fullmatch(r"(.*\.(?:attn|self))\.[qkv]", layer):
        return match[1] + ".qkv"
    if match := re.fullmatch(r"(.*\.cross)\.[kv]", layer):
        return match[1] + ".kv"
    return layer


# ---- Version 2: configuration -----------------------------------------------------------------

GENERATION = [
    ("bos", "bos_token"),
    ("eos", "eos_token"),
    ("pad", "pad_token"),
    ("prompt", "default_prompt"),
    ("beams", "default_beams"),
    ("length_penalty", "length_penalty"),
    ("no_repeat_ngram", "no_repeat_ngram"),
    ("min_length", "min_length"),
    ("min_score", "min_score"),
]
# What palme.py computes, whatever else the format can say
STACK = {
    "head_dim": 64,
    "norm": "layer",
    "norm_order": "pre",
    "norm_eps": 1e-5,
    "activation": "gelu_erf",
    "qkv_bias": False,
    "out_bias": False,
    "mlp_bias": True,
    "position_offset": 0,
    "first_norm": False,
    "final_norm": True,
}
ENCODER = {**STACK, "qk_norm": False, "patch_bias": True, "class_tokens": 0}
DECODER = {**STACK, "tied_logits": False, "logits_bias": True, "logits_head": "linear"}


def config_2(flat):
    """The nested configuration of version 2."""
    flat = {key: value for key, value in flat.items() if value is not None}
    heads, rotary = flat["decoder_heads"], flat["rotary_xpos"]
    patches = (flat["image_size"] // flat["patch_size"]) ** 2
    decoder = {
        "vocabulary": flat["num_tokens"],
        "context": flat["max_seq_len"],
        "dim": flat["decoder_dim"],
        "depth": flat["decoder_depth"],
        "heads": heads,
        "image": "cross_attention" if flat["cross_attend"] else "prefix",
        "qk_norm": flat["qk_norm"],
        "alibi_heads": (flat.get("alibi_num_heads") or heads) if flat["alibi_pos_bias"] else 0,
        "rotary": "xpos" if rotary else "none",
        "positions": "learned" if flat["use_abs_pos_emb"] and not rotary else "none",
    }
    length = flat.get("train_length", flat["max_seq_len"])
    decoder["xpos_center"] = flat.get("xpos_center", ((0 if flat["cross_attend"] else patches) + length - 1) // 2)
    nested = {
        "image": {
            "size": flat["image_size"],
            "patch": flat["patch_size"],
            "resize": flat.get("image_resize", "squash"),
        },
        "encoder": {
            "stem": flat.get("stem", "none"),
            "dim": flat["encoder_dim"],
            "depth": flat["encoder_depth"],
            "heads": flat["encoder_heads"],
            "patch_input_norm": True,
            "patch_output_norm": True,
            "positions": "learned",
        },
        "decoder": decoder,
        "generation": {key: flat[old] for key, old in GENERATION if old in flat},
    }
    if "precisions" in flat:
        nested["precisions"] = list(flat["precisions"])
    if "train_length" in flat:
        nested["training"] = {"length": flat["train_length"]}
    if "labels" in flat:
        nested["labels"] = flat["labels"]
    return nested


def config_1(nested):
    """The flat configuration, which is palme.py's. DataError for what palme.py does not compute."""
    image, encoder, decoder = nested["image"], nested["encoder"], nested["decoder"]
    fixed = [("encoder.", encoder, ENCODER), ("decoder.", decoder, DECODER)]
    for path, stack in (("encoder.", encoder), ("decoder.", decoder)):
        fixed.append((path, stack, {"mlp_dim": 4 * stack["dim"], "kv_heads": stack["heads"], "attention_scale": 0.125}))
    fixed += [
        (
            "encoder.",
            {"patch_input_norm": False, "patch_output_norm": False, "positions": "none", **encoder},
            {"patch_input_norm": True, "patch_output_norm": True, "positions": "learned"},
        )
    ]
    fixed += [("projection.", nested.get("projection", {}), {"bias": False}), ("image.", image, {"filter": "triangle"})]
    for path, found, wanted in fixed:
        for key, value in wanted.items():
            if found.get(key, value) != value:
                raise DataError(f"config: {path}{key} is {found[key]}; palme.py computes {value} only")
    alibi = decoder.get("alibi_heads", 0)
    flat = {
        "image_size": image["size"],
        "patch_size": image["patch"],
        "encoder_dim": encoder["dim"],
        "encoder_depth": encoder["depth"],
        "encoder_heads": encoder["heads"],
        "num_tokens": decoder["vocabulary"],
        "max_seq_len": decoder["context"],
        "decoder_dim": decoder["dim"],
        "decoder_depth": decoder["depth"],
        "decoder_heads": decoder["heads"],
        "alibi_num_heads": alibi or None,
        "use_abs_pos_emb": decoder.get("positions", "none") == "learned",
        "cross_attend": decoder.get("image", "cross_attention") == "cross_attention",
        "alibi_pos_bias": alibi > 0,
        "rotary_xpos": decoder.get("rotary", "none") == "xpos",
        "attn_flash": True,
        "qk_norm": decoder.get("qk_norm", False),
        "stem": encoder.get("stem", "none"),
        "image_resize": image.get("resize", "squash"),
    }
    flat.update({old: nested["generation"][key] for key, old in GENERATION if key in nested["generation"]})
    if "xpos_center" in decoder:
        flat["xpos_center"] = decoder["xpos_center"]
    if "length" in nested.get("training", {}):
        flat["train_length"] = nested["training"]["length"]
    if "precisions" in nested:  # they were measured with the layers that need more care, which palme.py does not keep
        flat["precisions"] = ["f32"] if "least_precision" in nested else nested["precisions"]
    if "labels" in nested:
        flat["labels"] = nested["labels"]
    return flat


def flat_config(metadata):
    """The flat configuration of a model file, as a dict."""
    config = json.loads(metadata["config"])
    return config_1(config) if metadata.get("format_version") == "2" else config


# ---- Files ------------------------------------------------------------------------------------


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


def sha256(stored):
    """Of the tensors' data, in the order in which write_raw writes them."""
    digest = hashlib.sha256()
    for key in sorted(stored, key=lambda key: (-SIZES[stored[key][0]], key)):
        digest.update(np.ascontiguousarray(stored[key][1]).tobytes())
    return digest.hexdigest()


def write(path, arrays, config, tokenizer, card, how="f32", name=None, language=None, version=2):
    """A model file. arrays and config are palme.py's; config: dict, or the flat JSON; tokenizer: JSON of the
    tokenizers library."""
    stored = store(arrays, how)
    if version == 2:
        flat = json.loads(config) if isinstance(config, str) else config
        stored, config = translate(stored, flat, 2), config_2(flat)
    metadata = {
        "format": "palme",
        "format_version": str(version),
        "config": config if isinstance(config, str) else json.dumps(config),
        "tokenizer": tokenizer,
        "model_card": card,
        "sha256": sha256(stored),
    }
    if name:
        metadata["name"] = name
    if language:
        metadata["language"] = language
    write_raw(path, stored, metadata)


def parse(data):
    """(name -> (dtype name, storage), metadata) of a file's bytes. ValueError, KeyError and others where they are not
    of this layout."""
    size = struct.unpack_from("<Q", data)[0] if len(data) >= 8 else 0
    if not 2 <= size <= len(data) - 8:
        raise ValueError("not in the safetensors layout: there is no header of the length that its first bytes say")
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        x = np.frombuffer(data, TYPES[entry["dtype"]], (end - begin) // SIZES[entry["dtype"]], 8 + size + begin)
        tensors[name] = (entry["dtype"], x.reshape(entry["shape"]))
    return tensors, metadata


def read_raw(path):
    """(name -> (dtype name, storage), metadata). DataError if the file is absent or has another layout."""
    try:
        with open(path, "rb") as f:
            return parse(f.read())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: no model file: {error}") from None


def read_metadata(path):
    """The strings of a model file's header, without its tensors."""
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 2 <= size <= 1 << 24:
                raise ValueError("not in the safetensors layout")
            metadata = json.loads(file.read(size)).get("__metadata__", {})
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path}: no model file: {error}") from None
    if metadata.get("format") != "palme":
        raise DataError(f"{path}: no model file")
    return metadata


def convert(source, target, version=2):
    """Writes a model file in another version of the format. Weights stay as they are stored; the way back to version 1
    may cost learned positions of a decoder the last bit."""
    tensors, metadata = read_raw(source)
    if metadata.get("format") != "palme":
        raise DataError(f"{source}: no model file")
    if metadata["format_version"] != str(version):
        flat = flat_config(metadata)
        tensors = translate(tensors, flat, version)
        metadata = {
            **metadata,
            "format_version": str(version),
            "sha256": sha256(tensors),
            "config": json.dumps(config_2(flat) if version == 2 else flat),
        }
    write_raw(target, tensors, metadata)


def floats(kind, x):
    """Storage of BF16 or F16 as float32; others as they are."""
    return bf16_values(x) if kind == "BF16" else x.astype("<f4") if kind == "F16" else x


def read(path):
    """(name -> array, metadata): half floats and scaled int8 come as float32, companion scales are used up. Names and
    metadata["config"] are palme.py's, whatever version the file has."""
    raw, metadata = read_raw(path)
    if metadata.get("format") == "palme" and metadata.get("format_version") == "2":
        flat = flat_config(metadata)
        raw, metadata = translate(raw, flat, 1), {**metadata, "config": json.dumps(flat)}
    arrays = {}
    for name, (kind, x) in raw.items():
        if name.endswith(".scale") and raw.get(name.removesuffix(".scale"), ("",))[0] == "I8":
            continue
        x = floats(kind, x)
        if kind == "I8" and name + ".scale" in raw:
            x = x.astype("<f4") * raw[name + ".scale"][1].reshape([-1] + [1] * (x.ndim - 1))
        arrays[name] = x
    return arrays, metadata


def load(path, config=None):
    """A model of palme.py in float32 (call .double() for more). config: the JSON of the constructor's arguments of
    a plain checkpoint; a model file has its own."""
    import torch

    from models.palme import Config, Palme

    arrays, metadata = read(path)
    ours = metadata.get("format") == "palme"
    parsed = Config.read(metadata["config"]) if ours else Config.read_plain(config)
    return Palme(parsed).load({name: torch.from_numpy(np.array(x)) for name, x in arrays.items()})
