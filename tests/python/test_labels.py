# SPDX-License-Identifier: LGPL-2.1-or-later
"""test_labels.py - labels: tables and head, what the decoder reads, what words cost, how absent things are counted."""

import json
import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("tokenizers")
pytest.importorskip("PIL")
from PIL import Image

from models import ROOT, data, labels, modelfile, search
from models.eval import truth
from models.palme import Config, Labels, Palme
from models.train import calibrate, extend_tokenizer, features, heads, mixture, pack_labels, rewards, tokenizer

torch.set_num_threads(1)

SHARED = ROOT.parent / "shared"
TEXTS = ["a dog and a cat", "a hot dog on a plate", "a man with a dog", "two dogs run", "a cat sits on a plate"]


@pytest.fixture(scope="module")
def words():
    return labels.Words()


# ---- Tables -----------------------------------------------------------------------------------


def test_each_class_has_a_label_of_the_table_or_none(words):
    of = labels.classes(words)
    assert len(of) == 1000 and min(of) == -1 and max(of) < len(words.names)
    for number, label in (
        (151, "dog"),
        (292, "tiger"),
        (340, "zebra"),
        (779, "school bus"),
        (963, "pizza"),
        (281, "cat"),
    ):
        assert words.names[of[number]] == label


def test_labels_are_unique_and_name_themselves(words):
    assert len(set(words.names)) == len(words.names)
    for phrase in words.of:
        assert phrase, "a label with an empty word"
    things = labels.listed("label-things.txt")
    assert len(things) == 80 and not things - set(words.names)
    spoken = labels.listed("label-spoken.txt")
    assert spoken and not spoken - set(words.names)


@pytest.mark.parametrize(
    "text, named",
    [
        ("A hot dog on a plate.", {"hot dog", "plate"}),
        ("two DOGS, one cat", {"dog", "cat"}),
        ("nothing of the kind", set()),
        ("people wait at a stop sign", {"person", "stop sign"}),
        ("a bear holds a teddy bear", {"bear", "teddy bear"}),
    ],
)
def test_the_longest_phrase_of_a_text_names_its_label(words, text, named):
    assert {words.names[i] for i in words.named(text)} == named


def test_a_bike_may_be_two_things(words):
    ((_, places),) = words.mentions("a bike")
    assert {words.names[i] for i in places} == {"bicycle", "motorcycle"}


def test_a_table_with_a_column_too_few_is_refused_with_its_line(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("dog\ta dog\tdog, dogs\ncat\ta cat\n")
    with pytest.raises(data.DataError, match="line 2: wanted 3 columns, found 2"):
        labels.Words(path)


def test_chosen_labels_reach_their_threshold_the_likeliest_first():
    assert labels.chosen([0.4, 0.9, 0.1, 0.4], [0.3, 0.5, 0.05, 0.4], 3) == [1, 0, 3]
    assert labels.chosen([0.4, 0.4], [0.5, 0.5]) == []


def test_held_out_photos_are_one_in_eighteen_and_always_the_same():
    names = [f"{i:012}" for i in range(3600)]
    kept = [n for n in names if labels.held_out(n)]
    assert abs(len(kept) - 200) < 4 * math.sqrt(200)  # four standard deviations of a draw of 3600 with 1/18
    assert labels.held_out("000000000285") == labels.held_out("000000000285")
    assert kept[:3] == [n for n in names if labels.held_out(n)][:3]


def test_a_cautious_sentence():
    described = {
        "names": ["clock", "tower", "sitting", "water bottle", "bottle"],
        "cautious": "a photo of ",
        "phrases": ["a clock", "a tower", "", "a water bottle", "a bottle"],
    }
    for p, least, wanted in (
        ([0.1, 0.2, 0.9, 0, 0], 0.5, ""),
        ([0.7, 0.2, 0.9, 0, 0], 0.5, "a photo of a clock"),
        ([0.7, 0.8, 0.9, 0, 0], 0.5, "a photo of a tower and a clock"),
        ([0, 0, 0, 0.5, 0.6], 0.5, "a photo of a water bottle"),
    ):
        assert labels.cautious(described, p, least) == wanted
    assert labels.redundant("person", ["person", "man"]) and not labels.redundant("man", ["person", "man"])


# ---- Probabilities ----------------------------------------------------------------------------


def test_classes_of_one_label_add_up_and_things_may_be_likelier():
    described = {"names": ["dog", "cat", "person"], "classes": [0, 0, 1, -1], "things": [1, 2]}
    head = Labels(described)
    with torch.no_grad():
        for p in head.parameters():
            p.zero_()
        head.classes.bias.copy_(torch.log(torch.tensor([0.2, 0.3, 0.1, 0.4])))
        head.things.bias.copy_(torch.logit(torch.tensor([0.6, 0.25])))
        got = head(torch.zeros(2, 5, 1280))
    assert torch.allclose(got, torch.tensor([[0.5, 0.6, 0.25]]).expand(2, -1), atol=1e-6)


def test_things_see_the_maximum_behind_the_mean():
    head = Labels({"names": ["dog"], "things": [0]})
    maps = torch.zeros(1, 4, 1280)
    maps[0, 2, 7] = 4
    with torch.no_grad():
        head.things.weight.zero_()
        head.things.bias.zero_()
        head.things.weight[0, 7], head.things.weight[0, 1280 + 7] = 1.0, 0.5
        got = head(maps)
    assert got.item() == pytest.approx(1 / (1 + math.exp(-(1 * 1 + 0.5 * 4))), abs=1e-6)


def test_merged_is_what_the_model_computes():
    logits = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    of = [2, -1, 0, 2, 1, 0]
    p = logits.softmax(-1)
    wanted = torch.stack([p[:, 2] + p[:, 5], p[:, 4], p[:, 0] + p[:, 3]], 1)
    assert torch.allclose(heads.merged(logits, of, 3), wanted)


class MadeUpCache:
    """Ten photos as features.Cache has them. Maps are small integers, whose means bf16 computes without rounding."""

    def __init__(self, folder):
        self.ids = [f"{folder}-{i}" for i in range(10)]
        self.at, self.views, self.index = {n: i for i, n in enumerate(self.ids)}, 1, {"trunk": "made up"}
        self.map = np.random.default_rng(len(folder)).integers(0, 7, (10, 4, 320)).astype(np.float16)


@pytest.fixture
def learn_head(monkeypatch, tmp_path):
    """A function that learns a head from made-up photos with the given annotations, and returns the folder with it."""
    weight = torch.eye(320).repeat(4, 1)[:, :, None, None]
    stem = SimpleNamespace(head=SimpleNamespace(weight=weight, bias=torch.zeros(1280)))
    layer = 0.01 * torch.randn(1000, 1280, generator=torch.Generator().manual_seed(1)), torch.zeros(1000)
    monkeypatch.setattr(heads, "Cache", MadeUpCache)
    monkeypatch.setattr(heads, "load_trunk", lambda trunk: stem)
    monkeypatch.setattr(heads, "imagenet_layer", lambda trunk: layer)
    monkeypatch.setattr(labels, "held_out", lambda name: False)
    (tmp_path / "spoken.txt").write_text("plate\n")

    def learn(name, annotations, *more):
        tsv, out = tmp_path / f"{name}.tsv", tmp_path / name
        tsv.write_text("".join(f"{photo}\t{thing}\n" for photo, thing in annotations.items()))
        options = ["--things", f"{tsv}=taught", "--also", "other", "--spoken", str(tmp_path / "spoken.txt")]
        heads.main([*options, "--out", str(out), "--epochs", "2", *more])
        return out

    return learn


def test_a_learned_head_computes_what_its_photos_got(learn_head, words):
    out = learn_head("out", {f"taught-{i}": "dog" if i % 2 else "mouse" for i in range(10)})
    arrays, metadata = modelfile.read(out / "head.safetensors")
    described = json.loads(metadata["labels"])
    assert [words.names[i] for i in described["things"]] == ["computer mouse", "dog", "plate"]
    head = Labels(described)
    head.load_state_dict({n.removeprefix("labels."): torch.from_numpy(x.copy()) for n, x in arrays.items()})
    with torch.no_grad():
        wanted = head(torch.from_numpy(MadeUpCache("other").map.astype(np.float32)).repeat(1, 1, 4)).numpy()
    got = np.load(out / "other.npy")[0]
    # float16 rounds a probability by at most 2^-12. As much again is for the sums of 2560 products in float32, which
    # have another order when the standardisation is folded in.
    assert np.abs(got - wanted).max() < 2**-11


def test_a_head_without_classes_knows_what_photos_taught(learn_head, words):
    out = learn_head("out", {f"taught-{i}": "dog" if i % 2 else "mouse" for i in range(10)}, "--no-classes")
    arrays, metadata = modelfile.read(out / "head.safetensors")
    assert set(arrays) == {"labels.things.weight", "labels.things.bias"}
    assert json.loads(metadata["labels"])["classes"] == []
    p = np.load(out / "other.npy")[0]
    taught = [words.at[name] for name in ("computer mouse", "dog", "plate")]
    assert (p[:, taught] > 0).all() and np.count_nonzero(p) == p[:, taught].size


def test_a_head_of_classes_alone_needs_no_photo_that_teaches(learn_head, words, tmp_path):
    heads.main(["--only-classes", "--also", "other", "--out", str(tmp_path / "out")])
    arrays, metadata = modelfile.read(tmp_path / "out" / "head.safetensors")
    assert set(arrays) == {"labels.classes.weight", "labels.classes.bias"}
    assert json.loads(metadata["labels"])["things"] == []
    p = np.load(tmp_path / "out" / "other.npy")[0]
    known = sorted(set(labels.classes(words)) - {-1})
    # float16 rounds each of the sums by at most 2^-12 of itself; classes of no label are what is missing to 1
    assert (p[:, known].sum(1) <= 1 + 2**-11).all() and np.count_nonzero(np.delete(p, known, 1)) == 0
    with pytest.raises(SystemExit, match="no photos"):
        heads.main(["--only-classes", "--out", str(tmp_path / "none")])


def test_words_of_labels_that_the_head_cannot_tell_do_not_count():
    words = labels.Words()
    known = words.know([words.at["dog"], words.at["bicycle"]])
    assert known is words and known.named("a cat and a dog on a bike") == [words.at["dog"], words.at["bicycle"]]
    assert {i for _, places in known.table for i in places} == {words.at["dog"], words.at["bicycle"]}


def test_a_photo_gets_probabilities_that_it_did_not_teach(learn_head):
    annotations = {f"taught-{i}": "dog" if i % 2 else "cat" for i in range(10)}
    before = np.load(learn_head("before", annotations) / "taught.npy")[0]
    after = np.load(learn_head("after", {**annotations, "taught-3": "cat"}) / "taught.npy")[0]
    fold = [heads.fold_of(name) for name in annotations]
    for i in range(10):
        assert np.array_equal(before[i], after[i]) == (fold[i] == fold[3]), i


def test_annotations_of_an_unknown_thing_are_refused_by_name(learn_head):
    with pytest.raises(SystemExit, match=r"no label of label-words\.tsv: unicorn"):
        learn_head("out", {"taught-0": "unicorn"})


def test_a_packed_model_keeps_its_labels(words, text, tmp_path):
    model = small_model()
    arrays = {n: x.numpy() for n, x in model.state_dict().items()}
    bias = "decoder.net.to_logits.bias"
    for name, more in (("a", 0.0), ("b", 2.0)):
        shifted = {**arrays, bias: arrays[bias] + np.float32(more)}
        modelfile.write(tmp_path / name, shifted, modelfile.config_dict(model.config), text.json, "a card")
    rng = np.random.default_rng(0)
    shapes = {"classes.weight": (3, 1280), "classes.bias": 3, "things.weight": (2, 2560), "things.bias": 2}
    head = {f"labels.{n}": rng.normal(size=shape).astype(np.float32) for n, shape in shapes.items()}
    described = {"names": words.names, "classes": [5, -1, 7], "things": [1, 5]}
    modelfile.write_arrays(tmp_path / "head", head, {"labels": json.dumps(described)})
    options = [
        "--hold",
        "0.3",
        "0.05",
        "0",
        "0.6",
        "--unsure",
        "0.4",
        "0.5",
        "--deny",
        "0.1",
        "--store",
        "f32",
        "--out",
        str(tmp_path / "two"),
    ]
    pack_labels.main([str(tmp_path / "a"), str(tmp_path / "b"), "--head", str(tmp_path / "head"), *options])
    modelfile.convert(tmp_path / "two", tmp_path / "one", 1)
    for version in ("two", "one"):
        found, metadata = modelfile.read(tmp_path / version)
        np.testing.assert_allclose(found[bias], arrays[bias] + 1, rtol=1e-6)
        config = Config.read(metadata["config"]).labels
        assert {key: config[key] for key in described} == described, version
        assert config["hold"] == {"weight": 0.3, "floor": 0.05, "require": 0.0, "sure": 0.6}
        assert config["unsure"] == {"confirm": 0.4, "deny": 0.1, "least": 0.5}
        assert config["most"] == 8 and len(config["thresholds"]) == len(words.names)
        loaded = modelfile.load(tmp_path / version).labels
        for name, x in loaded.state_dict().items():
            assert np.array_equal(x.numpy(), head[f"labels.{name}"]), name


# ---- What the decoder reads -------------------------------------------------------------------


@pytest.fixture(scope="module")
def text():
    return tokenizer.Text(tokenizer.train(TEXTS * 3, 330))


def test_labels_stand_before_the_sentence_the_likeliest_first(words, text):
    reader = mixture.Reader(words, text, [0.3] * len(words.names))
    p = np.zeros(len(words.names), np.float32)
    assert reader.of(p) == []
    p[words.at["cat"]], p[words.at["dog"]], p[words.at["plate"]] = 0.4, 0.8, 0.2
    assert text.tokenizer.decode(reader.of(p)).strip() == "dog cat"


def test_labels_of_a_text_are_of_its_own_words(words, text):
    reader = mixture.Reader(words, text, [0.3] * len(words.names))
    for seed in range(8):
        said = text.tokenizer.decode(reader.of_text("a hot dog on a plate", np.random.default_rng(seed), 0.0)).strip()
        assert said in ("hot dog", "plate", "hot dog plate", "plate hot dog")
    assert reader.of_text("a hot dog", np.random.default_rng(0), 1.0) == []


def test_only_the_sentence_is_learned():
    x, y, real = mixture.assemble([([7, 8], [1, 5, 6, 2]), ([], [1, 9, 2])])
    assert x.tolist() == [[7, 8, 1, 5, 6], [1, 9, 2, 2, 2]]
    assert y.tolist() == [[-1, -1, 5, 6, 2], [9, 2, -1, -1, -1]]
    assert real.tolist() == [[True] * 5, [True, True, False, False, False]]


# ---- What words cost --------------------------------------------------------------------------


def test_the_longest_word_says_what_a_token_costs():
    held = search.Held({(5,): 1.0, (6,): 0.5, (4, 5): 0.0, (3, 4, 6): 2.0})
    for before, wanted in (([], [1.0, 0.5]), ([4], [0.0, 0.5]), ([3, 4], [0.0, 2.0]), ([4, 3], [1.0, 0.5])):
        row = torch.zeros(9, dtype=torch.float64)
        held.apply(row, before, 2)
        assert [-row[5].item(), -row[6].item()] == wanted
        assert row[:5].abs().sum() == 0


def test_a_sure_label_that_is_missing_costs_at_the_end():
    held = search.Held({}, [(0.7, [(5,), (3, 4)])])
    for before, cost in (([], 0.7), ([5], 0.0), ([3, 4], 0.0), ([4, 3], 0.7)):
        row = torch.zeros(9)
        held.apply(row, before, 2)
        assert row[2].item() == pytest.approx(-cost) and row.abs().sum().item() == pytest.approx(cost)


def test_a_word_costs_by_the_likeliest_of_its_labels():
    ids = {"dog": [5], "bike": [6]}
    holder = search.Holder([["dog", [0]], ["bike", [1, 2]]], ids.get, ["a dog", "a bicycle", ""], weight=2.0, floor=0.1)
    row = torch.zeros(9)
    holder([0.01, 0.001, 0.5]).apply(row, [], 2)
    assert row[5].item() == pytest.approx(-2 * math.log(10), rel=1e-6) and row[6].item() == 0


def small_model():
    config = Config(
        image_size=64,
        patch_size=32,
        encoder_dim=64,
        encoder_depth=1,
        encoder_heads=1,
        num_tokens=40,
        max_seq_len=32,
        decoder_dim=64,
        decoder_depth=1,
        decoder_heads=1,
        alibi_num_heads=1,
        qk_norm=False,
        bos_token=1,
        eos_token=2,
    )
    torch.manual_seed(3)
    return Palme(config).eval()


def test_searches_of_prompts_of_any_length_are_those_of_each_alone():
    model = small_model()
    context = torch.randn(4, 4, 64, generator=torch.Generator().manual_seed(1))
    prompts = [[1], [7, 8, 1], [9, 1], [8, 7, 1]]
    for beams in (1, 3):
        together = search.grouped(model, context, prompts, beams, 6)
        for i, prompt in enumerate(prompts):
            alone = (
                search.greedy(model, context[i : i + 1], prompt, 6)
                if beams == 1
                else search.beam(model, context[i : i + 1], prompt, beams, 6)
            )[0]
            assert together[i][0] == alone[0] and together[i][1] == pytest.approx(alone[1], abs=1e-5)


def test_a_word_that_costs_much_is_not_said():
    model = small_model()
    context = torch.randn(1, 4, 64, generator=torch.Generator().manual_seed(1))
    for beams in (1, 3):
        ((ids, score),) = search.grouped(model, context, [[1]], beams, 6)
        held = search.Held({(ids[0],): 50.0})
        ((other, _),) = search.grouped(model, context, [[1]], beams, 6, held=[held])
        assert ids[0] not in other
        ((same, again),) = search.grouped(model, context, [[1]], beams, 6, held=[search.Held({})])
        assert same == ids and again == pytest.approx(score)


# ---- Truth ------------------------------------------------------------------------------------


def test_truth_knows_annotations_captions_and_kin():
    table = truth.read_words()
    assert len(set(table.values())) == 75  # of five nobody speaks in one word: mouse, remote, toaster and so on
    captions = {"a": "a dog on a couch", "b": "a man", "c": "a truck", "d": "the sky", "e": "a hot dog"}
    annotations = {"a": {"dog"}, "b": {"clock"}, "c": {"car"}, "d": {"bird"}, "e": {"dog"}}
    found = truth.measure(captions, annotations, {"a": ["a dog on a chair"], "b": ["his tie"], "c": []}, table)
    assert found["photos"] == 5 and found["false"] == 2 / 5 and found["right"] == 2 / 5 and found["wrong"] == 2
    assert found["each"] == {"a": {"couch"}, "b": set(), "c": set(), "d": set(), "e": {"hot dog"}}


def test_truth_is_that_of_the_tool(tmp_path):
    tool = SHARED / "tools" / "truth"
    if not tool.exists():
        pytest.skip(f"{tool} is absent")
    references = data.read_captions(SHARED / "data" / "coco" / "captions.tsv")
    annotations = truth.read_annotations(SHARED / "data" / "coco" / "labels.tsv")
    names = [n for n in references if n in annotations][:300]
    captions = {n: references[m][0] for n, m in zip(names, names[1:] + names[:1])}  # each says what the next one shows
    (tmp_path / "said.tsv").write_text("".join(f"{n}\t{t}\n" for n, t in captions.items()))
    (tmp_path / "labels.tsv").write_text("".join(f"{n}\t{','.join(annotations[n])}\n" for n in names))
    (tmp_path / "references.tsv").write_text("".join(f"{n}\t{t}\n" for n in names for t in references[n]))
    said = subprocess.run(
        [sys.executable, str(tool), *(str(tmp_path / f"{n}.tsv") for n in ("said", "labels", "references"))],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = truth.measure(captions, annotations, references, truth.read_words())
    assert said.startswith(
        f"300 photos: {found['false']:.2f} of the captions name something absent "
        f"({found['wrong']} of {found['named']} things named), {found['right']:.2f} name something present"
    )


def test_captions_with_higher_scores_are_shown_longest():
    said = {"a": ("", -2.0), "b": ("", -1.0), "c": ("", -3.0), "d": ("", -0.5), "unknown": ("", 0.0)}
    each = {"a": {"dog"}, "b": set(), "c": {"cat"}, "d": set()}
    lines = calibrate.shown(said, each, 4)
    assert lines == [(-3.0, 1.0, 0.5), (-2.0, 0.75, 1 / 3), (-1.0, 0.5, 0.0), (-0.5, 0.25, 0.0)]


def test_what_is_not_there_has_a_price():
    references = {"a": ["a dog on a chair", "a brown dog"], "b": ["a cat"]}
    plain = rewards.Reward(references, 1.0)
    priced = rewards.Truthful(plain, references, {"a": {"dog"}}, 0.5)
    assert priced("a", "a dog and a cat") == pytest.approx(plain("a", "a dog and a cat") - 0.5)
    assert priced("a", "a dog on a chair") == plain("a", "a dog on a chair")
    assert priced("b", "a dog") == plain("b", "a dog")  # nobody knows what else is in it
    assert rewards.Truthful(plain, references, {}, 0.5, trusted={"b"})("b", "a dog") == pytest.approx(
        plain("b", "a dog") - 0.5
    )


# ---- Tokens and views -------------------------------------------------------------------------


def test_more_tokens_leave_known_words_as_they_were():
    old = tokenizer.train(["a dog and a cat"] * 5, 280)
    new, made = extend_tokenizer.extended(old, ["a giraffe eats", "giraffe and giraffe"], 12)
    before, after = tokenizer.Text(old), tokenizer.Text(new)
    assert len(json.loads(new)["model"]["vocab"]) == len(json.loads(old)["model"]["vocab"]) + len(made)
    for known in ("a dog", "and a cat", "a cat and a dog"):
        assert after.encode(known) == before.encode(known)
    assert len(after.encode("giraffe")) < len(before.encode("giraffe"))
    assert after.decode(after.encode("a giraffe eats")[1:]) == "a giraffe eats"
    vocab = {i: t for t, i in json.loads(new)["model"]["vocab"].items()}
    first = len(json.loads(old)["model"]["vocab"])
    for i, pieces in enumerate(made):
        assert "".join(vocab[p] for p in pieces) == vocab[first + i] and max(pieces) < first


def test_frames_of_video_are_views_of_their_own():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8))
    for number in range(6):
        plain = features.view(image, 32, number, "p")
        video = features.view(image, 32, number, "p", True)
        assert plain.shape == video.shape == (32, 32, 3)
        assert np.array_equal(video, features.view(image, 32, number, "p", True))
        if number < 2:
            assert np.array_equal(plain, video)
    assert any(
        not np.array_equal(features.view(image, 32, n, "p"), features.view(image, 32, n, "p", True))
        for n in range(2, 8)
    )


def test_a_caption_is_confirmed_by_the_surest_thing_it_names(words):
    p = np.zeros(len(words.names))
    p[words.at["dog"]], p[words.at["sitting"]], p[words.at["hot dog"]] = 0.6, 0.9, 0.3
    assert words.confirmed("a dog is sitting on a couch", p) == 0.6
    assert words.confirmed("a hot dog", p) == 0.3
    assert words.confirmed("sitting", p) == 0.0  # no thing
    assert words.denied("a dog is sitting on a couch", p) == 0.0
    assert words.denied("a dog is sitting", p) == 0.6 and words.denied("sitting", p) == 1.0


def test_captions_of_nothing_sure_are_shown_at_no_score(words):
    said = {"a": ("a dog", -0.5), "b": ("a cat", -0.2), "c": ("a car", -1.0), "d": ("a bus", -3.0)}
    p = {n: np.zeros(len(words.names)) for n in said}
    for n, name in (("a", "dog"), ("c", "car"), ("d", "bus")):
        p[n][words.at[name]] = 0.9
    each = {"a": set(), "b": {"cat"}, "c": set(), "d": {"bus"}}
    lines = calibrate.shown(*calibrate.confirmed(words, said, each, p, 0.5), 4)
    assert lines[1:] == [(-3.0, 0.75, 1 / 3), (-1.0, 0.5, 0.0), (-0.5, 0.25, 0.0)] and lines[0][0] == -math.inf
    picture = calibrate.plot([("a thing from 0.5", lines), ("nothing", [(-math.inf, 1.0, 0.5)])])
    assert picture.count("<circle") == 3 and "a thing from 0.5" in picture and "nothing" not in picture


def test_unsure_captions_give_way_to_the_likeliest_label(words, capsys):
    said = {
        "a": ("a dog on a couch", -0.5),
        "b": ("a cat on a couch", -0.5),
        "c": ("a car on a street", -2.0),
        "d": ("a pizza", -0.4),
    }
    p = {n: np.zeros(len(words.names)) for n in said}
    p["a"][words.at["dog"]], p["b"][words.at["clock"]], p["c"][words.at["car"]] = 0.6, 0.8, 0.9
    assert calibrate.unsure(words, said, p, 0.5, -1.0) == {"b", "c", "d"}
    assert calibrate.unsure(words, said, p, 0.0, -1.0) == {"c"}
    p["a"][words.at["couch"]] = 0.2
    assert calibrate.unsure(words, said, p, 0.5, -1.0, 0.2) == {"b", "c", "d"}
    assert calibrate.unsure(words, said, p, 0.5, -1.0, 0.3) == {"a", "b", "c", "d"}
    p["a"][words.at["couch"]] = 0.0
    things = {"a": {"dog", "couch"}, "b": {"clock"}, "c": {"bus"}, "d": {"pizza"}}
    calibrate.report_unsure(words, said, p, [(0.0, -9.0), (0.5, -1.0)], 0.5, things, {})
    assert capsys.readouterr().out.splitlines() == [
        "confirmed at 0, score from -9: 1.00 shown, 0.500 of them false; "
        "with cautious sentences 1.00 and 0.500, 0.500 of the photos with something right",
        "confirmed at 0.5, score from -1: 0.25 shown, 0.000 of them false; "
        "with cautious sentences 0.75 and 0.333, 0.500 of the photos with something right",
    ]
