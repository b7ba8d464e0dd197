# SPDX-License-Identifier: LGPL-2.1-or-later
"""calibrate.py - measures on photos in which precisions a model file says what it says in f32, finds the layers that
int8 is too coarse for, and writes both into the file.

    python models/convert/calibrate.py MODEL.safetensors PHOTOS [--out FILE] [--within 0.05] [--limit 24]

The engine captions each photo in f32. In each other precision it captions it again, and scores the caption of f32: the
measure is how far that score (mean log-probability of a token) moves, on the mean of the photos. Where int8 moves it by
more than --within, parts of the model are put into int8 alone, and parts of those, until single layers are found; those
that move it most stay in bf16, or in f32 where bf16 moves it too, as few as are needed. FORMAT.md, 3.5, has the keys
`precisions` and `least_precision`, which are written. import_hf.py --calibrate PHOTOS does all this with what it wrote.
Needs numpy and Pillow, and the engine's library (PALME_LIBRARY, or an installed one).
"""

import argparse
import json
import os
import pathlib
import sys

import numpy as np

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from models import data, engine, modelfile
from models.data import DataError

# How far scores may move. The bundled model in int8, whose captions score as well as those of f32, moves those of the
# example photos by 0.04.
WITHIN, LIMIT = 0.05, 24


def layers_of(config):
    """Parts of the model, and the layers of each, as FORMAT.md, 3.5, names them."""
    encoder, decoder = config["encoder"], config["decoder"]
    kind = config.get("projection", {}).get("kind", "auto")
    projects = kind == "linear" or (kind == "auto" and encoder["dim"] != decoder["dim"])
    cross = decoder.get("image", "cross_attention") == "cross_attention"
    parts = [["encoder.patch", *(["projection"] if projects else [])]]
    for i in range(encoder["depth"]):
        parts += [[f"encoder.{i}.{name}" for name in ("attn.qkv", "attn.out", "mlp.up", "mlp.down")]]
    parts.append(["decoder.embedding"])
    for i in range(decoder["depth"]):
        names = ["self.qkv", "self.out", *(["cross.q", "cross.kv", "cross.out"] if cross else []), "mlp.up", "mlp.down"]
        parts.append([f"decoder.{i}.{name}" for name in names])
    parts.append(["decoder.head"] * (decoder.get("logits_head") == "bert") + ["decoder.logits"])
    return parts


def photos_of(folder, limit):
    """[height, width, 3] of up to `limit` photos, evenly from all of them."""
    skipped, found = [], [name for name, _, _ in data.photo_files(folder)]
    wanted = {found[i * len(found) // limit] for i in range(limit)} if len(found) > limit else set(found)
    photos = {name: np.array(image) for name, image in data.photos(folder, skipped, wanted)}
    if not photos:
        raise DataError(f"{folder}: no photo could be read")
    for name, why in skipped:
        print(f"{name}: {why}", file=sys.stderr)
    return photos


class Meter:
    """What other precisions and choices of layers make of the photos."""

    def __init__(self, path, config, photos, threads=0):
        self.path, self.photos, self.threads = path, photos, threads
        self.config = {key: value for key, value in config.items() if key != "least_precision"}
        self.layers = [name for part in layers_of(config) for name in part]
        self.runs = 0
        with self.open("f32", {}) as model:
            self.said = {name: model.caption(image)[0] for name, image in photos.items()}
            self.scores = self.scores_of(model)

    def open(self, precision, least):
        return engine.Engine(self.path, precision, {**self.config, "least_precision": least}, self.threads)

    def scores_of(self, model):
        out = []
        for name, image in self.photos.items():
            model.look(image)
            out.append(model.score(self.said[name]))
        return np.array(out)

    def moved(self, precision, least):
        """How far the scores of the captions of f32 move, on the mean."""
        self.runs += 1
        with self.open(precision, least) as model:
            return float(np.abs(self.scores_of(model) - self.scores).mean())

    def alone(self, names, precision="int8"):
        """The same where these layers alone are in another precision than f32. Layers beyond the list (the stem, the
        labels) are in it always."""
        return self.moved(precision, {name: "f32" for name in self.layers if name not in names})

    def captions(self, precision, least):
        """(share of equal captions, by how much f32 finds these captions worse than its own, how far scores move)"""
        with self.open(precision, least) as model:
            said = {name: model.caption(image)[0] for name, image in self.photos.items()}
        worse = []
        with self.open("f32", {}) as model:
            for name, image in self.photos.items():
                model.look(image)
                worse.append(self.scores[len(worse)] - model.score(said[name]))
        equal = np.mean([said[name] == self.said[name] for name in self.photos])
        return float(equal), float(np.mean(worse)), self.moved(precision, least)


def culprits(meter, parts, floor, within, show):
    """(layer, how far it moves the scores alone), the worst first. A part that moves them by less than an even share of
    `within` is not looked into."""
    share = max(within / max(len(parts), 1), floor)
    found = []
    for part in parts:
        moved = meter.alone(part) - floor
        show(part[0].rsplit(".", 2)[0] if len(part) > 1 else part[0], moved)
        if moved <= share / 2:
            continue
        if len(part) == 1:
            found.append((part[0], moved))
            continue
        for name in part:
            found.append((name, meter.alone([name]) - floor))
            show("  " + name, found[-1][1])
    return sorted(found, key=lambda one: -one[1])


def choose(meter, within, show=lambda *_: None):
    """least_precision: as few layers as keep the scores of int8 within `within`, if any do. Empty where none needs
    more."""
    if meter.moved("int8", {}) <= within:
        return {}
    floor = meter.alone([])  # of what is in int8 always, and of sums in another order
    found = culprits(meter, layers_of(meter.config), floor, within, show)
    if not found:
        return {}
    fine = meter.moved("bf16", {}) <= within  # else some layers need f32
    care = [
        (name, "bf16" if fine or meter.alone([name], "bf16") - floor <= within / len(found) else "f32")
        for name, _ in found
    ]
    few, most = 1, len(care)  # the worst ones are enough, and all of them
    while few < most:
        middle = (few + most) // 2
        if meter.moved("int8", dict(care[:middle])) <= within:
            most = middle
        else:
            few = middle + 1
    return dict(care[:most])


def calibrate(path, photos, within=WITHIN, limit=LIMIT, threads=0, out=sys.stdout):
    """(precisions, least_precision) of a model file, and prints what was measured."""
    config = json.loads(modelfile.read_metadata(path)["config"])
    if "encoder" not in config:
        raise DataError(f"{path} has version 1 of the format; modelfile.convert writes version 2")
    meter = Meter(path, config, photos_of(photos, limit), threads)

    def say(line):
        print(line, file=out, flush=True)

    def show(name, moved):
        say(f"  {name:28} {moved:8.4f}")

    say(f"{len(meter.photos)} photos; how far int8 in one part alone moves the scores of f32's captions:")
    least = choose(meter, within, show)
    rows = [("f32", "f32", {}), ("bf16", "bf16", {}), ("int8", "int8", {})]
    rows += [("int8 with care", "int8", least)] if least else []
    say(f"\n{'':16}{'captions equal':>16}{'f32 finds worse by':>20}{'scores move by':>16}")
    moved = {}
    for name, precision, some in rows:
        equal, worse, moved[name] = meter.captions(precision, some)
        say(f"{name:16}{equal:16.0%}{worse:20.4f}{moved[name]:16.4f}")
    good = ["f32"] + ["bf16"] * (moved["bf16"] <= within)
    good += ["int8"] * (moved["int8 with care" if least else "int8"] <= within)
    say(f"precisions: {', '.join(good)} (scores move by at most {within})")
    if least:
        say(
            f"{len(least)} of {len(meter.layers)} layers need more care: "
            + ", ".join(f"{k} {v}" for k, v in least.items())
        )
    return good, least


def write(path, target, good, least):
    """The file with these keys in its configuration."""
    config = json.loads(modelfile.read_metadata(path)["config"])
    config["precisions"] = good
    config.pop("least_precision", None)
    if least:
        config["least_precision"] = least
    front, begin, _ = engine.with_config(path, config)
    part = pathlib.Path(f"{target}.part")
    try:
        with open(path, "rb") as source, open(part, "wb") as to:
            to.write(front)
            source.seek(begin)
            while block := source.read(1 << 20):
                to.write(block)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, metavar="MODEL.safetensors")
    parser.add_argument("photos", type=pathlib.Path, metavar="PHOTOS", help="a folder, or a tar file")
    parser.add_argument("--out", type=pathlib.Path, help="the file to write (MODEL itself)")
    parser.add_argument("--within", type=float, default=WITHIN, help=f"how far scores may move ({WITHIN})")
    parser.add_argument("--limit", type=int, default=LIMIT, help=f"most photos ({LIMIT})")
    parser.add_argument("--threads", type=int, default=0, help="threads of the engine; 0: as many as processors (0)")
    o = parser.parse_args()
    try:
        write(o.model, o.out or o.model, *calibrate(o.model, o.photos, o.within, o.limit, o.threads))
    except (DataError, OSError) as error:
        sys.exit(f"calibrate: {error}")


if __name__ == "__main__":
    main()
