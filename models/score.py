#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""score.py - scores of a model in training on cached photos, within a minute: BLEU-4 and CIDEr of rewards.py, and how often it names
something that is not there. evaluate.py has the scores to report.

    score.py MODEL... --photos COCO HEADS/coco.npy captions.tsv,clauses.tsv --held-out --things coco/labels.tsv
"""
import argparse
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


def captions_of(model, one, names, reader, beams, most=24, alpha=None, hold=None, none=False):
    """name -> (caption, mean log-probability). hold: a search.Holder."""
    first = len(model.encoder.stem.blocks)
    with torch.no_grad():
        context = torch.cat([batch.encode(model, torch.from_numpy(
            one.cache.rows(0, [one.cache.at[n] for n in names[i:i + 32]]).astype(np.float32)), first)
            for i in range(0, len(names), 32)])
    p = [one.probabilities(n, 0) for n in names]
    prompts = [([] if none else reader.of(x)) + [tokenizer.BOS] for x in p]
    held = None if hold is None else [hold(x) for x in p]
    found = search.grouped(model, context, prompts, beams, most, alpha, held)
    return {n: (reader.text.decode(ids), value) for n, (ids, value) in zip(names, found)}


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
        things = truth.read_annotations(o.things) if o.things else None
        words = labels.Words()
        for path in o.models:
            model, text = mixture.load(path)
            reader = mixture.Reader(words, text, mixture.thresholds_of(words, o.thresholds), o.most)
            one = mixture.Labelled(*o.photos, text)
            names = [n for n in one.names if not o.held_out or labels.held_out(n)][:o.limit]
            scores, said, true = evaluate(model, one, names, reader, o.beams, things, alpha=o.alpha, none=o.no_labels,
                                          hold=search.Holder(words.table, lambda t: text.encode(t)[1:-1], words.phrases, *o.hold) if o.hold else None)
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
