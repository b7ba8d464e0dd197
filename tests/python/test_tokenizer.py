# SPDX-License-Identifier: LGPL-2.1-or-later
"""What scripts in tests/fixtures/ wrote for the tokenizer and the resize is what they would write now."""

import subprocess
import sys

import pytest

from models import ROOT


def run(script):
    return subprocess.run([sys.executable, ROOT / "tests" / "fixtures" / script, "--check"], check=False, timeout=600)


@pytest.mark.parametrize("script", ["make_unicode.py", "make_tokenizer_cases.py"])
def test_tokenizer_files(script):
    pytest.importorskip("tokenizers")
    assert run(script).returncode == 0


def test_image_file():
    pytest.importorskip("PIL")
    pytest.importorskip("safetensors")
    assert run("make_image_cases.py").returncode == 0
