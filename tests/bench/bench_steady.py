#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Measures how steady the captions of palmecaption are, with and without what keeps them steady.

It makes streams from photos (stills with the noise of a camera, flickering light, compression of varying quality,
a slow pan, a slideshow of cuts, things that enter) and plays clips, through the element with the real engine. It
prints, for each stream: caption changes a minute without and with steadying, the share of captions that were not
made, and for cuts how many frames late the new caption was. In sync mode with the values that async mode has by
default: the same decisions, but repeatable and faster than in real time.

Needs numpy, Pillow and ffmpeg, and the element's environment: meson devenv -C build.
"""

import argparse
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
WIDTH, HEIGHT, RATE = 320, 240, 10
# What async mode has by default, and nothing.
STEADY = {
    "scene-threshold": 0.005,
    "cut-threshold": 0.5,
    "caption-hold": 1500000000,
    "switch-margin": 0.1,
}
OFF = dict.fromkeys(STEADY, 0)


def load(path):
    return np.asarray(Image.open(path).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))


NORMAL = np.random.default_rng(0).normal(size=HEIGHT * WIDTH * 3 + 1000003).astype(np.float32)


def sensor(picture, random, gain=1.0, full_well=400.0, read=4.0):
    """Photon (Poisson) and read noise: about 9 levels of 255 in the middle of the range. That many photons are nearly
    normal, so a long table of normal numbers serves, read from another place each time."""
    electrons = picture.astype(np.float32) * np.float32(gain * full_well / 255)
    at = random.integers(1000003)
    noise = NORMAL[at : at + picture.size].reshape(picture.shape)
    electrons += np.sqrt(electrons + np.float32(read * read)) * noise
    return np.clip(electrons * np.float32(255 / full_well), 0, 255).astype(np.uint8)


def pink(count, random):
    """1/f noise of deviation 1."""
    spectrum = np.fft.rfft(random.normal(size=count))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, count)
    return noise / noise.std()


def compressed(picture, quality):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(io.BytesIO(file.getvalue())))


def still(photo, seconds, random):
    flicker = 1 + 0.08 * pink(seconds * RATE, random)
    for gain in flicker:
        yield sensor(photo, random, gain)


def jpeg_still(photo, seconds, random):
    """As a network camera sends it: noise, and a quality that goes up and down with each keyframe."""
    for n in range(seconds * RATE):
        yield compressed(sensor(photo, random), 85 if n % 20 == 0 else random.integers(25, 60))


def slow_light(photo, seconds, random):
    for n in range(seconds * RATE):
        yield sensor(photo, random, 1 - 0.5 * n / (seconds * RATE))


def pan(photo, seconds, random):
    """Over the whole photo, at twice the size, once."""
    large = np.asarray(Image.fromarray(photo).resize((2 * WIDTH, HEIGHT), Image.Resampling.BILINEAR))
    for n in range(seconds * RATE):
        left = round(WIDTH * n / (seconds * RATE))
        yield sensor(large[:, left : left + WIDTH], random)


def slides(photos, seconds, random):
    """A cut every 2.7 seconds, which no interval falls together with."""
    for n in range(seconds * RATE):
        yield sensor(photos[n // 27 % len(photos)], random)


def enters(photo, thing, seconds, random):
    """An oval of 2 % of the area comes in from the left, stays in the middle and goes on."""
    height = round((0.02 * WIDTH * HEIGHT * 2 * 4 / np.pi) ** 0.5)
    width = height // 2
    patch = np.asarray(Image.fromarray(thing).resize((width, height), Image.Resampling.BILINEAR))
    y, x = np.mgrid[:height, :width]
    oval = (((x - width / 2) / (width / 2)) ** 2 + ((y - height / 2) / (height / 2)) ** 2 < 1)[..., None]
    for n in range(seconds * RATE):
        at = n / (seconds * RATE)
        left = round((WIDTH - width) * float(np.interp(at, [0.2, 0.4, 0.6, 0.8], [0, 0.5, 0.5, 1])))
        frame = photo.copy()
        if 0.2 < at < 0.8:
            part = frame[HEIGHT // 2 : HEIGHT // 2 + height, left : left + width]
            frame[HEIGHT // 2 : HEIGHT // 2 + height, left : left + width] = np.where(oval, patch, part)
        yield sensor(frame, random)


def clip(path, loops=1):
    command = ["ffmpeg", "-v", "error", "-stream_loop", str(loops - 1), "-i", str(path)]
    command += ["-vf", f"fps={RATE},scale={WIDTH}:{HEIGHT}:flags=area", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    yield from np.frombuffer(data, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)


def measure(frames, settings, model, interval):
    """Runs the stream through the element. Returns the caption of each frame, and the statistics."""
    program = Path(os.environ.get("STEADY_PROGRAM", ROOT / "build" / "tests" / "steady_captions"))
    command = [str(program), str(WIDTH), str(HEIGHT), str(RATE), str(len(frames)), f"interval={interval}"]
    command += [f"{name}={value}" for name, value in settings.items()]
    if model:
        command.append(f"model={model}")
    with tempfile.TemporaryFile() as file:
        for frame in frames:
            file.write(frame.tobytes())
        file.seek(0)
        result = subprocess.run(command, stdin=file, check=True, capture_output=True, text=True)
    lines = result.stdout.splitlines()
    return lines[:-1], json.loads(lines[-1])


def changes_a_minute(captions):
    changes = sum(a != b for a, b in itertools.pairwise(captions) if a)
    return changes * 60 * RATE / len(captions)


def lateness(captions, cuts):
    """Frames from each cut to the first caption that differs from the one before, where one comes."""
    late = []
    for begin, end in zip(cuts, [*cuts[1:], len(captions)], strict=True):
        before = captions[begin - 1]
        late += [next((n - begin for n in range(begin, end) if captions[n] != before), None)]
    return [n for n in late if n is not None]


def streams(photos, videos, seconds, still_photos, random):
    for name in list(photos)[:still_photos]:
        yield f"still {name}", list(still(photos[name], seconds, random)), []
    name, photo = next(iter(photos.items()))
    yield f"jpeg {name}", list(jpeg_still(photo, seconds, random)), []
    yield f"slow light {name}", list(slow_light(photo, seconds, random)), []
    for name in list(photos)[:3]:
        yield f"slow pan {name}", list(pan(photos[name], seconds, random)), []
    count = seconds * RATE
    yield "slides", list(slides(list(photos.values()), seconds, random)), list(range(27, count, 27))
    things = list(photos.values())
    yield "enters", list(enters(things[-1], things[0], seconds, random)), []
    for video in videos:
        yield video.name, list(clip(video)), []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="length of each stream that is made")
    parser.add_argument("--stills", type=int, default=99, help="how many photos to show as stills")
    parser.add_argument("--photos", type=Path, default=ROOT / "examples" / "photos")
    parser.add_argument("--videos", type=Path, nargs="*", default=[], help="clips to play as well")
    parser.add_argument("--model", help="model file (default: as the element finds it)")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between captioned frames")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other values of properties")
    parser.add_argument("--only", default="", help="streams whose names contain this")
    args = parser.parse_args()
    settings = STEADY | dict(pair.split("=", 1) for pair in args.set)
    photos = {path.stem: load(path) for path in sorted(args.photos.glob("*.jpg"))}
    if not photos:
        sys.exit(f"{args.photos}: no photos")
    interval = int(args.interval * 1e9)
    print(f"{'stream':24}{'changes a minute':>20}{'work saved':>12}{'held':>6}{'cuts':>6}  frames late, max")
    for name, frames, cuts in streams(photos, args.videos, args.seconds, args.stills, np.random.default_rng(1)):
        if args.only not in name:
            continue
        before, _ = measure(frames, OFF, args.model, interval)
        after, stats = measure(frames, settings, args.model, interval)
        late = max(lateness(after, cuts), default="") if cuts else ""
        print(
            f"{name:24}{changes_a_minute(before):9.1f} -> {changes_a_minute(after):5.1f}"
            f"{stats['work-saved']:11.0%}{stats['held']:7}{stats['scene-cuts']:6}  {late}",
            flush=True,
        )


if __name__ == "__main__":
    main()
