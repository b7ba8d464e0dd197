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
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import data, labels
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


def step_of(o, run, buckets, reader, reward_of, drop, rng, generator):
    """Computes the gradients of one step. (mean reward, share of captions that name something absent, cross-entropy)"""
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
    add = parser.add_argument
    add("--init", required=True, help="model file to start from")
    add(
        "--photos",
        nargs=4,
        action="append",
        required=True,
        metavar=("CACHE", "LABELS", "TSV[,TSV]", "COUNT"),
        help="a set of photos: features, probabilities of heads.py, captions, photos per step",
    )
    add(
        "--hold-out", action="append", default=[], metavar="CACHE", help="sets whose held-out photos are not trained on"
    )
    add("--things", help="lines id<TAB>thing,thing with all of COCO's things in a photo")
    add("--trusted", action="append", default=[], metavar="CACHE", help="sets whose captions name all that is there")
    add("--price", type=float, default=0.5, help="reward that is lost for each thing that is not there (0.5)")
    add("--run", required=True, help="folder of the run; the same command continues it")
    add("--steps", type=int, default=400, help="steps of the whole run (400)")
    add("--epoch", type=int, default=100, help="steps between two files of averaged weights (100)")
    add("--lr", type=float, default=3.5e-4, help="highest learning rate (0.00035)")
    add("--floor", type=float, default=0.1, help="learning rate at the end, as a share of --lr (0.1)")
    add("--warmup", type=int, default=20, help="steps until the learning rate is reached (20)")
    add("--dropout", type=float, default=0.1, help="dropout of encoder and decoder (0.1)")
    add("--seen", type=float, default=0.75, help="share of a photo's tokens that a step sees (0.75)")
    add("--ema", type=float, default=0.98, help="decay of the average of the weights, per step (0.98)")
    add("--samples", type=int, default=5, help="captions drawn for each photo (5)")
    add("--min-p", type=float, default=0.15, help="do not draw tokens below this share of the likeliest (0.15)")
    add("--bleu", type=float, default=1.0, help="weight of sentence BLEU in the reward (1)")
    add("--xe", type=float, default=0.05, help="weight of cross-entropy (0.05)")
    add(
        "--thresholds",
        type=float,
        nargs=2,
        default=(0.3, 0.15),
        help="least probability of a label that is read: with a learned row, of ImageNet's classes alone (0.3 0.15)",
    )
    add("--save-minutes", type=float, default=4, help="minutes between two states of the training (4)")
    add("--threads", type=int, default=0, help="threads (0: torch decides)")
    add("--seed", type=int, default=1, help="seed of all that is drawn (1)")
    return parser.parse_args(arguments)


def main(arguments=None):
    o = options_of(arguments)
    try:
        if o.threads:
            torch.set_num_threads(o.threads)
        torch.manual_seed(o.seed)
        os.makedirs(o.run, exist_ok=True)
        model, text = mixture.load(o.init)
        words = labels.Words()
        reader = mixture.Reader(words, text, mixture.thresholds_of(words, o.thresholds))
        sets = [(mixture.Labelled(c, p, t, text, c in o.hold_out), int(n)) for c, p, t, n in o.photos]
        things = truth.read_annotations(o.things) if o.things else {}
        reward_of = [
            rewards.Truthful(
                rewards.Reward(s.captions, o.bleu),
                s.captions,
                things,
                o.price,
                s.captions if s.folder in o.trusted else (),
            )
            for s, _ in sets
        ]
        run = mixture.Run(o, model)
        run.resume()
        learn(o, run, Buckets(sets, reader), reader, reward_of)
    except (data.DataError, OSError) as error:
        sys.exit(f"selfcritical.py: {error}")


def learn(o, run, buckets, reader, reward_of):
    generator = torch.Generator().manual_seed(o.seed)
    drop = batch.Dropout(o.dropout, generator)
    progress, saved, notes = data.Progress(o.steps, "steps", run.step, 20.0), time.monotonic(), []
    while run.step < o.steps:
        start = time.monotonic()
        rng = np.random.default_rng([o.seed, 7, run.step])
        generator.manual_seed(o.seed * 1000003 + run.step)
        notes.append(step_of(o, run, buckets, reader, reward_of, drop, rng, generator))
        run.update(mixture.rate_of(o, run.step))
        run.seconds += time.monotonic() - start
        reward, wrong, likely = np.mean(notes[-50:], 0)
        progress.show(run.step, f"reward {reward:.3f} false {wrong:.3f} loss {likely:.3f}", run.step == o.steps)
        if run.step % o.epoch == 0 or run.step == o.steps:
            run.write_epoch(reader.text.json, str(np.mean(notes[-o.epoch :], 0).round(4).tolist()))
            for one, _ in buckets.sets:
                one.refresh()
        if time.monotonic() - saved > 60 * o.save_minutes or run.step == o.steps:
            run.save()
            saved = time.monotonic()


if __name__ == "__main__":
    main()
