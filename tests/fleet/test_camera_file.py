# SPDX-License-Identifier: LGPL-2.1-or-later
"""The file of cameras.py: what is right, and a line for each thing that is wrong."""

import os
import sys
from pathlib import Path

import pytest

FLEET = Path(__file__).parents[2] / "examples" / "fleet"
sys.path.insert(0, str(FLEET))
pytest.importorskip("jsonschema")

from live import config  # noqa: E402

GOOD = """\
mqtt: {host: broker}
log: {folder: /tmp/log}
defaults:
  interval: 2
  tags: [all]
  properties: {beams: 1}
cameras:
  - id: door
    address: rtsp://10.0.0.7/stream
  - id: yard
    address: /dev/video0
    interval: 10
    tags: [outside, dogs]
    prompt: a photo of
    properties: {when-unsure: silent}
"""


def test_defaults_are_filled_in():
    found = config.parse(GOOD)
    assert found.settings["mqtt"] == {"host": "broker", "port": 1883}
    assert found.settings["lease"] == {"seconds": 4}
    door, yard = found.cameras["door"], found.cameras["yard"]
    assert (door["interval"], door["tags"], door["prompt"], door["name"]) == (2, ["all"], "", "door")
    assert (yard["interval"], yard["tags"], yard["prompt"]) == (10, ["outside", "dogs"], "a photo of")
    assert yard["properties"] == {"beams": 1, "when-unsure": "silent"} and door["properties"] == {"beams": 1}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "interval: 10",
            "intervall: 10",
            'c:12: camera "yard": intervall: there is no such key; did you mean interval?',
        ),
        ("interval: 10", "interval: 0", 'c:12: camera "yard": interval: 0 is less than the minimum of 0.1'),
        ("interval: 10", "interval: fast", "c:12: camera \"yard\": interval: 'fast' is not of type 'number'"),
        ("id: yard", "id: door", 'c:10: camera "door": id: the camera of line 8 has this id'),
        ("id: yard", "id: The Yard", "c:10: camera \"The Yard\": id: 'The Yard' is no id"),
        ("    address: /dev/video0\n", "", 'c:10: camera "yard": the key address is missing'),
        ("  - id: yard\n    addr", "  - addr", "c:10: camera number 2: the key id is missing"),
        ("    interval: 10", "    address: again", "c:12: the key address stands twice, first in line 11"),
        ("[outside, dogs]", "[outside, 5]", "c:13: camera \"yard\": tags.1: 5 is not of type 'string'"),
        ("  tags: [all]", "  tag: [all]", "c:5: defaults.tag: there is no such key; did you mean tags?"),
        ("{host: broker}", "{host: broker, port: 99999}", "c:1: mqtt.port: 99999 is greater than the maximum of 65535"),
        ("cameras:", "kameras:", "c:7: kameras: there is no such key; did you mean cameras?"),
        ("cameras:", "kameras:", "c:1: the key cameras is missing"),
        ("{beams: 1}", "{beams: [1]}", "c:6: defaults.properties.beams: [1] is not of type"),
        ("id: door", "id: [door", "c:9: "),
        (GOOD, "- id: door", 'c:1: the file has to be a mapping with the key "cameras"'),
        (GOOD, "", 'c:1: the file has to be a mapping with the key "cameras"'),
    ],
)
def test_each_fault_has_a_line(old, new, said):
    assert old in GOOD
    with pytest.raises(config.ConfigError) as caught:
        config.parse(GOOD.replace(old, new, 1), "c")
    assert any(line.startswith(said) for line in str(caught.value).splitlines()), str(caught.value)


def test_all_faults_are_told_at_once():
    with pytest.raises(config.ConfigError) as caught:
        config.parse("cameras:\n- {id: a}\n- {id: b, address: x, interval: -1}\n", "c")
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == ["c:2", "c:3"]


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "cameras.yaml"
    path.write_bytes(b"cameras: [\xff]")
    with pytest.raises(config.ConfigError, match="no UTF-8"):
        config.read(path)


def test_passwords_are_not_told():
    assert config.without_password("no route to rtsp://me:secret@host/x!") == "no route to rtsp://***@host/x!"


def test_the_example_is_right():
    """Also with the camera that stands in comments."""
    found = config.read(FLEET / "cameras.yaml")
    assert set(found.cameras) == {"ball"} and os.path.isabs(found.settings["log"]["folder"])
    head, tail = (FLEET / "cameras.yaml").read_text().split("  # - id: door")
    whole = head + "  - id: door" + tail.replace("\n  # ", "\n  ")
    assert set(config.parse(whole).cameras) == {"ball", "door"}
