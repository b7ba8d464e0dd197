# SPDX-License-Identifier: LGPL-2.1-or-later
"""What processes left behind on a machine: a task for each node that joins."""

import os
import socket
import time

import ray

from .delivery import Broker, Delivery, payload_of
from .outbox import SINKS, Shelf


def deliver_what_was_left(settings, keeper, seconds=60):
    """Delivers the outboxes of processes that ended on this machine. Returns how many captions."""
    shelf = Shelf(settings["outbox"]["folder"])
    boxes = shelf.orphans()
    if not boxes:
        return 0
    broker = Broker(settings["mqtt"], f"left_{socket.gethostname()}_{os.getpid()}")
    count = sum(box.length("log") for _, box in boxes)

    def to_mqtt(_box, captions):
        broker.publish([(f"palme/{one['camera']}/caption/late", payload_of(one), False) for one in captions])

    def to_log(_box, captions):
        try:
            ray.get(keeper.append.remote(captions), timeout=10)
        except ray.exceptions.RayError as error:
            raise OSError(str(error)) from None

    sinks = [Delivery(sink, lambda: [box for _, box in boxes], send) for sink, send in zip(SINKS, (to_mqtt, to_log))]
    for sink in sinks:
        sink.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(box.length(sink) for _, box in boxes for sink in SINKS):
        time.sleep(0.1)
    for sink in sinks:
        sink.ending.set()
        sink.join(15)
    for name, box in boxes:
        if any(box.length(sink) for sink in SINKS):
            box.close()
            shelf.release(name)
        else:
            shelf.remove(name, box)
    return count
