#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""distill.py - trains with a good captioner as the teacher of a smaller one.

    distill.py sentences --teacher MODEL --photos PHOTOS... --out pseudo.tsv [--dev dev.tsv] [--samples N]
    distill.py sentences --teacher MODEL... --cache CACHE --out pseudo.tsv
    distill.py encoder --teacher MODEL --teacher-cache CACHE --size small --cache CACHE2 --run RUN

`sentences` writes captions of photos that have none, as a tsv for train.py (--captions, or --extra beside others).

- With --photos the teacher is any model file, an imported captioner too (docs/distill.md): the engine captions the
  photos by the model's own search, and makes --samples more sentences of each by sampling. What it said stands in
  OUT.said, so that a stopped run goes on. Each --dev-every-th photo is kept from --out and stands in --dev instead.
- With --cache the teachers are models of this project, in torch, and share one tokenizer: each makes one caption by
  beam search, and the one that all of them together find likeliest is kept.

Left out are captions without an end, captions of more than --most photos, and those with a mean log-probability, their
end included, below --least.

`encoder` trains the encoder of another size to compute what the teacher's computes for the same views of the same
photos. Both have 64 tokens of 256 numbers, so the teacher's decoder can read either. `train.py --init` then starts from
RUN/model.safetensors. If it was stopped, the same command continues it.
"""

import argparse
import json
import math
import os
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import data, modelfile, search
from models.engine import Engine
from models.palme import Palme
from models.train import batch, tokenizer, train
from models.train.features import Cache, load_trunk, split_block

STEPS = 32


def first_of(model):
    return split_block(model.config.stem) if model.config.stem != "none" else None


@torch.no_grad()
def likelihoods(model, context, texts):
    """Mean log-probability of a token, including the end, of one text for each photo"""
    x, y = train.padded([[tokenizer.BOS] + ids + [tokenizer.EOS] for ids in texts], context.device)
    losses, real = train.token_losses(model, context, x, y, batch.same)
    return -torch.zeros_like(x, dtype=losses.dtype).masked_scatter(real, losses).sum(1) / real.sum(1)


def sentences(o):
    models = [modelfile.load(path) for path in o.teacher]
    text = tokenizer.Text(modelfile.read_raw(o.teacher[0])[1]["tokenizer"])
    if any(modelfile.read_raw(p)[1]["tokenizer"] != text.json for p in o.teacher[1:]):
        raise data.DataError("teachers must share one tokenizer")
    cache = Cache(o.cache)
    names = list(cache.at)[: o.limit]
    wrong = [p for p, m in zip(o.teacher, models) if m.config.stem != cache.index["trunk"]]
    if wrong:
        raise data.DataError(f"{o.cache} is of the trunk {cache.index['trunk']}, which is not that of {wrong[0]}")
    found = {}
    progress = data.Progress(len(names), "photos")
    for i in range(0, len(names), o.batch):
        some = names[i : i + o.batch]
        rows = train.as_input(cache, some, 0, o.device)
        with torch.no_grad():
            contexts = [batch.encode(m.to(o.device), rows, first_of(m)) for m in models]
        said = [search.beam(m, c, [tokenizer.BOS], o.beams or 3, STEPS) for m, c in zip(models, contexts)]
        sure = torch.stack(
            [sum(likelihoods(m, c, [ids for ids, _ in each]) for m, c in zip(models, contexts)) for each in said]
        ) / len(models)
        for j, name in enumerate(some):
            best = int(sure[:, j].argmax())
            ids = said[best][j][0]
            if len(ids) < STEPS and float(sure[best, j]) >= o.least:
                found[name] = text.decode(ids)
        progress.show(i + len(some), f"{len(found)} kept", i + len(some) == len(names))
    count = Counter(found.values())
    kept, seen = 0, Counter()
    with open(o.out, "w", encoding="utf-8") as f:
        for name, caption in found.items():
            seen[caption] += 1
            if seen[caption] <= o.most:
                f.write(f"{name}\t{caption}\n")
                kept += 1
    print(f"{o.out}: {kept} captions of {len(names)} photos, {len(count)} of them different", file=sys.stderr)


# ---- Through the engine -------------------------------------------------------------------------


def said_before(path, about):
    """{id: [(caption, score)]} of a run that was stopped, which must have been about the same."""
    found = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            lines = f.read().splitlines(keepends=True)
        if not lines or json.loads(lines[0]) != about:
            raise data.DataError(f"{path} is of another teacher or other options; remove it, or choose another --out")
        for line in lines[1:]:
            if line.endswith("\n"):  # the last one may be half written
                name, said = json.loads(line)
                found[name] = said
    return found


def say(teacher, sampler, image, samples, options):
    """[(caption, mean log-probability with the end)] of a picture: the one of the model's own search first, then others
    that differ from all before."""
    teacher.look(image)
    texts = [" ".join(teacher.caption()[0].split())]
    for seed in range(samples):
        sampler.set_options(**options, seed=seed + 1)
        texts.append(" ".join(sampler.caption(image)[0].split()))
    return [(text, teacher.score(text)) for text in dict.fromkeys(texts) if text]


def by_engine(o):
    """{id: [(caption, score)]} of all photos, by the engine; what was said is on disk as soon as it is."""
    names = [name for source in o.photos for name, _, _ in data.photo_files(source)][: o.limit]
    if not names:
        raise data.DataError(f"{', '.join(o.photos)}: no photos there")
    about = {"teacher": os.path.basename(o.teacher[0]), "samples": o.samples, "temperature": o.temperature}
    about |= {"top_p": o.top_p, "precision": o.precision, "beams": o.beams}
    path, skipped = f"{o.out}.said", []
    found = said_before(path, about)
    options = {"temperature": o.temperature, "top_p": o.top_p}
    left = set(names) - found.keys()
    progress = data.Progress(len(names), "photos", len(names) - len(left))
    with (
        Engine(o.teacher[0], o.precision, threads=o.threads, beams=o.beams or 0) as teacher,
        Engine(o.teacher[0], o.precision, threads=o.threads, **options) as sampler,
        open(f"{path}.new", "w", encoding="utf-8") as file,
    ):
        for one in (about, *found.items()):
            file.write(json.dumps(one, ensure_ascii=False) + "\n")
        file.flush()
        os.replace(f"{path}.new", path)
        for source in o.photos:
            for name, image in data.photos(source, skipped, left):
                found[name] = say(teacher, sampler, np.array(image), o.samples, options)
                file.write(json.dumps([name, found[name]], ensure_ascii=False) + "\n")
                file.flush()
                progress.show(len(found), f"{name}: {found[name][0][0] if found[name] else ''}"[:60])
    progress.show(len(found), "", True)
    for called, why in skipped:
        print(f"{called}: {why}", file=sys.stderr)
    return {name: found[name] for name in names if name in found}


def write_kept(path, found, names, o):
    """The captions of these photos that are good enough; how many."""
    seen, kept = Counter(), 0
    with open(path, "w", encoding="utf-8") as f:
        for name in names:
            for text, score in found[name]:
                seen[text] += 1
                if score >= o.least and seen[text] <= o.most:
                    f.write(f"{name}\t{text}\n")
                    kept += 1
    return kept


def sentences_by_engine(o):
    if len(o.teacher) > 1:
        raise data.DataError("with --photos there is one --teacher")
    found = by_engine(o)
    names = list(found)
    dev = names[o.dev_every - 1 :: o.dev_every] if o.dev else []
    held = set(dev)
    kept = write_kept(o.out, found, [name for name in names if name not in held], o)
    print(f"{o.out}: {kept} captions of {len(names) - len(dev)} photos", file=sys.stderr)
    if o.dev:
        print(f"{o.dev}: {write_kept(o.dev, found, dev, o)} captions of {len(dev)} photos", file=sys.stderr)
    if not kept:
        raise data.DataError(f"no caption is as likely as --least {o.least}; {o.out}.said has all of them")


# ---- An encoder ---------------------------------------------------------------------------------


def encoder(o):
    teacher = modelfile.load(o.teacher[0]).to(o.device)
    theirs, ours = Cache(o.teacher_cache), Cache(o.cache)
    config = train.make_config(o.size)
    text = modelfile.read_raw(o.teacher[0])[1]["tokenizer"]
    if len(json.loads(text)["model"]["vocab"]) > config.num_tokens:
        text = tokenizer.shorten(text, config.num_tokens)
    torch.manual_seed(o.seed)
    model = Palme(config).eval()
    train.initialise(model, torch.Generator().manual_seed(o.seed))
    if config.stem != "none":
        if ours.index["trunk"] != config.stem:
            raise data.DataError(
                f"{o.cache} is of the trunk {ours.index['trunk']}; --size {o.size} needs {config.stem}"
            )
        model.encoder.stem.load_state_dict(load_trunk(config.stem).state_dict())
    train.borrow(model, o.teacher[0])
    if config.stem not in ("none", teacher.config.stem):
        model.encoder.stem.load_state_dict(load_trunk(config.stem).state_dict())
    model.to(o.device)
    names = [n for n in ours.at if n in theirs.at]
    views = min(ours.views, theirs.views)
    if not names:
        raise data.DataError(f"{o.cache} and {o.teacher_cache} have no photo in common")
    for name, p in model.named_parameters():
        p.requires_grad_(name.startswith("encoder."))
    train.freeze(model, o.unfreeze)
    trunk = [p for n, p in model.encoder.named_parameters() if p.requires_grad and train.of_trunk(n)]
    others = [p for n, p in model.encoder.named_parameters() if p.requires_grad and not train.of_trunk(n)]
    learning = others + trunk
    groups = [dict(params=others, scale=1.0), dict(params=trunk, scale=o.trunk_lr)]
    optimiser = torch.optim.AdamW([g for g in groups if g["params"]], lr=o.lr, betas=(0.9, 0.98), weight_decay=0.01)
    os.makedirs(o.run, exist_ok=True)
    path, step, saved = os.path.join(o.run, "distill.pt"), 0, time.monotonic()
    if os.path.exists(path):
        state = torch.load(path, map_location=o.device, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        step = state["step"]
    per_epoch = math.ceil(len(names) / o.batch)
    total = o.epochs * per_epoch
    progress, loss_sum, loss_count = data.Progress(total * o.batch, "photos", step * o.batch), 0.0, 0
    while step < total:
        rng = np.random.default_rng([o.seed, step // per_epoch])
        order = rng.permutation(len(names))[step % per_epoch * o.batch :][: o.batch]
        some, view = [names[i] for i in order], int(np.random.default_rng([o.seed, step]).integers(views))
        with torch.no_grad():
            wanted = batch.encode(teacher, train.as_input(theirs, some, view, o.device), first_of(teacher))
        made = batch.encode(model, train.as_input(ours, some, view, o.device), first_of(model))
        loss = F.mse_loss(made, wanted)
        loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = (
                group["scale"]
                * o.lr
                * min(1.0, (step + 1) / 100)
                * (0.05 + 0.475 * (1 + math.cos(math.pi * step / total)))
            )
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        loss_sum, loss_count, step = loss_sum + loss.item(), loss_count + 1, step + 1
        progress.show(step * o.batch, f"mean square {loss_sum / loss_count:.4f}", step == total)
        if loss_count == 100:
            loss_sum, loss_count = 0.0, 0
        if step == total or time.monotonic() - saved > 180:
            torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, path + ".new")
            os.replace(path + ".new", path)
            saved = time.monotonic()
    out = os.path.join(o.run, "model.safetensors")
    train.write_model(
        out, model, tokenizer.Text(text), "An encoder that learned from another one. It is not a captioner yet."
    )
    print(f"{out}: use it with train.py --init", file=sys.stderr)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    s = commands.add_parser("sentences", help="write captions of photos that have none")
    s.add_argument("--out", required=True, help="the tsv to write")
    s.add_argument("--photos", nargs="+", help="folders or tar files of photos: the engine captions them")
    s.add_argument("--dev", help="with --photos: a tsv of photos that --out is without, to measure the training")
    s.add_argument("--dev-every", type=int, default=20, help="with --dev: each so many-th photo is there (20)")
    s.add_argument("--samples", type=int, default=0, help="with --photos: more sentences of each photo, sampled (0)")
    s.add_argument("--temperature", type=float, default=0.7, help="of sampling (0.7)")
    s.add_argument("--top-p", type=float, default=0.9, help="probability of what is sampled from (0.9)")
    s.add_argument("--precision", default="auto", help="with --photos: auto, f32, bf16 or int8 (auto)")
    s.add_argument("--beams", type=int, help="beam width (3; with --photos the model's own)")
    s.add_argument("--least", type=float, default=-1.5, help="least mean log-probability of a caption (-1.5)")
    s.add_argument("--most", type=int, default=20, help="most photos with the same caption (20)")
    s.add_argument("--limit", type=int, help="use only the first LIMIT photos")
    e = commands.add_parser("encoder", help="train an encoder to compute what the teacher's computes")
    e.add_argument("--teacher-cache", required=True, help="features of the photos for the teacher")
    e.add_argument("--size", choices=train.SIZES, required=True, help="architecture of the pupil")
    e.add_argument("--run", required=True, help="folder of the run; a stopped run continues there")
    e.add_argument("--epochs", type=int, default=10, help="passes over the photos (10)")
    e.add_argument("--lr", type=float, default=1e-3, help="learning rate (1e-3)")
    e.add_argument("--unfreeze", action="store_true", help="train the trunk's late blocks, too")
    e.add_argument(
        "--trunk-lr", type=float, default=0.3, help="learning rate of these blocks, relative to the others (0.3)"
    )
    for p in (s, e):
        p.add_argument("--teacher", nargs="+", required=True, help="model files")
        p.add_argument("--cache", required=p is e, help="features of the photos (features.py)")
        p.add_argument("--batch", type=int, default=32, help="photos per step (32)")
        p.add_argument("--seed", type=int, default=1, help="random seed (1)")
        p.add_argument("--device", default="cpu", help="cpu (default) or cuda")
        p.add_argument("--threads", type=int, default=0, help="number of threads; 0: torch decides (0)")
    o = parser.parse_args(arguments)
    try:
        if o.threads:
            torch.set_num_threads(o.threads)
        if o.command == "encoder":
            encoder(o)
        elif o.photos:
            sentences_by_engine(o)
        elif o.cache:
            sentences(o)
        else:
            raise data.DataError("sentences needs --photos or --cache")
    except (data.DataError, OSError) as error:
        sys.exit(f"distill.py: {error}")


if __name__ == "__main__":
    main()
