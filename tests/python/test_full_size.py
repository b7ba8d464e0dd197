# SPDX-License-Identifier: LGPL-2.1-or-later
"""What bench_peers.py --full times: vocabularies of the published sizes, and what peers are given. Without torch."""

import json
import subprocess
import sys

import numpy as np
import pytest

from models import ROOT
from models.bench import full_size, hf_peers


def test_byte_pairs(tmp_path):
    full_size.byte_pairs(tmp_path, 50257)
    vocabulary = json.loads((tmp_path / "vocab.json").read_text())
    assert sorted(vocabulary.values()) == list(range(50257)) and vocabulary["<|endoftext|>"] == 50256
    lines = (tmp_path / "merges.txt").read_text().splitlines()
    merges = [line.split(" ") for line in lines[1:]]
    assert lines[0] == "#version: 0.2" and len(merges) == 50257 - 256 - 1
    assert all(a in vocabulary and b in vocabulary and a + b in vocabulary for a, b in merges)


def test_word_pieces(tmp_path):
    full_size.word_pieces(tmp_path, 30522)
    words = (tmp_path / "vocab.txt").read_text().splitlines()
    assert len(words) == len(set(words)) == 30522
    assert [words[i] for i in (0, 100, 101, 102, 103)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.mark.parametrize("name", ["blip", "git", "vit_gpt2"])
def test_what_peers_are_given(name):
    folder = ROOT / "tests" / "data" / "hf" / name
    config = json.loads((folder / "config.json").read_text())
    wanted = {"blip": lambda: config["text_config"]["bos_token_id"], "git": lambda: 2}
    assert hf_peers.begin_of(folder) == wanted.get(name, lambda: config["decoder_start_token_id"])()
    assert hf_peers.kind_of(folder) in ("blip", "git", "vision-encoder-decoder")
    scaling = json.loads((folder / "preprocessor_config.json").read_text())
    pixels = hf_peers.pixels_of(folder, np.ones((3, 4, 5), np.float32))
    assert pixels.shape == (1, 3, 4, 5) and pixels.dtype == np.float32
    for c, (mean, std) in enumerate(zip(scaling["image_mean"], scaling["image_std"])):
        assert np.allclose(pixels[0, c], (1 - mean) / std, rtol=1e-6)


def test_names_of_caches():
    inputs, outputs = hf_peers.names_of({"layers": 2, "cross": True})
    pairs = ["key_0", "value_0", "key_1", "value_1"]
    assert inputs["step"] == ["token", "position", *pairs, *("cross_" + name for name in pairs)]
    assert outputs["see"] == ["cross_" + name for name in pairs]
    inputs, outputs = hf_peers.names_of({"layers": 2, "cross": False})
    assert inputs["step"] == ["token", "position", *pairs] and outputs["see"] == pairs


def test_peers_say_what_they_want():
    script = ROOT / "models" / "bench" / "hf_peers.py"
    found = subprocess.run([sys.executable, script, "nothing"], check=False, capture_output=True, text=True)
    assert found.returncode == 2 and "argument kind: invalid choice: 'nothing'" in found.stderr
