#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""calibrate.py - on photos that were held out: what words should cost that the labels do not know, and from which score on a
caption should be shown.

    calibrate.py MODEL --photos COCO HEADS/coco.npy captions.tsv,clauses.tsv --things coco/labels.tsv --hold 0,0.05,0,0.6 0.3,0.05,0,0.6

For each --hold (as for score.py) a line of scores. Then, for the first of them, a line for each score from which captions are
shown: how many that are, how many of those name something absent, and the same of sentences made of the labels alone in the place
of the others. --tsv writes these lines for a plot.
"""
import argparse
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


def shown(said, each, steps=20):
    """said: name -> (text, score); each: name -> absent things. [(least score, share shown, share of those false)], from all
    captions to the surest twentieth."""
    order = sorted((n for n in said if n in each), key=lambda n: -said[n][1])
    lines = []
    for k in range(steps, 0, -1):
        some = order[:max(1, round(len(order) * k / steps))]
        lines.append((said[some[-1]][1], len(some) / len(order), sum(bool(each[n]) for n in some) / len(some)))
    return lines


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("model", help="model file in training (without a head)")
    add("--photos", nargs=3, required=True, metavar=("CACHE", "LABELS", "TSV[,TSV]"))
    add("--things", required=True, help="id<TAB>things")
    add("--hold", nargs="+", default=["0,0.05,0,0.6"], metavar="WEIGHT,FLOOR,REQUIRE,SURE")
    add("--beams", type=int, default=3)
    add("--alpha", type=float, help="length penalty (that of the model)")
    add("--thresholds", type=float, nargs=2, default=(0.3, 0.15), help="as for mixture.py")
    add("--cautious", type=float, nargs="+", default=[0.4, 0.5, 0.6, 0.7], help="least probability of a label in a sentence of labels")
    add("--tsv", help="file for the lines of --hold's first setting")
    add("--threads", type=int, default=0)
    return parser.parse_args(arguments)


def main(arguments=None):
    o = options_of(arguments)
    try:
        if o.threads:
            torch.set_num_threads(o.threads)
        model, text = mixture.load(o.model)
        words = labels.Words()
        reader = mixture.Reader(words, text, mixture.thresholds_of(words, o.thresholds))
        one = mixture.Labelled(*o.photos, text)
        names = [n for n in one.names if labels.held_out(n)]
        things, table = truth.read_annotations(o.things), truth.read_words()
        with torch.no_grad():
            context = torch.cat([batch.encode(model, torch.from_numpy(one.cache.rows(
                0, [one.cache.at[n] for n in names[i:i + 32]]).astype(np.float32)), len(model.encoder.stem.blocks))
                for i in range(0, len(names), 32)])
        p = [one.probabilities(n, 0) for n in names]
        prompts = [reader.of(x) + [tokenizer.BOS] for x in p]
        first = None
        for setting in o.hold:
            hold = [float(x) for x in setting.split(",")]
            holder = search.Holder(words.table, lambda t: text.encode(t)[1:-1], words.phrases, *hold) if hold[0] + hold[2] > 0 else None
            held = [holder(x) for x in p] if holder else None
            found = search.grouped(model, context, prompts, o.beams, 24, o.alpha, held)
            said = {n: (text.decode(ids), value) for n, (ids, value) in zip(names, found)}
            texts = {n: t for n, (t, _) in said.items()}
            scores = rewards.corpus({n: one.captions[n] for n in names}, texts)
            true = truth.measure(texts, things, one.captions, table)
            first = first or (said, true["each"])
            print(f"hold {setting}: CIDEr {scores['cider']:.3f} BLEU-4 {scores['bleu4']:.3f} words {scores['words']:.1f} false {true['false']:.3f} "
                  f"right {true['right']:.3f}", flush=True)
        lines = shown(*first)
        for least, share, false in lines:
            print(f"score from {least:6.3f}: {share:.2f} shown, {false:.3f} of them false")
        if o.tsv:
            with open(o.tsv, "w", encoding="utf-8") as f:
                f.write("least\tshown\tfalse\n" + "".join(f"{a:.4f}\t{b:.4f}\t{c:.4f}\n" for a, b, c in lines))
        described = {"names": words.names, "phrases": words.phrases, "cautious": "a photo of "}
        for least in o.cautious:
            for most in (1, 2):
                texts = {n: labels.cautious(described, x, least, most) for n, x in zip(names, p)}
                texts = {n: t for n, t in texts.items() if t}
                true = truth.measure(texts, things, one.captions, table)
                print(f"labels from {least}, at most {most}: {len(texts) / len(names):.2f} say something, {true['false']:.3f} of them false, "
                      f"{true['right']:.3f} right")
    except (data.DataError, OSError) as error:
        sys.exit(f"calibrate.py: {error}")


if __name__ == "__main__":
    main()
