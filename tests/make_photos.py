#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""make_photos.py - writes tests/data/photos: one small picture in the formats, depths and positions that people have.

    python3 tests/make_photos.py        with Pillow, and heif-enc and avifenc of libheif and libavif

The picture has 32 x 24 pixels of at most 128 colours, so that a palette holds it without loss. Names say what is right:
same-*     its pixels exactly, in another format, or as the first of several pictures
up-K-*     the same, stored as Exif's orientation K says, so that it is the same once it is upright
seen-*     transparent; over white it is white.png exactly
near-*     nearly its pixels: the format keeps them with losses
"""

import pathlib
import subprocess
import zlib

from PIL import Image, ImageDraw

PHOTOS = pathlib.Path(__file__).resolve().parent.parent / "examples" / "photos"
OUT = pathlib.Path(__file__).resolve().parent / "data" / "photos"
SIZE = (32, 24)
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def small(name):
    return Image.open(PHOTOS / name).convert("RGB").resize(SIZE).quantize(128).convert("RGB")


def chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def deep_png(picture):
    """16 bits a sample, which Pillow does not write for colours: each is 257 times that of 8 bits."""
    rows = b"".join(
        b"\0" + bytes(b for s in picture.crop((0, y, SIZE[0], y + 1)).tobytes() for b in (s, s)) for y in range(SIZE[1])
    )
    header = SIZE[0].to_bytes(4, "big") + SIZE[1].to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def same(picture, other):
    picture.save(OUT / "same.png")
    for ending in ("bmp", "tif", "tga", "ppm"):
        picture.save(OUT / f"same.{ending}")
    picture.save(OUT / "same.webp", lossless=True)
    picture.save(OUT / "same.ico", sizes=[SIZE])
    picture.quantize(128).save(OUT / "same.gif")
    picture.quantize(128).save(OUT / "same-palette.png")
    (OUT / "same-deep.png").write_bytes(deep_png(picture))
    several = {"save_all": True, "append_images": [other]}
    picture.save(OUT / "same-first.webp", lossless=True, duration=300, **several)
    picture.save(OUT / "same-first.png", duration=300, **several)
    picture.save(OUT / "same-first.tif", **several)
    picture.quantize(128).save(OUT / "same-first.gif", save_all=True, append_images=[other.quantize(128)], duration=300)


def upright(picture):
    for k, stored in STORED.items():
        turned = picture.transpose(stored)
        exif = Image.Exif()
        exif[0x112] = k
        turned.save(OUT / f"up-{k}.png", exif=exif.tobytes())
        turned.save(OUT / f"up-{k}.tif", tiffinfo={0x112: k})
        if k in (3, 6):
            turned.save(OUT / f"up-{k}.webp", lossless=True, exif=exif.tobytes())


def seen(picture, other):
    mask = Image.new("L", SIZE, 0)
    ImageDraw.Draw(mask).ellipse((2, 2, 29, 21), fill=255)
    white = Image.new("RGB", SIZE, (255, 255, 255))
    white.paste(picture, mask=mask)
    white.save(OUT / "white.png")
    for name, under in (
        ("black", Image.new("RGB", SIZE)),
        ("red", Image.new("RGB", SIZE, (255, 0, 0))),
        ("other", other),
    ):
        under = under.copy()
        under.paste(picture, mask=mask)
        under.putalpha(mask)
        under.save(OUT / f"seen-over-{name}.png")
    under.save(OUT / "seen.webp", lossless=True, exact=True)
    under.save(OUT / "seen.tif")
    under.save(OUT / "seen.tga")


def near(picture):
    picture.convert("CMYK").save(OUT / "near-cmyk.jpg", quality=97)
    big = OUT / "big.png"  # coders want some room
    picture.save(big)
    turned = OUT / "turned.png"
    picture.transpose(STORED[6]).save(turned)
    subprocess.run(
        ["heif-enc", "-q", "97", "-p", "chroma=444", big, "-o", OUT / "near.heic"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    subprocess.run(
        ["avifenc", "--min", "0", "--max", "2", big, OUT / "near.avif"], check=True, stdout=subprocess.DEVNULL
    )
    subprocess.run(
        ["avifenc", "--min", "0", "--max", "2", "--irot", "3", turned, OUT / "near-turned.avif"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    big.unlink()
    turned.unlink()


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    dog, coffee = small("dog.jpg"), small("coffee.jpg")
    same(dog, coffee)
    upright(dog)
    seen(dog, coffee)
    near(dog)
