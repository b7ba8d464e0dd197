#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""train.py - trains a captioner from cached features and captions, and writes a model file.

    features.py --photos PHOTOS --out CACHE
    train.py --size default --cache CACHE --captions train.tsv --dev-cache DEV --dev-captions dev.tsv --run RUN

A run has three stages. If it was stopped, the same command continues it.

    xe     cross-entropy of the next token, with label smoothing, dropout, replaced input tokens, warm-up and cosine
           decay
    scst   self-critical training: captions are sampled and scored by CIDEr-D and BLEU against the photo's own captions;
           each becomes likelier or less likely as it is better or worse than the others sampled for that photo. A
           little cross-entropy keeps the captions grammatical
    pack   writes the average of the last epochs as a model file

Scores and files are those of a moving average of the weights (EMA). RUN has last.pt (the state of the training),
epoch-*.safetensors (weights after each epoch), log.tsv (a line per epoch, which plot_training.py draws) and at the end
model.safetensors.

The cache holds features of the trunk's first blocks (see features.py); --unfreeze also trains the blocks behind them.
--extra CACHE TSV adds photos whose captions are no references, for example captions made by a model. They are used in
xe, and in scst for cross-entropy only.
"""

import argparse
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

from models import checkpoint, data, modelfile, search
from models.palme import Config, Palme
from models.train import batch, rewards, tokenizer
from models.train.features import Cache, load_trunk, split_block

LENGTH = 26  # tokens of a training sequence at most
STEPS = 20  # tokens drawn at most

SIZES = {
    "default": dict(
        encoder_dim=256,
        encoder_depth=3,
        encoder_heads=4,
        decoder_dim=256,
        decoder_depth=3,
        decoder_heads=4,
        stem="efficientnet_lite2",
        num_tokens=4096,
    ),
    "small": dict(
        encoder_dim=256,
        encoder_depth=1,
        encoder_heads=4,
        decoder_dim=256,
        decoder_depth=2,
        decoder_heads=4,
        stem="efficientnet_lite0",
        num_tokens=2048,
    ),
    "pure": dict(
        encoder_dim=256,
        encoder_depth=6,
        encoder_heads=4,
        decoder_dim=256,
        decoder_depth=3,
        decoder_heads=4,
        stem="none",
        num_tokens=4096,
    ),
}
SENTENCES = dict(default_beams=3, length_penalty=1.0, no_repeat_ngram=3, min_length=4)


def make_config(size):
    common = dict(
        image_size=256,
        patch_size=32,
        max_seq_len=64,
        alibi_num_heads=2,
        qk_norm=False,
        train_length=LENGTH,
        bos_token=tokenizer.BOS,
        eos_token=tokenizer.EOS,
        pad_token=tokenizer.PAD,
    )
    return Config(**{**common, **SENTENCES, **SIZES[size]})


def initialise(model, generator):
    """Initial weights as in GPT-2: normal, and smaller with depth where a block is added to the residual stream."""
    depth = len(model.decoder.net.attn_layers.layers) + len(model.encoder.attn_layers.layers)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if ".stem." in name:
                continue
            if p.ndim >= 2:
                p.normal_(0, 0.02, generator=generator)
                if name.endswith(("to_out.weight", "ff.2.weight")):
                    p.div_(math.sqrt(depth / 2))
            elif name.endswith(".bias"):
                p.zero_()


def borrow(model, path):
    """Copies weights of equal shape from a model file, and the first rows of longer tables. Returns the names of the
    rest."""
    arrays, _ = modelfile.read(path)
    state, left = model.state_dict(), []
    for name, x in state.items():
        y = arrays.get(name)
        if y is not None and y.shape[1:] == tuple(x.shape[1:]) and y.shape[0] >= x.shape[0]:
            x.copy_(torch.from_numpy(np.array(y[: x.shape[0]])))
        else:
            left.append(name)
    return left


def of_trunk(name):
    """Whether a parameter belongs to the stem's convolutions. The last 1x1 does not: it learns like what follows it."""
    return "stem." in name and "stem.head." not in name


def freeze(model, unfreeze):
    """Freezes the stem, except the last 1x1 convolution and, with `unfreeze`, the late blocks. Returns the index of the
    first late block, None without a stem."""
    if model.config.stem == "none":
        return None
    first = split_block(model.config.stem)
    for name, p in model.named_parameters():
        if of_trunk(name):
            p.requires_grad_(unfreeze and ".blocks." in name and int(name.split(".blocks.")[1].split(".")[0]) >= first)
    return first


# ---- Data -------------------------------------------------------------------------------------


def as_input(cache, names, views, device):
    """Input of batch.encode(): rows of features, or pictures in 0..1 if there is no trunk."""
    rows = torch.from_numpy(cache.rows(views, [cache.at[n] for n in names])).to(device).float()
    return rows if rows.ndim == 3 else rows.permute(0, 3, 1, 2) / 255


class Examples:
    """Captions of cached photos, as ids"""

    def __init__(self, cache, captions, text, what):
        self.cache, self.folder = cache, cache.folder
        self.names = [name for name in captions if name in cache.at]
        missing = len(captions) - len(self.names)
        if missing:
            print(
                f"{what}: {missing} of {len(captions)} captioned photos are not in {cache.folder} or cannot be read; "
                f"the first is {next(n for n in captions if n not in cache.at)}",
                file=sys.stderr,
            )
        if not self.names:
            raise data.DataError(f"{what}: no photo of the captions is in {cache.folder}")
        self.captions = {name: captions[name] for name in self.names}
        self.ids = {name: [text.encode(t)[:LENGTH] for t in captions[name]] for name in self.names}

    def features(self, names, views, device):
        return as_input(self.cache, names, views, device)

    def refresh(self):
        """Reads the cache again; more views may have been computed since."""
        self.cache = Cache(self.folder)


def padded(sequences, device="cpu"):
    """(inputs, targets) [R, L]: every token predicts the next one; the target of padding is -1."""
    width = max(map(len, sequences)) - 1
    x = torch.full((len(sequences), width), tokenizer.EOS)
    y = torch.full((len(sequences), width), -1)
    for i, s in enumerate(sequences):
        x[i, : len(s) - 1], y[i, : len(s) - 1] = torch.tensor(s[:-1]), torch.tensor(s[1:])
    return x.to(device), y.to(device)


def token_losses(model, context, x, y, drop, smoothing=0.0):
    """(cross-entropy of each real target, which targets are real)"""
    real = y >= 0
    logits = model.decoder.net.to_logits(batch.decode(model, x, real, context, drop))
    return F.cross_entropy(logits, y[real], reduction="none", label_smoothing=smoothing), real


# ---- A run ------------------------------------------------------------------------------------


class Run:
    """The state of a training: model, averaged weights, optimiser, random numbers and position"""

    def __init__(self, options, model, device):
        self.options, self.model, self.device = options, model.to(device), device
        self.generator = torch.Generator().manual_seed(options.seed)
        self.first = freeze(model, options.unfreeze)
        groups = [
            dict(params=[], scale=1.0, weight_decay=0.05),
            dict(params=[], scale=1.0, weight_decay=0.0),
            dict(params=[], scale=options.trunk_lr, weight_decay=0.01),
        ]
        for name, p in model.named_parameters():
            if p.requires_grad:
                at = 2 if of_trunk(name) else 0 if p.ndim >= 2 and "emb" not in name else 1
                groups[at]["params"].append(p)
        self.optimiser = torch.optim.AdamW([g for g in groups if g["params"]], lr=1e-3, betas=(0.9, 0.98))
        self.learning = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        self.average = {n: p.detach().clone() for n, p in self.learning}
        self.stage, self.epoch, self.at, self.seconds = "xe", 0, 0, 0.0
        self.sums, self.steps = {}, 0

    def update(self, rate, decay):
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        torch.nn.utils.clip_grad_norm_([p for _, p in self.learning], 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            for n, p in self.learning:
                self.average[n].lerp_(p.detach(), 1 - decay)

    def note(self, **values):
        for key, value in values.items():
            total, count = self.sums.get(key, (0.0, 0))
            self.sums[key] = (total + float(value), count + 1)

    def mean(self, key):
        total, count = self.sums.get(key, (0.0, 0))
        return total / count if count else math.nan

    def averaged(self):
        """Puts the averaged weights into the model. Returns a function that restores the others."""
        kept = {n: p.detach().clone() for n, p in self.learning}
        with torch.no_grad():
            for n, p in self.learning:
                p.copy_(self.average[n])

        def back():
            with torch.no_grad():
                for n, p in self.learning:
                    p.copy_(kept[n])

        return back

    def save(self):
        path = os.path.join(self.options.run, "last.pt")
        torch.save(
            {
                "learning": dict(self.learning),
                "average": self.average,
                "optimiser": self.optimiser.state_dict(),
                "generator": self.generator.get_state(),
                "stage": self.stage,
                "epoch": self.epoch,
                "at": self.at,
                "seconds": self.seconds,
                "sums": self.sums,
            },
            path + ".new",
        )
        os.replace(path + ".new", path)

    def resume(self):
        path = os.path.join(self.options.run, "last.pt")
        if not os.path.exists(path):
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        with torch.no_grad():
            for n, p in self.learning:
                p.copy_(state["learning"][n])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"].cpu())
        for key in ("stage", "epoch", "at", "seconds", "sums"):
            setattr(self, key, state[key])
        return True


def learning_rate(options, stage, step, total):
    """Linear warm-up, then cosine decay to a twentieth"""
    peak = options.lr if stage == "xe" else options.scst_lr
    warm = min(options.warmup, total // 10)
    if step < warm:
        return peak * (step + 1) / warm
    along = (step - warm) / max(1, total - warm)
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, along))))


def order_of(examples, epoch, seed):
    """Names and views of one epoch, which depend on the seed and the epoch only"""
    rng = np.random.default_rng([seed, epoch])
    names = [examples.names[i] for i in rng.permutation(len(examples.names))]
    return names, rng.integers(examples.cache.views, size=len(names))


def xe_sequences(examples, names, per_photo, rng):
    """per_photo captions of each photo in random order; photos with fewer captions repeat them."""
    out = []
    for name in names:
        ids = examples.ids[name]
        order = rng.permutation(len(ids))
        out += [ids[order[i % len(ids)]] for i in range(per_photo)]
    return out


def hide_words(x, share, vocab, generator):
    """Replaces a share of the input tokens by random ones, so that the model does not rely on the text alone."""
    if share <= 0:
        return x
    hit = torch.rand(x.shape, generator=generator).to(x.device) < share
    hit[:, 0] = False
    return torch.where(hit, torch.randint(3, vocab, x.shape, generator=generator).to(x.device), x)


def xe_step(run, examples, names, views, drop, rng):
    o = run.options
    sequences = xe_sequences(examples, names, o.captions_per_photo, rng)
    x, y = padded(sequences, run.device)
    x = hide_words(x, o.hide, run.model.config.num_tokens, run.generator)
    seen = batch.some_tokens(len(names), run.model.config.patches, o.seen, run.generator)
    context = batch.encode(run.model, examples.features(names, views, run.device), run.first, drop, seen)
    losses, _ = token_losses(run.model, context, x, y, drop, o.smoothing)
    loss = losses.mean()
    loss.backward()
    run.note(loss=loss.item())


def scst_step(run, examples, names, views, drop, rng, text, reward):
    o, k, b = run.options, run.options.samples, len(names)
    rows = examples.features(names, views, run.device)
    if not o.unfreeze and run.first is not None:
        with torch.no_grad():
            rows = batch.late_blocks(run.model.encoder.stem, rows, run.first)
    seen = batch.some_tokens(b, run.model.config.patches, o.seen, run.generator)
    with torch.no_grad():
        drawn = batch.sample(
            run.model, batch.encode(run.model, rows, run.first, seen=seen), k, STEPS, run.generator, o.min_p
        )
    sequences, values = [], np.zeros((b, k))
    for i, name in enumerate(names):
        for j in range(k):
            ids = drawn[i * k + j]
            sequences.append([tokenizer.BOS] + ids)
            values[i, j] = reward(name, text.decode(ids)) if ids[-1] == tokenizer.EOS else 0.0
        sequences += xe_sequences(examples, [name], o.scst_xe_captions, rng)
    advantage = values - (values.sum(1, keepdims=True) - values) / (k - 1)
    each = k + o.scst_xe_captions
    x, y = padded(sequences, run.device)
    context = batch.encode(run.model, rows, run.first, drop, seen)
    losses, real = token_losses(run.model, context, x, y, drop)
    row = real.nonzero()[:, 0]
    weight = torch.zeros(b, each)
    weight[:, :k] = torch.from_numpy(advantage).float()
    policy = (losses * weight.flatten().to(losses)[row]).sum() / (b * k * 10)
    likely = torch.zeros(())
    if o.scst_xe_captions:
        likely = losses[(row % each) >= k].mean()
    (policy + o.scst_xe * likely).backward()
    run.note(loss=likely.item(), reward=values.mean(), spread=values.std(1).mean())


def captions_of(models, examples, names, beams, device, at_once=25, first=None):
    """name -> caption of the plain view of each photo, by beam or greedy search"""
    text, out = examples.text, {}
    for i in range(0, len(names), at_once):
        some = names[i : i + at_once]
        with torch.no_grad():
            context = batch.encode(models, examples.features(some, 0, device), first)
        prompt = [models.config.bos_token]
        found = (
            search.greedy(models, context, prompt, 32)
            if beams == 1
            else search.beam(models, context, prompt, beams, 32)
        )
        out.update({name: text.decode(ids) for name, (ids, _) in zip(some, found)})
    return out


def write_model(path, model, text, card, how="bf16", name=None):
    checkpoint.write_model(path, model, text.json, card, how, name, "en")


def end_epoch(run, dev, text, cider):
    """Scores the averaged model on the dev captions, and writes its weights and a line of the log."""
    o, back = run.options, run.averaged()
    scores = {"bleu4": math.nan, "cider": math.nan, "words": math.nan, "distinct": 0}
    if dev is not None:
        names = dev.names[: o.dev_photos]
        scores = rewards.corpus(None, captions_of(run.model, dev, names, o.beams, run.device, first=run.first), cider)
    write_model(os.path.join(o.run, f"epoch-{run.stage}-{run.epoch:02d}.safetensors"), run.model, text, "in training")
    back()
    path = os.path.join(o.run, "log.tsv")
    new = not os.path.exists(path)
    with open(path, "a") as f:
        if new:
            f.write("stage\tepoch\tloss\treward\tdev_bleu4\tdev_cider\twords\tdistinct\tminutes\n")
        f.write(
            f"{run.stage}\t{run.epoch}\t{run.mean('loss'):.4f}\t{run.mean('reward'):.4f}\t{scores['bleu4']:.4f}\t"
            f"{scores['cider']:.4f}\t{scores['words']:.2f}\t{scores['distinct']}\t{run.seconds / 60:.1f}\n"
        )
    print(
        f"{run.stage} epoch {run.epoch}: loss {run.mean('loss'):.3f} reward {run.mean('reward'):.3f} "
        f"dev BLEU-4 {scores['bleu4']:.4f} CIDEr {scores['cider']:.4f} words {scores['words']:.1f}",
        file=sys.stderr,
    )
    run.sums = {}


def train_stage(run, stage, epochs, examples, extra, dev, text, reward, cider):
    o = run.options
    drop = batch.Dropout(o.dropout if stage == "xe" else o.scst_dropout, run.generator, device=run.device)
    decay = o.ema if stage == "xe" else o.scst_ema
    saved = time.monotonic()
    while run.epoch < epochs:
        examples.refresh()
        names, views = order_of(examples, run.epoch + (1000 if stage == "scst" else 0), o.seed)
        names, views = names[: o.photos or None], views[: o.photos or None]
        size = o.batch
        steps = math.ceil(len(names) / size)
        progress = data.Progress(len(names), "photos", run.at * size)
        while run.at < steps:
            start = time.monotonic()
            rng = np.random.default_rng([o.seed, run.epoch, run.at])
            some = slice(run.at * size, (run.at + 1) * size)
            if stage == "xe":
                xe_step(run, examples, names[some], views[some], drop, rng)
            else:
                scst_step(run, examples, names[some], views[some], drop, rng, text, reward)
            if extra is not None and rng.random() < o.extra_share:
                picked = [extra.names[i] for i in rng.integers(len(extra.names), size=size)]
                xe_step(run, extra, picked, rng.integers(extra.cache.views, size=size), drop, rng)
            run.update(learning_rate(o, stage, run.epoch * steps + run.at, epochs * steps), decay)
            run.at += 1
            run.seconds += time.monotonic() - start
            progress.show(
                min(run.at * size, len(names)),
                f"{stage} {run.epoch + 1}/{epochs} loss {run.mean('loss'):.3f} reward {run.mean('reward'):.3f}",
                run.at == steps,
            )
            if time.monotonic() - saved > 60 * o.save_minutes:
                run.save()
                saved = time.monotonic()
            run.steps += 1
            if run.steps == o.stop_after:
                run.save()
                sys.exit(3)
        run.epoch, run.at = run.epoch + 1, 0
        end_epoch(run, dev, text, cider)
        run.save()


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--size", choices=SIZES, default="default", help="architecture (default)")
    add("--cache", required=True, help="features of the photos (features.py)")
    add("--captions", required=True, help="tsv with lines of id<TAB>caption")
    add("--dev-cache", help="features of the dev photos")
    add("--dev-captions", help="captions of the dev photos")
    add("--extra", nargs=2, metavar=("CACHE", "TSV"), help="more photos, whose captions are no references")
    add("--run", required=True, help="folder of the run; a stopped run continues there")
    add("--init", help="model file to start from; weights that fit are copied")
    add("--tokenizer", help="tokenizer.json; default: that of --init, or made from the captions")
    add("--device", default="cpu", help="cpu (default) or cuda")
    add("--threads", type=int, default=0, help="number of threads; 0: torch decides (0)")
    add("--seed", type=int, default=1, help="random seed (1)")
    add("--batch", type=int, default=32, help="photos per step (32)")
    add("--photos", type=int, default=0, help="photos per epoch; 0: all (0)")
    add("--xe-epochs", type=int, default=12, help="epochs of cross-entropy (12)")
    add("--captions-per-photo", type=int, default=5, help="captions of each photo in a step of xe (5)")
    add("--lr", type=float, default=7e-4, help="learning rate of xe (7e-4)")
    add("--warmup", type=int, default=200, help="steps of warm-up, at most a tenth of the stage (200)")
    add("--smoothing", type=float, default=0.1, help="label smoothing in xe (0.1)")
    add("--dropout", type=float, default=0.2, help="dropout in xe (0.2)")
    add("--hide", type=float, default=0.05, help="share of input tokens replaced by random ones in xe (0.05)")
    add("--seen", type=float, default=0.75, help="share of a photo's image tokens used in a step (0.75)")
    add("--ema", type=float, default=0.999, help="decay of the averaged weights in xe (0.999)")
    add("--unfreeze", action="store_true", help="train the trunk's late blocks, too")
    add("--trunk-lr", type=float, default=0.1, help="learning rate of these blocks, relative to the others (0.1)")
    add("--scst-epochs", type=int, default=10, help="epochs of self-critical training (10)")
    add("--scst-lr", type=float, default=3.5e-4, help="learning rate of scst (3.5e-4)")
    add("--scst-dropout", type=float, default=0.1, help="dropout in scst (0.1)")
    add("--scst-ema", type=float, default=0.99, help="decay of the averaged weights in scst (0.99)")
    add("--samples", type=int, default=5, help="captions sampled for each photo (5)")
    add(
        "--min-p",
        type=float,
        default=0.15,
        help="do not sample tokens less likely than this share of the likeliest (0.15)",
    )
    add("--bleu", type=float, default=1.0, help="weight of sentence BLEU-4 in the reward (1)")
    add("--scst-xe", type=float, default=0.05, help="weight of cross-entropy in scst (0.05)")
    add("--scst-xe-captions", type=int, default=1, help="captions of each photo for that (1)")
    add("--extra-share", type=float, default=0.5, help="share of steps that also use a batch of --extra (0.5)")
    add("--beams", type=int, default=3, help="beam width when the dev captions are scored (3)")
    add("--dev-photos", type=int, default=500, help="use only the first so many dev photos (500)")
    add("--save-minutes", type=float, default=3, help="minutes between saves of the state (3)")
    add("--stop-after", type=int, default=0, help="stop after so many steps, as if interrupted; for tests")
    add("--name", default="palme", help="name of the model (palme)")
    add("--card", help="Markdown file that becomes the model card")
    add("--average", type=int, default=3, help="number of last epochs that are averaged (3)")
    return parser.parse_args(arguments)


def pack(run, text, epochs):
    """Writes the average of the last epochs of scst (or xe) as RUN/model.safetensors."""
    o = run.options
    stage, last = ("scst", o.scst_epochs) if o.scst_epochs else ("xe", o.xe_epochs)
    paths = [
        os.path.join(o.run, f"epoch-{stage}-{e:02d}.safetensors") for e in range(max(1, last - epochs + 1), last + 1)
    ]
    arrays = [modelfile.read(p)[0] for p in paths]
    mean = {name: np.mean([a[name] for a in arrays], 0, dtype=np.float64).astype(np.float32) for name in arrays[0]}
    run.model.load({name: torch.from_numpy(x) for name, x in mean.items()})
    card = f"# {o.name}\n\nTrained by train.py. Its data and terms are not known.\n"
    if o.card:
        with open(o.card, encoding="utf-8") as f:
            card = f.read()
    out = os.path.join(o.run, "model.safetensors")
    write_model(out, run.model, text, card, "bf16", o.name)
    print(f"{out}: the average of {len(paths)} epochs", file=sys.stderr)


def prepare(o):
    """Examples, dev examples, extra ones, tokenizer and model."""
    captions = tokenizer.tidied(data.read_captions(o.captions))
    if o.tokenizer:
        with open(o.tokenizer, encoding="utf-8") as f:
            text = f.read()
    elif o.init:
        text = modelfile.read_raw(o.init)[1]["tokenizer"]
    else:
        text = tokenizer.train((t for texts in captions.values() for t in texts), SIZES[o.size]["num_tokens"])
    config = make_config(o.size)
    count = len(json.loads(text)["model"]["vocab"])
    if count > config.num_tokens:
        text = tokenizer.shorten(text, config.num_tokens)
    config.num_tokens = min(count, config.num_tokens)
    text = tokenizer.Text(text)
    examples = Examples(Cache(o.cache), captions, text, "training")
    dev = extra = cider = None
    if o.dev_cache and o.dev_captions:
        dev_captions = tokenizer.tidied(data.read_captions(o.dev_captions))
        dev = Examples(Cache(o.dev_cache), dev_captions, text, "dev")
        dev.text = text
        cider = rewards.Cider({n: dev_captions[n] for n in dev.names[: o.dev_photos]}, end=False)
    if o.extra:
        extra = Examples(Cache(o.extra[0]), tokenizer.tidied(data.read_captions(o.extra[1])), text, "extra")
    torch.manual_seed(o.seed)
    model = Palme(config).eval()
    initialise(model, torch.Generator().manual_seed(o.seed))
    for cache in [examples.cache] + [x.cache for x in (dev, extra) if x is not None]:
        if cache.index["trunk"] != config.stem:
            raise data.DataError(
                f"{cache.folder} is of the trunk {cache.index['trunk']}; --size {o.size} needs {config.stem}"
            )
    if config.stem != "none":
        model.encoder.stem.load_state_dict(load_trunk(config.stem).state_dict())
    if o.init:
        left = [n for n in borrow(model, o.init) if ".stem." not in n]
        print(
            f"from {o.init}: all but {len(left)} tensors{': ' + ', '.join(left[:6]) if left else ''}", file=sys.stderr
        )
        if config.stem != "none" and json.loads(modelfile.read(o.init)[1]["config"])["stem"] != config.stem:
            model.encoder.stem.load_state_dict(load_trunk(config.stem).state_dict())
    return examples, dev, extra, cider, text, model


def main(arguments=None):
    o = options_of(arguments)
    try:
        if o.threads:
            torch.set_num_threads(o.threads)
        os.makedirs(o.run, exist_ok=True)
        examples, dev, extra, cider, text, model = prepare(o)
        run = Run(o, model, o.device)
        if run.resume():
            print(f"continues at {run.stage} epoch {run.epoch}, step {run.at}", file=sys.stderr)
        if run.stage == "xe":
            train_stage(run, "xe", o.xe_epochs, examples, extra, dev, text, None, cider)
            if o.xe_epochs:  # scst starts from the averaged weights
                with torch.no_grad():
                    for n, p in run.learning:
                        p.copy_(run.average[n])
            run.stage, run.epoch, run.at = "scst", 0, 0
        if o.scst_epochs:
            reward = rewards.Reward(examples.captions, o.bleu)
            train_stage(run, "scst", o.scst_epochs, examples, extra, dev, text, reward, cider)
        pack(run, text, o.average)
    except (data.DataError, OSError) as error:
        sys.exit(f"train.py: {error}")


if __name__ == "__main__":
    main()
