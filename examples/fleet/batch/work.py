# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who does what: shards go to Ray's actors, and what becomes of those whose actor dies.

Ray places the actors, watches processes and nodes, and starts an actor again, on another node where its own is gone.
What is left to do here is to hand out the next shard, and to give the shard of an actor that died to another one. It is
not left to Ray's max_task_retries, since a call that Ray repeats waits for its own actor, for ever if that one's node
does not come back and no other has room. And Ray Data would hold the names of all inputs in its object store, writes
files that a second run cannot tell apart, and ends where a file ends the worker's process again and again.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from .captioner import Captioner, Outcome, Shard, describe
from .dataset import OutputError
from .inputs import UsageError


class GivenUp(Exception):
    """The run ends before all is done; a second one goes on from there."""


@dataclass(eq=False)
class Work:
    """A shard. `place`: the file that was begun last, where that is known; `suspect`: that of the worker before."""

    shard: Shard
    deaths: int = 0
    place: int | None = None
    suspect: int | None = None


class CaptionActor:
    """A worker's process. The model comes by a call: for a constructor Ray may no longer have it when it repeats it."""

    def where(self) -> str:
        """The node and the process."""
        return f"{ray.util.get_node_ip_address()}:{os.getpid()}"

    def load(self, model: bytes, settings) -> None:
        self._captioner = Captioner(model, settings)

    def caption(self, shard: Shard) -> Outcome:
        return self._captioner.caption(shard)

    def caption_by_step(self, shard: Shard):
        """The places of the files, each before it is touched, and the outcome."""
        yield from self._captioner.steps(shard)


CULPRIT = "the worker's process ended over this file, twice"
#: So many deaths in a row over one shard, at no file twice, are not the files' fault; nor those of a worker that loads
#: the model, while no other one could load it.
MAX_DEATHS = 10


class Crew:
    """Actors, one for each `cores` of the cluster's processors, and the shards that they are at."""

    #: How often the cluster is asked for its size; nodes may join a run.
    LOOK_SECONDS = 5.0
    #: How long a shard that could not be written waits, and an actor that Ray is still starting.
    WAIT_SECONDS = 1.0
    #: After how long without any worker it is said that there is none.
    NOBODY_SECONDS = 60.0

    def __init__(
        self, model: bytes, settings, *, cores: int, patience: float, tell: Callable[[str], None],
        log: Callable[..., None] = lambda **_: None, limit: int = 0,
    ):  # fmt: skip
        """`model` is the model file's content, `limit`: at most so many actors. tell() gets what the user should know,
        log() the events: what happened, to which shard, at which worker."""
        self._model = ray.put(model)
        actor = ray.remote(num_cpus=cores, max_restarts=-1, max_task_retries=0)(CaptionActor)
        self._make, self._settings = actor.remote, settings
        self._cores, self._patience, self._tell, self._log, self._limit = cores, patience, tell, log, limit
        self._idle: list = []
        self._at: dict = {}  # reference -> (actor, Work, or None while the actor starts)
        self._where: dict = {}  # actor -> node and process
        self._loading: set = set()  # actors
        self._loading_deaths: Counter = Counter()  # of an actor, since a model was loaded
        self._again: deque[Work] = deque()
        self._waiting: list[tuple[float, object, Work | None]] = []  # when to try again, by whom
        self._blocked_since: float | None = None
        self._actors = self._capacity = 0
        self._looked = -self.LOOK_SECONDS
        self._heard = time.monotonic()

    def run(self, shards: Iterator[Shard]) -> Iterator[Outcome]:
        """Outcomes as they come. Raises GivenUp."""
        source, ended = shards, False
        while True:
            while not ended and len(self._again) <= self._starting():
                shard = next(source, None)
                if shard is None:
                    ended = True
                    break
                self._again.append(Work(shard))
            self._hand_out()
            at = chain((work for _, work in self._at.values()), (work for _, _, work in self._waiting))
            if ended and not self._again and all(work is None for work in at):
                return
            outcome = self._wait()
            if outcome is not None:
                yield outcome

    def _starting(self) -> int:
        return sum(work is None for _, work in self._at.values()) + len(self._idle)

    def _hand_out(self) -> None:
        now = time.monotonic()
        for entry in [entry for entry in self._waiting if entry[0] <= now]:
            self._waiting.remove(entry)
            _, actor, work = entry
            if work is None:
                self._enlist(actor)
            else:
                self._start(actor, work)
        while self._again and self._idle:
            self._start(self._idle.pop(), self._again.popleft())
        if now - self._looked > self.LOOK_SECONDS:
            self._looked = now
            room = sum(int(node["Resources"].get("CPU", 0) // self._cores) for node in ray.nodes() if node["Alive"])
            self._capacity = min(max(self._capacity, room), self._limit or room)
            if now - self._heard > self.NOBODY_SECONDS and not self._blocked_since:
                self._heard = now
                self._tell(f"nothing from a worker for {self.NOBODY_SECONDS:.0f} s; the cluster has room for {room}")
        if self._again and self._starting() < len(self._again) and self._actors < self._capacity:
            self._actors += 1
            self._enlist(self._make())

    def _enlist(self, actor) -> None:
        """Has an actor load the model, when its process is there, be it for the first time or again."""
        self._at[actor.where.options(name="starts").remote()] = (actor, None)

    def _load(self, actor) -> None:
        self._loading.add(actor)
        self._at[actor.load.options(name="loads the model").remote(self._model, self._settings)] = (actor, None)

    def _start(self, actor, work: Work) -> None:
        """Hands out a shard. One whose worker died is done step by step: a step waits until the one before is known."""
        self._log(event="started", shard=work.shard.name, worker=self._where[actor])
        name, work.place = f"captions {work.shard.name[5:17]}", None
        call = actor.caption.options(name=name)
        if work.deaths:
            call = actor.caption_by_step.options(
                name=f"{name}, step by step", num_returns="streaming", _generator_backpressure_num_objects=1
            )
        self._at[call.remote(work.shard)] = (actor, work)

    def _wait(self) -> Outcome | None:
        if not self._at:
            time.sleep(0.2)
            return None
        done, _ = ray.wait(list(self._at), num_returns=1, timeout=0.5)
        if not done:
            return None
        reference = done[0]
        actor, work = self._at.pop(reference)
        try:
            result = ray.get(next(reference) if isinstance(reference, ray.ObjectRefGenerator) else reference)
        except RayTaskError as error:
            if isinstance(error.cause, (OutputError, UsageError)):
                raise GivenUp(str(error.cause)) from error
            raise GivenUp(f"a worker failed, which is no file's fault: {describe(error.cause)}\n{error}") from error
        except (RayError, StopIteration) as error:
            self._lost(actor, work, error)
            return None
        if work is None and actor not in self._loading:
            self._where[actor] = result
            self._load(actor)
            return None
        self._heard = time.monotonic()
        if work is None:
            self._loading.remove(actor)
            self._loading_deaths.clear()
            self._log(event="ready", worker=self._where[actor])
            self._idle.append(actor)
        elif isinstance(result, Outcome):
            return self._finished(actor, work, result)
        else:
            work.place = result
            self._at[reference] = (actor, work)
        return None

    def _finished(self, actor, work: Work, outcome: Outcome) -> Outcome | None:
        self._log(event="blocked" if outcome.blocked else "done", shard=work.shard.name, worker=self._where[actor])
        if outcome.blocked is not None:
            self._block(actor, work, outcome.blocked)
            return None
        if self._blocked_since is not None:
            self._blocked_since = None
            self._tell("OUTPUT can be written again")
        if outcome.stuck:
            # Threads that hang would add up.
            ray.kill(actor, no_restart=False)
            self._later(actor, None)
        else:
            self._idle.append(actor)
        return outcome

    def _block(self, actor, work: Work, reason: str) -> None:
        now = time.monotonic()
        if self._blocked_since is None:
            self._blocked_since = now
            self._tell(f"{reason}; trying again for {self._patience:.0f} seconds")
        if now - self._blocked_since > self._patience:
            raise GivenUp(f"{reason}; given up after {self._patience:.0f} seconds")
        self._later(actor, work)

    def _later(self, actor, work: Work | None) -> None:
        self._waiting.append((time.monotonic() + self.WAIT_SECONDS, actor, work))

    # ---- Actors that died

    def _lost(self, actor, work: Work | None, error: Exception) -> None:
        """An actor died. Its shard is given to another one; where two of them died at the same file, without that."""
        if isinstance(error, ActorDiedError):
            # Not by accident: somebody ended it for good. Another one may take its place.
            self._actors -= 1
        else:
            # Where Ray has no room for it yet, a call fails at once.
            self._later(actor, None)
        if work is None:
            self._lost_loading(actor, error)
            return
        self._log(event="lost", shard=work.shard.name, worker=self._where[actor])
        work.deaths += 1
        if work.place is not None and work.place == work.suspect:
            work.shard = replace(work.shard, found=work.shard.found | {work.place: CULPRIT})
            work.deaths = 1
        elif work.deaths > MAX_DEATHS:
            raise GivenUp(f"{MAX_DEATHS} workers died over {work.shard.name}, the last one: {describe(error)}")
        work.suspect = work.place
        self._again.appendleft(work)

    def _lost_loading(self, actor, error: Exception) -> None:
        """An actor died without a shard. One whose process was not there yet may wait for room, and is not counted."""
        if actor not in self._loading:
            return
        self._loading.remove(actor)
        self._log(event="died loading", worker=self._where[actor])
        self._loading_deaths[actor] += 1
        if self._loading_deaths[actor] == MAX_DEATHS:
            raise GivenUp(
                f"a worker died {MAX_DEATHS} times while it loaded the model, at last on {self._where[actor]}: "
                f"{describe(error)}"
            )
