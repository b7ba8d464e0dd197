# SPDX-License-Identifier: LGPL-2.1-or-later
"""try_hf.py - an imported model file and the folder that it came from, side by side: import_hf.py's last step."""

import json
import os
import shutil
import subprocess


def command():
    """The engine's command: PALME_CAPTION, or the one that is installed."""
    return os.environ.get("PALME_CAPTION") or shutil.which("palme-caption")


def engine_says(model, photo, more=()):
    """(caption, score) of palme-caption in f32."""
    program = [command(), "--model", str(model), "--precision", "f32", "--format", "json", *more, str(photo)]
    found = json.loads(subprocess.run(program, check=True, capture_output=True, text=True).stdout.splitlines()[0])
    return found["caption"], found["score"]


def load(folder):
    """(kind, model, image processor, tokenizer) by transformers, from the folder alone, in f32."""
    import torch
    import transformers as hf

    transformers_quiet(hf)
    config = hf.AutoConfig.from_pretrained(folder, local_files_only=True)
    classes = {
        "vision-encoder-decoder": hf.VisionEncoderDecoderModel,
        "blip": hf.BlipForConditionalGeneration,
        "git": hf.GitForCausalLM,
    }
    model = classes[config.model_type].from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    processor = hf.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    return config.model_type, model, processor, hf.AutoTokenizer.from_pretrained(folder, local_files_only=True)


def transformers_quiet(hf):
    hf.logging.set_verbosity_error()
    hf.logging.disable_progress_bar()


def hf_says(folder, photo):
    """(caption, score): the mean log-probability of the generated tokens."""
    import torch
    from PIL import Image

    kind, model, processor, tokenizer = load(folder)
    pixels = processor(images=Image.open(photo).convert("RGB"), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        ids = model.generate(pixel_values=pixels)
        if kind == "blip":
            image = model.vision_model(pixel_values=pixels)[0]
            logits = model.text_decoder(input_ids=ids[:, :-1], encoder_hidden_states=image).logits
        elif kind == "git":
            logits = model(input_ids=ids[:, :-1], pixel_values=pixels).logits
        else:
            logits = model(pixel_values=pixels, decoder_input_ids=ids[:, :-1]).logits
    logits = logits[:, -(ids.shape[1] - 1) :].double().log_softmax(-1)
    score = logits.gather(2, ids[:, 1:, None])[0].mean().item()
    return tokenizer.decode(ids[0], skip_special_tokens=True).strip(), score


def compare(folder, model, photo):
    """A line or two about what both say of a picture, or why that was not tried."""
    if not command():
        return "not tried: palme-caption is not installed, and PALME_CAPTION does not name it"
    ours, ours_score = engine_says(model, photo)
    try:
        theirs, theirs_score = hf_says(folder, photo)
    except ImportError as error:
        return f"not compared with transformers ({error}); the engine says: {ours}"
    same = "the same" if ours.strip() == theirs else "NOT THE SAME"
    return (
        f"engine:       {ours}\ntransformers: {theirs}\n{same}; largest difference of a score: "
        f"{abs(ours_score - theirs_score):.2g}"
    )
