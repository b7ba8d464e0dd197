"""Says what is seen in pictures: the engine of gst-palme, without GStreamer.

    import palme

    model = palme.Model("captioner.safetensors")
    session = model.session()
    print(session.caption(palme.Picture(pixels, width=640, height=480)).text)

A model may be shared by sessions and threads; a session is for one thread at a time. The engine computes without
Python's lock.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from ._palme import ffi as _ffi
from ._palme import lib as _lib

__all__ = ["Caption", "Error", "Label", "Model", "Picture", "Session", "version"]

#: How many bytes a pixel of each format has; the names are those of palme.h, in small letters.
_BYTES = {
    "rgb": 3, "bgr": 3, "gray8": 1,
    "rgbx": 4, "bgrx": 4, "xrgb": 4, "xbgr": 4,
    "rgba": 4, "bgra": 4, "argb": 4, "abgr": 4,
}  # fmt: skip


class Error(Exception):
    """What the engine refused; `status` is its number in palme.h."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Label:
    """One of the everyday words that a model knows, and how likely it is in a picture."""

    name: str
    phrase: str
    probability: float


@dataclass(frozen=True)
class Caption:
    """A whole caption. `score` is the mean log-probability of its tokens; `confirmed`: the labels bear it out."""

    text: str
    score: float
    confirmed: bool
    labels: list[Label] = field(default_factory=list)


class Picture:
    """Pixels in memory: `data` is anything with a buffer (bytes, a memoryview, an array of uint8), row by row.

    `format` is "rgb", "bgr", "gray8", or with four bytes "rgbx", "bgrx", "xrgb", "xbgr", "rgba", "bgra", "argb",
    "abgr"; `stride` is the number of bytes from one row to the next, by default those of the pixels. The pixels are not
    copied and have to stay as they are while a session looks at them.
    """

    def __init__(self, data, *, width: int, height: int, format: str = "rgb", stride: int | None = None):
        if format not in _BYTES:
            raise ValueError(f"format is one of {', '.join(_BYTES)}, not {format!r}")
        if width < 1 or height < 1 or max(width, height) > _lib.PALME_MAX_SIDE:
            raise ValueError(f"width and height are 1 to {_lib.PALME_MAX_SIDE}, not {width} and {height}")
        row = width * _BYTES[format]
        stride = row if stride is None else stride
        if stride < row:
            raise ValueError(f"stride is at least {row} for {width} pixels of {format}, not {stride}")
        self._pixels = _ffi.from_buffer("uint8_t[]", data)
        needed = stride * (height - 1) + row
        if len(self._pixels) < needed:
            raise ValueError(f"data has {len(self._pixels)} bytes, but {width} x {height} pixels take {needed}")
        self._image = _ffi.new("struct palme_image *")
        self._image.format = getattr(_lib, "PALME_FORMAT_" + format.upper())
        self._image.width, self._image.height = width, height
        self._image.planes[0], self._image.strides[0] = self._pixels, stride


def version() -> str:
    """The version of the engine, "major.minor.patch"."""
    return _ffi.string(_lib.palme_version()).decode()


_said = threading.local()


@_ffi.def_extern(name="palme_python_log")
def _log(_user, level, message):
    if level == _lib.PALME_LOG_ERROR:
        _said.last = _ffi.string(message).decode("utf-8", "replace")


def _check(status: int, what: str) -> int:
    """Raises what the engine said during the call, or its phrase for the status."""
    said, _said.last = getattr(_said, "last", None), None
    if status < 0:
        raise Error(status, said or f"{what}: {_ffi.string(_lib.palme_strerror(status)).decode()}")
    return status


def _text(pointer) -> str:
    return _ffi.string(pointer).decode("utf-8", "replace")


class Model:
    """An open model file. What `threads`, `level` and `precision` mean is in palme.h; by default the engine chooses."""

    def __init__(
        self, path, *, threads: int = 0, level: str | None = None, precision: str | None = None, verify: bool = False
    ):
        setup = _ffi.new("struct palme_setup *", {"threads": threads, "verify": verify, "log": _lib.palme_python_log})
        keep = [_ffi.new("char[]", word.encode()) if word else _ffi.NULL for word in (level, precision)]
        setup.level, setup.precision = keep
        opened = _ffi.new("palme_model **")
        _check(_lib.palme_model_open(opened, os.fsencode(path), setup), os.fspath(path))
        # Sessions keep their model, so it is closed after the last of them.
        self._model = _ffi.gc(opened[0], _close_model)
        info = _ffi.new("struct palme_info *")
        _lib.palme_model_info(self._model, info)
        self.name, self.language, self.card = _text(info.name), _text(info.language), _text(info.card)
        self.level, self.precision = _text(info.level), _text(info.precision)
        self.image_size, self.threads, self.labels = info.image_size, info.threads, info.labels
        #: What captions go on from where no prompt is given; "" for nothing.
        self.default_prompt = _text(info.default_prompt)
        #: Captions with a lower score are better not shown; None if the model says nothing of it.
        self.min_score = info.min_score if info.has_min_score else None

    def session(self, **options) -> Session:
        """A session with options of palme_options, by name: beams, max_length, temperature, top_k, top_p, seed..."""
        return Session(self, **options)


def _close_model(model):
    _lib.palme_model_close(_ffi.new("palme_model **", model))


def _close_session(session):
    _lib.palme_session_close(_ffi.new("palme_session **", session))


class Session:
    """Captions one picture after the other. Iterating gives the pieces of a caption as they are generated."""

    def __init__(self, model: Model, **options):
        self._keep = []
        fields = dict(_ffi.typeof("struct palme_options").fields)
        given = _ffi.new("struct palme_options *", {"log": _lib.palme_python_log})
        for name, value in options.items():
            if name not in fields or name in ("log", "log_user", "cancel", "cancel_user", "reserved"):
                raise TypeError(f"session() has no option {name!r}")
            if isinstance(value, str):
                value = _ffi.new("char[]", value.encode())
                self._keep.append(value)
            setattr(given, name, value)
        opened = _ffi.new("palme_session **")
        _check(_lib.palme_session_open(opened, model._model, given), "session")
        self.model = model
        self._session = _ffi.gc(opened[0], _close_session)

    def look(self, picture: Picture) -> None:
        """Begins a new caption."""
        _check(_lib.palme_look(self._session, picture._image), "look")

    def prompt(self, text: str | None) -> None:
        """Sets the words that the caption goes on from, between look() and the first piece; None: the model's own."""
        _check(_lib.palme_prompt(self._session, _ffi.NULL if text is None else text.encode()), "prompt")

    def __iter__(self) -> Iterator[str]:
        piece = _ffi.new("const char **")
        while _check(_lib.palme_next(self._session, piece), "next") == _lib.PALME_OK:
            yield _text(piece[0])

    def finish(self) -> None:
        """Ends the caption where it is: the pieces that follow are the rest of the best one so far."""
        _check(_lib.palme_finish(self._session), "finish")

    def score(self, text: str | None = None) -> float:
        """The mean log-probability of the caption's tokens, or of another text for the same picture."""
        if text is None:
            return _lib.palme_caption_score(self._session)
        mean = _ffi.new("double *")
        _check(_lib.palme_score(self._session, text.encode(), mean), "score")
        return mean[0]

    def labels(self) -> list[Label]:
        """The labels of the picture, most likely first; none for a model without."""
        found = _ffi.new("struct palme_label[]", _lib.PALME_MAX_LABELS)
        count = _check(_lib.palme_labels(self._session, found, len(found)), "labels")
        return [Label(_text(label.name), _text(label.phrase), label.probability) for label in found[0:count]]

    def confirms(self, text: str) -> bool:
        """Whether the labels of the picture bear a text out, prompt and caption; always for a model without."""
        return _check(_lib.palme_confirms(self._session, text.encode()), "confirms") == 1

    def cautious(self) -> str:
        """What may be said instead of a caption that is not confirmed: "a photo of a dog", or nothing."""
        return _text(_lib.palme_cautious(self._session))

    def caption(self, picture: Picture, prompt: str | None = None) -> Caption:
        """The whole caption of a picture; of a prompt, what follows it."""
        self.look(picture)
        if prompt is not None:
            self.prompt(prompt)
        text = "".join(self)
        # It may be the prompt that names the thing. The end of a sentence that is too long has its newest words.
        sentence = ((self.model.default_prompt if prompt is None else prompt) + text).encode()
        confirmed = self.confirms(sentence[-_lib.PALME_MAX_PROMPT_BYTES :].decode(errors="ignore"))
        return Caption(text.strip() if prompt is None else text, self.score(), confirmed, self.labels())
