#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Prints a table of the captions that archive.py has written.

show.py FOLDER [ROWS]      all rows, or the first ones
"""

import sys
from pathlib import Path

import pyarrow.dataset


def main() -> int:
    if len(sys.argv) not in (2, 3) or not Path(sys.argv[1]).is_dir():
        print("usage: show.py FOLDER [ROWS]      FOLDER is where archive.py has written captions", file=sys.stderr)
        return 2
    data = pyarrow.dataset.dataset(sys.argv[1], format="parquet")
    table = data.head(int(sys.argv[2])) if len(sys.argv) == 3 else data.to_table()
    rows = []
    for row in sorted(table.to_pylist(), key=lambda row: (row["source"], row["time"] or 0)):
        name = Path(row["source"]).name + (f" at {row['time']:.1f} s" if row["time"] else "")
        rows.append((name, "" if row["score"] is None else f"{row['score']:.2f}", row["error"] or row["caption"] or ""))
    width = max((len(name) for name, _, _ in rows), default=0)
    for name, score, text in rows:
        print(f"{name:{width}}  {score:>6}  {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
