#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""score.py - scores models in training on cached photos, in about a minute each.

    score.py MODEL... --photos COCO HEADS/coco.npy captions.tsv,clauses.tsv --held-out --things coco/labels.tsv

It tells BLEU-4 and CIDEr of rewards.py and, with --things, how often a caption names something that is not there. For
scores to report, use evaluate.py.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import data, labels, search
from models.eval import truth
from models.train import batch, mixture, rewards, tokenizer


def captions_of(model, one, names, reader, beams, most=24, alpha=None, hold=None, none=False):
    """name -> (caption, mean log-probability). hold: a search.Holder; none: caption without labels."""
    first, parts = len(model.encoder.stem.blocks), []
    with torch.no_grad():
        for i in range(0, len(names), 32):
            rows = one.cache.rows(0, [one.cache.at[n] for n in names[i : i + 32]])
            parts.append(batch.encode(model, torch.from_numpy(rows.astype(np.float32)), first))
    context = torch.cat(parts)
    p = [one.probabilities(n, 0) for n in names]
    prompts = [([] if none else reader.of(x)) + [tokenizer.BOS] for x in p]
    held = None if hold is None else [hold(x) for x in p]
    found = search.grouped(model, context, prompts, beams, most, alpha, held)
    return {n: (reader.text.decode(ids), value) for n, (ids, value) in zip(names, found)}


def holder_of(words, text, hold):
    """The search.Holder of --hold's four numbers."""
    return search.Holder(words.table, lambda t: text.encode(t)[1:-1], words.phrases, *hold)


def evaluate(model, one, names, reader, beams, things, **options):
    """(scores, captions, truth) of some photos"""
    said = captions_of(model, one, names, reader, beams, **options)
    texts = {n: t for n, (t, _) in said.items()}
    scores = rewards.corpus({n: one.captions[n] for n in names}, texts)
    true = truth.measure(texts, things, one.captions, truth.read_words()) if things else None
    return scores, said, true


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("models", nargs="+", help="model files, for example RUN/epoch-*.safetensors")
    add(
        "--photos",
        nargs=3,
        required=True,
        metavar=("CACHE", "LABELS", "TSV[,TSV]"),
        help="features, probabilities of heads.py, captions",
    )
    add("--held-out", action="store_true", help="only photos that labels.held_out() keeps from training")
    add("--things", help="lines id<TAB>thing,thing with all of COCO's things in a photo")
    add("--limit", type=int, help="only the first LIMIT photos")
    add("--beams", type=int, default=3, help="beam width; 1 is greedy (3)")
    add("--alpha", type=float, help="length penalty (that of the model)")
    add("--thresholds", type=float, nargs=2, default=(0.3, 0.15), help="as for mixture.py")
    add("--most", type=int, default=labels.MOST, help=f"labels that are read at most ({labels.MOST})")
    add(
        "--hold",
        type=float,
        nargs=4,
        metavar=("WEIGHT", "FLOOR", "REQUIRE", "SURE"),
        help="penalties in nats: WEIGHT for each nat that a word's label lies below FLOOR, REQUIRE for each label "
        "above SURE that the caption does not name (none)",
    )
    add("--no-labels", action="store_true", help="caption without labels")
    add("--json", help="file for captions, scores and absent things")
    add("--threads", type=int, default=0, help="threads (0: torch decides)")
    return parser.parse_args(arguments)


def score(o, path, things):
    """Scores one model: prints a line, and writes --json."""
    model, text = mixture.load(path)
    one = mixture.Labelled(*o.photos, text)
    words = mixture.words_of([one])
    reader = mixture.Reader(words, text, mixture.thresholds_of(words, o.thresholds), o.most)
    names = [n for n in one.names if not o.held_out or labels.held_out(n)][: o.limit]
    hold = holder_of(words, text, o.hold) if o.hold else None
    options = {"alpha": o.alpha, "none": o.no_labels, "hold": hold}
    scores, said, true = evaluate(model, one, names, reader, o.beams, things, **options)
    line = f"{path}: {len(names)} photos, BLEU-4 {scores['bleu4']:.3f} CIDEr {scores['cider']:.3f}"
    line += f" words {scores['words']:.1f}"
    if true:
        line += f" false {true['false']:.3f} right {true['right']:.3f} ({true['wrong']} of {true['named']} things)"
    print(line, flush=True)
    if not o.json:
        return
    rows = {}
    for name, (caption, value) in said.items():
        places = labels.chosen(one.probabilities(name, 0), reader.thresholds, o.most)
        rows[name] = {
            "caption": caption,
            "score": value,
            "absent": sorted(true["each"].get(name, ())) if true else [],
            "labels": [words.names[i] for i in places],
            "references": one.captions[name],
        }
    with open(o.json, "w", encoding="utf-8") as f:
        json.dump(rows, f, indent=1)


def main(arguments=None):
    o = options_of(arguments)
    try:
        if o.threads:
            torch.set_num_threads(o.threads)
        things = truth.read_annotations(o.things) if o.things else None
        for path in o.models:
            score(o, path, things)
    except (data.DataError, OSError) as error:
        sys.exit(f"score.py: {error}")


if __name__ == "__main__":
    main()
