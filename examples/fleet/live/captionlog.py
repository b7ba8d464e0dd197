# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rolling log of captions: Parquet files in a folder of any fsspec address, each caption in it exactly once.

A caption is taken into a journal on disk (SQLite) before it is confirmed, so that it is then on a second machine. By
its id, CAMERA/EPOCH/NUMBER, it is taken once: within an epoch captions come in their order, so the highest number of
each epoch is all that has to be remembered.

Every so many seconds or rows the journal becomes files: first their names and the last row are noted in the journal,
then the files are written under a temporary name and renamed, then the rows are deleted. A process that dies in
between does the same again, with the same rows and names. Nobody but the journal's owner writes to the folder, and
readers never see half a file: names that begin with a dot are none of theirs.
"""

import contextlib
import datetime
import json
import os
import posixpath
import secrets
import sqlite3
import threading
import time

import fsspec
import pyarrow
import pyarrow.parquet
from fsspec.implementations.local import LocalFileSystem

from .lock import wait_for
from .outbox import connect, transaction

SCHEMA = pyarrow.schema(
    [
        ("camera", pyarrow.string()),
        ("time", pyarrow.timestamp("us", tz="UTC")),
        ("caption", pyarrow.string()),
        ("score", pyarrow.float64()),
        ("labels", pyarrow.list_(pyarrow.string())),
        ("tags", pyarrow.list_(pyarrow.string())),
        ("model_digest", pyarrow.string()),
        ("id", pyarrow.string()),
    ]
)
REMEMBER = 30 * 86400  # seconds an epoch's highest number is remembered after its last caption


class _Folder:
    def __init__(self, path):
        self.number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def close(self):
        os.close(self.number)


def _row(caption):
    return {
        "camera": caption["camera"],
        "time": datetime.datetime.fromisoformat(caption["time"]),
        "caption": caption["text"],
        "score": caption.get("score"),
        "labels": caption.get("labels"),
        "tags": caption.get("tags"),
        "model_digest": caption.get("model_digest"),
        "id": caption["id"],
    }


class CaptionLog:
    """For any threads. `folder` is an fsspec address, `journal` a folder on this machine, which is this log's alone: it
    waits for a process that has it to end. Raises FAULTS where it cannot be opened."""

    def __init__(self, folder, journal, seconds=60, rows=10000):
        self.fs, self.folder = fsspec.core.url_to_fs(folder)
        self.owner = wait_for(os.path.join(journal, "log.lock"))
        self.seconds, self.rows = seconds, rows
        self.lock, self.rolling = threading.Lock(), threading.Lock()
        self.doubled = 0
        self.rolled = time.monotonic()
        try:
            self.base = self._open(os.path.join(journal, "journal.db"))
        except sqlite3.Error:
            self.owner.close()
            raise
        self._sweep()

    @staticmethod
    def _open(path):
        base = connect(path)
        with transaction(base):
            for table in (
                "rows (number INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL)",
                "seen (epoch TEXT PRIMARY KEY, number INTEGER NOT NULL, time REAL NOT NULL)",
                "files (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL, last INTEGER NOT NULL)",
            ):
                base.execute(f"CREATE TABLE IF NOT EXISTS {table}")
        return base

    def append(self, captions):
        """Takes captions, dicts as in the outbox; those of an epoch in their order. They are on disk when this
        returns. Those that are here already are left out. Raises sqlite3.Error where the disk does not take them:
        then none is taken."""
        now, taken, doubled = time.time(), [], 0
        with self.lock, transaction(self.base):
            for caption in captions:
                epoch, number = caption["id"].rsplit("/", 1)
                found = self.base.execute("SELECT number FROM seen WHERE epoch = ?", (epoch,)).fetchone()
                if found and found[0] >= int(number):
                    doubled += 1
                    continue
                self.base.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (epoch, int(number), now))
                taken.append((json.dumps(caption, ensure_ascii=False),))
            self.base.executemany("INSERT INTO rows (text) VALUES (?)", taken)
        self.doubled += doubled

    def waiting(self):
        """How many captions are in the journal and in no file."""
        with self.lock:
            return self.base.execute("SELECT count(*) FROM rows").fetchone()[0]

    def roll(self, force=False):
        """Writes files if it is time. Returns their names. Raises OSError and what the file system has; nothing is
        lost then, and the next call tries again."""
        with self.rolling:
            count = self.waiting()
            due = force or count >= self.rows or time.monotonic() >= self.rolled + self.seconds
            if not count:
                self.rolled = time.monotonic() if due else self.rolled
                return []
            with self.lock:
                batch = self.base.execute("SELECT name, last FROM files").fetchone()
                if not batch and not due:
                    return []
                if not batch:
                    last = self.base.execute("SELECT max(number) FROM rows").fetchone()[0]
                    batch = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}", last
                    with transaction(self.base):
                        self.base.execute("INSERT INTO files VALUES (1, ?, ?)", batch)
                texts = self.base.execute(
                    "SELECT text FROM rows WHERE number <= ? ORDER BY number", batch[1:]
                ).fetchall()
            days = {}
            for (text,) in texts:
                row = _row(json.loads(text))
                days.setdefault(f"{row['time'].astimezone(datetime.UTC):%Y-%m-%d}", []).append(row)
            name = f"captions-{batch[0]}.parquet"
            names = [self._write(f"day={day}", name, rows) for day, rows in sorted(days.items())]
            with self.lock, transaction(self.base):
                self.base.execute("DELETE FROM rows WHERE number <= ?", batch[1:])
                self.base.execute("DELETE FROM files")
                self.base.execute("DELETE FROM seen WHERE time < ?", (time.time() - REMEMBER,))
            self.rolled = time.monotonic()
            return names

    def _write(self, day, name, rows):
        folder = posixpath.join(self.folder, day)
        self.fs.makedirs(folder, exist_ok=True)
        temporary, final = posixpath.join(folder, f".{name}.tmp"), posixpath.join(folder, name)
        try:
            with self.fs.open(temporary, "wb") as file:
                pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, SCHEMA), file, compression="zstd")
                file.flush()
                with contextlib.suppress(AttributeError, OSError, ValueError):
                    os.fsync(file.fileno())  # of a local file
            self.fs.mv(temporary, final)
            if isinstance(self.fs, LocalFileSystem):  # the new name is on disk before the journal forgets the rows
                with contextlib.closing(_Folder(folder)) as opened:
                    os.fsync(opened.number)
        except BaseException:
            with contextlib.suppress(Exception):
                self.fs.rm_file(temporary)
            raise
        return final

    def _sweep(self):
        """Deletes the temporary files of a process that died over them."""
        with contextlib.suppress(OSError):
            for path in self.fs.glob(posixpath.join(self.folder, "day=*", ".captions-*.parquet.tmp")):
                self.fs.rm_file(path)

    def close(self):
        self.base.close()
        self.owner.close()


FAULTS = OSError, sqlite3.Error, pyarrow.ArrowException
