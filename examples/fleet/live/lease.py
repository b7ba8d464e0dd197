# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who captions which camera: leases, so that never two do.

The table gives a holder (a process with pipelines) a camera for some seconds; the holder asks again long before they
are over. A holder that is cut off stops by itself when they are over, and only then does the table give the camera to
another. Both measure the time each by its own clock, which need not agree, only run equally fast: the holder from
before it asked, the table from when it was asked, so that the table's end is never the earlier one. The clock goes on
while a machine sleeps.

Each lease has an epoch, a word of its own, which is part of the ids of the captions made under it. It is time and
chance, and needs no counter that could be lost with a file.

The table is in memory alone. A new one, after a restart, lets one term pass before it gives anything: until then
holders that still have leases show them, and the table takes them over; all others are over by then.
"""

import dataclasses
import datetime
import heapq
import math
import secrets
import threading
import time


def clock():
    """Seconds, never set back, sleep of the machine included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def new_epoch():
    return f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(8)}"


@dataclasses.dataclass
class Lease:
    holder: str
    epoch: str
    until: float
    leaving: bool = False  # its holder is to let it go; it is not prolonged any more


@dataclasses.dataclass
class _Holder:
    since: float
    seen: float
    asked: float
    capacity: int


class LeaseTable:
    """The leases of all cameras. `settle` is how many seconds a holder has to be there until it is given cameras of
    others, which costs each a moment."""

    def __init__(self, seconds, settle=None, now=clock):
        self.seconds, self.settle, self.now = seconds, 3 * seconds if settle is None else settle, now
        self.opens = now() + seconds
        self.cameras = None  # ids, once configured
        self.leases, self.holders = {}, {}

    def configure(self, cameras):
        """Sets the ids of all cameras. Leases of others end when their holders have let them go."""
        self.cameras = set(cameras)
        for camera, lease in self.leases.items():
            lease.leaving = lease.leaving or camera not in self.cameras

    def renew(self, holder, asked, held, ended, capacity):
        """What a holder may caption: {camera: epoch}, for `seconds` from when it asked, by its own clock at `asked`. It
        says which leases it has (`held`), and which it has let go since it last heard (`ended`), both {camera: epoch};
        it has room for `capacity` cameras. None while the table knows no cameras, and for a request that was overtaken
        by a later one: the holder goes on with what it has."""
        now = self.now()
        if self.cameras is None:
            return None
        self._forget(now)
        known = self.holders.setdefault(holder, _Holder(now, now, -math.inf, capacity))
        if asked <= known.asked:
            return None
        known.seen, known.asked, known.capacity = now, asked, capacity
        for camera, epoch in ended.items():
            if self._is(camera, holder, epoch):
                del self.leases[camera]
        for camera, epoch in held.items():
            if camera not in self.leases and camera in self.cameras:
                self.leases[camera] = Lease(holder, epoch, now + self.seconds)
        if now >= self.opens:
            self._give(holder, now)
        granted = {c: lease for c, lease in self.leases.items() if lease.holder == holder and not lease.leaving}
        for lease in granted.values():
            lease.until = now + self.seconds
        return {camera: lease.epoch for camera, lease in granted.items()}

    def gone(self, holder):
        """A process that is known to have ended, since the lock of its outbox is free: its leases are over."""
        self.holders.pop(holder, None)
        self.leases = {camera: lease for camera, lease in self.leases.items() if lease.holder != holder}

    def holding(self):
        """{camera: its holder} of those that have one."""
        self._forget(self.now())
        return {camera: lease.holder for camera, lease in self.leases.items()}

    def _is(self, camera, holder, epoch):
        lease = self.leases.get(camera)
        return lease is not None and lease.holder == holder and lease.epoch == epoch

    def _forget(self, now):
        self.leases = {camera: lease for camera, lease in self.leases.items() if lease.until > now}
        self.holders = {name: holder for name, holder in self.holders.items() if holder.seen + self.seconds > now}

    def _give(self, name, now):
        """Gives a holder, which is alive since it asks, the free cameras that are its when each goes to the one with
        the fewest; or one of another that has more."""
        loads = dict.fromkeys(self.holders, 0)
        for lease in self.leases.values():
            if not lease.leaving and lease.holder in loads:
                loads[lease.holder] += 1
        room = [(load, other) for other, load in loads.items() if load < self.holders[other].capacity]
        heapq.heapify(room)
        for camera in sorted(self.cameras - self.leases.keys()):
            if not room:
                return
            load, least = heapq.heappop(room)
            loads[least] = load + 1
            if load + 1 < self.holders[least].capacity:
                heapq.heappush(room, (load + 1, least))
            if least == name:
                self.leases[camera] = Lease(name, new_epoch(), now + self.seconds)
        asking = self.holders[name]
        settled = now >= asking.since + self.settle and loads[name] < asking.capacity
        moving = any(lease.leaving for lease in self.leases.values())
        most = max(loads, key=loads.get)
        if settled and not moving and loads[most] > loads[name] + 1:
            next(lease for lease in self.leases.values() if lease.holder == most).leaving = True


class HeldLeases:
    """The holder's side. Ask the table with request(), give its answer to answer(), and call lapse() often. request()
    may be called by another thread than the rest."""

    def __init__(self, seconds, now=clock):
        self.seconds, self.now = seconds, now
        self.lock = threading.Lock()
        self.answered = -math.inf  # when the newest request was made that has an answer
        self.leases, self.ended = {}, {}  # camera: (epoch, until); camera: epoch, until the table has heard of it

    def request(self):
        """(time of asking, held, ended) for LeaseTable.renew."""
        with self.lock:
            now = self.now()
            held = {camera: epoch for camera, (epoch, until) in self.leases.items() if until > now}
            return now, held, dict(self.ended)

    def answer(self, asked, told, granted):
        """Takes the answer to a request that was made at `asked` and told of the ended leases `told`. Returns the
        cameras to start, {camera: epoch}, and those to stop, whose leases have ended with this call. An answer that
        comes after that to a later request is none: it may give what was let go since."""
        if asked <= self.answered:
            return {}, []
        self.answered = asked
        until, start = asked + self.seconds, {}
        with self.lock:
            for camera, epoch in told.items():
                if self.ended.get(camera) == epoch:
                    del self.ended[camera]
            stop = [camera for camera, (epoch, _) in self.leases.items() if granted.get(camera) != epoch]
            for camera in stop:
                self._end(camera)
            for camera, epoch in granted.items():
                if camera in self.leases:
                    self.leases[camera] = epoch, max(until, self.leases[camera][1])
                elif camera not in self.ended and until > self.now():
                    self.leases[camera] = epoch, until
                    start[camera] = epoch
        return start, stop

    def _end(self, camera):
        self.ended[camera] = self.leases.pop(camera)[0]

    def end(self, camera):
        """Lets a lease go."""
        with self.lock:
            self._end(camera)

    def lapse(self):
        """Ends the leases that are over, and returns their cameras: they are to be stopped now."""
        now = self.now()
        with self.lock:
            over = [camera for camera, (_, until) in self.leases.items() if until <= now]
            for camera in over:
                self._end(camera)
        return over

    def covers(self, camera, epoch, moment):
        """Whether a picture that was taken at `moment` belongs to this lease."""
        lease = self.leases.get(camera)
        return lease is not None and lease[0] == epoch and moment < lease[1]
