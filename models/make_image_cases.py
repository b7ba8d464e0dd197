# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes tests/data/image/resize.safetensors: small pictures, and what Pillow's antialiased
bilinear filter makes of them.

    python models/make_image_cases.py [--check]

Tensor NAME is U8 [height, width, 3]; NAME.SIZE is Pillow's picture, U8 [SIZE, SIZE, 3]. Pillow
rounds between the two passes, the engine at the end alone, so they may differ by one step of 255. --check
writes nothing and fails if the file has other pictures.
"""
import pathlib
import sys

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

TARGET = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "image"


def pictures():
    rng = np.random.default_rng(20240229)
    yield "noise", rng.integers(0, 256, (61, 97, 3)), [1, 7, 32, 61, 64]
    y, x = np.mgrid[0:48, 0:64]
    yield "waves", 127.5 + 127.5 * np.stack(
        [np.sin(x * y / 40.0), np.cos(x / 3.0 + y / 5.0), np.sin(y * y / 90.0)],
        axis=-1), [16, 32, 50]
    yield "checks", np.repeat(((x + y) % 2 * 255)[..., None], 3, axis=-1), [24, 48]
    yield "ramp", np.stack([x * 4, y * 5, (x + y) * 2], axis=-1), [64, 8]
    yield "wide", rng.integers(0, 256, (3, 700, 3)), [9, 33]
    yield "tall", rng.integers(0, 256, (700, 3, 3)), [9, 33]
    yield "dot", rng.integers(0, 256, (1, 1, 3)), [1, 5]
    yield "tiny", rng.integers(0, 256, (2, 3, 3)), [1, 2, 3, 4, 40]
    edge = np.zeros((31, 33, 3))
    edge[:, 16:, 0] = edge[15:, :, 1] = edge[10:20, 10:20, 2] = 255
    yield "edge", edge, [5, 30, 31, 32, 33, 34]


def main():
    tensors = {}
    for name, pixels, sizes in pictures():
        pixels = np.clip(np.round(pixels), 0, 255).astype(np.uint8)
        tensors[name] = pixels
        for size in sizes:
            scaled = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR)
            tensors[f"{name}.{size}"] = np.asarray(scaled)
    path = TARGET / "resize.safetensors"
    if "--check" in sys.argv[1:]:
        known = load_file(path)
        same = known.keys() == tensors.keys() and all(
            np.array_equal(known[name], tensors[name]) for name in tensors)
        sys.exit(None if same else f"{path.name} differs")
    TARGET.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    print(f"{path.name}: {len(tensors)} pictures, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
