# SPDX-License-Identifier: LGPL-2.1-or-later
"""test_import_hf.py - the import of Hugging Face folders: other forms of the same folder, and what it refuses. That the
engine computes with the result what transformers does is the test `imported`."""

import json
import shutil

import numpy as np
import pytest
import torch

from models import ROOT, modelfile
from models.convert import hf_folder, import_hf
from models.data import DataError

FOLDERS = ROOT / "tests" / "data" / "hf"


@pytest.fixture
def folder(tmp_path):
    """A copy of a folder, with what is asked for changed in its JSON."""

    def copy(name, **changes):
        to = tmp_path / name
        shutil.copytree(FOLDERS / name, to)
        for file, values in changes.items():
            path = to / f"{file}.json"
            found = json.loads(path.read_text()) if path.is_file() else {}
            for key, value in values.items():
                where = found
                *parents, last = key.split(".")
                for parent in parents:
                    where = where[parent]
                where[last] = value
            path.write_text(json.dumps(found))
        return to

    return copy


def imported(folder, how="f32"):
    out = folder / "out.safetensors"
    nested = import_hf.import_folder(folder, out, how)
    tensors, metadata = modelfile.read_raw(out)
    assert json.loads(metadata["config"]) == nested
    assert metadata["sha256"] == modelfile.sha256(tensors)
    return nested, tensors, metadata


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDERS.iterdir()))
def test_forms_of_weights_give_the_same_file(folder, name):
    source = folder(name)
    _, wanted, _ = imported(source)
    weights = hf_folder.Weights(source)
    state = {name: torch.from_numpy(np.array(weights.read(name))) for name in weights.where}
    for path in source.glob("model*"):
        path.unlink()
    torch.save(state, source / "pytorch_model.bin")
    _, found, _ = imported(source)
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[key][1], wanted[key][1]) for key in wanted)


def test_stores(folder):
    source = folder("blip")
    sizes, values = {}, {}
    for how in ("f32", "bf16", "int8"):
        _, tensors, metadata = imported(source, how)
        sizes[how] = sum(x.nbytes for _, x in tensors.values())
        kind, x = tensors["decoder.0.mlp.up.weight"]
        values[how] = (
            modelfile.floats(kind, x) if kind != "I8" else x * tensors["decoder.0.mlp.up.weight.scale"][1][:, None]
        )
        assert tensors["encoder.positions.weight"][0] == tensors["encoder.class.weight"][0] == "F32"
        assert f"stored as {how}" in metadata["model_card"]
    assert sizes["bf16"] < 0.6 * sizes["f32"] and sizes["int8"] < 0.4 * sizes["f32"]
    assert np.array_equal(values["bf16"], values["f32"])  # the fixture's weights are bf16
    step = np.abs(values["f32"]).max(1, keepdims=True) / 127
    assert (np.abs(values["int8"] - values["f32"]) <= 0.51 * step).all()


def test_generation_comes_from_the_folder(folder):
    options = {"num_beams": 5, "max_new_tokens": 11, "min_new_tokens": 2, "early_stopping": True, "length_penalty": 0.5}
    generation = imported(folder("git", generation_config=options))[0]["generation"]
    assert generation == {
        "bos": 2,
        "eos": 3,
        "pad": 0,
        "beams": 5,
        "search": "transformers",
        "early_stopping": "first",
        "length_penalty": 0.5,
        "no_repeat_ngram": 0,
        "min_length": 0,
        "max_length": 18,
        "max_new_tokens": 11,
        "min_new_tokens": 2,
    }
    # Nothing said: 20 new tokens; and `generate` of blip does not look at the folder's generation_config.json.
    generation = imported(folder("blip", generation_config={"num_beams": 7}))[0]["generation"]
    assert generation["max_new_tokens"] == 20 and "max_length" not in generation and generation["beams"] == 1


def test_card_states_source_and_licence(folder):
    source = folder("git")
    assert "not stated" in imported(source)[2]["model_card"]
    (source / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n# GIT\n")
    metadata = imported(source)[2]
    assert "mit" in metadata["model_card"] and metadata["language"] == "en" and metadata["name"] == "git"


@pytest.mark.parametrize(
    "name, file, key, value, words",
    [
        ("git", "config", "model_type", "kosmos", ["model_type", "kosmos", "blip"]),
        ("git", "config", "num_image_with_embedding", 6, ["num_image_with_embedding", "6"]),
        ("git", "config", "hidden_act", "relu", ["hidden_act", "relu"]),
        ("git", "generation_config", "repetition_penalty", 1.5, ["repetition_penalty", "1.5"]),
        ("git", "generation_config", "do_sample", True, ["do_sample"]),
        ("git", "generation_config", "num_beams", 17, ["num_beams", "16"]),
        ("git", "generation_config", "eos_token_id", [3, 4], ["eos_token_id"]),
        ("git", "preprocessor_config", "do_center_crop", False, ["do_center_crop"]),
        ("git", "preprocessor_config", "resample", 1, ["resample"]),
        ("blip", "preprocessor_config", "size", {"height": 64, "width": 64}, ["image_size 48"]),
        ("blip", "preprocessor_config", "size", {"height": 48, "width": 50}, ["size", "squares"]),
        ("blip", "config", "text_config.position_embedding_type", "relative_key", ["position_embedding_type"]),
        ("vit_gpt2", "config", "encoder.model_type", "swin", ["encoder.model_type", "swin"]),
        ("vit_gpt2", "config", "decoder.model_type", "bert", ["decoder.model_type", "bert"]),
        ("vit_gpt2", "config", "decoder.scale_attn_by_inverse_layer_idx", True, ["scale_attn_by_inverse_layer_idx"]),
    ],
)
def test_what_the_engine_lacks_is_named(folder, name, file, key, value, words):
    source = folder(name, **{file: {key: value}})
    with pytest.raises(DataError) as error:
        imported(source)
    assert all(word in str(error.value) for word in words), error.value
    assert not list(source.glob("out*"))


@pytest.mark.parametrize(
    "name, file", [("git", "tokenizer.json"), ("git", "model.safetensors"), ("git", "preprocessor_config.json")]
)
def test_missing_files_are_named(folder, name, file):
    source = folder(name)
    (source / file).unlink()
    with pytest.raises(DataError, match=file.partition(".")[0]):
        imported(source)


# A text_config and a vision_config as version 4 of transformers wrote them, with all that every configuration had.
VERSION_4 = """add_cross_attention bad_words_ids bos_token_id chunk_size_feed_forward cross_attention_hidden_size
decoder_start_token_id diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size
exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id id2label is_encoder_decoder
label2id length_penalty max_length min_length no_repeat_ngram_size num_beam_groups num_beams num_return_sequences
output_attentions output_hidden_states output_scores prefix problem_type pruned_heads remove_invalid_values
repetition_penalty return_dict return_dict_in_generate suppress_tokens task_specific_params temperature
tf_legacy_loss tie_encoder_decoder tie_word_embeddings tokenizer_class top_k top_p torch_dtype torchscript
transformers_version typical_p use_bfloat16""".split()
SAID = {"diversity_penalty": 0.0, "do_sample": False, "max_length": 20, "num_beams": 1, "length_penalty": 1.0}
SAID |= {"pruned_heads": {}, "tie_word_embeddings": True, "repetition_penalty": 1.0, "top_k": 50, "num_beam_groups": 1}


def test_configurations_of_version_4_are_taken(folder):
    old = {key: SAID.get(key) for key in VERSION_4 if key not in ("bos_token_id",)}
    changes = {f"{part}.{key}": value for part in ("text_config", "vision_config") for key, value in old.items()}
    imported(folder("blip", config=changes))


def test_defaults_may_be_left_out(folder):
    """config.json of transformers 5 may lack what has its default; the sizes then do not fit, which is said."""
    source = folder("vit_gpt2")
    config = json.loads((source / "config.json").read_text())
    del config["encoder"]["num_hidden_layers"]
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"lack the tensor encoder\.encoder\.layer\.3"):
        imported(source)


@pytest.mark.parametrize(
    "name, file, key, value, words",
    [
        ("git", "config", "window_size", 7, ["window_size", "--ignore window_size"]),
        ("git", "config", "quantization_config", {"bits": 4}, ["quantization_config", "unquantised"]),
        ("blip", "config", "text_config.rotary_dim", 8, ["text_config", "rotary_dim"]),
        ("blip", "config", "text_config.is_decoder", False, ["is_decoder"]),
        ("vit_gpt2", "config", "encoder.image_size", [40, 48], ["image_size", "squares"]),
        ("vit_gpt2", "generation_config", "guidance_scale", 2.0, ["guidance_scale", "classifier-free"]),
        ("vit_gpt2", "generation_config", "make_it_good", True, ["make_it_good"]),
        ("vit_gpt2", "preprocessor_config", "crop_pct", 0.9, ["crop_pct", "cut out"]),
        ("vit_gpt2", "preprocessor_config", "do_sharpen", True, ["do_sharpen", "--ignore"]),
    ],
)
def test_unknown_options_are_named(folder, name, file, key, value, words):
    source = folder(name, **{file: {key: value}})
    with pytest.raises(DataError) as error:
        imported(source)
    assert all(word in str(error.value) for word in words), error.value


def test_an_unknown_option_can_be_ignored(folder):
    source = folder("git", config={"window_size": 7})
    assert import_hf.import_folder(source, source / "out.safetensors", "f32", ["window_size"])


def test_generation_config_stands_alone(folder):
    """Where there is the file, transformers 5 does not look for options of generation in config.json."""
    source = folder("git", config={"num_beams": 4, "do_sample": True})
    assert imported(source)[0]["generation"]["beams"] == 1
    (source / "generation_config.json").unlink()
    with pytest.raises(DataError, match="do_sample"):
        imported(source)
