#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The example for WebRTC, watched by a headless Chromium: the video plays, and each caption is what its picture was.

    webrtc.py WEBRTC      meson sets the environment: the plugin with the stand-in engine

The picture is black and white by turns, two seconds each, and the captions say which.
"""

import http.client
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
from browser import Browser, chromium

SIDE, RATE, PHASE, MINUTES = 64, 20, 40, 5
# What each frame was, by its RTP time.
NOTE_FRAMES = """(() => {
    window.frames_seen = [];
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const video = document.getElementById("video");
    const note = (now, frame) => {
        canvas.drawImage(video, 0, 0, 1, 1);
        frames_seen.push([frame.rtpTimestamp, canvas.getImageData(0, 0, 1, 1).data[0] > 128]);
        video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
})()"""
CAPTIONS = """[...document.querySelectorAll("#history li")].map((e) => [Number(e.dataset.rtp), e.dataset.text])"""


def skip(why: str):
    print(f"{why}: skipped")
    sys.exit(77)


def request(address: str, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def write_frames(file: Path):
    with file.open("wb") as frames:
        for i in range(MINUTES * 60 * RATE):
            frames.write(bytes([255 * (i // PHASE % 2)]) * SIDE * SIDE)


class Server:
    def __init__(self, program: str, folder: Path, end: str = "clocksync"):
        self.frames, model = folder / "frames.gray", folder / "model.standin"
        model.write_text("standin\ntext=luma {luma}\n")
        frames = f'filesrc location="{self.frames}"'
        source = f"{frames} ! rawvideoparse format=gray8 width={SIDE} height={SIDE} framerate={RATE}/1"
        caption = f"model={model} mode=async interval-seconds=0.25 scene-threshold=0 switch-margin=0"
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [program, "--port", "0", "--caption", f"{caption} caption-hold-seconds=0", f"{source} ! {end}"],
                stdout=log,
                stderr=log,
            )
        self.address = self.wait_for("http://").removeprefix("http://").rstrip("/")

    def wait_for(self, text: str, count: int = 1) -> str:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            lines = [line for line in self.log.read_text().splitlines() if text in line]
            if len(lines) >= count:
                return lines[-1]
            time.sleep(0.1)
        raise RuntimeError(f"the server did not say {text}: {self.log.read_text()}")

    def end(self):
        self.process.terminate()
        assert self.process.wait(60) == 0, self.log.read_text()


def check_captions(page):
    """Every caption that has come while frames were noted is what its frame was. Where the colour changes the page may
    have drawn the next frame already, so those are left out."""
    frames = dict(page.js("frames_seen"))
    begin = min(frames)
    captions = [(rtp, text) for rtp, text in page.js(CAPTIONS) if rtp >= begin]
    compared = {True: 0, False: 0}
    for rtp, text in captions:
        # The caption has the time of its frame; RTP times are whole numbers, and so are those in between.
        near = [white for time_, white in frames.items() if abs(time_ - rtp) <= 90]
        around = {white for time_, white in frames.items() if abs(time_ - rtp) <= 2 * 90000 / RATE + 90}
        if near and len(around) == 1:
            assert near[0] == text.startswith("luma 2"), (rtp, text, near)
            compared[near[0]] += 1
    assert compared[True] >= 4 and compared[False] >= 4, (compared, captions[:5], sorted(frames)[:5])


def watch(browser, server, number: int):
    page = browser.page(f"http://{server.address}/")
    page.wait('document.getElementById("video")?.currentTime > 0')
    page.js(NOTE_FRAMES)
    page.wait(f"{CAPTIONS}.length >= 36")
    assert page.text("#state") == "connected", page.text("#state")
    assert page.text("#caption").startswith("luma "), page.text("#caption")
    check_captions(page)
    told = '{"text": "again", "time": 9e9, "rtp": 0}'
    page.js(f"arrives('{told}'); arrives('{told}')")
    page.wait("document.querySelector('#history [data-text=again]') !== null")
    assert page.js("document.querySelectorAll('#history [data-text=again]').length") == 1, "a caption comes twice"
    assert not page.problems, page.problems
    assert all(server.address in url or url.startswith(("data:", "blob:")) for url in page.requests), page.requests
    server.wait_for("a viewer has come", number)


def check_strangers(server):
    assert request(server.address, "POST", "/offer", "v=0", Origin="http://example.org")[0] == 403
    assert request(server.address, "GET", "/", Host="example.org")[0] == 403
    for body in ("", "no offer", "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n", "v" * 100000, "\xff\xfe" * 100):
        assert request(server.address, "POST", "/offer", body)[0] in (400, 413), body[:20]
    assert request(server.address, "GET", "/offer")[0] == 405
    assert request(server.address, "GET", "/../../etc/passwd")[0] == 404
    status, page = request(server.address, "GET", "/")
    assert status == 200 and "<video" in page


def check_failing_source(program: str, folder: Path):
    """A source that is not there yet, and then fails again and again: the page is connected while it is there."""
    server = Server(program, folder, f"clocksync ! identity error-after={12 * RATE}")
    try:
        server.wait_for("tried again in 5 seconds")
        assert request(server.address, "GET", "/")[0] == 200
        write_frames(server.frames)
        if not chromium():
            return
        with Browser() as browser:
            page = browser.page(f"http://{server.address}/")
            for _ in range(2):
                # What failed before the file was there is said a few times.
                said = server.log.read_text().count("the source failed")
                page.wait('document.getElementById("state")?.textContent === "connected"')
                page.wait(f"{CAPTIONS}.length > 0 && document.getElementById('video').currentTime > 0")
                server.wait_for("the source failed", said + 1)
            # While the source is away it is asked for in vain.
            assert all("status of 503" in problem for problem in page.problems), page.problems
        assert server.process.poll() is None
    finally:
        server.end()


def main():
    for element in ("webrtcbin", "nicesrc", "vp8enc", "rtpvp8pay", "rawvideoparse", "dtlsdec", "srtpenc"):
        # Not --exists, which asks for GStreamer's own version.
        if subprocess.run(["gst-inspect-1.0", element], stdout=subprocess.DEVNULL, check=False).returncode:
            skip(f"no GStreamer element {element} here")
    with tempfile.TemporaryDirectory() as folder:
        write_frames(Path(folder) / "frames.gray")
        server = Server(sys.argv[1], Path(folder))
        try:
            check_strangers(server)
            if not chromium():
                skip("no chromium here")
            with Browser() as browser:
                watch(browser, server, 1)
                watch(browser, server, 2)
            # The browser was killed; another one is served.
            server.wait_for("0 are left")
            with Browser() as browser:
                watch(browser, server, 3)
            assert server.process.poll() is None
        finally:
            server.end()
    with tempfile.TemporaryDirectory() as folder:
        check_failing_source(sys.argv[1], Path(folder))
    print("the video plays, and the captions are those of its pictures")


if __name__ == "__main__":
    main()
