# SPDX-License-Identifier: LGPL-2.1-or-later
"""models/bench/plot_roofline.py reads outputs of bench_engine, and names what it cannot read."""

import subprocess
import sys
import xml.etree.ElementTree

from models import ROOT

SCRIPT = ROOT / "models" / "bench" / "plot_roofline.py"
F32 = """A & B Processor, 2 processors
some weights, 2 repetitions and more

{n} thread{s}, {p}, kernels avx2: 83.9 GFLOP/s of multiply-adds (avx2), 83.9 in bf16, 89.9 GOP/s in int8, \
14.3 GB/s from 129.0 MB
                        median ms     min ms   bound ms  of bound    at min
encoder up, 64 rows         3.002      1.742      1.600     53.3%     91.9%
one step                   16.022      9.622      9.023     {m}%     93.8%
"""


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], check=False, capture_output=True, text=True)


def write(folder, name, precision="f32", threads=1, median="56.3"):
    path = folder / name
    path.write_text(F32.format(n=threads, s="s" if threads > 1 else "", p=precision, m=median))
    return path


def test_table(tmp_path):
    files = [
        write(tmp_path, "a", "int8", 1, "40.6"),
        write(tmp_path, "b"),
        write(tmp_path, "c", threads=2, median="7.0"),
    ]
    assert run(*files).stdout.splitlines() == [
        "| | f32, 1 thread | f32, 2 threads | int8, 1 thread |",
        "|---|---|---|---|",
        "| encoder up, 64 rows | 53 % | 53 % | 53 % |",
        "| one step | 56 % | 7 % | 41 % |",
    ]
    assert "| one step | 94 % | 94 % | 94 % |" in run("--best", *files).stdout


def test_picture(tmp_path):
    picture = tmp_path / "roof.svg"
    files = [write(tmp_path, "a"), write(tmp_path, "b", "int8")]
    assert run("--out", picture, *files).returncode == 0
    tree = xml.etree.ElementTree.parse(picture)
    texts = [t.text for t in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert "A & B Processor, 2 processors" in texts and "one step" in texts
    assert "int8, 1 thread: 90 GOP/s, 14 GB/s, kernels avx2" in texts
    bars = [r for r in tree.iter("{http://www.w3.org/2000/svg}rect") if r.get("height") == "8"]
    assert len(bars) == 4
    # 53.3 % and 56.3 % of one scale
    assert abs(float(bars[0].get("width")) / float(bars[2].get("width")) - 53.3 / 56.3) < 1e-3


def test_refused(tmp_path):
    junk = tmp_path / "junk"
    junk.write_text("nothing of the kind\n")
    once = write(tmp_path, "a")
    for arguments, said in [
        ((junk,), "not an output of bench_engine"),
        ((tmp_path / "gone",), "gone"),
        ((once, write(tmp_path, "b")), "f32 with 1 threads appears twice"),
    ]:
        done = run(*arguments)
        assert done.returncode == 1 and said in done.stderr and not done.stdout
