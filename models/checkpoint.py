# SPDX-License-Identifier: LGPL-2.1-or-later
"""checkpoint.py - trained weights on disk as a model of palme.py, and back.

A checkpoint is a model file, or a .pt file: a dict with state_dict, config, tokenizer and card, saved by torch.save().
Everything is checked while it is read; DataError names the file and the tensor that is wrong.
"""

import json
import os
import pickle
import re

import numpy as np
import torch

from models import modelfile
from models.data import DataError
from models.palme import Config, Palme


def read_torch(path):
    """The content of a .pt file, read with weights_only; DataError if torch refuses it."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except pickle.UnpicklingError as error:
        # torch's own message fills a page and ends with the advice to trust the file
        name = re.search(r"(?:GLOBAL|class|function) ([\w.]+)", str(error))
        raise DataError(
            f"{path}: it holds more than tensors{f' ({name[1]})' if name else ''}, and reading that could run any "
            "code; save its state_dict() alone"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError):
        raise DataError(f"{path}: not a file of torch.save, or damaged") from None


def read(path):
    """{state: {name: float32 array}, config: Config, tokenizer: JSON, card: Markdown or "", name, language}"""
    if str(path).endswith(".safetensors"):
        arrays, metadata = modelfile.read(path)
        if metadata.get("format") != "palme":
            raise DataError(f"{path}: has tensors but no model's metadata; import_zeta.py makes a model file of it")
        return {
            "state": arrays,
            "config": Config.read(metadata["config"]),
            "tokenizer": metadata["tokenizer"],
            "card": metadata.get("model_card", ""),
            "name": metadata.get("name"),
            "language": metadata.get("language"),
        }
    found = read_torch(path)
    missing = [key for key in ("state_dict", "config", "tokenizer") if not isinstance(found, dict) or key not in found]
    if missing:
        raise DataError(
            f"{path}: a checkpoint has state_dict, config and tokenizer; this one has no {', '.join(missing)}"
        )
    config = found["config"] if isinstance(found["config"], str) else json.dumps(found["config"])
    state = {
        name: x.float().numpy() if torch.is_floating_point(x) else x.numpy() for name, x in found["state_dict"].items()
    }
    return {
        "state": state,
        "config": Config.read(config),
        "tokenizer": found["tokenizer"],
        "card": found.get("card", ""),
        "name": found.get("name"),
        "language": found.get("language"),
    }


def build(path, state, config):
    """A model of palme.py with these arrays. Checks every name, shape and number first; path is for error messages."""
    model = Palme(config)
    wanted = {name: tuple(x.shape) for name, x in model.state_dict().items()}
    found = {
        re.sub(r"^decoder\.(?!net\.)", "decoder.net.", name): x
        for name, x in state.items()
        if ".rotary_pos_emb." not in name
    }
    for kind, names in (("lacks", wanted.keys() - found.keys()), ("has unknown", found.keys() - wanted.keys())):
        if names:
            some = ", ".join(sorted(names)[:4])
            raise DataError(
                f"{path}: {kind} {len(names)} tensor{'s' * (len(names) > 1)}: {some}{', ...' * (len(names) > 4)}"
            )
    for name, shape in wanted.items():
        if found[name].shape != shape:
            raise DataError(f"{path}: {name} is {list(found[name].shape)}, wanted {list(shape)}")
        if not np.isfinite(found[name]).all():
            raise DataError(f"{path}: {name} has values that are not finite")
    return model.load({name: torch.from_numpy(np.array(x)) for name, x in state.items()})


def open_model(path, device="cpu"):
    """(model in float32, its tokenizer as JSON) of a checkpoint"""
    found = read(path)
    return build(path, found["state"], found["config"]).to(device), found["tokenizer"]


def write_model(path, model, tokenizer, card="", how="f32", name=None, language=None):
    """Writes a model of palme.py as a model file. If it fails, an older file of this name stays as it was."""
    arrays = {key: x.detach().cpu().float().numpy() for key, x in model.state_dict().items()}
    part = f"{path}.part"
    modelfile.write(part, arrays, modelfile.config_dict(model.config), tokenizer, card, how, name, language)
    os.replace(part, path)
