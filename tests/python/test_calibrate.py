# SPDX-License-Identifier: LGPL-2.1-or-later
"""test_calibrate.py - calibration of imported models through the engine's library (PALME_LIBRARY): layers with outliers
are found, and the engine keeps them as the file says."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from models import ROOT, engine, modelfile
from models.convert import calibrate, import_hf
from models.data import DataError

PHOTOS = ROOT / "examples" / "photos"
OUTLIERS = {"encoder.1.attn.qkv", "decoder.0.mlp.up"}

pytestmark = pytest.mark.skipif(not os.environ.get("PALME_LIBRARY"), reason="PALME_LIBRARY names no library")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    out = tmp_path_factory.mktemp("plain") / "plain.safetensors"
    import_hf.import_folder(ROOT / "tests" / "data" / "hf" / "vit_gpt2", out, "f32")
    return out


@pytest.fixture(scope="module")
def outliers(plain):
    """The same model with two norms of which one channel is 512 times as large, and the layers behind them divided by
    that: the same numbers in f32, and nothing left of the other channels in int8."""
    tensors, metadata = modelfile.read_raw(plain)
    tensors = {name: (kind, np.array(x)) for name, (kind, x) in tensors.items()}
    for norm, channel, layers in (
        ("encoder.1.attn", 3, ("q", "k", "v")),
        ("decoder.0.mlp", 5, ("up",)),
    ):
        for part in ("weight", "bias"):
            tensors[f"{norm}.norm.{part}"][1][channel] *= 512
        for layer in layers:
            tensors[f"{norm}.{layer}.weight"][1][:, channel] /= 512
    out = plain.with_name("outliers.safetensors")
    modelfile.write_raw(out, tensors, {**metadata, "sha256": modelfile.sha256(tensors)})
    return out


@pytest.fixture(scope="module")
def meter(outliers):
    config = json.loads(modelfile.read_metadata(outliers)["config"])
    return calibrate.Meter(outliers, config, calibrate.photos_of(PHOTOS, 4), threads=1)


def test_the_models_agree_in_f32(plain, meter):
    with engine.Engine(plain, "f32", threads=1) as model:
        assert np.allclose(meter.scores_of(model), meter.scores, atol=1e-3)


def test_layers_with_outliers_are_found(meter):
    before = meter.moved("int8", {})
    least = calibrate.choose(meter, 0.05)
    assert set(least) >= OUTLIERS and len(least) <= 4, least
    assert set(list(least)[:2]) == OUTLIERS  # they are the worst
    assert meter.moved("int8", least) <= 0.05 < before
    assert calibrate.choose(meter, 100.0) == {}


def test_the_engine_keeps_layers_as_the_file_says(meter):
    everything = dict.fromkeys(meter.layers, "f32")
    assert meter.moved("int8", everything) < 1e-5  # sums of BLAS have another order
    # Each name that calibration knows is one of the engine's, and each has an effect alone.
    for name in meter.layers:
        assert meter.alone([name]) > 1e-6, name
    with pytest.raises(DataError, match=r"least_precision\.encoder\.9\.mlp\.up is no layer"):
        meter.moved("int8", {"encoder.9.mlp.up": "f32"})


def test_the_command_writes_what_it_measured(outliers, tmp_path):
    out = tmp_path / "out.safetensors"
    command = [sys.executable, ROOT / "models" / "convert" / "calibrate.py", outliers, PHOTOS, "--out", out]
    said = subprocess.run([*command, "--limit", "3", "--threads", "1"], capture_output=True, text=True, timeout=300)
    assert said.returncode == 0, said.stderr
    assert "int8 with care" in said.stdout and "captions equal" in said.stdout
    before, after = (modelfile.read_raw(path) for path in (outliers, out))
    config = json.loads(after[1]["config"])
    assert config["precisions"] == ["f32", "bf16", "int8"] and set(config["least_precision"]) >= OUTLIERS
    assert all(np.array_equal(before[0][name][1], after[0][name][1]) for name in before[0])
    assert before[1]["sha256"] == after[1]["sha256"]
    with engine.Engine(out, "auto", threads=1) as model:  # and the engine takes it
        assert model.caption(next(iter(calibrate.photos_of(PHOTOS, 1).values())))[1] < 0


def test_int8_files_store_these_layers_more_exactly(tmp_path):
    out = tmp_path / "out.safetensors"
    least = {"encoder.1.attn.qkv": "bf16", "decoder.logits": "f32"}
    source = ROOT / "tests" / "data" / "hf" / "vit_gpt2"
    import_hf.import_folder(source, out, "int8", measured=(["f32", "int8"], least))
    tensors, _ = modelfile.read_raw(out)
    assert {tensors[f"encoder.1.attn.{x}.weight"][0] for x in "qkv"} == {"BF16"}
    assert tensors["decoder.embedding.weight"][0] == "F32"  # its logits are tied
    assert tensors["encoder.0.attn.q.weight"][0] == tensors["encoder.1.attn.out.weight"][0] == "I8"


def test_errors(tmp_path, plain):
    with pytest.raises(DataError, match="no photo"):
        calibrate.photos_of(tmp_path, 3)
    (tmp_path / "junk").write_bytes(b"not a model file")
    with pytest.raises(DataError, match="no model file"):
        calibrate.calibrate(tmp_path / "junk", PHOTOS)
    with pytest.raises(DataError, match="precision"):
        engine.Engine(plain, "f64")
