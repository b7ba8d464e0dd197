# SPDX-License-Identifier: LGPL-2.1-or-later
"""archive.py on this machine alone, from the command line to the exit status, with the stand-in for the engine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.dataset
import pytest
from PIL import Image

HERE = Path(__file__).resolve().parent
ARCHIVE = HERE.parents[1] / "examples" / "fleet" / "archive.py"
LIMIT = 900


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, str(ARCHIVE), "--actors", "1", *words, str(folder / "out")]


def environment(folder: Path) -> dict[str, str]:
    (folder / "model").touch()
    return {key: value for key, value in os.environ.items() if not key.startswith("RAY_")} | {
        "PYTHONPATH": os.pathsep.join([str(HERE / "standin"), os.environ.get("PYTHONPATH", "")]),
        "PALME_MODEL": str(folder / "model"),
        "PALME_STANDIN_SLOW": str(folder / "slow"),
        # Ray writes a token there.
        "HOME": str(folder),
    }


def run(folder: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        command(folder, *words), env=environment(folder), stderr=subprocess.PIPE, text=True, timeout=LIMIT, check=False
    )
    return done.returncode, done.stderr


def rows(folder: Path) -> list[dict]:
    return pyarrow.dataset.dataset(str(folder / "out"), format="parquet").to_table().to_pylist()


def picture(path: Path, color=(10, 200, 30), size=(40, 30)) -> str:
    Image.new("RGB", size, color).save(path)
    return str(path)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "photos").mkdir()
    (folder / "model").write_bytes(b"one model")
    for number in range(20):
        picture(folder / "photos" / f"{number:02}.png")
    return folder


def test_a_file_that_ends_the_worker_is_found_and_listed(archive):
    red = picture(archive / "photos" / "red.png", (255, 0, 0))
    (archive / "photos" / "empty.jpg").touch()
    status, said = run(archive, "--shard-size", "11", str(archive / "photos"))
    assert status == 1, said
    table = {row["source"]: row for row in rows(archive)}
    assert len(table) == len(rows(archive)) == 22
    assert "process ended" in table[red]["error"]
    assert sorted(name for name, row in table.items() if row["error"]) == sorted([red, f"{archive}/photos/empty.jpg"])
    assert f"{red}: the worker's process ended over this file" in said
    assert "20 captions, 2 files with errors" in said


def test_only_what_is_new_or_changed_is_done(archive):
    before = {row["source"]: row["run"] for row in rows(archive)}
    changed = picture(archive / "photos" / "03.png", size=(50, 20))
    new = picture(archive / "photos" / "new.png")
    status, said = run(archive, str(archive / "photos"), str(archive / "photos" / "new.png"))
    assert status == 0, said
    assert "23 files; 21 were done before, 2 are done now" in said
    after = {row["source"]: row for row in rows(archive)}
    assert len(rows(archive)) == 23
    assert {name for name, row in after.items() if row["run"] != before.get(name)} == {changed, new}
    assert after[changed]["caption"] == "50 by 20 pixels"
    status, said = run(archive, str(archive / "photos"))
    assert (status, "23 files, all of them done before" in said) == (0, True)


def test_errors_are_tried_again_where_that_is_asked_for(archive):
    shutil.copyfile(archive / "photos" / "01.png", archive / "photos" / "red.png")
    picture(archive / "photos" / "empty.jpg")
    status, said = run(archive, "--retry-errors", str(archive / "photos"))
    assert (status, "2 are done now" in said) == (0, True), said
    assert not [row for row in rows(archive) if row["error"]]


def begin(archive: Path, log: str) -> subprocess.Popen:
    """A run that has done a shard, and waits with the next one."""
    (archive / "slow").touch()
    process = subprocess.Popen(
        command(archive, "--shard-size", "3", "--log", str(archive / log), str(archive / "photos")),
        env=environment(archive), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + LIMIT
    while '"done"' not in ((archive / log).read_text() if (archive / log).exists() else ""):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.05)
    return process


def test_another_model_replaces_and_an_interrupted_run_goes_on(archive):
    (archive / "model").write_bytes(b"another model")
    process = begin(archive, "log")
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=LIMIT)[1]
    (archive / "slow").unlink()
    assert process.returncode == 130, said
    assert "interrupted; the same command goes on from here" in said
    assert "Traceback" not in said
    assert not list((archive / "out").glob(".*"))
    models = Counter(row["model_digest"] for row in rows(archive))
    assert len(models) == 2
    status, said = run(archive, str(archive / "photos"))
    assert status == 0, said
    assert 0 < int(said.split(" were done before")[0].split()[-1]) < 23
    assert len(rows(archive)) == 23
    assert len({row["model_digest"] for row in rows(archive)}) == 1


def test_of_two_runs_the_later_one_goes_on(archive):
    (archive / "model").write_bytes(b"a third model")
    first, second = begin(archive, "first"), begin(archive, "second")
    (archive / "slow").unlink()
    said = first.communicate(timeout=LIMIT)[1]
    assert (first.returncode, "another run of archive.py has begun there" in said) == (3, True), said
    said = second.communicate(timeout=LIMIT)[1]
    assert second.returncode == 0, said
    assert len(rows(archive)) == 23
    assert len({row["model_digest"] for row in rows(archive)}) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "INPUT"),
        (["gone"], "gone: there is no such file or folder"),
        (["--list", "gone"], "--list gone: there is no such file"),
        (["--model", "gone", "."], "--model:.*gone"),
        (["--shard-size", "0", "."], "--shard-size is at least 1"),
        (["--interval", "nan", "."], "--interval is a number of seconds above 0"),
        (["memory://photos"], "memory is of one process alone"),
        (["nosuch://photos"], "nosuch"),
    ],
)
def test_wrong_usage(tmp_path, words, said):
    status, heard = run(tmp_path, *words)
    assert (status, bool(re.search(said, heard))) == (2, True), heard
    assert "Traceback" not in heard


def test_a_model_that_ends_each_worker_ends_the_run(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "model").write_bytes(b"deadly")
    status, said = run(tmp_path, str(tmp_path / "a.png"))
    assert (status, "a worker died 10 times while it loaded the model" in said) == (3, True), said
    assert "Traceback" not in said


def test_an_output_that_cannot_be_written(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "out").write_text("a file")
    status, said = run(tmp_path, str(tmp_path / "a.png"))
    assert (status, f"{tmp_path}/out: cannot be written to" in said, "Traceback" in said) == (3, True, False), said
