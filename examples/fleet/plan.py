#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""plan.py - how many machines a fleet of cameras or an archive of photos takes, from measurements on this machine.

    build/fleet/bin/python examples/fleet/plan.py --cameras 500 --interval 5 --cores 16 --memory 32GiB
    build/fleet/bin/python examples/fleet/plan.py --photos 1e9 --days 30
    build/fleet/bin/python examples/fleet/plan.py --cameras 10000 --photos 1e9 --simulate --plot fleet.svg

It measures (planning/measure.py), divides (planning/size.py), and with --simulate plays a day of the cameras and the
whole archive with failures (planning/simulate.py). All assumptions are printed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path

import installed
from planning import measure, report, size
from planning.options import parse


class Problem(Exception):
    """An error message for the user."""


def measured_by(asked: argparse.Namespace) -> dict:
    """What was measured now, or by the run that wrote --measured."""
    if asked.measured:
        try:
            measured = json.loads(asked.measured.read_text(encoding="utf-8"))
            size.costs_of(measured)
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            raise Problem(f"{asked.measured}: not what plan.py --save has written: {error!r}") from None
        streams = measured["streams"]
        for name, is_so, wanted in (
            ("--size", (streams["width"], streams["height"]), asked.size),
            ("--decode", streams["decode"], streams["decode"] if asked.decode == "none" else asked.decode),
        ):
            if is_so != wanted:
                raise Problem(
                    f"{asked.measured}: measured with {name} {is_so}, not {wanted}; measure again without --measured"
                )
        return measured
    photos = sorted(str(p) for p in asked.photos_from.glob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    if not photos:
        raise Problem(f"{asked.photos_from}: there are no JPEGs in this folder; --photos-from names another one")
    print("Measuring captions and streams on this machine; nothing else should run here.", file=sys.stderr)
    return measure.measure(
        asked.model or installed.model(), asked.precision, photos, rounds=asked.rounds,
        decode="all" if asked.decode == "none" else asked.decode, size=asked.size, seconds=asked.seconds,
        repeats=asked.repeats,
    )  # fmt: skip


def failures_of(asked: argparse.Namespace):
    from planning import simulate

    return simulate.Failures(asked.process_mtbf, asked.node_mtbf, asked.recovery, asked.repair)


def cameras_of(asked, costs, measured, plan, **other) -> dict:
    """A day of the planned fleet; `other` takes the place of its arguments."""
    import numpy as np
    from planning import simulate

    return simulate.simulate_cameras(
        # As they vary from photo to photo, but as long as they take in a stream.
        np.array(measured["captions"]["service_seconds"]) * costs.caption / costs.service,
        **{
            "cameras": asked.cameras, "nodes": plan["nodes_with_spare"], "cores": asked.cores,
            "interval": asked.interval,
            "background": costs.decode + costs.element, "still": asked.still, "failures": failures_of(asked),
            "late_after": asked.late_after, "length": asked.hours * 3600, "seed": asked.seed,
        } | other,
    )  # fmt: skip


def archive_of(asked, measured, nodes: int, **other) -> dict:
    import numpy as np
    from planning import simulate

    captions = measured["captions"]
    photos = np.array(captions["service_seconds"]) + sum(captions["read_seconds"]) / len(captions["read_seconds"])
    return simulate.simulate_archive(
        photos,
        **{
            "photos": asked.photos, "shard": asked.shard, "nodes": nodes, "cores": asked.cores,
            "per_shard": asked.per_shard, "slow_share": asked.slow_share, "slow_factor": asked.slow_factor,
            "failures": failures_of(asked), "seed": asked.seed,
        } | other,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    asked = parse(arguments)
    measured = measured_by(asked)
    if asked.save:
        asked.save.write_text(json.dumps(measured) + "\n", encoding="utf-8")
    costs = size.costs_of(measured, without_decoding=asked.decode == "none")
    node = size.Node(asked.cores, asked.memory, asked.utilisation, asked.reserve)
    plan: dict = {}
    if asked.cameras:
        plan["cameras"] = size.size_cameras(costs, node, asked.cameras, asked.interval, asked.still, asked.spare)
    if asked.photos:
        plan["archive"] = size.size_archive(costs, node, asked.photos, asked.days, asked.overhead)
    simulated: dict = {}
    if asked.simulate:
        if asked.cameras:
            simulated["cameras"] = cameras_of(asked, costs, measured, plan["cameras"])
        if asked.photos:
            nodes = plan["archive"]["nodes"]
            counts = sorted({nodes, *(max(1, round(nodes * factor)) for factor in (3, 10, 30, 100))})
            simulated["archive"] = [archive_of(asked, measured, count) for count in counts]
    if asked.plot:
        from planning import plot

        plot.draw(asked.plot, asked, costs, measured, plan, cameras_of, archive_of)
    said = report.assumptions(asked, measured)
    if asked.json:
        given = {key: str(value) if isinstance(value, Path) else value for key, value in vars(asked).items()}
        given = {key: "never" if value == math.inf else value for key, value in given.items()}
        print(
            json.dumps(
                {"asked": given, "measured": measured, "plan": plan, "simulated": simulated, "assumptions": said}
            )
        )
        return 0
    report.print_measured(measured)
    report.print_plan(asked, plan)
    report.print_simulation(simulated)
    print("\nAssumptions:")
    for line in said:
        print(f"  - {line}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Problem, measure.Problem, size.Problem, OSError) as error:
        sys.exit(f"plan.py: {error}")
    except BrokenPipeError:
        os._exit(1)
