#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""calibrate.py - chooses, on photos that were held out, what words cost and from which score on to show a caption.

    calibrate.py MODEL --photos COCO HEADS/coco.npy captions.tsv,clauses.tsv --things coco/labels.tsv \\
                 --hold 0,0.05,0,0.6 0.3,0.05,0,0.6

It prints a line of scores for each --hold. Then, for the first --hold, it prints for several scores how many captions
reach it, and how many of these name something that is not there; then the same for rules that also want a thing that a
caption names to be likely, without and with a sentence of the likeliest label in place of the others. Last come
sentences made of labels alone. --tsv and --plot write the curves of share shown and share false.
"""

import argparse
import itertools
import math
import sys
from pathlib import Path

import torch

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import data, labels
from models.eval import truth
from models.train import mixture, plot_training, score


def shown(said, each, steps=20):
    """[(least score, share shown, share of those false)], from all captions to the twentieth with the highest scores.
    said: name -> (text, score); each: name -> absent things."""
    order = sorted((n for n in said if n in each), key=lambda n: -said[n][1])
    lines = []
    for k in range(steps, 0, -1):
        some = order[: max(1, round(len(order) * k / steps))]
        lines.append((said[some[-1]][1], len(some) / len(order), sum(bool(each[n]) for n in some) / len(some)))
    return lines


def confirmed(words, said, each, probabilities, least):
    """(said, each) with photos whose caption names nothing of at least `least` last: no score shows these."""
    sure = {n: words.confirmed(text, probabilities[n]) >= least for n, (text, _) in said.items()}
    return {n: (text, value if sure[n] else -math.inf) for n, (text, value) in said.items()}, each


def plot(curves):
    """The text of an SVG: curves of (name, [(least score, share shown, share of those false)])."""
    series = [(name, [(shown, false) for least, shown, false in line if least > -math.inf]) for name, line in curves]
    series = [(name, line) for name, line in series if line]
    panel = plot_training.panel(0, "share of shown captions that are false", series, "share of captions shown")
    return plot_training.picture(panel, [name for name, _ in series], plot_training.WIDTH)


def penalties(text):
    """WEIGHT,FLOOR,REQUIRE,SURE as four numbers."""
    values = [float(x) for x in text.split(",")]
    if len(values) != 4:
        raise ValueError
    return values


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("model", help="model file of mixture.py or selfcritical.py, without a head")
    add(
        "--photos",
        nargs=3,
        required=True,
        metavar=("CACHE", "LABELS", "TSV[,TSV]"),
        help="features, probabilities of heads.py, captions",
    )
    add("--things", required=True, help="lines id<TAB>thing,thing with all of COCO's things in a photo")
    add(
        "--hold",
        type=penalties,
        nargs="+",
        default=[penalties("0,0.05,0,0.6")],
        metavar="WEIGHT,FLOOR,REQUIRE,SURE",
        help="penalties to compare, as for score.py (0,0.05,0,0.6: none)",
    )
    add("--beams", type=int, default=3, help="beam width; 1 is greedy (3)")
    add("--alpha", type=float, help="length penalty (that of the model)")
    add("--thresholds", type=float, nargs=2, default=(0.3, 0.15), help="as for mixture.py")
    add(
        "--cautious",
        type=float,
        nargs="+",
        default=[0.4, 0.5, 0.6, 0.7],
        help="least probabilities of a label in a sentence made of labels alone (0.4 0.5 0.6 0.7)",
    )
    add(
        "--confirm",
        type=float,
        nargs="+",
        default=[0.0, 0.3, 0.5, 0.7],
        help="least probabilities of one thing that a caption names (0 0.3 0.5 0.7)",
    )
    add("--deny", type=float, default=0.0, help="least probability of all things that a caption names (0)")
    add(
        "--min-score",
        type=float,
        nargs="+",
        default=[-9.0, -1.1, -1.0, -0.9, -0.8],
        help="least scores of a caption that is shown (-9 -1.1 -1 -0.9 -0.8)",
    )
    add("--least", type=float, default=0.5, help="least probability of the label that speaks in its place (0.5)")
    add("--tsv", help="file for the curves of the first --hold: a line for each least score, by each --confirm")
    add("--plot", help="SVG picture of these curves")
    add("--threads", type=int, default=0, help="threads (0: torch decides)")
    return parser.parse_args(arguments)


def report_cautious(words, probabilities, leasts, things, references):
    """Prints how true sentences made of labels alone are. probabilities: name -> those of the labels."""
    described, table = labels.describe(words, [], [], [], []), truth.read_words()
    for least in leasts:
        for most in (1, 2):
            texts = {n: labels.cautious(described, p, least, most) for n, p in probabilities.items()}
            texts = {n: text for n, text in texts.items() if text}
            true = truth.measure(texts, things, references, table)
            print(
                f"labels from {least}, at most {most}: {len(texts) / len(probabilities):.2f} say something, "
                f"{true['false']:.3f} of them false, {true['right']:.3f} right"
            )


def unsure(words, said, probabilities, confirm, score_least, deny=0.0):
    """Ids of the captions that are better not shown: their score is below score_least, nothing that they name has a
    label of at least `confirm`, or something has one below `deny`. said: id -> (caption, score), probabilities: id ->
    those of the labels."""
    return {
        n
        for n, (text, value) in said.items()
        if value < score_least
        or words.confirmed(text, probabilities[n]) < confirm
        or words.denied(text, probabilities[n]) < deny
    }


def report_unsure(words, said, probabilities, rules, least, things, references, deny=0.0):
    """Prints a line for each rule (confirm, score_least): how many captions are shown, how many of those are false, and
    the same with unsure captions replaced by a sentence of the likeliest label, where it has at least `least`."""
    described, table = labels.describe(words, [], [], [], []), truth.read_words()
    for confirm, score_least in rules:
        gone = unsure(words, said, probabilities, confirm, score_least, deny)
        shown_ones = {n: text for n, (text, _) in said.items() if n not in gone}
        cautious = {n: labels.cautious(described, probabilities[n], least, 1) for n in gone}
        together = shown_ones | {n: text for n, text in cautious.items() if text}
        alone, both = (truth.measure(texts, things, references, table) for texts in (shown_ones, together))
        print(
            f"confirmed at {confirm:g}, score from {score_least:g}: {len(shown_ones) / len(said):.2f} shown, "
            f"{alone['false']:.3f} of them false; with cautious sentences {len(together) / len(said):.2f} and "
            f"{both['false']:.3f}, {both['right'] * both['photos'] / len(said):.3f} of the photos with something right"
        )


def main(arguments=None):
    o = options_of(arguments)
    try:
        if o.threads:
            torch.set_num_threads(o.threads)
        model, text = mixture.load(o.model)
        one = mixture.Labelled(*o.photos, text)
        words = mixture.words_of([one])
        reader = mixture.Reader(words, text, mixture.thresholds_of(words, o.thresholds))
        names = [n for n in one.names if labels.held_out(n)]
        if not names:
            raise data.DataError(f"{o.photos[0]}: none of its photos is held out")
        things, first = truth.read_annotations(o.things), None
        for hold in o.hold:
            holder = score.holder_of(words, text, hold) if hold[0] + hold[2] > 0 else None
            scores, said, true = score.evaluate(model, one, names, reader, o.beams, things, alpha=o.alpha, hold=holder)
            first = first or (said, true["each"])
            print(
                f"hold {','.join(f'{x:g}' for x in hold)}: CIDEr {scores['cider']:.3f} BLEU-4 {scores['bleu4']:.3f} "
                f"words {scores['words']:.1f} false {true['false']:.3f} right {true['right']:.3f}",
                flush=True,
            )
        if not first[1]:
            raise data.DataError(f"{o.things}: none of the photos is annotated")
        lines = shown(*first)
        for least, share, false in lines:
            print(f"score from {least:6.3f}: {share:.2f} shown, {false:.3f} of them false")
        likely = {n: one.probabilities(n, 0) for n in names}
        curves = [(f"p ≥ {c:g}" if c else "all", shown(*confirmed(words, *first, likely, c))) for c in o.confirm]
        if o.tsv:
            with open(o.tsv, "w", encoding="utf-8") as f:
                f.write("rule\tleast\tshown\tfalse\n")
                f.writelines(f"{name}\t{a:.4f}\t{b:.4f}\t{c:.4f}\n" for name, line in curves for a, b, c in line)
        if o.plot:
            with open(o.plot, "w", encoding="utf-8") as f:
                f.write(plot(curves))
        rules = itertools.product(o.confirm, o.min_score)
        report_unsure(words, first[0], likely, rules, o.least, things, one.captions, o.deny)
        report_cautious(words, likely, o.cautious, things, one.captions)
    except (data.DataError, OSError) as error:
        sys.exit(f"calibrate.py: {error}")


if __name__ == "__main__":
    main()
