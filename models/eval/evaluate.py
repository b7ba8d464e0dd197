#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""evaluate.py - scores a model's captions, and compares those of the engine with those of torch.

    evaluate.py MODEL --photos FOLDER_OR_TAR... --captions TSV [--beams 1,3]
                [--engine PALME-CAPTION] [--precision f32,bf16,int8] [--html PAGE] [--json FILE]

All photos are captioned in torch and, with --engine, by `palme-caption`. Both see the same pixels: each photo is
squashed to the model's square and written as PNG. (--originals gives the engine the photos' own files.) BLEU-1 to 4,
METEOR, ROUGE-L and CIDEr are those of pycocoevalcap with its PTB tokenizer, which needs a Java runtime. The page shows
photos with captions and references, best and worst first.

MODEL is a model file or a checkpoint (.pt). Nothing is random: --limit takes the first photos.
"""

import argparse
import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":  # started by its path: the package `models` is in the project's root
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models import checkpoint, data
from models.data import DataError

METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
EQUAL, NEAR = 0.99, 0.005  # what torch and the engine in f32 have to agree on: captions, CIDEr
LISTED = ("f32", "bf16", "int8")  # those that a model file may list, so that precision=auto takes them
PRECISIONS = (*LISTED, "int4")


# ---- Scores -----------------------------------------------------------------------------------


@contextlib.contextmanager
def quiet():
    """Discards what Java and pycocoevalcap print on stderr."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def plain(caption):
    """One line: the tokenizer and METEOR talk to Java line by line, with bars between sentences."""
    return " ".join(caption.replace("|||", " ").split())


def tokenize(captions):
    """{id: [captions]} -> the same in lower case, without punctuation, words split as the Penn Treebank has them."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    # A line without a word would be lost by Java's tokenizer, and those behind it would move up.
    lines = {i: [{"caption": plain(c) or "."} for c in list_] for i, list_ in captions.items()}
    with quiet():
        tokens = PTBTokenizer().tokenize(lines)
    if {i: len(c) for i, c in tokens.items()} != {i: len(c) for i, c in captions.items()}:
        raise DataError("the tokenizer of pycocoevalcap returned another number of sentences than it was given")
    return tokens


def scorers():
    """Checks that scores can be computed, before an hour is spent on captions."""
    try:
        import pycocoevalcap  # noqa: F401
    except ImportError:
        raise DataError("the scores need the package pycocoevalcap: pip install -r models/requirements.txt") from None
    if not shutil.which("java"):
        raise DataError("the scores need a Java runtime (`java`), for pycocoevalcap's tokenizer and METEOR")


@functools.cache
def meteor_program():
    """One process for all rows of the table: it needs many seconds to start."""
    from pycocoevalcap.meteor.meteor import Meteor

    return Meteor()


def score(references, captions, tokens=None):
    """references {id: [captions]}, captions {id: caption} -> ({metric: score}, {id: CIDEr}).
    tokens: what tokenize(references) returned, where it is known."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    tokens = tokens or tokenize(references)
    found = tokenize({i: [c] for i, c in captions.items()})
    tokens = {i: tokens[i] for i in found}
    bleu, _ = Bleu(4).compute_score(tokens, found, verbose=0)
    try:
        with quiet():
            meteor, _ = meteor_program().compute_score(tokens, found)
    except (OSError, ValueError) as error:
        raise DataError(f"METEOR's Java program failed: {error}") from None
    rouge, _ = Rouge().compute_score(tokens, found)
    cider, each = Cider().compute_score(tokens, found)
    return (
        dict(zip(METRICS, [*map(float, bleu), meteor, float(rouge), float(cider)])),
        dict(zip(found, map(float, each))),
    )


# ---- Photos -----------------------------------------------------------------------------------


def read_photos(options, size):
    """(references, {id: uint8 [size, size, 3]}, what was left out as lines of text). Photos in the order of the tsv."""
    import numpy as np
    import torch

    from models.palme import squash

    references = data.read_captions(options.captions)
    skipped, squares = [], {}
    bar = data.Progress(min(len(references), options.limit or len(references)), "photos")
    for source in options.photos:
        for name, image in data.photos(source, skipped, references.keys() - squares.keys()):
            squares[name] = squash(torch.from_numpy(np.array(image)), size).numpy()
            bar.show(min(len(squares), bar.total))
            if len(squares) == options.limit:
                break
        if len(squares) == options.limit:
            break
    bar.show(len(squares), end=True)
    lost = [f"{name}: {why}" for name, why in skipped]
    if not options.limit:
        lost += [f"{name}: no photo" for name in references if name not in squares]
    if not squares:
        raise DataError(f"none of the {len(references)} photos of {options.captions} is in {', '.join(options.photos)}")
    return (
        {name: references[name] for name in references if name in squares},
        {name: squares[name] for name in references if name in squares},
        lost,
    )


# ---- Captions ---------------------------------------------------------------------------------


class Torch:
    """palme.py, many pictures at a time: {id: uint8 [S, S, 3]} -> {id: (caption, score)}"""

    def __init__(self, model, tokenizer, batch=16):
        import tokenizers

        self.model, self.batch, self.contexts, self.probabilities = model, batch, None, None
        self.tokenizer = tokenizers.Tokenizer.from_str(tokenizer)
        self.tokenizer.encode_special_tokens = True

    def encode(self, squares):
        """The encoder's output, [n, tokens, E], once for all searches."""
        import numpy as np
        import torch

        if self.contexts is None:
            device, found, names = next(self.model.parameters()).device, [], list(squares)
            seen = []
            bar = data.Progress(len(names), "pictures encoded")
            with torch.no_grad():
                for i in range(0, len(names), self.batch):
                    pixels = np.stack([squares[name] for name in names[i : i + self.batch]])
                    image = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
                    context, probabilities = self.model.look(image)
                    found.append(context)
                    seen.append(probabilities)
                    bar.show(min(i + self.batch, len(names)), end=i + self.batch >= len(names))
            self.contexts = torch.cat(found)
            self.probabilities = torch.cat(seen).cpu().numpy() if self.model.labels is not None else None
        return self.contexts

    def labels(self, picture):
        """Places of the labels chosen for a picture."""
        from models import labels

        described = self.model.config.labels
        return labels.chosen(self.probabilities[picture], described["thresholds"], described["most"])

    def labels_read(self, squares):
        """{id: [(label, probability)]} of all photos; empty for a model without labels"""
        described = self.model.config.labels
        if not described:
            return {}
        return {
            name: [(described["names"][i], float(self.probabilities[picture][i])) for i in self.labels(picture)]
            for picture, name in enumerate(squares)
        }

    def read(self, picture):
        """The ids that stand before the begin token."""
        described = self.model.config.labels
        names = [described["names"][i] for i in self.labels(picture)] if described else []
        return self.encode_text(described["joiner"].join(names))[:30] if names else []

    def encode_text(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def captions(self, squares, beams, max_length):
        from models import search

        contexts, config, out, names = self.encode(squares), self.model.config, {}, list(squares)
        prompt = [config.bos_token]
        if config.default_prompt:
            prompt += self.tokenizer.encode(config.default_prompt, add_special_tokens=False).ids
        holder = None
        if config.labels and config.labels["hold"]["weight"] + config.labels["hold"]["require"] > 0:
            holder = search.Holder(
                config.labels["words"], self.encode_text, config.labels["phrases"], **config.labels["hold"]
            )
        bar = data.Progress(len(names), f"captions in torch, {kind_of(beams)}")
        for i in range(0, len(names), 4 * self.batch):
            part = contexts[i : i + 4 * self.batch]
            own = range(i, i + len(part))
            held = [holder(self.probabilities[j]) for j in own] if holder else None
            prompts = [self.read(j) + prompt for j in own]
            found = search.grouped(self.model, part, prompts, beams, max_length, None, held, 4 * self.batch)
            for name, (ids, value) in zip(names[i:], found):
                out[name] = (" ".join(self.tokenizer.decode(ids).split()), value)
            bar.show(len(out), end=len(out) == len(names))
        return out


class Engine:
    """palme-caption on files in a temporary folder, named by number, so that names of photos cannot disturb it"""

    def __init__(self, program, model, folder, files, threads=0, level=None):
        """files: {id: path below folder}"""
        self.program, self.model, self.folder, self.files = program, model, folder, files
        self.threads, self.level = threads, level
        try:
            said = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise DataError(f"{program} cannot be run: {error}") from None
        self.has_precision = "--precision" in said
        self.judges = "--when-unsure" in said
        self.labels = {}  # {id: [(label, probability)]} of the photos that captions() was last asked for

    def captions(self, beams, max_length, precision="f32"):
        """({id: (caption, score)}, lines about pictures without a caption)"""
        command = [
            self.program,
            "--model",
            str(self.model),
            "--beams",
            str(beams),
            "--max-length",
            str(max_length),
            "--format",
            "json",
            "--threads",
            str(self.threads),
        ]
        if self.level:
            command += ["--cpu", self.level]
        if self.judges:  # what the model says is scored, not what is said instead
            command += ["--when-unsure", "caption"]
        if self.has_precision:
            command += ["--precision", precision]
        elif precision != "f32":
            raise DataError(f"{self.program} has no --precision, so it cannot compute in {precision}")
        out, names, complaints = {}, {path: name for name, path in self.files.items()}, []
        bar = data.Progress(len(names), f"captions by the engine, {precision}, {kind_of(beams)}")
        paths = list(names)
        for i in range(0, len(paths), 500):  # the length of a command line is limited
            with tempfile.TemporaryFile("w+") as errors:
                with subprocess.Popen(
                    command + paths[i : i + 500],
                    cwd=self.folder,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    encoding="utf-8",
                ) as process:
                    for line in process.stdout:
                        result = json.loads(line)
                        read = result.get("labels") or []
                        self.labels[names[result["source"]]] = [(one["name"], one["probability"]) for one in read]
                        out[names[result["source"]]] = (" ".join(result["caption"].split()), result["score"] or 0.0)
                        bar.show(len(out))
                errors.seek(0)
                said = errors.read().strip().splitlines()
            if process.returncode not in (0, 1):
                raise DataError(f"{' '.join(command)} failed with status {process.returncode}: {' '.join(said[-3:])}")
            complaints += said
        bar.show(len(out), end=True)
        lost = [f"{name}: no caption from the engine in {precision}" for name in names.values() if name not in out]
        for name in names.values():
            out.setdefault(name, ("", 0.0))
        return {name: out[name] for name in self.files}, lost + (complaints if lost else [])


def kind_of(beams):
    return "greedy" if beams == 1 else f"beam {beams}"


def write_squares(folder, squares):
    """Writes the pictures as torch sees them. {id: file name}"""
    from PIL import Image

    files = {}
    for i, (name, pixels) in enumerate(squares.items()):
        files[name] = f"{i:06}.png"
        Image.fromarray(pixels).save(Path(folder) / files[name], compress_level=1)
    return files


def write_originals(folder, sources, squares):
    """Copies the photos' own files. {id: file name}"""
    files = {}
    for source in sources:
        for name, called, read in data.photo_files(source):
            if name in squares and name not in files:
                files[name] = f"{len(files):06}{Path(called).suffix}"
                (Path(folder) / files[name]).write_bytes(read())
    return files


# ---- The table --------------------------------------------------------------------------------


def compare(row, other):
    """Adds to a row of the table how its captions differ from those of another row with the same beams."""
    mine, theirs = row["captions"], other["captions"]
    same = [name for name in mine if mine[name][0] == theirs[name][0]]
    row["against"] = other["label"]
    row["equal"] = len(same) / len(mine)
    row["different"] = [name for name in mine if mine[name][0] != theirs[name][0]]
    row["cider_difference"] = row["scores"]["CIDEr"] - other["scores"]["CIDEr"]
    row["score_difference"] = max((abs(mine[name][1] - theirs[name][1]) for name in same), default=0.0)


def truth_of(path, captions, references):
    """How often captions name what is not there (truth.py); path: id<TAB>things of each photo."""
    from models.eval import truth

    annotations = truth.read_annotations(path)
    found = truth.measure({n: text for n, (text, _) in captions.items()}, annotations, references, truth.read_words())
    if not found["photos"]:
        raise DataError(f"{path}: none of the photos is in it")
    return {**found, "each": {name: sorted(absent) for name, absent in found["each"].items() if absent}}


def table(rows):
    """Lines of text."""
    width = max(len(row["label"]) for row in rows)
    true = any("truth" in row for row in rows)
    lines = [
        " " * width
        + "".join(f"{m:>9}" for m in METRICS)
        + ("    false    right" if true else "")
        + "    equal  CIDEr against"
    ]
    for row in rows:
        line = f"{row['label']:<{width}}" + "".join(f"{row['scores'][m]:9.3f}" for m in METRICS)
        if "truth" in row:
            line += f"{row['truth']['false']:9.3f}{row['truth']['right']:9.3f}"
        if "equal" in row:
            line += f"  {100 * row['equal']:6.1f}%  {row['cider_difference']:+.4f} {row['against']}"
        lines.append(line)
    return lines


def verdict(rows):
    """(lines that compare the engine in f32 with torch, whether they agree well enough)"""
    lines, fine = [], True
    for row in rows:
        if row["engine"] != "engine" or row["precision"] != "f32" or "equal" not in row:
            continue
        good = row["equal"] >= EQUAL and abs(row["cider_difference"]) <= NEAR
        fine = fine and good
        lines.append(
            f"{row['label']}: {100 * row['equal']:.1f} % of the captions equal those of torch (wanted "
            f"{100 * EQUAL:.0f} %), CIDEr {abs(row['cider_difference']):.4f} apart (wanted {NEAR}), scores of "
            f"equal captions at most {row['score_difference']:.1e} apart: {'good' if good else 'NOT GOOD'}"
        )
    return lines, fine


def measure(options, squares, references, lost):
    """All rows of the table."""
    tokens = tokenize(references)
    rows = []

    def add(engine, precision, beams, captions, read):
        label = f"{engine} {precision} {kind_of(beams)}"
        scores, cider = score(references, {name: text for name, (text, _) in captions.items()}, tokens)
        rows.append(
            {
                "label": label,
                "engine": engine,
                "precision": precision,
                "beams": beams,
                "scores": scores,
                "cider": cider,
                "captions": captions,
                "labels": read,
            }
        )
        if options.labels:
            rows[-1]["truth"] = truth_of(options.labels, captions, references)
        base = next((r for r in rows[:-1] if r["beams"] == beams and r["precision"] == "f32"), None)
        if base:
            compare(rows[-1], base)

    if not options.no_torch:
        runner = Torch(options.opened[0], options.opened[1], options.batch)
        for beams in options.beams:
            captions = runner.captions(squares, beams, options.max_length)
            add("torch", "f32", beams, captions, runner.labels_read(squares))
    if options.engine:
        with tempfile.TemporaryDirectory(prefix="palme-evaluate-") as folder:
            files = (
                write_originals(folder, options.photos, squares)
                if options.originals
                else write_squares(folder, squares)
            )
            engine = Engine(options.engine, engine_file(options, folder), folder, files, options.threads)
            for precision in options.precision:
                for beams in options.beams:
                    captions, missing = engine.captions(beams, options.max_length, precision)
                    lost += missing
                    add("engine", precision, beams, captions, dict(engine.labels))
    return rows


def engine_file(options, folder):
    """The file for the engine; a checkpoint is written as a model file in f32 first."""
    if options.model.endswith(".safetensors"):
        return os.path.abspath(options.model)
    path = Path(folder) / "checkpoint.safetensors"
    checkpoint.write_model(path, *options.opened, how="f32")
    return path


# ---- The command ------------------------------------------------------------------------------


def list_of(allowed):
    def parse(text):
        values = [allowed(word) for word in text.split(",")]
        return list(dict.fromkeys(values))

    return parse


def beam_count(word):
    value = int(word)
    if not 1 <= value <= 16:
        raise argparse.ArgumentTypeError(f"{word} is not in 1..16")
    return value


def precision_name(word):
    if word not in PRECISIONS:
        raise argparse.ArgumentTypeError(f"{word} is not one of {', '.join(PRECISIONS)}")
    return word


def parse(arguments):
    import torch

    parser = argparse.ArgumentParser(
        prog="evaluate.py", description=__doc__.split(" - ", 1)[1], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="model file, or a checkpoint of train.py (.pt)")
    parser.add_argument("--photos", nargs="+", required=True, metavar="PLACE", help="folders and tar files of photos")
    parser.add_argument(
        "--captions", required=True, metavar="TSV", help="tsv with lines of id<TAB>caption, one or several for a photo"
    )
    parser.add_argument(
        "--labels",
        metavar="TSV",
        help="lines id<TAB>thing,thing with all of COCO's things in a photo; tells the share of captions that name "
        "something absent (`false`), and of those that name something present and nothing absent (`right`)",
    )
    parser.add_argument(
        "--beams",
        type=list_of(beam_count),
        default=[1, 3],
        metavar="N,...",
        help="beam widths, 1 is greedy; default 1,3",
    )
    parser.add_argument(
        "--max-length", type=int, default=32, metavar="N", help="limit of tokens per caption; default 32"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="use only the first N photos")
    parser.add_argument("--engine", metavar="PATH", help="the command palme-caption; captions with the engine, too")
    parser.add_argument(
        "--precision",
        type=list_of(precision_name),
        default=["f32"],
        metavar="P,...",
        help="precisions of the engine: f32, bf16, int8, int4; default f32",
    )
    parser.add_argument(
        "--originals",
        action="store_true",
        help="the engine reads the photos' own files, so that decoding and resize count too",
    )
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="compute threads; default: all processors")
    parser.add_argument("--no-torch", action="store_true", help="only use the engine")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="pictures per batch in torch; default 16")
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="device of torch; default cuda if available",
    )
    parser.add_argument("--html", metavar="PAGE", help="write a page with photos, captions and references")
    parser.add_argument(
        "--html-photos", type=int, default=40, metavar="N", help="number of best and of worst photos on it; default 40"
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures and captions; - is the standard output")
    parser.add_argument(
        "--check",
        action="store_true",
        help="exit with status 1 if the engine in f32 and torch disagree by more than the limits",
    )
    options = parser.parse_args(arguments)
    if options.no_torch and not options.engine:
        parser.error("--no-torch leaves nothing to do without --engine")
    if options.check and (options.no_torch or not options.engine or "f32" not in options.precision):
        parser.error("--check compares torch with --engine in f32")
    for name in ("max_length", "limit", "batch", "html_photos"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is less than 1")
    return options


def run(options):
    import torch

    scorers()
    torch.manual_seed(0)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.engine:
        options.engine = shutil.which(options.engine) or options.engine
        options.engine = os.path.abspath(options.engine)
    options.opened = checkpoint.open_model(options.model, options.device)
    references, squares, lost = read_photos(options, options.opened[0].config.image_size)
    rows = measure(options, squares, references, lost)
    lines, fine = verdict(rows)
    print(f"{options.model}: {len(squares)} photos of {options.captions}")
    print("\n".join(table(rows) + lines))
    if lost:
        print(f"{len(lost)} left out or without a caption: " + "; ".join(lost[:5]) + ("; ..." if len(lost) > 5 else ""))
    result = {
        "model": options.model,
        "captions": options.captions,
        "photos": len(squares),
        "left_out": lost,
        "rows": [
            {
                **{k: v for k, v in row.items() if k not in ("captions", "cider", "labels")},
                "captions": {
                    name: {"caption": text, "score": value, "CIDEr": row["cider"][name]}
                    for name, (text, value) in row["captions"].items()
                },
            }
            for row in rows
        ],
    }
    if options.json:
        text = json.dumps(result, indent=1, ensure_ascii=False)
        print(text) if options.json == "-" else Path(options.json).write_text(text + "\n", encoding="utf-8")
    if options.html:
        from models.eval import page

        Path(options.html).write_text(
            page.make(options.model, rows, METRICS, references, squares, lost, options.html_photos), encoding="utf-8"
        )
    return 0 if fine or not options.check else 1


def main(arguments=None):
    options = parse(arguments)
    try:
        return run(options)
    except DataError as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"evaluate.py: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
