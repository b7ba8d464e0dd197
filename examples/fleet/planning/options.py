# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options of plan.py."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

PHOTOS = Path(__file__).resolve().parent.parent.parent / "photos"
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
TIMES = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def number(least: float, most: float = math.inf, whole: bool = False, above: bool = False):
    """A reader of numbers between two limits, `least` itself left out with `above`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not (least < value if above else least <= value) or not value <= most or (whole and value != int(value)):
            kind = "a whole number" if whole else "a number"
            limit = f" to {most:g}" if math.isfinite(most) else ""
            raise argparse.ArgumentTypeError(f"{text} is not {kind} {'above' if above else 'from'} {least:g}{limit}")
        return int(value) if whole else value

    return read


def memory(text: str) -> int:
    """Bytes of "32GiB", "512M" or a number."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write it as 32GiB")
    return int(float(found[1]) * UNITS[found[2].upper()])


def duration(text: str) -> float:
    """Seconds of "10", "10s", "5min", "12h", "30d"; "never" is infinite."""
    if text == "never":
        return math.inf
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|)", text.strip())
    if not found or float(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; write it as 10s, 5min, 12h or 30d, or never")
    return float(found[1]) * TIMES[found[2]]


def frame_size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    width, height = map(int, found.groups()) if found else (0, 0)
    if not (64 <= width <= 7680 and 64 <= height <= 4320) or width % 2 or height % 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size of frames; write it as 1280x720, with even sides")
    return width, height


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """What is asked for. Ends the process with a line on stderr where that is wrong."""
    parser = argparse.ArgumentParser(description="How many machines a fleet takes, measured on this machine.")
    fleet = parser.add_argument_group("the fleet")
    fleet.add_argument("--cameras", type=number(1, whole=True), help="how many cameras (500, unless --photos is given)")
    fleet.add_argument(
        "--interval", type=number(0, above=True), default=5.0, metavar="SECONDS", help="each is captioned so often (5)"
    )
    fleet.add_argument(
        "--still",
        type=number(0, 1),
        default=0.0,
        metavar="SHARE",
        help="of due pictures that show nothing new and keep their caption (0)",
    )
    fleet.add_argument(
        "--decode",
        choices=("all", "keyframes", "none"),
        default="all",
        help="the frames of H.264 that are decoded; none: raw video (all)",
    )
    fleet.add_argument(
        "--size",
        type=frame_size,
        default=(1280, 720),
        metavar="WxH",
        help="of their video, at 25 frames a second (1280x720)",
    )
    fleet.add_argument("--photos", type=number(1), help="an archive of so many photos, as 1e9")
    fleet.add_argument(
        "--days", type=number(0, above=True), default=30.0, help="in which the archive is to be captioned (30)"
    )
    fleet.add_argument(
        "--photos-from",
        type=Path,
        default=PHOTOS,
        metavar="FOLDER",
        help="JPEGs like those of the fleet, to measure with (examples/photos)",
    )
    node = parser.add_argument_group("one node")
    node.add_argument("--cores", type=number(1, whole=True), default=16, help="(16)")
    node.add_argument("--memory", type=memory, default=32 * 2**30, metavar="SIZE", help="(32GiB)")
    node.add_argument(
        "--reserve",
        type=memory,
        default=4 * 2**30,
        metavar="SIZE",
        help="memory that is left to the system and to Ray (4GiB)",
    )
    node.add_argument(
        "--utilisation",
        type=number(0, 1, above=True),
        default=0.7,
        metavar="SHARE",
        help="of its cores to plan with, for cameras (0.7)",
    )
    node.add_argument(
        "--spare", type=number(0, whole=True), default=1, metavar="NODES", help="for cameras, beside those needed (1)"
    )
    node.add_argument(
        "--overhead",
        type=number(0),
        default=0.05,
        metavar="SHARE",
        help="of an archive's time for all but photos (0.05)",
    )
    measuring = parser.add_argument_group("the measurement")
    measuring.add_argument("--model", help="a model file (the default model)")
    measuring.add_argument("--precision", choices=("auto", "f32", "bf16", "int8"), default="auto", help="(auto)")
    measuring.add_argument("--rounds", type=number(2, whole=True), default=10, help="over the photos (10)")
    measuring.add_argument("--seconds", type=number(1), default=8.0, help="for each run of streams (8)")
    measuring.add_argument("--repeats", type=number(1, whole=True), default=3, help="of the runs of streams (3)")
    measuring.add_argument(
        "--measured", type=Path, metavar="FILE", help="take what --save has written, perhaps on another machine"
    )
    measuring.add_argument("--save", type=Path, metavar="FILE", help="write what was measured")
    simulated = parser.add_argument_group("the simulation")
    simulated.add_argument(
        "--simulate", action="store_true", help="a day of the cameras, and the archive, with failures"
    )
    simulated.add_argument(
        "--process-mtbf",
        type=duration,
        default=7 * 86400.0,
        metavar="TIME",
        help="mean time between failures of a process (7d)",
    )
    simulated.add_argument(
        "--node-mtbf", type=duration, default=30 * 86400.0, metavar="TIME", help="the same of a node (30d)"
    )
    simulated.add_argument(
        "--recovery", type=duration, default=10.0, metavar="TIME", help="until a failed one's work is taken over (10s)"
    )
    simulated.add_argument(
        "--repair", type=duration, default=600.0, metavar="TIME", help="until a failed node is back (10min)"
    )
    simulated.add_argument("--hours", type=number(0, above=True), default=24.0, help="of the cameras (24)")
    simulated.add_argument(
        "--late-after", type=duration, metavar="TIME", help="a caption is late after so long (the interval)"
    )
    simulated.add_argument(
        "--shard", type=number(1, whole=True), default=1000, metavar="PHOTOS", help="in a shard (1000)"
    )
    simulated.add_argument(
        "--per-shard", type=number(0), default=1.0, metavar="SECONDS", help="to start a shard and write its file (1)"
    )
    simulated.add_argument(
        "--slow-share", type=number(0, 1), default=0.02, metavar="SHARE", help="of nodes that are slow (0.02)"
    )
    simulated.add_argument(
        "--slow-factor", type=number(1), default=2.0, metavar="TIMES", help="as long as others they take (2)"
    )
    simulated.add_argument("--seed", type=number(0, whole=True), default=1, help="of its random numbers (1)")
    simulated.add_argument(
        "--plot", type=Path, metavar="FILE.svg", help="draw the simulation of --cameras and --photos"
    )
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    asked = parser.parse_args(arguments)
    if asked.plot:
        asked.simulate = True
        asked.photos = asked.photos or 1e9
        asked.cameras = asked.cameras or 10000
    if asked.cameras is None and asked.photos is None:
        asked.cameras = 500
    asked.late_after = asked.late_after or asked.interval
    if asked.repair < asked.recovery:
        parser.error("--repair is at least --recovery")
    return asked
