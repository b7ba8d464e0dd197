# SPDX-License-Identifier: LGPL-2.1-or-later
"""A process that holds cameras: an actor of Ray's with many pipelines, which share the model.

Threads: one polls the cameras and is alone with them and their leases; one asks the registry twice a second, and
passes the answers to the first; one delivers to MQTT, one to the keeper of the log.
"""

import concurrent.futures
import functools
import hashlib
import logging
import os
import queue
import socket
import threading
import time

import ray
from ray.util import metrics

from .central import patiently
from .config import without_password
from .delivery import Broker, Delivery, entity, payload_of
from .lease import HeldLeases
from .outbox import Shelf

log = logging.getLogger("palme.fleet")
ASK = 0.5  # seconds between two requests to the registry
STARTING = 8  # threads that make and end pipelines


@functools.lru_cache
def digest_of(path):
    """The SHA-256 of a model file in hexadecimal digits, or "" where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


class Numbers:
    """What Prometheus reads from Ray's agent, as ray_palme_..."""

    def __init__(self, actor):
        tags = {"actor": actor}

        def make(kind, name, words, *keys):
            one = kind(f"palme_{name}", words, ("actor", *keys))
            one.set_default_tags(tags)
            return one

        self.captions = make(metrics.Counter, "captions", "Captions made", "camera")
        self.errors = make(metrics.Counter, "errors", "Faults of a camera's pipeline", "camera")
        self.restarts = make(metrics.Counter, "restarts", "Times a camera's pipeline was started again", "camera")
        self.outbox = make(metrics.Gauge, "outbox_length", "Captions that a sink has not got", "sink")
        self.dropped = make(metrics.Gauge, "dropped", "Captions dropped, as disk and memory were full")
        self.fails = make(metrics.Counter, "delivery_errors", "Deliveries that failed", "sink")


class Holder:
    """`number` names the actor; `settings` are those of Config; the registry and the keeper have `fleet` in their
    names."""

    def __init__(self, number, settings, fleet):
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        import installed

        # The element looks for its model here, and GStreamer for the element, before it is initialised.
        os.environ["PALME_MODEL"] = installed.model()
        installed.let_gstreamer_find_the_plugin()
        from . import camera

        camera.prepare()
        self.make_camera = camera.Camera
        self.settings = settings
        self.registry, self.keeper = ray.get_actor(f"registry-{fleet}"), ray.get_actor(f"keeper-{fleet}")
        self.label = f"holder{number}"
        self.shelf = patiently(Shelf, settings["outbox"]["folder"], settings["outbox"]["memory"])
        self.name, self.box = patiently(self.shelf.new, f"{self.label}-{socket.gethostname()}")
        self.others, self.dead = [], []  # (name, Outbox) of processes that have ended; their names, for the registry
        self.others_lock = threading.Lock()  # for both
        self.held = HeldLeases(settings["lease"]["seconds"])
        self.cameras, self.leaving, self.numbers_of = {}, [], {}  # numbers_of: captions of a camera's present epoch
        self.counted = {}
        self.numbers = Numbers(self.label)
        self.pool = concurrent.futures.ThreadPoolExecutor(STARTING, "pipelines")
        self.broker = Broker(settings["mqtt"], self.label)
        self.answers = queue.SimpleQueue()  # for the thread of the cameras
        self.current = {}  # camera: epoch, as MQTT's thread sees it
        self.ending = threading.Event()
        self.deliveries = [
            Delivery("mqtt", self._boxes, self._send_mqtt, self.broker.update),
            Delivery("log", self._boxes, self._send_log),
        ]
        self.threads = [threading.Thread(target=one, daemon=True) for one in (self._poll, self._ask)]
        for thread in self.deliveries + self.threads:
            thread.start()

    # ---- For the driver

    def where(self):
        """The node, once the process is up."""
        return ray.get_runtime_context().get_node_id()

    def stop(self, patience=10):
        """Ends the cameras, delivers what waits, for so many seconds at most, and returns how many captions are left
        on disk."""
        self.ending.set()
        for thread in self.threads:
            thread.join(patience)
        end = time.monotonic() + patience
        left = self._left()
        while left and time.monotonic() < end:
            time.sleep(0.1)
            left = self._left()
        for delivery in self.deliveries:
            delivery.ending.set()
        for delivery in self.deliveries:
            delivery.join(patience)
        try:
            self.broker.close()
        except OSError as error:
            log.warning("mqtt: %s", error)
        if not left:
            self.shelf.remove(self.name, self.box)
        return left

    def _left(self):
        return max(self.box.length(sink) for sink in ("mqtt", "log"))

    # ---- The thread of the cameras

    def _poll(self):
        next_care = 0.0
        while True:
            try:
                for camera in self.held.lapse():
                    log.warning("camera %s: the registry cannot be reached, and the lease is over", camera)
                    self._stop(camera)
                while not self.answers.empty():
                    self._take_answer(*self.answers.get())
                if self.ending.is_set():
                    break
                for camera in self.cameras.values():
                    camera.poll()
                self.leaving = [camera for camera in self.leaving if not camera.is_down()]
                if time.monotonic() > next_care:
                    next_care = time.monotonic() + 1
                    self._care()
            except Exception:
                log.exception("a fault of this program")
                time.sleep(1)
            time.sleep(0.03)
        for camera in list(self.cameras):
            self.held.end(camera)
            self._stop(camera)
        while not all(camera.is_down() for camera in self.leaving):
            time.sleep(0.03)

    def _stop(self, camera):
        stopped = self.cameras.pop(camera)
        del self.numbers_of[camera]
        stopped.stop()
        self.leaving.append(stopped)
        if self.ending.is_set():
            self.broker.set_state(f"palme/{camera}/availability", "offline")
        else:
            for topic in f"palme/{camera}/availability", entity(camera, "", "")[0]:
                self.broker.forget(topic)
        self.current = {c: epoch for c, epoch in self.current.items() if c != camera}

    def _take_answer(self, asked, told, granted):
        start, stop = self.held.answer(asked, told, {camera: epoch for camera, (epoch, _) in granted.items()})
        for camera in stop:
            self._stop(camera)
        for camera, epoch in start.items():
            spec = granted[camera][1]
            self.cameras[camera] = self.make_camera(spec, self._take, self.pool)
            self.numbers_of[camera] = 0
            self.current = self.current | {camera: epoch}
            self.broker.set_state(*entity(camera, spec["name"], self.label))
        for camera, (_, spec) in granted.items():
            if camera in self.cameras and self.cameras[camera].spec != spec:
                try:
                    self.cameras[camera].change(spec)
                except (ValueError, TypeError) as error:
                    log.warning("camera %s: %s", camera, error)

    def _take(self, camera, caption, moment):
        name = camera.spec["id"]
        epoch = self.current[name]
        if not self.held.covers(name, epoch, moment):
            return
        self.numbers_of[name] += 1
        caption["id"] = f"{name}/{epoch}/{self.numbers_of[name]}"
        caption["model_digest"] = digest_of(camera.spec["properties"].get("model", os.environ["PALME_MODEL"]))
        was = self.box.fault
        self.box.put(caption)
        if self.box.fault and not was:
            log.warning(
                "outbox: %s; captions wait in memory, at most %d", self.box.fault, self.settings["outbox"]["memory"]
            )
        self.numbers.captions.inc(1, {"camera": name})

    def _care(self):
        """Once a second: numbers, states, what waits in memory, outboxes of processes that have ended."""
        for name, camera in self.cameras.items():
            self.broker.set_state(f"palme/{name}/availability", "online" if camera.online else "offline")
            for counter, count in (self.numbers.errors, camera.errors), (self.numbers.restarts, camera.restarts):
                key = counter, camera
                if count > self.counted.get(key, 0):
                    counter.inc(count - self.counted.get(key, 0), {"camera": name})
                    self.counted[key] = count
        self.counted = {key: count for key, count in self.counted.items() if key[1] in self.cameras.values()}
        self.box.flush()
        for sink in "mqtt", "log":
            self.numbers.outbox.set(self.box.length(sink), {"sink": sink})
        self.numbers.dropped.set(self.box.dropped)
        for delivery in self.deliveries:
            if delivery.faults:
                self.numbers.fails.inc(delivery.faults, {"sink": delivery.sink})
                delivery.faults = 0
        found = self.shelf.orphans()
        with self.others_lock:
            for name, box in list(self.others):
                if not any(box.length(sink) for sink in ("mqtt", "log")):
                    self.others.remove((name, box))
                    self.shelf.remove(name, box)
            self.others += found
            self.dead += [name for name, _ in found]
        for name, box in found:
            log.info("%s has ended; %d captions of it are delivered now", name, box.length("log"))

    # ---- The registry

    def _ask(self):
        fault = None
        while not self.ending.is_set():
            time.sleep(ASK)
            asked, held, ended = self.held.request()
            now = time.monotonic()
            report = {c: ((one.last and now - one.last) or None, one.fault) for c, one in list(self.cameras.items())}
            try:
                with self.others_lock:
                    dead = list(self.dead)
                room = self.settings["actors"]["cameras"]
                request = self.registry.renew.remote(self.name, asked, held, ended, room, dead, report)
                granted = ray.get(request, timeout=max(self.settings["lease"]["seconds"] / 2, 1))
            except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError) as error:
                if fault is None:
                    log.warning("the registry does not answer: %s", str(error).splitlines()[0])
                fault = error
                continue
            fault = None
            with self.others_lock:
                self.dead = [name for name in self.dead if name not in dead]
            if granted is not None:
                self.answers.put((asked, ended, granted))

    # ---- Delivery

    def _boxes(self):
        with self.others_lock:
            return [self.box] + [box for _, box in self.others]

    def _send_mqtt(self, box, captions):
        current, messages = self.current, []
        for caption in captions:
            camera, epoch, _ = caption["id"].split("/")
            late = box is not self.box or current.get(camera) != epoch
            messages.append((f"palme/{camera}/caption" + ("/late" if late else ""), payload_of(caption), not late))
        self.broker.publish(messages)

    def _send_log(self, box, captions):
        try:
            ray.get(self.keeper.append.remote(captions), timeout=10)
        except ray.exceptions.RayError as error:
            raise OSError(without_password(str(error).strip().splitlines()[-1])) from None
