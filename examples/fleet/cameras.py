#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Captions of many cameras on many machines, to MQTT and to a log of Parquet files, on a Ray cluster.

    cameras.py cameras.yaml             on the cluster that RAY_ADDRESS or --address names, or on this machine alone
    cameras.py --check cameras.yaml     only says what is wrong with the file

Changes of the file are taken over while it runs: cameras that were added, removed or changed, and no others. What is
wrong is said, and the old cameras go on.

Who does what. Ray places the holders, starts them again where they die, and moves them where a node dies: `actors` of
the file has their number and what each takes of a node. A holder is a process with many pipelines (live/holder.py),
since the element shares the model among all of a process. Which holder has which camera is decided here, by the
registry (live/lease.py): Ray knows actors, not cameras, and an actor for each camera would load the model for each.
It has the good side that cameras go to other holders a few seconds after theirs falls silent, long before Ray takes a
node for dead.

Nothing lost, nothing doubled:

- A camera is captioned under a lease, by one holder at a time. A holder that cannot reach the registry stops by itself
  before another is given the camera. A picture belongs to the lease in which it was taken.
- A caption has an id, CAMERA/EPOCH/NUMBER: the epoch is the lease's, the number counts from 1 without holes. A
  caption is made when it is in the outbox, a file on the holder's machine (live/outbox.py). What was on its way there
  when a process died is part of the time to recover, as are the pictures that nobody looked at.
- From the outbox it goes to MQTT, where a reader sees by the id what was sent twice (live/delivery.py says why
  quality 1 is enough), and to the keeper of the log (live/captionlog.py), which takes each id once. It is deleted
  when both have confirmed it.
- What a dead process leaves is delivered by the next one on its machine: a holder, or a task that the driver sends to
  each node that joins, as one does that was lost and is back.
- With a full disk, captions wait in memory, as many as `outbox.memory` says, and still go to MQTT and the keeper.

So these alone lose captions: a process that dies while its disk is full and neither broker nor keeper can be reached;
more than `outbox.memory` of them in that state, of which the oldest are dropped and counted; a machine whose disk
never comes back, of what neither had got, which is less than a second's worth while the network is there.

The driver, the registry and the keeper are on one machine; when that fails, the holders stop after a lease and deliver
when it is back. Whatever starts services there (systemd, Kubernetes) starts the driver again.
"""

import argparse
import hashlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no word to the outside
# For a Ray that is started here; `ray start` takes them from its own environment.
os.environ.setdefault("RAY_metrics_report_interval_ms", "2000")
os.environ.setdefault("RAY_worker_niceness", "0")

from live import config

FOLDER = os.path.dirname(os.path.abspath(__file__))
log = logging.getLogger("palme.fleet")


class Fleet:
    """The driver: starts the actors, tells the registry of the file's cameras, reports."""

    def __init__(self, path, first):
        import ray
        from live.central import Keeper, Registry
        from live.holder import Holder
        from live.leftovers import deliver_what_was_left
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.ray, self.path, self.config = ray, path, first
        self.settings = settings = first.settings
        self.removed, self.nodes = set(), set()
        self.affinity = NodeAffinitySchedulingStrategy
        here = dict(
            num_cpus=0,
            max_restarts=-1,
            max_concurrency=16,
            scheduling_strategy=NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False),
        )
        # Holders find these by name: Ray does not start an actor again that was given handles when a node is lost.
        # There is one of each for a log; those of a driver that has just died are there for a moment.
        self.fleet = hashlib.sha256(settings["log"]["folder"].encode()).hexdigest()[:12]
        lease = settings["lease"]["seconds"], settings["log"]["journal"]
        self.registry = self.only_one(Registry, f"registry-{self.fleet}", here, *lease)
        self.keeper = self.only_one(Keeper, f"keeper-{self.fleet}", here, settings["log"])
        self.holder_class = ray.remote(Holder)
        self.holders, self.starting = {}, {}
        for number in range(settings["actors"]["count"]):
            self.start_holder(number)
        self.deliver_what_was_left = ray.remote(deliver_what_was_left)

    def only_one(self, kind, name, options, *arguments, seconds=30):
        """An actor of this name, when no other has it. Raises SystemExit if one keeps it."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.ray.remote(kind).options(name=name, **options).remote(*arguments)
            except ValueError:
                if time.monotonic() > end:
                    folder = self.settings["log"]["folder"]
                    sys.exit(
                        f"another cameras.py on this cluster writes to {folder}: stop it, or set another log.folder"
                    )
                time.sleep(0.5)

    def start_holder(self, number):
        actors = self.settings["actors"]
        options = dict(num_cpus=actors["cpus"], resources=actors["resources"], max_restarts=-1, max_concurrency=4)
        made = self.holder_class.options(scheduling_strategy="SPREAD", **options)
        self.holders[number] = made.remote(number, self.settings, self.fleet)
        self.starting[self.holders[number].where.remote()] = number

    def look_after_holders(self):
        """Says why a holder cannot be, and tries it again: Ray gives up an actor whose constructor fails."""
        if not self.starting:
            return
        done, _ = (
            self.ray.wait(list(self.starting), num_returns=len(self.starting), timeout=0) if self.starting else ([], [])
        )
        for answer in done:
            number = self.starting.pop(answer)
            try:
                self.ray.get(answer)
            except self.ray.exceptions.ActorUnavailableError:
                self.starting[self.holders[number].where.remote()] = number
            except self.ray.exceptions.RayError as error:
                log.error("holder %d: %s", number, str(error).strip().splitlines()[-1])
                self.start_holder(number)

    def version(self):
        return hashlib.sha256(json.dumps(self.config.cameras, sort_keys=True).encode()).hexdigest()

    def tell(self):
        """The registry knows the cameras after this, also one that was started again."""
        version = self.version()
        if self.ray.get(self.registry.version_of_cameras.remote(), timeout=5) != version:
            self.ray.get(self.registry.configure.remote(version, self.config.cameras), timeout=5)

    def take(self, new):
        """Another state of the file."""
        old = self.config
        if new.settings != old.settings:
            log.warning("%s: only cameras and defaults are taken over; the rest needs a new start", self.path)
        added, gone = new.cameras.keys() - old.cameras.keys(), old.cameras.keys() - new.cameras.keys()
        changed = {camera for camera in new.cameras.keys() & old.cameras if new.cameras[camera] != old.cameras[camera]}
        log.info("%s: %d cameras added, %d removed, %d changed", self.path, len(added), len(gone), len(changed))
        self.config = config.Config(old.settings, new.cameras)
        self.removed = (self.removed | gone) - new.cameras.keys()

    def look_after_nodes(self):
        """Sends a task to each node that has joined, for what a process left there."""
        alive = {node["NodeID"] for node in self.ray.nodes() if node["Alive"]}
        for node in alive - self.nodes:
            strategy = self.affinity(node, soft=False)
            task = self.deliver_what_was_left.options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)
            task.remote(self.settings, self.keeper)
        self.nodes = alive

    def take_leave(self, state):
        """Tells MQTT of the cameras that are removed, as soon as nobody has them."""
        from live.delivery import Broker, entity

        gone = {camera for camera in self.removed if state.get(camera, (None,))[0] is None}
        if not gone:
            return
        broker = Broker(self.settings["mqtt"], f"driver_{socket.gethostname()}")
        messages = [(f"palme/{camera}/availability", "offline", True) for camera in gone]
        for camera in gone:
            messages += [(entity(camera, "", "")[0], "", True), (f"palme/{camera}/caption", "", True)]
        try:
            broker.publish(messages)
            broker.close()
        except OSError as error:
            log.warning("mqtt: %s; it is told later that cameras are removed", error)
            return
        self.removed -= gone

    def report(self, state):
        """One line of how it goes."""
        held = sum(holder is not None for holder, _, _ in state.values())
        silent = sorted(camera for camera, (holder, _, fault) in state.items() if holder is None or fault)
        waiting = self.ray.get(self.keeper.state.remote(), timeout=5)["waiting"]
        words = f"{held} of {len(self.config.cameras)} cameras held, {waiting} captions wait for the next file"
        if self.starting:
            words += f"; {len(self.starting)} holders start, or wait for a node with room"
        if silent:
            words += "; not well: " + ", ".join(f"{c} ({state[c][2] or 'nobody has it'})" for c in silent[:5])
            words += f" and {len(silent) - 5} more" if len(silent) > 5 else ""
        log.info("%s", words)

    def stop(self):
        log.info("stopping")
        left = 0
        # One that waits for a node has nothing to stop.
        running = [holder for number, holder in self.holders.items() if number not in self.starting.values()]
        for answer in [holder.stop.remote() for holder in running]:
            try:
                left += self.ray.get(answer, timeout=30)
            except self.ray.exceptions.RayError as error:
                log.warning("a holder does not stop: %s", str(error).strip().splitlines()[-1])
        try:
            rows = self.ray.get(self.keeper.stop.remote(), timeout=30)
        except self.ray.exceptions.RayError as error:
            log.warning("the keeper does not stop: %s", str(error).strip().splitlines()[-1])
            rows = 0
        if left or rows:
            log.warning("%d captions wait in outboxes, %d in the journal; the next run delivers them", left, rows)


def file_state(path):
    """What changes with a file's content; None while it is not there, as when an editor replaces it."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).digest()
    except OSError:
        return None


def run(args, first):
    import ray

    ray.init(
        address=args.address or os.environ.get("RAY_ADDRESS") or None,
        namespace="palme",
        runtime_env={"working_dir": FOLDER} if args.ship else None,
        logging_level=logging.WARNING,
        log_to_driver=True,
    )
    ending = threading.Event()
    for number in signal.SIGINT, signal.SIGTERM:
        signal.signal(number, lambda *_: ending.set())
    seen = file_state(args.file)
    fleet = Fleet(args.file, first)
    log.info("%d cameras, %d holders", len(first.cameras), len(fleet.holders))
    next_report = time.monotonic() + args.status
    while not ending.wait(1):
        now = file_state(args.file)
        if now is not None and now != seen:
            seen = now
            try:
                fleet.take(config.read(args.file))
            except (OSError, config.ConfigError) as error:
                log.error("%s\nthe cameras stay as they were", error)
        try:
            fleet.tell()
            fleet.look_after_nodes()
            fleet.look_after_holders()
            if fleet.removed or time.monotonic() >= next_report:
                state = ray.get(fleet.registry.state.remote(), timeout=5)
                fleet.take_leave(state)
                if time.monotonic() >= next_report:
                    next_report = time.monotonic() + args.status
                    fleet.report(state)
        except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError) as error:
            log.warning("%s", str(error).strip().splitlines()[-1])
    fleet.stop()
    ray.shutdown()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="the YAML file with the cameras")
    parser.add_argument("--check", action="store_true", help="only check the file")
    parser.add_argument("--address", help="of the Ray cluster (RAY_ADDRESS; without either, this machine alone)")
    parser.add_argument("--status", type=float, default=10, metavar="SECONDS", help="between lines of status (10)")
    parser.add_argument(
        "--ship", action="store_true", help="send this program to the nodes; else it has to have the same path there"
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        first = config.read(args.file)
    except (OSError, config.ConfigError) as error:
        sys.exit(f"{error}")
    if args.check:
        print(f"{args.file}: {len(first.cameras)} cameras")
        return
    run(args, first)


if __name__ == "__main__":
    main()
