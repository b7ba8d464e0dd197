# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a core of this machine captions, what a camera's stream takes of it, and what reading a photo takes.

plan.py calls measure(). Each measurement runs in processes of its own, which this file is also the program of:

    python -m planning.measure captions MODEL PRECISION ROUNDS PHOTO...
    python -m planning.measure streams COUNT SECONDS CLIP DECODE INTERVAL MODEL PRECISION

Both print JSON. The first one waits for a line on stdin before it begins; an INTERVAL of 0 is identity instead of
palmecaption. Times are CPU times: those of the one thread that captions, and those of the whole process for streams, so
that another program on the machine does not count as our work. It still takes cache and memory; how long captions took
by the clock is told beside them.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import installed

#: The caps on a camera's video: what the clip is made with.
RATE, KEYFRAME_EVERY = 25, 50
#: Streams of the two runs whose difference gives what one takes. Both are few enough for one core at 720p.
FEW, MORE = 1, 4
#: Seconds between captions: never in the measured time, and often.
SELDOM, OFTEN = 1000.0, 0.5
#: The processes find planning and installed in the folder above.
PIPES = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parent.parent)


class Problem(Exception):
    """An error message for the user."""


# ---- The processes ----------------------------------------------------------------------------------------------


def caption_rounds(model: str, precision: str, rounds: int, photos: list[str]) -> dict:
    """Seconds of CPU time that reading and captioning took, of each photo in each round, with one thread."""
    import palme
    from PIL import Image

    loaded = palme.Model(model, threads=1, precision=None if precision == "auto" else precision)
    session = loaded.session()

    def one(photo: str) -> tuple[float, float]:
        start = time.thread_time()
        with Image.open(photo) as opened:
            image = opened.convert("RGB")
        pixels = image.tobytes()
        read = time.thread_time()
        session.caption(palme.Picture(pixels, width=image.width, height=image.height))
        return read - start, time.thread_time() - read

    for photo in photos:  # The first caption of a session allocates.
        one(photo)
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    taken = [[one(photo) for photo in photos] for _ in range(rounds)]
    took = time.perf_counter() - start
    return {
        "level": loaded.level,
        "precision": loaded.precision,
        "read": [[read for read, _ in row] for row in taken],
        "caption": [[caption for _, caption in row] for row in taken],
        "wall_over_cpu": took / sum(read + caption for row in taken for read, caption in row),
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def run_streams(
    count: int, seconds: float, clip: str, decode: str, interval: float, model: str, precision: str
) -> dict:
    """CPU time a second, PSS and captions of a process with so many live streams of a clip, once they are settled."""
    installed.let_gstreamer_find_the_plugin()
    import gi

    gi.require_version("Gst", "1.0")
    from gi.repository import Gst

    Gst.init(None)
    element = "identity"
    if interval:
        element = f'palmecaption model="{model}" interval={round(interval * Gst.SECOND)} mode=async '
        element += "scene-threshold=0 cut-threshold=1"  # captions at the interval alone
        if precision != "auto":
            element += f" precision={precision}"
    keyframes = "identity drop-buffer-flags=delta-unit ! " if decode == "keyframes" else ""
    # The sink waits for each frame's time, as it comes from a camera.
    line = (
        f'filesrc location="{clip}" ! matroskademux ! h264parse ! {keyframes}avdec_h264 max-threads=1 ! '
        f"{element} name=e ! fakesink sync=true"
    )
    pipelines = [Gst.parse_launch(line) for _ in range(count)]

    def check() -> None:
        for pipeline in pipelines:
            message = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR | Gst.MessageType.EOS)
            if message is not None:
                said = message.parse_error() if message.type == Gst.MessageType.ERROR else "the clip was too short"
                raise Problem(f"a pipeline of the measurement failed: {said}")

    def cpu() -> float:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    def captions() -> int:
        if not interval:
            return 0
        return sum(p.get_by_name("e").get_property("stats").get_value("captions") for p in pipelines)

    for pipeline in pipelines:
        pipeline.set_state(Gst.State.PLAYING)
    time.sleep(3)
    check()
    start, used, made = time.monotonic(), cpu(), captions()
    time.sleep(seconds)
    took, used, made = time.monotonic() - start, cpu() - used, captions() - made
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        pss = next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
    check()
    for pipeline in pipelines:
        pipeline.set_state(Gst.State.NULL)
    return {"cpu": used / took, "pss": pss, "captions": made / took}


# ---- What plan.py calls -----------------------------------------------------------------------------------------


def program(*words: object) -> list[str]:
    return [sys.executable, "-m", "planning.measure", *map(str, words)]


def answer_of(process: subprocess.Popen, what: str) -> dict:
    """The JSON of the process's last line."""
    out, err = process.communicate()
    if process.returncode != 0:
        raise Problem(f"measuring {what} failed: {(err or out).strip().splitlines()[-1:] or process.returncode}")
    return json.loads(out.strip().splitlines()[-1])


def measure_captions(model: str, precision: str, rounds: int, photos: list[str], processes: int) -> dict:
    """Service times of one thread while `processes` of them are at work, one on each core."""
    started = []
    for _ in range(processes):
        process = subprocess.Popen(
            program("captions", model, precision, rounds, *photos),
            stdin=subprocess.PIPE,
            **PIPES,
        )
        started.append(process)
    for process in started:
        if process.stdout.readline() != "ready\n":
            answer_of(process, "captions")
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [answer_of(process, "captions") for process in started]
    per_round = [len(photos) / sum(row) for answer in answers for row in answer["caption"]]
    services = [seconds for answer in answers for row in answer["caption"] for seconds in row]
    reads = [seconds for answer in answers for row in answer["read"] for seconds in row]
    return {
        "level": answers[0]["level"],
        "precision": answers[0]["precision"],
        "cores_busy": processes,
        "rounds": rounds,
        "captions_per_second_per_core": len(services) / sum(services),
        "slowest_round": min(per_round),
        "fastest_round": max(per_round),
        "wall_over_cpu": max(answer["wall_over_cpu"] for answer in answers),
        "service_seconds": sorted(services),
        "read_seconds": sorted(reads),
        "process_bytes": max(answer["rss"] for answer in answers),
    }


def make_clip(path: str, photos: list[str], width: int, height: int, seconds: float) -> None:
    """A camera's video in H.264: slow pans over the photos with the noise of a sensor, as it takes a decoder's time."""
    import av
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(1)
    noise = rng.normal(0, 6, (height + 64, width + 64, 1))
    with av.open(path, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {
            "preset": "veryfast",
            "g": str(KEYFRAME_EVERY),
            "b": str(3 * width * height),
            "tune": "zerolatency",
        }
        each = 4 * RATE
        for number in range(round(seconds * RATE)):
            if number % each == 0:
                with Image.open(photos[number // each % len(photos)]) as photo:
                    wide = np.asarray(photo.convert("RGB").resize((width + each, height)), dtype=np.float32)
            x, y = rng.integers(0, 64, 2)
            step = number % each
            frame = wide[:, step : step + width] + noise[y : y + height, x : x + width]
            picture = av.VideoFrame.from_ndarray(frame.clip(0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def measure_streams(
    model: str, precision: str, photos: list[str], decode: str, size: tuple[int, int], seconds: float, repeats: int
) -> dict:
    """CPU time and memory of a camera's stream, from processes with FEW and with MORE of them, the median of `repeats`.

    `decode`: "all" frames or "keyframes" alone. Of each pair the difference counts, so that what a process has once
    (GStreamer, the model) is apart. "element_cpu" is what palmecaption takes of each stream beside captions,
    "caption_cpu" the CPU time of one caption there: its picture is drawn from a larger frame than the photos have.
    """
    with tempfile.TemporaryDirectory() as folder:
        clip = os.path.join(folder, "camera.mkv")
        make_clip(clip, photos, *size, seconds=seconds + 15)
        size_of_clip = os.path.getsize(clip) * 8 / (seconds + 15)
        taken: dict = {(interval, count): [] for interval in (0, SELDOM) for count in (FEW, MORE)}
        taken[OFTEN, MORE] = []
        for _ in range(repeats):
            for (interval, count), answers in taken.items():
                process = subprocess.Popen(
                    program("streams", count, seconds, clip, decode, interval, model, precision),
                    **PIPES,
                )
                answers.append(answer_of(process, "streams"))

    def each(interval: int, key: str) -> list[float]:
        return [
            (more[key] - few[key]) / (MORE - FEW)
            for few, more in zip(taken[interval, FEW], taken[interval, MORE], strict=True)
        ]

    decoder, whole = each(0, "cpu"), each(SELDOM, "cpu")
    memory = [max(0, value) for value in each(SELDOM, "pss")]
    captions = [
        (often["cpu"] - seldom["cpu"]) / (often["captions"] - seldom["captions"])
        for often, seldom in zip(taken[OFTEN, MORE], taken[SELDOM, MORE], strict=True)
        if often["captions"] > seldom["captions"]
    ]
    if not captions:
        raise Problem("palmecaption made no captions in the measured time; give the measurement more --seconds")
    return {
        "decode": decode,
        "width": size[0],
        "height": size[1],
        "rate": RATE,
        "bits_per_second": round(size_of_clip),
        "seconds": seconds,
        "repeats": repeats,
        "decode_cpu": statistics.median(decoder),
        "decode_cpu_range": [min(decoder), max(decoder)],
        "element_cpu": max(0.0, statistics.median(whole) - statistics.median(decoder)),
        "caption_cpu": max(0.0, statistics.median(captions)),
        "caption_cpu_range": [min(captions), max(captions)],
        "stream_bytes": round(statistics.median(memory)),
        "stream_bytes_range": [round(min(memory)), round(max(memory))],
        "stream_bytes_over_identity": round(statistics.median(memory) - statistics.median(each(0, "pss"))),
        "process_bytes": round(statistics.median(a["pss"] for a in taken[SELDOM, FEW]) - statistics.median(memory)),
    }


def megapixels(photo: str) -> float:
    from PIL import Image

    with Image.open(photo) as opened:
        return opened.width * opened.height / 1e6


def processor_name() -> str:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith(("model name", "Model"))]
    return names[0] if names else os.uname().machine


def measure(
    model: str, precision: str, photos: list[str], *, rounds: int, decode: str, size: tuple[int, int], seconds: float,
    repeats: int,
) -> dict:  # fmt: skip
    """All of it. The keys are those of plan.py's --json, "measured"."""
    model, photos = os.path.abspath(model), [os.path.abspath(photo) for photo in photos]
    cores = len(os.sched_getaffinity(0))
    captions = measure_captions(model, precision, rounds, photos, cores)
    alone = measure_captions(model, precision, rounds, photos, 1) if cores > 1 else captions
    streams = measure_streams(model, precision, photos, decode, size, seconds, repeats)
    return {
        "machine": {"processor": processor_name(), "cores": cores, "model": Path(model).name, "photos": len(photos)},
        "megapixels": statistics.fmean(megapixels(photo) for photo in photos),
        "captions": captions,
        "one_core_busy": alone["captions_per_second_per_core"],
        "streams": streams,
    }


if __name__ == "__main__":
    try:
        if sys.argv[1] == "captions":
            model, precision, rounds, *photos = sys.argv[2:]
            print(json.dumps(caption_rounds(model, precision, int(rounds), photos)))
        else:
            count, seconds, clip, decode, interval, model, precision = sys.argv[2:]
            print(json.dumps(run_streams(int(count), float(seconds), clip, decode, float(interval), model, precision)))
    except (Problem, OSError) as error:
        sys.exit(str(error))
