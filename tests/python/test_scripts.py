# SPDX-License-Identifier: LGPL-2.1-or-later
"""test_scripts.py - every script starts by its path, and imports point one way."""

import ast
import subprocess
import sys

from models import ROOT

# A folder imports from itself and from those before it.
ORDER = ["models", "models.eval", "models.bench", "models.convert", "models.train"]


def modules():
    """Dotted name -> path of all modules of the package"""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted((ROOT / "models").rglob("*.py"))
    }


def imports_of(path):
    """Dotted names of the package's modules that a file imports, inside functions too."""
    known, found = modules(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in known}


def test_imports_point_one_way():
    graph = {name: imports_of(path) for name, path in modules().items()}
    assert graph["models.train.train"] >= {"models.data", "models.train.batch"}  # they are found at all
    for name, needs in graph.items():
        for other in needs:
            here, there = (ORDER.index(n.rpartition(".")[0]) for n in (name, other))
            assert there <= here, f"{name} imports {other}"
    done = set()
    while len(done) < len(graph):
        free = {name for name, needs in graph.items() if name not in done and needs <= done}
        assert free, f"these import each other: {', '.join(sorted(graph.keys() - done))}"
        done |= free


def test_files_and_functions_are_short():
    """The limits of CONTRIBUTING.md: 700 lines a file, 80 a function"""
    for path in [*(ROOT / "models").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 700, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 80, f"{path}: {node.name}"


STARTER = """
import os, runpy, sys
import torch  # once for all scripts: it takes longer than everything else here
for path in sys.argv[1:]:
    sys.stdout.flush()
    if not os.fork():
        sys.argv, sys.path[0] = [path, "--help"], os.path.dirname(path)  # as Python itself does
        runpy.run_path(path, run_name="__main__")
        sys.exit(0)
    assert os.wait()[1] == 0, path
"""


def test_scripts_start_by_their_path(tmp_path):
    """From a folder elsewhere, where nothing of ours is on Python's path."""
    scripts = [
        path
        for folder in ("models", "tests/fixtures")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    ]
    assert len(scripts) > 10
    done = subprocess.run(
        [sys.executable, "-c", STARTER, *scripts],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    usages = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("usage: ")]
    assert usages == [path.name for path in scripts]
    assert not list(tmp_path.iterdir())
