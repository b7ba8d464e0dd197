#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""export.py - writes checkpoints as a model file, and measures its captions in each precision.

    export.py write CHECKPOINT... --out MODEL [--store bf16] [--card CARD.md] [--engine PALME-CAPTION] [--photo FILE]
    export.py precisions MODEL --out COPY --photos PLACE... --captions TSV --engine PALME-CAPTION
    export.py convert OLD NEW [--format-version 2]

`write` takes model files and checkpoints (.pt: a dict with state_dict, config, tokenizer and card, read with
weights_only) and averages them if there are several. It stores matrices in bf16, f32, f16 or int8, and norms, biases
and positions in f32. Then it reads the file back and captions a photo three times: with the checkpoint and the file in
torch, and, with --engine, with the file in the engine.

`precisions` captions the photos of a dev set with the engine in each precision. Those that lose at most 0.01 CIDEr
against f32 become `precisions` of a copy of the model file, and the table becomes a section of its card.

`convert` rewrites a model file in another version of the format (FORMAT.md). Weights stay as they are stored.
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import ROOT, checkpoint, modelfile
from models.data import DataError
from models.eval import evaluate
from models.eval.evaluate import LISTED

SETTINGS = (
    "default_prompt",
    "default_beams",
    "length_penalty",
    "no_repeat_ngram",
    "min_length",
    "min_score",
    "precisions",
)
LOSS = 0.01  # of CIDEr, the most that a precision may cost
PHOTO = ROOT / "examples" / "photos" / "dog.jpg"


# ---- Checkpoints ------------------------------------------------------------------------------


def average(paths):
    """One checkpoint of several. They may differ in their weights and in SETTINGS; the first one's settings count. The
    average has `precisions` f32 only, because the others have not been measured."""
    first = checkpoint.read(paths[0])
    checkpoint.build(paths[0], first["state"], first["config"])
    total = {name: x.astype(np.float64) for name, x in first["state"].items()}
    for path in paths[1:]:
        other = checkpoint.read(path)
        for key in vars(first["config"]).keys() - set(SETTINGS):
            a, b = getattr(first["config"], key), getattr(other["config"], key)
            if a != b:
                raise DataError(f"{path}: {key} is {b}, {paths[0]} has {a}")
        if json.loads(other["tokenizer"]) != json.loads(first["tokenizer"]):
            raise DataError(f"{path}: has another tokenizer than {paths[0]}")
        checkpoint.build(path, other["state"], other["config"])
        for name, x in other["state"].items():
            total[name] += x
    if len(paths) > 1:
        first["config"].precisions = ("f32",)
    first["state"] = {name: (x / len(paths)).astype(first["state"][name].dtype) for name, x in total.items()}
    return first


# ---- Writing ----------------------------------------------------------------------------------


def with_terms(card, terms, path):
    """The card, with `terms` as its section on the licence. DataError if there are no terms and the card names none."""
    if terms:
        return (
            re.sub(r"\n## Licen[cs]e\n.*?(?=\n## |\Z)", "", card, flags=re.S).rstrip() + f"\n\n## License\n\n{terms}\n"
        )
    if not re.search(r"licen[cs]e|non-commercial|public domain", card, re.I):
        raise DataError(
            f"{path}: the card does not say under which terms the weights may be used; add them with --license TEXT"
        )
    return card


def change(config, settings):
    """config, changed by settings KEY=VALUE; a value is JSON, or else text."""
    from models.palme import Config

    known = {f.name for f in fields(Config)}
    values = dict(vars(config))
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in known:
            raise DataError(f"--set {setting}: wanted KEY=VALUE with a key of the config: {', '.join(sorted(known))}")
        with contextlib.suppress(ValueError):  # a word
            value = json.loads(value)
        old = values[key]
        if old is not None and not (
            isinstance(value, type(old))
            or (isinstance(old, float) and isinstance(value, int))
            or (isinstance(old, tuple) and isinstance(value, list))
        ):
            raise DataError(f"--set {setting}: {key} is of type {type(old).__name__}")
        values[key] = value
    return Config(**values)


# ---- Reading back -----------------------------------------------------------------------------


def allowed(name, x, how):
    """The largest rounding error of x when stored"""
    if "decoder" in name and "pos_emb" in name:  # version 2 stores it scaled: rounded once there and once back
        return np.abs(x) * (2.0**-23 + 2.0**-47)
    if how == "f32" or not modelfile.is_weight(name, x):
        return 0.0
    if how == "int8":
        rows = np.abs(x).reshape(x.shape[0], -1).max(1) / 127 * 0.5001
        return rows.reshape([-1] + [1] * (x.ndim - 1))
    return np.abs(x) * {"bf16": 2.0**-8, "f16": 2.0**-11}[how] + 2.0**-25


def check_stored(path, arrays, how):
    """Checks the digest of a file, and that each tensor is within the rounding error of its type."""
    data = Path(path).read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    again, metadata = modelfile.read(path)
    if hashlib.sha256(data[begin:]).hexdigest() != metadata["sha256"]:
        raise DataError(f"{path}: the file does not match its sha256")
    for name, x in arrays.items():
        if (
            name not in again
            or again[name].shape != x.shape
            or not (np.abs(again[name] - x) <= allowed(name, x, how)).all()
        ):
            raise DataError(f"{path}: {name} reads back differently from what was written")


def first_photo(place):
    from models import data

    for name, image in data.photos(place):
        return name, image
    raise DataError(f"{place}: has no photo that can be read")


def compare_captions(path, model, tokenizer, photo, engine):
    """(lines with the captions of a photo by checkpoint, file and engine; whether file and engine agree)"""
    import torch

    from models.palme import squash

    name, image = first_photo(photo)
    stored, _ = checkpoint.open_model(path)
    square = {name: squash(torch.from_numpy(np.array(image)), model.config.image_size).numpy()}
    beams, said = max(model.config.default_beams, 1), {}
    lines = [f"{photo}: {evaluate.kind_of(beams)}"]
    runners = {
        "checkpoint in torch": evaluate.Torch(model, tokenizer),
        "file in torch": evaluate.Torch(stored, tokenizer),
    }
    for what, runner in runners.items():
        said[what] = runner.captions(square, beams, 32)[name]
    ids = [model.config.bos_token] + runners["file in torch"].tokenizer.encode(
        said["checkpoint in torch"][0], add_special_tokens=False
    ).ids
    ids = ids[: model.config.max_seq_len - (0 if model.config.cross_attend else model.config.patches)]
    with torch.no_grad():
        rows = [
            runner.model.decode(torch.tensor([ids]), runner.contexts, model.config.xpos_center)
            for runner in runners.values()
        ]
    if engine:
        with tempfile.TemporaryDirectory(prefix="palme-export-") as folder:
            files = evaluate.write_squares(folder, square)
            captions, lost = evaluate.Engine(engine, os.path.abspath(path), folder, files).captions(beams, 32)
            if lost:
                raise DataError("; ".join(lost))
            said["file in the engine"] = captions[name]
    lines += [f"  {what + ':':<20} {text or '(empty)'}   ({score:.4f})" for what, (text, score) in said.items()]
    lines.append(
        f"logits of checkpoint and file along the caption: {float((rows[0] - rows[1]).abs().max()):.3g} apart at "
        f"most, standard deviation {float(rows[0].std()):.3g}"
    )
    agree = not engine or said["file in the engine"][0] == said["file in torch"][0]
    return lines, agree


def run_write(options):
    averaged = average(options.checkpoints)
    config = change(averaged["config"], options.set)
    model = checkpoint.build(options.checkpoints[0], averaged["state"], config)
    card = Path(options.card).read_text(encoding="utf-8") if options.card else averaged["card"]
    card = with_terms(card, options.license, options.card or options.checkpoints[0])
    checkpoint.write_model(
        options.out,
        model,
        averaged["tokenizer"],
        card,
        options.store,
        options.name or averaged["name"],
        options.language or averaged["language"],
    )
    check_stored(options.out, {k: x.numpy() for k, x in model.state_dict().items()}, options.store)
    count = sum(p.numel() for p in model.parameters())
    print(
        f"{options.out}: {count / 1e6:.2f} M parameters in {options.store}, {os.path.getsize(options.out) / 1e6:.1f} MB"
        + (f", the average of {len(options.checkpoints)} checkpoints" if len(options.checkpoints) > 1 else "")
    )
    lines, agree = compare_captions(options.out, model, averaged["tokenizer"], options.photo, options.engine)
    print("\n".join(lines))
    if not agree:
        raise DataError(
            f"{options.out} is written, but the engine and torch make different captions of {options.photo}"
        )
    return 0


# ---- Precisions -------------------------------------------------------------------------------

HEADING = "## Precisions"


def markdown(rows, kept, photos, beams):
    """The section of the card about precisions"""
    lines = [
        HEADING,
        "",
        f"{photos} photos of the dev split, {evaluate.kind_of(beams)}, by the engine. `auto` does not choose a "
        f"precision that loses more than {LOSS} CIDEr against f32.",
        "",
        "| precision | captions equal to f32 | BLEU-4 | METEOR | CIDEr | CIDEr against f32 | chosen |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        s, chosen = row["scores"], "yes" if row["precision"] in kept else "no"
        lines.append(
            f"| {row['precision']} | {100 * row.get('equal', 1.0):.1f} % | {s['BLEU-4']:.3f} | {s['METEOR']:.3f} | "
            f"{s['CIDEr']:.3f} | {row.get('cider_difference', 0.0):+.4f} | {chosen} |"
        )
    return "\n".join(lines) + "\n"


def with_section(card, section):
    """The card with this section, which replaces an older one or is added at the end"""
    older = re.compile(re.escape(HEADING) + r"\n.*?(?=^## |\Z)", re.S | re.M)
    if older.search(card):
        return older.sub(lambda _: section + "\n", card, count=1).rstrip() + "\n"
    return card.rstrip() + "\n\n" + section


def keep(rows):
    """The precisions that lose at most LOSS; f32 is always among them, and int4, which has to be asked for, never."""
    rows = [row for row in rows if row["precision"] in LISTED]
    return [row["precision"] for row in rows if row["precision"] == "f32" or row["cider_difference"] >= -LOSS - 1e-9]


def run_precisions(options):
    from models.palme import Config

    evaluate.scorers()
    tensors, metadata = modelfile.read_raw(options.model)
    if metadata.get("format") != "palme":
        raise DataError(f"{options.model}: not a model file")
    config = Config.read(modelfile.read(options.model)[1]["config"])
    beams = options.beams or config.default_beams
    references, squares, lost = evaluate.read_photos(options, config.image_size)
    tokens, rows = evaluate.tokenize(references), []
    with tempfile.TemporaryDirectory(prefix="palme-precisions-") as folder:
        engine = evaluate.Engine(
            options.engine,
            os.path.abspath(options.model),
            folder,
            evaluate.write_squares(folder, squares),
            options.threads,
        )
        for precision in options.precision:
            captions, missing = engine.captions(beams, options.max_length, precision)
            lost += missing
            scores, _ = evaluate.score(references, {k: text for k, (text, _) in captions.items()}, tokens)
            rows.append(
                {"label": f"engine {precision}", "precision": precision, "scores": scores, "captions": captions}
            )
            if len(rows) > 1:
                evaluate.compare(rows[-1], rows[0])
    kept = keep(rows)
    section = markdown(rows, kept, len(squares), beams)
    changed = {**json.loads(metadata["config"]), "precisions": kept}
    metadata.update(config=json.dumps(changed), model_card=with_section(metadata.get("model_card", ""), section))
    modelfile.write_raw(f"{options.out}.part", tensors, metadata)
    check = modelfile.load(f"{options.out}.part").config.precisions
    if list(check) != kept:
        raise DataError(f"{options.out}: reads back precisions {check}, wrote {kept}")
    os.replace(f"{options.out}.part", options.out)
    if options.report:
        Path(options.report).write_text(section, encoding="utf-8")
    print("\n".join(evaluate.table(rows)))
    print(f"{options.out}: precisions {', '.join(kept)}")
    if lost:
        print(f"{len(lost)} left out or without a caption: " + "; ".join(lost[:5]))
    return 0


# ---- Versions of the format -------------------------------------------------------------------


def run_convert(options):
    part = f"{options.new}.part"
    try:
        modelfile.convert(options.old, part, options.format_version)
        (old, _), (new, metadata) = modelfile.read(options.old), modelfile.read(part)
        for name, x in old.items():
            if name not in new or not (np.abs(new[name] - x) <= allowed(name, x, "f32")).all():
                raise DataError(f"{options.new}: {name} reads back differently from what was written")
        os.replace(part, options.new)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{options.old}: no model file: {error}") from None
    finally:
        Path(part).unlink(missing_ok=True)
    print(f"{options.new}: {len(new)} tensors, format version {metadata['format_version']}")
    return 0


# ---- The command ------------------------------------------------------------------------------


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="export.py", description=__doc__.split(" - ", 1)[1], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    write = commands.add_parser("write", help="write checkpoints as a model file")
    write.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="model file or .pt; several are averaged")
    write.add_argument("--out", required=True, metavar="MODEL", help="the model file to write")
    write.add_argument(
        "--store",
        choices=modelfile.STORES,
        default="bf16",
        help="how matrices and convolutions are stored; default bf16",
    )
    write.add_argument("--name", help="short name; default: that of the checkpoint")
    write.add_argument("--language", help="language tag such as en; default: that of the checkpoint")
    write.add_argument("--card", metavar="FILE", help="Markdown file; default: the card of the checkpoint")
    write.add_argument("--license", metavar="TEXT", help="terms of the weights; becomes a section of the card")
    write.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the config, such as default_beams=3",
    )
    write.add_argument(
        "--photo", default=str(PHOTO), metavar="PLACE", help="photo to caption; default: examples/photos/dog.jpg"
    )
    write.add_argument("--engine", metavar="PATH", help="the command palme-caption; captions the photo, too")
    write.set_defaults(run=run_write)
    convert = commands.add_parser("convert", help="rewrite a model file in another version of the format")
    convert.add_argument("old", metavar="OLD", help="the model file to read")
    convert.add_argument("new", metavar="NEW", help="the model file to write; may be OLD itself")
    convert.add_argument("--format-version", type=int, choices=(1, 2), default=2, help="version to write; default 2")
    convert.set_defaults(run=run_convert, engine=None)
    judge = commands.add_parser("precisions", help="measure which precisions keep the quality of captions")
    judge.add_argument("model", metavar="MODEL")
    judge.add_argument("--out", required=True, metavar="COPY", help="the model file to write; may be MODEL itself")
    judge.add_argument(
        "--photos", nargs="+", required=True, metavar="PLACE", help="folders and tar files of the dev set"
    )
    judge.add_argument(
        "--captions", required=True, metavar="TSV", help="its captions: a tsv with lines of id<TAB>caption"
    )
    judge.add_argument("--engine", required=True, metavar="PATH", help="the command palme-caption")
    judge.add_argument(
        "--precision",
        type=evaluate.list_of(evaluate.precision_name),
        default=list(LISTED),
        metavar="P,...",
        help="precisions to measure; default f32,bf16,int8",
    )
    judge.add_argument("--beams", type=evaluate.beam_count, metavar="N", help="beam width; default: that of the model")
    judge.add_argument(
        "--max-length", type=int, default=32, metavar="N", help="limit of tokens per caption; default 32"
    )
    judge.add_argument("--limit", type=int, metavar="N", help="use only the first N photos")
    judge.add_argument(
        "--threads", type=int, default=0, metavar="N", help="threads of the engine; default: all processors"
    )
    judge.add_argument("--report", metavar="FILE", help="also write the table to this file, as Markdown")
    judge.set_defaults(run=run_precisions)
    options = parser.parse_args(arguments)
    if options.command == "precisions" and options.precision[0] != "f32":
        parser.error("the first --precision must be f32, which the others are compared with")
    if options.engine:
        options.engine = os.path.abspath(shutil.which(options.engine) or options.engine)
    return options


def main(arguments=None):
    options = parse(arguments)
    try:
        return options.run(options)
    except DataError as error:
        print(f"export.py: {error}", file=sys.stderr)
    except OSError as error:
        print(f"export.py: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
