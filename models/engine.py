# SPDX-License-Identifier: LGPL-2.1-or-later
"""engine.py - the engine's library for scripts: a model file opened, pictures captioned, sentences scored.

    with Engine("model.safetensors", "int8") as engine:
        caption, score = engine.caption(image)     # image: uint8 [height, width, 3], RGB
        score = engine.score("a dog")              # of that picture

libpalme.so.1 is found as the dynamic linker finds it, or where PALME_LIBRARY says. A configuration that stands in for
the file's is tried without writing a file. The structs are those of engine/palme.h, whose layout does not change.
"""

import ctypes as c
import ctypes.util
import errno
import functools
import json
import os

from models.data import DataError

OK, END = 0, 1
_LOG = c.CFUNCTYPE(None, c.c_void_p, c.c_int, c.c_char_p)
_READ = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_uint64, c.c_void_p, c.c_size_t)


class _Setup(c.Structure):
    _fields_ = [
        ("threads", c.c_int),
        ("verify", c.c_int),
        ("level", c.c_char_p),
        ("precision", c.c_char_p),
        ("log", _LOG),
        ("log_user", c.c_void_p),
        ("reserved", c.c_uint64 * 8),
    ]


class _Source(c.Structure):
    _fields_ = [("size", c.c_uint64), ("read_at", _READ), ("user", c.c_void_p), ("reserved", c.c_uint64 * 4)]


class _Options(c.Structure):
    _fields_ = [
        ("max_length", c.c_int),
        ("beams", c.c_int),
        ("temperature", c.c_double),
        ("top_k", c.c_int),
        ("top_p", c.c_double),
        ("seed", c.c_uint64),
        ("length_penalty", c.c_double),
        ("no_repeat_ngram", c.c_int),
        ("min_length", c.c_int),
        ("no_draft", c.c_int),
        ("cancel", c.c_void_p),
        ("cancel_user", c.c_void_p),
        ("log", c.c_void_p),
        ("log_user", c.c_void_p),
        ("label_weight", c.c_double),
        ("no_labels", c.c_int),
        ("blocklist", c.c_char_p),
        ("reserved", c.c_uint64 * 13),
    ]


class _Image(c.Structure):
    _fields_ = [
        ("format", c.c_int),
        ("width", c.c_int),
        ("height", c.c_int),
        ("planes", c.c_void_p * 4),
        ("strides", c.c_ssize_t * 4),
        ("matrix", c.c_int),
        ("range", c.c_int),
        ("premultiplied", c.c_int),
        ("row", c.c_void_p),
        ("row_user", c.c_void_p),
        ("reserved", c.c_uint64 * 2),
    ]


@functools.cache
def library():
    """The engine. DataError where it is not found."""
    name = os.environ.get("PALME_LIBRARY") or ctypes.util.find_library("palme") or "libpalme.so.1"
    try:
        lib = c.CDLL(name)
    except OSError as error:
        raise DataError(
            f"the engine's library is not found; install it, or name it in PALME_LIBRARY: {error}"
        ) from None
    handle, pointer = c.POINTER(c.c_void_p), c.c_void_p
    lib.palme_model_open.argtypes = [handle, c.c_char_p, c.POINTER(_Setup)]
    lib.palme_model_open_source.argtypes = [handle, c.POINTER(_Source), c.c_char_p, c.POINTER(_Setup)]
    lib.palme_model_close.argtypes = lib.palme_session_close.argtypes = [handle]
    lib.palme_session_open.argtypes = [handle, pointer, c.POINTER(_Options)]
    lib.palme_session_set_options.argtypes = [pointer, c.POINTER(_Options)]
    lib.palme_look.argtypes = [pointer, c.POINTER(_Image)]
    lib.palme_prompt.argtypes = [pointer, c.c_char_p]
    lib.palme_next.argtypes = [pointer, c.POINTER(c.c_char_p)]
    lib.palme_caption_score.argtypes, lib.palme_caption_score.restype = [pointer], c.c_double
    lib.palme_score.argtypes = [pointer, c.c_char_p, c.POINTER(c.c_double)]
    lib.palme_strerror.restype = c.c_char_p
    return lib


def with_config(path, config):
    """(the beginning of a model file with another configuration, where the rest of the file begins, its size)"""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header["__metadata__"]["config"] = json.dumps(config)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, 8 + size, os.path.getsize(path)


class Engine:
    def __init__(self, path, precision="auto", config=None, threads=0, **options):
        """config: the nested configuration (FORMAT.md, 3) to read instead of the file's. options: members of
        palme_options."""
        self.lib, self.said = library(), []
        self.model, self.session = c.c_void_p(), c.c_void_p()
        log = _LOG(lambda _, level, message: self.said.append((message or b"").decode(errors="replace")))
        setup = _Setup(threads=threads, precision=precision.encode(), log=log)
        name = os.fsencode(path)
        if config is None:
            status = self.lib.palme_model_open(c.byref(self.model), name, c.byref(setup))
        else:
            status = self._open_with(name, config, setup)
        if status == OK:
            options = {key: value.encode() if isinstance(value, str) else value for key, value in options.items()}
            status = self.lib.palme_session_open(c.byref(self.session), self.model, c.byref(_Options(**options)))
        if status != OK:
            self.close()
            self._fail(status, str(path))

    def _open_with(self, name, config, setup):
        front, begin, size = with_config(os.fsdecode(name), config)
        with open(name, "rb") as file:

            def read_at(_, offset, buffer, count):
                data = front[offset : offset + count]
                if len(data) < count:
                    data += os.pread(file.fileno(), count - len(data), begin + max(offset - len(front), 0))
                if len(data) < count:
                    return -1
                c.memmove(buffer, data, count)
                return 0

            def guarded(*arguments):
                try:
                    return read_at(*arguments)
                except OSError as error:
                    return error.errno or errno.EIO

            source = _Source(size=len(front) + size - begin, read_at=_READ(guarded))
            return self.lib.palme_model_open_source(c.byref(self.model), c.byref(source), name, c.byref(setup))

    def _fail(self, status, what):
        why = self.said[-1] if self.said else f"{what}: {self.lib.palme_strerror(status).decode()}"
        raise DataError(why)

    def look(self, image):
        """Begins with a picture: a numpy array, uint8 [height, width, 3]."""
        if image.dtype != "uint8" or image.ndim != 3 or image.shape[2] != 3 or image.strides[1:] != (3, 1):
            raise DataError("a picture must be an array of bytes, [height, width, 3]")
        made = _Image(width=image.shape[1], height=image.shape[0])
        made.planes[0], made.strides[0] = image.ctypes.data, image.strides[0]
        status = self.lib.palme_look(self.session, c.byref(made))
        if status != OK:
            self._fail(status, "the picture")

    def set_options(self, **options):
        """Other options, which forget the picture."""
        status = self.lib.palme_session_set_options(self.session, c.byref(_Options(**options)))
        if status != OK:
            self._fail(status, "options")

    def caption(self, image=None, prompt=None):
        """(caption, mean log-probability of its tokens) of this picture, or of the one that was looked at."""
        if image is not None:
            self.look(image)
        status = OK if prompt is None else self.lib.palme_prompt(self.session, prompt.encode())
        piece, text = c.c_char_p(), b""
        while status == OK:
            status = self.lib.palme_next(self.session, c.byref(piece))
            text += piece.value or b""
        if status != END:
            self._fail(status, "the caption")
        return text.decode(errors="replace"), self.lib.palme_caption_score(self.session)

    def score(self, text):
        """Mean log-probability of a sentence for the picture that was looked at, its end included."""
        mean = c.c_double()
        status = self.lib.palme_score(self.session, text.encode(), c.byref(mean))
        if status != OK:
            self._fail(status, text)
        return mean.value

    def close(self):
        self.lib.palme_session_close(c.byref(self.session))
        self.lib.palme_model_close(c.byref(self.model))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
