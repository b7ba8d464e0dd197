# SPDX-License-Identifier: LGPL-2.1-or-later
"""The parts of archive.py without a cluster: listing, keys, the data set, files, and what becomes of a shard."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples" / "fleet"), str(Path(__file__).parent / "standin")]

from batch import captioner, inputs  # noqa: E402
from batch.captioner import Captioner, Settings, Shard  # noqa: E402
from batch.dataset import SCHEMA, DataSet, OutputError, part_name  # noqa: E402
from batch.inputs import Entry, Keys, UsageError  # noqa: E402


def picture(path: Path, size=(40, 30), color=(10, 200, 30), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, **options)
    return path


def names(entries) -> list[str]:
    return sorted(Path(entry.source).name for entry in entries)


# ---- What there is


def test_a_folder_gives_photos_and_videos_below_it(tmp_path):
    for name in ("a.jpg", "b.PNG", "sub/deep/c.webp", "sub/v.mp4"):
        picture(tmp_path / "photos" / name, format="PNG")
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    (tmp_path / "photos" / "broken.jpg").symlink_to("nowhere")
    (tmp_path / "photos" / "loop").symlink_to(tmp_path / "photos")
    found = list(inputs.named(str(tmp_path / "photos")))
    assert names(found) == ["a.jpg", "b.PNG", "broken.jpg", "c.webp", "v.mp4"]
    assert [entry.error for entry in found if entry.source.endswith("broken.jpg")] == [
        "FileNotFoundError: No such file or directory"
    ]


def test_a_folder_is_read_as_a_stream(tmp_path, monkeypatch):
    """Of a thousand files only those that are asked for are looked at."""
    for number in range(1000):
        (tmp_path / f"{number}.jpg").touch()
    looked = itertools.count()
    local = inputs._local
    monkeypatch.setattr(inputs, "_local", lambda *words: (next(looked), local(*words))[1])
    assert len(list(itertools.islice(inputs.named(str(tmp_path)), 10))) == 10
    assert next(looked) == 10


def test_a_relative_name_is_the_same_file(tmp_path, monkeypatch):
    picture(tmp_path / "photos" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert [next(iter(inputs.named(name))).source for name in ("photos", "photos/a.png", "photos/*")] == [
        f"{tmp_path}/photos/a.png"
    ] * 3


def test_addresses_of_fsspec(tmp_path):
    memory = fsspec.filesystem("memory")
    for name in ("a.jpg", "b/c.jpg", "b/d.txt"):
        memory.pipe_file(f"/archive/{name}", b"content")
    assert [entry.source for entry in inputs.named("memory://archive")] == [
        "memory:///archive/a.jpg", "memory:///archive/b/c.jpg",
    ]  # fmt: skip
    assert names(inputs.named("memory://archive/*.jpg")) == ["a.jpg"]
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(picture(tmp_path / "in.png"), "in.png")
    (entry,) = inputs.named(f"zip://*.png::file://{tmp_path}/photos.zip")
    assert captioner.photo(captioner.read(entry.address)).width == 40
    # A file is the same by its path and by its address.
    picture(tmp_path / "one.png")
    paths = [str(tmp_path / "one.png"), f"file://{tmp_path}/one.png", f"{tmp_path}/one*"]
    assert len({next(iter(inputs.named(path))) for path in paths}) == 1
    memory.rm("/archive", recursive=True)


def test_the_count_is_that_of_the_listing(tmp_path):
    for name in ("photos/a.png", "photos/b/c.jpg", "d.png"):
        picture(tmp_path / name)
    (tmp_path / "photos" / "notes.txt").touch()
    (tmp_path / "list").write_text(f"{tmp_path}/d.png\n\n")
    folder, one, several = str(tmp_path / "photos"), str(tmp_path / "d.png"), str(tmp_path / "list")
    assert len([*inputs.named(folder), *inputs.named(one), *inputs.listed(several)]) == 4
    assert inputs.count([folder, one], several) == 4
    assert inputs.count([folder, "s3://bucket"], None) is None


def test_a_list_keeps_what_cannot_be_looked_at(tmp_path):
    picture(tmp_path / "a b.png")
    (tmp_path / "list").write_bytes(os.fsencode(f"{tmp_path}/a b.png\n\n{tmp_path}/gone.png\r\n") + b"/no\xff.jpg\n")
    found = list(inputs.listed(str(tmp_path / "list")))
    assert [entry.error is None for entry in found] == [True, False, False]
    assert found[2].source == "/no\\xff.jpg"
    assert os.fsencode(found[2].address) == b"/no\xff.jpg"


def test_what_is_not_there_is_a_wrong_usage(tmp_path):
    for address in (f"{tmp_path}/gone", f"{tmp_path}/*.jpg", "nosuch://bucket", f"zip://*::file://{tmp_path}/gone.zip"):
        with pytest.raises(UsageError, match=r"gone|jpg|nosuch"):
            list(inputs.named(address))


# ---- Who is who


def test_a_key_changes_with_file_model_and_interval():
    photo = Entry("/a.jpg", "/a.jpg", "10-1")
    video = Entry("/a.mp4", "/a.mp4", "10-1")
    assert inputs.key(photo, "m", 1) == inputs.key(photo, "m", 2)
    different = {
        inputs.key(photo, "m", 1), inputs.key(Entry("/a.jpg", "/a.jpg", "10-2"), "m", 1), inputs.key(photo, "n", 1),
        inputs.key(video, "m", 1), inputs.key(video, "m", 2),
    }  # fmt: skip
    assert len(different) == 5


def test_versions():
    assert inputs.version({"size": 3, "ETag": '"ab"', "LastModified": 7}) == "3-ab"
    assert inputs.version({"size": 3, "mtime": 1.5}) == "3-1.5"
    assert inputs.version({"size": 3}) == "3"


def test_keys_hold_what_was_added(monkeypatch):
    monkeypatch.setattr(Keys, "NEWEST", 7)
    # Zeros at the end, which numpy does not keep, among them.
    values = [bytes([n % 256, n // 256]) + bytes(14) for n in range(500)] + [
        inputs.name_hash(str(n)) for n in range(500)
    ]
    keys = Keys(np.array(values[:100], "S16"))
    assert all(value in keys for value in values[:100])
    assert [keys.add(value) for value in values] == [False] * 100 + [True] * 900
    assert len(keys) == 1000
    assert all(value in keys for value in values)
    assert not any(inputs.name_hash(f"other {n}") in keys for n in range(500))


def test_the_name_of_a_part_is_of_its_keys():
    assert part_name([b"a" * 16, b"b" * 16]) == part_name([b"a" * 16, b"b" * 16])
    assert part_name([b"a" * 16]) != part_name([b"b" * 16])


# ---- The data set


def rows(sources: dict[str, str | None], run: int = 1, version: str = "1") -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"source": source, "caption": None if error else f"caption of run {run}", "error": error, "run": run,
             "version": version, "key": inputs.key(Entry(source, source, version), "m", 1), "model_digest": "m"}
            for source, error in sources.items()
        ],
        schema=SCHEMA,
    )  # fmt: skip


@pytest.fixture(params=["local", "memory"])
def output(request, tmp_path):
    data = DataSet(str(tmp_path / "out") if request.param == "local" else f"memory://{tmp_path.name}/out")
    data.prepare(".run-1")
    return data


def test_what_is_done_is_known(output):
    output.write("part-a.parquet", rows({"1": None, "2": "broken"}, run=5))
    known = output.known()
    assert known.run == 5
    assert [inputs.key(Entry(n, n, "1"), "m", 1) in known.done for n in "123"] == [True, True, False]
    again = output.known(retry_errors=True)
    assert [inputs.key(Entry(n, n, "1"), "m", 1) in again.done for n in "123"] == [True, False, False]


def test_tidy_keeps_the_newest_run_of_a_source(output):
    output.write("part-a.parquet", rows({"1": None, "2": None, "3": None}, run=1))
    output.write("part-b.parquet", rows({"2": None}, run=2, version="2"))
    output.write("part-c.parquet", rows({"3": None}, run=2, version="2"))
    # A worker of a run that was thought dead wrote its shard after the next run had done these files.
    output.write("part-d.parquet", rows({"3": None, "4": None}, run=1))
    assert output.tidy() == 2
    assert sorted((row["source"], row["run"]) for row in output.rows()) == [("1", 1), ("2", 2), ("3", 2), ("4", 1)]
    assert output.tidy() == 0
    output.write("part-e.parquet", rows({"2": None}, run=3))
    assert output.tidy() == 1
    assert "part-b.parquet" not in output.parts()


def test_equal_rows_of_one_run_are_one(output):
    output.write("part-a.parquet", rows({"1": None, "2": None}))
    output.write("part-b.parquet", rows({"2": None, "3": None}))
    output.tidy()
    assert sorted(row["source"] for row in output.rows()) == ["1", "2", "3"]


def test_reading_starts_no_threads_that_could_outlive_python(tmp_path):
    data = DataSet(str(tmp_path))
    data.write("part-a.parquet", rows({"1": None, "2": "broken"}))
    data.write("part-b.parquet", rows({"2": None}, run=2))
    # A process of its own, as Arrow keeps the threads of earlier tests.
    code = (
        "import os, sys; from batch.dataset import DataSet; data = DataSet(sys.argv[1])\n"
        "threads = lambda: len(os.listdir('/proc/self/task'))\n"
        "before = threads(); data.known(True); assert data.tidy() == 1; assert len(list(data.rows())) == 2\n"
        "assert threads() == before, (before, threads())"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "examples" / "fleet")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_was_half_written_is_neither_seen_nor_kept(tmp_path):
    data = DataSet(str(tmp_path))
    data.write("part-a.parquet", rows({"1": None}))
    (tmp_path / ".part-b.parquet.1234.tmp").write_bytes(b"half")
    assert pyarrow.dataset.dataset(str(tmp_path), format="parquet").to_table().num_rows == 1
    data.prepare(".run-2")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".run-2", "part-a.parquet"]


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    data = DataSet(str(tmp_path))
    data.write("part-a.parquet", rows({"1": None}))
    before = (tmp_path / "part-a.parquet").read_bytes()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"part-a.parquet cannot be written: No space left on device"):
        data.write("part-a.parquet", rows({"1": None, "2": None}))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("part-a.parquet", before)]


def test_a_part_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "part-x.parquet").write_bytes(b"not Parquet")
    with pytest.raises(OutputError, match=r"part-x\.parquet cannot be read.*remove it"):
        DataSet(str(tmp_path)).known()


# ---- Files


def test_a_photo_is_upright_and_whole(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = captioner.photo(picture(tmp_path / "a.jpg", (40, 30), exif=exif).read_bytes())
    assert (pixels.width, pixels.height, pixels.format, len(pixels.data)) == (30, 40, "rgb", 3600)
    buffer = io.BytesIO()
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(buffer, "PNG")
    assert captioner.photo(buffer.getvalue()).format == "rgba"
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(buffer, "PNG")
    assert captioner.photo(buffer.getvalue()).data[0] == 40_000 // 256


def test_a_bomb_is_not_decoded(tmp_path):
    data = picture(tmp_path / "a.png", (captioner.MAX_PIXELS // 1000 + 1, 1000)).read_bytes()
    began = time.process_time()
    with pytest.raises(ValueError, match="more than the"):
        captioner.photo(data)
    # Decoding these takes half a second at least on any machine of today; reading their size, some microseconds.
    assert time.process_time() - began < 0.25


def video(path: Path, seconds: float, rate: int = 5) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height = 64, 48
        for number in range(int(seconds * rate)):
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 48), (number * 3 % 256, 99, 20)))
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_video_gives_a_picture_an_interval(tmp_path):
    times = [when for when, _ in captioner.frames(str(video(tmp_path / "a.mkv", 10)), 2.5, 1)]
    # Of five pictures a second, those at the grid or right after it.
    assert times == pytest.approx([0, 2.6, 5, 7.6], abs=0.11)
    pictures = captioner.frames(f"file://{tmp_path}/a.mkv", 100, 1)
    assert [(pixels.width, pixels.height) for _, pixels in pictures] == [(64, 48)]


def test_a_video_that_is_cut_short_says_so(tmp_path):
    whole = video(tmp_path / "a.mkv", 20).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    times = []
    with pytest.raises(ValueError, match="cut short: it ends after"):
        times += [when for when, _ in captioner.frames(str(tmp_path / "cut.mkv"), 2, 1)]


# ---- Shards


@pytest.fixture
def worker(tmp_path):
    settings = Settings(str(tmp_path / "out"), "m", 1.0, 2.0, 1, 7, ".run-7")
    DataSet(settings.output).prepare(settings.mark)
    return Captioner(b"model", settings)


def shard(*paths) -> Shard:
    entries = tuple(next(iter(inputs.named(str(path)))) for path in paths)
    return Shard(entries, tuple(inputs.key(entry, "m", 1.0) for entry in entries))


def test_bad_files_are_listed_and_the_rest_is_captioned(worker, tmp_path):
    good = picture(tmp_path / "good.png")
    bad = {
        "empty.jpg": "the file is empty",
        "text.png": "no picture that Pillow can read",
        "cut.png": "truncated|Truncated|broken|incomplete",
        "pipe.jpg": "nothing came within 2 seconds",
        "noise.mp4": "Invalid data",
    }
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "cut.png").write_bytes(picture(tmp_path / "large.png", (300, 300)).read_bytes()[:200])
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 20)
    work = shard(*[tmp_path / name for name in bad], good)
    outcome = worker.caption(work)
    assert (outcome.files, outcome.captions, len(outcome.errors), outcome.stuck) == (6, 1, 5, 2)
    import re

    table = {Path(row["source"]).name: row for row in worker.output.rows()}
    assert {name: bool(re.search(said, table[name]["error"])) for name, said in bad.items()} == dict.fromkeys(bad, True)
    assert all(table[name]["caption"] is None for name in bad)
    assert (table["good.png"]["caption"], table["good.png"]["error"]) == ("40 by 30 pixels", None)


class Web(BaseHTTPRequestHandler):
    """/a.png is a photo, /slow.png begins and never ends, all else is missing."""

    def do_GET(self):
        if "slow" not in self.path and "a.png" not in self.path:
            self.send_error(404)
            return
        data = io.BytesIO()
        Image.new("RGB", (40, 30)).save(data, "PNG")
        self.send_response(200)
        self.send_header("Content-Length", str(len(data.getvalue())))
        self.send_header("ETag", '"of-this-photo"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data.getvalue()[: 10 if "slow" in self.path else None])
            if "slow" in self.path:
                self.server.end.wait(60)

    do_HEAD = do_GET

    def log_message(self, *_words):
        pass


def test_photos_of_a_web_server(worker, tmp_path):
    """A photo that hangs half way costs its time limit, one that is missing its own row."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    server.end, server.daemon_threads = threading.Event(), True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        site = f"http://127.0.0.1:{server.server_port}"
        (tmp_path / "list").write_text("".join(f"{site}/{name}.png\n" for name in ("a", "slow", "gone")))
        found = tuple(inputs.listed(str(tmp_path / "list")))
        assert "of-this-photo" in found[0].version
        outcome = worker.caption(Shard(found, tuple(inputs.key(entry, "m", 1) for entry in found)))
    finally:
        server.end.set()
        server.shutdown()
    assert (outcome.captions, [source for source, _ in outcome.errors]) == (1, [f"{site}/slow.png", f"{site}/gone.png"])
    assert "within 2 seconds" in outcome.errors[0][1]
    assert "gone.png" in outcome.errors[1][1]


def test_a_file_has_a_second_try(worker, tmp_path, monkeypatch):
    path = picture(tmp_path / "a.png")
    tries = []

    def read(address):
        tries.append(address)
        if len(tries) == 1:
            raise ConnectionError("reset by peer")
        return path.read_bytes()

    monkeypatch.setattr(captioner, "read", read)
    assert worker.caption(shard(path)).errors == []
    assert len(tries) == 2


def test_a_shard_that_cannot_be_written_is_not_captioned_again(worker, tmp_path, monkeypatch):
    said = []
    say = worker._say
    monkeypatch.setattr(worker, "_say", lambda pixels: (said.append(1), say(pixels))[1])
    work = shard(picture(tmp_path / "a.png"))
    write = worker.output.write

    def full(name, table):
        raise OutputError("no space")

    monkeypatch.setattr(worker.output, "write", full)
    assert worker.caption(work).blocked == "no space"
    monkeypatch.setattr(worker.output, "write", write)
    outcome = worker.caption(work)
    assert (outcome.blocked, outcome.captions, len(said)) == (None, 1, 1)
    assert worker.output.parts() == [work.name]


def test_a_worker_of_an_older_run_does_not_write(worker, tmp_path):
    work = shard(picture(tmp_path / "a.png"))
    worker.output.prepare(".run-8")
    with pytest.raises(OutputError, match="another run"):
        worker.caption(work)
    assert worker.output.parts() == []


def test_a_worker_says_where_the_output_is_not_shared(tmp_path):
    with pytest.raises(OutputError, match="all nodes share"):
        Captioner(b"model", Settings(str(tmp_path / "elsewhere"), "m", 1.0, 2.0, 1, 7, ".run-7"))


def test_a_known_culprit_is_left_alone(worker, tmp_path, monkeypatch):
    """A file that is known to end the worker's process is not opened again."""
    red = picture(tmp_path / "red.png", color=(255, 0, 0))
    work = shard(red, picture(tmp_path / "a.png"))
    read, opened = captioner.read, []
    monkeypatch.setattr(captioner, "read", lambda address: (opened.append(address), read(address))[1])
    outcome = worker.caption(Shard(work.entries, work.keys, {0: "it ends the process"}))
    assert outcome.errors == [(str(red), "it ends the process")]
    assert outcome.captions == 1
    assert opened == [str(tmp_path / "a.png")]


def test_steps_tell_of_a_file_before_it_is_touched(worker, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(captioner, "read", lambda address: read.append(address))
    steps = worker.steps(shard(picture(tmp_path / "a.png"), picture(tmp_path / "b.png")))
    assert (next(steps), read) == (0, [])
    assert (next(steps), {Path(path).name for path in read}) == (1, {"a.png"})
    assert isinstance(next(steps), captioner.Outcome)
