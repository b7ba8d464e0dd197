# SPDX-License-Identifier: LGPL-2.1-or-later
"""The data set: a folder of Parquet files, one a shard, each put in place whole by one step.

A file's name is made of the keys of what is in it (batch/inputs.py), so the same shard written twice is one file. Rows
belong to a run, a growing number. Where a source has rows of several runs, those of the newest count, and of two files
of the same run those of the file that is last by name. tidy() takes the others away. It may be ended at any moment: it
replaces files whole, and a reader that comes before it can apply the rule himself.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .inputs import Keys, UsageError, name_hash

SCHEMA = pa.schema([
    pa.field("source", pa.string(), nullable=False, metadata={"is": "the file: a path or an address"}),
    pa.field("time", pa.float64(), metadata={"is": "seconds in the video, null for a photo"}),
    pa.field("caption", pa.string(), metadata={"is": "null with an error"}),
    pa.field("score", pa.float32(), metadata={"is": "mean log-probability of the caption's tokens"}),
    pa.field("unsure", pa.bool_(), metadata={"is": "the caption is of the likeliest label alone"}),
    pa.field("labels", pa.list_(pa.struct([("name", pa.string()), ("probability", pa.float32())]))),
    pa.field("model_digest", pa.string(), nullable=False, metadata={"is": "SHA-256 of the model file"}),
    pa.field("error", pa.string(), metadata={"is": "why there is no caption"}),
    pa.field("version", pa.string(), nullable=False, metadata={"is": "of the file: ETag, or size and time of change"}),
    pa.field("key", pa.binary(16), nullable=False, metadata={"is": "hash of source, version, model and settings"}),
    pa.field("run", pa.int64(), nullable=False, metadata={"is": "of several runs, the greatest counts"}),
])  # fmt: skip

#: File systems whose files appear when they are whole; on others a file is written beside its place and moved there.
WHOLE = frozenset(("s3", "s3a", "gs", "gcs", "abfs", "az", "adl", "oss", "oci", "memory"))


class OutputError(Exception):
    """What could not be written or read, with the reason."""


@dataclass
class Known:
    """What a data set has: the keys that are done, and the number of the newest run."""

    done: Keys
    run: int


def part_name(keys: list[bytes]) -> str:
    """The name of the file for a shard with these keys, which have the model's digest in them."""
    return f"part-{hashlib.blake2b(b''.join(keys), digest_size=16).hexdigest()}.parquet"


class DataSet:
    """A folder, local or any that fsspec knows. Every process opens its own."""

    def __init__(self, address: str):
        self.address = address
        try:
            self.fs, root = fsspec.core.url_to_fs(address, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise UsageError(f"{address}: {error}") from error
        self.root = root.rstrip("/") or "/"
        protocols = [self.fs.protocol] if isinstance(self.fs.protocol, str) else self.fs.protocol
        self.local = "file" in protocols
        self._whole = bool(WHOLE.intersection(protocols))

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    # ---- Writing

    def write(self, name: str, rows: pa.Table) -> None:
        """Puts a file in place, whole or not at all. Raises OutputError."""
        buffer = io.BytesIO()
        pq.write_table(rows, buffer, compression="zstd")
        self.write_bytes(name, buffer.getvalue())

    def write_bytes(self, name: str, data: bytes) -> None:
        # Readers leave out names that begin with a dot.
        beside = self.path(f".{name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            if self._whole:
                self.fs.pipe_file(self.path(name), data)
            elif self.local:
                self._write_local(beside, self.path(name), data)
            else:
                self.fs.pipe_file(beside, data)
                self.fs.mv(beside, self.path(name))
        except Exception as error:
            if not self._whole:
                with contextlib.suppress(Exception):
                    self.fs.rm_file(beside)
            raise OutputError(f"{self.address}: {name} cannot be written: {_reason(error)}") from error

    @staticmethod
    def _write_local(beside: str, path: str, data: bytes) -> None:
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            # A file system without room may say so only now, and after a loss of power the name must not be first.
            os.fsync(file.fileno())
        os.replace(beside, path)
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def prepare(self, mark: str) -> None:
        """Makes the folder, takes away what ended runs left half-written, and leaves a mark for workers to look for."""
        try:
            self.fs.makedirs(self.root, exist_ok=True)
            for info in self.fs.ls(self.root, detail=True):
                name = info["name"].rsplit("/", 1)[-1]
                if name.startswith((".part-", ".run-")):
                    self.fs.rm_file(info["name"])
        except Exception as error:
            raise OutputError(f"{self.address}: cannot be written to: {_reason(error)}") from error
        self.write_bytes(mark, b"")

    def has(self, mark: str) -> bool:
        """Whether a mark is there. A later run takes it away. Raises OutputError where that cannot be seen."""
        try:
            self.fs.info(self.path(mark))
            return True
        except FileNotFoundError:
            return False
        except Exception as error:
            raise OutputError(f"{self.address}: cannot be reached: {_reason(error)}") from error

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    # ---- Reading

    def parts(self) -> list[str]:
        """The names of the files with rows, sorted."""
        try:
            names = [info["name"].rsplit("/", 1)[-1] for info in self.fs.ls(self.root, detail=True)]
        except FileNotFoundError:
            return []
        except Exception as error:
            raise OutputError(f"{self.address}: cannot be read: {_reason(error)}") from error
        return sorted(name for name in names if name.startswith("part-") and name.endswith(".parquet"))

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        try:
            # pq.read_table would read on threads of Arrow's. They may let go of the file, an object of Python's, when
            # Python has ended already, and then the process aborts (apache/arrow, issue 34314).
            with self.fs.open(self.path(name), "rb") as file, pq.ParquetFile(file, pre_buffer=False) as parquet:
                return parquet.read(columns, use_threads=False)
        except Exception as error:
            raise OutputError(
                f"{self.address}: {name} cannot be read: {_reason(error)}; "
                "if it is broken, remove it, and its files are done again"
            ) from error

    def rows(self) -> Iterator[dict]:
        """All rows, file by file."""
        for name in self.parts():
            yield from self.read(name).to_pylist()

    def known(self, retry_errors: bool = False) -> Known:
        """What is done; with `retry_errors` sources with an error are not.

        Keeps 16 bytes a source, and takes 100 for a moment.
        """
        done, run = [], 0
        for name in self.parts():
            table = self.read(name, ["key", "run", "error"])
            if len(table):
                run = max(run, pc.max(table["run"]).as_py())
            if retry_errors:
                failed = table.filter(pc.is_valid(table["error"]))["key"].combine_chunks()
                table = table.filter(pc.invert(pc.is_in(table["key"], failed)))
            done.append(np.unique(np.array(table["key"].to_pylist(), "S16")))
        return Known(Keys(np.concatenate(done)) if done else Keys(), run)

    def tidy(self) -> int:
        """Takes away the rows that do not count; how many sources had some. Takes some 100 bytes a source."""
        names = self.parts()
        hashes, places, runs = [], [], []
        for place, name in enumerate(names):
            table = self.read(name, ["source", "run"])
            each = table.group_by("source", use_threads=False).aggregate([("run", "max")])
            hashes.append(_hashes(each))
            places.append(np.full(len(each), place, np.int32))
            runs.append(np.array(each["run_max"].to_pylist(), np.int64))
        if not hashes:
            return 0
        source, place, run = np.concatenate(hashes), np.concatenate(places), np.concatenate(runs)
        order = np.lexsort((place, run, source))
        source, place = source[order], place[order]
        # Of equal ones side by side, the last counts.
        loser = np.concatenate([source[:-1] == source[1:], [False]])
        for number in np.unique(place[loser]):
            self._drop(names[number], set(source[loser & (place == number)].tolist()))
        return len(np.unique(source[loser]))

    def _drop(self, name: str, losers: set[bytes]) -> None:
        table = self.read(name)
        keep = table.filter(
            pa.array([name_hash(one).rstrip(b"\0") not in losers for one in table["source"].to_pylist()])
        )
        if len(keep):
            self.write(name, keep)
        else:
            self.remove(name)


def _hashes(table: pa.Table) -> np.ndarray:
    return np.array([name_hash(source) for source in pc.unique(table["source"]).to_pylist()], "S16")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}"[:300]
