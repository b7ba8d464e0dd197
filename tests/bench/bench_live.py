#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Measures palmecaption on live video and prints the figures as Markdown: how steady captions are, many cameras in one
process beside a control without captions, how soon settings take effect, and what a share of a core gives.

    bench_live.py [PART...] [--plot FILE.svg] [--videos CLIP...] [--model FILE]

Parts: steady, cameras, control, board; all of them by default. `--plot` draws the captions of `steady` over time.
The part `board` limits its programs by a CPU quota and needs a cgroup that it may make (root, cgroup v1 or v2).

Needs numpy, Pillow and ffmpeg, and the element's environment: meson devenv -C build. On a machine that does
other things as well `nice -n -15` in front of it helps.
"""

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import bench_steady as steady
import numpy as np

ROOT = steady.ROOT
MODELS = ROOT / "models"


def program(name):
    folder = Path(os.environ.get("LIVE_PROGRAMS", ROOT / "build" / "tests"))
    return str(folder / name)


def run(command, **options):
    result = subprocess.run(command, capture_output=True, text=True, **options)
    if result.returncode != 0:
        sys.exit(f"{command[0]}: status {result.returncode}: {result.stderr.strip()}")
    return json.loads(result.stdout.splitlines()[-1])


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)
    print()


# ---- Steady captions


def change_times(captions):
    """Seconds at which the caption is another one than before, from the first caption on."""
    begin = [(0, captions[0])] if captions[0] else []
    changes = [(n + 1, b) for n, (a, b) in enumerate(itertools.pairwise(captions)) if a != b]
    return [(n / steady.RATE, text) for n, text in begin + changes]


def measure_steady(args):
    photos = {path.stem: steady.load(path) for path in sorted(args.photos.glob("*.jpg"))}
    if not photos:
        sys.exit(f"{args.photos}: no photos")
    rows, lanes = [], []
    random = np.random.default_rng(1)
    for name, frames, cuts in steady.streams(photos, args.videos, args.seconds, args.stills, random):
        before, _ = steady.measure(frames, steady.OFF, args.model, 10**9)
        after, stats = steady.measure(frames, steady.STEADY, args.model, 10**9)
        late = steady.lateness(after, cuts) if cuts else []
        found = f"{stats['scene-cuts']} of {len(cuts)}" if cuts else str(stats["scene-cuts"])
        rows.append(
            [
                name,
                f"{steady.changes_a_minute(before):.0f} → {steady.changes_a_minute(after):.0f}",
                f"{stats['work-saved']:.0%}",
                stats["held"],
                found,
                f"{len(late)} new captions, at most {max(late, default=0)} frames late" if cuts else "",
            ]
        )
        lanes.append((name, len(frames) / steady.RATE, change_times(before), change_times(after)))
    print(f"## Steady captions\n\nStreams of {steady.WIDTH}x{steady.HEIGHT}, one due frame a second.\n")
    table(["stream", "changes a minute", "captions not made", "held", "cuts", "after a cut"], rows)
    return lanes


COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#222255", "#cc6600", "#117733"]
LEFT, WIDTH, BAR, GAP, TOP = 220, 720, 11, 12, 62


def lane(changes, seconds, y, colours, scale):
    """A bar in the colour of the caption in effect, and a mark at each change."""
    out = []
    for (begin, text), end in zip(changes, [*(time for time, _ in changes[1:]), seconds], strict=True):
        colour = colours.setdefault(text, COLOURS[len(colours) % len(COLOURS)])
        left, width = LEFT + begin * scale, (end - begin) * scale
        title = escape(text or "(no caption)")
        shape = f'x="{left:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"'
        out.append(f"<rect {shape}><title>{title}</title></rect>")
        if begin > 0:
            out.append(f'<line x1="{left:.1f}" y1="{y - 1}" x2="{left:.1f}" y2="{y + BAR + 1}" class="m"/>')
    return out


def plot(lanes):
    longest = max(seconds for _, seconds, _, _ in lanes)
    scale = WIDTH / longest
    out, y = [], TOP
    for name, seconds, before, after in lanes:
        colours = {}
        out.append(f'<text x="{LEFT - 34}" y="{y + BAR + 4}" text-anchor="end">{escape(name)}</text>')
        for label, changes in (("off", before), ("on", after)):
            out.append(f'<text x="{LEFT - 6}" y="{y + BAR - 2}" text-anchor="end" class="s">{label}</text>')
            out += lane(changes, seconds, y, colours, scale)
            y += BAR + 2
        y += GAP
    for second in range(0, int(longest) + 1, 10):
        out.append(
            f'<text x="{LEFT + second * scale:.1f}" y="{y + 6}" text-anchor="middle" class="s">{second} s</text>'
        )
    width, height = LEFT + WIDTH + 20, y + 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12"><style>.s{{font-size:9px;fill:#555}}.m{{stroke:#000}}</style>'
        f'<rect width="100%" height="100%" fill="white"/>'
        f'<text x="16" y="24" font-size="15">Captions over time, without and with what keeps them steady</text>'
        f'<text x="16" y="42" fill="#555">A colour is a caption, a mark a change; one due frame a second</text>'
        + "\n".join(out)
        + "</svg>\n"
    )


# ---- Many cameras


def measure_cameras(args):
    kinds = {
        "`identity`": ["identity"],
        "`palmecaption`, nothing due": ["palmecaption", f"interval={3600 * 10**9}"],
        "`palmecaption`, one caption a second": ["palmecaption", "scene-threshold=0"],
    }
    runs = {name: [] for name in kinds}
    for _ in range(args.rounds):  # in turn, so that what else the machine does meets them all
        for name, element in kinds.items():
            model = [f"model={args.model}"] if args.model and element[0] != "identity" else []
            runs[name].append(run([program("bench_cameras"), "--seconds", str(args.length), *element, *model]))
    control = statistics.median(one["pss"] for one in runs["`identity`"])
    rows = []
    for name, results in runs.items():
        middle = {key: statistics.median(one[key] for one in results) for key in results[0]}
        captions = [one["least_captions"] for one in results]
        longest = max(one["longest"] for one in results)
        busy = min(captions) > 0
        rows.append(
            [
                name,
                *(f"{middle[key]:.1f}" for key in ("mean", "p99", "max")),
                f"{middle['fps']:.1f}",
                f"{middle['captions']:.1f} of {args.length}" if busy else "",
                f"{longest:.1f} s" if busy else "",
                f"{middle['age']:.0f} / {middle['age_p99']:.0f} ms" if busy else "",
                f"{middle['cpu']:.2f}",
                f"{(middle['pss'] - control) / middle['streams'] / 1024:.1f} MiB",
            ]
        )
    streams = results[0]["streams"]
    print(f"## {streams} cameras of 640x360 at 30 frames a second in one process\n")
    print(f"Medians of {args.rounds} runs of {args.length} s, in turn.\n")
    head = ["element", "ms between frames: mean", "p99", "max", "fps of the slowest", "captions a stream"]
    head += ["longest wait for one", "their age, mean / p99", "cores", "PSS a stream over the control"]
    table(head, rows)


# ---- Control


CONTROLS = {
    "caption-now": "`caption-now` to the first frame with the new caption",
    "prompt-now": "`prompt` and `caption-now`",
    "prompt-1s": "`prompt` alone, at an interval of 1 s",
    "interval": "a shorter `interval`",
    "cut": "a cut of the scene",
    "model": "`model`, until the other one is in use",
    "set": "the call that sets `prompt` itself",
}


def measure_control(args):
    models = [args.model or str(MODELS / "palme-default.safetensors"), str(MODELS / "palme-small.safetensors")]
    results = run([program("bench_control"), str(args.repetitions), models[1], f"model={models[0]}"])
    print("## How soon it takes effect\n")
    rows = [
        [text, f"{statistics.median(results[name]):.2g} ms", f"{max(results[name]):.2g} ms"]
        if name == "set"
        else [text, f"{statistics.median(results[name]):.0f} ms", f"{max(results[name]):.0f} ms"]
        for name, text in CONTROLS.items()
    ]
    table(["what is done", "median", "longest"], rows)


# ---- A share of a core


@contextlib.contextmanager
def quota(share):
    """A cgroup whose processes have this share of a core. Yields the file that takes them."""
    period, cpu = 10000, Path("/sys/fs/cgroup/cpu")
    parent = cpu if cpu.is_dir() else Path("/sys/fs/cgroup")
    group = parent / f"palme-bench-{os.getpid()}"
    try:
        group.mkdir()
        if cpu.is_dir():
            (group / "cpu.cfs_period_us").write_text(str(period))
            (group / "cpu.cfs_quota_us").write_text(str(int(period * share)))
            (group / "cpu.shares").write_text("262144")
        else:
            (group / "cpu.max").write_text(f"{int(period * share)} {period}")
            (group / "cpu.weight").write_text("10000")
        yield group / "cgroup.procs"
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


def limited(share, command):
    script = 'echo $$ > "$0" && exec "$@"'
    with quota(share) as procs:
        return run(["sh", "-c", script, str(procs), "taskset", "-c", str(max(os.sched_getaffinity(0))), *command])


def measure_board(args):
    shares = {"one core": 1, "half a core": 0.5, "a quarter of a core": 0.25}
    rows = []
    for model, precision in itertools.product(("palme-default", "palme-small"), ("f32", "int8")):
        cells = []
        for share in shares.values():
            command = [program("bench_cameras"), "--streams", "1", "--seconds", str(args.length), "palmecaption"]
            command += [
                "threads=1",
                "scene-threshold=0",
                f"precision={precision}",
                f"model={MODELS / model}.safetensors",
            ]
            most = limited(share, [*command, "interval=0"])
            each = limited(share, [*command, f"interval={10**9}"])
            rate = most["captions"] / most["seconds"]
            cells.append(f"{rate:.1f} a second, {each['age']:.0f} / {each['age_p99']:.0f} ms, {each['fps']:.0f} fps")
        rows.append([f"`{model}`", precision, *cells])
    print("## A share of a core\n")
    print("Captions a second at most; their age (mean / p99) and the frame rate at one caption a second.\n")
    table(["model", "precision", *shares], rows)


def main():
    parts = {"steady": measure_steady, "cameras": measure_cameras, "control": measure_control, "board": measure_board}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="steady, cameras, control, board")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="where to draw captions over time")
    parser.add_argument("--photos", type=Path, default=ROOT / "examples" / "photos")
    parser.add_argument("--videos", type=Path, nargs="*", default=[], metavar="CLIP", help="clips to caption as well")
    parser.add_argument("--model", help="model file (default: as the element finds it)")
    parser.add_argument("--seconds", type=int, default=60, help="length of the streams that are made")
    parser.add_argument("--stills", type=int, default=3, help="how many photos to show as stills")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind with many cameras")
    parser.add_argument("--length", type=int, default=15, help="seconds of each run in real time")
    parser.add_argument("--repetitions", type=int, default=10, help="of each control")
    args = parser.parse_args()
    for part in args.parts:
        if part not in parts:
            parser.error(f"{part}: no such part; there are {', '.join(parts)}")
    if args.plot and args.parts and "steady" not in args.parts:
        parser.error("--plot draws the part steady")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("GST_REGISTRY_1_0", str(Path(folder) / "registry"))
        for name in args.parts or parts:
            result = parts[name](args)
            if name == "steady" and args.plot:
                args.plot.write_text(plot(result), encoding="utf-8")


if __name__ == "__main__":
    main()
