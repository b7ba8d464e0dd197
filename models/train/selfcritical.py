#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""selfcritical.py - trains a captioner that reads labels further by reward; mixture.py comes first.

    selfcritical.py --init RUN/epoch-00600.safetensors --photos FLICKR HEADS/flickr.npy train.tsv 20 \\
                    --photos COCO HEADS/coco.npy captions.tsv,clauses.tsv 20 --hold-out COCO \\
                    --things coco/labels.tsv --run RUN2

Several captions are drawn for each photo, and each becomes likelier or less likely as its reward is higher or lower
than that of the others (as in train.py's stage scst). The reward is CIDEr-D and BLEU against the photo's own
captions, less --price for each thing that is not in the photo, where annotations or trusted captions tell. A little
cross-entropy keeps sentences grammatical. All photos of a step have labels of the same number of tokens, so that
captions are drawn for all of them at once.
"""

import argparse
import functools
import sys
from pathlib import Path

import numpy as np
import torch

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import data
from models.eval import truth
from models.train import batch, mixture, rewards, tokenizer

STEPS = 18  # tokens drawn at most


class Buckets:
    """The photos of some sets, by how many tokens their labels have."""

    def __init__(self, sets, reader):
        self.sets, self.by_length = sets, []
        self.prefix = [{n: reader.of(s.probabilities(n, 0)) for n in s.names} for s, _ in sets]
        for prefixes in self.prefix:
            lengths = {}
            for name, ids in prefixes.items():
                lengths.setdefault(len(ids), []).append(name)
            self.by_length.append(lengths)

    def draw(self, rng):
        """[(set's number, name)] of one step. A length is drawn as often as it occurs in the first set."""
        first = self.sets[0][0]
        length = len(self.prefix[0][first.names[rng.integers(len(first.names))]])
        out = []
        for i, (_, count) in enumerate(self.sets):
            some = self.by_length[i].get(length, [])
            if len(some):
                out += [(i, some[j]) for j in rng.choice(len(some), min(count, len(some)), replace=False)]
        return out


def gradients(training, buckets, reward_of, rng, generator, drop):
    """Computes the gradients of one step. (mean reward, share of captions that name something absent, cross-entropy)"""
    o, run, reader = training.o, training.run, training.reader
    model, first = run.working, len(run.model.encoder.stem.blocks)
    photos = buckets.draw(rng)
    rows, prefixes, own = [], [], []
    for i, name in photos:
        one = buckets.sets[i][0]
        view = rng.integers(one.views)
        rows.append(one.cache.rows(view, [one.cache.at[name]])[0])
        prefixes.append(buckets.prefix[i][name])
        own.append(one.ids[name][rng.integers(len(one.ids[name]))])
    rows = torch.from_numpy(np.stack(rows).astype(np.float32)).bfloat16()
    seen = batch.some_tokens(len(rows), model.config.patches, o.seen, generator)
    k, each = o.samples, o.samples + 1
    with torch.no_grad():
        context = batch.encode(model, rows, first, seen=seen)
        drawn = batch.sample(model, context, k, STEPS, generator, o.min_p, prefixes)
    values, sequences = np.zeros((len(photos), k), np.float32), []
    wrong = 0
    for p, (i, name) in enumerate(photos):
        for j in range(k):
            ids = drawn[p * k + j]
            if ids[-1] == tokenizer.EOS:
                text = reader.text.decode(ids)
                values[p, j] = reward_of[i](name, text)
                wrong += reward_of[i].absent(name, text) > 0
            sequences.append((prefixes[p], [tokenizer.BOS] + ids))
        sequences.append((prefixes[p], own[p]))
    advantage = values - (values.sum(1, keepdims=True) - values) / (k - 1)
    context = batch.encode(model, rows, first, drop, seen)
    losses, row = mixture.losses_of(model, context, sequences, drop)
    weight = torch.zeros(len(photos), each)
    weight[:, :k] = torch.from_numpy(advantage)
    policy = (losses * weight.flatten()[row]).sum() / (len(photos) * k * 10)
    likely = losses[row % each == k].mean()
    (policy + o.xe * likely).backward()
    return float(values.mean()), wrong / values.size, likely.item()


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mixture.shared_options(parser, steps=400, epoch=100, lr=3.5e-4, floor=0.1, warmup=20, ema=0.98)
    add = parser.add_argument
    add("--things", help="lines id<TAB>thing,thing with all of COCO's things in a photo")
    add("--trusted", action="append", default=[], metavar="CACHE", help="sets whose captions name all that is there")
    add("--price", type=float, default=0.5, help="reward that is lost for each thing that is not there (0.5)")
    add("--samples", type=int, default=5, help="captions drawn for each photo, at least 2 (5)")
    add("--min-p", type=float, default=0.15, help="do not draw tokens below this share of the likeliest (0.15)")
    add("--bleu", type=float, default=1.0, help="weight of sentence BLEU in the reward (1)")
    add("--xe", type=float, default=0.05, help="weight of cross-entropy (0.05)")
    o = parser.parse_args(arguments)
    if o.samples < 2:
        parser.error("--samples: a caption is compared with the others of its photo, so there must be at least 2")
    return o


def main(arguments=None):
    o = options_of(arguments)
    try:
        if not o.photos:
            raise data.DataError("--photos is missing: captions are compared with those of photos")
        training = mixture.Training(o)
        things = truth.read_annotations(o.things) if o.things else {}
        reward_of = [
            rewards.Truthful(
                rewards.Reward(s.captions, o.bleu),
                s.captions,
                things,
                o.price,
                s.captions if s.folder in o.trusted else (),
            )
            for s, _ in training.sets
        ]
        buckets = Buckets(training.sets, training.reader)
        shown = "reward {:.3f} false {:.3f} loss {:.3f}"
        training.learn(functools.partial(gradients, training, buckets, reward_of), shown)
    except (data.DataError, OSError) as error:
        sys.exit(f"selfcritical.py: {error}")


if __name__ == "__main__":
    main()
