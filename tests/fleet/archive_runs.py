# SPDX-License-Identifier: LGPL-2.1-or-later
"""archive.py in the head's node of a test's cluster: what it has logged so far, and what is lost or doubled."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from nodes import Nodes

ARCHIVE = Path(__file__).resolve().parents[2] / "examples" / "fleet" / "archive.py"
#: Seconds for anything that is waited for; what hangs fails here and not in the night.
LIMIT = 600


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
