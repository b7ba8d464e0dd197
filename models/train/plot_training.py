#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""plot_training.py - draws the curves of one or more trainings as an SVG picture.

    plot_training.py NAME=RUN/log.tsv... --out training.svg

Left: the training loss (cross-entropy of the captions). Right: CIDEr on the dev captions. Both over minutes.
"""

import argparse
import html
import math
import sys

COLOURS = [
    "#2066a8",
    "#b3402a",
    "#1a7f4b",
    "#8a4fa8",
    "#a87b20",
    "#20a0a8",
    "#d06aa0",
    "#5a5a5a",
    "#7fb030",
    "#4a3ad0",
    "#e08a3a",
    "#000000",
]
WIDTH, HEIGHT, PAD = 460, 300, 52


def read(path):
    """The rows of a log as dicts: floats, and the stage as text"""
    with open(path, encoding="utf-8") as f:
        lines = [line.rstrip("\n").split("\t") for line in f if line.strip()]
    if len(lines) < 2:
        raise ValueError(f"{path}: has no epochs")
    return [{k: v if k == "stage" else float(v) for k, v in zip(lines[0], row)} for row in lines[1:]]


def ticks(low, high, count=5):
    raw = (high - low) / count or 1
    step = next(s for s in (10 ** math.floor(math.log10(raw)) * m for m in (1, 2, 5, 10)) if s >= raw)
    first = math.ceil(low / step)
    return [round(i * step, 10) for i in range(first, math.floor(high / step) + 1)]


def panel(x0, title, series, below="minutes"):
    """One pair of axes at x0; series: (name, [(x, y)]); below: what x is."""
    points = [(x, y) for _, line in series for x, y in line if not math.isnan(y)]
    if not points:
        return ""
    left, right = 0.0, max(x for x, _ in points) or 1.0
    low, high = min(y for _, y in points), max(y for _, y in points)
    low, high = low - 0.08 * (high - low or 1), high + 0.08 * (high - low or 1)

    def at(x, y):
        return (
            x0 + PAD + (x - left) / (right - left) * (WIDTH - PAD - 16),
            HEIGHT - PAD + 16 - (y - low) / (high - low) * (HEIGHT - PAD - 16),
        )

    out = [f'<text x="{x0 + WIDTH / 2}" y="16" text-anchor="middle" font-weight="bold">{html.escape(title)}</text>']
    for y in ticks(low, high):
        (ax, ay), (bx, _) = at(left, y), at(right, y)
        out.append(
            f'<path d="M{ax:.1f} {ay:.1f}H{bx:.1f}" stroke="#ddd"/>'
            f'<text x="{ax - 6:.1f}" y="{ay + 4:.1f}" text-anchor="end">{y:g}</text>'
        )
    for x in ticks(left, right):
        ax, ay = at(x, low)
        out.append(f'<text x="{ax:.1f}" y="{ay + 16:.1f}" text-anchor="middle">{x:g}</text>')
    out.append(f'<text x="{x0 + WIDTH / 2}" y="{HEIGHT + 10}" text-anchor="middle">{html.escape(below)}</text>')
    for i, (_, line) in enumerate(series):
        d = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in (at(x, y) for x, y in line if not math.isnan(y)))
        out.append(f'<path d="{d}" fill="none" stroke="{COLOURS[i % len(COLOURS)]}" stroke-width="2"/>')
        out += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{COLOURS[i % len(COLOURS)]}"/>'
            for a, b in (at(x, y) for x, y in line if not math.isnan(y))
        ]
    return "".join(out)


def draw(runs):
    """runs: (name, rows) -> the SVG's text"""
    losses = [(name, [(r["minutes"], r["loss"]) for r in rows]) for name, rows in runs]
    cider = [(name, [(r["minutes"], r["dev_cider"]) for r in rows]) for name, rows in runs]
    panels = panel(0, "loss of the training captions", losses) + panel(WIDTH, "CIDEr of the dev captions", cider)
    return picture(panels, [name for name, _ in runs], 2 * WIDTH)


def picture(panels, names, width):
    """The SVG's text: panels side by side, and the names of their curves below."""
    step = min(190, (width - 60) / max(1, len(names)))  # all names fit in one line
    legend = "".join(
        f'<rect x="{60 + step * i:.0f}" y="{HEIGHT + 24}" width="14" height="4" fill="{COLOURS[i % len(COLOURS)]}"/>'
        f'<text x="{80 + step * i:.0f}" y="{HEIGHT + 30}">{html.escape(name)}</text>'
        for i, name in enumerate(names)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT + 44}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>'
        f"{panels}{legend}</svg>\n"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="+", metavar="NAME=LOG", help="the log.tsv of a run, and its name in the picture")
    parser.add_argument("--out", required=True, help="the SVG to write")
    o = parser.parse_args()
    try:
        runs = [(name or path, read(path)) for name, _, path in (text.rpartition("=") for text in o.logs)]
        with open(o.out, "w", encoding="utf-8") as f:
            f.write(draw(runs))
    except (OSError, ValueError) as error:
        sys.exit(f"plot_training.py: {error}")


if __name__ == "__main__":
    main()
