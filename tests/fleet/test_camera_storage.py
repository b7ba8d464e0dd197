# SPDX-License-Identifier: LGPL-2.1-or-later
"""What keeps captions in cameras.py until they are where they belong: outbox, log, delivery."""

import datetime
import errno
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

FLEET = Path(__file__).parents[2] / "examples" / "fleet"
sys.path.insert(0, str(FLEET))
dataset = pytest.importorskip("pyarrow.dataset")
pytest.importorskip("paho.mqtt")

from live import captionlog, delivery, outbox  # noqa: E402

# ---- The outbox --------------------------------------------------------------------------------------------------


def caption(number, camera="door", epoch="e", moment=None):
    moment = moment or datetime.datetime(2026, 11, 29, 12, 0, tzinfo=datetime.UTC) + datetime.timedelta(seconds=number)
    return {
        "id": f"{camera}/{epoch}/{number}",
        "camera": camera,
        "text": f"caption {number} of a Bär",
        "time": moment.isoformat().replace("+00:00", "Z"),
        "score": -0.5,
        "labels": ["bear"],
        "tags": ["test"],
        "model_digest": "0123",
    }


def numbers(rows):
    return [int(one["id"].rsplit("/", 1)[1]) for _, one in rows]


def test_each_sink_gets_all_in_order(tmp_path):
    box = outbox.Outbox(str(tmp_path / "box.db"))
    for number in range(1, 6):
        assert box.put(caption(number))
    rows = box.pending("mqtt", 3)
    assert numbers(rows) == [1, 2, 3] and rows[0][1] == caption(1)
    box.delivered("mqtt", rows[-1][0])
    assert numbers(box.pending("mqtt")) == [4, 5] and numbers(box.pending("log")) == [1, 2, 3, 4, 5]
    assert (box.length("mqtt"), box.length("log")) == (2, 5)
    box.delivered("log", box.pending("log")[-1][0])
    box.delivered("mqtt", box.pending("mqtt")[-1][0])
    assert box.base.execute("SELECT count(*) FROM captions").fetchone() == (0,)
    box.put(caption(6))
    assert numbers(box.pending("log")) == [6]


def test_what_a_killed_process_left_is_found(tmp_path):
    code = (
        f"import os, sys; sys.path.insert(0, {str(FLEET)!r}); from live import outbox; import json\n"
        f"name, box = outbox.Shelf({str(tmp_path)!r}).new('holder')\n"
        "for text in json.load(sys.stdin): box.put(text)\n"
        "box.delivered('mqtt', 2)\n"
        "print('ready', flush=True); os.kill(os.getpid(), 9)"
    )
    mine = outbox.Shelf(str(tmp_path))
    _, own = mine.new("me")
    told = json.dumps([caption(number) for number in range(1, 5)])
    done = subprocess.run([sys.executable, "-c", code], input=told, capture_output=True, text=True, check=False)
    assert done.stdout == "ready\n", done.stderr
    (found,) = mine.orphans()
    assert found[0].startswith("holder-") and found[1] is not own
    assert numbers(found[1].pending("log")) == [1, 2, 3, 4] and numbers(found[1].pending("mqtt")) == [3, 4]
    assert mine.orphans() == []
    mine.remove(*found)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("holder-")]


def test_the_living_are_left_alone(tmp_path):
    shelf, other = outbox.Shelf(str(tmp_path)), outbox.Shelf(str(tmp_path))
    name, box = shelf.new("one")
    assert other.orphans() == []
    box.put(caption(1))
    box.close()
    shelf.release(name)
    assert [name for name, _ in other.orphans()] == [name]


class Full:
    """An SQLite connection whose disk is full for writing."""

    def __init__(self, base):
        self.base, self.full = base, False

    def execute(self, words, *more):
        if self.full and words.startswith(("BEGIN", "INSERT", "DELETE")):
            raise sqlite3.OperationalError("database or disk is full")
        return self.base.execute(words, *more)

    def __getattr__(self, name):
        return getattr(self.base, name)


def test_a_full_disk_is_bridged_by_memory(tmp_path):
    box = outbox.Outbox(str(tmp_path / "box.db"), memory=5)
    box.base = Full(box.base)
    assert box.put(caption(1)) and box.put(caption(2))
    box.base.full = True
    assert not any(box.put(caption(number)) for number in range(3, 6))
    assert "full" in box.fault
    assert numbers(box.pending("log")) == [1, 2, 3, 4, 5]
    box.delivered("log", box.pending("log")[3][0])  # which the disk does not take either
    assert numbers(box.pending("log")) == [5] and numbers(box.pending("mqtt")) == [1, 2, 3, 4, 5]
    box.base.full = False
    assert box.put(caption(6)) and box.fault is None and not box.waiting
    assert numbers(box.pending("log")) == [5, 6] and numbers(box.pending("mqtt")) == [1, 2, 3, 4, 5, 6]
    assert box.dropped == 0


def test_memory_is_bounded_and_the_oldest_goes(tmp_path):
    box = outbox.Outbox(str(tmp_path / "box.db"), memory=5)
    box.base = Full(box.base)
    box.base.full = True
    for number in range(1, 9):
        box.put(caption(number))
    assert numbers(box.pending("log")) == [4, 5, 6, 7, 8] and box.dropped == 3


def test_an_outbox_that_cannot_be_opened_is_not_taken_for_empty(tmp_path):
    shelf, other = outbox.Shelf(str(tmp_path)), outbox.Shelf(str(tmp_path))
    name, box = shelf.new("one")
    box.put(caption(1))
    box.close()
    shelf.release(name)
    path = tmp_path / f"{name}.db"
    whole = path.read_bytes()
    path.write_bytes(b"no database" * 1000)
    assert other.orphans() == []
    path.write_bytes(whole)
    assert numbers(other.orphans()[0][1].pending("log")) == [1]


# ---- The log -----------------------------------------------------------------------------------------------------


def read(folder):
    return dataset.dataset(folder, format="parquet", partitioning=None).to_table().to_pylist()


@pytest.fixture
def log(tmp_path):
    made = captionlog.CaptionLog(str(tmp_path / "log"), str(tmp_path / "journal"), seconds=3600, rows=1000)
    yield made
    made.close()


def again(log, tmp_path):
    log.close()
    return captionlog.CaptionLog(str(tmp_path / "log"), str(tmp_path / "journal"), seconds=3600, rows=1000)


def test_rows_are_what_was_given(log, tmp_path):
    log.append([caption(1), caption(2) | {"labels": None, "score": None}])
    assert log.roll() == []  # it is not time
    (name,) = log.roll(force=True)
    assert "/day=2026-11-29/captions-" in name
    first, second = read(tmp_path / "log")
    assert first == {
        "camera": "door",
        "time": datetime.datetime(2026, 11, 29, 12, 0, 1, tzinfo=datetime.UTC),
        "caption": "caption 1 of a Bär",
        "score": -0.5,
        "labels": ["bear"],
        "tags": ["test"],
        "model_digest": "0123",
        "id": "door/e/1",
    }
    assert second["labels"] is None and second["score"] is None
    assert log.roll(force=True) == []


def test_each_id_is_taken_once(log, tmp_path):
    log.append([caption(1), caption(2)])
    log.append([caption(1), caption(2), caption(3), caption(1, epoch="f")])
    log.roll(force=True)
    log = again(log, tmp_path)
    log.append([caption(3), caption(4)])
    log.roll(force=True)
    found = sorted(row["id"] for row in read(tmp_path / "log"))
    assert found == ["door/e/1", "door/e/2", "door/e/3", "door/e/4", "door/f/1"]
    assert log.doubled == 1


def test_files_come_after_so_many_rows(log, tmp_path):
    log.rows = 10
    for number in range(1, 36):
        log.append([caption(number)])
        log.roll()
    assert log.waiting() == 5
    assert len(list((tmp_path / "log").rglob("*.parquet"))) == 3  # also when a second has many
    log.roll(force=True)
    assert sorted(numbers((None, row) for row in read(tmp_path / "log"))) == list(range(1, 36))


def test_files_come_after_so_many_seconds(log):
    log.append([caption(1)])
    assert not log.roll()
    log.rolled -= log.seconds
    assert log.roll()


def test_each_day_has_its_folder(log, tmp_path):
    late = datetime.datetime(2026, 11, 28, 23, 59, tzinfo=datetime.UTC)
    log.append([caption(1, moment=late), caption(2)])
    assert [name.split("/")[-2] for name in log.roll(force=True)] == ["day=2026-11-28", "day=2026-11-29"]


@pytest.mark.parametrize("step", ["write", "rename", "forget"])
def test_a_process_that_dies_over_a_file_does_it_again(log, tmp_path, monkeypatch, step):
    class Died(BaseException):
        pass

    def die(*_args, **_kwargs):
        raise Died

    log.append([caption(1), caption(2)])
    with monkeypatch.context() as patched:
        if step == "write":
            patched.setattr(captionlog.pyarrow.parquet, "write_table", die)
        elif step == "rename":
            patched.setattr(type(log.fs), "mv", die)
            patched.setattr(type(log.fs), "rm_file", lambda *_: None)  # what is dead does not tidy up
        else:
            patched.setattr(captionlog.time, "time", die)
        with pytest.raises(Died):
            log.roll(force=True)
    log = again(log, tmp_path)
    assert not list((tmp_path / "log").rglob("*.tmp"))
    log.append([caption(3)])
    log.roll()  # at once, since it was begun
    log.roll(force=True)
    assert sorted(numbers((None, row) for row in read(tmp_path / "log"))) == [1, 2, 3]


def test_a_full_disk_leaves_no_half_file(log, tmp_path, monkeypatch):
    def full(table, file, **_options):
        file.write(b"half a file")
        raise OSError(errno.ENOSPC, "No space left on device")

    log.append([caption(1)])
    with monkeypatch.context() as patched:
        patched.setattr(captionlog.pyarrow.parquet, "write_table", full)
        with pytest.raises(captionlog.FAULTS):
            log.roll(force=True)
    assert [path for path in (tmp_path / "log").rglob("*") if path.is_file()] == []
    log.append([caption(2)])
    log.roll(force=True), log.roll(force=True)
    assert sorted(numbers((None, row) for row in read(tmp_path / "log"))) == [1, 2]


def test_a_journal_that_is_full_takes_all_or_none(log, tmp_path):
    log.append([caption(1)])
    log.base = Full(log.base)
    log.base.full = True
    with pytest.raises(captionlog.FAULTS):
        log.append([caption(2), caption(3)])
    log.base.full = False
    log.append([caption(2), caption(3)])
    log.roll(force=True)
    assert sorted(numbers((None, row) for row in read(tmp_path / "log"))) == [1, 2, 3]


# ---- Delivery ----------------------------------------------------------------------------------------------------


def test_the_json_is_that_of_the_c_program_and_more():
    found = json.loads(delivery.payload_of(caption(1)))
    assert list(found)[:4] == ["text", "time", "score", "labels"]
    assert found["id"] == "door/e/1" and found["tags"] == ["test"]
    assert "score" not in json.loads(delivery.payload_of({"text": "x", "time": "t", "id": "a/b/1"}))


def test_what_fails_is_sent_again_and_all_of_it_arrives(tmp_path):
    boxes = [outbox.Outbox(str(tmp_path / f"{i}.db")) for i in range(2)]
    for number in range(1, 251):
        boxes[number % 2].put(caption(number, camera=f"c{number % 2}"))
    had, chance = [], random.Random(1)

    def send(_box, captions):
        if chance.random() < 0.4:
            had.extend(captions[: chance.randrange(len(captions) + 1)])  # some of them arrive all the same
            raise OSError("the link is cut")
        had.extend(captions)

    one = delivery.Delivery("log", lambda: boxes, send)
    for _ in range(100):
        try:
            if not one.once():
                break
        except OSError:
            pass
    assert {int(c["id"].rsplit("/", 1)[1]) for c in had} == set(range(1, 251))
    log = captionlog.CaptionLog(str(tmp_path / "log"), str(tmp_path / "journal"))
    for c in had:
        log.append([c])
    log.roll(force=True)
    log.close()
    assert sorted(numbers((None, row) for row in read(tmp_path / "log"))) == list(range(1, 251))
    assert log.doubled == len(had) - 250


def test_captions_of_many_threads(tmp_path):
    """The outbox while it is filled and emptied at once."""
    box, had = outbox.Outbox(str(tmp_path / "box.db")), {"mqtt": [], "log": []}
    filled = threading.Event()

    def empty(sink):
        one = delivery.Delivery(sink, lambda: [box], lambda _box, captions: had[sink].extend(captions))
        while not filled.is_set() or box.length(sink):
            one.once()

    threads = [threading.Thread(target=empty, args=(sink,)) for sink in outbox.SINKS]
    for thread in threads:
        thread.start()
    for number in range(1, 301):
        box.put(caption(number))
    filled.set()
    for thread in threads:
        thread.join()
    for sink in outbox.SINKS:
        assert [int(one["id"].rsplit("/", 1)[1]) for one in had[sink]] == list(range(1, 301))
    assert box.length("log") == 0 and os.path.exists(box.path)


def test_a_damaged_outbox_holds_up_no_other(tmp_path):
    bad, good = (outbox.Outbox(str(tmp_path / f"{name}.db")) for name in ("bad", "good"))
    bad.put(caption(1))
    good.put(caption(2))
    bad.base.execute("DROP TABLE captions")
    had = []
    one = delivery.Delivery("log", lambda: [bad, good], lambda _box, captions: had.extend(captions))
    assert one.once() and had == [caption(2)] and not one.once()
