# SPDX-License-Identifier: LGPL-2.1-or-later
"""import_hf.py - makes a model file of a captioner in a local Hugging Face folder.

    python models/convert/import_hf.py FOLDER OUT.safetensors [--store f32|bf16|int8] [--photo PICTURE]

Kinds: vision-encoder-decoder with ViT or DeiT and GPT-2, blip, git. The folder has config.json, the weights
(model.safetensors, its shards with an index, or pytorch_model.bin), the tokenizer (tokenizer.json, vocab.json and
merges.txt, or vocab.txt) and preprocessor_config.json; generation_config.json where the kind has one. Nothing is
downloaded. Tensors are read, changed and written one after the other.

Then the file is tried: with torch and transformers installed, a picture is captioned by both, and the difference is
printed. This needs numpy; torch only for pytorch_model.bin and for the trial.
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import struct
import sys

import numpy as np

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from models import ROOT, modelfile
from models.convert.hf_folder import Weights, generation_of, picture_of, read_json, tokenizer_of
from models.convert.hf_options import model_options, side_of
from models.data import DataError

STORES = ["f32", "bf16", "int8"]  # the most exact first
ACTIVATIONS = {
    "gelu": "gelu_erf",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
}


def activation(where, config, key="hidden_act"):
    name = config.get(key, "gelu")
    if name not in ACTIVATIONS:
        raise DataError(f"{where}.{key} is {name!r}: the engine has {', '.join(ACTIVATIONS)}; it needs that function")
    return ACTIVATIONS[name]


# ---- What is written ----------------------------------------------------------------------------


class Plan:
    """Tensors of the file: name -> (shape, function that makes it)."""

    def __init__(self, weights, ignored=()):
        self.weights, self.tensors, self.ignored = weights, {}, ignored

    def add(self, name, shape, make):
        self.tensors[name] = (tuple(int(n) for n in shape), make)

    def same(self, name, source, shape=None):
        """A tensor as it is, perhaps of another shape."""
        shape = shape or self.weights.shape(source)
        self.add(name, shape, lambda: self.weights.read(source).reshape(shape))

    def pair(self, name, source, bias=True):
        """NAME.weight and .bias, of a linear layer or of a norm."""
        self.same(f"{name}.weight", f"{source}.weight")
        if bias:
            self.same(f"{name}.bias", f"{source}.bias")

    def part(self, name, source, part, parts, transposed):
        """One of several matrices that the folder has as one, with its bias."""
        shape = self.weights.shape(f"{source}.weight")
        rows, columns = shape[::-1] if transposed else shape
        rows //= parts

        def weight():
            x = self.weights.read(f"{source}.weight")
            return np.ascontiguousarray((x.T if transposed else x)[part * rows : (part + 1) * rows])

        self.add(f"{name}.weight", (rows, columns), weight)
        self.add(
            f"{name}.bias", (rows,), lambda: self.weights.read(f"{source}.bias")[part * rows : (part + 1) * rows].copy()
        )

    def conv1d(self, name, source):
        self.part(name, source, 0, 1, True)

    def patches(self, source, image, bias):
        """The patch layer, which also scales pixels of 0..1 as the folder's processor does."""
        dim, channels, p, q = self.weights.shape(f"{source}.weight")
        if channels != 3 or p != q:
            raise DataError(f"{source}.weight: patches of {channels} x {p} x {q}; the engine has 3 x N x N")
        factor = 255 * image["rescale"] / np.asarray(image["std"], "f8")
        shift = np.asarray(image["mean"], "f8") / np.asarray(image["std"], "f8")

        def weight():
            return (self.weights.read(f"{source}.weight").transpose(0, 2, 3, 1) * factor).astype("<f4").reshape(dim, -1)

        def offset():
            taken = (self.weights.read(f"{source}.weight").astype("f8").sum((2, 3)) * shift).sum(1)
            return ((self.weights.read(f"{source}.bias") if bias else 0) - taken).astype("<f4")

        self.add("encoder.patch.weight", (dim, 3 * p * p), weight)
        self.add("encoder.patch.bias", (dim,), offset)

    def logits(self, head, embedding):
        """Whether the logits' matrix is the embedding; else it is a tensor of its own."""
        if head not in self.weights:
            return True
        if self.weights.shape(head) == self.weights.shape(embedding) and np.array_equal(
            self.weights.read(head), self.weights.read(embedding)
        ):
            return True
        self.same("decoder.logits.weight", head)
        return False

    def stored(self, how, least):
        """name -> (dtype, shape, function), and scales. least: layers that are stored more exactly, as FORMAT.md, 3.5,
        has them."""
        out, given = {}, how
        for name, (shape, make) in self.tensors.items():
            weight = len(shape) == 2 and "positions" not in name and "class" not in name
            layer = modelfile.layer_of(name)
            wanted = [least[key] for key in (layer, "decoder.logits") if key in least and self.is_of(key, layer)]
            how = min([given, *wanted], key=STORES.index)
            if how == "bf16" and weight:
                out[name] = ("BF16", shape, lambda make=make: modelfile.bf16_bits(make()))
            elif how == "int8" and weight:
                out[name] = ("I8", shape, lambda make=make: modelfile.quantise(make())[0])
                out[name + ".scale"] = ("F32", shape[:1], lambda make=make: modelfile.quantise(make())[1])
            else:
                out[name] = ("F32", shape, make)
        return out

    def is_of(self, key, layer):
        """Whether a tensor of `layer` makes the layer `key`: the embedding is the logits' matrix as well if those are
        tied."""
        return key == layer or (layer == "decoder.embedding" and "decoder.logits.weight" not in self.tensors)

    def write(self, path, metadata, how, least):
        stored, offset, header = self.stored(how, least), 0, {}
        order = sorted(stored, key=lambda name: (-modelfile.SIZES[stored[name][0]], name))
        header["__metadata__"] = {**metadata, "sha256": "0" * 64}
        for name in order:
            kind, shape, _ = stored[name]
            size = modelfile.SIZES[kind] * int(np.prod(shape))
            header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [offset, offset + size]}
            offset += size
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        digest, done = hashlib.sha256(), 0
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for name in order:
                kind, shape, make = stored[name]
                x = np.ascontiguousarray(make())
                if x.shape != shape:
                    raise DataError(f"tensor {name} has the shape {x.shape}; the configuration asks for {shape}")
                data = x.astype(modelfile.TYPES[kind], copy=False).tobytes()
                digest.update(data)
                file.write(data)
                done += len(data)
                progress(done, offset, name)
            file.seek(8 + text.index(b'"sha256":"') + len('"sha256":"'))
            file.write(digest.hexdigest().encode())
        progress(offset, offset, "")


def progress(done, all_of_it, name):
    if sys.stderr.isatty():
        end = "\n" if done == all_of_it and not name else ""
        sys.stderr.write(f"\r{done / max(all_of_it, 1):4.0%} of {all_of_it / 1e6:.0f} MB {name:50.50}{end}")
        sys.stderr.flush()


# ---- The kinds ----------------------------------------------------------------------------------


def sub(config, key):
    if not isinstance(config.get(key), dict):
        raise DataError(f"config.json: {key} must be an object, the options of that part")
    return config[key]


def part_options(where, found, kind, ignored):
    """Options of a part with its defaults. Sides may be pairs."""
    config = model_options(f"config.json: {where}", found, kind, ignored)
    for key in ("image_size", "patch_size"):
        if key in config:
            config[key] = side_of(f"config.json: {where}", key, config[key])
    dim, heads = (
        config.get(key, config.get(old)) for key, old in (("hidden_size", "n_embd"), ("num_attention_heads", "n_head"))
    )
    if dim % heads:
        raise DataError(f"config.json: {where}: a width of {dim} is not a multiple of {heads} heads")
    return config


def vision_stack(config, mlp="intermediate_size"):
    return {
        "dim": config["hidden_size"],
        "depth": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "head_dim": config["hidden_size"] // config["num_attention_heads"],
        "mlp_dim": config[mlp],
        "norm_order": "pre",
        "norm_eps": config["layer_norm_eps"],
        "activation": activation("config.json: vision", config),
        "qkv_bias": config.get("qkv_bias", True),
        "out_bias": True,
        "positions": "learned",
        "class_tokens": 1,
    }


def vit(plan, config, kind):
    """A ViT or DeiT encoder under `encoder.`."""
    stack = vision_stack(config)
    front = "encoder.embeddings."
    tokens = [front + "cls_token"] + ([front + "distillation_token"] if kind == "deit" else [])
    stack["class_tokens"] = len(tokens)
    plan.add(
        "encoder.class.weight",
        (len(tokens), stack["dim"]),
        lambda: np.concatenate([plan.weights.read(name).reshape(1, -1) for name in tokens]),
    )
    plan.same(
        "encoder.positions.weight", front + "position_embeddings", plan.weights.shape(front + "position_embeddings")[1:]
    )
    for i in range(stack["depth"]):
        layer = f"encoder.encoder.layer.{i}"
        for ours, theirs in (("q", "query"), ("k", "key"), ("v", "value")):
            plan.pair(f"encoder.{i}.attn.{ours}", f"{layer}.attention.attention.{theirs}", stack["qkv_bias"])
        plan.pair(f"encoder.{i}.attn.out", f"{layer}.attention.output.dense")
        plan.pair(f"encoder.{i}.attn.norm", f"{layer}.layernorm_before")
        plan.pair(f"encoder.{i}.mlp.norm", f"{layer}.layernorm_after")
        plan.pair(f"encoder.{i}.mlp.up", f"{layer}.intermediate.dense")
        plan.pair(f"encoder.{i}.mlp.down", f"{layer}.output.dense")
    plan.pair("encoder.final_norm", "encoder.layernorm")
    return stack


def gpt2(plan, config):
    """A GPT-2 decoder with cross-attention under `decoder.`."""
    dim, heads = config["n_embd"], config["n_head"]
    for i in range(config["n_layer"]):
        layer, to = f"decoder.transformer.h.{i}", f"decoder.{i}"
        for part, name in enumerate("qkv"):
            plan.part(f"{to}.self.{name}", f"{layer}.attn.c_attn", part, 3, True)
        for part, name in enumerate("kv"):
            plan.part(f"{to}.cross.{name}", f"{layer}.crossattention.c_attn", part, 2, True)
        plan.conv1d(f"{to}.self.out", f"{layer}.attn.c_proj")
        plan.conv1d(f"{to}.cross.q", f"{layer}.crossattention.q_attn")
        plan.conv1d(f"{to}.cross.out", f"{layer}.crossattention.c_proj")
        plan.conv1d(f"{to}.mlp.up", f"{layer}.mlp.c_fc")
        plan.conv1d(f"{to}.mlp.down", f"{layer}.mlp.c_proj")
        for ours, theirs in (("self", "ln_1"), ("cross", "ln_cross_attn"), ("mlp", "ln_2")):
            plan.pair(f"{to}.{ours}.norm", f"{layer}.{theirs}")
    plan.pair("decoder.final_norm", "decoder.transformer.ln_f")
    plan.same("decoder.embedding.weight", "decoder.transformer.wte.weight")
    plan.same("decoder.positions.weight", "decoder.transformer.wpe.weight")
    return {
        "vocabulary": config["vocab_size"],
        "context": config["n_positions"],
        "dim": dim,
        "depth": config["n_layer"],
        "heads": heads,
        "head_dim": dim // heads,
        "mlp_dim": config.get("n_inner") or 4 * dim,
        "norm_eps": config["layer_norm_epsilon"],
        "activation": activation("config.json: decoder", config, "activation_function"),
        "qkv_bias": True,
        "out_bias": True,
        "positions": "learned",
        "logits_bias": False,
        "tied_logits": plan.logits("decoder.lm_head.weight", "decoder.transformer.wte.weight"),
    }


def vision_encoder_decoder(plan, config, folder):
    encoder, decoder = sub(config, "encoder"), sub(config, "decoder")
    kind = encoder.get("model_type")
    if kind not in ("vit", "deit"):
        raise DataError(
            f"encoder.model_type is {kind!r}; vit and deit can be imported, another encoder needs a table of names"
        )
    if decoder.get("model_type") != "gpt2":
        raise DataError(
            f"decoder.model_type is {decoder.get('model_type')!r}; gpt2 can be imported, another decoder needs a table "
            "of names"
        )
    encoder = part_options("encoder", encoder, kind, plan.ignored)
    decoder = part_options("decoder", decoder, "gpt2", plan.ignored)
    image, scaled = picture_of(folder, kind, encoder["image_size"], plan.ignored)
    plan.patches("encoder.embeddings.patch_embeddings.projection", scaled, True)
    nested = {
        "image": {**image, "patch": encoder["patch_size"]},
        "encoder": vit(plan, encoder, kind),
        "decoder": gpt2(plan, decoder),
    }
    if nested["encoder"]["dim"] != nested["decoder"]["dim"]:
        plan.pair("projection", "enc_to_dec_proj")
        nested["projection"] = {"bias": True}
    start = None
    for found in (folder / "generation_config.json", folder / "config.json"):
        options = read_json(found) if found.is_file() else {}
        start = options.get("decoder_start_token_id") if start is None else start
    start = decoder.get("bos_token_id") if start is None else start
    nested["generation"] = generation_of(folder, [config, decoder], start, ignored=plan.ignored)
    return nested


def bert_stack(config):
    return {
        "vocabulary": config["vocab_size"],
        "dim": config["hidden_size"],
        "depth": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "head_dim": config["hidden_size"] // config["num_attention_heads"],
        "mlp_dim": config["intermediate_size"],
        "norm_order": "post",
        "norm_eps": config["layer_norm_eps"],
        "activation": activation("config.json: text", config),
        "qkv_bias": True,
        "out_bias": True,
        "positions": "learned",
        "first_norm": True,
        "final_norm": False,
    }


def bert_layers(plan, front, depth, cross):
    for i in range(depth):
        layer, to = f"{front}encoder.layer.{i}", f"decoder.{i}"
        for ours, theirs in (("self", "attention"), ("cross", "crossattention"))[: 2 if cross else 1]:
            for name, full in (("q", "query"), ("k", "key"), ("v", "value")):
                plan.pair(f"{to}.{ours}.{name}", f"{layer}.{theirs}.self.{full}")
            plan.pair(f"{to}.{ours}.out", f"{layer}.{theirs}.output.dense")
            plan.pair(f"{to}.{ours}.norm", f"{layer}.{theirs}.output.LayerNorm")
        plan.pair(f"{to}.mlp.up", f"{layer}.intermediate.dense")
        plan.pair(f"{to}.mlp.down", f"{layer}.output.dense")
        plan.pair(f"{to}.mlp.norm", f"{layer}.output.LayerNorm")
    plan.pair("decoder.first_norm", f"{front}embeddings.LayerNorm")
    plan.same("decoder.embedding.weight", f"{front}embeddings.word_embeddings.weight")
    plan.same("decoder.positions.weight", f"{front}embeddings.position_embeddings.weight")


def clip_layers(plan, front, depth, fused):
    for i in range(depth):
        layer, to = f"{front}encoder.layers.{i}", f"encoder.{i}"
        for part, name in enumerate("qkv"):
            if fused:
                plan.part(f"{to}.attn.{name}", f"{layer}.self_attn.qkv", part, 3, False)
            else:
                plan.pair(f"{to}.attn.{name}", f"{layer}.self_attn.{name}_proj")
        plan.pair(f"{to}.attn.out", f"{layer}.self_attn.{'projection' if fused else 'out_proj'}")
        plan.pair(f"{to}.attn.norm", f"{layer}.layer_norm1")
        plan.pair(f"{to}.mlp.norm", f"{layer}.layer_norm2")
        plan.pair(f"{to}.mlp.up", f"{layer}.mlp.fc1")
        plan.pair(f"{to}.mlp.down", f"{layer}.mlp.fc2")
    plan.pair("encoder.final_norm", f"{front}post_layernorm")


def blip(plan, config, folder):
    vision = part_options("vision_config", sub(config, "vision_config"), "blip_vision_model", plan.ignored)
    text = part_options("text_config", sub(config, "text_config"), "blip_text_model", plan.ignored)
    image, scaled = picture_of(folder, "blip", vision["image_size"], plan.ignored)
    encoder, decoder = vision_stack(vision), bert_stack(text)
    front = "vision_model.embeddings."
    plan.patches(front + "patch_embedding", scaled, True)
    plan.same("encoder.class.weight", front + "class_embedding", (1, encoder["dim"]))
    plan.same(
        "encoder.positions.weight", front + "position_embedding", plan.weights.shape(front + "position_embedding")[1:]
    )
    clip_layers(plan, "vision_model.", encoder["depth"], True)
    bert_layers(plan, "text_decoder.bert.", decoder["depth"], True)
    head = "text_decoder.cls.predictions."
    plan.pair("decoder.head", head + "transform.dense")
    plan.pair("decoder.head.norm", head + "transform.LayerNorm")
    plan.same("decoder.logits.bias", head + ("decoder.bias" if head + "decoder.bias" in plan.weights else "bias"))
    decoder |= {
        "context": text["max_position_embeddings"],
        "logits_head": "bert",
        "tied_logits": plan.logits(head + "decoder.weight", "text_decoder.bert.embeddings.word_embeddings.weight"),
    }
    nested = {"image": {**image, "patch": vision["patch_size"]}, "encoder": encoder, "decoder": decoder}
    if encoder["dim"] != decoder["dim"]:
        nested["projection"] = {"kind": "none"}
    # `generate` of this kind takes its options from text_config, and ends at the separator.
    nested["generation"] = generation_of(
        folder, [text], text["bos_token_id"], text["sep_token_id"], False, plan.ignored
    )
    return nested


def git(plan, config, folder):
    vision = part_options("vision_config", sub(config, "vision_config"), "git_vision_model", plan.ignored)
    image, scaled = picture_of(folder, "clip", vision["image_size"], plan.ignored)
    encoder, decoder = vision_stack(vision), bert_stack(config)
    front = "git.image_encoder.vision_model."
    plan.patches(front + "embeddings.patch_embedding", scaled, False)
    plan.same("encoder.class.weight", front + "embeddings.class_embedding", (1, encoder["dim"]))
    plan.same("encoder.positions.weight", front + "embeddings.position_embedding.weight")
    plan.pair("encoder.first_norm", front + "pre_layrnorm")
    clip_layers(plan, front, encoder["depth"], False)
    encoder["first_norm"] = True
    plan.pair("projection", "git.visual_projection.visual_projection.0")
    plan.pair("projection.norm", "git.visual_projection.visual_projection.1")
    bert_layers(plan, "git.", decoder["depth"], False)
    tokens = 1 + (vision["image_size"] // vision["patch_size"]) ** 2
    plan.same("decoder.logits.bias", "output.bias")
    decoder |= {
        "context": tokens + config["max_position_embeddings"],
        "image": "prefix",
        "embed_prefix": False,
        "tied_logits": plan.logits("output.weight", "git.embeddings.word_embeddings.weight"),
    }
    return {
        "image": {**image, "patch": vision["patch_size"]},
        "encoder": encoder,
        "decoder": decoder,
        "projection": {"kind": "linear", "bias": True, "norm": True},
        "generation": generation_of(folder, [config], config["bos_token_id"], ignored=plan.ignored),
    }


KINDS = {"vision-encoder-decoder": vision_encoder_decoder, "blip": blip, "git": git}


# ---- The card -----------------------------------------------------------------------------------


def front_matter(folder):
    path = folder / "README.md"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    match = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    return (
        dict(re.findall(r"^(license|language|base_model): *[\"']?([^\"'\n]+)", match[1], re.MULTILINE)) if match else {}
    )


def card_of(folder, config, how):
    stated = front_matter(folder)
    licence = stated.get("license", "not stated in the folder; see where it came from")
    source = config.get("_name_or_path") or folder.resolve().name
    return (
        f"# {folder.resolve().name}\n\nImported from a Hugging Face folder of the kind `{config['model_type']}` by "
        f"models/convert/import_hf.py, stored as {how}.\n\n- Source: {source}\n- Licence of the weights: {licence}\n"
        "- Quality: that of the source in f32; other precisions are not measured.\n"
    )


def import_folder(folder, out, how, ignored=(), measured=None):
    """Writes the model file; the nested configuration. ignored: options that shall not count. measured: (precisions,
    least_precision) of calibrate.py."""
    path = folder / "config.json"
    if not path.is_file():
        raise DataError(f"{path} is missing")
    config = read_json(path)
    kind = config.get("model_type")
    if kind not in KINDS:
        raise DataError(
            f"{path}: model_type is {kind!r}; {', '.join(KINDS)} can be imported, another kind needs a table of "
            "names in import_hf.py"
        )
    config = model_options("config.json", config, kind, ignored)
    plan = Plan(Weights(folder), ignored)
    nested = KINDS[kind](plan, config, folder)
    nested["precisions"], least = measured or (["f32"], {})
    if least:
        nested["least_precision"] = least
    metadata = {
        "format": "palme",
        "format_version": "2",
        "config": json.dumps(nested),
        "tokenizer": tokenizer_of(folder),
        "model_card": card_of(folder, config, how),
        "name": folder.resolve().name,
    }
    if "language" in (stated := front_matter(folder)):
        metadata["language"] = stated["language"]
    part = out.with_name(out.name + ".part")
    try:
        plan.write(part, metadata, how, least)
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)
    return nested


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("out", type=pathlib.Path, metavar="OUT.safetensors")
    parser.add_argument("--store", choices=("f32", "bf16", "int8"), default="f32", help="what matrices are stored as")
    parser.add_argument(
        "--photo",
        type=pathlib.Path,
        default=ROOT / "examples" / "photos" / "dog.jpg",
        metavar="PICTURE",
        help="what both are asked about",
    )
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="KEY", help="an unknown option that changes no caption"
    )
    parser.add_argument(
        "--calibrate",
        type=pathlib.Path,
        metavar="PHOTOS",
        help="a folder of photos on which f32, bf16 and int8 are compared; what is found is written into the file",
    )
    parser.add_argument("--within", type=float, default=0.05, help="with --calibrate: how far scores may move (0.05)")
    parser.add_argument("--no-trial", action="store_true", help="do not caption a picture with what was written")
    options = parser.parse_args()
    try:
        # What is calibrated is what the folder says, in f32; then it is stored.
        first = "f32" if options.calibrate else options.store
        import_folder(options.folder, options.out, first, options.ignore)
        if options.calibrate:
            from models.convert import calibrate

            measured = calibrate.calibrate(options.out, options.calibrate, options.within)
            if options.store == "f32":
                calibrate.write(options.out, options.out, *measured)
            else:
                import_folder(options.folder, options.out, options.store, options.ignore, measured)
    except DataError as error:
        sys.exit(f"import_hf: {error}")
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")
    if options.no_trial:
        return
    from models.convert import try_hf

    print(try_hf.compare(options.folder, options.out, options.photo))


if __name__ == "__main__":
    main()
