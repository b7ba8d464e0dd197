#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""import_zeta.py - makes a model file of a checkpoint of zeta's PalmE or GPT4MultiModal and a tokenizer.

    import_zeta.py CHECKPOINT --tokenizer TOKENIZER.json --out MODEL.safetensors [--max-seq-len 1024] [...]

CHECKPOINT is a state_dict: a .pt file, read with weights_only, or a safetensors file. Most of the constructor's 17
parameters follow from the shapes of its tensors; the others are options with the constructor's defaults. The program
prints where each value comes from: a shape, an option or a default. Options override --config, a JSON file of the
constructor's arguments.

The model file gets qk_norm=false, whatever the constructor was given, because the reference computes without it. The
result is compared with the reference, the package zetascale, on random pictures and tokens; if that is not installed,
only with the file read back. --engine also captions a photo with the C engine.
"""

import argparse
import importlib.util
import json
import math
import os
import re
import shutil
import sys
import types
from dataclasses import fields
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import checkpoint, modelfile
from models.convert import export
from models.data import DataError

PARAMETERS = (
    "image_size",
    "patch_size",
    "encoder_dim",
    "encoder_depth",
    "encoder_heads",
    "num_tokens",
    "max_seq_len",
    "decoder_dim",
    "decoder_depth",
    "decoder_heads",
    "alibi_num_heads",
    "use_abs_pos_emb",
    "cross_attend",
    "alibi_pos_bias",
    "rotary_xpos",
    "attn_flash",
    "qk_norm",
)
NETS = {"palme": "decoder.net.", "gpt4": "decoder."}  # where each class keeps the decoder's tensors
BEGIN = ("<bos>", "<s>", "<|startoftext|>", "<|begin_of_text|>", "[CLS]", "<|endoftext|>")
END = ("<eos>", "</s>", "<|endoftext|>", "<|end_of_text|>", "[SEP]")
PAD = ("<pad>", "[PAD]", "<|pad|>")
CENTRES = {
    "palme": "half of the train_length - 1 tokens that PalmE's forward feeds to the decoder",
    "gpt4": "half of the train_length tokens that GPT4MultiModal's forward feeds to the decoder",
}


# ---- The checkpoint ---------------------------------------------------------------------------


def read_state(path):
    """Arrays in float32 by their names in the file, without the prefixes that training loops add."""
    import torch

    if str(path).endswith(".safetensors"):
        state, _ = modelfile.read(path)
    else:
        state = checkpoint.read_torch(path)
        for key in ("state_dict", "model_state_dict", "model"):
            if isinstance(state, dict) and isinstance(state.get(key), dict):
                state = state[key]
        if not isinstance(state, dict) or not state:
            raise DataError(f"{path}: not a state_dict: wanted a dict of tensors, found {type(state).__name__}")
        for name, x in state.items():
            if not isinstance(name, str) or not torch.is_tensor(x):
                raise DataError(f"{path}: not a state_dict: {str(name)[:60]} is not a tensor but {type(x).__name__}")
        state = {name: (x.float() if torch.is_floating_point(x) else x).numpy() for name, x in state.items()}
    for wrapping in ("_orig_mod.", "module."):  # torch.compile, DistributedDataParallel
        if all(name.startswith(wrapping) for name in state):
            state = {name.removeprefix(wrapping): x for name, x in state.items()}
    return {name: x.astype(np.float32) if x.dtype == np.float64 else x for name, x in state.items()}


def kind_of(path, state):
    """The class of a checkpoint, \"palme\" or \"gpt4\", by the names of the decoder's tensors"""
    inner = [name for name in state if name.startswith("decoder.net.")]
    outer = [name for name in state if name.startswith("decoder.") and not name.startswith("decoder.net.")]
    if inner and outer:
        raise DataError(
            f"{path}: has tensors under decoder.net. ({inner[0]}) and under decoder. ({outer[0]}): no class of "
            "zeta has both"
        )
    if not inner and not outer:
        raise DataError(
            f"{path}: has no tensor of a decoder (decoder.net.* of PalmE, decoder.* of GPT4MultiModal); its first "
            f"tensors are {', '.join(list(state)[:3])}"
        )
    return "palme" if inner else "gpt4"


def shape_of(path, state, name, rank):
    if name not in state:
        raise DataError(f"{path}: {name} is missing; without it the model's size is not known")
    if state[name].ndim != rank:
        raise DataError(f"{path}: {name} is {list(state[name].shape)}, wanted {rank} dimensions")
    return state[name].shape


def depth(state, prefix):
    """Number of blocks of a stack"""
    pattern = re.compile(re.escape(prefix) + r"attn_layers\.layers\.(\d+)\.")
    return max((int(m[1]) + 1 for m in map(pattern.match, state) if m), default=0)


def whole(path, value, what):
    if value != int(value):
        raise DataError(f"{path}: {what}")
    return int(value)


def infer(path, state, kind):
    """(parameter -> value, parameter -> reason) for all parameters that follow from shapes"""
    net, found, why = NETS[kind], {}, {}

    def know(parameter, value, reason):
        found[parameter], why[parameter] = value, reason

    _, patches, dim = shape_of(path, state, "encoder.pos_embedding", 3)
    know("encoder_dim", dim, "encoder.pos_embedding")
    values = shape_of(path, state, "encoder.patch_to_embedding.1.weight", 2)[1]
    patch = whole(
        path,
        math.sqrt(values / 3),
        f"encoder.patch_to_embedding.1.weight has {values} columns, which is not "
        "3 p^2, the size of a patch in three colours",
    )
    know("patch_size", patch, "encoder.patch_to_embedding.1.weight")
    know(
        "image_size",
        patch * whole(path, math.sqrt(patches), f"encoder.pos_embedding has {patches} rows, which is not a square"),
        "rows of encoder.pos_embedding",
    )
    know(
        "encoder_heads",
        shape_of(path, state, "encoder.attn_layers.layers.0.1.to_q.weight", 2)[0] // 64,
        "encoder.attn_layers.layers.0.1.to_q.weight, heads of 64",
    )
    know("encoder_depth", depth(state, "encoder.") // 2, "count of encoder.attn_layers.layers")
    tokens, dim = shape_of(path, state, net + "token_emb.emb.weight", 2)
    know("num_tokens", tokens, net + "token_emb.emb.weight")
    know("decoder_dim", dim, net + "token_emb.emb.weight")
    know(
        "decoder_heads",
        shape_of(path, state, net + "attn_layers.layers.0.1.to_q.weight", 2)[0] // 64,
        net + "attn_layers.layers.0.1.to_q.weight, heads of 64",
    )
    crosses = net + "attn_layers.layers.1.1.to_q.weight" in state
    know("cross_attend", crosses, "layer 1 of the decoder " + ("attends" if crosses else "is a feed-forward"))
    know("decoder_depth", depth(state, net) // (3 if crosses else 2), f"count of {net}attn_layers.layers")
    if net + "pos_emb.emb.weight" in state:
        know("max_seq_len", shape_of(path, state, net + "pos_emb.emb.weight", 2)[0], "rows of the table of positions")
        know("use_abs_pos_emb", True, "there is a table of positions")
        know("rotary_xpos", False, "there is a table of positions")
    elif any(".rotary_pos_emb." in name for name in state):
        know("rotary_xpos", True, "there are rotary buffers")
    return found, why


# ---- The parameters ---------------------------------------------------------------------------


def settle(path, state, kind, given, said):
    """The constructor's arguments. Appends where each is from to `said`. given: those of options and --config."""
    from models.palme import Config

    defaults = {f.name: f.default for f in fields(Config)}
    found, why = infer(path, state, kind)
    values = {}
    for name in PARAMETERS:
        if name in given and name in found and given[name] != found[name]:
            raise DataError(f"{path}: {name} is given as {given[name]}, but {why[name]} says {found[name]}")
        if name in given:
            values[name], reason = given[name], "given" + (f", as {why[name]}" if name in why else "")
        elif name in found:
            values[name], reason = found[name], why[name]
        else:
            values[name], reason = defaults[name], "ASSUMED: the constructor's default; no tensor tells"
        said.append(f"  {name:<16} {json.dumps(values[name]):<7} {reason}")
    heads = values["decoder_heads"] if values["alibi_num_heads"] is None else values["alibi_num_heads"]
    if values["alibi_pos_bias"] and not 1 <= heads <= values["decoder_heads"]:
        raise DataError(
            f"{path}: alibi_num_heads is {heads}, the decoder has {values['decoder_heads']} heads: give "
            "--alibi-num-heads as the constructor had it"
        )
    values["alibi_num_heads"] = min(heads, values["decoder_heads"])
    return values


def centre(kind, values, train_length):
    """The fixed xpos centre: half of what the class feeds to its decoder in training."""
    prefix = 0 if values["cross_attend"] else (values["image_size"] // values["patch_size"]) ** 2
    return (prefix + train_length - (kind == "palme")) // 2


# ---- The tokenizer ----------------------------------------------------------------------------


def read_tokenizer(path, size, fill):
    """(JSON, token -> id). fill: adds tokens without text for rows of the checkpoint that have none."""
    import tokenizers

    try:
        text = Path(path).read_text(encoding="utf-8")
        tokenizer = tokenizers.Tokenizer.from_str(text)
        parsed = json.loads(text)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except Exception as error:  # the library raises Exception itself
        raise DataError(f"{path}: not a tokenizer of the tokenizers library: {error}") from None
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    if parsed["model"].get("type") != "BPE":
        raise DataError(
            f"{path}: the tokenizer is of type {parsed['model'].get('type')}; the engine reads byte-level BPE"
        )
    missing = sorted(set(range(size)) - set(vocabulary.values()))
    beyond = [content for content, i in vocabulary.items() if i >= size]
    if beyond or (missing and not fill):
        raise DataError(
            f"{path}: {len(vocabulary)} tokens, but the checkpoint has {size} (num_tokens): "
            + (
                f"{len(beyond)} tokens such as {beyond[0]!r} have no row in it"
                if beyond
                else f"{len(missing)} rows such as {missing[0]} have no token; --fill-tokenizer makes tokens for them"
            )
        )
    for i in missing:
        parsed["added_tokens"].append(
            {
                "id": i,
                "content": f"<unused{i}>",
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
        )
        vocabulary[f"<unused{i}>"] = i
    if missing:
        text = json.dumps(parsed, ensure_ascii=False)
        tokenizers.Tokenizer.from_str(text)
    return text, vocabulary


def special(option, given, known, vocabulary, said, needed=True):
    """The id of bos, eos or pad: the one given (an id or a token), else that of the first usual name found."""
    ids = set(vocabulary.values())
    if given is not None:
        if given in vocabulary:
            value, reason = vocabulary[given], "given"
        elif given.isdigit() and int(given) in ids:
            value, reason = int(given), "given"
        else:
            raise DataError(f"--{option} {given}: neither an id nor a token of the tokenizer")
    else:
        name = next((name for name in known if name in vocabulary), None)
        if name is None:
            if needed:
                raise DataError(f"the tokenizer has none of {', '.join(known)}: give --{option} as an id or a token")
            return None
        value, reason = vocabulary[name], f"{name} is in the tokenizer"
    said.append(f"  {option + '_token':<16} {value:<7} {reason}")
    return value


# ---- Proof ------------------------------------------------------------------------------------


def random_inputs(values, seed, rows=2, length=21):
    """Pictures, and texts of `length` tokens or as many as the context holds"""
    import torch

    generator = torch.Generator().manual_seed(seed)
    patches = 0 if values["cross_attend"] else (values["image_size"] // values["patch_size"]) ** 2
    length = max(2, min(length, values["max_seq_len"] - patches))
    size = values["image_size"]
    return (
        torch.rand(rows, 3, size, size, generator=generator),
        torch.randint(0, values["num_tokens"], (rows, length), generator=generator),
    )


def reference_classes():
    """PalmE and GPT4MultiModal of the package zetascale. Its __init__ files import the whole package and with it
    others that it does not declare, so they are bypassed; the two classes themselves import little."""
    spec = importlib.util.find_spec("zeta")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("there is no package zeta")
    root = Path(spec.submodule_search_locations[0])
    for name in ("zeta", "zeta.models", "zeta.structs", "zeta.utils"):
        if name not in sys.modules:
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__path__ = [str(root.joinpath(*name.split(".")[1:]))]
            sys.modules[name].__spec__ = spec  # for find_spec, when this is called again
    return {
        "palme": importlib.import_module("zeta.models.palme").PalmE,
        "gpt4": importlib.import_module("zeta.models.gpt4").GPT4MultiModal,
    }


def reference(kind, values, state):
    """The reference's model with this state, or a sentence that says why there is none"""
    import torch

    if values["encoder_dim"] != values["decoder_dim"]:
        return "the reference cannot run with two widths"
    try:
        classes = reference_classes()
    except ImportError as error:
        return f"the package zetascale cannot be imported ({error})"
    arguments = dict(values)
    if values["decoder_heads"] == 1:
        arguments["attn_flash"] = False  # the reference crashes otherwise; it does not change numbers
    model = classes[kind](**arguments)
    own = model.state_dict()
    state = {name: torch.from_numpy(np.array(x)) for name, x in state.items()}
    lost = [name for name in own if name not in state and ".rotary_pos_emb." not in name]
    if lost or state.keys() - own.keys():
        return (
            f"the installed zetascale has other tensors than this checkpoint "
            f"({', '.join([*lost, *(state.keys() - own.keys())][:3])})"
        )
    model.load_state_dict({**own, **state})
    return model.eval()


def outputs(kind, model, image, tokens):
    """Outputs by name, of palme.py or of the reference. Without cross-attention the reference's classes cannot run,
    but their encoder and decoder can."""
    import torch

    with torch.no_grad():
        if hasattr(model, "encode"):
            found = {"encoder": model.encode(image)}
            if not model.config.cross_attend:
                found["logits"] = model.decode(tokens)
            elif kind == "palme":
                found["logits"], found["loss"] = model(image, tokens)
            else:
                found["logits"] = model.forward_gpt4(image, tokens)
        else:
            found = {"encoder": model.encoder(image, return_embeddings=True)}
            net = getattr(model.decoder, "net", model.decoder)
            if not net.attn_layers.cross_attend:
                found["logits"] = net(tokens)
            elif kind == "palme":
                found["logits"], found["loss"] = model(image, tokens)
            else:
                found["logits"] = model(image, tokens)
    return found


def prove(kind, values, state, model, path, seed):
    """(lines about the largest differences, the largest against the reference; None if that could not be run)"""
    image, tokens = random_inputs(values, seed)
    ours = outputs(kind, model, image, tokens)
    again = outputs(kind, checkpoint.open_model(path)[0], image, tokens)
    lines = [f"palme.py beside the file read back, random pictures and {tokens.shape[1]} tokens:"]
    lines += [f"  {name:<8} {float((ours[name] - again[name]).abs().max()):.3g} apart at most" for name in ours]
    theirs = reference(kind, values, state)
    if isinstance(theirs, str):
        return lines + [f"NOT compared with the reference: {theirs}"], None
    worst = 0.0
    lines.append("palme.py beside the reference, the same inputs:")
    for name, x in outputs(kind, theirs, image, tokens).items():
        if x.shape != ours[name].shape:
            raise DataError(f"the reference's {name} is {list(x.shape)}, palme.py's {list(ours[name].shape)}")
        difference = float((ours[name] - x).abs().max())
        worst = max(worst, difference / max(1.0, float(x.abs().max())))
        spread = f", standard deviation {float(x.std()):.3g}" if x.ndim else ""
        lines.append(f"  {name:<8} {difference:.3g} apart at most{spread}")
    return lines, worst


# ---- The command ------------------------------------------------------------------------------


def boolean(word):
    if word.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise argparse.ArgumentTypeError(f"{word} is neither true nor false")
    return word.lower() in ("true", "1", "yes")


def count_or_none(word):
    return None if word.lower() in ("none", "null") else int(word)


def parse(arguments):
    from models.palme import Config

    defaults = {f.name: f.default for f in fields(Config)}
    parser = argparse.ArgumentParser(
        prog="import_zeta.py",
        description=__doc__.split(" - ", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="state_dict as .pt or .safetensors")
    parser.add_argument(
        "--tokenizer", required=True, metavar="JSON", help="file of the tokenizers library, byte-level BPE"
    )
    parser.add_argument("--out", required=True, metavar="MODEL", help="the model file to write")
    parser.add_argument("--config", metavar="JSON", help="a file with the constructor's arguments")
    for name in PARAMETERS:
        kind = boolean if isinstance(defaults[name], bool) else count_or_none if name == "alibi_num_heads" else int
        parser.add_argument(
            "--" + name.replace("_", "-"),
            type=kind,
            default=argparse.SUPPRESS,
            metavar="BOOL" if kind is boolean else "N",
            help=f"default if no shape tells: {defaults[name]}",
        )
    parser.add_argument(
        "--train-length", type=int, metavar="N", help="tokens of a training sequence; default: max_seq_len"
    )
    parser.add_argument(
        "--xpos-center", type=int, metavar="N", help="default: half of what the class feeds in training"
    )
    parser.add_argument(
        "--bos", metavar="TOKEN", help="id or token that begins a text; default: the first found of " + " ".join(BEGIN)
    )
    parser.add_argument(
        "--eos", metavar="TOKEN", help="id or token that ends a caption; default: the first found of " + " ".join(END)
    )
    parser.add_argument(
        "--pad",
        metavar="TOKEN",
        help="id or token for padding; default: the first found of " + " ".join(PAD) + ", or none",
    )
    parser.add_argument(
        "--fill-tokenizer",
        action="store_true",
        help="add tokens without text for rows that the tokenizer does not know",
    )
    parser.add_argument("--store", choices=modelfile.STORES, default="f32", help="how matrices are stored; default f32")
    parser.add_argument("--name", help="short name for the model file")
    parser.add_argument("--language", help="language tag such as en")
    parser.add_argument("--card", metavar="FILE", help="Markdown file that becomes the model card")
    parser.add_argument("--license", metavar="TEXT", help="terms of the weights; becomes a section of the card")
    parser.add_argument(
        "--engine", metavar="PATH", help="the command palme-caption; captions a photo with the new file"
    )
    parser.add_argument(
        "--photo", default=str(export.PHOTO), metavar="PLACE", help="that photo; default examples/photos/dog.jpg"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the random inputs; default 1")
    options = parser.parse_args(arguments)
    if options.engine:
        options.engine = os.path.abspath(shutil.which(options.engine) or options.engine)
    return options


def given_parameters(options):
    """The constructor's arguments that were given; options override --config."""
    given = {}
    if options.config:
        try:
            given = json.loads(Path(options.config).read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{options.config}: not JSON: {error}") from None
        unknown = sorted(set(given) - set(PARAMETERS)) if isinstance(given, dict) else ["(not a JSON object)"]
        if unknown:
            raise DataError(f"{options.config}: unknown arguments: {', '.join(unknown)}")
    return {**given, **{name: getattr(options, name) for name in PARAMETERS if hasattr(options, name)}}


def run(options):
    from models.palme import Config

    state = read_state(options.checkpoint)
    kind, said = kind_of(options.checkpoint, state), []
    values = settle(options.checkpoint, state, kind, given_parameters(options), said)
    tokenizer, vocabulary = read_tokenizer(options.tokenizer, values["num_tokens"], options.fill_tokenizer)
    tokens = {
        option + "_token": special(option, getattr(options, option), known, vocabulary, said, option != "pad")
        for option, known in (("bos", BEGIN), ("eos", END), ("pad", PAD))
    }
    length = options.train_length or values["max_seq_len"]
    middle = centre(kind, values, length) if options.xpos_center is None else options.xpos_center
    said.append(f"  {'train_length':<16} {length:<7} " + ("given" if options.train_length else "ASSUMED: max_seq_len"))
    said.append(f"  {'xpos_center':<16} {middle:<7} " + (CENTRES[kind] if options.xpos_center is None else "given"))
    said.append("qk_norm is written as false: the reference computes without it")
    config = Config(**{**values, "qk_norm": False}, **tokens, train_length=length, xpos_center=middle)
    called = "PalmE" if kind == "palme" else "GPT4MultiModal"
    print(f"{options.checkpoint}: a checkpoint of {called}")
    print("\n".join(said))

    model = checkpoint.build(options.checkpoint, state, config)
    if options.card:
        card, terms = Path(options.card).read_text(encoding="utf-8"), options.license
    else:
        name = options.name or Path(options.checkpoint).stem
        card = f"# {name}\n\nImported from a checkpoint of zeta's {called}. Its training data is not known.\n"
        terms = options.license or "Not known: ask those who trained it."
    card = export.with_terms(card, terms, options.card)
    checkpoint.write_model(options.out, model, tokenizer, card, options.store, options.name, options.language)
    export.check_stored(options.out, {k: x.numpy() for k, x in model.state_dict().items()}, options.store)
    print(f"{options.out}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters in {options.store}")
    lines, worst = prove(kind, values, state, model, options.out, options.seed)
    print("\n".join(lines))
    if worst is not None and worst > 1e-3:
        raise DataError(
            f"{options.out} is written, but palme.py and the installed zetascale compute different numbers: a "
            "parameter that no tensor tells may be wrong, or this is another version of the reference"
        )
    if options.engine:
        lines, agree = export.compare_captions(options.out, model, tokenizer, options.photo, options.engine)
        print("\n".join(lines))
        if not agree:
            raise DataError(f"{options.out} is written, but the engine and torch make different captions")
    return 0


def main(arguments=None):
    options = parse(arguments)
    try:
        return run(options)
    except DataError as error:
        print(f"import_zeta.py: {error}", file=sys.stderr)
    except OSError as error:
        print(f"import_zeta.py: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
