# SPDX-License-Identifier: LGPL-2.1-or-later
"""archive.py on two and three nodes while things break.

Lost: inputs without a row. Doubled: inputs with two. Seconds to recover, from the fault where it is a moment, from its
end where it lasts, until: a worker's process: another process on its node has finished a shard; a dead node: its shard
is finished by another one; a link: the node that was cut off has finished a shard again; a disk: all nodes have.

A stand-in for the engine takes a moment for a caption without computing, so that a run takes as long on a busy machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

import pytest
from archive_runs import LIMIT, Run
from nodes import Nodes, row, why_not

HERE = Path(__file__).resolve().parent
FILES, SHARD = 900, 5

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)


def photos(folder: Path, count: int) -> Path:
    from PIL import Image

    folder.mkdir()
    Image.new("RGB", (40, 30), (20, 90, 200)).save(folder / "0000.png")
    for number in range(1, count):
        shutil.copyfile(folder / "0000.png", folder / f"{number:04}.png")
    return folder


@pytest.fixture(scope="module", params=[2, 3])
def fleet(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    (folder / "model").write_bytes(b"a model")
    inputs, slow = photos(folder / "photos", FILES), folder / "slow"
    env = {
        "PYTHONPATH": os.pathsep.join([str(HERE / "standin"), os.environ.get("PYTHONPATH", "")]),
        "PALME_MODEL": str(folder / "model"),
        "PALME_STANDIN_SLOW": str(slow), "PALME_STANDIN_SECONDS": "0.2",
    }  # fmt: skip
    with Nodes(request.param, env=env) as nodes:
        yield nodes, inputs, slow


@contextlib.contextmanager
def running(fleet, name: str):
    """A run in its midst: every node has finished a shard. Afterwards it goes on at full speed, and is judged."""
    nodes, inputs, slow = fleet
    nodes.wait_for(nodes.count, LIMIT)
    slow.touch()
    run = Run(nodes, inputs, name, "--shard-size", str(SHARD))
    try:
        for node in range(nodes.count):
            run.wait(lambda node=node: run.events("done", node=nodes.ip(node) + ":"), f"node {node} has done a shard")
        told = {}
        yield nodes, run, told
        slow.unlink()
        run.finish()
        lost, doubled = run.judge()
        row(f"archive, {nodes.count} nodes: {told['fault']}", lost, doubled, told["seconds"])
        assert (lost, doubled) == (0, 0)
    finally:
        if run.process.poll() is None:
            run.process.kill()
        print(run.said.read_text()[-3000:])
        shutil.rmtree(run.output, ignore_errors=True)


def test_worker_killed(fleet):
    with running(fleet, "worker") as (nodes, run, told):
        node = nodes.ip(1) + ":"
        began = time.time()
        pid = nodes.kill_worker(1, int(run.events("started", node=node)[-1]["worker"].split(":")[1]))
        again = run.wait(
            lambda: [e for e in run.events("done", node=node, since=began) if e["worker"] != f"{node}{pid}"],
            "another process on the node has done a shard",
        )
        assert run.events("lost", node=node, since=began), "the fault hit nothing"
        told.update(fault="a worker's process killed", seconds=again[0]["time"] - began)


def test_node_killed(fleet):
    with running(fleet, "node") as (nodes, run, told):
        began = time.time()
        nodes.kill_node(1)
        lost = run.wait(lambda: run.events("lost", node=nodes.ip(1) + ":", since=began), "the node is missed")
        shards = {event["shard"] for event in lost}
        done = run.wait(
            lambda: [e for e in run.events("done", since=lost[0]["time"]) if e["shard"] in shards], "its shard is done"
        )
        told.update(fault="a node killed, for good", seconds=done[0]["time"] - began)
    # The run has ended without that node.
    fleet[0].restart_node(1)


def test_link_cut(fleet):
    with running(fleet, "link") as (nodes, run, told):
        began = time.time()
        nodes.cut(1, seconds=10)
        back = time.time()
        again = run.wait(
            lambda: run.events("done", node=nodes.ip(1) + ":", since=back), "the node that was cut off has done a shard"
        )
        lost = run.events("lost", node=nodes.ip(1) + ":", since=began)
        assert lost, "the fault hit nothing"
        redone = [e["time"] for e in run.events("done", since=lost[0]["time"]) if e["shard"] == lost[0]["shard"]]
        told.update(
            fault=f"the link cut for 10 s (its shard done elsewhere after {redone[0] - began:.0f} s)",
            seconds=again[0]["time"] - back,
        )


def test_disk_full(fleet):
    import pyarrow.parquet

    with running(fleet, "disk") as (nodes, run, told):
        nodes.fill(nodes.shared)
        began = time.time()
        for node in range(nodes.count):
            run.wait(
                lambda node=node: run.events("blocked", node=nodes.ip(node) + ":", since=began), "the disk is felt"
            )
        time.sleep(3)
        for path in run.output.glob("[!.]*"):
            assert pyarrow.parquet.read_table(path).num_rows == SHARD, f"{path} is not whole"
        assert "No space left on device" in run.said.read_text()
        freed = time.time()
        nodes.free(nodes.shared)
        times = [
            run.wait(lambda node=node: run.events("done", node=nodes.ip(node) + ":", since=freed), "work goes on")
            for node in range(nodes.count)
        ]
        told.update(fault="the output's disk full", seconds=max(events[0]["time"] for events in times) - freed)


def test_disk_stays_full(fleet):
    """The run ends with the reason; when there is room, the same command does the rest."""
    nodes, inputs, slow = fleet
    nodes.wait_for(nodes.count, LIMIT)
    slow.touch()
    run = Run(nodes, inputs, "full", "--shard-size", str(SHARD), "--patience", "3")
    run.wait(lambda: run.events("done"), "a shard is done")
    nodes.fill(nodes.shared)
    status = run.process.wait(LIMIT)
    nodes.free(nodes.shared)
    slow.unlink()
    said = run.said.read_text()
    assert (status, "No space left on device; given up after 3 seconds" in said) == (3, True), said
    done = len(run.events("done"))
    again = Run(nodes, inputs, "full", "--shard-size", str(SHARD))
    assert int(again.finish().split(" were done before")[0].split()[-1]) >= done * SHARD
    assert again.judge() == (0, 0)
    shutil.rmtree(again.output)


def test_second_run_does_what_is_missing(fleet):
    """A run is killed half way; the next one does the rest, and the one after that nothing."""
    nodes, inputs, slow = fleet
    nodes.wait_for(nodes.count, LIMIT)
    slow.touch()
    first = Run(nodes, inputs, "again", "--shard-size", str(SHARD))
    first.wait(lambda: len(first.events("done")) >= 5, "five shards are done")
    for pid in nodes.pids(0):
        with contextlib.suppress(OSError):
            if "archive.py" in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, 9)
    first.process.wait()
    slow.unlink()
    done = len(first.events("done"))
    second = Run(nodes, inputs, "again", "--shard-size", str(SHARD))
    said = second.finish()
    before = int(said.split(" were done before")[0].split()[-1])
    assert done * SHARD <= before < FILES, said
    assert second.judge() == (0, 0)
    assert "all of them done before" in Run(nodes, inputs, "again").finish()
    row(f"archive, {nodes.count} nodes: the run itself killed, then run again", *second.judge(), "-")
    shutil.rmtree(second.output)
