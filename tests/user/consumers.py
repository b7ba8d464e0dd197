#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Captions through everything that can carry them, read back by another program. Prints a table.

    consumers.py [PALME-HLS]      meson sets the environment: the plugin with the stand-in engine

The video has another grey every second and a half, and its captions say which: so it is known when each has to begin
and to end. In sync mode they do so within a frame, in async mode they begin while their grey is there. RTSP,
WebRTC and the live page have tests of their own, which compare captions and pictures in the same way.
"""

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

SIDE, RATE, PHASE, PHASES = 64, 30, 45, 8
GREYS = [0, 255, 85, 170, 0, 255, 85, 170]
FRAME = 1 / RATE
SECONDS = PHASE * PHASES / RATE
SOURCE = f"filesrc location=frames.gray ! rawvideoparse format=gray8 width={SIDE} height={SIDE} framerate={RATE}/1"
# The text of the stand-in is the mean of the picture, which the video's levels change a little.
CAPTION = "palmecaption name=c model=model.standin interval=0 scene-threshold=0 switch-margin=0 caption-hold=0"
VP8 = "videoconvert ! vp8enc deadline=1 keyframe-max-dist=30 ! queue max-size-time=3000000000"
X264 = "x264enc key-int-max=30 bframes=0 speed-preset=ultrafast ! h264parse"
H264 = f"videoconvert ! video/x-raw,format=I420 ! {X264} ! queue"
# This stands against hanging alone; the runs at the video's own pace take twelve seconds.
TIMEOUT = 120


@dataclass
class Cue:
    begin: float
    end: float
    text: str


class GaveUp(Exception):
    pass


def run(command, **keywords) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, check=False, **keywords
        )
    except subprocess.TimeoutExpired:
        raise GaveUp("it hung") from None
    if done.returncode:
        raise GaveUp((done.stderr or done.stdout).strip()[-400:])
    return done.stdout


def gst(line: str):
    run(["sh", "-c", f"exec gst-launch-1.0 -q -e {line}"])


# ---- Read back


def seconds(text: str) -> float:
    return sum(float(part) * 60**i for i, part in enumerate(reversed(text.replace(",", ".").split(":"))))


def parse_srt(text: str) -> list[Cue]:
    """Also WebVTT, whose times have a dot."""
    cues = []
    for block in re.split(r"\n\s*\n", text.replace("\r", "")):
        found = re.search(r"([\d:.,]+) --> ([\d:.,]+)[^\n]*\n(.+)", block, re.DOTALL)
        if found:
            # FFmpeg puts segments of HLS together with their headers.
            words = re.sub(r"<[^>]*>|\{[^}]*\}", "", found[3].split("WEBVTT")[0]).replace("\\h", " ").strip()
            cues.append(Cue(seconds(found[1]), seconds(found[2]), words))
    return cues


def by_ffmpeg(name: str, stream: str = "0:s:0", options: tuple[str, ...] = ()) -> list[Cue]:
    return parse_srt(run(["ffmpeg", "-v", "error", *options, "-i", name, "-map", stream, "-f", "srt", "-"]))


def by_gstreamer(name: str, demuxer: str) -> list[Cue]:
    gst(f"filesrc location={name} ! {demuxer} ! srtenc ! filesink location=back.srt")
    return parse_srt(Path("back.srt").read_text())


def by_xml(name: str) -> list[Cue]:
    paragraphs = ElementTree.parse(name).iter("{http://www.w3.org/ns/ttml}p")
    return [Cue(seconds(p.get("begin")), seconds(p.get("end")), "".join(p.itertext()).strip()) for p in paragraphs]


def joined(cues: list[Cue]) -> list[Cue]:
    """Slices of one caption become one cue; formats count milliseconds. A codec changes a grey a little."""
    whole = []
    for cue in sorted(cues, key=lambda c: c.begin):
        same = whole and grey_of(whole[-1].text) == grey_of(cue.text)
        if same and abs(whole[-1].end - cue.begin) < 0.0025:
            whole[-1].end = cue.end
        else:
            whole.append(Cue(cue.begin, cue.end, cue.text))
    return whole


# ---- Compare


def grey_of(text: str) -> int:
    found = re.fullmatch(r"luma (\d+)", text.lower())
    if not found:
        raise GaveUp(f'the forged cue "{text}"')
    return min(GREYS, key=lambda g: abs(g - int(found[1])))


def compare(cues: list[Cue], late: float, ends: bool, first_late: float) -> tuple[int, float]:
    """How many captions came back, and the largest error in seconds. `late` is how late a cue may be, the first one
    `first_late`."""
    whole = joined(cues)
    for one, other in pairwise(whole):
        if one.end > other.begin + 0.0025:
            raise GaveUp(f"{one} overlaps {other}")
    worst = 0.0
    for i, cue in enumerate(whole[:PHASES]):
        if grey_of(cue.text) != GREYS[i]:
            raise GaveUp(f"cue {i} is {cue}, which should be of {GREYS[i]}")
        begin, end = i * PHASE * FRAME, (i + 1) * PHASE * FRAME
        errors = [cue.begin - begin, cue.end - end] if ends else [cue.begin - begin]
        if i == 0 and errors[0] > FRAME and errors[0] <= first_late:
            del errors[0]
        for error in errors:
            # Half a millisecond is rounding.
            if not -FRAME - 0.0005 <= error <= late + FRAME + 0.0005:
                raise GaveUp(f"{cue} is {error:.3f} s off")
        worst = max(worst, *(abs(e) for e in errors), 0.0)
    return len(whole), worst


# ---- Who carries captions

SYNC, SLICES = "mode=sync cue-duration=0", "mode=sync"


def one_file(properties: str, text: str, video: str = "fakesink") -> str:
    return f"{SOURCE} ! videoconvert ! {CAPTION} {properties} c.src ! queue ! {video} c.text ! queue ! {text}"


def muxed(properties: str, encoder: str, mux: str, pad: str, name: str) -> str:
    return one_file(properties, f"m.{pad}", f"{encoder} ! m. {mux} name=m ! filesink location={name}")


def at_pace(line: str) -> str:
    return line.replace("! videoconvert ! palmecaption", "! clocksync ! videoconvert ! palmecaption", 1)


CEA608 = (
    f"{SOURCE} ! videoconvert ! {CAPTION} {SLICES} ! "
    "queue max-size-time=4000000000 max-size-buffers=0 max-size-bytes=0 ! cccombiner name=cc ! "
    f"videoconvert ! {X264} ! mpegtsmux ! filesink location=cc.ts "
    f"c.text ! queue ! palmecea608 latency=2000000000 ! closedcaption/x-cea-608,framerate={RATE}/1 ! "
    "ccconverter ! closedcaption/x-cea-708,format=cc_data ! cc.caption"
)
TEE = (
    f"{SOURCE} ! videoconvert ! {CAPTION} {SLICES} ! tee name=t t. ! queue ! textoverlay ! videoconvert ! fakesink "
    f"t. ! {VP8} ! m. c.text ! queue ! m.subtitle_0 matroskamux name=m ! filesink location=tee.mkv"
)


# At the video's own pace: when a whole file has passed before the pipeline is in PLAYING, splitmuxsink (GStreamer 1.22)
# with a text track sometimes never gets there, and the pipeline never ends; with a text from subparse as well.
def split(mux: str, ending: str) -> str:
    sink = f"splitmuxsink name=s muxer={mux} max-size-time=3000000000 location=part%02d.{ending}"
    return at_pace(one_file(SLICES, "s.subtitle_0", f"{H264} ! s.video {sink}"))


def split_parts(ending: str) -> list[Cue]:
    """Each file begins anew with the time 0; it ends with its video."""
    cues, begin = [], 0.0
    for part in sorted(Path(".").glob(f"part*.{ending}")):
        cues += [Cue(c.begin + begin, c.end + begin, c.text) for c in by_ffmpeg(str(part))]
        begin += float(run(["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", part]))
    return cues


LIVE = at_pace(
    muxed("mode=async interval=250000000 cue-duration=250000000", VP8, "matroskamux", "subtitle_0", "live.mkv")
)
# Name, pipeline, how it is read, by whom.
CONSUMERS = [
    ("WebVTT file", one_file(SYNC, "webvttenc ! filesink location=a.vtt"), lambda: by_ffmpeg("a.vtt"), "FFmpeg"),
    ("", None, lambda: by_gstreamer("a.vtt", "subparse"), "GStreamer"),
    ("SubRip file", one_file(SYNC, "srtenc ! filesink location=a.srt"), lambda: by_ffmpeg("a.srt"), "FFmpeg"),
    ("", None, lambda: by_gstreamer("a.srt", "subparse"), "GStreamer"),
    ("EBU-TT-D document", one_file(SLICES, "palmettml ! filesink location=a.ttml"), lambda: by_xml("a.ttml"), "XML"),
    ("Matroska", muxed(SLICES, VP8, "matroskamux", "subtitle_0", "a.mkv"), lambda: by_ffmpeg("a.mkv"), "FFmpeg"),
    ("", None, lambda: by_gstreamer("a.mkv", "matroskademux name=d d.subtitle_0"), "GStreamer"),
    ("MP4", muxed(SLICES, H264, "mp4mux", "subtitle_0", "a.mp4"), lambda: by_ffmpeg("a.mp4"), "FFmpeg"),
    ("", None, lambda: by_gstreamer("a.mp4", "qtdemux name=d d.subtitle_0"), "GStreamer"),
    (
        "MP4 in fragments",
        muxed(SLICES, H264, "mp4mux fragment-duration=1000", "subtitle_0", "f.mp4"),
        lambda: by_gstreamer("f.mp4", "qtdemux name=d d.subtitle_0"),
        "GStreamer",
    ),
    ("splitmuxsink, MP4", split("mp4mux", "mp4"), lambda: split_parts("mp4"), "FFmpeg"),
    ("splitmuxsink, Matroska", split("matroskamux", "mkv"), lambda: split_parts("mkv"), "FFmpeg"),
    ("a tee: screen and Matroska", TEE, lambda: by_ffmpeg("tee.mkv"), "FFmpeg"),
    ("Matroska, live", LIVE, lambda: by_ffmpeg("live.mkv"), "FFmpeg"),
    (
        "CEA-608 in H.264 in MPEG-TS",
        CEA608,
        lambda: by_ffmpeg("movie=cc.ts[out+subcc]", "0:s", ("-f", "lavfi")),
        "FFmpeg",
    ),
]


def hls(program: str) -> list[Cue]:
    run([program, "--segment", "2", "--interval", "0", "--model", "model.standin", "hls", "film.mkv"])
    return by_ffmpeg("hls/captions.m3u8", "0:s", ("-allowed_extensions", "ALL"))


def row(name: str, pipeline, read, reader: str) -> bool:
    try:
        if callable(pipeline):
            pipeline()
        elif pipeline:
            gst(pipeline)
        live = "live" in name
        # Live captions come with the interval, on a busy machine later, but while their grey is there; they end with
        # their slice. A closed caption has to be loaded before it is shown, two characters a frame, and the first one
        # cannot be loaded before the video begins.
        count, worst = compare(read(), (PHASE - 2) * FRAME if live else 0.0, not live, 1.0 if "608" in name else 0.0)
        good = count == PHASES
        print(f"| {name} | {reader} | {PHASES} | {count} | {1000 * worst:.0f} ms |", flush=True)
    except GaveUp as why:
        good = False
        print(f"| {name} | {reader} | {PHASES} | FAILED: {why} | |", flush=True)
    return good


def main():
    needed = (
        "vp8enc matroskamux x264enc mp4mux mpegtsmux splitmuxsink webvttenc srtenc cccombiner ccconverter h264parse"
    )
    for element in needed.split():
        if subprocess.run(["gst-inspect-1.0", "--exists", element], check=False).returncode:
            print(f"no GStreamer element {element} here: skipped")
            sys.exit(77)
    for program in ("ffmpeg", "ffprobe"):
        if subprocess.run(["sh", "-c", f"command -v {program}"], stdout=subprocess.DEVNULL, check=False).returncode:
            print(f"no {program} here: skipped")
            sys.exit(77)
    programs = [str(Path(name).resolve()) for name in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("model.standin").write_text("standin\ntext=luma {luma}\n")
        with open("frames.gray", "wb") as file:
            for grey in GREYS:
                file.write(bytes([grey]) * (SIDE * SIDE * PHASE))
        print(f"{SECONDS:.0f} s of video, a frame is {1000 * FRAME:.0f} ms\n")
        print("| consumer | read by | captions | read back | largest error |\n|---|---|---|---|---|", flush=True)
        good = [row(*consumer) for consumer in CONSUMERS]
        if programs:
            gst(f"{SOURCE} ! {VP8} ! matroskamux ! filesink location=film.mkv")
            good.append(row("HLS with WebVTT", None, lambda: hls(programs[0]), "FFmpeg"))
        os.chdir("/")
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
