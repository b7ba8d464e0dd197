#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""hls.py - HLS with a WebVTT rendition: playlists, segments and cue times of a recording and of a live stream; read
back by FFmpeg, and played in headless Chromium where that is installed.

    hls.py PALME-HLS PLAYER [SCREENSHOT]      meson sets the environment; the engine is the stand-in
"""

import atexit
import functools
import http.server
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
from browser import Browser, chromium
from hls_playlists import check_stream, cues, read_playlist
from webserver import Checks, wait_for

program, player = str(Path(sys.argv[1]).resolve()), Path(sys.argv[2])
check = Checks()
TIMEOUT = 120  # seconds, against hanging alone
RATE = 30
FRAME = 1 / RATE
# Frames of one picture after the other; none begins where a segment does.
SCENES = [("black", 37), ("white", 53), ("red", 61), ("blue", 31), ("white", 45), ("green", 40), ("black", 71)]
CAPS = f"video/x-raw,format=I420,width=320,height=240,framerate={RATE}/1"


def scenes() -> str:
    parts = [f"videotestsrc pattern={p} num-buffers={n} ! {CAPS} ! k." for p, n in SCENES]
    return " ".join(parts) + " concat name=k"


def model(folder: Path, text: str) -> dict:
    path = folder / "model.standin"
    path.write_text(f"standin\ntext={text}\n")
    return dict(os.environ, PALME_MODEL=str(path))


def run(env: dict, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run([program, *words], env=env, capture_output=True, text=True, timeout=TIMEOUT)


# Goes to a time, and is done when the picture of that time is there.
SEEK = """new Promise((done) => {
    video.addEventListener('seeked', done, {once: true});
    video.currentTime = %f;
})"""
# Red, green and blue in the middle of the picture.
COLOUR = """(() => {
    const c = document.createElement('canvas'), x = c.getContext('2d');
    c.width = c.height = 8;
    x.drawImage(video, 0, 0, 8, 8);
    return [...x.getImageData(4, 4, 1, 1).data].slice(0, 3);
})()"""


def plain(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def near(a: float, b: float, error: float) -> bool:
    return abs(a - b) <= error + 1e-6


def check_recording(folder: Path):
    """Each frame has its own caption, which tells its colour: so each cue begins at a frame that is known."""
    done = run(
        model(folder, "rgb {r} {g} {b} & <b>"), "--segment", "2", "--interval", "0", str(folder / "vod"), scenes()
    )
    check("a recording is made", done.returncode == 0 and not done.stderr, done.stderr)
    wrong, got, video = check_stream(folder / "vod", FRAME)
    check("its playlists and segments are right", not wrong, wrong)
    check("it is a whole one", video.ended and video.kind == "VOD" and video.first == 0)
    total = sum(n for _, n in SCENES)
    check("it is long", near(sum(s for _, s in video.segments), total * FRAME, FRAME), video.segments)
    check("segments are as long as asked for", all(near(s, 2, FRAME) for _, s in video.segments[:-1]), video.segments)
    check("nothing else is in the folder", len(list((folder / "vod").iterdir())) == 2 * len(video.segments) + 4)
    begins, at = [], 0
    for _, frames in SCENES:
        begins.append(at * FRAME)
        at += frames
    check("each scene has one cue", len(got) == len(SCENES), got)
    check("which begins with it", all(near(c[0], b, FRAME) for c, b in zip(got, begins)), got, begins)
    check("none is lost between", all(near(a[1], b[0], 0.0015) for a, b in itertools.pairwise(got)), got)
    check("the last one ends with the video", near(got[-1][1], total * FRAME, FRAME), got[-1])
    check("texts are escaped", all(re.fullmatch(r"rgb \d+ \d+ \d+ &amp; &lt;b&gt;", c[2]) for c in got), got)
    colours = [[name for name, part in zip("rgb", c[2].split()[1:]) if int(part) > 200] for c in got]
    expected = dict(black=[], white=["r", "g", "b"], red=["r"], green=["g"], blue=["b"])
    check("and are those of the frames", colours == [expected[p] for p, _ in SCENES], colours)
    return got


def check_ffmpeg(folder: Path, got):
    """What FFmpeg makes of the stream: when frames change, and when cues do."""
    if not shutil.which("ffmpeg"):
        print("no ffmpeg here: not read back by it")
        return
    vod = folder / "vod"
    command = ["ffmpeg", "-v", "error", "-nostdin"]
    shown = subprocess.run(
        [*command, "-i", vod / "master.m3u8", "-vf", "signalstats,metadata=print:file=-", "-f", "null", "-"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    frames = re.findall(r"pts_time:([\d.]+)[\s\S]*?signalstats.YAVG=([\d.]+)", shown.stdout)
    check("FFmpeg decodes all frames", len(frames) == sum(n for _, n in SCENES), len(frames), shown.stderr)
    changes = [float(t) for (_, a), (t, b) in itertools.pairwise(frames) if abs(float(a) - float(b)) > 5]
    check(
        "cues begin where the pictures change",
        len(changes) == len(got) - 1 and all(near(c[0], t, FRAME) for c, t in zip(got[1:], changes)),
        changes,
        got,
    )
    # FFmpeg before 7 reads no subtitle rendition by its master playlist, so it is given that playlist itself.
    read = subprocess.run(
        [*command, "-allowed_extensions", "ALL", "-i", vod / "captions.m3u8", "-f", "webvtt", "-"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    found = re.findall(r"(?:(\d+):)?(\d\d):(\d\d\.\d{3}) --> (?:(\d+):)?(\d\d):(\d\d\.\d{3})\n(.+)", read.stdout)
    own = []
    for h, m, s, _, m2, s2, text in found:
        own.append((int(h or 0) * 3600 + int(m) * 60 + float(s), int(h or 0) * 3600 + int(m2) * 60 + float(s2), text))
    ours = [
        c
        for path in sorted(vod.glob("captions-*.vtt"), key=lambda p: int(p.stem.split("-")[1]))
        for c in cues(path.read_text())
    ]
    wanted = [(a, b, plain(t)) for a, b, t in ours]
    same = len(own) == len(wanted) and all(
        near(a[0], b[0], 0.001) and near(a[1], b[1], 0.001) and a[2] == b[2] for a, b in zip(own, wanted)
    )
    check("FFmpeg reads the same cues", same, own, wanted, read.stderr)


class Live:
    """A live stream in the making, and what its playlists said while it was made."""

    def __init__(self, folder: Path, seconds: int):
        self.folder, self.wrong, self.names = folder / "live", [], {}
        source = f"videotestsrc is-live=true pattern=ball num-buffers={seconds * RATE} ! {CAPS}"
        self.process = subprocess.Popen(
            [program, "--live", "--window", "3", "--segment", "1", "--interval", "0.5", str(self.folder), source],
            env=model(folder, "caption {n}"),
            stderr=subprocess.PIPE,
            text=True,
        )
        atexit.register(self.process.kill)  # should the test break off
        self.seen, self.last, self.snapshots = set(), -1, 0

    def look(self) -> bool:
        """Reads the playlists as a player would. TRUE: the stream is there."""
        for name in ("video.m3u8", "captions.m3u8"):
            try:
                text = (self.folder / name).read_text()
            except FileNotFoundError:
                return False
            found = read_playlist(text)
            self.wrong += found.wrong
            self.snapshots += 1
            if len(found.segments) > 3:
                self.wrong.append(f"{len(found.segments)} segments in the window")
            if found.kind or found.target != 2:
                self.wrong.append(f"{found.kind} {found.target}")
            for i, segment in enumerate(found.segments):
                if self.names.setdefault((name, found.first + i), segment) != segment:
                    self.wrong.append(f"segment {found.first + i} has changed")
                # The file is there, now and for a while; the playlist may be an older one already.
                if not (self.folder / segment[0]).exists():
                    self.wrong.append(f"{segment[0]} is missing")
            if name == "video.m3u8":
                if found.first < self.last:
                    self.wrong.append("the sequence number went back")
                self.last = found.first
        return True

    def watch(self):
        until = time.monotonic() + TIMEOUT
        while self.process.poll() is None and time.monotonic() < until:
            self.look()
            time.sleep(0.05)
        self.look()

    def check_end(self):
        # A busy machine may be slow with a caption.
        said = [line for line in self.process.stderr.read().splitlines() if "fall behind" not in line]
        check("the live stream ends well", self.process.wait(TIMEOUT) == 0 and not said, said)
        check("its playlists were right all the time", not self.wrong, self.wrong[:10])
        check("and were read often", self.snapshots > 20, self.snapshots)
        wrong, got, video = check_stream(self.folder, FRAME)
        check("its end is right", not wrong, wrong)
        check("and is told", video.ended and len(video.segments) == 3 and video.first >= 4, video)
        check("old files are gone", len(list(self.folder.glob("*.m4s"))) <= 2 * 3 + 1, list(self.folder.iterdir()))
        check("it has captions", got and all(re.fullmatch(r"caption \d+", c[2]) for c in got), got)


def check_stops(folder: Path):
    """Ctrl-C, a source that fails, a folder that cannot be written."""
    stopped = folder / "stopped"
    process = subprocess.Popen(
        [program, "--segment", "1", str(stopped), f"videotestsrc is-live=true ! {CAPS}"],
        env=model(folder, "text"),
        stderr=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.kill)
    wait_for(lambda: (stopped / "video-1.m4s").exists())
    process.send_signal(signal.SIGINT)
    check("Ctrl-C ends it well", process.wait(TIMEOUT) == 0, process.stderr.read())
    wrong, _, video = check_stream(stopped, FRAME)
    check("and what there is is whole", not wrong and video.ended and video.kind == "VOD", wrong)
    env = model(folder, "text")
    (folder / "file").write_text("")
    (folder / "noise.mp4").write_bytes(random.Random(1).randbytes(5000))
    for words, reason in (
        ([str(folder / "file"), "videotestsrc num-buffers=9"], "file"),
        (["/proc/no", "videotestsrc num-buffers=9"], "/proc/no"),
        ([str(folder / "x"), "nosuchelement"], "nosuchelement"),
        ([str(folder / "x"), str(folder / "noise.mp4")], "palme-hls: "),
        ([str(folder / "x")], "a folder and a source"),
        (["--segment", "0", str(folder / "x"), "videotestsrc"], "--segment"),
        (["--window", "1", "--live", str(folder / "x"), "videotestsrc"], "--window"),
    ):
        done = run(env, *words)
        check(f"{words[-1][:20]} is told", done.returncode in (1, 2) and reason in done.stderr, done.stderr)
    if Path("/dev/full").exists():  # a full disk: the folder's first file cannot be written
        (folder / "full").mkdir()
        (folder / "full" / "init.mp4").mkdir()
        done = run(env, str(folder / "full"), f"videotestsrc num-buffers=90 ! {CAPS}")
        check("a file that cannot be written is told", done.returncode == 1 and "init.mp4" in done.stderr, done.stderr)


def serve(folder: Path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def check_player(folder: Path, got, live: Live):
    """What a viewer sees: the picture, and the cue that belongs to it."""
    if not chromium():
        print("no chromium here: not played")
        return
    for name in ("player.html", "player.js"):
        shutil.copy(player / name, folder / name)
    server = serve(folder)
    address = f"http://127.0.0.1:{server.server_port}"
    active = "[...video.textTracks].flatMap((t) => [...(t.activeCues ?? [])].map((c) => c.text))"
    try:
        with Browser() as browser:
            page = browser.page(f"{address}/player.html?stream=live/master.m3u8")
            check(
                "a live stream plays", page.wait("globalThis.video?.currentTime > 0.5 && !video.paused"), page.problems
            )
            check("with its captions", page.wait(f"{active}.some((t) => /^caption \\d+$/.test(t))"))
            page.send("Page.close")
            page = browser.page(f"{address}/player.html?stream=vod/master.m3u8", width=720, height=620)
            check("a recording plays", page.wait("globalThis.video?.currentTime > 0.2"))
            total = sum(n for _, n in SCENES) * FRAME
            check("all of it is there", near(page.wait("isFinite(video.duration) && video.duration"), total, 2 * FRAME))
            listed = "Array.from(video.textTracks[0]?.cues ?? []).map((c) => [c.startTime, c.endTime, c.text])"
            own = page.wait(f"{listed}.length >= {len(got)} ? {listed} : null")
            same = [near(o[0], g[0], 0.001) and near(o[1], g[1], 0.001) for o, g in zip(own, got)]
            check("each cue is there, and whole", len(own) == len(got) and all(same), own, got)
            page.js("video.pause()")
            for begin, end, text in got:
                page.js(SEEK % ((begin + end) / 2))
                said = plain(text)
                shown = page.wait(f"{active}.length === 1 ? {active}[0] : null")
                check(f"at {begin:.2f} s it says {said}", plain(shown) == said, shown)
                colour = page.js(COLOUR)
                told = [int(c) > 128 for c in said.split()[1:4]]
                check(f"and shows it at {begin:.2f} s", [c > 128 for c in colour] == told, colour, said)
            check("no script failed", not page.problems, page.problems)
            if len(sys.argv) > 3:
                page.js(f"video.currentTime = {got[2][0] + 0.5}")
                browser.pump(1)
                page.screenshot(sys.argv[3])
            native = page.js("document.createElement('video').canPlayType('application/vnd.apple.mpegurl')")
            print(json.dumps(dict(browser="its own HLS", answer=native or "no")))
    finally:
        server.shutdown()


def main() -> int:
    for element in ("x264enc", "openh264enc"):
        if subprocess.run(["gst-inspect-1.0", "--exists", element], check=False).returncode == 0:
            break
    else:
        print("no H.264 encoder here: skipped")
        return 77
    with tempfile.TemporaryDirectory(prefix="hls-") as name:
        folder = Path(name)
        got = check_recording(folder)
        check_ffmpeg(folder, got)
        live = Live(folder, 30 if chromium() else 8)
        watcher = threading.Thread(target=live.watch, daemon=True)
        watcher.start()
        wait_for(lambda: (folder / "live" / "video-2.m4s").exists() or live.process.poll() is not None)
        check_player(folder, got, live)
        watcher.join(TIMEOUT)
        live.check_end()
        check_stops(folder)
    return check.end()


if __name__ == "__main__":
    sys.exit(main())
