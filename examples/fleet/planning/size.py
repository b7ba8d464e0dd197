# SPDX-License-Identifier: LGPL-2.1-or-later
"""How many nodes a fleet of cameras or an archive of photos takes: arithmetic on what measure.py measured.

Times are seconds, memory bytes, and CPU time core-seconds a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


class Problem(Exception):
    """An error message for the user."""


@dataclass(frozen=True)
class Node:
    """One machine. `reserve`: memory of the system and Ray; `utilisation`: the share of its cores to plan with."""

    cores: int
    memory: int
    utilisation: float
    reserve: int


@dataclass(frozen=True)
class Costs:
    """What one camera takes, and one photo. `service` is the mean time of a photo's caption on a busy core, `caption`
    that of a caption in a stream."""

    service: float
    caption: float
    decode: float
    element: float
    stream_bytes: int
    process_bytes: int
    read: float


def costs_of(measured: dict, *, without_decoding: bool = False) -> Costs:
    """The means of measure()'s answer."""
    captions, streams = measured["captions"], measured["streams"]
    return Costs(
        service=sum(captions["service_seconds"]) / len(captions["service_seconds"]),
        caption=streams["caption_cpu"],
        decode=0.0 if without_decoding else streams["decode_cpu"],
        element=streams["element_cpu"],
        stream_bytes=streams["stream_bytes"],
        process_bytes=max(streams["process_bytes"], captions["process_bytes"]),
        read=sum(captions["read_seconds"]) / len(captions["read_seconds"]),
    )


def size_cameras(costs: Costs, node: Node, cameras: int, interval: float, still: float, spare: int) -> dict:
    """Nodes for so many cameras, each captioned every `interval`; a share `still` of due pictures costs no caption.

    There is a process for each core. Cameras fit by CPU as long as a node is at work for no more than its utilisation,
    and by memory besides the processes and the reserve. `spare` nodes come on top. A node that cannot hold one camera
    is a Problem.
    """
    caption_cpu = (1 - still) * costs.caption / interval
    each = costs.decode + costs.element + caption_cpu
    by_cpu = math.floor(node.cores * node.utilisation / each)
    left = node.memory - node.reserve - node.cores * costs.process_bytes
    by_memory = math.floor(left / costs.stream_bytes) if costs.stream_bytes else by_cpu
    fits = min(by_cpu, by_memory)
    if fits < 1:
        lack = "memory" if by_memory < by_cpu else "processor time"
        raise Problem(
            f"a node has not enough {lack} for one camera; give it more --cores or --memory, or a longer --interval"
        )
    needed = math.ceil(cameras / fits)
    return {
        "cpu_per_camera": each,
        "cpu_decode": costs.decode,
        "cpu_element": costs.element,
        "cpu_captions": caption_cpu,
        "cameras_per_node_by_cpu": by_cpu,
        "cameras_per_node_by_memory": by_memory,
        "cameras_per_node": fits,
        "limit": "memory" if by_memory < by_cpu else "processor time",
        "nodes": needed,
        "spare": spare,
        "nodes_with_spare": needed + spare,
        "utilisation_of_all": cameras * each / ((needed + spare) * node.cores),
        "memory_per_node": node.cores * costs.process_bytes + fits * costs.stream_bytes + node.reserve,
    }


def size_archive(costs: Costs, node: Node, photos: float, days: float, overhead: float) -> dict:
    """Nodes that caption so many photos in so many days with all cores; `overhead`: the share of time beside it."""
    each = (costs.read + costs.service) * (1 + overhead)
    if node.memory < node.reserve + node.cores * costs.process_bytes:
        raise Problem("a node has not enough memory for a process on each core; give it more --memory")
    nodes = math.ceil(photos * each / (days * 86400 * node.cores))
    return {
        "cpu_per_photo": each,
        "cpu_read": costs.read,
        "cpu_caption": costs.service,
        "photos_per_second_per_node": node.cores / each,
        "nodes": nodes,
        "days": photos * each / (nodes * node.cores * 86400),
    }
