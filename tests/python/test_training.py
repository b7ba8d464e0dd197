# SPDX-License-Identifier: LGPL-2.1-or-later
"""test_training.py - tokenizer, features, rewards and a training of a few seconds on generated pictures."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest
import torch

pytest.importorskip("tokenizers")
pytest.importorskip("PIL")
from PIL import Image

from models import data, decoder, modelfile
from models.palme import Config, Palme, Stem
from models.train import batch, distill, features, rewards, tokenizer, train

torch.set_num_threads(1)

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 40, 230), "white": (240, 240, 240)}
SHAPES = ("square", "bar")


def draw(folder, count=16):
    """Pictures of one coloured shape each, with two captions: easy enough to be learned in seconds."""
    folder.mkdir()
    lines = []
    for i in range(count):
        colour, shape = list(COLOURS)[i % 4], SHAPES[i // 4 % 2]
        pixels = np.full((64, 64, 3), 90, np.uint8)
        rows, columns = (slice(8, 56), slice(8, 56)) if shape == "square" else (slice(28, 36), slice(4, 60))
        pixels[rows, columns] = COLOURS[colour]
        pixels[:2], pixels[:, :6] = 10 * i, (0, 0, 250)
        Image.fromarray(pixels).save(folder / f"p{i:02}.png")
        lines += [f"p{i:02}\tA {colour} {shape} .\n", f"p{i:02}\tthis is a {colour} {shape}\n"]
    return "".join(lines)


def random_trunk(name):
    """A trunk of random weights in place of ImageNet's."""
    stem, generator = Stem(name), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in stem.parameters():
            p.normal_(0, (2 / max(p[0].numel(), 1)) ** 0.5 if p.ndim > 1 else 0.01, generator=generator)
    return stem.eval()


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Photos, captions and a cache, which takes seconds to compute: each test gets a copy."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "captions.tsv").write_text(draw(folder / "photos"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "load_trunk", random_trunk)
        features.cache(features.Photos([folder / "photos"]), str(folder / "cache"), "efficientnet_lite0", 2, 64)
    return folder


@pytest.fixture
def work(made, tmp_path, monkeypatch):
    """A folder with those, and a model that is small enough to train in seconds."""
    for module in (features, train, distill):
        monkeypatch.setattr(module, "load_trunk", random_trunk)
    monkeypatch.setitem(
        train.SIZES,
        "small",
        {
            **train.SIZES["small"],
            "encoder_dim": 64,
            "encoder_heads": 1,
            "decoder_dim": 64,
            "decoder_heads": 2,
            "decoder_depth": 1,
            "num_tokens": 300,
            "image_size": 64,
        },
    )
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def arguments(work, run, *more):
    return [
        "--size",
        "small",
        "--cache",
        str(work / "cache"),
        "--captions",
        str(work / "captions.tsv"),
        "--dev-cache",
        str(work / "cache"),
        "--dev-captions",
        str(work / "captions.tsv"),
        "--run",
        str(work / run),
        "--batch",
        "8",
        "--lr",
        "3e-3",
        "--warmup",
        "2",
        "--xe-epochs",
        "2",
        "--scst-epochs",
        "1",
        "--samples",
        "3",
        "--ema",
        "0.5",
        "--dropout",
        "0.1",
        "--threads",
        "1",
        "--average",
        "1",
        *more,
    ]


# ---- Text ---------------------------------------------------------------------------------------


def test_tidy():
    assert tokenizer.tidy("  A  Dog , running . ") == "a dog, running"
    assert tokenizer.tidy('someone \'s "dog" .') == "someone's dog"
    assert tokenizer.tidied({"a": ["One .", " . "], "b": ["."]}) == {"a": ["one"]}


def test_tokenizer_round_trip_and_shortening():
    captions = ["a dog runs through the grass", "two dogs play in the snow", "a man, a dog's friend"] * 5
    long = tokenizer.train(captions, 320)
    text = tokenizer.Text(long)
    for caption in captions:
        ids = text.encode(caption)
        assert ids[0] == tokenizer.BOS and ids[-1] == tokenizer.EOS and text.decode(ids[1:]) == caption
    short = tokenizer.shorten(long, 290)
    assert json.loads(short)["model"]["vocab"] == json.loads(tokenizer.train(captions, 290))["model"]["vocab"]
    assert tokenizer.Text(short).decode(tokenizer.Text(short).encode(captions[0])[1:]) == captions[0]
    with pytest.raises(data.DataError):
        tokenizer.shorten(short, 320)


# ---- Rewards ------------------------------------------------------------------------------------

REFERENCES = {
    "a": ["a dog runs in the snow", "a brown dog runs"],
    "b": ["two men play football", "men on a field"],
    "c": ["a girl in a red dress", "a small girl smiles at a dog"],
}


def test_cider_is_that_of_its_definition():
    """Against the formula written out for one sentence, and against pycocoevalcap where it is installed."""
    texts = {"a": "a dog dog runs runs in snow", "b": "two men on a field", "c": "a girl in a dress"}
    ours = rewards.Cider(REFERENCES, end=False)
    scores = {name: ours.score(name, rewards.grams(rewards.words(t))) for name, t in texts.items()}
    best = ours.score("b", rewards.grams("two men play football".split()))
    assert best > scores["b"] > 0
    cider = pytest.importorskip("pycocoevalcap.cider.cider", reason="pycocoevalcap is not installed")
    _, theirs = cider.Cider().compute_score(REFERENCES, {n: [t] for n, t in texts.items()})
    assert np.allclose([scores[n] for n in REFERENCES], theirs, atol=1e-9)


def test_bleu():
    c = Counter()
    for text in REFERENCES["a"]:
        c |= rewards.grams(text.split())
    assert rewards.sentence_bleu(rewards.grams("a dog runs in the snow".split()), c, [6, 4]) == pytest.approx(1)
    assert rewards.sentence_bleu(rewards.grams("two cats".split()), c, [6, 4]) == 0
    texts = {"a": "a dog runs in the snow", "b": "two men play football", "c": "a girl in a red dress"}
    assert rewards.corpus(REFERENCES, texts)["bleu4"] == pytest.approx(1)


def test_an_end_in_the_middle_costs():
    """The reward counts the end as a word, so a sentence that breaks off is worth less than a whole one."""
    reward = rewards.Reward(REFERENCES, 1.0)
    assert reward("a", "a brown dog runs") > reward("a", "a brown dog runs in a")
    only = rewards.Reward({"a": ["a dog runs in the snow"], "b": ["two men play"], "c": ["a girl"]}, 1.0)
    assert only("a", "a dog runs in the snow") == pytest.approx(11)  # all of CIDEr, and all of BLEU
    assert only("a", "a dog runs in the") < 9


# ---- The fast model against the readable one ----------------------------------------------------


def tiny(**other):
    config = Config(
        **{
            **dict(
                image_size=64,
                patch_size=32,
                encoder_dim=64,
                encoder_depth=2,
                encoder_heads=2,
                num_tokens=50,
                max_seq_len=20,
                decoder_dim=64,
                decoder_depth=2,
                decoder_heads=2,
                alibi_num_heads=1,
                qk_norm=False,
                bos_token=1,
                eos_token=2,
            ),
            **other,
        }
    )
    model = Palme(config).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 0.3 if p.ndim > 1 else 0.1, generator=generator)
    return model


OTHERS = [
    {},
    {"qk_norm": True},
    {"decoder_dim": 128},
    {"rotary_xpos": False},
    {"alibi_pos_bias": False},
    {"rotary_xpos": False, "use_abs_pos_emb": True},
    {"cross_attend": False},
]
TEXTS = torch.tensor([[1, 7, 9, 30, 4], [1, 8, 0, 0, 0], [1, 3, 3, 0, 0], [1, 40, 41, 42, 0]])


def pictures(count=2):
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(6))


@pytest.mark.parametrize("other", OTHERS)
def test_batch_computes_what_palme_does(other):
    model, image = tiny(**other), pictures()
    real = torch.arange(5)[None] < torch.tensor([5, 2, 3, 4])[:, None]
    with torch.no_grad():
        context = batch.encode(model, image)
        torch.testing.assert_close(context, model.encode(image), rtol=1e-5, atol=1e-5)
        ours = model.decoder.net.to_logits(batch.decode(model, TEXTS, real, context))
        wanted = model.decode(TEXTS, context.repeat_interleave(2, 0), model.config.xpos_center)[real]
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("other", OTHERS)
def test_gradients_are_those_of_palme(other):
    model, image = tiny(**other), pictures()
    real = torch.arange(5)[None] < torch.tensor([5, 2, 3, 4])[:, None]
    found = []
    for logits in (
        lambda c: model.decoder.net.to_logits(batch.decode(model, TEXTS, real, c)),
        lambda c: model.decode(TEXTS, c.repeat_interleave(2, 0), model.config.xpos_center)[real],
    ):
        model.zero_grad()
        logits(batch.encode(model, image)).logsumexp(-1).sum().backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, x in found[0].items():
        torch.testing.assert_close(
            x, found[1][name], rtol=1e-3, atol=1e-3, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("other", OTHERS)
def test_training_in_bf16(other):
    """Under autocast, with a gradient and without. Two layers round some 24 times on the way to a number, each time by
    at most 2^-8 of it; independent errors add up to the root, 5 * 2^-8, and the largest of all numbers may have three
    times that."""
    model, image = tiny(**other), pictures()
    real = torch.arange(5)[None] < torch.tensor([5, 2, 3, 4])[:, None]
    context = batch.encode(model, image).detach()
    wanted = batch.decode(model, TEXTS, real, context).detach()
    with torch.autocast("cpu", torch.bfloat16):
        found = batch.decode(model, TEXTS, real, context)
        with torch.no_grad():
            fused = batch.decode(model, TEXTS, real, context)
    found.float().square().sum().backward()
    for x in (found, fused):
        difference = float((x.detach().float() - wanted).abs().max() / wanted.abs().max())
        assert difference < 15 * 2**-8


@pytest.mark.parametrize("other", OTHERS)
def test_texts_that_grow_keep_their_pictures(other):
    """Two texts about each of three pictures; the second picture leaves, then single texts."""
    model = tiny(**other)
    c, texts = (
        model.config,
        torch.tensor([[1, 7, 9, 30], [1, 8, 6, 5], [1, 3, 3, 3], [1, 4, 4, 4], [1, 40, 41, 42], [1, 43, 44, 45]]),
    )
    with torch.no_grad():
        context = model.encode(pictures(3))
        wanted = model.decode(texts, context.repeat_interleave(2, 0), c.xpos_center)
        grown = decoder.CachedDecoder(model, context, 2)
        torch.testing.assert_close(grown.feed(texts[:, 0]), wanted[:, 0], rtol=1e-4, atol=1e-4)
        rows = torch.tensor([1, 0, 4, 5])
        grown.select(rows, torch.tensor([0, 2]))
        torch.testing.assert_close(grown.feed(texts[rows, 1]), wanted[rows, 1], rtol=1e-4, atol=1e-4)
        grown.separate()
        left = torch.tensor([1, 2])
        grown.select(left, left)
        torch.testing.assert_close(grown.feed(texts[[0, 4], 2]), wanted[[0, 4], 2], rtol=1e-4, atol=1e-4)


def test_a_stem_may_go_on_in_its_middle():
    stem, split = Stem("efficientnet_lite0").eval(), features.split_block("efficientnet_lite0")
    assert split == 12
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        rows = features.early(stem, split)(255 * image)
        model = type("Model", (), {"stem": stem})
        x = batch.late_blocks(model.stem, rows, split)
        y = torch.nn.functional.relu6(stem.head(x)).flatten(2).transpose(1, 2)
        torch.testing.assert_close(y, stem(image), rtol=1e-4, atol=1e-5)


def test_tokens_that_are_not_seen_do_not_count():
    model = tiny()
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(6))
    other, seen = image.clone(), torch.tensor([[3, 0], [1, 2]])
    other[0, :, :32, 32:], other[1, :, :32, :32] = 0, 1  # patch 1 of the first picture, patch 0 of the second
    with torch.no_grad():
        assert torch.equal(batch.encode(model, image, seen=seen), batch.encode(model, other, seen=seen))
        whole = batch.some_tokens(2, 4, 0.99, torch.Generator().manual_seed(1))
        assert sorted(whole[0].tolist()) == [0, 1, 2, 3] and batch.some_tokens(2, 4, 1, None) is None
        y = batch.encode(model, image, seen=whole)
        for i in range(2):  # order does not matter
            torch.testing.assert_close(y[i][whole[i].argsort()], model.encode(image)[i], rtol=1e-5, atol=1e-5)


def test_draws_follow_the_probabilities():
    model = tiny(num_tokens=6)
    context = model.encode(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(8))).detach()
    p = model.decode(torch.tensor([[1]]), context, model.config.xpos_center)[0, 0].softmax(-1)
    drawn = batch.sample(model, context, 4000, 1, torch.Generator().manual_seed(9))
    shares = torch.bincount(torch.tensor([ids[0] for ids in drawn]), minlength=6) / 4000
    assert (shares - p).abs().max() < 4 * 0.5 / 4000**0.5
    again = batch.sample(model, context, 4000, 1, torch.Generator().manual_seed(9))
    assert again == drawn
    only = batch.sample(model, context, 500, 1, torch.Generator().manual_seed(9), min_p=1.0)
    assert {ids[0] for ids in only} == {int(p.argmax())}


def test_dropout_keeps_the_mean():
    drop = batch.Dropout(0.25, torch.Generator().manual_seed(1), size=1 << 16)
    for count in (1000, 40000):  # from the buffer, and drawn
        y = drop(torch.ones(count))
        assert abs(float(y.mean()) - 1) < 0.1 and y.unique().tolist() == pytest.approx([0, 4 / 3])


# ---- Features -----------------------------------------------------------------------------------


def test_views():
    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (50, 70, 3), dtype=np.uint8))
    plain = features.view(image, 64, 0, "x")
    assert np.array_equal(plain[:, ::-1], features.view(image, 64, 1, "x"))
    assert np.array_equal(features.view(image, 64, 3, "x"), features.view(image, 64, 3, "x"))
    assert not np.array_equal(features.view(image, 64, 3, "x"), features.view(image, 64, 3, "y"))


def test_cache_goes_on_and_skips_what_it_cannot_read(work, capsys):
    (work / "photos" / "p03.png").write_bytes(b"no picture at all")
    whole, parts = work / "whole", work / "parts"
    photos = features.Photos([work / "photos"])
    features.cache(photos, str(whole), "efficientnet_lite0", 2, 64)
    features.cache(photos, str(parts), "efficientnet_lite0", 1, 64)
    features.cache(photos, str(parts), "efficientnet_lite0", 2, 64)
    assert "p03: cannot be read, skipped" in capsys.readouterr().err
    a, b = features.Cache(str(whole)), features.Cache(str(parts))
    assert a.views == b.views == 2 and "p03" not in a.at and len(a.at) == 15
    assert np.array_equal(a.map, b.map) and a.rows(1, [5]).any() and not a.rows(1, [3]).any()
    assert not np.array_equal(a.rows(0, [5]), a.rows(1, [5]))
    with pytest.raises(data.DataError, match="another trunk"):
        features.cache(photos, str(whole), "efficientnet_lite1", 2, 64)


# ---- A training ---------------------------------------------------------------------------------


def test_training_learns_and_writes_a_model(work):
    train.main(arguments(work, "run", "--xe-epochs", "12", "--scst-epochs", "2"))
    log = [line.split("\t") for line in (work / "run" / "log.tsv").read_text().splitlines()[1:]]
    assert [r[0] for r in log] == ["xe"] * 12 + ["scst"] * 2
    assert float(log[11][2]) < 0.7 * float(log[0][2])
    model = modelfile.load(work / "run" / "model.safetensors")
    assert model.config.default_beams == 3 and model.config.eos_token == tokenizer.EOS
    with Image.open(work / "photos" / "p00.png") as image:
        pixels = features.view(image, 64, 0, "p00").copy()
    with torch.no_grad():
        context = model.encode(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
    ids, _ = model.greedy(context, [tokenizer.BOS], 20)
    text = tokenizer.Text(modelfile.read_raw(work / "run" / "model.safetensors")[1]["tokenizer"]).decode(ids)
    assert "square" in text or "bar" in text, text


def test_a_stopped_training_gives_the_same_weights(work):
    train.main(arguments(work, "whole"))
    for steps in ("1", "4"):  # in the first epoch of xe, then in scst
        with pytest.raises(SystemExit) as stopped:
            train.main(arguments(work, "parts", "--stop-after", steps))
        assert stopped.value.code == 3
    train.main(arguments(work, "parts"))
    a, b = (modelfile.read(work / run / "model.safetensors")[0] for run in ("whole", "parts"))
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert (work / "whole" / "log.tsv").read_text().split("\n")[3].split("\t")[:4] == (
        work / "parts" / "log.tsv"
    ).read_text().split("\n")[3].split("\t")[:4]


def test_a_smaller_model_begins_with_a_larger_ones_rows(work):
    train.main(arguments(work, "one", "--xe-epochs", "1", "--scst-epochs", "0"))
    path = work / "one" / "model.safetensors"
    model = Palme(Config.read(json.dumps({**json.loads(modelfile.read(path)[1]["config"]), "num_tokens": 280})))
    assert train.borrow(model, path) == []
    assert np.array_equal(
        model.decoder.net.token_emb.emb.weight.detach(),
        modelfile.read(path)[0]["decoder.net.token_emb.emb.weight"][:280],
    )


def test_distilling(work):
    """An encoder learns another's numbers, and two teachers write captions that a training takes."""
    train.main(arguments(work, "teacher", "--xe-epochs", "3", "--scst-epochs", "0"))
    teacher = str(work / "teacher" / "model.safetensors")
    log = [
        "encoder",
        "--teacher",
        teacher,
        "--teacher-cache",
        str(work / "cache"),
        "--size",
        "small",
        "--cache",
        str(work / "cache"),
        "--run",
        str(work / "pupil"),
        "--epochs",
        "8",
        "--batch",
        "8",
        "--seed",
        "4",
    ]
    distill.main(log)
    made = str(work / "pupil" / "model.safetensors")
    rows = train.as_input(features.Cache(str(work / "cache")), ["p00", "p05"], 0, "cpu")
    with torch.no_grad():
        wanted, found = (batch.encode(modelfile.load(p), rows, 12) for p in (teacher, made))
    assert ((wanted - found) ** 2).mean() < 0.1 * wanted.var()
    distill.main([*log[:-1], "5", "--run", str(work / "loose"), "--epochs", "1", "--unfreeze"])
    before, after = (modelfile.read(path)[0] for path in (made, str(work / "loose" / "model.safetensors")))
    learned = {
        name.split(".")[3] for name in before if ".blocks." in name and not np.array_equal(before[name], after[name])
    }
    assert learned and all(int(block) >= 12 for block in learned), learned
    distill.main(
        [
            "sentences",
            "--teacher",
            teacher,
            made,
            "--cache",
            str(work / "cache"),
            "--out",
            str(work / "more.tsv"),
            "--least",
            "-9",
            "--limit",
            "6",
        ]
    )
    assert set(data.read_captions(work / "more.tsv")) == {f"p{i:02}" for i in range(6)}
    train.main(arguments(work, "both", "--xe-epochs", "1", "--extra", str(work / "cache"), str(work / "more.tsv")))


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda w: (w / "captions.tsv").write_text("p00\tfine\np01 no tab\n"), "captions.tsv, line 2"),
        (lambda w: (w / "captions.tsv").unlink(), "No such file"),
        (lambda w: (w / "cache" / "index.json").unlink(), "no cache of features"),
        (lambda w: (w / "captions.tsv").write_text("elsewhere\ta dog\n"), "no photo of the captions"),
    ],
)
def test_what_is_wrong_is_said(work, spoil, words):
    spoil(work)
    with pytest.raises(SystemExit, match=words):
        train.main(arguments(work, "run"))


def test_a_file_that_is_no_model_is_said(work):
    (work / "junk.safetensors").write_bytes(b"a sentence, not a model file")
    with pytest.raises(SystemExit, match=r"junk\.safetensors: no model file"):
        train.main(arguments(work, "run", "--init", str(work / "junk.safetensors")))
