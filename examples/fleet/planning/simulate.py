# SPDX-License-Identifier: LGPL-2.1-or-later
"""A day of ten thousand cameras, and an archive of a billion photos, as discrete events with measured service times.

Cameras: each core has a process with cameras of its own, and its pictures wait for it in the order in which they are
due. Lindley's recursion gives their waiting times (D. V. Lindley, "The theory of queues with a single server", 1952),
written as a running minimum, so that numpy does a process's day at once. A process or node that fails loses what waits;
its cameras are back after `recovery`, those of a node on other nodes, as more load there.

Archive: shards of photos are handed to whichever core is free; a shard whose process or node fails begins again.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np

#: Waiting times are counted in steps of this, up to LONGEST.
STEP, LONGEST = 1e-4, 120.0


@dataclass(frozen=True)
class Failures:
    """Seconds: the means between failures of a process and of a node (math.inf: never), the times until a failed one's
    work is taken over (`recovery`) and until a failed node is back (`repair`)."""

    process_mtbf: float
    node_mtbf: float
    recovery: float
    repair: float


def waiting_times(arrivals: np.ndarray, services: np.ndarray) -> np.ndarray:
    """How long each of the arrivals, in order of time, waits for a single server that is free at first. Shape (n,).

    W[i+1] = max(0, W[i] + S[i] - (A[i+1] - A[i])) is X[i] - min(X[0..i]), X[i] the sum of S before i less A[i] - A[0].
    """
    if len(arrivals) == 0:
        return np.zeros(0)
    done = np.concatenate(([0.0], np.cumsum(services[:-1]))) - (arrivals - arrivals[0])
    return done - np.minimum.accumulate(done)


def failure_times(rng: np.random.Generator, mtbf: float, down: float, length: float) -> list[float]:
    """When one thing fails in [0, length): it is up for an exponential time, then down for `down`."""
    times = []
    now = rng.exponential(mtbf) if math.isfinite(mtbf) else math.inf
    while now < length:
        times.append(now)
        now += down + rng.exponential(mtbf)
    return times


def due_times(phases: np.ndarray, interval: float, start: float, end: float) -> np.ndarray:
    """When cameras with these phases are due in [start, end), in order; all of them every `interval`."""
    first = math.floor(start / interval)
    count = max(0, math.ceil(end / interval) - first + 1)
    times = ((first + np.arange(count))[:, None] * interval + np.sort(phases)[None, :]).ravel()
    return times[np.searchsorted(times, start) : np.searchsorted(times, end)]


class Waits:
    """Counts of waiting times; percentiles are exact to STEP."""

    def __init__(self):
        self.counts = np.zeros(round(LONGEST / STEP) + 1, dtype=np.int64)
        self.total = 0.0

    def add(self, waits: np.ndarray) -> None:
        if len(waits):
            steps = np.minimum(waits / STEP, len(self.counts) - 1).astype(np.int64)
            found = np.bincount(steps)
            self.counts[: len(found)] += found
            self.total += float(waits.sum())

    def percentile(self, percent: float) -> float:
        sums = np.cumsum(self.counts)
        return float(np.searchsorted(sums, percent / 100 * sums[-1])) * STEP if sums[-1] else 0.0

    def summary(self) -> dict:
        number = int(self.counts.sum())
        named = {f"p{str(p).rstrip('0').rstrip('.')}": self.percentile(p) for p in (50.0, 90.0, 99.0, 99.9)}
        return {"mean": self.total / max(1, number), **named}


def moved_cameras(rng, phases, nodes, cores, node_downs, failures, length) -> dict[int, list]:
    """Who takes the cameras of failed nodes, spread over the nodes that are up: {process: [(phases, start, end)]}

    Where the node that took some fails as well, they move on.
    """
    taken: dict[int, list] = {}

    def move(homeless: np.ndarray, failed: float, end: float) -> None:
        start = failed + failures.recovery
        up = [n for n in range(nodes) if not any(t <= start < t + failures.repair for t in node_downs[n])]
        if not up or start >= end or not len(homeless):
            return
        rng.shuffle(homeless)
        processes = rng.permutation([n * cores + core for n in up for core in range(cores)])
        for process, part in zip(processes, np.array_split(homeless, min(len(processes), len(homeless))), strict=False):
            process = int(process)
            again = min((t for t in node_downs[process // cores] if start <= t < end), default=None)
            taken.setdefault(process, []).append((part, start, end if again is None else again))
            if again is not None:
                move(part, again, end)

    for node, downs in enumerate(node_downs):
        for failed in downs:
            own = np.concatenate([phases[node * cores + core] for core in range(cores)])
            move(own, failed, min(failed + failures.repair, length))
    return taken


def simulate_cameras(
    services: np.ndarray, *, cameras: int, nodes: int, cores: int, interval: float, background: float, still: float,
    failures: Failures, late_after: float, length: float, seed: int = 1,
) -> dict:  # fmt: skip
    """What becomes of all captions that are due in `length` seconds.

    `services`: measured times of a caption (an empirical distribution), seconds. `background`: the share of a core that
    decoding and the element take of each camera; they go first, so captions there take 1 / (1 - share) times as long.
    `still`: the share of due pictures that need no caption. A caption is late if it is complete more than `late_after`
    after it was due.
    """
    rng = np.random.default_rng(seed)
    processes = nodes * cores
    phases = [rng.uniform(0, interval, len(range(p, cameras, processes))) for p in range(processes)]
    node_downs = [failure_times(rng, failures.node_mtbf, failures.repair, length) for _ in range(nodes)]
    taken = moved_cameras(rng, phases, nodes, cores, node_downs, failures, length)
    waits, late, made, process_failures, busy = Waits(), 0, 0, 0, 0.0
    due = sum(len(due_times(own, interval, 0, length)) for own in phases)
    skipped = 0
    for process, own in enumerate(phases):
        load = len(own) * background
        if load >= 1:
            raise ValueError(f"{len(own)} cameras on a core take {load:.2f} of it without captions")
        crashes = failure_times(rng, failures.process_mtbf, failures.recovery, length)
        process_failures += len(crashes)
        nights = [(t, t + failures.repair) for t in node_downs[process // cores]]
        windows = sorted([*nights, *((t, t + failures.recovery) for t in crashes)])
        arrivals = due_times(own, interval, 0, length)
        extras = taken.get(process, [])
        if extras:
            arrivals = np.sort(np.concatenate([arrivals, *(due_times(p, interval, s, e) for p, s, e in extras)]))
        begin = 0.0
        for down, up in [*windows, (length, length)]:
            part = (
                arrivals[np.searchsorted(arrivals, begin) : np.searchsorted(arrivals, down)]
                if down > begin
                else arrivals[:0]
            )
            if still:
                keep = rng.random(len(part)) >= still
                skipped += int(len(part) - keep.sum())
                part = part[keep]
            here = load
            if extras:  # Of all that is added at any time, the middle of this stretch decides.
                here += background * sum(len(p) for p, s, e in extras if s <= (begin + down) / 2 < e)
            takes = services[rng.integers(0, len(services), len(part))] / (1 - min(here, 0.99))
            waited = waiting_times(part, takes)
            ready = part + waited + takes
            complete = ready <= down if down < length else np.ones(len(part), dtype=bool)
            waits.add(waited[complete])
            late += int((waited[complete] + takes[complete] > late_after).sum())
            made += int(complete.sum())
            busy += float(takes[complete].sum())
            begin = max(begin, up)
    return {
        "cameras": cameras,
        "nodes": nodes,
        "cores": processes,
        "hours": length / 3600,
        "due": due,
        "captions": made,
        "without_work": skipped,
        "lost": due - made - skipped,
        "lost_share": (due - made - skipped) / due,
        "late": late,
        "late_share": late / max(1, made),
        "waiting_seconds": waits.summary(),
        "caption_queue_utilisation": busy / (processes * length),
        "process_failures": process_failures,
        "node_failures": sum(map(len, node_downs)),
    }


def simulate_archive(
    services: np.ndarray, *, photos: float, shard: int, nodes: int, cores: int, per_shard: float, slow_share: float,
    slow_factor: float, failures: Failures, seed: int = 1,
) -> dict:  # fmt: skip
    """Time to caption all photos, in shards, with the cores of all nodes; a failed shard begins again.

    `services`: measured times of reading and captioning a photo. A shard takes the sum of as many of them, by the
    central limit theorem a normal number, and `per_shard` for its start and its file. On a share `slow_share` of
    the nodes all takes `slow_factor` times as long. A process that fails is back after `recovery`, the cores of a node
    after `repair`; their shards are handed out again after `recovery`.
    """
    rng = np.random.default_rng(seed)
    shards, cores_of_all = math.ceil(photos / shard), nodes * cores
    mean, deviation = shard * float(services.mean()), math.sqrt(shard) * float(services.std())
    speed = np.ones(nodes)
    speed[: round(slow_share * nodes)] = slow_factor
    speed = speed.tolist()
    node_fails = (
        rng.exponential(failures.node_mtbf, nodes).tolist() if math.isfinite(failures.node_mtbf) else [math.inf] * nodes
    )
    free = [(0.0, core) for core in range(cores_of_all)]
    retries: list[float] = []  # when each shard of a failure may be handed out again
    left, finish, wasted, failed, idle_from = shards, 0.0, 0.0, 0, None
    normal, uniform = iter(()), iter(())
    while left or retries:
        now, core = heapq.heappop(free)
        node = core // cores
        if now >= node_fails[node] + failures.repair:  # The node has come back since, and will fail again.
            node_fails[node] += failures.repair + rng.exponential(failures.node_mtbf)
            heapq.heappush(free, (now, core))
            continue
        if now >= node_fails[node]:
            heapq.heappush(free, (node_fails[node] + failures.repair, core))
            continue
        if left:
            left -= 1
        else:
            idle_from = now if idle_from is None else idle_from
            if retries[0] > now:
                heapq.heappush(free, (retries[0], core))
                continue
            heapq.heappop(retries)
        try:
            z, u = next(normal), next(uniform)
        except StopIteration:
            normal, uniform = iter(rng.standard_normal(65536).tolist()), iter(rng.exponential(1, 65536).tolist())
            z, u = next(normal), next(uniform)
        takes = max(0.0, mean + deviation * z) * speed[node] + per_shard
        crash = now + u * failures.process_mtbf
        end = now + takes
        if min(crash, node_fails[node]) < end:
            stopped = min(crash, node_fails[node])
            failed += 1
            wasted += stopped - now
            heapq.heappush(retries, stopped + failures.recovery)
            back = failures.recovery if crash <= node_fails[node] else failures.repair
            heapq.heappush(free, (stopped + back, core))
        else:
            finish = max(finish, end)
            heapq.heappush(free, (end, core))
    work = shards * (mean + per_shard)
    return {
        "photos": photos,
        "shards": shards,
        "nodes": nodes,
        "cores": cores_of_all,
        "seconds": finish,
        "days": finish / 86400,
        "ideal_days": work / cores_of_all / 86400,
        "over_ideal": finish / (work / cores_of_all),
        "tail_seconds": finish - idle_from if idle_from is not None else 0.0,
        "shards_again": failed,
        "work_again_share": wasted / work,
    }
