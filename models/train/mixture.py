#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""mixture.py - trains a captioner that reads labels, on photos with captions and on text without photos.

    features.py --whole ...; heads.py ... --out HEADS
    mixture.py --init MODEL --photos FLICKR HEADS/flickr.npy train.tsv 12 \\
               --photos COCO HEADS/coco.npy captions.tsv,clauses.tsv 20 --hold-out COCO --text text.txt 14 --run RUN

Each step takes COUNT photos of each set and COUNT groups of sentences of the text, with --each sentences for each.
The decoder reads the labels that heads.py predicted before the begin token; for a sentence without a photo, those
that it names itself. Some labels are left out, sometimes all, so that the decoder also learns to look at the picture.
A sentence without a photo has a picture of zeros, to which attention adds nothing. The trunk does not learn, so
labels stay the same.

Photos of a set with --hold-out for which labels.held_out() is true are never trained on. RUN has last.pt (the state
of the training), epoch-*.safetensors (the averaged weights every --epoch steps) and log.tsv; score.py scores the
weights. A run that was stopped goes on where last.pt was saved.
"""

import argparse
import copy
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import data, labels, modelfile
from models.palme import Config, Palme
from models.train import batch, tokenizer
from models.train.features import Cache, load_trunk

LENGTH = 24  # tokens of a sentence at most, begin and end included
READ = 30  # tokens of labels at most


class Labelled:
    """Captioned photos of a cache and the labels of each."""

    def __init__(self, folder, probabilities, tsvs, text, hold_out=False):
        self.folder, self.cache, self.p = folder, Cache(folder), np.load(probabilities)
        captions = {}
        for tsv in tsvs.split(","):
            for name, texts in tokenizer.tidied(data.read_captions(tsv)).items():
                captions.setdefault(name, []).extend(texts)
        self.captions = {
            n: c for n, c in captions.items() if n in self.cache.at and not (hold_out and labels.held_out(n))
        }
        self.names = list(self.captions)
        self.ids = {n: [text.encode(t)[:LENGTH] for t in c] for n, c in self.captions.items()}
        self.views = self.cache.views
        if not self.names:
            raise data.DataError(f"{folder}: no photo of {tsvs} is there")

    def refresh(self):
        """Looks for views that were computed in the meantime."""
        self.cache = Cache(self.folder)
        self.views = self.cache.views

    def probabilities(self, name, view):
        return self.p[min(view, len(self.p) - 1), self.cache.at[name]].astype(np.float32)


class Reader:
    """Makes the tokens of labels that the decoder reads before the begin token."""

    def __init__(self, words, text, thresholds, most=labels.MOST):
        self.words, self.text, self.thresholds, self.most = words, text, np.asarray(thresholds, np.float32), most

    def encode(self, places):
        if not len(places):
            return []
        return self.text.encode(labels.prefix(self.words.names[i] for i in places))[1:-1][:READ]

    def of(self, probabilities):
        likely = np.flatnonzero(probabilities >= self.thresholds)
        return self.encode(likely[np.argsort(-probabilities[likely], kind="stable")][: self.most])

    def in_training(self, probabilities, rng, none, drop):
        """The same with varied thresholds; a label is left out with probability `drop`, all of them with `none`."""
        if rng.random() < none:
            return []
        likely = np.flatnonzero(probabilities >= self.thresholds * rng.uniform(0.7, 1.3))
        likely = likely[np.argsort(-probabilities[likely], kind="stable")][: self.most]
        return self.encode(likely[rng.random(len(likely)) >= drop])

    def of_text(self, sentence, rng, none):
        """Labels that the sentence itself names, shuffled, half of the time only some of them."""
        if rng.random() < none:
            return []
        places = [group[rng.integers(len(group))] for _, group in self.words.mentions(sentence)]
        places = rng.permutation(list(dict.fromkeys(places)))
        if len(places) > 1 and rng.random() < 0.5:
            places = places[: rng.integers(1, len(places) + 1)]
        return self.encode([int(i) for i in places[: self.most]])


def assemble(sequences, device="cpu"):
    """[(labels' ids, caption's ids with begin and end)] -> inputs, targets (-1: none), which inputs are real"""
    width = max(len(a) + len(b) for a, b in sequences) - 1
    x = np.full((len(sequences), width), tokenizer.EOS, np.int64)
    y = np.full((len(sequences), width), -1, np.int64)
    real = np.zeros((len(sequences), width), bool)
    for i, (a, b) in enumerate(sequences):
        whole = a + b
        x[i, : len(whole) - 1], real[i, : len(whole) - 1] = whole[:-1], True
        y[i, len(a) : len(whole) - 1] = b[1:]
    return torch.from_numpy(x).to(device), torch.from_numpy(y).to(device), torch.from_numpy(real).to(device)


def losses_of(model, context, sequences, drop, smoothing=0.0, hide=0.0, generator=None):
    """Cross-entropy of each token of each caption, and the row of each."""
    x, y, real = assemble(sequences, context.device)
    if hide:
        hit = (torch.rand(x.shape, generator=generator) < hide) & (y.roll(1, 1) >= 0)
        x = torch.where(hit, torch.randint(3, model.config.num_tokens, x.shape, generator=generator), x)
    hidden = batch.decode(model, x, real, context, drop)
    targets = y[real]
    wanted = targets >= 0
    logits = model.decoder.net.to_logits(hidden[wanted]).float()
    losses = F.cross_entropy(logits, targets[wanted], reduction="none", label_smoothing=smoothing)
    return losses, real.nonzero()[wanted, 0]


def thresholds_of(words, likely):
    """One threshold for each label. likely: that of labels with a learned row, and that of ImageNet's classes alone."""
    learned = labels.listed("label-spoken.txt") | labels.listed("label-things.txt")
    return [likely[0] if name in learned else likely[1] for name in words.names]


def load(path, device="cpu"):
    """(model, tokenizer.Text) of a model file, the trunk as ImageNet left it."""
    arrays, metadata = modelfile.read(path)
    model = Palme(Config.read(metadata["config"])).load({n: torch.from_numpy(np.array(x)) for n, x in arrays.items()})
    model.encoder.stem.load_state_dict(load_trunk(model.config.stem).state_dict())
    return model.to(device).eval(), tokenizer.Text(metadata["tokenizer"])


class Run:
    """What a checkpoint holds: the model, the running average of its weights, and the optimiser. Gradients are computed
    with `working`, a copy in bf16, which processors with a unit for it multiply many times faster; the weights
    themselves stay float32."""

    def __init__(self, o, model):
        self.o, self.model, self.step, self.seconds, self.losses = o, model, 0, 0.0, []
        for name, p in model.named_parameters():
            p.requires_grad_("stem." not in name)
        self.learning = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        matrices = [p for n, p in self.learning if p.ndim >= 2 and "emb" not in n]
        others = [p for n, p in self.learning if not (p.ndim >= 2 and "emb" not in n)]
        self.optimiser = torch.optim.AdamW(
            [dict(params=matrices, weight_decay=0.03), dict(params=others, weight_decay=0.0)],
            lr=1e-3,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.average = [p.detach().clone() for _, p in self.learning]
        self.working = copy.deepcopy(model).bfloat16()
        self.copies = [p for p in self.working.parameters() if p.requires_grad]
        for _, p in self.learning:
            p.grad = torch.zeros_like(p)

    def update(self, rate):
        """One step of the optimiser with the gradients of `working`."""
        torch._foreach_copy_([p.grad for _, p in self.learning], [p.grad for p in self.copies])
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        torch.nn.utils.clip_grad_norm_([p for _, p in self.learning], 1.0)
        self.optimiser.step()
        self.refresh()
        self.step += 1
        if self.step % 4 == 0:
            decay = min(self.o.ema, (self.step + 1) / (self.step + 10)) ** 4
            with torch.no_grad():
                torch._foreach_lerp_(self.average, [p.detach() for _, p in self.learning], 1 - decay)

    def refresh(self):
        """Copies the weights into `working` and drops its gradients."""
        with torch.no_grad():
            torch._foreach_copy_(self.copies, [p.detach() for _, p in self.learning])
        for p in self.copies:
            p.grad = None

    def averaged(self):
        """The whole model's arrays with the averaged weights."""
        arrays = {n: p.detach().numpy() for n, p in self.model.state_dict().items()}
        arrays.update({n: a.numpy() for (n, _), a in zip(self.learning, self.average)})
        return arrays

    def write_epoch(self, tokenizer_json, note):
        """Writes the averaged weights as a model file, and a line of log.tsv: step, note, minutes."""
        path = os.path.join(self.o.run, f"epoch-{self.step:05d}.safetensors")
        config = modelfile.config_dict(self.model.config)
        modelfile.write(path, self.averaged(), config, tokenizer_json, "in training", "f32")
        with open(os.path.join(self.o.run, "log.tsv"), "a", encoding="utf-8") as f:
            f.write(f"{self.step}\t{note}\t{self.seconds / 60:.1f}\n")

    def save(self):
        path = os.path.join(self.o.run, "last.pt")
        torch.save(
            {
                "learning": [p.detach() for _, p in self.learning],
                "average": self.average,
                "step": self.step,
                "optimiser": self.optimiser.state_dict(),
                "seconds": self.seconds,
            },
            path + ".new",
        )
        os.replace(path + ".new", path)

    def resume(self):
        path = os.path.join(self.o.run, "last.pt")
        if not os.path.exists(path):
            return
        state = torch.load(path, weights_only=True)
        with torch.no_grad():
            for (_, p), kept in zip(self.learning, state["learning"]):
                p.copy_(kept)
        self.average, self.step, self.seconds = state["average"], state["step"], state["seconds"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.refresh()
        print(f"continues at step {self.step}", file=sys.stderr)


def batch_of(o, sets, sentences, reader, rng):
    """(rows of features, sequences) of one step; the sequences of text without photos are the last."""
    rows, sequences = [], []
    for one, count in sets:
        names = [one.names[i] for i in rng.integers(len(one.names), size=count)]
        views = rng.integers(one.views, size=count)
        rows.append(torch.from_numpy(one.cache.rows(views, [one.cache.at[n] for n in names]).astype(np.float32)))
        for name, view in zip(names, views):
            ids, p = one.ids[name], one.probabilities(name, view)
            order = rng.permutation(len(ids))
            sequences += [
                (reader.in_training(p, rng, o.no_labels, o.drop_labels), ids[order[k % len(ids)]])
                for k in range(o.each)
            ]
    for _ in range(o.text_count * o.each):
        sentence = sentences[rng.integers(len(sentences))]
        sequences.append((reader.of_text(sentence, rng, o.no_labels), reader.text.encode(sentence)[:LENGTH]))
    return torch.cat(rows), sequences


def read_text(path):
    """Sentences of 4 to 20 words, tidied."""
    with open(path, encoding="utf-8") as f:
        lines = (tokenizer.tidy(line) for line in f)
        return [t for t in lines if 4 <= len(t.split()) <= 20]


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--init", required=True, help="model file to start from; its trunk becomes ImageNet's again")
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
    add("--text", nargs=2, metavar=("FILE", "COUNT"), help="sentences without photos, groups per step")
    add("--run", required=True, help="folder of the run; the same command continues it")
    add("--steps", type=int, default=1500, help="steps of the whole run (1500)")
    add("--epoch", type=int, default=300, help="steps between two files of averaged weights (300)")
    add("--each", type=int, default=3, help="sentences of each photo, and of each group of text (3)")
    add("--lr", type=float, default=8e-4, help="highest learning rate (0.0008)")
    add("--floor", type=float, default=0.05, help="learning rate at the end, as a share of --lr (0.05)")
    add("--warmup", type=int, default=40, help="steps until the learning rate is reached (40)")
    add("--dropout", type=float, default=0.1, help="dropout of encoder and decoder (0.1)")
    add("--smoothing", type=float, default=0.1, help="label smoothing (0.1)")
    add("--hide", type=float, default=0.03, help="share of input tokens that are replaced (0.03)")
    add("--seen", type=float, default=0.75, help="share of a photo's tokens that a step sees (0.75)")
    add("--ema", type=float, default=0.995, help="decay of the average of the weights, per step (0.995)")
    add(
        "--thresholds",
        type=float,
        nargs=2,
        default=(0.3, 0.15),
        help="least probability of a label that is read: with a learned row, of ImageNet's classes alone (0.3 0.15)",
    )
    add("--no-labels", type=float, default=0.12, help="share of sentences without labels (0.12)")
    add("--drop-labels", type=float, default=0.12, help="share of labels left out (0.12)")
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
        model, text = load(o.init)
        words = labels.Words()
        reader = Reader(words, text, thresholds_of(words, o.thresholds))
        sets = [(Labelled(c, p, t, text, c in o.hold_out), int(n)) for c, p, t, n in o.photos]
        sentences, o.text_count = (read_text(o.text[0]), int(o.text[1])) if o.text else ([], 0)
        print(
            f"{', '.join(f'{s.folder}: {len(s.names)} photos' for s, _ in sets)}; {len(sentences)} sentences",
            file=sys.stderr,
        )
        run = Run(o, model)
        run.resume()
        learn(o, run, sets, sentences, reader)
    except (data.DataError, OSError) as error:
        sys.exit(f"mixture.py: {error}")


def rate_of(o, step):
    """The learning rate of a step: a linear warm-up, then half a cosine down to its floor."""
    along = max(0.0, step - o.warmup) / max(1, o.steps - o.warmup)
    return o.lr * min(1.0, (step + 1) / o.warmup) * (o.floor + (1 - o.floor) * 0.5 * (1 + math.cos(math.pi * along)))


def learn(o, run, sets, sentences, reader):
    model, first = run.working, len(run.model.encoder.stem.blocks)
    generator = torch.Generator().manual_seed(o.seed)
    drop = batch.Dropout(o.dropout, generator)
    progress, saved = data.Progress(o.steps, "steps", run.step, 20.0), time.monotonic()
    while run.step < o.steps:
        start = time.monotonic()
        rng = np.random.default_rng([o.seed, run.step])
        generator.manual_seed(o.seed * 1000003 + run.step)
        rows, sequences = batch_of(o, sets, sentences, reader, rng)
        seen = batch.some_tokens(len(rows), model.config.patches, o.seen, generator)
        context = batch.encode(model, rows.bfloat16(), first, drop, seen)
        context = torch.cat([context, context.new_zeros(o.text_count, *context.shape[1:])])
        losses, _ = losses_of(model, context, sequences, drop, o.smoothing, o.hide, generator)
        loss = losses.mean()
        loss.backward()
        run.losses.append(loss.item())
        run.update(rate_of(o, run.step))
        run.seconds += time.monotonic() - start
        progress.show(run.step, f"loss {np.mean(run.losses[-50:]):.3f}", run.step == o.steps)
        if run.step % o.epoch == 0 or run.step == o.steps:
            run.write_epoch(reader.text.json, f"{np.mean(run.losses[-o.epoch :]):.4f}")
            for one, _ in sets:
                one.refresh()
        if time.monotonic() - saved > 60 * o.save_minutes or run.step == o.steps:
            run.save()
            saved = time.monotonic()


if __name__ == "__main__":
    main()
