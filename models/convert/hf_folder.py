# SPDX-License-Identifier: LGPL-2.1-or-later
"""hf_folder.py - what a Hugging Face folder of a captioner has: weights, how pictures are made, tokenizer, options of
generation. For import_hf.py; what the engine does not have is a DataError that names the key."""

import json
import struct

import numpy as np

from models import modelfile
from models.convert.hf_options import GENERATION_FIXED, GENERATION_READ, generation_options, picture_options
from models.data import DataError

FILTERS = {2: "bilinear", 3: "bicubic"}


def read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


# ---- The folder's weights -----------------------------------------------------------------------


class Shard:
    """A file in the safetensors layout: read(name) gives one tensor as float32."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            size = struct.unpack("<Q", file.read(8))[0]
            self.header = json.loads(file.read(size))
        self.start = 8 + size
        self.header.pop("__metadata__", None)

    def names(self):
        return self.header

    def shape(self, name):
        return tuple(self.header[name]["shape"])

    def read(self, name):
        entry = self.header[name]
        if entry["dtype"] not in ("F64", "F32", "F16", "BF16"):
            raise DataError(f"{self.path}: tensor {name} is {entry['dtype']}; F64, F32, F16 and BF16 can be read")
        kind = modelfile.TYPES[entry["dtype"]]
        begin, end = entry["data_offsets"]
        with open(self.path, "rb") as file:
            file.seek(self.start + begin)
            x = np.fromfile(file, kind, (end - begin) // np.dtype(kind).itemsize)
        x = modelfile.bf16_values(x) if entry["dtype"] == "BF16" else x.astype("<f4", copy=False)
        return x.reshape(entry["shape"])


class Pickle:
    """pytorch_model.bin, read with weights_only: nothing in it is run."""

    def __init__(self, path):
        try:
            import torch
        except ImportError:
            raise DataError(
                f"{path} needs torch to be read: pip install torch, or a folder with model.safetensors"
            ) from None
        try:
            self.tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # a file from before torch 1.6 cannot be mapped
            self.tensors = torch.load(path, map_location="cpu", weights_only=True)

    def names(self):
        return self.tensors

    def shape(self, name):
        return tuple(self.tensors[name].shape)

    def read(self, name):
        return self.tensors[name].float().numpy()


class Weights:
    def __init__(self, folder):
        index = folder / "model.safetensors.index.json"
        binary = folder / "pytorch_model.bin.index.json"
        if (folder / "model.safetensors").is_file():
            shards = [Shard(folder / "model.safetensors")]
        elif index.is_file():
            shards = [Shard(folder / name) for name in sorted(set(read_json(index)["weight_map"].values()))]
        elif (folder / "pytorch_model.bin").is_file():
            shards = [Pickle(folder / "pytorch_model.bin")]
        elif binary.is_file():
            shards = [Pickle(folder / name) for name in sorted(set(read_json(binary)["weight_map"].values()))]
        else:
            raise DataError(f"{folder} has no model.safetensors, no index of shards and no pytorch_model.bin")
        self.where = {name: shard for shard in shards for name in shard.names()}
        self.used = set()

    def __contains__(self, name):
        return name in self.where

    def shape(self, name):
        if name not in self.where:
            raise DataError(f"the weights lack the tensor {name}")
        return self.where[name].shape(name)

    def read(self, name):
        self.shape(name)
        self.used.add(name)
        return self.where[name].read(name)


# ---- Pictures -----------------------------------------------------------------------------------

CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
# What a processor does where preprocessor_config.json does not say it.
PROCESSORS = {
    "vit": {"size": 224, "resample": 2, **HALF},
    "deit": {"size": 256, "resample": 3, "do_center_crop": True, "crop_size": 224, **HALF},
    "blip": {"size": 384, "resample": 3, **CLIP},
    "clip": {"size": {"shortest_edge": 224}, "resample": 3, "do_center_crop": True, "crop_size": 224, **CLIP},
}


def square_of(key, value):
    sides = set(value.values()) if isinstance(value, dict) else {value}
    if len(sides) != 1 or (isinstance(value, dict) and set(value) != {"height", "width"}):
        raise DataError(f"preprocessor_config.json: {key} is {json.dumps(value)}; the engine makes squares")
    return sides.pop()


def picture_of(folder, kind, image_size, ignored=()):
    """What FORMAT.md calls image, and how pixels are scaled."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise DataError(f"{path} is missing: it says how pictures are resized")
    found = read_json(path)
    picture_options(path.name, found, ignored)
    named = found.get("image_processor_type", found.get("feature_extractor_type", "")).lower()
    for name in PROCESSORS:
        if named.startswith(name):
            kind = name
    found = {**PROCESSORS[kind], **{key: value for key, value in found.items() if value is not None}}
    if not found.get("do_resize", True):
        raise DataError("preprocessor_config.json: do_resize is false; the engine always resizes")
    if found["resample"] not in FILTERS:
        raise DataError(f"preprocessor_config.json: resample is {found['resample']}; the engine has 2 and 3")
    image = {"size": image_size, "filter": FILTERS[found["resample"]]}
    size, crop = found["size"], found.get("do_center_crop", False)
    if isinstance(size, dict) and "shortest_edge" in size and "longest_edge" not in size:
        side, image["resize"] = size["shortest_edge"], "crop"
        if not crop:
            raise DataError(
                "preprocessor_config.json: size has a shortest_edge, but no do_center_crop; the engine makes squares"
            )
    elif kind == "clip" and not isinstance(size, dict):
        side, image["resize"] = size, "crop"
    else:
        side, image["resize"] = square_of("size", size), "squash"
    last = square_of("crop_size", found["crop_size"]) if crop else side
    if last != image_size:
        raise DataError(
            f"preprocessor_config.json makes pictures of {last} pixels, config.json wants image_size {image_size}; "
            "other positions would have to be interpolated"
        )
    if side < last:
        raise DataError(
            f"preprocessor_config.json: crop_size {last} is larger than size {side}; the engine does not pad"
        )
    if side != last:
        image["shortest_side"] = side
    scaled = {"mean": [0.0] * 3, "std": [1.0] * 3, "rescale": 1.0}
    if found.get("do_rescale", True):
        scaled["rescale"] = found.get("rescale_factor", 1 / 255)
    if found.get("do_normalize", True):
        scaled["mean"], scaled["std"] = found["image_mean"], found["image_std"]
    return image, scaled


# ---- Tokenizers ---------------------------------------------------------------------------------


def special(id, content):
    flags = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
    return {"id": id, "content": content, **flags, "special": True}


def from_merges(folder, config):
    vocab = read_json(folder / "vocab.json")
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
    end = config.get("eos_token", "<|endoftext|>")
    end = end["content"] if isinstance(end, dict) else end
    level = {"type": "ByteLevel", "add_prefix_space": config.get("add_prefix_space", False), "trim_offsets": True}
    return {
        "version": "1.0",
        "added_tokens": [special(vocab[end], end)] if end in vocab else [],
        "pre_tokenizer": {**level, "use_regex": True},
        "decoder": {**level, "use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": vocab,
            "merges": [line for line in lines if line and not line.startswith("#version")],
        },
    }


def from_vocab(folder, config):
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    words = [line.rstrip("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
    vocab = {word: i for i, word in enumerate(words)}
    named = {
        "unk_token": "[UNK]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    for key, default in named.items():
        value = config.get(key) or default
        named[key] = value["content"] if isinstance(value, dict) else value
    return {
        "version": "1.0",
        "added_tokens": [special(vocab[word], word) for word in named.values() if word in vocab],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
            "strip_accents": config.get("strip_accents"),
            "lowercase": config.get("do_lower_case", True),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": named["unk_token"],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }


def tokenizer_of(folder):
    """JSON of the tokenizers library, from whatever the folder has."""
    path = folder / "tokenizer_config.json"
    config = read_json(path) if path.is_file() else {}
    if (folder / "tokenizer.json").is_file():
        found = read_json(folder / "tokenizer.json")
        found["truncation"] = found["padding"] = None
        if "type" not in found["model"]:  # files of old versions of the library
            found["model"]["type"] = "BPE" if "merges" in found["model"] else "WordPiece"
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        found = from_merges(folder, config)
    elif (folder / "vocab.txt").is_file():
        found = from_vocab(folder, config)
    else:
        raise DataError(f"{folder} has no tokenizer.json, no vocab.json with merges.txt and no vocab.txt")
    return json.dumps(found, ensure_ascii=False)


# ---- Generation ---------------------------------------------------------------------------------


TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


def generation_of(folder, configs, bos, eos=None, own_file=True, ignored=()):
    """What FORMAT.md calls generation, as transformers 5 finds it: what generation_config.json says; without that file
    what config.json does (configs: its parts that may have options, the first one first). The tokens of config.json
    stand in where the file lacks them. own_file: whether the kind looks for options at all."""
    path, found, known = folder / "generation_config.json", {}, {*GENERATION_READ, *GENERATION_FIXED}
    if path.is_file() or not own_file:
        known = TOKENS
    for config in reversed(configs):
        found.update({key: value for key, value in config.items() if value is not None and key in known})
    if own_file and path.is_file():
        found.update({key: value for key, value in read_json(path).items() if value is not None})
    generation_options("generation", found, ignored)
    eos = found.get("eos_token_id") if eos is None else eos
    if isinstance(eos, list) and len(eos) == 1:
        eos = eos[0]
    if not isinstance(eos, int):
        raise DataError(f"eos_token_id is {json.dumps(eos)}; the engine needs one token that ends a caption")
    beams, stopping = found.get("num_beams", 1), found.get("early_stopping", False)
    if beams > 16:
        raise DataError(f"num_beams is {beams}; the engine has at most 16")
    penalty = found.get("length_penalty", 1.0)
    if not 0 <= penalty <= 32:
        raise DataError(f"length_penalty is {penalty}; the engine takes 0 to 32")
    out = {
        "bos": bos,
        "eos": eos,
        "beams": beams,
        "search": "transformers",
        "early_stopping": {False: "heuristic", True: "first"}.get(stopping, "never"),
        "length_penalty": float(penalty),
        "no_repeat_ngram": found.get("no_repeat_ngram_size", 0),
        # min_new_tokens stands in for min_length, also where it is 0
        "min_length": 0 if "min_new_tokens" in found else found.get("min_length", 0),
    }
    for key, token in (
        ("pad", "pad_token_id"),
        ("forced_bos", "forced_bos_token_id"),
        ("forced_eos", "forced_eos_token_id"),
    ):
        if token in found:
            out[key] = found[token][0] if found[token] in ([eos], [bos]) else found[token]
    if "max_length" not in found and "max_new_tokens" not in found:
        found["max_new_tokens"] = 20  # what transformers takes then
    for key in ("max_length", "max_new_tokens", "min_new_tokens"):
        if key in found:
            out[key] = found[key]
    return out
