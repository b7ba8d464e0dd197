# SPDX-License-Identifier: LGPL-2.1-or-later
"""The YAML file of cameras.py: read, checked strictly, defaults filled in. Errors name camera, key and line."""

import copy
import dataclasses
import difflib
import os
import re

import jsonschema
import yaml

CAMERA = {
    "address": {"type": "string", "minLength": 1},
    "interval": {"type": "number", "minimum": 0.1, "maximum": 86400},
    "prompt": {"type": "string", "maxLength": 4096},
    "tags": {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True},
    "name": {"type": "string", "minLength": 1},
    "stall": {"type": "number", "minimum": 1, "maximum": 86400},
    "properties": {
        "type": "object",
        "propertyNames": {"pattern": "^[a-z][a-z-]*$"},
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    },
}


def _section(required=(), **properties):
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


_text, _count = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 1}
SCHEMA = _section(
    ["cameras"],
    mqtt=_section(
        host=_text,
        port={"type": "integer", "minimum": 1, "maximum": 65535},
        user=_text,
        password_file=_text,
        ca=_text,
    ),
    log=_section(folder=_text, seconds={"type": "number", "minimum": 0.5}, rows=_count, journal=_text),
    outbox=_section(folder=_text, memory=_count),
    actors=_section(
        count=_count,
        cpus={"type": "number", "minimum": 0},
        resources={"type": "object", "additionalProperties": {"type": "number", "exclusiveMinimum": 0}},
        cameras=_count,
    ),
    lease=_section(seconds={"type": "number", "minimum": 1, "maximum": 3600}),
    defaults=_section(**{key: value for key, value in CAMERA.items() if key != "address"}),
    cameras={
        "type": "array",
        "items": _section(["id", "address"], id={"type": "string", "pattern": "^[a-z0-9_]{1,64}$"}, **CAMERA),
    },
)
DEFAULTS = {
    "mqtt": {"host": "localhost", "port": 1883},
    "log": {"folder": "captions", "seconds": 60, "rows": 10000, "journal": "/var/tmp/palme-fleet/journal"},
    "outbox": {"folder": "/var/tmp/palme-fleet/outbox", "memory": 10000},
    "actors": {"count": 1, "cpus": 1, "resources": {}, "cameras": 64},
    "lease": {"seconds": 4},
    "defaults": {"interval": 5, "prompt": "", "tags": [], "stall": 15, "properties": {}},
}


class ConfigError(ValueError):
    """All that is wrong with a file, a line of text for each."""


@dataclasses.dataclass(frozen=True)
class Config:
    """A checked file: `settings` has the sections, `cameras` maps ids to what each camera is, defaults included."""

    settings: dict
    cameras: dict


class _Reader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would take the last in silence."""


def _mapping(loader, node, deep=False):
    seen = {}
    for key, _ in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            continue
        if key.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key.value} stands twice, first in line {seen[key.value]}", key.start_mark
            )
        seen[key.value] = key.start_mark.line + 1
    loader.flatten_mapping(node)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


def _construct(loader, node):
    data = {}
    yield data
    data.update(_mapping(loader, node, deep=True))


_Reader.add_constructor("tag:yaml.org,2002:map", _construct)


def _line(node, path):
    """The line of what `path` (keys and indices) leads to, or of the last step that is there."""
    line = node.start_mark.line
    for step in path:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(step):
                    line, node = key.start_mark.line, value
                    break
            else:
                break
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line
        else:
            break
    return line + 1


def _camera_name(data, index):
    camera = data["cameras"][index]
    name = camera.get("id") if isinstance(camera, dict) else None
    return f'camera "{name}"' if isinstance(name, str) else f"camera number {index + 1}"


def _complaints(error):
    """(further path, words) for each thing that one error of jsonschema says."""
    if error.validator == "additionalProperties":
        known = sorted(error.schema["properties"])
        for key in sorted(set(map(str, error.instance)) - set(known)):
            near = difflib.get_close_matches(key, known, 1)
            yield (
                [key],
                "there is no such key; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"),
            )
    elif error.validator == "required":
        for key in sorted(set(error.validator_value) - set(error.instance)):
            yield [], f"the key {key} is missing"
    elif error.validator == "pattern" and error.path and error.path[-1] == "id":
        yield [], f"{error.instance!r} is no id: 1 to 64 of a-z, 0-9 and _, as it stands in MQTT topics"
    else:
        yield [], re.sub(r"^(.{200}).*?(is .*|has .*)$", r"\1... \2", error.message, flags=re.S)


def parse(text, name="cameras.yaml"):
    """The Config in a text. Raises ConfigError with a line for each fault: FILE:LINE: camera "ID": KEY: what is
    wrong."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        data = yaml.load(text, _Reader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(f"{name}:{mark.line + 1}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f'{name}:1: the file has to be a mapping with the key "cameras", a list of cameras')

    faults = []

    def complain(path, words):
        path, place = list(path), []
        line = _line(node, path)
        if len(path) > 1 and path[0] == "cameras" and isinstance(path[1], int):
            place, path = [_camera_name(data, path[1])], path[2:]
        place += [".".join(map(str, path))] if path else []
        faults.append((line, f"{name}:{line}: {': '.join([*place, words])}"))

    for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(data):
        for further, words in _complaints(error):
            complain([*error.absolute_path, *further], words)
    lines = {}
    for index, camera in enumerate(data["cameras"] if isinstance(data.get("cameras"), list) else []):
        identity = camera.get("id") if isinstance(camera, dict) else None
        if isinstance(identity, str) and identity in lines:
            complain(["cameras", index, "id"], f"the camera of line {lines[identity]} has this id")
        elif isinstance(identity, str):
            lines[identity] = _line(node, ["cameras", index, "id"])
    if faults:
        raise ConfigError("\n".join(words for _, words in sorted(faults)))

    settings = {key: copy.deepcopy(value) | data.get(key, {}) for key, value in DEFAULTS.items()}
    cameras = {}
    for camera in data["cameras"]:
        whole = copy.deepcopy(settings["defaults"]) | camera
        whole["properties"] = settings["defaults"]["properties"] | camera.get("properties", {})
        whole.setdefault("name", camera["id"])
        cameras[camera["id"]] = whole
    return Config({key: settings[key] for key in settings if key != "defaults"}, cameras)


def read(path):
    """The Config in a file, with its folders as seen from this process's. Raises OSError and ConfigError."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        found = parse(data.decode(), str(path))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: no UTF-8: {error}") from None
    for section, key in ("log", "folder"), ("log", "journal"), ("outbox", "folder"):
        place = found.settings[section][key]
        if "://" not in place and "::" not in place:
            found.settings[section][key] = os.path.abspath(place)
    return found


def without_password(text):
    """The same text, with user and password in its addresses made out."""
    return re.sub(r"//[^/@\s]*@", "//***@", text)
