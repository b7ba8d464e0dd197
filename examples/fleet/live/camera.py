# SPDX-License-Identifier: LGPL-2.1-or-later
"""One camera's pipeline: made, watched, and made again with growing pauses when its source fails.

Many cameras are in one process, which shares the model. Pipelines are made and ended on a pool's threads, since an
RTSP server that has gone can hold that for seconds. Nothing of Python runs on the threads that carry video: messages
are fetched from the bus.
"""

import datetime
import logging
import os
import time

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

from .config import without_password  # noqa: E402
from .lease import clock  # noqa: E402

log = logging.getLogger("palme.fleet")
FIRST_PAUSE, LAST_PAUSE = 1, 30  # seconds until a failed camera is tried again, doubled each time
SOUND = 30  # seconds of captions after which the pauses begin anew
# Looked up once: Python's GStreamer makes these when they are first used, which several threads must not do at once.
ELEMENT, ERROR, EOS = Gst.MessageType.ELEMENT, Gst.MessageType.ERROR, Gst.MessageType.EOS
NULL, PLAYING, FAILURE = Gst.State.NULL, Gst.State.PLAYING, Gst.StateChangeReturn.FAILURE
TYPES = ELEMENT | ERROR | EOS


def prepare():
    """Initialises GStreamer, and uses all that the pool uses once, for the reason above. Raises RuntimeError where
    elements are missing."""
    Gst.init(None)
    for element, where in ("palmecaption", "setup.sh installs it"), ("watchdog", "gstreamer1.0-plugins-bad"):
        if not Gst.ElementFactory.find(element):
            raise RuntimeError(f"GStreamer has no element {element} ({where}); GST_PLUGIN_PATH names more folders")
    Gst.uri_is_valid("")
    pipeline = Gst.parse_launch("fakesrc num-buffers=1 ! fakesink name=sink")
    element = pipeline.get_by_name("sink")
    element.set_property("sync", True)
    pipeline.set_state(PLAYING)
    while not (message := pipeline.get_bus().pop_filtered(TYPES)):
        time.sleep(0.01)
    if message.type == ERROR:
        raise RuntimeError(message.parse_error()[0].message)
    pipeline.get_clock().get_time(), pipeline.get_base_time()
    pipeline.set_state(NULL)


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def source_of(address):
    """The first part of a pipeline for an address: a device, a file, which is played again and again at its own pace,
    any URI that GStreamer knows, or a part of a gst-launch-1.0 line that begins with an element, as "videotestsrc
    is-live=true"."""
    if address.startswith("/dev/"):
        return f"v4l2src device={_quoted(address)} ! decodebin"
    path = address.removeprefix("file://")
    if path.startswith("/") or os.path.exists(path):
        return f"filesrc location={_quoted(path)} ! decodebin ! clocksync"
    if Gst.uri_is_valid(address):
        return f"uridecodebin uri={_quoted(address)} caps=video/x-raw expose-all-streams=false"
    if Gst.ElementFactory.find(address.split()[0]):
        return address
    raise ValueError(f"{address}: it is no file, no address, and no pipeline that begins with an element")


class Camera:
    """`spec` is a camera of Config. `take` gets (camera, dict without id, moment of the picture by lease.clock).
    poll() has to be called often, by one thread, which calls all else too."""

    def __init__(self, spec, take, pool):
        self.spec, self.take, self.pool = spec, take, pool
        self.pipeline = self.bus = self.element = None
        self.work = None  # what the pool does for this camera
        self.outdated = False  # the pipeline, or the one in the making, is not as `spec` says
        self.stopped = False
        self.next_start, self.pause = 0.0, FIRST_PAUSE
        self.started = self.last = 0.0
        self.online = False
        self.restarts = self.errors = 0
        self.fault = None

    # ---- On a thread of the pool

    def _make(self, spec):
        pipeline = None
        try:
            pipeline = Gst.parse_launch(
                f"{source_of(spec['address'])} ! watchdog timeout={round(spec['stall'] * 1000)} ! videoconvert ! "
                f"{caption_element(spec['properties'])} ! fakesink"
            )
            element = pipeline.get_by_name("caption")
            set_properties(element, spec)
            if pipeline.set_state(PLAYING) == FAILURE:
                message = pipeline.get_bus().pop_filtered(ERROR)
                raise ValueError(message.parse_error()[0].message if message else "the pipeline does not start")
        except BaseException:
            if pipeline is not None:
                pipeline.set_state(NULL)
            raise
        return pipeline, element

    @staticmethod
    def _unmake(pipeline):
        pipeline.set_state(NULL)

    # ---- On the thread that polls

    def poll(self):
        now = time.monotonic()
        if self.work is not None:
            if not self.work.done():
                return
            work, self.work = self.work, None
            try:
                made = work.result()
            except Exception as error:  # whatever it is, it is this camera's alone
                self._fail(getattr(error, "message", None) or f"{type(error).__name__}: {error}", now)
                return
            if made is not None and self.stopped:
                self.work = self.pool.submit(self._unmake, made[0])
                return
            if made is not None:
                self.pipeline, self.element = made
                self.bus, self.started = self.pipeline.get_bus(), now
        if self.stopped:
            return
        if self.pipeline is not None and self.outdated:
            self._end(now)
        elif self.pipeline is None:
            if now >= self.next_start:
                self.outdated = False
                self.work = self.pool.submit(self._make, self.spec)
            return
        while self.pipeline is not None and (message := self.bus.pop_filtered(TYPES)):
            self._hear(message, now)

    def _hear(self, message, now):
        if message.type == ERROR:
            self._fail(message.parse_error()[0].message, now)
        elif message.type == EOS:
            if source_of(self.spec["address"]).startswith("filesrc"):
                self._end(max(now, self.started + 1))  # again from its beginning
            else:
                self._fail("the source has ended", now)
        elif message.has_name("palmecaption"):
            caption, age = self._read(message.get_structure())
            self.last, self.online, self.fault = now, True, None
            if now > self.started + SOUND:
                self.pause = FIRST_PAUSE
            self.take(self, caption, clock() - age)

    def _read(self, fields):
        """(caption, age of its picture in seconds) from a message."""
        age, (known, running_time) = 0.0, fields.get_uint64("running-time")
        pipeline_clock = self.pipeline.get_clock()
        if known and pipeline_clock and running_time != Gst.CLOCK_TIME_NONE:
            age = (pipeline_clock.get_time() - running_time - self.pipeline.get_base_time()) / Gst.SECOND
            age = max(age, 0.0)  # a source that is ahead of time shows no picture from the future
        taken = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)
        caption = {
            "camera": self.spec["id"],
            "text": fields.get_string("text"),
            "time": taken.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "tags": self.spec["tags"],
        }
        known, score = fields.get_double("score")
        if known:
            caption["score"] = score
        known, labels = fields.get_array("labels")
        if known and labels:
            caption["labels"] = [labels.get_nth(i) for i in range(labels.n_values)]
        return caption, age

    def _fail(self, words, now):
        self.fault, self.online = without_password(words), False
        self.errors += 1
        log.warning("camera %s: %s It is tried again in %g seconds.", self.spec["id"], self.fault, self.pause)
        self._end(now + self.pause)
        self.pause = min(2 * self.pause, LAST_PAUSE)

    def _end(self, next_start):
        self.next_start, self.restarts = next_start, self.restarts + 1
        if self.pipeline is not None:
            self.work = self.pool.submit(self._unmake, self.pipeline)
        self.pipeline = self.bus = self.element = None

    def change(self, spec):
        """Takes another spec. Only what an element cannot change while it plays starts the pipeline anew."""
        old, self.spec = self.spec, spec
        if any(old[key] != spec[key] for key in ("address", "stall", "properties")) or self.element is None:
            self.outdated, self.pause, self.next_start = True, FIRST_PAUSE, 0.0
        else:
            set_properties(self.element, spec)

    def stop(self):
        """No caption comes after this. The pipeline is ended behind it."""
        self.stopped = True
        if self.pipeline is not None:
            self.work = self.pool.submit(self._unmake, self.pipeline)
        self.pipeline = self.bus = self.element = None

    def is_down(self):
        """Whether the pipeline is ended, after stop()."""
        self.poll()
        return self.work is None


def set_properties(element, spec):
    """Those that have keys of their own, and can be set while the element plays."""
    element.set_property("interval-seconds", float(spec["interval"]))
    element.set_property("prompt", spec["prompt"] or None)


def caption_element(properties):
    """The part of a gst-launch-1.0 line with palmecaption. GStreamer says what is wrong with a property."""
    line = "palmecaption name=caption"
    for key, value in ({"mode": "async"} | properties).items():
        line += f" {key}={_quoted(str(value).lower() if isinstance(value, bool) else str(value))}"
    return line
