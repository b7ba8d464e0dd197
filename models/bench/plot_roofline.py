#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""plot_roofline.py - draws how close each part of a caption comes to the machine's limits.

    build/tests/bench_engine --precision int8 > int8.txt
    plot_roofline.py [--out PICTURE.svg] [--table] [--best] FILE...

Each FILE is an output of bench_engine, all from one machine. The picture, an SVG, has a row for each part and a bar
for each precision and number of threads: the fraction of the roofline measured in the same run.
"""

import argparse
import re
import sys
from html import escape

HEAD = re.compile(
    r"(\d+) threads?, (\w+), kernels (\w+): ([\d.]+) GFLOP/s of multiply-adds \(\w+\), "
    r"([\d.]+) in bf16, ([\d.]+) GOP/s in int8, ([\d.]+) GB/s"
)
PART = re.compile(r"(\S.*?)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)%\s+([\d.]+)%$")
MACHINE = re.compile(r"(.+), (\d+) processors$")
COLOURS = {"f32": ("#274690", "#7b95d6"), "bf16": ("#8a4f00", "#e0a458"), "int8": ("#1b6b3a", "#74c493")}
OTHER = ("#444444", "#999999")
LEFT, RIGHT, BAR, GAP, TOP = 190, 60, 9, 12, 76


class Problem(Exception):
    """An error message for the user"""


def read(files, best):
    """(machine, runs, parts): runs {(precision, threads): (level, GFLOP/s, the same in bf16, GOP/s, GB/s)},
    parts {name: {(precision, threads): percent}}"""
    machine, runs, parts = None, {}, {}
    for path in files:
        try:
            with open(path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise Problem(f"{path}: {error}") from None
        run = None
        for number, line in enumerate(lines, 1):
            if match := MACHINE.match(line):
                if machine not in (None, match[0]):
                    raise Problem(f"{path}, line {number}: this is from {match[0]}, the lines before from {machine}")
                machine = match[0]
            elif match := HEAD.match(line):
                run = (match[2], int(match[1]))
                if run in runs:
                    raise Problem(f"{path}, line {number}: {run[0]} with {run[1]} threads appears twice")
                runs[run] = (match[3], *map(float, match.groups()[3:]))
            elif run and (match := PART.match(line)):
                parts.setdefault(match[1], {})[run] = float(match[6 if best else 5])
        if run is None:
            raise Problem(f"{path}: not an output of bench_engine")
    return machine, runs, parts


def label(run):
    return f"{run[0]}, {run[1]} thread{'s' if run[1] > 1 else ''}"


def ordered(runs):
    known = list(COLOURS)
    return sorted(runs, key=lambda run: (known.index(run[0]) if run[0] in known else len(known), run))


def table(runs, parts):
    order = ordered(runs)
    lines = ["| | " + " | ".join(label(run) for run in order) + " |", "|---" * (len(order) + 1) + "|"]
    for name, bars in parts.items():
        lines.append(f"| {name} | " + " | ".join(f"{bars[run]:.0f} %" if run in bars else "" for run in order) + " |")
    return "\n".join(lines)


def svg(machine, runs, parts, width=760):
    order = ordered(runs)
    most = max(100.0, *(v for bars in parts.values() for v in bars.values()))
    scale = (width - LEFT - RIGHT) / most
    out, y = [], TOP + 16 * ((len(order) + 1) // 2)
    first = y
    for name, bars in parts.items():
        shown = [run for run in order if run in bars]
        middle = y + len(shown) * BAR / 2 + 4
        out.append(f'<text x="{LEFT - 8}" y="{middle:.1f}" text-anchor="end">{escape(name)}</text>')
        for run in shown:
            colour, length = COLOURS.get(run[0], OTHER)[run[1] > 1], bars[run] * scale
            out.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 1}" fill="{colour}"/>')
            out.append(f'<text x="{LEFT + length + 4:.1f}" y="{y + BAR - 1.5}" class="s">{bars[run]:.0f}</text>')
            y += BAR
        y += GAP
    for percent in range(0, int(most) + 1, 20):
        x, kind = LEFT + percent * scale, "e" if percent == 100 else "g"
        out.append(f'<line x1="{x:.1f}" y1="{first - 6}" x2="{x:.1f}" y2="{y - GAP + 4}" class="{kind}"/>')
        out.append(f'<text x="{x:.1f}" y="{y + 6}" text-anchor="middle" class="s">{percent} %</text>')
    for i, run in enumerate(order):
        level, f32, bf16, int8, gbytes = runs[run]
        x, at = 16 + i % 2 * (width // 2), TOP - 14 + 16 * (i // 2)
        peak = f"{int8:.0f} GOP/s" if run[0] == "int8" else f"{bf16 if run[0] == 'bf16' else f32:.0f} GFLOP/s"
        colour = COLOURS.get(run[0], OTHER)[run[1] > 1]
        out.append(f'<rect x="{x}" y="{at - 8}" width="10" height="10" fill="{colour}"/>')
        out.append(f'<text x="{x + 16}" y="{at + 1}">{label(run)}: {peak}, {gbytes:.0f} GB/s, kernels {level}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y + 16}" viewBox="0 0 {width} {y + 16}" '
        f'font-family="sans-serif" font-size="12"><style>.s{{font-size:9px;fill:#555}}.g{{stroke:#ddd}}'
        f'.e{{stroke:#888;stroke-dasharray:3 3}}</style><rect width="100%" height="100%" fill="white"/>'
        f'<text x="16" y="24" font-size="15">Fraction of the roofline measured in the same run</text>'
        f'<text x="16" y="40" fill="#555">{escape(machine or "")}</text>' + "".join(out) + "</svg>\n"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="output of bench_engine")
    parser.add_argument("--out", metavar="PICTURE.svg", help="the picture to write")
    parser.add_argument(
        "--table", action="store_true", help="print a Markdown table, which is also the default without --out"
    )
    parser.add_argument("--best", action="store_true", help="take the fastest repetition instead of the median")
    options = parser.parse_args()
    try:
        machine, runs, parts = read(options.files, options.best)
        if not parts:
            raise Problem(f"{options.files[0]}: has no measured parts")
        if options.out:
            with open(options.out, "w", encoding="utf-8") as file:
                file.write(svg(machine, runs, parts))
        if options.table or not options.out:
            print(table(runs, parts))
    except (Problem, OSError) as error:
        print(f"plot_roofline.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
