# SPDX-License-Identifier: LGPL-2.1-or-later
"""test_import.py - checkpoints of zeta's classes as model files, and export.py: what they write, and what they refuse.

PALME_CAPTION and PALME_BENCH_ENGINE name programs of the build; without them the engine is left out, without the
package zetascale the reference.
"""

import importlib.util
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

import generate
import make_fixtures
from models import checkpoint, modelfile
from models.convert import export, import_zeta
from models.data import DataError
from models.eval import evaluate
from models.palme import Config, Palme

torch.set_num_threads(1)
pytest.importorskip("tokenizers", reason="tokenizers is not installed")

CAPTION, BENCH = os.environ.get("PALME_CAPTION"), os.environ.get("PALME_BENCH_ENGINE")
LOGITS = 6e-5  # of the engine in f32 beside torch, small configurations
SIZES = dict(
    image_size=32,
    patch_size=8,
    encoder_dim=64,
    encoder_depth=2,
    encoder_heads=3,
    num_tokens=97,
    max_seq_len=40,
    decoder_dim=64,
    decoder_depth=2,
    decoder_heads=2,
    alibi_num_heads=1,
)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def random_model(**changes):
    """palme.py with numbers of a formula: none is zero or one by chance of initialisation."""
    config = Config(**{**SIZES, "qk_norm": False, **changes})
    arrays = generate.tensors(make_fixtures.describe(config))
    return Palme(config).load({name: torch.from_numpy(x) for name, x in arrays.items()})


def checkpoint_of(model, path, form="decoder.net.", buffers=True, wrap=None):
    state = {name.replace("decoder.net.", form): x.clone() for name, x in model.state_dict().items()}
    if model.config.rotary_xpos and buffers:
        k = torch.arange(16, dtype=torch.float32)
        state[form + "attn_layers.rotary_pos_emb.inv_freq"] = 1 / 10000 ** (2 * k / 32)
        state[form + "attn_layers.rotary_pos_emb.scale"] = (2 * k + 12.8) / 44.8
    if path.suffix == ".safetensors":
        modelfile.write_arrays(path, {name: x.numpy() for name, x in state.items()})
    else:
        torch.save({wrap: state} if wrap else state, path)
    return path


def tokenizer_of(tmp_path, size=97):
    path = tmp_path / f"tokenizer{size}.json"
    path.write_text(generate.tokenizer_json(size))
    return path


def imported(tmp_path, checkpoint, *options, size=97):
    """The command, in this process; (status, path of the model file)"""
    out = tmp_path / "out.safetensors"
    status = import_zeta.main(
        [str(checkpoint), "--tokenizer", str(tokenizer_of(tmp_path, size)), "--out", str(out), *map(str, options)]
    )
    return status, out


def engine_logits(path, image, tokens, tmp_path):
    """[n, V], by the engine."""
    (tmp_path / "image.raw").write_bytes(image.numpy().astype("<f4").tobytes())
    words = (
        f"load {path} 1\nlogits {tmp_path / 'logits.raw'} {tmp_path / 'image.raw'} {' '.join(map(str, tokens))}\nquit\n"
    )
    said = subprocess.run(
        [BENCH, "--serve"], input=words, capture_output=True, text=True, timeout=120, check=True
    ).stdout
    assert [line.split()[0] for line in said.splitlines()[:2]] == ["ok", "ok"], said
    return torch.from_numpy(np.fromfile(tmp_path / "logits.raw", "<f4").reshape(len(tokens), -1))


# ---- Import -------------------------------------------------------------------------------------

CASES = {
    "palme": ({}, "decoder.net.", "x.pt", ["--max-seq-len", 40, "--alibi-num-heads", 1]),
    "palme, wrapped": ({}, "decoder.net.", "x.pt", ["--max-seq-len", 40, "--alibi-num-heads", 1]),
    "gpt4": ({}, "decoder.", "x.safetensors", ["--max-seq-len", 40, "--alibi-num-heads", 1]),
    "absolute positions": (
        {"rotary_xpos": False, "use_abs_pos_emb": True},
        "decoder.net.",
        "x.safetensors",
        ["--alibi-num-heads", 1],
    ),
    "no alibi": ({"alibi_pos_bias": False}, "decoder.", "x.pt", ["--max-seq-len", 40, "--alibi-pos-bias", "false"]),
    "prefix": ({"cross_attend": False}, "decoder.net.", "x.pt", ["--max-seq-len", 40, "--alibi-num-heads", 2]),
}


@pytest.mark.parametrize("case", CASES)
def test_round_trip(tmp_path, capsys, case):
    changes, form, name, options = CASES[case]
    model = random_model(**changes)
    if case == "prefix":
        model.config.alibi_num_heads = 2
    checkpoint = checkpoint_of(model, tmp_path / name, form, wrap="state_dict" if "wrapped" in case else None)
    status, out = imported(tmp_path, checkpoint, *options, *(["--engine", CAPTION] if CAPTION else []))
    said, errors = capsys.readouterr()
    assert status == 0, errors
    assert f"a checkpoint of {'PalmE' if form == 'decoder.net.' else 'GPT4MultiModal'}" in said
    again = modelfile.load(out)
    c = again.config
    for key in import_zeta.PARAMETERS:
        # Without ALiBi the number of its heads says nothing.
        if key != "alibi_num_heads" or c.alibi_pos_bias:
            assert getattr(c, key) == getattr(model.config, key), key
    fed = 40 - (form == "decoder.net.")  # PalmE feeds all but the last token
    assert c.xpos_center == (fed + (0 if c.cross_attend else 16)) // 2
    assert not c.qk_norm and (c.bos_token, c.eos_token, c.pad_token) == (1, 2, 0)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(7))
    tokens = [1, 50, 96, 3, 3, 17, 60, 2, 44, 5]
    wanted = model.decode(torch.tensor([tokens]), model.encode(image), c.xpos_center)[0]
    assert wanted.std() > 0.3
    assert torch.equal(again.decode(torch.tensor([tokens]), again.encode(image), c.xpos_center)[0], wanted)
    if BENCH:
        assert (engine_logits(out, image[0], tokens, tmp_path) - wanted).abs().max() <= LOGITS
    if not importlib.util.find_spec("zeta"):
        assert "NOT compared with the reference" in said


def test_what_shapes_do_not_tell_is_said(tmp_path, capsys):
    model = random_model(decoder_heads=4, alibi_num_heads=4, max_seq_len=1024)
    status, out = imported(tmp_path, checkpoint_of(model, tmp_path / "x.pt", buffers=False))
    said, _ = capsys.readouterr()
    assert status == 0
    lines = {line.split()[0]: line for line in said.splitlines() if line.startswith("  ")}
    assumed = {name for name, line in lines.items() if "ASSUMED" in line}
    assert assumed == {
        "max_seq_len",
        "alibi_num_heads",
        "use_abs_pos_emb",
        "alibi_pos_bias",
        "rotary_xpos",
        "attn_flash",
        "qk_norm",
        "train_length",
    }
    assert Config.read(modelfile.read(out)[1]["config"]).xpos_center == 511


@pytest.mark.parametrize("store", modelfile.STORES)
def test_storage(tmp_path, store):
    model = random_model()
    status, out = imported(tmp_path, checkpoint_of(model, tmp_path / "x.pt"), "--alibi-num-heads", 1, "--store", store)
    assert status == 0
    export.check_stored(out, {name: x.numpy() for name, x in model.state_dict().items()}, store)


def broken(change):
    """A state_dict with one thing wrong, written as .pt."""

    def make(path):
        state = {name: x.clone() for name, x in random_model().state_dict().items()}
        state = change(state) or state
        torch.save(state, path)

    return make


def lose(name):
    return broken(lambda s: {k: v for k, v in s.items() if k != name})


class Evil:
    def __reduce__(self):
        return os.system, ("touch /nonexistent/owned",)


BROKEN = {
    "a missing tensor": (lose("decoder.net.attn_layers.layers.1.1.to_k.weight"), "lacks 1 tensor: .*layers.1.1.to_k"),
    "no embedding": (lose("decoder.net.token_emb.emb.weight"), "token_emb.emb.weight is missing"),
    "an unknown tensor": (broken(lambda s: {**s, "encoder.extra": torch.zeros(3)}), "unknown 1 tensor: encoder.extra"),
    "a tensor of another shape": (
        broken(lambda s: {**s, "decoder.net.to_logits.bias": torch.zeros(96)}),
        r"to_logits.bias is \[96\], wanted \[97\]",
    ),
    "a tensor of another rank": (
        broken(lambda s: {**s, "encoder.pos_embedding": torch.zeros(16, 64)}),
        "wanted 3 dimensions",
    ),
    "a number that is none": (
        broken(lambda s: {**s, "decoder.net.to_logits.bias": torch.full((97,), torch.nan)}),
        "values that are not finite",
    ),
    "both forms": (broken(lambda s: {**s, "decoder.to_logits.bias": torch.zeros(97)}), "no class of zeta has both"),
    "no decoder": (broken(lambda s: {"encoder.x": torch.zeros(2)}), "no tensor of a decoder"),
    "no square of patches": (
        broken(lambda s: {**s, "encoder.pos_embedding": torch.zeros(1, 15, 64)}),
        "15 rows, which is not a square",
    ),
    "a list": (lambda path: torch.save([1, 2], path), "wanted a dict of tensors, found list"),
    "no tensors": (lambda path: torch.save({"a": 1}, path), "a is not a tensor but int"),
    "a pickle that runs code": (
        lambda path: path.write_bytes(pickle.dumps({"a": Evil()})),
        "could run any code|not a file of torch.save",
    ),
    "an object": (
        lambda path: torch.save({"a": Config()}, path),
        r"it holds more than tensors \(models.palme.Config\)",
    ),
    "text": (lambda path: path.write_text("hello"), "not a file of torch.save"),
    "nothing": (lambda path: path.write_text(""), "not a file of torch.save"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_checkpoints(tmp_path, capsys, what):
    make, words = BROKEN[what]
    make(tmp_path / "x.pt")
    status, out = imported(tmp_path, tmp_path / "x.pt", "--alibi-num-heads", 1)
    _, errors = capsys.readouterr()
    assert status == 2 and __import__("re").search(words, errors), errors
    assert errors.count("\n") == 1 and "x.pt" in errors and not out.exists()


@pytest.mark.parametrize(
    "options, size, words",
    [
        (["--patch-size", 4], 97, "patch_size is given as 4, but encoder.patch_to_embedding.1.weight says 8"),
        ([], 97, "alibi_num_heads is 4, the decoder has 2 heads"),
        (["--alibi-num-heads", 1], 90, "7 rows such as 90 have no token"),
        (["--alibi-num-heads", 1], 100, "3 tokens such as"),
        (["--alibi-num-heads", 1, "--eos", "<none>"], 97, "neither an id nor a token"),
        (["--alibi-num-heads", 1, "--bos", "97"], 97, "neither an id nor a token"),
    ],
)
def test_refused_options(tmp_path, capsys, options, size, words):
    checkpoint = checkpoint_of(random_model(), tmp_path / "x.pt")
    assert imported(tmp_path, checkpoint, *options, size=size)[0] == 2
    assert words in capsys.readouterr()[1]


def test_filled_tokenizer(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    status, out = imported(
        tmp_path,
        checkpoint_of(random_model(), tmp_path / "x.pt"),
        "--alibi-num-heads",
        1,
        "--fill-tokenizer",
        *(["--engine", CAPTION] if CAPTION else []),
        size=90,
    )
    assert status == 0
    filled = tokenizers.Tokenizer.from_str(modelfile.read_raw(out)[1]["tokenizer"])
    assert sorted(filled.get_vocab().values()) == list(range(97))
    assert filled.decode([5, 95, 6]) == filled.decode([5, 6])


@pytest.mark.parametrize("form", ["palme", "gpt4"])
def test_reference(tmp_path, capsys, form):
    """The reference makes the checkpoint, and computes what the file's model computes."""
    try:
        classes = import_zeta.reference_classes()
    except ImportError as error:
        pytest.skip(f"the package zetascale cannot be imported ({error})")
    torch.manual_seed(3)
    theirs = classes[form](**SIZES)
    torch.save(theirs.state_dict(), tmp_path / "x.pt")
    status, _ = imported(tmp_path, tmp_path / "x.pt", "--max-seq-len", 40, "--alibi-num-heads", 1)
    said, errors = capsys.readouterr()
    assert status == 0 and "beside the reference" in said, said + errors


# ---- Export -------------------------------------------------------------------------------------


def write_file(path, model, card="# A\n\nLicense: none", tokenizer=None):
    checkpoint.write_model(path, model, tokenizer or generate.tokenizer_json(97), card)
    return path


def exported(*arguments):
    return export.main(["write", *map(str, arguments)])


def test_average(tmp_path, capsys):
    models = [random_model(bos_token=1, eos_token=2) for _ in range(3)]
    models[0].config.precisions, models[0].config.length_penalty = ("f32", "int8"), 0.25  # the others' are not these
    for i, model in enumerate(models):
        for p in model.parameters():
            p.add_(0.01 * i * torch.sin(torch.arange(p.numel()).reshape(p.shape).float()))
    paths = [write_file(tmp_path / f"{i}.safetensors", m) for i, m in enumerate(models[:2])]
    torch.save(
        {
            "state_dict": models[2].state_dict(),
            "config": modelfile.config_dict(models[2].config),
            "tokenizer": generate.tokenizer_json(97),
            "card": "License: none",
        },
        tmp_path / "2.pt",
    )
    out = tmp_path / "out.safetensors"
    assert (
        exported(
            *paths,
            tmp_path / "2.pt",
            "--out",
            out,
            "--store",
            "f32",
            "--set",
            "default_beams=2",
            *(["--engine", CAPTION] if CAPTION else []),
        )
        == 0
    )
    found, metadata = modelfile.read(out)
    for name in models[0].state_dict():
        mean = sum(m.state_dict()[name].double() for m in models) / 3
        assert np.abs(found[name] - mean.numpy()).max() <= 1e-6 * max(1, float(mean.abs().max())), name
    config = Config.read(metadata["config"])
    assert config.length_penalty == 0.25 and list(config.precisions) == ["f32"]  # an average has not been measured
    assert config.default_beams == 2 and "License: none" in metadata["model_card"]
    said = capsys.readouterr()[0]
    assert "average of 3" in said and "apart at most" in said and said.count("(-") == (3 if CAPTION else 2)


def test_export_refuses(tmp_path, capsys):
    a = write_file(tmp_path / "a.safetensors", random_model(bos_token=1, eos_token=2))
    other = write_file(tmp_path / "other.safetensors", random_model(bos_token=1, eos_token=2, encoder_depth=1))
    spoken = write_file(
        tmp_path / "spoken.safetensors",
        random_model(bos_token=1, eos_token=2),
        tokenizer=generate.tokenizer_json(97).replace('"trim_offsets": true', '"trim_offsets": false'),
    )
    bare = write_file(tmp_path / "bare.safetensors", random_model(bos_token=1, eos_token=2), card="# Nothing said")
    plain = checkpoint_of(random_model(), tmp_path / "plain.safetensors")
    torch.save({"state_dict": {}}, tmp_path / "half.pt")
    out = tmp_path / "out.safetensors"
    for arguments, words in [
        ((a, other), "encoder_depth is 1"),
        ((a, spoken), "another tokenizer"),
        ((bare,), "under which terms"),
        ((plain,), "import_zeta.py"),
        ((tmp_path / "half.pt",), "no config, tokenizer"),
        ((a, "--set", "default_beam=3"), "with a key"),
        ((a, "--set", "default_beams=x"), "is of type int"),
        ((tmp_path / "no.pt",), "no such file"),
    ]:
        assert exported(*arguments, "--out", out) == 2
        errors = capsys.readouterr()[1]
        assert words in errors and not out.exists(), errors
    assert exported(bare, "--out", out, "--license", "CC0-1.0") == 0
    assert "## License\n\nCC0-1.0" in modelfile.read_raw(out)[1]["model_card"]


def test_reading_back_finds_damage(tmp_path):
    model = random_model(bos_token=1, eos_token=2)
    arrays = {name: x.numpy().copy() for name, x in model.state_dict().items()}
    path = write_file(tmp_path / "a.safetensors", model)
    export.check_stored(path, arrays, "f32")
    arrays["decoder.net.to_logits.bias"][3] += 1e-6
    with pytest.raises(DataError, match=r"to_logits\.bias reads back differently"):
        export.check_stored(path, arrays, "f32")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="sha256"):
        export.check_stored(path, arrays, "f32")


# ---- Versions of the format ---------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(modelfile, "convert"), reason="modelfile.py knows one version of the format")
@pytest.mark.parametrize("store", modelfile.STORES)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cross_attend": False, "decoder_dim": 128},
        {"rotary_xpos": False, "use_abs_pos_emb": True, "decoder_dim": 48},
    ],
)
def test_convert(tmp_path, capsys, changes, store):
    """To the other version and back, twice: the same model and the same bytes"""
    model = random_model(bos_token=1, eos_token=2, **changes)
    checkpoint.write_model(tmp_path / "a", model, generate.tokenizer_json(97), "card", store)
    for old, new, version in [("a", "one", 1), ("one", "two", 2), ("two", "again", 1), ("again", "twice", 2)]:
        assert export.main(["convert", str(tmp_path / old), str(tmp_path / new), "--format-version", str(version)]) == 0
        metadata = modelfile.read_raw(tmp_path / new)[1]
        assert metadata["format_version"] == str(version) and f"format version {version}" in capsys.readouterr()[0]
    assert Config.read(modelfile.read(tmp_path / "two")[1]["config"]) == model.config
    if "use_abs_pos_emb" not in changes:  # their scale costs the last bit
        assert (tmp_path / "one").read_bytes() == (tmp_path / "again").read_bytes()
        assert (tmp_path / "two").read_bytes() == (tmp_path / "twice").read_bytes()
    export.check_stored(tmp_path / "twice", modelfile.read(tmp_path / "a")[0], "f32")
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.skipif(not hasattr(modelfile, "convert"), reason="modelfile.py knows one version of the format")
def test_convert_refuses(tmp_path, capsys):
    plain = checkpoint_of(random_model(), tmp_path / "plain.safetensors")
    (tmp_path / "junk").write_bytes(b"junk")
    empty = {"format": "palme", "format_version": "1", "config": "{}"}
    modelfile.write_arrays(tmp_path / "empty", {"x": np.zeros(3, np.float32)}, empty)
    for old, words in [
        (plain, "no model file"),
        (tmp_path / "empty", "empty: no model file"),
        (tmp_path / "junk", "no model file"),
        (tmp_path / "gone", "No such file"),
    ]:
        assert export.main(["convert", str(old), str(tmp_path / "new")]) == 2
        errors = capsys.readouterr()[1]
        assert words in errors and errors.count("\n") == 1, errors
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob("*.part"))


# ---- Precisions ---------------------------------------------------------------------------------


def fake_engine(path):
    """A palme-caption that says the precision it was asked for."""
    path.write_text(f"""#!{sys.executable}
import json, sys
words = sys.argv[1:]
if "--help" in words:
    print("--precision")
else:
    for name in words:
        if name.endswith(".png"):
            print(json.dumps({{"source": name, "caption": words[words.index("--precision") + 1] + name, "score": -1}}))
""")
    path.chmod(0o755)
    return path


def test_precisions(tmp_path, monkeypatch, capsys):
    pil = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    for i in range(4):
        pil.fromarray(make_fixtures.picture(str(i), 20, 20)).save(tmp_path / f"{i}.png")
    (tmp_path / "c.tsv").write_text("".join(f"{i}\ta dog\n" for i in range(4)))
    ciders = {"f32": 0.6, "bf16": 0.5901, "int8": 0.5899}

    def score(references, captions, tokens=None):
        kind = next(k for k in ciders if captions["0"].startswith(k))
        return {**dict.fromkeys(evaluate.METRICS, 0.5), "CIDEr": ciders[kind]}, dict.fromkeys(captions, 1.0)

    monkeypatch.setattr(evaluate, "score", score)
    monkeypatch.setattr(evaluate, "tokenize", lambda captions: captions)
    monkeypatch.setattr(evaluate, "scorers", lambda: None)
    model = write_file(tmp_path / "m.safetensors", random_model(bos_token=1, eos_token=2))
    before, out = model.read_bytes(), tmp_path / "out.safetensors"
    arguments = [
        "precisions",
        "--photos",
        tmp_path,
        "--captions",
        tmp_path / "c.tsv",
        "--engine",
        fake_engine(tmp_path / "engine"),
        "--out",
        out,
    ]
    assert export.main([str(a) for a in [*arguments, model]]) == 0, capsys.readouterr()
    assert model.read_bytes() == before
    tensors, metadata = modelfile.read_raw(out)
    assert Config.read(modelfile.read(out)[1]["config"]).precisions == ["f32", "bf16"]
    old, theirs = modelfile.read_raw(model)
    assert metadata["sha256"] == theirs["sha256"] and all(np.array_equal(x, tensors[k][1]) for k, (_, x) in old.items())
    card = metadata["model_card"]
    assert "| int8 | 0.0 % |" in card and "-0.0101 | no |" in card and "-0.0099 | yes |" in card
    ciders["int8"] = 0.61  # measured again, the old table goes
    assert export.main([str(a) for a in [*arguments, out]]) == 0
    metadata = modelfile.read(out)[1]
    assert Config.read(metadata["config"]).precisions == ["f32", "bf16", "int8"]
    assert metadata["model_card"].count("## Precisions") == 1 and "+0.0100 | yes" in metadata["model_card"]
