#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""score.py - scores of a model in training on cached photos, within a minute: BLEU-4 and CIDEr of rewards.py, and how often it names
something that is not there. evaluate.py has the scores to report.

    score.py MODEL... --photos COCO HEADS/coco.npy captions.tsv,clauses.tsv --held-out --things coco/labels.tsv
"""
import argparse
import collections
import json
import sys

import numpy as np
import torch

import batch
import data
import labels
import mixture
import rewards
import search
import tokenizer
import truth


class Holder:
    """What each word costs in a sentence about a photo whose labels have given probabilities (see search.Held)."""

    def __init__(self, words, text, weight, floor, require=0.0, sure=0.6):
        self.weight, self.floor, self.require, self.sure = weight, floor, require, sure
        self.ids = [tuple(text.encode(" ".join(phrase))[1:-1]) for phrase in words.of]
        self.places = list(words.of.values())
        self.of_label = [[tuple(text.encode(w)[1:-1]) for w in spoken] for spoken in words.spoken]

    def __call__(self, probabilities):
        most = [max(probabilities[i] for i in places) for places in self.places]
        nats = self.weight * np.maximum(0.0, np.log(self.floor) - np.log(np.maximum(most, 1e-4)))
        wanted = [(self.require, self.of_label[i]) for i in np.flatnonzero(probabilities >= self.sure)] if self.require else []
        return search.Held(dict(zip(self.ids, nats.tolist())), wanted)


def captions_of(model, one, names, reader, beams, most=24, alpha=None, hold=None, none=False):
    """name -> (caption, mean log-probability). Photos with labels of the same length are searched together.
    hold: a function of probabilities that gives what search.beam() takes as `cost`."""
    first, groups = len(model.encoder.stem.blocks), collections.defaultdict(list)
    for name in names:
        groups[tuple(reader.of(one.probabilities(name, 0)) if not none else ())].append(name)
    by_length = collections.defaultdict(list)
    for prefix, some in groups.items():
        by_length[len(prefix)] += [(name, list(prefix)) for name in some]
    out = {}
    for some in by_length.values():
        for i in range(0, len(some), 25):
            part = some[i:i + 25]
            rows = torch.from_numpy(one.cache.rows(0, [one.cache.at[n] for n, _ in part]).astype(np.float32))
            with torch.no_grad():
                context = batch.encode(model, rows, first)
            prompt = [prefix + [tokenizer.BOS] for _, prefix in part]
            costs = None if hold is None else [hold(one.probabilities(n, 0)) for n, _ in part]
            found = search.beam(model, context, prompt, beams, most, alpha, costs) if beams > 1 else \
                search.greedy(model, context, prompt, most, costs)
            out.update({n: (reader.text.decode(ids), value) for (n, _), (ids, value) in zip(part, found)})
    return {n: out[n] for n in names}


def read_things(path):
    """id -> set of things"""
    with open(path, encoding="utf-8") as f:
        return {name: set(found.split(",")) for name, found in (line.rstrip("\n").split("\t") for line in f)}


def evaluate(model, one, names, reader, beams, things, **options):
    """(scores, captions, truth) of some photos"""
    said = captions_of(model, one, names, reader, beams, **options)
    texts = {n: t for n, (t, _) in said.items()}
    scores = rewards.corpus({n: one.captions[n] for n in names}, texts)
    true = truth.measure(texts, things, one.captions, truth.read_words()) if things else None
    return scores, said, true


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("models", nargs="+")
    add("--photos", nargs=3, required=True, metavar=("CACHE", "LABELS", "TSV[,TSV]"))
    add("--held-out", action="store_true", help="only those that labels.held_out() names")
    add("--things", help="id<TAB>things, for the measure of truth")
    add("--limit", type=int, help="only the first LIMIT photos")
    add("--beams", type=int, default=3)
    add("--alpha", type=float, help="length penalty (that of the model)")
    add("--thresholds", type=float, nargs=2, default=(0.3, 0.15), help="as for mixture.py")
    add("--most", type=int, default=labels.MOST, help="labels at most")
    add("--hold", type=float, nargs=4, metavar=("WEIGHT", "FLOOR", "REQUIRE", "SURE"), help="words held to the labels: nats for "
        "each nat that a word's label lies below FLOOR, nats for a label above SURE that is missing")
    add("--no-labels", action="store_true")
    add("--json", help="captions, scores and what is absent, as JSON")
    add("--threads", type=int, default=0)
    o = parser.parse_args(arguments)
    try:
        if o.threads:
            torch.set_num_threads(o.threads)
        things = read_things(o.things) if o.things else None
        words = labels.Words()
        for path in o.models:
            model, text = mixture.load(path)
            reader = mixture.Reader(words, text, mixture.thresholds_of(words, o.thresholds), o.most)
            one = mixture.Labelled(*o.photos, text)
            names = [n for n in one.names if not o.held_out or labels.held_out(n)][:o.limit]
            scores, said, true = evaluate(model, one, names, reader, o.beams, things, alpha=o.alpha, none=o.no_labels,
                                          hold=Holder(words, text, *o.hold) if o.hold else None)
            line = f"{path}: {len(names)} photos, BLEU-4 {scores['bleu4']:.3f} CIDEr {scores['cider']:.3f} words {scores['words']:.1f}"
            if true:
                line += f" false {true['false']:.3f} right {true['right']:.3f} ({true['wrong']} of {true['named']} things)"
            print(line, flush=True)
            if o.json:
                with open(o.json, "w", encoding="utf-8") as f:
                    json.dump({n: {"caption": t, "score": s, "absent": sorted(true["each"].get(n, ())) if true else [],
                                   "labels": [words.names[i] for i in labels.chosen(one.probabilities(n, 0), reader.thresholds, o.most)],
                                   "references": one.captions[n]} for n, (t, s) in said.items()}, f, indent=1)
    except (data.DataError, OSError) as error:
        sys.exit(f"score.py: {error}")


if __name__ == "__main__":
    main()
