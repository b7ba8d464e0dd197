# SPDX-License-Identifier: LGPL-2.1-or-later
"""archive.py - captions an archive of photos and videos on many machines, into a Parquet data set.

    archive.py examples/photos captions                          this machine
    archive.py --address auto s3://bucket/photos s3://bucket/captions
    find /archive -newer stamp | archive.py --list - captions    a list

A second run with the same OUTPUT does only what is missing, has changed, or was made by another model. Bad files are
tried twice and then listed with their error. Exit status: 0 all captioned, 1 some files with errors, 2 wrong usage, 3
ended before all was done, 130 interrupted; after the last two a second run goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

# Before Ray is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray's workers would have a niceness of 15, and on a machine that does anything else hardly run; `nice` asks for it
# where it is wanted. On a cluster it is set where `ray start` is.
os.environ.setdefault("RAY_worker_niceness", "0")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from batch import captioner, dataset, inputs
from batch.captioner import Outcome, Settings, Shard
from batch.dataset import DataSet, OutputError
from batch.inputs import Entry, Keys, ListingError, UsageError

MAX_SHOWN = 20


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("input", nargs="*", metavar="INPUT", help="a file, a folder, a pattern, any address of fsspec")
    parser.add_argument("output", metavar="OUTPUT", help="a folder that all nodes see, or an address: the data set")
    parser.add_argument("--list", metavar="FILE", help="a file with one INPUT file a line; - is standard input")
    parser.add_argument("--address", help="the Ray cluster to join, or auto; without it Ray is started on this machine")
    parser.add_argument("--model", metavar="FILE", help="the model file; by default the one that is installed")
    parser.add_argument(
        "--cores-per-actor", type=int, default=1, metavar="N",
        help="processors of a worker (1: with 2 one photo is done sooner, but fewer photos in all)",
    )  # fmt: skip
    parser.add_argument("--actors", type=int, default=0, metavar="N", help="at most so many workers")
    parser.add_argument(
        "--shard-size", type=int, default=256, metavar="N",
        help="files that are done and written together (256: ten seconds of a core, which a lost node costs)",
    )  # fmt: skip
    parser.add_argument(
        "--interval", type=float, default=10, metavar="SECONDS", help="between captions of a video (10)"
    )
    parser.add_argument(
        "--timeout", type=float, default=60, metavar="SECONDS", help="for a photo, a step of a video (60)"
    )
    parser.add_argument(
        "--patience", type=float, default=600, metavar="SECONDS", help="how long to wait for room in OUTPUT (600)"
    )
    parser.add_argument("--log", metavar="FILE", help="a line of JSON for each shard begun, done, lost, and by whom")
    parser.add_argument("--retry-errors", action="store_true", help="files that had an error are done again")
    given = parser.parse_args(words)
    if "://" not in given.output:
        # Workers have another working folder.
        given.output = os.path.abspath(given.output)
    if not given.input and not given.list:
        parser.error("an INPUT, or --list, and OUTPUT are needed")
    for name, least in (("cores_per_actor", 1), ("shard_size", 1), ("actors", 0)):
        if getattr(given, name) < least:
            parser.error(f"--{name.replace('_', '-')} is at least {least}")
    for name in ("interval", "timeout", "patience"):
        if not 0 < getattr(given, name) < float("inf"):
            parser.error(f"--{name} is a number of seconds above 0")
    return given


def entries(given: argparse.Namespace) -> Iterator[Entry]:
    """All inputs, one after the other. What is named is looked at first, so that a wrong name ends the run at once."""
    if given.list and given.list != "-" and not os.path.isfile(given.list):
        raise UsageError(f"--list {given.list}: there is no such file")
    for address in given.input + [given.output]:
        if address.startswith("memory://"):
            raise UsageError(f"{address}: memory is of one process alone, and workers are others")
    streams = [inputs.named(address) for address in given.input]
    if given.list:
        streams.append(inputs.listed(given.list))
    return chain.from_iterable(streams)


class Plan:
    """What is left to do, as a stream of shards, and how much there was."""

    def __init__(self, stream: Iterator[Entry], known: dataset.Known, model_digest: str, interval: float):
        self.found = self.missing = 0
        self.ended = False
        self._stream, self._known = stream, known
        self._digest, self._interval = model_digest, interval

    def _missing(self) -> Iterator[tuple[Entry, bytes]]:
        seen = Keys()
        for entry in self._stream:
            # The same file by two inputs is one.
            if not seen.add(inputs.name_hash(entry.source)):
                continue
            self.found += 1
            key = inputs.key(entry, self._digest, self._interval)
            if key in self._known.done:
                continue
            self.missing += 1
            yield entry, key
        self.ended = True

    def shards(self, size: int) -> Iterator[Shard]:
        for some in inputs.shards(self._missing(), size):
            yield Shard(tuple(entry for entry, _ in some), tuple(key for _, key in some))


class Progress:
    """The bar on the terminal, of all files with those done before, and what Ray's dashboard and Prometheus count."""

    def __init__(self, plan: Plan, given: argparse.Namespace):
        from ray.util.metrics import Counter
        from tqdm import tqdm

        self.bar = tqdm(
            unit=" files", dynamic_ncols=True, mininterval=0.5 if sys.stderr.isatty() else 30, file=sys.stderr
        )
        self._plan = plan
        self.files = self.captions = self.failed = 0
        # Beside the work, as a large folder takes a while.
        threading.Thread(target=self._count, args=(given,), daemon=True).start()
        self.shown: list[tuple[str, str]] = []
        self._files = Counter("palme_archive_files", "Files that are done", ("result",))
        self._captions = Counter("palme_archive_captions", "Captions that are written")

    def add(self, outcome: Outcome) -> None:
        errors = len(outcome.errors)
        self.files, self.captions = self.files + outcome.files, self.captions + outcome.captions
        self.failed += errors
        self.shown += outcome.errors[: MAX_SHOWN - len(self.shown)]
        for result, count in (("captioned", outcome.files - errors), ("error", errors)):
            if count:
                self._files.inc(count, {"result": result})
        if outcome.captions:
            self._captions.inc(outcome.captions)
        self.show()

    def show(self) -> None:
        plan = self._plan
        if plan.ended:
            self.bar.total = plan.found
        self.bar.set_postfix(errors=self.failed, refresh=False)
        self.bar.update(plan.found - plan.missing + self.files - self.bar.n)

    def _count(self, given: argparse.Namespace) -> None:
        total = inputs.count(given.input, given.list)
        if not self._plan.ended:
            self.bar.total = total

    def tell(self, text: str) -> None:
        self.bar.write(f"archive.py: {text}", file=sys.stderr)


class Log:
    """Events as lines of JSON, with the time in seconds of the epoch."""

    def __init__(self, path: str | None):
        try:
            self._file = open(path, "a") if path else None  # noqa: SIM115
        except OSError as error:
            raise UsageError(f"--log {path}: {error.strerror}") from error

    def __call__(self, **event) -> None:
        if self._file:
            print(json.dumps({"time": time.time()} | event), file=self._file, flush=True)


def start_ray(given: argparse.Namespace):
    import batch
    import ray
    from batch import work

    # The classes travel with what is sent, so nodes need palme and the pinned packages, but not these files.
    for module in (batch, inputs, dataset, captioner, work):
        ray.cloudpickle.register_pickle_by_value(module)
    try:
        here = ray.init(
            address=given.address or "local", log_to_driver=False, logging_level="ERROR", namespace="palme-archive",
            **({} if given.address else {"include_dashboard": None}),
        )  # fmt: skip
    except ConnectionError as error:
        raise UsageError(f"--address {given.address}: there is no Ray cluster: {error}") from error
    if here.dashboard_url:
        print(f"archive.py: Ray's dashboard is at http://{here.dashboard_url}", file=sys.stderr)
    return ray, work


def model_bytes(given: argparse.Namespace) -> bytes:
    import installed

    try:
        return Path(given.model or installed.model()).read_bytes()
    except OSError as error:
        raise UsageError(f"--model: {error}") from error


def summary(plan: Plan, progress: Progress | None, superseded: int, output: str, seconds: float) -> None:
    def say(text):
        print(text, file=sys.stderr)

    already = plan.found - plan.missing
    if progress is None:
        say(f"archive.py: {plan.found} files, all of them done before; in {output}")
        return
    say(
        f"archive.py: {plan.found} files; {already} were done before, {progress.files} are done now: "
        f"{progress.captions} captions, {progress.failed} files with errors, in {seconds:.0f} seconds; in {output}"
    )
    if superseded:
        say(f"archive.py: older rows of {superseded} files were replaced")
    for source, error in progress.shown:
        say(f"    {source}: {error}")
    if progress.failed > len(progress.shown):
        say(f"    and {progress.failed - len(progress.shown)} more: rows whose column error is not null")


def run(given: argparse.Namespace) -> int:
    began = time.monotonic()
    stream, log = entries(given), Log(given.log)
    model = model_bytes(given)
    digest = hashlib.sha256(model).hexdigest()
    output = DataSet(given.output)
    number = time.time_ns()
    mark = f".run-{number}"
    output.prepare(mark)
    ray = progress = None
    superseded = 0
    try:
        # What a run that was killed left doubled.
        output.tidy()
        known = output.known(given.retry_errors)
        number = max(number, known.run + 1)
        plan = Plan(stream, known, digest, given.interval)
        shards = plan.shards(given.shard_size)
        first = next(shards, None)
        if first is None:
            summary(plan, None, 0, given.output, time.monotonic() - began)
            return 0
        ray, work = start_ray(given)
        progress = Progress(plan, given)
        progress.show()
        settings = Settings(given.output, digest, given.interval, given.timeout, given.cores_per_actor, number, mark)
        crew = work.Crew(
            model, settings, cores=given.cores_per_actor, patience=given.patience, tell=progress.tell,
            limit=given.actors, log=log,
        )  # fmt: skip
        try:
            for outcome in crew.run(chain([first], shards)):
                progress.add(outcome)
        except work.GivenUp as error:
            progress.tell(str(error))
            progress.tell("ended before all was done; the same command goes on from here")
            return 3
        superseded = output.tidy()
        progress.bar.close()
        summary(plan, progress, superseded, given.output, time.monotonic() - began)
        # Errors of earlier runs are errors of the data set, too.
        return 1 if progress.failed else 0
    except KeyboardInterrupt:
        print("\narchive.py: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    finally:
        if progress is not None:
            progress.bar.close()
        if ray is not None:
            ray.shutdown()
        with contextlib.suppress(Exception):
            output.remove(mark)


def main(words: list[str] | None = None) -> int:
    given = arguments(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(given)
    except UsageError as error:
        print(f"archive.py: {error}", file=sys.stderr)
        return 2
    except (ListingError, OutputError) as error:
        print(f"archive.py: {error}", file=sys.stderr)
        return 3
    except Exception:
        # Not 1, which is for files with errors.
        traceback.print_exc()
        return 3


if __name__ == "__main__":
    sys.exit(main())
