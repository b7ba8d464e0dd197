# SPDX-License-Identifier: LGPL-2.1-or-later
"""data.py - reads captioned photos: photos in folders or tar files, captions in a tsv.

A tsv has one caption a line, `id<TAB>caption`; a photo's id is its file name without the suffix (with the names of
the folders it lies in, if there are any below the given one). Nothing here knows the model.
"""

import io
import sys
import tarfile
import time
from pathlib import Path

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


class DataError(Exception):
    """An error message for the user: what is wrong, and in which file"""


def read_captions(path):
    """id -> [captions], in the order of the file. DataError names the file and the line that is wrong."""
    captions = {}
    try:
        with open(path, "rb") as f:
            for number, line in enumerate(f, 1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise DataError(f"{path}, line {number}: not UTF-8 ({error.reason})") from None
                if not text.strip():
                    continue
                name, tab, caption = text.partition("\t")
                caption = " ".join(caption.split())
                if not tab or not name.strip() or not caption:
                    raise DataError(f"{path}, line {number}: wanted id<TAB>caption, found {text[:60]!r}")
                captions.setdefault(name.strip(), []).append(caption)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    if not captions:
        raise DataError(f"{path}: has no captions")
    return captions


def open_photo(content):
    """The bytes of a photo's file -> PIL image, RGB, upright, all of it decoded. OSError if it is none."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content)) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except OSError:
        raise
    except Exception as error:  # PIL raises many kinds for damaged files
        raise OSError(str(error)) from None


def is_photo(name):
    parts = Path(name).parts
    return Path(name).suffix.lower() in SUFFIXES and not any(p.startswith(".") for p in parts)


def photo_files(path):
    """The photos of a folder, a tar file or one file: (id, how messages call it, function that reads its bytes). The
    function is for the time before the next photo is asked for."""
    path = Path(path)
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file() and is_photo(p.relative_to(path))):
            yield file.relative_to(path).with_suffix("").as_posix(), str(file), file.read_bytes
    elif not path.exists():
        raise DataError(f"{path}: no such file or folder")
    elif is_photo(path.name):
        yield path.stem, str(path), path.read_bytes
    else:
        try:
            with tarfile.open(path) as tar:
                for member in tar:
                    name = member.name.removeprefix("./")
                    if member.isfile() and is_photo(name):
                        yield (
                            Path(name).with_suffix("").as_posix(),
                            f"{path}:{name}",
                            lambda member=member: tar.extractfile(member).read(),
                        )
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DataError(f"{path}: neither a folder of photos nor a tar file that can be read ({error})") from None


def photos(path, skipped=None, wanted=None):
    """Iterates over (id, PIL image) of a folder, a tar file or one file. A photo that cannot be read is left out; its
    name and the reason are appended to the list `skipped`. wanted: only these ids are opened."""
    for name, called, read in photo_files(path):
        if wanted is not None and name not in wanted:
            continue
        try:
            image = open_photo(read())
        except (OSError, tarfile.TarError) as error:
            if skipped is not None:
                skipped.append((called, str(error)))
            continue
        yield name, image


class Progress:
    """One line that tells how far a loop is: a bar, what the caller adds, things a second, time left."""

    def __init__(self, total, what, done=0, every=5.0):
        self.total, self.what, self.first, self.every = total, what, done, every
        self.start = self.last = time.monotonic()
        self.live = sys.stderr.isatty()

    def show(self, done, text="", end=False):
        now = time.monotonic()
        if self.total < 2 or (not end and now - self.last < (0.2 if self.live else self.every)):
            return
        self.last = now
        speed = (done - self.first) / max(now - self.start, 1e-9)
        left = (self.total - done) / speed if speed > 0 else 0
        bar = "#" * int(20 * done / max(self.total, 1))
        line = (
            f"[{bar:<20}] {done}/{self.total} {self.what}  {text}  {speed:.1f}/s  "
            f"{int(left // 60)}:{int(left % 60):02d} left"
        )
        print(
            ("\r\033[K" if self.live else "") + line,
            end="\n" if end or not self.live else "",
            file=sys.stderr,
            flush=True,
        )
