# SPDX-License-Identifier: LGPL-2.1-or-later
"""test_distill.py - from photos without captions and an imported captioner to a model file of one's own, as
docs/distill.md says it, at a size of seconds. The teacher speaks through the engine's library (PALME_LIBRARY)."""

import json
import os
import subprocess

import pytest

from models import ROOT, data
from models.convert import import_hf
from models.train import distill, features, train

PHOTOS = ROOT / "examples" / "photos"

pytestmark = pytest.mark.skipif(not os.environ.get("PALME_LIBRARY"), reason="PALME_LIBRARY names no library")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    out = tmp_path_factory.mktemp("teacher") / "blip.safetensors"
    import_hf.import_folder(ROOT / "tests" / "data" / "hf" / "blip", out, "f32")
    return out


def sentences(teacher, out, *more):
    arguments = ["sentences", "--teacher", str(teacher), "--photos", str(PHOTOS), "--out", str(out)]
    distill.main([*arguments, "--least", "-99", "--threads", "1", *more])
    return data.read_captions(out)


def test_a_student_of_an_imported_teacher(teacher, tmp_path, monkeypatch):
    dev = tmp_path / "dev.tsv"
    found = sentences(teacher, tmp_path / "mine.tsv", "--dev", str(dev), "--dev-every", "4", "--samples", "2")
    held = data.read_captions(dev)
    photos = [name for name, _, _ in data.photo_files(PHOTOS)]
    assert set(held) == set(photos[3::4]) and not set(held) & set(found)
    assert max(len(captions) for captions in found.values()) > 1  # the sampled ones

    tiny = {"encoder_dim": 64, "encoder_heads": 1, "encoder_depth": 1, "decoder_dim": 64, "decoder_heads": 2}
    tiny |= {"decoder_depth": 1, "num_tokens": 300, "image_size": 64}
    monkeypatch.setitem(train.SIZES, "pure", {**train.SIZES["pure"], **tiny})
    cache, run = str(tmp_path / "cache"), tmp_path / "run"
    features.cache(features.Photos([PHOTOS]), cache, "none", 2, 64)
    arguments = ["--size", "pure", "--cache", cache, "--captions", str(tmp_path / "mine.tsv"), "--dev-cache", cache]
    arguments += ["--dev-captions", str(dev), "--run", str(run), "--batch", "4", "--xe-epochs", "2", "--warmup", "1"]
    train.main([*arguments, "--scst-epochs", "0", "--average", "1", "--threads", "1"])
    program = os.environ.get("PALME_CAPTION")
    if program:
        command = [program, "--model", run / "model.safetensors", "--format", "json", PHOTOS / "dog.jpg"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert said.returncode == 0 and "caption" in json.loads(said.stdout), said.stderr


def test_a_stopped_run_goes_on(teacher, tmp_path, monkeypatch):
    wanted = sentences(teacher, tmp_path / "whole.tsv", "--samples", "1")
    out, asked = tmp_path / "parts.tsv", []
    sentences(teacher, out, "--samples", "1", "--limit", "3")
    path = tmp_path / "parts.tsv.said"
    path.write_text(path.read_text() + '["half writ')
    say = distill.say
    monkeypatch.setattr(distill, "say", lambda *arguments: asked.append(1) or say(*arguments))
    assert sentences(teacher, out, "--samples", "1") == wanted
    assert len(asked) == len(list(data.photo_files(PHOTOS))) - 3
    with pytest.raises(SystemExit, match="other options"):
        sentences(teacher, out, "--samples", "2")


def test_what_is_left_out(teacher, tmp_path):
    lines = [json.loads(line) for line in said_of(teacher, tmp_path)]
    scores = sorted(score for _, said in lines[1:] for _, score in said)
    middle = scores[len(scores) // 2]
    distill.main(
        ["sentences", "--teacher", str(teacher), "--photos", str(PHOTOS), "--out", str(tmp_path / "all.tsv")]
        + ["--least", str(middle), "--most", "1", "--threads", "1"]
    )
    kept = [caption for captions in data.read_captions(tmp_path / "all.tsv").values() for caption in captions]
    good = {text for _, said in lines[1:] for text, score in said if score >= middle}
    assert set(kept) == good and len(kept) == len(good)
    with pytest.raises(SystemExit, match="no caption is as likely"):
        sentences(teacher, tmp_path / "all.tsv", "--least", "0")
    with pytest.raises(SystemExit, match="needs --photos or --cache"):
        distill.main(["sentences", "--teacher", str(teacher), "--out", str(tmp_path / "x.tsv")])


def said_of(teacher, folder):
    sentences(teacher, folder / "all.tsv")
    return (folder / "all.tsv.said").read_text(encoding="utf-8").splitlines()
