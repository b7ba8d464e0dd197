# SPDX-License-Identifier: LGPL-2.1-or-later
"""make_fixtures.py - writes tests/data/golden: small models and the numbers that palme.py computes for them in float64.

    python models/make_fixtures.py [--out DIRECTORY] [NAME...]

All inputs come from formulas (generate.py), so a second run writes the same weights, pictures and tokens; outputs may
differ in the last bits of float32 between versions of torch. Each fixture is refused if a choice of tokens in it is
closer than MARGIN, so that they can be compared exactly. tests/data/golden/README.md says what the folders hold.
"""
import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch

import generate
import modelfile
from palme import Config, Palme, filter_probabilities

MARGIN = 2e-3  # twenty times the loosest tolerance of logits
BEAMS, ALPHA, STEPS = 3, 0.7, 12

TINY = dict(image_size=16, patch_size=4, encoder_dim=16, encoder_depth=1, encoder_heads=1, num_tokens=97, max_seq_len=40,
            decoder_dim=16, decoder_depth=1, decoder_heads=2, alibi_num_heads=1, qk_norm=False, train_length=20,
            bos_token=1, eos_token=2)
STEM = dict(image_size=64, patch_size=32, encoder_dim=32, decoder_dim=32)

# name -> (parameters that differ from TINY, how it is stored)
SMALL = {
    "prefix": (dict(cross_attend=False, encoder_dim=24, decoder_depth=2), "f32"),
    "prefix_abs": (dict(cross_attend=False, rotary_xpos=False, use_abs_pos_emb=True), "f32"),
    "alibi3": (dict(decoder_heads=4, alibi_num_heads=3), "f32"),
    "alibi6": (dict(decoder_heads=8, alibi_num_heads=6), "f32"),
    "one_head": (dict(decoder_heads=1, alibi_num_heads=None, encoder_heads=2, decoder_depth=2), "f32"),
    "abs_pos": (dict(rotary_xpos=False, use_abs_pos_emb=True, encoder_depth=2), "f32"),
    "qk_norm": (dict(qk_norm=True, decoder_depth=2), "f32"),
    "stored_bf16": (dict(encoder_dim=24, decoder_depth=2), "bf16"),
    "stored_f16": (dict(), "f16"),
    "stored_int8": (dict(decoder_depth=2, encoder_depth=2), "int8"),
}
PLAIN = dict(image_size=16, patch_size=4, encoder_dim=16, encoder_depth=1, encoder_heads=2, num_tokens=97, max_seq_len=24,
             decoder_dim=24, decoder_depth=2, decoder_heads=2, alibi_num_heads=1, use_abs_pos_emb=False, cross_attend=True,
             alibi_pos_bias=True, rotary_xpos=True, attn_flash=True, qk_norm=True)
GENERATED = {
    "stem_lite0": dict(STEM, stem="efficientnet_lite0"),
    "stem_lite1": dict(STEM, stem="efficientnet_lite1", image_size=96),
    "stem_lite2": dict(STEM, stem="efficientnet_lite2"),
    "long_text": dict(max_seq_len=1024, train_length=1024),
}
DEFAULT = dict(qk_norm=False, bos_token=1, eos_token=2)
# texts of several lengths: tokens and the rows of logits that are kept
LENGTHS = {
    "default_size": {1: [0], 64: [0, 1, 31, 63], 1024: [0, 1, 63, 64, 511, 512, 777, 1023]},
    "long_text": {1024: [*range(0, 1024, 31), 1023]},
}
# pictures smaller than the square: height, width
VARIANTS = {"abs_pos": [(8, 16), (4, 4)], "stem_lite1": [(32, 96), (64, 32)]}


# ---- Weights ----------------------------------------------------------------------------------

def describe(config):
    """name, shape, scale and offset of each tensor that the config demands. The scales keep values near 1 through all
    layers; to_q and to_k are larger, so that attention is not flat."""
    entries = []
    with torch.device("meta"):
        state = Palme(config).state_dict()
    for name, value in state.items():
        shape, offset = list(value.shape), 0.0
        fan_in = math.prod(shape[1:])
        norm = value.dim() == 1 and ("norm" in name or ".0.0." in name and ".ff." not in name
                                     or "patch_to_embedding.0." in name or "patch_to_embedding.2." in name)
        if norm:
            scale, offset = (0.2, 1.0) if name.endswith("weight") else (0.1, 0.0)
        elif name.endswith("bias"):
            scale = 0.05 if "stem" in name else 0.1
        elif "pos_embedding" in name:
            scale = 0.5
        elif "token_emb" in name:
            scale = 0.5  # small beside what the picture adds, or one token follows itself for ever
        elif "pos_emb" in name:
            scale = 1.0 * shape[1] ** 0.5  # it is divided by the root of the width
        elif "depthwise" in name:
            scale, offset = 1.5 / math.sqrt(fan_in), 1.0 / fan_in
        elif "stem" in name:
            scale = (1.0 if "project" in name else 2.0) * math.sqrt(3 / fan_in)
        elif "to_q" in name or "to_k" in name:
            scale = 1.5 * math.sqrt(3 / fan_in)
        elif "to_out" in name or ".ff.2." in name:
            scale = math.sqrt(3 / fan_in)
        elif "to_logits" in name:
            scale = 1.5 * math.sqrt(3 / fan_in)
        else:
            scale = math.sqrt(3 / fan_in)
        entries.append({"name": name, "shape": shape, "scale": float(np.float32(scale)), "offset": float(np.float32(offset))})
    return entries


def build(config, arrays):
    return Palme(config).double().load({k: torch.from_numpy(np.array(v)) for k, v in arrays.items()})


# ---- Inputs -----------------------------------------------------------------------------------

def picture(salt, height, width):
    """uint8 [height, width, 3]: smooth waves with some noise, no colour and no row like another."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64) / max(height, width)
    r = generate.bits24("picture " + salt, 12 + height * width * 3) / 2.0 ** 24
    noise = r[12:].reshape(height, width, 3) - 0.5
    waves = [np.sin(2 * np.pi * (x * (1 + 4 * r[4 * c]) + y * (1 + 4 * r[4 * c + 1])) + 6.3 * r[4 * c + 2]) for c in range(3)]
    return np.clip(np.rint(127.5 + 90 * np.stack(waves, -1) + 70 * noise), 0, 255).astype(np.uint8)


def as_image(pixels):
    """uint8 [h, w, 3] -> float32 [1, 3, h, w], v / 255"""
    return (pixels.astype(np.float32) / np.float32(255)).transpose(2, 0, 1)[None].copy()


def token_row(salt, n, vocabulary):
    """bos_token 1, then ids without the special ones."""
    ids = 3 + generate.bits24("tokens " + salt, n).astype(np.int64) % (vocabulary - 3)
    ids[0] = 1
    return ids


# ---- Outputs ----------------------------------------------------------------------------------

def f32(x):
    return x.detach().numpy().astype(np.float32)


def margin(rows):
    best = rows.topk(2, dim=-1).values
    return float((best[:, 0] - best[:, 1]).min())


def sentences(model, context, name, steps, least=3):
    """Greedy and beam tokens after bos_token, or None where a choice is too close to be compared exactly, or where
    the sentence has fewer than `least` different tokens."""
    bos = [model.config.bos_token]
    tokens, rows = model.greedy(context, bos, steps, stop=False)
    if margin(rows) < MARGIN or len(set(tokens)) < least:
        return None
    beam, last_logits = model.beam(context, bos, BEAMS, ALPHA, STEPS), model.last_logits
    if len(set(beam)) < least:
        return None
    generator, same = torch.Generator().manual_seed(1), True

    def noisy(*args):
        row = last_logits(*args)
        return row + MARGIN / 2 * torch.randn(row.shape, generator=generator, dtype=row.dtype)
    model.last_logits = noisy  # a beam has no single margin: it must stand some noise
    for _ in range(8):
        same = same and model.beam(context, bos, BEAMS, ALPHA, STEPS) == beam
    model.last_logits = last_logits
    if not same:
        return None
    print(f"  {name}: margin {margin(rows):.3f}, greedy {tokens}, beam {beam}")
    return {"greedy_tokens": np.array(tokens), "beam_tokens": np.array(beam), "beam_max_length": np.array([STEPS])}


def expected(model, name, pixels, least=3, steps=14, n=18):
    config, image = model.config, as_image(pixels)
    with torch.no_grad():
        context = model.encode(torch.from_numpy(image).double())
        tokens = token_row(name, n, config.num_tokens)
        logits = model.decode(torch.from_numpy(tokens)[None], context, config.xpos_center)
    out = {"pixels": pixels, "tokens": tokens, "encoder_output": f32(context[0]), "logits": f32(logits[0]),
           "image": image}
    told = sentences(model, context, name, steps, least)
    return None if told is None else {**out, **told}


def try_salts(name, attempt):
    """The first salt for which `attempt` finds clear choices."""
    for i in range(50):
        found = attempt(name if i == 0 else f"{name} {i}")
        if found is not None:
            return found
    raise SystemExit(f"{name}: no input with clear choices found")


def write_variants(folder, model, name):
    out = {}
    for h, w in VARIANTS.get(name, []):
        image = as_image(picture(f"{name} {h}x{w}", h, w))
        out[f"image_{h}x{w}"] = image
        with torch.no_grad():
            out[f"encoder_output_{h}x{w}"] = f32(model.encode(torch.from_numpy(image).double())[0])
    if out:
        modelfile.write_arrays(folder / "variants.safetensors", out)


# ---- Folders ----------------------------------------------------------------------------------

def liven(arrays, config, by):
    """A likelier end, so that beams finish, in models whose weights are stored."""
    arrays["decoder.net.to_logits.bias"][config.eos_token] += np.float32(by)
    return arrays


def sharpen(entries):
    """Attention to the text that depends on the last digits of an angle, as that of a trained model does."""
    for e in entries:
        if e["name"].startswith("decoder.net.attn_layers.layers.0.1.to_") and e["name"][-8] in "qk":
            e["scale"] = float(np.float32(1.5 * e["scale"]))
    return entries


def salted(entries, salt):
    return {e["name"]: generate.tensor(salt + " " + e["name"], e["shape"], e["scale"], e["offset"]) for e in entries}


def rotary_buffers():
    k = torch.arange(16, dtype=torch.float32)
    return {"decoder.net.attn_layers.rotary_pos_emb.inv_freq": (1.0 / 10000 ** (2 * k / 32)).numpy(),
            "decoder.net.attn_layers.rotary_pos_emb.scale": ((2 * k + 12.8) / 44.8).numpy()}


def small(folder, name):
    changes, how = SMALL[name]
    config, ends = Config(**{**TINY, **changes}), name == "stored_f16"

    def attempt(salt):
        arrays = liven(salted(describe(config), salt), config, 3.5 if ends else 1.5)
        if name in ("one_head", "alibi6"):
            arrays.update(rotary_buffers())
        if name in ("one_head", "alibi3"):  # the other form of the names
            arrays = {k.replace("decoder.net.", "decoder."): v for k, v in arrays.items()}
        written = modelfile.config_dict(config)
        if changes.get("alibi_num_heads", 1) is None:
            written["alibi_num_heads"] = None
        modelfile.write(folder / "model.safetensors", arrays, written, generate.tokenizer_json(config.num_tokens),
                        "# Fixture\nWeights from a formula, for tests.", how, name, version=1)
        model = modelfile.load(folder / "model.safetensors").double()  # what was stored is what is computed with
        out = expected(model, salt, picture(salt, config.image_size, config.image_size), 2 if ends else 3)
        if ends and out is not None and out["greedy_tokens"][0] != config.eos_token:
            return None  # here a sentence would end at once, which greedy may and a beam may not
        if out is not None:
            modelfile.write_arrays(folder / "expected.safetensors", out)
            write_variants(folder, model, name)
        return out
    try_salts(name, attempt)


def plain(folder, name):
    """A plain checkpoint, with what the reference's own forward and loop give."""
    config = Config.read_plain(json.dumps(PLAIN))

    def attempt(salt):
        arrays = salted(describe(config), salt)
        model = build(config, arrays)
        image = as_image(picture(salt, 16, 16))
        tokens, prompt = token_row(salt, 24, 97)[None], token_row(salt + " prompt", 5, 97)
        with torch.no_grad():
            context = model.encode(torch.from_numpy(image).double())
            logits = model.decode(torch.from_numpy(tokens), context)
            palme_logits, loss = model(torch.from_numpy(image).double(), torch.from_numpy(tokens))
        out = {"image": image, "tokens": tokens, "prompt": prompt, "encoder_output": f32(context[0]), "logits": f32(logits[0]),
               "logits_rows": np.arange(24), "palme_logits": f32(palme_logits[0]), "palme_loss": f32(loss.reshape(1))}
        runs = {"greedy_reference": dict(reference=True)}
        runs.update({f"greedy_fixed_centre_{c}": dict(center=c) for c in (2, 10, 12)})
        for key, how in runs.items():
            ids, rows = model.greedy(context, prompt.tolist(), 16, stop=False, **how)
            if margin(rows) < MARGIN:
                return None
            best = rows.topk(2, dim=-1).values
            out.update({key: np.array(ids), key + "_logits": f32(rows), key + "_margin": f32(best[:, 0] - best[:, 1])})
        modelfile.write_arrays(folder / "model.safetensors", {**arrays, **rotary_buffers()}, {"format": "pt"})
        (folder / "config.json").write_text(json.dumps(PLAIN, indent=1) + "\n")
        modelfile.write_arrays(folder / "expected.safetensors", out)
        return out
    try_salts(name, attempt)


def write_generate(folder, config, entries):
    lines = ",\n  ".join(json.dumps(e) for e in entries)
    (folder / "generate.json").write_text(
        f'{{"config": {json.dumps(modelfile.config_dict(config))},\n "tensors": [\n  {lines}]}}\n')


def generated(folder, name):
    config = Config(**{**TINY, **GENERATED[name]})
    entries = sharpen(describe(config)) if name == "long_text" else describe(config)
    write_generate(folder, config, entries)
    model = build(config, generate.tensors(entries))

    def attempt(salt):
        out = expected(model, salt, picture(salt, config.image_size, config.image_size))
        if out is not None:
            with torch.no_grad():
                context = model.encode(torch.from_numpy(as_image(out["pixels"])).double())
            out.update(lengths(model, context, salt, LENGTHS.get(name, {}), slice(None)))
        return out
    modelfile.write_arrays(folder / "expected.safetensors", try_salts(name, attempt))
    write_variants(folder, model, name)


def lengths(model, context, salt, wanted, columns):
    """Some rows and columns of the logits of longer texts: tokens_N, logits_rows_N, logits_N."""
    out = {}
    for n, rows in wanted.items():
        tokens = token_row(f"{salt} {n}", n, model.config.num_tokens)
        with torch.no_grad():
            logits = model.decode(torch.from_numpy(tokens)[None], context, model.config.xpos_center)[0]
        out.update({f"tokens_{n}": tokens, f"logits_rows_{n}": np.array(rows), f"logits_{n}": f32(logits[rows][:, columns])})
    return out


def default_size(folder, name):
    """Every parameter at its default but qk_norm: some rows and columns of the logits at n = 1, 64 and 1024."""
    config = Config(**DEFAULT)
    entries = describe(config)
    write_generate(folder, config, entries)
    model = build(config, generate.tensors(entries))
    columns = np.arange(0, 20000, 13)

    def attempt(salt):
        pixels = picture(salt, 256, 256)
        with torch.no_grad():
            context = model.encode(torch.from_numpy(as_image(pixels)).double())
        told = sentences(model, context, salt, 6)
        if told is None:
            return None
        return {"pixels": pixels, "encoder_output": f32(context[0]), "logits_columns": columns, **told,
                **lengths(model, context, salt, LENGTHS[name], columns)}
    modelfile.write_arrays(folder / "expected.safetensors", try_salts(name, attempt))


def sampling(path):
    """A row of logits, what filters keep of it and the probabilities, under the names of the reference's thresholds."""
    logits = torch.from_numpy(generate.tensor("sampling", [97], 4.0, 0.0))
    out = {"logits_97": logits.numpy()}
    for t in (0.0, 0.5, 0.9, 0.99):
        k = math.ceil((1 - t) * 97)
        out[f"top_k_97_thres{t}_keep"] = (filter_probabilities(logits, top_k=k) > 0).numpy().astype(np.int32)
        for temperature in (0.7, 1.0):
            out[f"top_k_97_thres{t}_T{temperature}_probs"] = f32(filter_probabilities(logits, temperature, top_k=k))
        out[f"top_p_97_thres{t}_keep"] = (filter_probabilities(logits, top_p=1 - t) > 0).numpy().astype(np.int32)
    modelfile.write_arrays(path, out)


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Writes the fixtures with golden numbers.")
    parser.add_argument("--out", type=Path, default=here.parent / "tests" / "data" / "golden")
    parser.add_argument("names", nargs="*", help="only these")
    args = parser.parse_args()
    makers = {**{n: small for n in SMALL}, "plain": plain, **{n: generated for n in GENERATED}, "default_size": default_size}
    for name in args.names or [*makers, "sampling"]:
        print(name)
        if name == "sampling":
            args.out.mkdir(parents=True, exist_ok=True)
            sampling(args.out / "sampling.safetensors")
        else:
            (args.out / name).mkdir(parents=True, exist_ok=True)
            makers[name](args.out / name, name)


if __name__ == "__main__":
    main()
