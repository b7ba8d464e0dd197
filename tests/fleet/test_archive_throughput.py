# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a caption costs on one, two and three nodes, with the engine itself.

Captions for each second of processor time: once of the workers alone, once of all processes of the nodes, archive.py
and Ray's own among them, which take some time of each second that passes, however little is captioned in it. The nodes
share this machine, so this says what a fleet's machinery costs for each caption, not what a network or many processors
do. Where control groups hold each node to half a core, the rate in time is shown, too.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from archive_runs import Run
from nodes import Nodes, row, why_not

ROOT = Path(__file__).resolve().parents[2]

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)


def used(nodes: Nodes) -> np.ndarray:
    """Seconds of processor: of the workers, and of all."""
    every = range(nodes.count)
    return np.array(
        [sum(nodes.cpu_seconds(node, "") for node in every), sum(nodes.cpu_seconds(node) for node in every)]
    )


def measure(nodes: Nodes, inputs: Path) -> np.ndarray:
    """Captions for a second of the workers' processor time, of all processor time, and of time and node.

    From when every node is at work until one has nothing more.
    """
    run = Run(nodes, inputs, "throughput", "--shard-size", "4")
    for node in range(nodes.count):
        run.wait(lambda node=node: run.events("done", node=nodes.ip(node) + ":"), "every node is at work")
    shards = len(list(inputs.iterdir())) // 4
    began, took = time.time(), used(nodes)
    run.wait(lambda: len(run.events("done")) >= shards - nodes.count, "most are done")
    took = used(nodes) - took
    captions = 4 * len(run.events("done", since=began))
    seconds = run.events("done")[-1]["time"] - began
    run.finish()
    assert run.judge() == (0, 0)
    return captions / np.array([*took, seconds * nodes.count])


def test_throughput(tmp_path):
    sys.path.insert(0, str(ROOT / "examples" / "fleet"))
    pytest.importorskip("palme")
    import installed

    try:
        model = installed.model()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    inputs = tmp_path / "photos"
    inputs.mkdir()
    for path in (ROOT / "examples" / "photos").glob("*.jpg"):
        for number in range(24):
            shutil.copyfile(path, inputs / f"{path.stem}{number}.jpg")
    rates = []
    for count in (1, 2, 3):
        with Nodes(count, cores=0.5, env={"PALME_MODEL": model}) as nodes:
            limited = nodes.limited
            rates.append(measure(nodes, inputs))
    of_workers, of_all, of_time = (np.array(rates) / rates[0]).T
    for what, ratios in (
        ("a second of the workers' processor time", of_workers),
        ("a second of all processor time", of_all),
        *([("a second and node of half a core", of_time)] if limited else []),
    ):
        shown = " : ".join(f"{ratio:.2f}" for ratio in ratios)
        row(f"archive, captions for {what}, 1 : 2 : 3 nodes = {shown}", "-", "-", "-")
    # What a worker does for a caption is the same on each node; a machine that is busy elsewhere slows it by its caches
    # and its second threads, by far less than this.
    assert min(of_workers) > 0.5
