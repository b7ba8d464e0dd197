# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cluster of namespaces itself: what a test that was killed leaves behind, and disks that are full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nodes import Nodes, why_not

HERE = Path(__file__).resolve().parent

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)

KILLED = """
import sys, time
from nodes import Nodes
with Nodes(1) as nodes:
    print(nodes.base, nodes.owner, flush=True)
    time.sleep(600)
"""


def left(base: str, owner: str) -> list[str]:
    names = [path.name for path in Path("/run/netns").glob(f"palme-{owner}-*")]
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if base in line]
    return names + mounts + ([base] if os.path.exists(base) else [])


def test_a_killed_test_leaves_nothing():
    with subprocess.Popen([sys.executable, "-c", KILLED], cwd=HERE, stdout=subprocess.PIPE, text=True) as process:
        base, owner = process.stdout.readline().split()
        assert len(left(base, owner)) >= 5
        process.send_signal(signal.SIGKILL)
    end = time.monotonic() + 60
    while left(base, owner):
        assert time.monotonic() < end, left(base, owner)
        time.sleep(0.1)


def test_disks_are_small_and_apart():
    with Nodes(2) as nodes:
        nodes.fill(nodes.spool_of(1))
        assert nodes.run(0, ["sh", "-c", f"echo here >{nodes.spool}/word && cat {nodes.spool}/word"]) == "here\n"
        with pytest.raises(subprocess.CalledProcessError):
            nodes.run(1, ["sh", "-c", f"echo here >{nodes.spool}/word"], stderr=subprocess.DEVNULL)
        nodes.free(nodes.spool_of(1))
        nodes.run(1, ["sh", "-c", f"echo there >{nodes.spool}/word"])
        assert (nodes.spool_of(0) / "word").read_text() == "here\n"
        nodes.link(1, up=False)
        reach = ["bash", "-c", f"exec 3<>/dev/tcp/{nodes.ip(0)}/6379"]
        with pytest.raises((subprocess.CalledProcessError, subprocess.TimeoutExpired)):
            nodes.run(1, reach, timeout=5, stderr=subprocess.DEVNULL)
        nodes.link(1, up=True)
        nodes.run(1, reach, timeout=60)
