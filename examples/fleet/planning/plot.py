# SPDX-License-Identifier: LGPL-2.1-or-later
"""The picture of plan.py's simulation: waiting cameras, what failures cost, and an archive on more and more nodes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

#: Shares of a core that the first panel tries, and failures of each process (days) that the second one does.
LOADS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
DAYS = (0.1, 0.3, 1, 3, 10, 30)
NODES = (1, 3, 10, 30, 100, 300, 1000)
BLUE, ORANGE, GREEN, GREY = "#1f5fa8", "#c05a00", "#1b6b3a", "#777777"


def waiting(axes, asked, costs, measured, plan, cameras_of: Callable) -> None:
    """How long pictures wait when each core has more cameras than planned, or fewer."""
    from planning.simulate import Failures

    never = Failures(float("inf"), float("inf"), asked.recovery, asked.repair)
    each = plan["cpu_per_camera"]
    shown: dict[str, list] = {"p50": [], "p99": [], "p99.9": []}
    loads = []
    for load in LOADS:
        on_a_core = max(1, round(load / each))
        if (loads and on_a_core * each <= loads[-1]) or on_a_core * each >= 0.98:
            continue
        loads.append(on_a_core * each)
        found = cameras_of(
            asked, costs, measured, plan, cameras=on_a_core * 320, nodes=20, cores=16, failures=never,
            length=min(7200.0, asked.hours * 3600),
        )  # fmt: skip
        for key, values in shown.items():
            values.append(max(1.0, found["waiting_seconds"][key] * 1e3))
    for key, colour, marker in (("p99.9", ORANGE, "^"), ("p99", BLUE, "o"), ("p50", GREEN, "s")):
        name = {"p50": "half wait less", "p99": "99 % wait less", "p99.9": "99.9 % wait less"}[key]
        axes.plot([100 * load for load in loads], shown[key], marker=marker, color=colour, label=name)
    axes.axvline(100 * plan["utilisation_of_all"], color=GREY, linestyle=":")
    axes.text(100 * plan["utilisation_of_all"] - 1, 1.15, "the plan", color=GREY, ha="right", rotation=90, va="bottom")
    axes.set_yscale("log")
    plain_logarithm(axes.yaxis)
    axes.set_xlabel("share of the cores at work, %")
    axes.set_ylabel("wait for a core, ms (1: none)")
    axes.set_title(f"Cameras: how long a due picture waits\n(captioned every {asked.interval:g} s)")
    axes.legend(loc="upper left", frameon=False)


def failing(axes, asked, costs, measured, plan, cameras_of: Callable) -> None:
    """Captions lost in a day when processes fail more often or less.

    Which share is lost is a share of time, so cameras that are captioned once a minute show it with less work.
    """
    from planning.simulate import Failures

    for recovery, colour, marker in ((60, ORANGE, "^"), (asked.recovery, BLUE, "o")):
        lost = []
        for days in DAYS:
            failures = Failures(days * 86400, asked.node_mtbf, recovery, max(asked.repair, recovery))
            found = cameras_of(
                asked, costs, measured, plan, cameras=10000, failures=failures,
                nodes=-(-10000 // plan["cameras_per_node"]) + asked.spare, interval=60.0,
            )  # fmt: skip
            lost.append(1e6 * found["lost_share"])
        axes.plot(DAYS, lost, marker=marker, color=colour, label=f"cameras are back after {recovery:g} s")
    axes.set_xscale("log")
    plain_logarithm(axes.xaxis)
    axes.set_yscale("log")
    plain_logarithm(axes.yaxis)
    axes.set_xlabel("days between failures of each process")
    axes.set_ylabel("lost of a million captions")
    axes.set_title(f"10,000 cameras: what failures cost\n(a node fails every {asked.node_mtbf / 86400:g} days, too)")
    axes.legend(loc="upper right", frameon=False)


def archive(axes, asked, measured, archive_of: Callable) -> None:
    found = [archive_of(asked, measured, nodes) for nodes in NODES]
    axes.plot(NODES, [f["ideal_days"] for f in found], color=GREY, linestyle="--", label="work / cores")
    axes.plot(NODES, [f["days"] for f in found], marker="o", color=BLUE, label="simulated")
    for f in found:
        text = f"{f['days']:.1f} days" if f["days"] >= 1 else f"{24 * f['days']:.1f} hours"
        axes.annotate(
            f"{text}, +{100 * (f['over_ideal'] - 1):.1f} %", (f["nodes"], f["days"]),
            textcoords="offset points", xytext=(7, 4), fontsize=8,
        )  # fmt: skip
    axes.set_xscale("log")
    plain_logarithm(axes.xaxis)
    axes.set_yscale("log")
    plain_logarithm(axes.yaxis)
    axes.set_xlim(right=NODES[-1] * 12)
    axes.set_xlabel(f"nodes of {asked.cores} cores")
    axes.set_ylabel("days")
    axes.set_title(f"Archive of {asked.photos:,.0f} photos\n(+: over work / cores, by failures and slow nodes)")
    axes.legend(loc="lower left", frameon=False)


def plain_logarithm(axis) -> None:
    """Numbers as people write them: 0.1, 1, 10, 1000."""
    axis.set_major_formatter(lambda value, _: f"{value:g}")


def draw(
    path: Path, asked: argparse.Namespace, costs, measured: dict, plan: dict, cameras_of: Callable, archive_of: Callable
) -> None:
    """Writes the picture. `cameras_of` and `archive_of` are plan.py's: they simulate with what is asked."""
    # Letters stay letters, and two drawings of the same numbers are the same file. White is for dark pages.
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "plan", "font.size": 10, "font.family": "sans-serif"})
    figure, panels = plt.subplots(1, 3, figsize=(13.5, 4.4), facecolor="white", layout="constrained")
    waiting(panels[0], asked, costs, measured, plan["cameras"], cameras_of)
    failing(panels[1], asked, costs, measured, plan["cameras"], cameras_of)
    archive(panels[2], asked, measured, archive_of)
    for axes in panels:
        axes.grid(color="#dddddd", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
    machine, captions = measured["machine"], measured["captions"]
    figure.supxlabel(
        f"Simulated with times measured on {machine['processor']} ({captions['precision']}, {captions['level']}): "
        f"{1e3 * costs.caption:.0f} ms of a core for a caption, {costs.decode + costs.element:.2f} of a core for a "
        "camera's video.",
        fontsize=9, color="#444444",
    )  # fmt: skip
    kind = path.suffix.lstrip(".").lower()
    figure.savefig(path, metadata={"Date": None} if kind == "svg" else None)
    plt.close(figure)
