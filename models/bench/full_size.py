# SPDX-License-Identifier: LGPL-2.1-or-later
"""full_size.py - writes captioners of the published sizes with random weights, as Hugging Face folders.

    python models/bench/full_size.py FOLDER [blip_base git_base vit_gpt2]

Each becomes FOLDER/NAME: depth, widths, patches, picture and vocabulary are those of blip-image-captioning-base of
Salesforce, git-base-coco of microsoft and vit-gpt2-image-captioning of nlpconnect, the words of the vocabulary are made
up. What a model costs depends on its sizes alone: these are for bench_peers.py and bench_engine, behind
models/convert/import_hf.py.
A folder takes up to 0.9 GB. Needs torch and transformers.
"""

import argparse
import itertools
import json
import os
import shutil
import sys
from pathlib import Path

CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
STEP = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255}


# ---- Vocabularies -----------------------------------------------------------------------------


def word_pieces(folder, size):
    """BERT's special tokens at their places, and words to fill it up."""
    words = ["[PAD]", *(f"[unused{i}]" for i in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    words += [f"word{i}" for i in range(size - len(words))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def byte_pairs(folder, size):
    """GPT-2's alphabet of bytes, as many pairs of them as make up its vocabulary, and its end token."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = [chr(b) for b in shown] + [chr(256 + i) for i in range(256 - len(shown))]
    pairs = list(itertools.islice(itertools.product(alphabet, alphabet), size - len(alphabet) - 1))
    tokens = [*alphabet, *(a + b for a, b in pairs), "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(f"{a} {b}" for a, b in pairs)]) + "\n")
    config = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024}
    config |= dict.fromkeys(["bos_token", "eos_token", "unk_token"], "<|endoftext|>")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


# ---- Models -----------------------------------------------------------------------------------


def blip_base(folder, hf):
    word_pieces(folder, 30522)
    text = {
        "vocab_size": 30524,
        "num_attention_heads": 12,
        "bos_token_id": 30522,
        "eos_token_id": 102,
        "sep_token_id": 102,
        "pad_token_id": 0,
    }
    model = hf.BlipForConditionalGeneration(hf.BlipConfig(text_config=text, vision_config={"image_size": 384}))
    processor = {"image_processor_type": "BlipImageProcessor", "size": {"height": 384, "width": 384}, "resample": 3}
    return model, {**processor, **CLIP, **STEP, "do_convert_rgb": True}, None


def git_base(folder, hf):
    word_pieces(folder, 30522)
    model = hf.GitForCausalLM(hf.GitConfig(bos_token_id=101, eos_token_id=102, pad_token_id=0))
    processor = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 224}, "resample": 3}
    processor |= {"do_center_crop": True, "crop_size": {"height": 224, "width": 224}}
    return (
        model,
        {**processor, **CLIP, **STEP},
        {"bos_token_id": 101, "eos_token_id": 102, "pad_token_id": 0, "max_length": 20},
    )


def vit_gpt2(folder, hf):
    byte_pairs(folder, 50257)
    text = hf.GPT2Config(add_cross_attention=True, is_decoder=True)
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(hf.ViTConfig(), text)
    ends = {"decoder_start_token_id": 50256, "eos_token_id": 50256, "pad_token_id": 50256}
    for key, value in ends.items():
        setattr(config, key, value)
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}, "resample": 2}
    return hf.VisionEncoderDecoderModel(config=config), {**processor, **HALF, **STEP}, {**ends, "max_length": 20}


MODELS = {"blip_base": blip_base, "git_base": git_base, "vit_gpt2": vit_gpt2}


def randomise(model):
    """Weights with which the tokens of a caption differ, and differ clearly enough for any order of summation."""
    import torch

    generator = torch.Generator().manual_seed(20261129)
    for name, x in sorted(model.named_parameters()):
        noise = torch.randn(x.shape, generator=generator)
        if x.dim() == 1:
            x.data = ("norm" in name.lower() or "ln_" in name) * ("weight" in name) + 0.1 * noise
        elif "embedding" in name or "wte" in name or "wpe" in name:
            x.data = noise * 0.5
        else:
            x.data = noise * 1.2 / (x[0].numel() if "c_" not in name and "q_attn" not in name else x.shape[0]) ** 0.5
    return model.eval()


def write(folder, name):
    """FOLDER/NAME, unless it is there. Returns its path."""
    import transformers as hf

    hf.logging.set_verbosity_error()
    hf.logging.disable_progress_bar()
    target, new = Path(folder) / name, Path(folder) / f"{name}.new"
    if target.exists():
        return target
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    model, processor, generation = MODELS[name](new, hf)
    randomise(model).save_pretrained(new)
    for stale in ("processor_config.json", "generation_config.json"):
        (new / stale).unlink(missing_ok=True)
    (new / "preprocessor_config.json").write_text(json.dumps(processor, indent=1) + "\n")
    if generation:
        (new / "generation_config.json").write_text(json.dumps(generation) + "\n")
    new.rename(target)
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", help="where the folders go")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(MODELS)}")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in MODELS]
    if unknown:
        parser.error(f"there is no {unknown[0]}: {', '.join(MODELS)}")
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name in options.names or MODELS:
        print(write(options.folder, name), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
