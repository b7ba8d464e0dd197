# SPDX-License-Identifier: LGPL-2.1-or-later
"""archive.py on two and three nodes while things break, and what one caption costs on one, two and three nodes.

Lost: inputs without a row. Doubled: inputs with two. Seconds to recover, from the fault where it is a moment, from its
end where it lasts, until: a worker's process or a disk: its node, or all of them, have finished a shard again; a dead
node: its shard is finished by another one; a link: the node that was cut off has finished a shard again.

The faults are seen with a stand-in for the engine that takes a moment for a caption without computing, so that they
take as long on a busy machine. The engine itself is measured where it is installed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from nodes import Nodes, row, why_not

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ARCHIVE = ROOT / "examples" / "fleet" / "archive.py"
FILES, SHARD = 900, 5
#: Of anything that is waited for; what hangs fails here and not in the night.
LIMIT = 600

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)


class Run:
    """archive.py in the head's node, and what it writes."""

    def __init__(self, nodes: Nodes, inputs: Path, name: str, *options: str):
        self.inputs, self.output = inputs, nodes.shared / name
        self.log, self.said = nodes.base / f"{name}.log", nodes.base / f"{name}.said"
        words = [sys.executable, str(ARCHIVE), "--address", nodes.address, "--log", str(self.log), *options]
        with self.said.open("wb") as said:
            self.process = nodes.popen(
                0, [*words, str(inputs), str(self.output)], stdout=said, stderr=subprocess.STDOUT
            )

    def events(self, what: str, *, node: str = "", since: float = 0.0) -> list[dict]:
        lines = self.log.read_text().splitlines(keepends=True) if self.log.exists() else []
        events = (json.loads(line) for line in lines if line.endswith("\n"))
        return [
            event for event in events
            if event["event"] == what and event["worker"].startswith(node) and event["time"] >= since
        ]  # fmt: skip

    def wait(self, found, what: str):
        """What found() gives as soon as it is something; fails where the run ends before, or after the limit."""
        end = time.monotonic() + LIMIT
        while not (result := found()):
            assert self.process.poll() is None, f"the run ended before {what}:\n{self.said.read_text()[-3000:]}"
            assert time.monotonic() < end, f"{what}: not within {LIMIT} s:\n{self.said.read_text()[-3000:]}"
            time.sleep(0.05)
        return result

    def finish(self) -> str:
        try:
            assert self.process.wait(LIMIT) == 0, self.said.read_text()[-3000:]
        finally:
            self.process.kill()
        return self.said.read_text()

    def judge(self) -> tuple[int, int]:
        """Lost and doubled."""
        import pyarrow.dataset

        rows = Counter(pyarrow.dataset.dataset(str(self.output), format="parquet").to_table()["source"].to_pylist())
        names = {str(path) for path in self.inputs.iterdir()}
        assert set(rows) <= names, "rows of files that there are not"
        return len(names - set(rows)), sum(count > 1 for count in rows.values())


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
        pid = nodes.kill_worker(1, "CaptionActor")
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
        assert run.events("lost", node=nodes.ip(1) + ":", since=began), "the fault hit nothing"
        told.update(fault="the link cut for 10 s", seconds=again[0]["time"] - back)


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


def test_second_run_does_what_is_missing(fleet):
    """A run is killed half way; the next one does the rest, and the one after that nothing."""
    nodes, inputs, slow = fleet
    nodes.wait_for(nodes.count, LIMIT)
    slow.touch()
    first = Run(nodes, inputs, "again", "--shard-size", str(SHARD))
    first.wait(lambda: len(first.events("done")) >= 5, "five shards are done")
    for pid in nodes.pids(0):
        with contextlib.suppress(OSError):
            if str(ARCHIVE) in Path(f"/proc/{pid}/cmdline").read_text():
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
    row(f"archive, {nodes.count} nodes: the run itself killed, then run again", 0, 0, "-")


# ---- What a caption costs


def measure(nodes: Nodes, inputs: Path) -> tuple[float, float]:
    """Captions a second, and a second of processor, from when every node is at work until one has nothing more."""
    run = Run(nodes, inputs, "throughput", "--shard-size", "4")
    for node in range(nodes.count):
        run.wait(lambda node=node: run.events("done", node=nodes.ip(node) + ":"), "every node is at work")
    shards = len(list(inputs.iterdir())) // 4
    began, took = time.time(), sum(map(nodes.cpu_seconds, range(nodes.count)))
    run.wait(lambda: len(run.events("done")) >= shards - nodes.count, "most are done")
    took = sum(map(nodes.cpu_seconds, range(nodes.count))) - took
    captions = 4 * len(run.events("done", since=began))
    seconds = run.events("done")[-1]["time"] - began
    run.finish()
    assert run.judge() == (0, 0)
    return captions / seconds, captions / took


def test_throughput(tmp_path):
    """Captions for each second of processor time that the nodes take, all their processes counted, Ray's among them.

    The nodes share this machine, so this says what a fleet's machinery costs for each caption, not what a network
    or many processors do. Where control groups hold each node to half a core, the rate in time is shown, too.
    """
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
        for number in range(12):
            shutil.copyfile(path, inputs / f"{path.stem}{number}.jpg")
    each, rates = [], []
    for count in (1, 2, 3):
        with Nodes(count, cores=0.5, env={"PALME_MODEL": model}) as nodes:
            limited = nodes.limited
            a_second, a_processor_second = measure(nodes, inputs)
            each.append(a_processor_second)
            rates.append(a_second / count)
    shown = " : ".join(f"{one / each[0]:.2f}" for one in each)
    row(f"archive: captions per second of processor, 1 : 2 : 3 nodes = {shown}", "-", "-", "-")
    if limited:
        shown = " : ".join(f"{one / rates[0]:.2f}" for one in rates)
        row(f"archive: captions per second and node of half a core, 1 : 2 : 3 = {shown}", "-", "-", "-")
    # A node more has more of Ray's processes, but a caption that cost twice as much would be the crew's doing.
    assert min(each) > 0.5 * each[0]
