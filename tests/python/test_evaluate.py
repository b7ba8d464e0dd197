# SPDX-License-Identifier: LGPL-2.1-or-later
"""test_evaluate.py - captions in bulk against palme.py, photos and tsv files of all kinds, the table and the page.

PALME_CAPTION names the command palme-caption; without it, and without pycocoevalcap or Java, what needs them is
skipped.
"""

import io
import json
import os
import shutil
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

import make_fixtures
from models import ROOT, data, modelfile, search
from models.eval import evaluate, page

GOLDEN = ROOT / "tests" / "data" / "golden"

torch.set_num_threads(1)
image = pytest.importorskip("PIL.Image", reason="pillow is not installed")

CAPTION = os.environ.get("PALME_CAPTION")
needs_engine = pytest.mark.skipif(not CAPTION, reason="PALME_CAPTION does not name palme-caption")
try:
    import pycocoevalcap  # noqa: F401

    WHY = "" if shutil.which("java") else "there is no Java runtime here"
except ImportError:
    WHY = "pycocoevalcap is not installed"
needs_scores = pytest.mark.skipif(bool(WHY), reason=WHY)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


# ---- Sentences in bulk --------------------------------------------------------------------------

SMALL = ["prefix", "prefix_abs", "alibi3", "alibi6", "one_head", "abs_pos", "qk_norm", "stored_int8"]


def contexts_of(model, count, seed=3):
    size = model.config.image_size
    return model.encode(torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("prompt", [[1], [1, 30, 5]])
def test_search_is_that_of_palme(name, prompt):
    model = modelfile.load(GOLDEN / name / "model.safetensors")
    eos, contexts = model.config.eos_token, contexts_of(model, 5)
    single = [model.greedy(contexts[i : i + 1], prompt, 12) for i in range(5)]
    bulk = search.greedy(model, contexts, prompt, 12)
    for (ids, rows), (found, score) in zip(single, bulk):
        assert found == (ids[:-1] if ids[-1] == eos else ids)
        chosen = rows.double().log_softmax(-1)[range(len(ids)), ids]
        assert abs(score - chosen.mean()) < 1e-5
    for beams in (2, 3):
        wanted = [model.beam(contexts[i : i + 1], prompt, beams, 0.7, 12) for i in range(5)]
        assert [ids for ids, _ in search.beam(model, contexts, prompt, beams, 12, 0.7)] == wanted


def test_search_ends_with_the_context():
    model = modelfile.load(GOLDEN / "prefix" / "model.safetensors")
    contexts, c = contexts_of(model, 2), model.config
    most = c.max_seq_len - c.patches
    assert search.room(model, contexts, [1], 1000) == most  # the last token is never fed
    c.eos_token = -1
    assert [len(ids) for ids, _ in search.greedy(model, contexts, [1], 1000)] == [most, most]
    with pytest.raises(ValueError, match="leaves no room"):
        search.greedy(model, contexts, [1] * (most + 1), 5)


def naive_greedy(model, context, steps):
    """One picture, by palme.py's logits, with the rules on repetition and length."""
    text = []
    for _ in range(steps):
        row = model.last_logits(context, [1] + text, model.config.xpos_center)
        k = model.config.no_repeat_ngram
        for token in range(len(row)):
            grams = [tuple((text + [token])[i : i + k]) for i in range(len(text) + 2 - k)]
            if k and len(set(grams)) < len(grams):
                row[token] = -np.inf
        if len(text) + 1 < model.config.min_length:
            row[model.config.eos_token] = -np.inf
        text.append(int(row.argmax()))
        if text[-1] == model.config.eos_token:
            return text[:-1]
    return text


@pytest.mark.parametrize("ngram, least", [(1, 1), (2, 1), (3, 9), (0, 6)])
@pytest.mark.parametrize("name", ["alibi3", "stored_f16", "qk_norm"])
def test_repetition_and_length(name, ngram, least):
    model = modelfile.load(GOLDEN / name / "model.safetensors")
    model.config.no_repeat_ngram, model.config.min_length = ngram, least
    contexts = contexts_of(model, 3)
    found = [ids for ids, _ in search.greedy(model, contexts, [1], 12)]
    assert found == [naive_greedy(model, contexts[i : i + 1], 12) for i in range(3)]
    for ids in found + [ids for ids, _ in search.beam(model, contexts, [1], 3, 12)]:
        grams = [tuple(ids[i : i + ngram]) for i in range(len(ids) + 1 - ngram)] if ngram else []
        assert len(set(grams)) == len(grams) and len(ids) + 1 >= least


def test_ties_go_to_the_lower_candidate():
    scores = torch.tensor([[1.0, 3.0, 3.0, 3.0, 0.0], [5.0, 1.0, 2.0, 3.0, 4.0]], dtype=torch.double)
    values, indices = search.best_candidates(scores, 2)
    assert (values, indices) == ([[3.0, 3.0], [5.0, 4.0]], [[1, 2], [0, 4]])


# ---- Photos and captions ------------------------------------------------------------------------


def jpeg(salt, width=40, height=30):
    out = io.BytesIO()
    image.fromarray(make_fixtures.picture(salt, height, width)).save(out, "JPEG", quality=95)
    return out.getvalue()


def places(tmp_path, files):
    """The same files as a folder and as a tar file."""
    folder = tmp_path / "photos"
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return folder, tmp_path / "photos.tar"


def test_photos(tmp_path):
    files = {
        "a.jpg": jpeg("a"),
        "deep/b.jpeg": jpeg("b", 20, 50),
        "broken.png": b"no picture",
        "cut.jpg": jpeg("c")[:300],
        "notes.txt": b"text",
        ".hidden.jpg": jpeg("d"),
        "empty.webp": b"",
    }
    for place in places(tmp_path, files):
        skipped = []
        found = {name: photo.size for name, photo in data.photos(place, skipped)}
        assert found == {"a": (40, 30), "deep/b": (20, 50)}
        assert sorted(Path(name.split(":")[-1]).name for name, _ in skipped) == ["broken.png", "cut.jpg", "empty.webp"]
        assert all(why for _, why in skipped)
        assert [name for name, _ in data.photos(place, [], {"a"})] == ["a"]
    with pytest.raises(data.DataError, match="no such file or folder"):
        list(data.photos(tmp_path / "nothing"))
    (tmp_path / "cut.tar").write_bytes((tmp_path / "photos.tar").read_bytes()[:700])
    with pytest.raises(data.DataError, match=r"cut\.tar"):
        list(data.photos(tmp_path / "cut.tar", []))


@pytest.mark.parametrize(
    "content, line",
    [(b"a\tone\nb two\n", 2), (b"a\tone\n\tx\n", 2), (b"a\tone\n\nb\t  \n", 3), (b"a\tone\nb\t\xff\n", 2)],
)
def test_bad_lines_are_named(tmp_path, content, line):
    (tmp_path / "x.tsv").write_bytes(content)
    with pytest.raises(data.DataError, match=f"x.tsv, line {line}:"):
        data.read_captions(tmp_path / "x.tsv")


def test_captions(tmp_path):
    (tmp_path / "x.tsv").write_bytes("\ufeffa\tone  man\r\nb\ttwo\n\na\tun chien\u00e9\n".encode())
    assert data.read_captions(tmp_path / "x.tsv") == {"a": ["one man", "un chien\u00e9"], "b": ["two"]}
    (tmp_path / "empty.tsv").write_text("\n")
    with pytest.raises(data.DataError, match="no caption"):
        data.read_captions(tmp_path / "empty.tsv")
    with pytest.raises(data.DataError, match=r"nothing\.tsv: No such file"):
        data.read_captions(tmp_path / "nothing.tsv")


# ---- Scores, table, page ------------------------------------------------------------------------


@needs_scores
def test_scores():
    references = {
        "1": ["A dog runs through the grass .", "a brown dog running outside"],
        "2": ["Two men, playing football", "two men play soccer on a field ."],
        "3": ["a cat sleeps on the red sofa"],
    }
    perfect, each = evaluate.score(references, {i: texts[0].upper() + "!" for i, texts in references.items()})
    assert list(perfect) == list(evaluate.METRICS)
    assert all(abs(perfect[f"BLEU-{n}"] - 1) < 1e-6 for n in range(1, 5)) and abs(perfect["ROUGE-L"] - 1) < 1e-6
    assert perfect["METEOR"] > 0.99 and abs(sum(each.values()) / 3 - perfect["CIDEr"]) < 1e-9
    # Empty captions and those with marks of their own shift nobody else's.
    odd, each = evaluate.score(
        references, {"1": "", "2": "two ||| men\u2028play\nsoccer", "3": "a cat sleeps on the red sofa"}
    )
    assert each["1"] == 0 and each["2"] > 0 and abs(each["3"] - 10) < 1e-6
    assert odd["BLEU-1"] < 1


def test_scores_say_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocoevalcap", None)
    with pytest.raises(data.DataError, match="pycocoevalcap"):
        evaluate.scorers()
    monkeypatch.setitem(sys.modules, "pycocoevalcap", os)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(data.DataError, match="Java"):
        evaluate.scorers()


def row_of(engine, captions, cider, precision="f32"):
    scores = dict.fromkeys(evaluate.METRICS, 0.5)
    scores["CIDEr"] = cider
    return {
        "label": f"{engine} {precision} beam 3",
        "engine": engine,
        "precision": precision,
        "beams": 3,
        "scores": scores,
        "cider": {name: float(i) for i, name in enumerate(captions)},
        "captions": {name: (text, -1.0) for name, text in captions.items()},
    }


@pytest.mark.parametrize(
    "changed, cider, fine", [(0, 0.6, True), (1, 0.6049, True), (2, 0.6, False), (0, 0.6051, False), (0, 0.5949, False)]
)
def test_verdict(changed, cider, fine):
    texts = {str(i): "a dog" for i in range(100)}
    rows = [
        row_of("torch", texts, 0.6),
        row_of("engine", {**texts, **{str(i): "a cat" for i in range(changed)}}, cider),
    ]
    evaluate.compare(rows[1], rows[0])
    assert rows[1]["equal"] == 1 - changed / 100 and len(rows[1]["different"]) == changed
    lines, found = evaluate.verdict(rows)
    assert found is fine and ("NOT GOOD" in lines[0]) is not fine
    assert (
        len({len(line.split("  ")[0]) for line in evaluate.table(rows)})
        and "torch f32 beam 3" in evaluate.table(rows)[2]
    )


def test_page_is_escaped_and_whole():
    texts = {f"<{i}>": f"<script>alert({i})</script> & 'quotes\"" for i in range(5)}
    rows = [row_of("torch", texts, 0.6), row_of("engine", {**texts, "<0>": "a cat"}, 0.61)]
    evaluate.compare(rows[1], rows[0])
    squares = {name: np.full((8, 8, 3), 90, np.uint8) for name in texts}
    html = page.make(
        "<model>",
        rows,
        evaluate.METRICS,
        {name: [text, "b<r>"] for name, text in texts.items()},
        squares,
        ["<lost>"],
        2,
    )
    assert "<script" not in html and "<model>" not in html and "<lost>" not in html and "b<r>" not in html
    assert "http" not in html and html.count("<article") == 4 and html.count("data:image/jpeg;base64,") == 4
    order = [html.index(f"&lt;{i}&gt;</div>") for i in (4, 3, 0, 1)]  # best first, then worst first
    assert order == sorted(order) and "a cat" in html
    pieces = __import__("html.parser").parser.HTMLParser()
    pieces.feed(html)


def test_page_shows_false_captions_first():
    texts = {"a": "a cat", "b": "a dog", "c": "a horse"}
    row = row_of("torch", texts, 0.6)
    row["labels"] = {"b": [("<dog>", 0.875), ("ball", 0.5)]}
    row["truth"] = {"each": {"b": ["dog", "ball"]}}
    squares = {name: np.full((8, 8, 3), 90, np.uint8) for name in texts}
    html = page.make("m", [row], evaluate.METRICS, {name: [text] for name, text in texts.items()}, squares, [], 1)
    assert html.index('<article class="false"') < html.index('<article class="best"')
    false = html[html.index('<article class="false"') : html.index('<article class="best"')]
    assert "a dog" in false and "no dog, ball" in false and "&lt;dog&gt; 0.88, ball 0.50" in false
    assert html.count("<article") == 3 and html.count('class="labels"') == html.count(">b</div>")


# ---- The command --------------------------------------------------------------------------------


def run(capsys, *arguments):
    """(exit status, stdout, stderr); in this process, because importing torch is slower than everything else here"""
    try:
        status = evaluate.main([str(a) for a in arguments])
    except SystemExit as stop:  # argparse
        status = stop.code
    return status, *capsys.readouterr()


def small_set(tmp_path, count=6):
    files = {f"p{i}.png": None for i in range(count)}
    for i, name in enumerate(files):
        out = io.BytesIO()
        image.fromarray(make_fixtures.picture(name, 30 + i, 50)).save(out, "PNG")
        files[name] = out.getvalue()
    files["broken.png"] = b"\x89PNG no more"
    _, tar = places(tmp_path, files)
    tsv = tmp_path / "c.tsv"
    tsv.write_text(
        "".join(f"p{i}\ta dog runs\np{i}\ttwo men walk {i}\n" for i in range(count)) + "broken\tx\nabsent\ty\n"
    )
    return tar, tsv


@needs_scores
@pytest.mark.parametrize("name", ["prefix"])
def test_command(tmp_path, capsys, name):
    tar, tsv = small_set(tmp_path)
    engine = ["--engine", CAPTION, "--check"] if CAPTION else []
    status, said, errors = run(
        capsys,
        GOLDEN / name / "model.safetensors",
        "--photos",
        tar,
        "--captions",
        tsv,
        "--json",
        tmp_path / "out.json",
        "--html",
        tmp_path / "page.html",
        "--threads",
        1,
        *engine,
    )
    assert status == 0, errors + said
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["photos"] == 6
    assert [line.split(":")[-2 if "broken" in line else 0].split("/")[-1] for line in result["left_out"]] == [
        "broken.png",
        "broken",
        "absent",
    ]
    assert [row["label"] for row in result["rows"]] == [
        f"{e} f32 {s}" for e in (("torch", "engine") if CAPTION else ("torch",)) for s in ("greedy", "beam 3")
    ]
    assert set(result["rows"][0]["captions"]) == {f"p{i}" for i in range(6)}
    assert "<article" in (tmp_path / "page.html").read_text()
    assert "absent: no photo" in said and "broken.png" in said


@needs_engine
@needs_scores
def test_command_sees_another_engine(tmp_path, capsys):
    """An engine that says something else is found out."""
    tar, tsv = small_set(tmp_path)
    liar = tmp_path / "liar"
    liar.write_text(f'#!/bin/sh\n\'{CAPTION}\' "$@" | sed \'s/"caption": *"/&x/\'\n')
    liar.chmod(0o755)
    status, said, errors = run(
        capsys,
        GOLDEN / "prefix" / "model.safetensors",
        "--photos",
        tar,
        "--captions",
        tsv,
        "--engine",
        liar,
        "--check",
        "--threads",
        1,
        "--beams",
        3,
    )
    assert status == 1 and "NOT GOOD" in said, errors + said


@needs_scores
def test_command_says_what_is_wrong(tmp_path, capsys):
    tar, tsv = small_set(tmp_path, 1)
    model = GOLDEN / "prefix" / "model.safetensors"
    (tmp_path / "bad.tsv").write_text("p0\tone\nno tab\n")
    (tmp_path / "other.tsv").write_text("q\tone\n")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    for arguments, words in [
        ((tmp_path / "nothing.safetensors", "--captions", tsv), "nothing.safetensors: No such file"),
        ((tmp_path / "junk.safetensors", "--captions", tsv), "safetensors layout"),
        ((model, "--captions", tmp_path / "bad.tsv"), "bad.tsv, line 2"),
        ((model, "--captions", tmp_path / "other.tsv"), "none of the 1 photos"),
        ((model, "--captions", tsv, "--engine", tmp_path / "no-engine"), "cannot be run"),
        ((model, "--captions", tsv, "--precision", "f16"), "not one of f32"),
    ]:
        status, _, errors = run(capsys, *arguments, "--photos", tar, "--threads", 1)
        assert status == 2 and words in errors, errors


def test_help(capsys):
    status, said, _ = run(capsys, "--help")
    assert status == 0 and "--precision" in said and "PALME-CAPTION" in said
