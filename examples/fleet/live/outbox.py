# SPDX-License-Identifier: LGPL-2.1-or-later
"""Captions on disk until they are delivered: an SQLite file for each process that captions.

A process is alone with its file, by a lock that the kernel gives free when the process ends, however it ends. Another
process on the machine finds what was left behind by taking the lock (orphans), and delivers it.

Each of the receivers (SINKS) takes the captions in their order, so all that is kept of its progress is the number of
the last one it has. The file is written with full synchronisation: what was put survives a loss of power.

Where the disk is full, captions wait in memory, at most `memory` of them; then the oldest of these are dropped, and
counted. They go to disk, in order, as soon as it takes them. Progress that cannot be written is kept in memory as
well; a process that dies then has some captions delivered again, which the receivers tell by their ids.
"""

import collections
import contextlib
import json
import logging
import os
import secrets
import sqlite3
import threading

from .lock import Lock

log = logging.getLogger("palme.fleet")
SINKS = "mqtt", "log"


def connect(path):
    """An SQLite file that survives a loss of power; for use by several threads under a lock."""
    base = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    try:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = FULL")
        base.execute("PRAGMA journal_size_limit = 1048576")
    except sqlite3.Error:
        base.close()
        raise
    return base


@contextlib.contextmanager
def transaction(base):
    base.execute("BEGIN IMMEDIATE")
    try:
        yield
        base.execute("COMMIT")
    except BaseException:
        if base.in_transaction:
            base.execute("ROLLBACK")
        raise


class Outbox:
    """For any threads. `path` is the file; it is made where it is missing and the disk allows it."""

    def __init__(self, path, memory=10000):
        self.path, self.limit = path, memory
        self.lock = threading.RLock()
        self.waiting = collections.deque()  # (number, text) that the disk has not taken
        self.dropped = 0
        self.fault = None  # the last words of the disk, None while it takes captions
        self.base = None
        self.progress = dict.fromkeys(SINKS, 0)
        self.written = dict(self.progress)
        self.last = 0
        self._open()

    def _open(self):
        """Opens the file, which a full disk may put off. What is in it comes before what waits in memory only at the
        first time, so a file is not opened again under captions with the same numbers."""
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self.base = connect(self.path)
            with transaction(self.base):
                for table in (
                    "captions (number INTEGER PRIMARY KEY, text TEXT NOT NULL)",
                    "progress (sink TEXT PRIMARY KEY, number INTEGER NOT NULL)",
                ):
                    self.base.execute(f"CREATE TABLE IF NOT EXISTS {table}")
            self.written = dict.fromkeys(SINKS, 0) | dict(self.base.execute("SELECT sink, number FROM progress"))
            for sink, number in self.written.items():
                self.progress[sink] = max(self.progress[sink], number)
            last = self.base.execute("SELECT max(number) FROM captions").fetchone()[0] or 0
            self.last = max(self.last, last, *self.progress.values())
            self.fault = None
        except (OSError, sqlite3.Error) as error:
            self.fault = str(error)
            if self.base:
                self.base.close()
            self.base = None

    def put(self, caption):
        """Keeps a caption, a dict of what JSON takes. Returns whether the disk has it; if not, memory has."""
        with self.lock:
            self.last += 1
            self.waiting.append((self.last, json.dumps(caption, ensure_ascii=False)))
            on_disk = self.flush()
            while len(self.waiting) > self.limit:
                self.waiting.popleft()
                self.dropped += 1
            return on_disk

    def flush(self):
        """Writes what waits in memory. Returns whether nothing waits any more."""
        with self.lock:
            if not self.waiting:
                return True
            if self.base is None:
                self._open()
            if self.base is None:
                return False
            try:
                with transaction(self.base):
                    self.base.executemany("INSERT INTO captions VALUES (?, ?)", self.waiting)
            except sqlite3.Error as error:
                self.fault = str(error)
                return False
            self.waiting.clear()
            self.fault = None
            return True

    def pending(self, sink, count=200):
        """The first captions that a sink has not got: a list of (number, dict)."""
        with self.lock:
            rows = []
            if self.base is not None:
                rows = self.base.execute(
                    "SELECT number, text FROM captions WHERE number > ? ORDER BY number LIMIT ?",
                    (self.progress[sink], count),
                ).fetchall()
            rows += [row for row in self.waiting if row[0] > self.progress[sink]]
            return [(number, json.loads(text)) for number, text in rows[:count]]

    def delivered(self, sink, number):
        """A sink has everything up to this number. What all have is deleted."""
        with self.lock:
            self.progress[sink] = max(self.progress[sink], number)
            everywhere = min(self.progress.values())
            while self.waiting and self.waiting[0][0] <= everywhere:
                self.waiting.popleft()
            if self.base is None:
                return
            try:
                with transaction(self.base):
                    self.base.executemany("INSERT OR REPLACE INTO progress VALUES (?, ?)", self.progress.items())
                    self.base.execute("DELETE FROM captions WHERE number <= ?", (everywhere,))
                self.written = dict(self.progress)
            except sqlite3.Error as error:
                self.fault = str(error)

    def length(self, sink):
        """How many captions a sink has not got."""
        with self.lock:
            count = sum(number > self.progress[sink] for number, _ in self.waiting)
            if self.base is not None:
                count += self.base.execute(
                    "SELECT count(*) FROM captions WHERE number > ?", (self.progress[sink],)
                ).fetchone()[0]
            return count

    def close(self):
        with self.lock:
            self.flush()
            if self.base is not None:
                self.base.close()
                self.base = None


class Shelf:
    """A folder with the outboxes of the processes of one machine."""

    def __init__(self, folder, memory=10000):
        self.folder, self.memory = folder, memory
        self.damaged = set()
        os.makedirs(folder, exist_ok=True)
        self.locks = {}

    def new(self, owner):
        """(name, Outbox) for a process; the name begins with `owner` and is used once."""
        name = f"{owner}-{secrets.token_hex(6)}"
        self.locks[name] = Lock(os.path.join(self.folder, name + ".lock"))
        return name, Outbox(os.path.join(self.folder, name + ".db"), self.memory)

    def orphans(self):
        """[(name, Outbox)] of processes that have ended; they are this process's now."""
        found = []
        for entry in sorted(os.listdir(self.folder)):
            name = entry.removesuffix(".lock")
            if name == entry or name in self.locks:
                continue
            try:
                self.locks[name] = Lock(os.path.join(self.folder, entry))
            except (BlockingIOError, FileNotFoundError):
                continue
            box = Outbox(os.path.join(self.folder, name + ".db"), self.memory)
            if box.base is None:  # it cannot be opened now, and must not pass for empty
                if name not in self.damaged:
                    log.error("%s: %s; it is tried again", box.path, box.fault)
                self.damaged.add(name)
                self.release(name)
                continue
            found.append((name, box))
        return found

    def remove(self, name, box):
        """Deletes an outbox that is delivered."""
        box.close()
        for end in ".db", ".db-wal", ".db-shm":
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.folder, name + end))
        self.locks.pop(name).remove()

    def release(self, name):
        """Leaves an outbox to others."""
        self.locks.pop(name).close()
