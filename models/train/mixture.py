#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""mixture.py - trains a captioner that reads labels, on photos with captions and on text without photos.

    features.py --whole ...; heads.py ... --out HEADS
    mixture.py --init MODEL --photos FLICKR HEADS/flickr.npy train.tsv 12 \\
               --photos COCO HEADS/coco.npy captions.tsv,clauses.tsv 20 --hold-out COCO --text text.txt 14 --run RUN

Each step takes COUNT photos of each set and COUNT groups of sentences of the text, with --each sentences for each.
The decoder reads the labels that heads.py predicted before the begin token; for a sentence without a photo, those
that it names itself. Some labels are left out, sometimes all, so that the decoder also learns to look at the picture.
A sentence without a photo has a picture of zeros, to which attention adds nothing. With --text and --head alone, and a
model of start.py --blind, sentences are learned without any photo. The trunk does not learn, so
labels stay the same.

Photos of a set with --hold-out for which labels.held_out() is true are never trained on. RUN has last.pt (the state
of the training), epoch-*.safetensors (the averaged weights every --epoch steps) and log.tsv; score.py scores the
weights. A run that was stopped goes on where last.pt was saved.
"""

import argparse
import copy
import functools
import json
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


def read_probabilities(path, photos):
    """float16 [views, photos, labels], as heads.py wrote them"""
    try:
        p = np.load(path, allow_pickle=False)
    except ValueError:
        raise data.DataError(f"{path}: no probabilities of heads.py") from None
    count = len(labels.Words().names)
    if p.ndim != 3 or p.shape[1:] != (photos, count):
        raise data.DataError(
            f"{path}: of {p.shape[-2] if p.ndim > 1 else 0} photos and {p.shape[-1]} labels, not of {photos} photos "
            f"and {count} labels"
        )
    return p


class Labelled:
    """Captioned photos of a cache and the labels of each."""

    def __init__(self, folder, probabilities, tsvs, text, hold_out=False):
        self.folder, self.cache = folder, Cache(folder)
        self.p = read_probabilities(probabilities, len(self.cache.ids))
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


def words_of(sets):
    """The words of the labels that the head can tell: of some photo of a set it says more than 0."""
    return labels.Words().know(np.flatnonzero(np.any([one.p.any((0, 1)) for one in sets], 0)).tolist())


def words_of_head(path):
    """The words of the labels that a head of heads.py can tell."""
    described = json.loads(modelfile.read(path)[1].get("labels", "{}"))
    if "names" not in described:
        raise data.DataError(f"{path}: no head of heads.py")
    return labels.Words().know({*described["classes"], *described["things"]} - {-1})


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
    """(model, tokenizer.Text) of a model file, the trunk as ImageNet left it. A head of labels is left out: heads.py
    made it, and pack_labels.py adds it again."""
    arrays, metadata = modelfile.read(path)
    config = Config.read(metadata["config"])
    config.labels = None
    if config.stem == "none":
        raise data.DataError(f"{path}: a model without a trunk has no labels")
    tensors = {n: torch.from_numpy(np.array(x)) for n, x in arrays.items() if not n.startswith("labels.")}
    model = Palme(config).load(tensors)
    model.encoder.stem.load_state_dict(load_trunk(model.config.stem).state_dict())
    return model.to(device).eval(), tokenizer.Text(metadata["tokenizer"])


class Run:
    """What a checkpoint holds: the model, the running average of its weights, and the optimiser. Gradients are computed
    with `working`, a copy in bf16, which processors with a unit for it multiply many times faster; the weights
    themselves stay float32."""

    def __init__(self, o, model):
        self.o, self.model, self.step, self.seconds = o, model, 0, 0.0
        for name, p in model.named_parameters():  # without photos the encoder has nothing to learn from
            p.requires_grad_("stem." not in name and (bool(o.photos) or not name.startswith("encoder")))
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
        if [x.shape for x in state["learning"]] != [p.shape for _, p in self.learning]:
            raise data.DataError(f"{path}: the state of a training of another model; choose another folder for --run")
        with torch.no_grad():
            for (_, p), kept in zip(self.learning, state["learning"]):
                p.copy_(kept)
        self.average, self.step, self.seconds = state["average"], state["step"], state["seconds"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.refresh()
        print(f"continues at step {self.step}", file=sys.stderr)


def batch_of(o, sets, sentences, count, reader, rng):
    """(rows of features, sequences) of one step; those of `count` groups of text without photos come last."""
    rows, sequences = [], []
    for one, photos in sets:
        names = [one.names[i] for i in rng.integers(len(one.names), size=photos)]
        views = rng.integers(one.views, size=photos)
        rows.append(torch.from_numpy(one.cache.rows(views, [one.cache.at[n] for n in names]).astype(np.float32)))
        for name, view in zip(names, views):
            ids, p = one.ids[name], one.probabilities(name, view)
            order = rng.permutation(len(ids))
            sequences += [
                (reader.in_training(p, rng, o.no_labels, o.drop_labels), ids[order[k % len(ids)]])
                for k in range(o.each)
            ]
    for _ in range(count * o.each):
        sentence = sentences[rng.integers(len(sentences))]
        sequences.append((reader.of_text(sentence, rng, o.no_labels), reader.text.encode(sentence)[:LENGTH]))
    return torch.cat(rows) if rows else None, sequences


def read_text(path):
    """Sentences of 4 to 20 words, tidied."""
    with open(path, encoding="utf-8") as f:
        lines = (tokenizer.tidy(line) for line in f)
        return [t for t in lines if 4 <= len(t.split()) <= 20]


def shared_options(parser, steps, epoch, lr, floor, warmup, ema):
    """Adds the options that all trainings on labelled photos have, with these defaults."""
    add = parser.add_argument
    add("--init", required=True, help="model file to start from; its trunk becomes ImageNet's again")
    add(
        "--photos",
        nargs=4,
        action="append",
        default=[],
        metavar=("CACHE", "LABELS", "TSV[,TSV]", "COUNT"),
        help="a set of photos: features, probabilities of heads.py, captions, photos per step",
    )
    add("--head", help="head.safetensors of heads.py: only labels that it can tell are read (default: as --photos say)")
    add(
        "--hold-out", action="append", default=[], metavar="CACHE", help="sets whose held-out photos are not trained on"
    )
    add("--run", required=True, help="folder of the run; the same command continues it")
    add("--steps", type=int, default=steps, help=f"steps of the whole run ({steps})")
    add("--epoch", type=int, default=epoch, help=f"steps between two files of averaged weights ({epoch})")
    add("--lr", type=float, default=lr, help=f"highest learning rate ({lr:g})")
    add("--floor", type=float, default=floor, help=f"learning rate at the end, as a share of --lr ({floor:g})")
    add("--warmup", type=int, default=warmup, help=f"steps until the learning rate is reached ({warmup})")
    add("--dropout", type=float, default=0.1, help="dropout of encoder and decoder (0.1)")
    add("--seen", type=float, default=0.75, help="share of a photo's tokens that a step sees (0.75)")
    add("--ema", type=float, default=ema, help=f"decay of the average of the weights, per step ({ema:g})")
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


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared_options(parser, steps=1500, epoch=300, lr=8e-4, floor=0.05, warmup=40, ema=0.995)
    add = parser.add_argument
    add("--text", nargs=2, metavar=("FILE", "COUNT"), help="sentences without photos, groups per step")
    add("--each", type=int, default=3, help="sentences of each photo, and of each group of text (3)")
    add("--smoothing", type=float, default=0.1, help="label smoothing (0.1)")
    add("--hide", type=float, default=0.03, help="share of input tokens that are replaced (0.03)")
    add("--no-labels", type=float, default=0.12, help="share of sentences without labels (0.12)")
    add("--drop-labels", type=float, default=0.12, help="share of labels left out (0.12)")
    return parser.parse_args(arguments)


class Training:
    """What all trainings on labelled photos begin with: the run, where it was stopped; what makes the labels' tokens;
    and the sets of photos, as [(Labelled, photos per step)]."""

    def __init__(self, o):
        if o.threads:
            torch.set_num_threads(o.threads)
        torch.manual_seed(o.seed)
        os.makedirs(o.run, exist_ok=True)
        model, text = load(o.init)
        self.o, self.text = o, text
        if not o.photos and not o.head:
            raise data.DataError("without --photos, --head must say which labels there are")
        if unknown := [folder for folder in o.hold_out if folder not in [photos[0] for photos in o.photos]]:
            raise data.DataError(f"--hold-out {unknown[0]}: no set of --photos has this cache")
        counts = [whole(n, "COUNT") for *_, n in o.photos]
        self.sets = [(Labelled(c, p, t, text, c in o.hold_out), n) for (c, p, t, _), n in zip(o.photos, counts)]
        words = words_of_head(o.head) if o.head else words_of([one for one, _ in self.sets])
        self.reader = Reader(words, text, thresholds_of(words, o.thresholds))
        print(", ".join(f"{one.folder}: {len(one.names)} photos" for one, _ in self.sets), file=sys.stderr)
        self.run = Run(o, model)
        self.run.resume()

    def learn(self, gradients_of, shown):
        """Goes on to the last step. gradients_of(rng, generator, drop) computes the gradients of one step and returns
        a few numbers; `shown` formats their means over the last steps. What is drawn depends on the seed and the
        step alone, so a run that goes on draws what it would have drawn."""
        o, run = self.o, self.run
        generator = torch.Generator().manual_seed(o.seed)
        drop = batch.Dropout(o.dropout, generator)
        progress, saved, notes = data.Progress(o.steps, "steps", run.step, 20.0), time.monotonic(), []
        while run.step < o.steps:
            start = time.monotonic()
            rng = np.random.default_rng([o.seed, run.step])
            generator.manual_seed(o.seed * 1000003 + run.step)
            notes.append(gradients_of(rng, generator, drop))
            run.update(rate_of(o, run.step))
            run.seconds += time.monotonic() - start
            last = run.step == o.steps
            progress.show(run.step, shown.format(*np.mean(notes[-50:], 0)), last)
            if run.step % o.epoch == 0 or last:
                run.write_epoch(self.text.json, shown.format(*np.mean(notes[-o.epoch :], 0)))
                for one, _ in self.sets:
                    one.refresh()
            if time.monotonic() - saved > 60 * o.save_minutes or last:
                run.save()
                saved = time.monotonic()


def whole(text, name):
    """A whole number above 0."""
    if not text.isdecimal() or not int(text):
        raise data.DataError(f"{name}: wanted a whole number above 0, found {text!r}")
    return int(text)


def rate_of(o, step):
    """The learning rate of a step: a linear warm-up, then half a cosine down to its floor."""
    along = max(0.0, step - o.warmup) / max(1, o.steps - o.warmup)
    ramp = min(1.0, (step + 1) / max(1, o.warmup))
    return o.lr * ramp * (o.floor + (1 - o.floor) * 0.5 * (1 + math.cos(math.pi * along)))


def gradients(training, sentences, count, rng, generator, drop):
    """Computes the gradients of one step with `count` groups of text; (cross-entropy of a token,)"""
    o, model, first = training.o, training.run.working, len(training.run.model.encoder.stem.blocks)
    rows, sequences = batch_of(o, training.sets, sentences, count, training.reader, rng)
    c = model.config
    nothing = torch.zeros(count, max(1, round(o.seen * c.patches)), c.encoder_dim, dtype=torch.bfloat16)
    context = nothing
    if rows is not None:
        seen = batch.some_tokens(len(rows), c.patches, o.seen, generator)
        context = torch.cat([batch.encode(model, rows.bfloat16(), first, drop, seen), nothing])
    losses, _ = losses_of(model, context, sequences, drop, o.smoothing, o.hide, generator)
    loss = losses.mean()
    loss.backward()
    return (loss.item(),)


def main(arguments=None):
    o = options_of(arguments)
    try:
        training = Training(o)
        sentences, count = (read_text(o.text[0]), whole(o.text[1], "COUNT")) if o.text else ([], 0)
        if o.text and not sentences:
            raise data.DataError(f"{o.text[0]}: no sentences of 4 to 20 words there")
        if not o.photos and not o.text:
            raise data.DataError("neither --photos nor --text: there is nothing to learn from")
        training.learn(functools.partial(gradients, training, sentences, count), "loss {:.4f}")
    except (data.DataError, OSError) as error:
        sys.exit(f"mixture.py: {error}")


if __name__ == "__main__":
    main()
