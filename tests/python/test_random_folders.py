# SPDX-License-Identifier: LGPL-2.1-or-later
"""test_random_folders.py - a folder of each kind with sizes and options that nobody chose gives what transformers says.
tests/fixtures/random_folders.py makes and compares as many of them as one likes."""

import os
import sys

import pytest

pytest.importorskip("transformers")
pytest.importorskip("safetensors")
pytest.importorskip("tokenizers")

from models import ROOT

sys.path.insert(0, str(ROOT / "tests" / "fixtures"))
import random_folders

CHECK = os.environ.get("PALME_CHECK_IMPORTED")


@pytest.mark.skipif(not CHECK, reason="PALME_CHECK_IMPORTED names no program")
@pytest.mark.parametrize("seed", [0, 5, 6, 7])
def test_a_folder(seed, tmp_path):
    what, fine, said = random_folders.try_one(seed, tmp_path, CHECK)
    assert fine, f"{what}\n{said}"
