# SPDX-License-Identifier: LGPL-2.1-or-later
"""A camera's pipeline: captions and their times, sources that fail, end, stall and change."""

import concurrent.futures
import datetime
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

FLEET = Path(__file__).parents[2] / "examples" / "fleet"
sys.path.insert(0, str(FLEET))
pytest.importorskip("jsonschema")
pytest.importorskip("gi")
installed = pytest.importorskip("installed")

from live import config, lease  # noqa: E402

try:
    installed.let_gstreamer_find_the_plugin()
    os.environ["PALME_MODEL"] = installed.model()
    from live import camera

    camera.prepare()
except (RuntimeError, ValueError, FileNotFoundError) as error:
    pytest.skip(f"no pipelines here: {error}", allow_module_level=True)

BALL = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=120,framerate=10/1"
PATIENCE = 60  # seconds for what takes a second on a quiet machine


class Run:
    """Cameras that are polled as the holder does it."""

    def __init__(self):
        self.pool = concurrent.futures.ThreadPoolExecutor(4)
        self.cameras, self.captions = {}, []

    def spec(self, name, address, **more):
        defaults = "{interval: 0.3, properties: {when-unsure: caption, beams: 1}}"
        text = f"defaults: {defaults}\ncameras: [{{id: {name}, address: x}}]"
        return config.parse(text).cameras[name] | {"address": address} | more

    def add(self, name, address, **more):
        one = camera.Camera(self.spec(name, address, **more), lambda *what: self.captions.append(what), self.pool)
        self.cameras[name] = one
        return one

    def of(self, name):
        return [caption for one, caption, _ in self.captions if one.spec["id"] == name]

    def until(self, condition, seconds=PATIENCE):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, {name: one.fault for name, one in self.cameras.items()}
            for one in self.cameras.values():
                one.poll()
            time.sleep(0.01)

    def pause(self, seconds):
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end)

    def close(self):
        for one in self.cameras.values():
            one.stop()
        self.until(lambda: all(one.is_down() for one in self.cameras.values()))
        self.pool.shutdown()


@pytest.fixture
def run():
    made = Run()
    yield made
    made.close()


def test_a_caption_and_its_time(run):
    run.add("a", BALL, tags=["one"])
    run.until(lambda: len(run.captions) >= 3)
    before = lease.clock(), datetime.datetime.now(datetime.UTC)
    for _, caption, moment in run.captions:
        assert caption["text"] and caption["camera"] == "a" and caption["tags"] == ["one"] and caption["score"] < 0
        assert all(isinstance(label, str) for label in caption["labels"])
        taken = datetime.datetime.fromisoformat(caption["time"])
        # Both clocks say the same age; they are read one after the other.
        ages = before[0] - moment, (before[1] - taken).total_seconds()
        assert 0 <= ages[0] < PATIENCE and abs(ages[0] - ages[1]) < 0.5
    times = [caption["time"] for caption in run.of("a")]
    assert times == sorted(times)


def test_one_that_fails_is_tried_again_and_its_neighbour_goes_on(run):
    broken, well = run.add("broken", "rtsp://me:secret@127.0.0.1:9/none"), run.add("well", BALL)
    run.until(lambda: broken.errors >= 2)
    assert broken.pause == 4 * camera.FIRST_PAUSE and not broken.online and "secret" not in broken.fault
    count = len(run.of("well"))
    run.until(lambda: len(run.of("well")) > count)
    assert well.restarts == 0 and well.online and not run.of("broken")


def test_pauses_grow_to_a_limit(run):
    broken = run.add("broken", "nonsense")
    for _ in range(10):
        errors = broken.errors
        broken.next_start = 0
        run.until(lambda errors=errors: broken.errors > errors)
    assert broken.pause == camera.LAST_PAUSE
    assert broken.next_start > time.monotonic() + camera.LAST_PAUSE / 2
    assert "no file, no address, and no pipeline" in broken.fault


def test_a_source_that_ends_is_started_again(run):
    ended = run.add("ended", BALL.replace("pattern", "num-buffers=10 pattern"))
    run.until(lambda: ended.restarts >= 1)
    assert ended.fault == "the source has ended"
    count = len(run.of("ended"))
    run.until(lambda: len(run.of("ended")) > count)


def test_a_source_that_says_nothing_is_started_again(run):
    silent = run.add("silent", BALL + " ! valve drop=true", stall=1)
    run.until(lambda: silent.restarts >= 1)
    assert silent.errors == 1 and not run.captions


def test_a_file_is_played_again_and_again(run, tmp_path):
    path = tmp_path / "a film.avi"
    words = (
        "videotestsrc num-buffers=20 pattern=ball ! video/x-raw,width=160,height=120,framerate=10/1 ! jpegenc ! avimux"
    )
    made = subprocess.run(
        ["gst-launch-1.0", "-q", *words.split(), "!", "filesink", f"location={path}"], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no jpegenc or avimux here (Debian: gstreamer1.0-plugins-good)")
    film = run.add("film", str(path))
    begun = time.monotonic()
    run.until(lambda: film.restarts >= 2)
    assert time.monotonic() - begun > 3.5  # at its own pace, two seconds each time
    assert film.errors == 0 and len(run.of("film")) >= 2


def test_changes_while_it_plays(run):
    one = run.add("a", BALL)
    run.until(lambda: run.of("a"))
    pipeline = one.pipeline
    one.change(run.spec("a", BALL, prompt="a photo of", tags=["new"]))
    run.until(lambda: run.of("a")[-1]["text"].startswith("a photo of") and run.of("a")[-1]["tags"] == ["new"])
    assert one.pipeline is pipeline and one.restarts == 0
    one.change(run.spec("a", BALL.replace("ball", "smpte"), prompt=""))
    run.until(lambda: one.pipeline not in (None, pipeline))
    assert one.errors == 0


def test_a_change_while_it_starts_is_not_lost(run):
    one = run.add("a", "rtsp://127.0.0.1:9/none")
    one.poll()
    one.change(run.spec("a", BALL))
    run.until(lambda: run.of("a"))


@pytest.mark.parametrize(
    ("properties", "said"),
    [({"beans": 1}, 'no property "beans"'), ({"beams": "many"}, 'could not set property "beams"')],
)
def test_a_wrong_property_is_named(run, properties, said):
    one = run.add("a", BALL, properties=properties)
    run.until(lambda: one.fault)
    assert said in one.fault


def test_none_comes_after_stop(run):
    one = run.add("a", BALL)
    run.until(lambda: run.of("a"))
    one.stop()
    count = len(run.captions)
    run.pause(1)
    assert len(run.captions) == count and one.is_down()
