# SPDX-License-Identifier: LGPL-2.1-or-later
"""data.py - captioned photos as they lie on a disk: photos in folders or tar files, captions in a tsv.

A tsv has one caption a line, `id<TAB>caption`; a photo's id is its file name without the suffix (with the names of
the folders it lies in, if there are any below the given one). Nothing here knows the model.
"""
import tarfile
from pathlib import Path

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


class DataError(Exception):
    """A sentence for the person who gave the file: what is wrong, and where."""


def read_captions(path):
    """id -> [captions], in the order of the file. DataError names the file, and the line that is none."""
    captions = {}
    try:
        with open(path, "rb") as f:
            for number, line in enumerate(f, 1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise DataError(f"{path}, line {number}: no UTF-8 ({error.reason})") from None
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
        raise DataError(f"{path}: no caption in it")
    return captions


def open_photo(source):
    """A file or a path -> PIL image, RGB, upright, all of it decoded. OSError or ValueError if it is none."""
    from PIL import Image, ImageOps
    try:
        with Image.open(source) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except (SyntaxError, EOFError, Image.DecompressionBombError) as error:  # what PIL says of broken files
        raise ValueError(str(error)) from None


def is_photo(name):
    parts = Path(name).parts
    return Path(name).suffix.lower() in SUFFIXES and not any(p.startswith(".") for p in parts)


def photo_files(path):
    """The photos of a folder, a tar file or one file: (id, how it is called in messages, function that opens it)."""
    path = Path(path)
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file() and is_photo(p.relative_to(path))):
            yield file.relative_to(path).with_suffix("").as_posix(), str(file), lambda file=file: open_photo(file)
    elif not path.exists():
        raise DataError(f"{path}: no such file or folder")
    elif is_photo(path.name):
        yield path.stem, str(path), lambda: open_photo(path)
    else:
        try:
            with tarfile.open(path) as tar:
                for member in tar:
                    name = member.name.removeprefix("./")
                    if member.isfile() and is_photo(name):
                        yield (Path(name).with_suffix("").as_posix(), f"{path}:{name}",
                               lambda member=member: open_photo(tar.extractfile(member)))
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DataError(f"{path}: no folder of photos, and no tar file that can be read ({error})") from None


def photos(path, skipped=None, wanted=None):
    """Iterates over (id, PIL image) of a folder, a tar file or one file. A photo that cannot be read is left out; its
    name and the reason are appended to the list `skipped`. wanted: only these ids are opened."""
    for name, called, opened in photo_files(path):
        if wanted is not None and name not in wanted:
            continue
        try:
            image = opened()
        except (OSError, ValueError) as error:
            if skipped is not None:
                skipped.append((called, str(error)))
            continue
        yield name, image
