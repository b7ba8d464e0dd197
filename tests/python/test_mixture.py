# SPDX-License-Identifier: LGPL-2.1-or-later
"""test_mixture.py - trainings of a few seconds that read labels: cross-entropy on a mixture, then self-critical."""

import json
import math

import numpy as np
import pytest
import torch

pytest.importorskip("tokenizers")
pytest.importorskip("PIL")

from models import data, labels, modelfile
from models.palme import Config, Palme, Stem
from models.train import mixture, selfcritical, sentences, shrink, start, tokenizer, train

torch.set_num_threads(1)

THINGS = ["dog", "cat", "car", "pizza"]
CONFIG = dict(
    image_size=64,
    patch_size=32,
    encoder_dim=64,
    encoder_depth=1,
    encoder_heads=1,
    max_seq_len=48,
    decoder_dim=64,
    decoder_depth=1,
    decoder_heads=1,
    alibi_num_heads=1,
    qk_norm=False,
    stem="efficientnet_lite0",
    bos_token=tokenizer.BOS,
    eos_token=tokenizer.EOS,
)


def caption(i):
    return f"a {THINGS[i % 4]} on a {('table', 'street')[i // 4 % 2]}"


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with the features of 16 photos, their labels and captions, text, and an untrained model. The trunk is
    never run: only its shapes matter."""
    generator = np.random.default_rng(0)
    monkeypatch.setattr(mixture, "load_trunk", Stem)
    names, cache, words = [f"p{i:02}" for i in range(16)], tmp_path / "cache", labels.Words()
    cache.mkdir()
    index = {"ids": names, "trunk": "efficientnet_lite0", "size": 64, "blocks": 16, "tokens": 4, "channels": 320}
    (cache / "index.json").write_text(json.dumps(index))
    (cache / "done").write_text("16")
    generator.normal(size=(1, 16, 4, 320)).astype(np.float16).tofile(cache / "mid.f16")
    p = np.zeros((1, 16, len(words.names)), np.float16)
    for i in range(16):
        p[0, i, words.at[THINGS[i % 4]]] = 0.9
    np.save(tmp_path / "labels.npy", p)
    (tmp_path / "captions.tsv").write_text("".join(f"{n}\t{caption(i)}.\n" for i, n in enumerate(names)))
    (tmp_path / "things.tsv").write_text("".join(f"{n}\t{THINGS[i % 4]}\n" for i, n in enumerate(names)))
    (tmp_path / "text.txt").write_text("a dog in a car\na cat and a pizza\ntoo short\n")
    text = tokenizer.train([caption(i) for i in range(8)] * 2 + ["a dog in a car"], 300)
    config = Config(**CONFIG, num_tokens=len(json.loads(text)["model"]["vocab"]))
    model = Palme(config)
    train.initialise(model, torch.Generator().manual_seed(1))
    arrays = {n: x.detach().numpy() for n, x in model.state_dict().items()}
    modelfile.write(tmp_path / "init.safetensors", arrays, modelfile.config_dict(config), text, "a card", "f32")
    return tmp_path


def arguments(work, run, *more, init="init.safetensors"):
    photos = [str(work / "cache"), str(work / "labels.npy"), str(work / "captions.tsv"), "8"]
    options = ["--init", str(work / init), "--photos", *photos, "--run", str(work / run), "--threads", "1"]
    return [*options, "--warmup", "2", "--ema", "0.5", "--dropout", "0.1", *more]


def cross_entropy(work, run, *more):
    mixture.main(arguments(work, run, "--text", str(work / "text.txt"), "2", "--lr", "5e-3", *more))


def self_critical(work, run, *more, init):
    things = ["--things", str(work / "things.tsv")]
    selfcritical.main(arguments(work, run, *things, "--lr", "2e-3", "--samples", "3", *more, init=init))


def log_of(work, run):
    """[(step, the numbers of the note by name)]"""
    lines = [line.split("\t") for line in (work / run / "log.tsv").read_text().splitlines()]
    notes = [note.split() for _, note, _ in lines]
    return [(int(line[0]), dict(zip(n[::2], map(float, n[1::2])))) for line, n in zip(lines, notes)]


def test_both_trainings_learn(work):
    cross_entropy(work, "xe", "--steps", "60", "--epoch", "20")
    log = log_of(work, "xe")
    assert [step for step, _ in log] == [20, 40, 60]
    assert log[-1][1]["loss"] < 0.6 * log[0][1]["loss"]
    start = "xe/epoch-00060.safetensors"
    self_critical(work, "sc", "--steps", "40", "--epoch", "20", "--lr", "3e-4", "--seen", "1", init=start)
    first, last = (note for _, note in log_of(work, "sc"))
    assert last["reward"] > first["reward"]
    before, after = (modelfile.read(work / f)[0] for f in (start, "sc/epoch-00040.safetensors"))
    moved = {n for n in before if not np.array_equal(before[n], after[n])}
    assert moved and not any(".stem." in name for name in moved)  # the trunk stays


class Stopped(Exception):
    pass


@pytest.mark.parametrize("kind", [cross_entropy, self_critical])
def test_a_stopped_training_gives_the_same_weights(work, monkeypatch, kind):
    more = {"init": "init.safetensors"} if kind is self_critical else {}
    options = ["--steps", "7", "--epoch", "4", "--save-minutes", "0"]
    kind(work, "whole", *options, **more)
    with monkeypatch.context() as patch:
        show = data.Progress.show

        def stop(self, done, *rest):
            if done == 6:  # the fifth step is the last one that was saved
                raise Stopped
            show(self, done, *rest)

        patch.setattr(data.Progress, "show", stop)
        with pytest.raises(Stopped):
            kind(work, "parts", *options, **more)
    kind(work, "parts", *options, **more)
    whole, parts = (modelfile.read(work / run / "epoch-00007.safetensors")[0] for run in ("whole", "parts"))
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


def test_a_training_goes_on_from_a_model_with_labels(work):
    arrays, metadata = modelfile.read(work / "init.safetensors")
    config = json.loads(metadata["config"])
    config["labels"] = labels.describe(labels.Words(), [], [5], [0.3], (0, 0.05, 0, 0.6))
    arrays |= {"labels.things.weight": np.zeros((1, 2560), "f4"), "labels.things.bias": np.zeros(1, "f4")}
    modelfile.write(work / "packed", arrays, config, metadata["tokenizer"], "a card", "f32")
    mixture.main(arguments(work, "from_packed", "--steps", "2", init="packed"))
    mixture.main(arguments(work, "from_plain", "--steps", "2"))
    one, two = (modelfile.read(work / run / "epoch-00002.safetensors")[0] for run in ("from_packed", "from_plain"))
    assert set(one) == set(two) and all(np.array_equal(one[n], two[n]) for n in one if ".stem." not in n)


def test_another_seed_draws_other_photos(work):
    for seed in ("1", "2"):
        cross_entropy(work, seed, "--seed", seed, "--steps", "1")
    one, two = (modelfile.read(work / seed / "epoch-00001.safetensors")[0] for seed in ("1", "2"))
    assert any(not np.array_equal(one[name], two[name]) for name in one)


def test_photos_held_out_are_not_trained_on(work, monkeypatch, capsys):
    monkeypatch.setattr(labels, "held_out", lambda name: name < "p10")
    cross_entropy(work, "run", "--hold-out", str(work / "cache"), "--steps", "1")
    assert "cache: 6 photos" in capsys.readouterr().err


def test_the_rate_rises_then_falls_to_its_floor():
    o = mixture.options_of(["--init", "a", "--photos", "a", "b", "c", "1", "--run", "r", "--steps", "100"])
    rates = [mixture.rate_of(o, step) for step in range(101)]
    assert rates[0] == pytest.approx(8e-4 / 40) and max(rates) == pytest.approx(8e-4) == rates[40]
    assert rates[70] == pytest.approx(8e-4 * (0.05 + 0.95 * (1 + math.cos(math.pi / 2)) / 2))
    assert rates[100] == pytest.approx(8e-4 * 0.05)


def spoil_probabilities(work):
    np.save(work / "labels.npy", np.zeros((1, 15, 3), np.float16))


@pytest.mark.parametrize(
    "spoil, more, words",
    [
        (lambda w: (w / "labels.npy").unlink(), [], "No such file"),
        (lambda w: (w / "labels.npy").write_bytes(b"no array"), [], r"labels\.npy: no probabilities of heads\.py"),
        (spoil_probabilities, [], r"labels\.npy: of 15 photos and 3 labels, not of 16 photos"),
        (lambda w: (w / "captions.tsv").write_text("elsewhere\ta dog\n"), [], "no photo of .* is there"),
        (lambda w: (w / "init.safetensors").write_bytes(b"no model"), [], "no model file"),
        (lambda w: None, ["--hold-out", "elsewhere"], "--hold-out elsewhere: no set of --photos has this cache"),
        (lambda w: None, ["--photos", "a", "b", "c", "few"], "COUNT: wanted a whole number above 0, found 'few'"),
    ],
)
@pytest.mark.parametrize("kind", [mixture, selfcritical])
def test_what_is_wrong_is_said(work, kind, spoil, more, words):
    spoil(work)
    with pytest.raises(SystemExit, match=words):
        kind.main(arguments(work, "run", "--steps", "1", *more))


def test_text_without_sentences_is_said(work):
    (work / "text.txt").write_text("too short\n")
    with pytest.raises(SystemExit, match=r"text\.txt: no sentences"):
        cross_entropy(work, "run", "--steps", "1")


def test_a_run_of_another_model_is_said(work):
    cross_entropy(work, "run", "--steps", "1")
    arrays, metadata = modelfile.read(work / "init.safetensors")
    arrays = {
        n: x[:-1] if x.shape[:1] == (Config.read(metadata["config"]).num_tokens,) else x for n, x in arrays.items()
    }
    config = json.loads(metadata["config"])
    config["num_tokens"] -= 1
    modelfile.write(work / "other.safetensors", arrays, config, metadata["tokenizer"], "a card", "f32")
    with pytest.raises(SystemExit, match="another model"):
        mixture.main(arguments(work, "run", "--steps", "2", init="other.safetensors"))


def write_head(path, words, places):
    described = {"names": words.names, "classes": [-1, *places], "things": []}
    modelfile.write_arrays(path, {"x": np.zeros(1, np.float32)}, {"labels": json.dumps(described)})


def test_sentences_are_learned_without_photos(work, monkeypatch):
    """The picture then says nothing, and the encoder stays as it was."""
    monkeypatch.setattr(start, "load_trunk", Stem)
    monkeypatch.setitem(train.SIZES, "small", {**train.SIZES["small"], "image_size": 64})
    text = str(work / "text.txt")
    start.main(["--size", "small", "--text", text, "--tokens", "270", "--blind", "--out", str(work / "start")])
    words, head = labels.Words(), str(work / "head")
    write_head(head, words, [words.at["dog"], words.at["cat"]])
    options = ["--init", str(work / "start"), "--run", str(work / "o"), "--warmup", "2", "--lr", "5e-3", "--ema", "0.5"]
    mixture.main([*options, "--head", head, "--text", text, "4", "--steps", "30", "--epoch", "10"])
    log = log_of(work, "o")
    assert log[-1][1]["loss"] < 0.6 * log[0][1]["loss"]
    before, after = modelfile.read(work / "start")[0], modelfile.read(work / "o/epoch-00030.safetensors")[0]
    moved = {n for n in before if ".stem." not in n and not np.array_equal(before[n], after[n])}
    assert moved and all(name.startswith("decoder.") for name in moved)
    model = modelfile.load(work / "o/epoch-00030.safetensors")
    assert not model.encode(torch.rand(1, 3, 64, 64)).any()
    with pytest.raises(SystemExit, match="--head must say which labels there are"):
        mixture.main([*options, "--text", text, "4"])
    with pytest.raises(SystemExit, match="there is nothing to learn from"):
        mixture.main([*options, "--head", head])


def test_only_labels_of_the_head_are_read(work):
    words = labels.Words()
    write_head(work / "head", words, [words.at["dog"], words.at["cat"]])
    known = mixture.words_of_head(work / "head")
    assert known.named("a man with a dog and a cat") == [words.at["dog"], words.at["cat"]]
    with pytest.raises(data.DataError, match="no head of heads"):
        mixture.words_of_head(work / "init.safetensors")


def test_sentences_name_only_things_that_labels_tell(work, capsys):
    words = labels.Words()
    write_head(work / "head", words, [words.at["dog"], words.at["hot dog"], words.at["plate"]])
    lines = ["a dog on a plate", "A man with a dog.", "a hot dog on a plate", "the sky is blue today", "dog"]
    (work / "text.txt").write_text("\n".join(lines))
    options = ["--text", str(work / "text.txt"), "--head", str(work / "head"), "--out", str(work / "out.txt")]
    sentences.main(options)
    assert (work / "out.txt").read_text() == "a dog on a plate\na hot dog on a plate\n"
    assert "2 of 5 sentences" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no sentence whose things the head can tell"):
        sentences.main([*options, "--words", "9", "16"])


def test_a_single_sample_has_nothing_to_be_compared_with(work, capsys):
    with pytest.raises(SystemExit):
        self_critical(work, "run", "--samples", "1", init="init.safetensors")
    assert "there must be at least 2" in capsys.readouterr().err


# ---- The start of a smaller model ---------------------------------------------------------------


def write_model(path, texts, tokens, **other):
    text = tokenizer.train(texts, tokens)
    config = Config(**{**CONFIG, "num_tokens": len(json.loads(text)["model"]["vocab"]), **other})
    model = Palme(config)
    train.initialise(model, torch.Generator().manual_seed(config.decoder_depth))
    arrays = {n: x.detach().numpy() for n, x in model.state_dict().items()}
    modelfile.write(path, arrays, modelfile.config_dict(config), text, "a card", "f32")
    return arrays, text


def shrink_to(folder, tokens="282"):
    more = ["--tokens", tokens, "--text", str(folder / "text.tsv"), "--out", str(folder / "start")]
    shrink.main(["--encoder", str(folder / "small"), "--decoder", str(folder / "large"), *more])


def test_a_smaller_model_begins_with_the_larger_ones_first_layers(tmp_path):
    small, _ = write_model(tmp_path / "small", ["a dog"], 262)
    large, old = write_model(tmp_path / "large", ["a dog on a street"] * 3, 275, decoder_depth=2, encoder_depth=2)
    (tmp_path / "text.tsv").write_text("x\tA zebra on a street.\n" * 3)
    shrink_to(tmp_path)
    arrays, metadata = modelfile.read(tmp_path / "start")
    assert set(arrays) == set(small)  # one layer of each stack
    for name, x in arrays.items():
        if name.startswith("encoder"):
            assert np.array_equal(x, small[name]), name
        elif "layers" in name or "final_norm" in name:
            assert np.array_equal(x, large[name]), name
    before, after = (json.loads(text)["model"]["vocab"] for text in (old, metadata["tokenizer"]))
    assert "\u0120street" in before and "\u0120zebra" in after.keys() - before.keys()
    table, wanted = arrays[shrink.EMBEDDING], large[shrink.EMBEDDING]
    assert np.array_equal(table[after["\u0120street"]], wanted[before["\u0120street"]])
    pieces = [before[c] for c in ("\u0120", "z", "e", "b", "r", "a")]
    np.testing.assert_allclose(table[after["\u0120zebra"]], wanted[pieces].mean(0), rtol=1e-5, atol=1e-8)
    assert arrays[shrink.BIAS][after["\u0120zebra"]] == large[shrink.BIAS][pieces[0]] - 1


@pytest.mark.parametrize(
    "other, words",
    [
        (dict(decoder_dim=128), "the decoders differ in decoder_dim: 64 and 128"),
        (dict(decoder_depth=0), "a decoder of 0 layers has no 1"),
    ],
)
def test_a_decoder_that_does_not_fit_is_said(tmp_path, other, words):
    write_model(tmp_path / "small", ["a dog"], 262)
    write_model(tmp_path / "large", ["a dog"], 262, **other)
    (tmp_path / "text.tsv").write_text("x\ta dog\n")
    with pytest.raises(SystemExit, match=words):
        shrink_to(tmp_path)
