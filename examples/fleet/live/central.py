# SPDX-License-Identifier: LGPL-2.1-or-later
"""The two actors that are there once, beside the driver: the registry of leases, and the keeper of the log."""

import logging
import os
import threading
import time

from ray.util import metrics

from .captionlog import FAULTS, CaptionLog
from .lease import LeaseTable, clock
from .lock import wait_for

log = logging.getLogger("palme.fleet")


def patiently(make, *words, **settings):
    """What make() returns, when it does: on a full disk not even a lock can be made. Ray gives an actor up whose
    constructor fails, so it has to wait here."""
    fault = None
    while True:
        try:
            return make(*words, **settings)
        except FAULTS as error:
            if str(error) != fault:
                log.warning("%s; it is tried again", error)
            fault = str(error)
            time.sleep(1)


class Registry:
    """Who captions what: LeaseTable, told of all cameras by the driver. Ray starts it again where it dies; the driver
    then tells it again, and the holders show their leases."""

    def __init__(self, seconds, folder):
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        # The time that a new table waits counts from when the one before it has ended.
        self.owner = patiently(wait_for, os.path.join(folder, "registry.lock"))
        self.table, self.lock = LeaseTable(seconds), threading.Lock()
        self.version, self.specs = None, {}
        self.faults, self.last = {}, {}  # camera: fault, moment of its last caption
        self.began = clock()
        self.age = metrics.Gauge("palme_caption_age_seconds", "Seconds since a camera's last caption", ("camera",))
        self.held = metrics.Gauge("palme_camera_held", "1 while a process has the camera, else 0", ("camera",))
        threading.Thread(target=self._count, daemon=True).start()

    def version_of_cameras(self):
        """What configure() was last told; None at the beginning."""
        return self.version

    def configure(self, version, cameras):
        """Sets all cameras, {id: spec}."""
        with self.lock:
            self.version, self.specs = version, cameras
            self.table.configure(cameras)
            for one in self.faults, self.last:
                for camera in one.keys() - cameras.keys():
                    del one[camera]

    def renew(self, holder, asked, held, ended, capacity, dead, report):
        """As LeaseTable.renew, but with the specs: {camera: (epoch, spec)}. `dead` are processes that the holder
        knows to have ended, `report` has {camera: (seconds since its last caption or None, fault or None)}."""
        with self.lock:
            for name in dead:
                self.table.gone(name)
            granted = self.table.renew(holder, asked, held, ended, capacity)
            if granted is None:
                return None
            for camera, (age, fault) in report.items():
                if camera in self.specs:
                    self.faults[camera] = fault
                    if age is not None:
                        self.last[camera] = max(clock() - age, self.last.get(camera, 0))
            return {camera: (epoch, self.specs[camera]) for camera, epoch in granted.items()}

    def state(self):
        """{camera: (its holder or None, seconds since its last caption or None, fault or None)}, and the cameras that
        are none any more and still have a holder."""
        with self.lock:
            now, holding, state = clock(), self.table.holding(), {}
            for camera in self.specs.keys() | holding.keys():
                last = self.last.get(camera)
                state[camera] = holding.get(camera), last and now - last, self.faults.get(camera)
            return state

    def _count(self):
        told = set()
        while True:
            time.sleep(1)
            state = self.state()
            for camera, (holder, age, _) in state.items():
                self.age.set(clock() - self.began if age is None else age, {"camera": camera})
                self.held.set(holder is not None, {"camera": camera})
            for camera in told - state.keys():  # Ray cannot take a number back
                self.age.set(0, {"camera": camera})
                self.held.set(0, {"camera": camera})
            told = set(state)


class Keeper:
    """The log: takes captions from all processes, and rolls files."""

    def __init__(self, settings):
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        self.log = patiently(CaptionLog, **settings)
        self.rows = metrics.Gauge("palme_log_waiting", "Captions in the journal and in no file of the log")
        self.fault = None
        self.ending = threading.Event()
        threading.Thread(target=self._roll, daemon=True).start()

    def append(self, captions):
        """They are safe on this machine when this returns."""
        self.log.append(captions)

    def state(self):
        return {"waiting": self.log.waiting(), "doubled": self.log.doubled, "fault": self.fault}

    def stop(self):
        """Writes what waits. Returns how many rows could not be written."""
        self.ending.set()
        self._try(force=True)
        return self.log.waiting()

    def _try(self, force=False):
        try:
            self.log.roll(force)
            if self.fault:
                log.warning("log: files can be written again")
            self.fault = None
        except FAULTS as error:
            if self.fault is None:
                log.warning("log: %s; captions wait in the journal", error)
            self.fault = str(error)

    def _roll(self):
        while not self.ending.wait(0.5):
            try:
                self._try()
                self.rows.set(self.log.waiting())
            except Exception:
                log.exception("a fault of this program")
