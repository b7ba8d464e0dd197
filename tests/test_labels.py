# SPDX-License-Identifier: LGPL-2.1-or-later
"""test_labels.py - labels: their tables, what the decoder reads, what words cost, and how truth is counted.

    python tests/test_labels.py     as meson runs it: exit status 77 where pytest, numpy, torch or tokenizers are absent
    pytest tests/test_labels.py
"""
import json
import math
import os
import subprocess
import sys
from pathlib import Path

try:
    import pytest
    import numpy as np
    import tokenizers  # noqa: F401
    import torch
    from PIL import Image
except ImportError as error:
    print(f"skipped: {error}")
    if __name__ == "__main__" or "pytest" not in sys.modules:
        sys.exit(77)
    pytest.skip(str(error), allow_module_level=True)

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "models"))

import data
import extend_tokenizer
import features
import heads
import labels
import mixture
import rewards
import search
import tokenizer
import truth
from palme import Config, Labels, Palme

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
    for number, label in ((151, "dog"), (292, "tiger"), (340, "zebra"), (779, "school bus"), (963, "pizza"), (281, "cat")):
        assert words.names[of[number]] == label


def test_labels_are_unique_and_name_themselves(words):
    assert len(set(words.names)) == len(words.names)
    for phrase in words.of:
        assert phrase, "a label with an empty word"
    things = [line.strip() for line in open(ROOT / "models" / "label-things.txt", encoding="utf-8")]
    assert len(things) == 80 and not set(things) - set(words.names)
    spoken = [line.strip() for line in open(ROOT / "models" / "label-spoken.txt", encoding="utf-8")]
    assert not set(spoken) - set(words.names)


@pytest.mark.parametrize("text, named", [
    ("A hot dog on a plate.", {"hot dog", "plate"}),
    ("two DOGS, one cat", {"dog", "cat"}),
    ("nothing of the kind", set()),
    ("people wait at a stop sign", {"person", "stop sign"}),
    ("a bear holds a teddy bear", {"bear", "teddy bear"}),
])
def test_the_longest_phrase_of_a_text_names_its_label(words, text, named):
    assert {words.names[i] for i in words.named(text)} == named


def test_a_bike_may_be_two_things(words):
    (_, places), = words.mentions("a bike")
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
    described = {"names": ["clock", "tower", "sitting", "water bottle", "bottle"], "cautious": "a photo of ",
                 "phrases": ["a clock", "a tower", "", "a water bottle", "a bottle"]}
    for p, least, wanted in (([0.1, 0.2, 0.9, 0, 0], 0.5, ""), ([0.7, 0.2, 0.9, 0, 0], 0.5, "a photo of a clock"),
                             ([0.7, 0.8, 0.9, 0, 0], 0.5, "a photo of a tower and a clock"),
                             ([0, 0, 0, 0.5, 0.6], 0.5, "a photo of a water bottle")):
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
    config = Config(image_size=64, patch_size=32, encoder_dim=64, encoder_depth=1, encoder_heads=1, num_tokens=40, max_seq_len=32,
                    decoder_dim=64, decoder_depth=1, decoder_heads=1, alibi_num_heads=1, qk_norm=False, bos_token=1, eos_token=2)
    torch.manual_seed(3)
    return Palme(config).eval()


def test_searches_of_prompts_of_any_length_are_those_of_each_alone():
    model = small_model()
    context = torch.randn(4, 4, 64, generator=torch.Generator().manual_seed(1))
    prompts = [[1], [7, 8, 1], [9, 1], [8, 7, 1]]
    for beams in (1, 3):
        together = search.grouped(model, context, prompts, beams, 6)
        for i, prompt in enumerate(prompts):
            alone = (search.greedy(model, context[i:i + 1], prompt, 6) if beams == 1
                     else search.beam(model, context[i:i + 1], prompt, beams, 6))[0]
            assert together[i][0] == alone[0] and together[i][1] == pytest.approx(alone[1], abs=1e-5)


def test_a_word_that_costs_much_is_not_said():
    model = small_model()
    context = torch.randn(1, 4, 64, generator=torch.Generator().manual_seed(1))
    for beams in (1, 3):
        (ids, score), = search.grouped(model, context, [[1]], beams, 6)
        held = search.Held({(ids[0],): 50.0})
        (other, _), = search.grouped(model, context, [[1]], beams, 6, held=[held])
        assert ids[0] not in other
        (same, again), = search.grouped(model, context, [[1]], beams, 6, held=[search.Held({})])
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
    said = subprocess.run([sys.executable, str(tool), *(str(tmp_path / f"{n}.tsv") for n in ("said", "labels", "references"))],
                          capture_output=True, text=True, check=True).stdout
    found = truth.measure(captions, annotations, references, truth.read_words())
    assert said.startswith(f"300 photos: {found['false']:.2f} of the captions name something absent "
                           f"({found['wrong']} of {found['named']} things named), {found['right']:.2f} name something present")


def test_what_is_not_there_has_a_price():
    references = {"a": ["a dog on a chair", "a brown dog"], "b": ["a cat"]}
    plain = rewards.Reward(references, 1.0)
    priced = rewards.Truthful(plain, references, {"a": {"dog"}}, 0.5)
    assert priced("a", "a dog and a cat") == pytest.approx(plain("a", "a dog and a cat") - 0.5)
    assert priced("a", "a dog on a chair") == plain("a", "a dog on a chair")
    assert priced("b", "a dog") == plain("b", "a dog")  # nobody knows what else is in it
    assert rewards.Truthful(plain, references, {}, 0.5, trusted={"b"})("b", "a dog") == pytest.approx(plain("b", "a dog") - 0.5)


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
    assert any(not np.array_equal(features.view(image, 32, n, "p"), features.view(image, 32, n, "p", True)) for n in range(2, 8))


if __name__ == "__main__":
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", __file__]))
