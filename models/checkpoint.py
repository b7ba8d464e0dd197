# SPDX-License-Identifier: LGPL-2.1-or-later
"""checkpoint.py - trained weights on disk as a model of palme.py, and back.

A checkpoint is a model file, or what torch.save() made of a dict with state_dict, config, tokenizer and card. Everything is
checked while it is read: DataError says which file and which tensor is wrong.
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
    """What torch.load(weights_only=True) makes of a file; a DataError where it refuses."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except pickle.UnpicklingError as error:
        # torch's own words run over a page and end in the advice to trust the file
        name = re.search(r"(?:GLOBAL|class|function) ([\w.]+)", str(error))
        raise DataError(f"{path}: more than tensors in it{f' ({name[1]})' if name else ''}, which could run any code when it "
                      "is read; save its state_dict() alone") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError):
        raise DataError(f"{path}: not what torch.save writes, or damaged") from None


def read(path):
    """{state: {name: float32 array}, config: Config, tokenizer: JSON, card: Markdown or "", name, language}"""
    if str(path).endswith(".safetensors"):
        arrays, metadata = modelfile.read(path)
        if metadata.get("format") != "palme":
            raise DataError(f"{path}: tensors without a model's metadata; import_zeta.py adds them")
        return {"state": arrays, "config": Config.read(metadata["config"]), "tokenizer": metadata["tokenizer"],
                "card": metadata.get("model_card", ""), "name": metadata.get("name"),
                "language": metadata.get("language")}
    found = read_torch(path)
    missing = [key for key in ("state_dict", "config", "tokenizer") if not isinstance(found, dict) or key not in found]
    if missing:
        raise DataError(f"{path}: a checkpoint has state_dict, config and tokenizer; this has no {', '.join(missing)}")
    config = found["config"] if isinstance(found["config"], str) else json.dumps(found["config"])
    state = {name: x.float().numpy() if torch.is_floating_point(x) else x.numpy()
             for name, x in found["state_dict"].items()}
    return {"state": state, "config": Config.read(config), "tokenizer": found["tokenizer"], "card": found.get("card", ""),
            "name": found.get("name"), "language": found.get("language")}


def build(path, state, config):
    """palme.py's model with these arrays, after a look at every name, shape and number."""
    model = Palme(config)
    wanted = {name: tuple(x.shape) for name, x in model.state_dict().items()}
    found = {re.sub(r"^decoder\.(?!net\.)", "decoder.net.", name): x for name, x in state.items()
             if ".rotary_pos_emb." not in name}
    for kind, names in (("lacks", wanted.keys() - found.keys()), ("has unknown", found.keys() - wanted.keys())):
        if names:
            some = ", ".join(sorted(names)[:4])
            raise DataError(f"{path}: {kind} {len(names)} tensor{'s' * (len(names) > 1)}: {some}{', ...' * (len(names) > 4)}")
    for name, shape in wanted.items():
        if found[name].shape != shape:
            raise DataError(f"{path}: {name} is {list(found[name].shape)}, wanted {list(shape)}")
        if not np.isfinite(found[name]).all():
            raise DataError(f"{path}: {name} has values that are not finite")
    return model.load({name: torch.from_numpy(np.array(x)) for name, x in state.items()})


def open_model(path, device="cpu"):
    """(model in float32, tokenizer JSON) of a model file or a checkpoint"""
    found = read(path)
    return build(path, found["state"], found["config"]).to(device), found["tokenizer"]


def write_model(path, model, tokenizer, card="", how="f32", name=None, language=None):
    """A model of palme.py as a model file; the file is there as a whole or not at all."""
    arrays = {key: x.detach().cpu().float().numpy() for key, x in model.state_dict().items()}
    part = f"{path}.part"
    modelfile.write(part, arrays, modelfile.config_dict(model.config), tokenizer, card, how, name, language)
    os.replace(part, path)
