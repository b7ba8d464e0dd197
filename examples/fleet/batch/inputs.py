# SPDX-License-Identifier: LGPL-2.1-or-later
"""What there is to be captioned: folders, lists and fsspec addresses as one stream of entries, and who has been seen.

Nothing here holds the whole listing. A local folder is read entry by entry; of a remote one fsspec lists a folder at a
time, and of a pattern with * all that matches, at about a kilobyte an entry.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlsplit

import fsspec
import numpy as np

PHOTOS = frozenset(".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .avif .ppm .pgm .pnm .jp2".split())
VIDEOS = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .ts .mts .m2ts .mpg .mpeg .ogv .flv .wmv .3gp .mxf .h264 .hevc .mjpeg".split()
)


class UsageError(Exception):
    """What the user has to change in the command line."""


class ListingError(Exception):
    """Inputs that could be listed at first, and then no longer."""


@dataclass(frozen=True)
class Entry:
    """One file. `source` is its name in the data set, always valid UTF-8; `address` is what opens it.

    `version` changes when the file does: an ETag, or size and time of the last change. `error` is set where the file
    could not even be looked at.
    """

    source: str
    address: str
    version: str
    error: str | None = None


def extension(name: str) -> str:
    """The extension in small letters with its dot, of a path or an address, "" if there is none."""
    path = urlsplit(name.split("::")[0]).path if "://" in name else name
    return os.path.splitext(path)[1].lower()


def wanted(name: str) -> bool:
    """Whether a file in a folder is a photo or a video by its name. A file that is named itself is always taken."""
    return extension(name) in PHOTOS or extension(name) in VIDEOS


def key(entry: Entry, model_digest: str, interval: float) -> bytes:
    """16 bytes that change where the file, the model, or for what may be a video the interval does."""
    of_videos = "" if extension(entry.source) in PHOTOS else repr(float(interval))
    words = "\0".join((entry.source, entry.version, model_digest, of_videos))
    return hashlib.blake2b(words.encode("utf-8", "surrogateescape"), digest_size=16).digest()


def name_hash(source: str) -> bytes:
    """16 bytes in the place of a name."""
    return hashlib.blake2b(source.encode("utf-8", "surrogateescape"), digest_size=16).digest()


class Keys:
    """A growing set of values of 16 bytes each, of which ten million take 160 MB: sorted, with the newest beside it."""

    NEWEST = 500_000

    def __init__(self, values: np.ndarray | None = None):
        self._sorted = np.unique(values) if values is not None else np.empty(0, "S16")
        self._newest: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._newest)

    def __contains__(self, value: bytes) -> bool:
        if value in self._newest:
            return True
        # numpy ends its strings at trailing zeros, on both sides alike.
        place = int(np.searchsorted(self._sorted, value))
        return place < len(self._sorted) and self._sorted[place] == value.rstrip(b"\0")

    def add(self, value: bytes) -> bool:
        """Whether it was new."""
        if value in self:
            return False
        self._newest.add(value)
        if len(self._newest) >= self.NEWEST:
            newest = np.array(sorted(self._newest), "S16")
            self._sorted = np.concatenate([self._sorted, newest])
            self._sorted.sort(kind="stable")
            self._newest = set()
        return True


# ---- Where entries come from


def _readable(name: str) -> str:
    """The name with bytes that are no UTF-8 written as \\xNN: a data set has text alone."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _local(path: str, stat: os.stat_result | None, error: str | None = None) -> Entry:
    version = f"{stat.st_size}-{stat.st_mtime_ns}" if stat else ""
    return Entry(_readable(path), path, version, error)


def _said(error: OSError) -> str:
    return f"{type(error).__name__}: {error.strerror or error}"


def _walk(folder: str) -> Iterator[Entry]:
    """Photos and videos below a local folder. Links to files are followed, links to folders may loop and are not."""
    folders = [folder]
    while folders:
        here = folders.pop()
        try:
            with os.scandir(here) as found:
                for item in found:
                    try:
                        if item.is_dir(follow_symlinks=False):
                            folders.append(item.path)
                        elif wanted(item.name) and (item.is_file() or item.is_symlink()):
                            yield _local(item.path, item.stat())
                    except OSError as error:
                        yield _local(item.path, None, _said(error))
        except OSError as error:
            yield _local(here, None, f"the folder cannot be read: {_said(error)}")


def version(info: dict) -> str:
    """What changes with a file, of the fields that fsspec's file systems have; "" if none of them is there."""
    for name in ("ETag", "etag", "md5Hash", "CRC"):
        if info.get(name):
            return f"{info.get('size', '')}-{str(info[name]).strip(chr(34))}"
    for name in ("mtime", "LastModified", "last_modified", "updated", "date_time", "created"):
        if info.get(name):
            return f"{info.get('size', '')}-{info[name]}"
    return str(info.get("size", "") or "")


def _remote(fs, path: str, rest: str, info: dict | None, error: str | None = None) -> Entry:
    """`rest` is what follows in a chained address: "::s3://bucket/archive.zip" behind zip://."""
    address = fs.unstrip_protocol(path) + rest
    return Entry(_readable(address), address, version(info) if info else "", error)


def _is_local(fs) -> bool:
    return "file" in ([fs.protocol] if isinstance(fs.protocol, str) else fs.protocol)


def _opened(address: str):
    """The file system, its path, and the rest of a chained address."""
    fs, path = fsspec.core.url_to_fs(address, use_listings_cache=False) if "://" in address else (None, address)
    return fs, path, ("::" + address.split("::", 1)[1]) if "::" in address else ""


def named(address: str) -> Iterator[Entry]:
    """The entries of one INPUT. Raises UsageError if there is no such thing."""
    try:
        fs, path, rest = _opened(address)
    except Exception as error:
        # Each file system has its own, and an archive is opened here.
        raise UsageError(f"{address}: cannot be opened: {error}") from error
    if fs is None or (_is_local(fs) and not rest):
        path = os.path.abspath(path)
        if os.path.isdir(path):
            return _walk(path)
        if os.path.lexists(path):
            return iter([_stat(path)])
        fs, rest = fsspec.filesystem("file"), ""
    try:
        if any(sign in path for sign in "*?["):
            found = fs.glob(path, detail=True)
            if not found:
                raise UsageError(f"{address}: nothing matches")
            files = ((name, info) for name, info in sorted(found.items()) if info["type"] != "directory")
            if _is_local(fs) and not rest:
                return (_stat(name) for name, _ in files)
            return (_remote(fs, name, rest, info) for name, info in files)
        info = fs.info(path)
    except FileNotFoundError as error:
        raise UsageError(f"{address}: there is no such file or folder") from error
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{address}: cannot be listed: {error}") from error
    if info["type"] != "directory":
        return iter([_remote(fs, path, rest, info)])
    return _walk_remote(fs, path, rest)


def _walk_remote(fs, path: str, rest: str) -> Iterator[Entry]:
    try:
        for _, _, files in fs.walk(path, detail=True, on_error="raise"):
            for info in files.values():
                if wanted(info["name"]):
                    yield _remote(fs, info["name"], rest, info)
    except Exception as error:
        raise ListingError(f"{path}: cannot be listed any further: {type(error).__name__}: {error}") from error


def _stat(path: str) -> Entry:
    path = os.path.abspath(path)
    try:
        return _local(path, os.stat(path))
    except OSError as error:
        return _local(path, None, _said(error))


def _look(address: str) -> Entry:
    """The entry of a line of a list; where it cannot be looked at, with the error."""
    try:
        fs, path, rest = _opened(address)
        if fs is None or (_is_local(fs) and not rest):
            return _stat(path)
        return _remote(fs, path, rest, fs.info(path))
    except Exception as error:
        return Entry(_readable(address), address, "", f"{type(error).__name__}: {error}"[:500])


def listed(path: str) -> Iterator[Entry]:
    """The entries of a list with one path or address a line, "-" for standard input.

    They are looked at by some threads, as a remote one takes a request each.
    """
    file = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115
    with file, ThreadPoolExecutor(16) as threads:
        lines = (os.fsdecode(line.rstrip(b"\r\n")) for line in file)
        names = (line for line in lines if line)
        while some := list(islice(names, 256)):
            yield from threads.map(_look, some)


def count(addresses: list[str], list_file: str | None) -> int | None:
    """How many entries there will be, where that takes no more than reading names; None where it is not known."""
    total = 0
    if list_file == "-" or any("://" in address or not os.path.lexists(address) for address in addresses):
        return None
    for address in addresses:
        folders = os.walk(address) if os.path.isdir(address) else [("", [], [address])]
        total += sum(wanted(name) or name == address for _, _, files in folders for name in files)
    if list_file:
        with open(list_file, "rb") as file:
            total += sum(bool(line.strip()) for line in file)
    return total


def shards(entries: Iterable[Entry], size: int) -> Iterator[list[Entry]]:
    """Lists of so many entries, the last one with what is left."""
    stream = iter(entries)
    while some := list(islice(stream, size)):
        yield some
