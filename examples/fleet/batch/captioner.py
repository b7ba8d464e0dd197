# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a worker does: opens files, captions them, writes the rows of a shard. It knows nothing of Ray."""

from __future__ import annotations

import io
import os
import queue
import tempfile
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import fsspec
import pyarrow as pa

from .dataset import SCHEMA, DataSet, OutputError, part_name
from .inputs import PHOTOS, VIDEOS, Entry, extension

#: More than any camera's photo, and as a picture in memory 300 MB.
MAX_PIXELS = 100_000_000
#: A photo is read whole; a video is not.
MAX_PHOTO_BYTES = 256 << 20
#: How many photos are fetched and decoded while another one is captioned.
AHEAD = 2
MAX_ERROR = 500


@dataclass(frozen=True)
class Settings:
    """What is the same for all shards of a run. `timeout` is in seconds: for a photo, and for each step of a video."""

    output: str
    model_digest: str
    interval: float
    timeout: float
    cores: int
    run: int
    mark: str


@dataclass(frozen=True)
class Shard:
    """Entries with their keys. `found`: the places of those that are known to end a worker, and what to say of them."""

    entries: tuple[Entry, ...]
    keys: tuple[bytes, ...]
    found: dict[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return part_name(list(self.keys))


@dataclass
class Outcome:
    """What became of a shard. `blocked`: why its rows could not be written. `stuck`: how many threads hang."""

    files: int = 0
    captions: int = 0
    errors: list[tuple[str, str]] = field(default_factory=list)
    blocked: str | None = None
    stuck: int = 0


class TimedOut(Exception):
    """What was waited for did not come within the limit."""


class NoPicture(ValueError):
    """What was taken for a photo is in no known format."""


class Pixels:
    """A decoded picture, row by row without gaps."""

    def __init__(self, data: bytes, width: int, height: int, format: str):
        self.data, self.width, self.height, self.format = data, width, height, format


# ---- Photos and videos to pixels


def read(address: str) -> bytes:
    """A whole file. Raises ValueError for an empty one, and one that is too large for a photo."""
    if "://" in address:
        fs, path = fsspec.core.url_to_fs(address)
        opened = fs.open(path, "rb", cache_type="none")
    else:
        opened = open(address, "rb")  # noqa: SIM115
    with opened as file:
        data = file.read(MAX_PHOTO_BYTES + 1)
    if not data:
        raise ValueError("the file is empty")
    if len(data) > MAX_PHOTO_BYTES:
        raise ValueError(f"the file has more than the {MAX_PHOTO_BYTES >> 20} MiB that a photo may have")
    return data


def photo(data: bytes) -> Pixels:
    """Decodes a photo as its EXIF orientation shows it. Of an animation, the first picture."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    with warnings.catch_warnings():
        # Its size is judged here, before anything is decoded.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(data))
        except UnidentifiedImageError:
            raise NoPicture("this is no picture that Pillow can read") from None
        except Image.DecompressionBombError as error:
            raise ValueError(str(error)) from None
    check_size(*image.size)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        # 16 bits a pixel, which convert() would cut off at 255.
        image = image.point(lambda value: value / 256).convert("L")
    transparent = image.has_transparency_data
    image = image.convert("RGBA" if transparent else "RGB")
    return Pixels(image.tobytes(), image.width, image.height, "rgba" if transparent else "rgb")


def check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"the picture has {width} x {height} pixels, more than the {MAX_PIXELS} that are decoded")


def frames(address: str, interval: float, threads: int) -> Iterator[tuple[float, Pixels]]:
    """Time and picture every `interval` seconds. Raises ValueError at the end of a video that was cut short."""
    import av

    source = address
    if "://" in address:
        fs, path = fsspec.core.url_to_fs(address)
        source = fs.open(path, "rb")
    try:
        with av.open(source, mode="r") as container:
            if not container.streams.video:
                raise ValueError("there is no video in the file")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = threads
            check_size(stream.codec_context.width, stream.codec_context.height)
            begin = end = due = None
            for frame in container.decode(stream):
                if frame.time is None:
                    continue
                begin, end = frame.time if begin is None else begin, frame.time
                if due is None or frame.time >= due - 1e-6:
                    check_size(frame.width, frame.height)
                    yield frame.time - begin, _upright(frame)
                    # On a fixed grid, so that a late frame does not move all that follow.
                    due = begin + interval * (int((frame.time - begin + 1e-6) / interval) + 1)
            if begin is None:
                raise ValueError("there is no picture in the video")
            length = _length(container, stream)
            # Headers round, and the last frame has a length, too.
            if length and end - begin < 0.95 * length - 1:
                raise ValueError(f"the video is cut short: it ends after {end - begin:.1f} of {length:.1f} seconds")
    finally:
        if source is not address:
            source.close()


def _length(container, stream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None


def _upright(frame) -> Pixels:
    import numpy as np

    pixels = frame.to_ndarray(format="rgb24")
    # FFmpeg counts degrees against the clock, as numpy does.
    pixels = np.ascontiguousarray(np.rot90(pixels, round(getattr(frame, "rotation", 0) / 90) % 4))
    return Pixels(pixels.tobytes(), pixels.shape[1], pixels.shape[0], "rgb")


# ---- Time limits


class Limited:
    """Runs a generator in a thread of its own, so that the wait for each of its values has a limit.

    What hangs in a system call cannot be ended from inside of the process; its thread is left behind, and `stuck` says
    so. The worker's process is then replaced after the shard.
    """

    def __init__(self, make: Callable[[], Iterator], timeout: float):
        self._timeout = timeout
        self._values = queue.Queue(maxsize=1)
        self._gone = threading.Event()
        self.stuck = False
        threading.Thread(target=self._run, args=(make,), daemon=True).start()

    def _run(self, make):
        try:
            for value in make():
                if not self._give((value, None)):
                    return
            self._give((None, StopIteration()))
        except BaseException as error:
            self._give((None, error))

    def _give(self, value) -> bool:
        while not self._gone.is_set():
            try:
                self._values.put(value, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self):
        try:
            while True:
                try:
                    value, error = self._values.get(timeout=self._timeout)
                except queue.Empty:
                    self.stuck = True
                    raise TimedOut(f"nothing came within {self._timeout:g} seconds") from None
                if isinstance(error, StopIteration):
                    return
                if error is not None:
                    raise error
                yield value
        finally:
            self._gone.set()


# ---- Captions


class Captioner:
    """A model, loaded once, and what it says of shards. `model` is the content of the model file."""

    def __init__(self, model: bytes, settings: Settings):
        import palme

        self._palme = palme
        self.settings = settings
        self.output = DataSet(settings.output)
        if not self.output.has(settings.mark):
            raise OutputError(
                f"{settings.output}: a worker on {os.uname().nodename} does not see what archive.py wrote there; "
                "OUTPUT has to be a folder that all nodes share, or an address such as s3://"
            )
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
            # Mapped or read, the model stays open when the name is gone.
            file.write(model)
            file.flush()
            self._model = palme.Model(file.name, threads=settings.cores)
        self._session = self._model.session()
        self._kept: tuple[str, pa.Table, Outcome] | None = None

    def caption(self, shard: Shard) -> Outcome:
        """Captions a shard and writes its file. When it comes again after it was blocked, it is only written."""
        for step in self.steps(shard, AHEAD):
            last = step
        return last

    def steps(self, shard: Shard, ahead: int = 0) -> Iterator[int | Outcome]:
        """The same step by step: the place of each file before it is touched, at last the outcome.

        So much may be fetched and decoded `ahead`; with nothing ahead, what ends the process is at the last place.
        """
        if self._kept is None or self._kept[0] != shard.name:
            rows, outcome = [], Outcome(files=len(shard.entries))
            begun: deque[Limited | None] = deque()
            for place in range(len(shard.entries)):
                yield place
                while len(begun) <= ahead and place + len(begun) < len(shard.entries):
                    begun.append(self._begin(shard, place + len(begun)))
                rows += self._rows(shard, place, begun.popleft(), outcome)
            self._kept = (shard.name, pa.Table.from_pylist(rows, schema=SCHEMA), outcome)
        _, table, outcome = self._kept
        try:
            current = self.output.has(self.settings.mark)
            if current:
                self.output.write(shard.name, table)
        except OutputError as error:
            yield Outcome(blocked=str(error))
            return
        if not current:
            # A worker that was thought dead, or of a run that was killed, must not write once that is done again.
            raise OutputError(f"{self.settings.output}: another run of archive.py has begun there")
        self._kept = None
        yield outcome

    def _rows(self, shard: Shard, place: int, pictures: Limited | None, outcome: Outcome) -> list[dict]:
        """The rows of one file, counted in `outcome`."""
        made, error = self._one(shard, place, pictures, outcome)
        source = shard.entries[place].source
        outcome.captions += len(made)
        if error is not None:
            made.append({"error": error})
            outcome.errors.append((source, error))
        of_file = {
            "source": source, "version": shard.entries[place].version, "key": shard.keys[place],
            "model_digest": self.settings.model_digest, "run": self.settings.run,
        }  # fmt: skip
        return [of_file | row for row in made]

    def _begin(self, shard: Shard, place: int) -> Limited | None:
        """Begins to fetch and decode a file; None for those that are not opened."""
        entry, s = shard.entries[place], self.settings
        if entry.error is not None or place in shard.found:
            return None

        def pictures():
            if extension(entry.source) in VIDEOS:
                yield from frames(entry.address, s.interval, s.cores)
                return
            data = read(entry.address)
            try:
                yield None, photo(data)
            except NoPicture:
                if extension(entry.source) in PHOTOS:
                    raise
                # A name that says nothing: what is no photo may be a video.
                del data
                yield from frames(entry.address, s.interval, s.cores)

        return Limited(pictures, s.timeout)

    def _one(
        self, shard: Shard, place: int, pictures: Limited | None, outcome: Outcome
    ) -> tuple[list[dict], str | None]:
        """The rows of one file and its error, after a second try."""
        if place in shard.found:
            return [], shard.found[place]
        error = shard.entries[place].error
        for _ in range(2):
            if pictures is None:
                pictures = self._begin(shard, place)
            if pictures is None:
                return [], error
            made = []
            try:
                for when, pixels in pictures:
                    made.append(self._say(pixels) | {"time": when})
                return made, None
            except Exception as trouble:
                error = describe(trouble)
            outcome.stuck += pictures.stuck
            pictures = None
        # A video that was cut short keeps what could be seen of it.
        return made, error

    def _say(self, pixels: Pixels) -> dict:
        """A caption as the command palme-caption says it: where the model is not sure, of the likeliest label alone."""
        picture = self._palme.Picture(pixels.data, width=pixels.width, height=pixels.height, format=pixels.format)
        said = self._session.caption(picture)
        least = self._model.min_score
        unsure = not said.confirmed or (least is not None and said.score < least)
        return {
            "caption": self._session.cautious() if unsure else said.text,
            "score": said.score,
            "unsure": unsure,
            "labels": [{"name": label.name, "probability": label.probability} for label in said.labels],
        }


def describe(error: BaseException) -> str:
    """What to say of an error, in a line of bounded length."""
    if isinstance(error, TimedOut):
        return str(error)
    text = getattr(error, "strerror", None) or str(error)
    words = " ".join(text.split()) or "no reason given"
    return (words if isinstance(error, ValueError) else f"{type(error).__name__}: {words}")[:MAX_ERROR]
