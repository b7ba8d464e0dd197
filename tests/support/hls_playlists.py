# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads HLS playlists and their segments as RFC 8216 has them, and says what is wrong. It shares no code with those
who wrote them: the times of segments come from the MP4 boxes themselves."""

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

KNOWN = (
    *("#EXTM3U", "#EXT-X-VERSION", "#EXT-X-TARGETDURATION", "#EXT-X-MEDIA-SEQUENCE", "#EXT-X-PLAYLIST-TYPE"),
    *("#EXT-X-MAP", "#EXTINF", "#EXT-X-ENDLIST", "#EXT-X-DISCONTINUITY", "#EXT-X-DISCONTINUITY-SEQUENCE"),
)


@dataclass
class Playlist:
    first: int = 0
    target: int = 0
    kind: str = ""
    map: str = ""
    ended: bool = False
    segments: list = field(default_factory=list)  # (name, seconds)
    wrong: list = field(default_factory=list)


def read_playlist(text: str) -> Playlist:
    """A media playlist."""
    found, wrong = Playlist(), []
    lines = text.split("\n")
    seconds, seen = None, set()
    if lines[0] != "#EXTM3U" or lines[-1] != "":
        wrong.append("does not begin with #EXTM3U and end with a line's end")
    for line in lines[1:-1]:
        tag, _, value = line.partition(":")
        if line.startswith("#EXT") and tag not in KNOWN:
            wrong.append(f"unknown: {line}")
        if tag in seen and tag not in ("#EXTINF", "#EXT-X-DISCONTINUITY") and tag.startswith("#"):
            wrong.append(f"twice: {line}")
        seen.add(tag)
        if found.ended:
            wrong.append(f"behind the end: {line}")
        if tag == "#EXT-X-TARGETDURATION":
            found.target = int(value)
        elif tag == "#EXT-X-MEDIA-SEQUENCE":
            if found.segments:
                wrong.append("the sequence number is behind a segment")
            found.first = int(value)
        elif tag == "#EXT-X-PLAYLIST-TYPE":
            found.kind = value
        elif tag == "#EXT-X-MAP":
            found.map = re.fullmatch('URI="([^"]+)"', value).group(1)
        elif tag == "#EXT-X-ENDLIST":
            found.ended = True
        elif tag == "#EXTINF":
            if not re.fullmatch(r"\d+\.\d+,", value):
                wrong.append(f"no duration: {line}")
            seconds = float(value.rstrip(","))
        elif not line.startswith("#"):
            if seconds is None:
                wrong.append(f"no #EXTINF before {line}")
            found.segments.append((line, seconds or 0.0))
            seconds = None
    wrong += [f"{tag} is missing" for tag in ("#EXT-X-VERSION", "#EXT-X-TARGETDURATION") if tag not in seen]
    wrong += [f"{name} is longer than the target duration" for name, s in found.segments if round(s) > found.target]
    found.wrong = wrong
    return found


def boxes(data: bytes):
    """The boxes of MP4: (kind, content)."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        if size < 8 or at + size > len(data):
            raise ValueError(f"a box {kind!r} of {size} bytes at {at}")
        yield kind.decode("latin-1"), data[at + 8 : at + size]
        at += size
    if at != len(data):
        raise ValueError("bytes behind the last box")


def inside(data: bytes, *path: str) -> bytes:
    for kind in path:
        data = next(content for k, content in boxes(data) if k == kind)
    return data


def timescale(init: bytes) -> int:
    kinds = [kind for kind, _ in boxes(init)]
    if kinds != ["ftyp", "moov"]:
        raise ValueError(f"the initialization section has {kinds}")
    header = inside(init, "moov", "trak", "mdia", "mdhd")
    return struct.unpack(">I", header[20:24] if header[0] else header[12:16])[0]


def fragment(segment: bytes) -> tuple[int, int, bool]:
    """Begin and duration in ticks, and whether it begins with a key frame."""
    begin, total, key = None, 0, False
    for kind, content in boxes(segment):
        if kind != "moof":
            continue
        traf = inside(content, "traf")
        header, decode = inside(traf, "tfhd"), inside(traf, "tfdt")
        flags, at = struct.unpack(">I", header[:4])[0] & 0xFFFFFF, 8
        at += 8 if flags & 1 else 0
        at += 4 if flags & 2 else 0
        duration = struct.unpack(">I", header[at : at + 4])[0] if flags & 8 else None
        at += (4 if flags & 8 else 0) + (4 if flags & 16 else 0)
        sample_flags = struct.unpack(">I", header[at : at + 4])[0] if flags & 32 else 0
        time = struct.unpack(">Q", decode[4:12])[0] if decode[0] else struct.unpack(">I", decode[4:8])[0]
        if begin is not None and time != begin + total:
            raise ValueError("fragments of a segment do not follow each other")
        for kind_in, run in boxes(traf):
            if kind_in != "trun":
                continue
            flags, count = struct.unpack(">II", run[:8])
            at = 8 + (4 if flags & 1 else 0)
            first_flags = struct.unpack(">I", run[at : at + 4])[0] if flags & 4 else sample_flags
            at += 4 if flags & 4 else 0
            sizes = [4 if flags & f else 0 for f in (0x100, 0x200, 0x400, 0x800)]
            for i in range(count):
                total += struct.unpack(">I", run[at : at + 4])[0] if flags & 0x100 else duration
                if i == 0 and begin is None:
                    own = at + sizes[0] + sizes[1]
                    first = struct.unpack(">I", run[own : own + 4])[0] if flags & 0x400 else first_flags
                    key = not first & 0x10000
                at += sum(sizes)
        begin = time if begin is None else begin
    return begin, total, key


def seconds_of(text: str) -> float:
    hours, minutes, seconds = text.split(":")
    return (int(hours) * 60 + int(minutes)) * 60 + float(seconds)


def cues(text: str) -> list[tuple[float, float, str]]:
    """The cues of a WebVTT segment in media time."""
    head, *blocks = text.rstrip("\n").split("\n\n")
    found = re.fullmatch(r"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:(\d+),LOCAL:(\d\d:\d\d:\d\d\.\d{3})", head)
    if not found:
        raise ValueError(f"no head of a WebVTT segment: {head!r}")
    shift = int(found.group(1)) / 90000 - seconds_of(found.group(2))
    result = []
    for block in blocks:
        times, *lines = block.split("\n")
        begin, end = re.fullmatch(r"(\d\d:\d\d:\d\d\.\d{3}) --> (\d\d:\d\d:\d\d\.\d{3})", times).groups()
        result.append((seconds_of(begin) + shift, seconds_of(end) + shift, "\n".join(lines)))
    return result


def check_master(text: str) -> list[str]:
    wrong = []
    if not text.startswith("#EXTM3U\n"):
        wrong.append("does not begin with #EXTM3U")
    media = re.findall(r"^#EXT-X-MEDIA:(.*)$", text, re.M)
    streams = re.findall(r"^#EXT-X-STREAM-INF:(.*)\n([^#\n]+)$", text, re.M)
    if len(media) != 1 or not re.search('TYPE=SUBTITLES.*GROUP-ID="captions".*URI="captions.m3u8"', media[0]):
        wrong.append(f"no subtitles: {media}")
    if len(streams) != 1 or streams[0][1] != "video.m3u8":
        wrong.append(f"no video: {streams}")
    for needed in (r"BANDWIDTH=\d+", r"RESOLUTION=\d+x\d+", r'CODECS="avc1\.[0-9A-Fa-f]{6}"', 'SUBTITLES="captions"'):
        wrong += [] if streams and re.search(needed, streams[0][0]) else [f"no {needed}"]
    return wrong


def check_stream(folder: Path, frame: float):
    """What is wrong with a stream in a folder, and its cues, those that only a segment's edge cuts joined.
    `frame` is the duration of a frame in seconds."""
    wrong = [f"master: {w}" for w in check_master((folder / "master.m3u8").read_text())]
    video = read_playlist((folder / "video.m3u8").read_text())
    captions = read_playlist((folder / "captions.m3u8").read_text())
    wrong += [f"video: {w}" for w in video.wrong] + [f"captions: {w}" for w in captions.wrong]
    if [s for _, s in video.segments] != [s for _, s in captions.segments] or video.first != captions.first:
        wrong.append("the segments of video and captions are not the same")
    ticks = timescale((folder / video.map).read_bytes())
    joined, expected = [], None
    for (name, seconds), (vtt, _) in zip(video.segments, captions.segments):
        begin, duration, key = fragment((folder / name).read_bytes())
        if not key:
            wrong.append(f"{name}: does not begin with a key frame")
        if expected is not None and begin != expected:
            wrong.append(f"{name}: begins at {begin}, not at {expected}, and no discontinuity is told")
        expected = begin + duration
        if abs(duration / ticks - seconds) > frame:
            wrong.append(f"{name}: lasts {duration / ticks}, the playlist says {seconds}")
        last = begin / ticks
        for from_, to, text in cues((folder / vtt).read_text()):
            if from_ < begin / ticks - frame or to > expected / ticks + frame or to <= from_:
                wrong.append(f"{vtt}: {from_} to {to} is not in {begin / ticks} to {expected / ticks}")
            if from_ < last - 0.0015:
                wrong.append(f"{vtt}: {from_} begins before {last}")
            last = to
            if joined and joined[-1][2] == text and abs(joined[-1][1] - from_) < 0.0015:
                joined[-1] = (joined[-1][0], to, text)
            else:
                joined.append((from_, to, text))
    return wrong, joined, video
