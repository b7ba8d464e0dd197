#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""web_api.py - palme-web over HTTP: what it answers, what it refuses, fifty viewers and one that never reads.

web_api.py PALME-WEB      meson sets the environment; the engine is the stand-in
"""

import itertools
import json
import os
import re
import socket
import sys
import tempfile
import threading
import time
from html.parser import HTMLParser
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
from webserver import SNOW, Checks, Server, Viewer, wait_for

program = str(Path(sys.argv[1]).resolve())
check = Checks()
NASTY = "<img src=x onerror=alert(1)> & --> {n}"
JSON_TYPE = {"Content-Type": "application/json"}


def write_models(folder: Path) -> Path:
    models = folder / "models"
    models.mkdir()
    for name in ("a", "b"):
        (models / f"{name}.safetensors").write_text(f"standin\nname={name}\ntext={name} {NASTY}\n")
    (models / ".hidden.safetensors").write_text("standin\n")
    (models / "notes.txt").write_text("no model\n")
    (models / "broken.safetensors").write_text("broken")
    return models


def free_captions(server: Server, source: int = 0):
    """Every caption is shown: none is kept for a still picture, none is held back."""
    change = dict(interval=0.1, scene_threshold=0, cut_threshold=0, switch_margin=0, caption_hold=0)
    check("settings are taken", server.post(source, **change) == (200, {}))


class Inline(HTMLParser):
    """What a strict policy would have to allow: scripts and styles in the page itself, other hosts."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        names = dict(attributes)
        if (tag == "script" and "src" not in names) or tag in ("style", "base", "iframe"):
            self.found.append(tag)
        self.found += [n for n in names if n.startswith("on") or n == "style"]
        self.found += [v for n, v in attributes if n in ("src", "href") and not re.match("[/#](?!/)", v)]


def check_files(server: Server):
    status, headers, body = server.ask("/")
    policy = headers["Content-Security-Policy"]
    check("the page", status == 200 and b"<title>" in body)
    check("a strict policy", "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy, policy)
    check("the page may not be framed", "frame-ancestors 'none'" in policy)
    check("no sniffing", headers["X-Content-Type-Options"] == "nosniff")
    inline = Inline()
    inline.feed(body.decode())
    check("nothing inline, nothing from elsewhere", not inline.found, inline.found)
    for name in ("app.js", "history.js", "app.css", "icon.svg"):
        status, _, body = server.ask(f"/{name}")
        check(name, status == 200 and body)
        hosts = re.findall(rb"https?://(?!www\.w3\.org/2000/svg)[^\"'\s]+", body)
        check(f"{name} knows no other host", not hosts, hosts)
    script = server.ask("/app.js")[2] + server.ask("/history.js")[2]
    check("no text becomes markup", not re.search(rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write", script))
    for path in (
        *("/../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/app.js/../../x"),
        *("/api", "/api/sources/9", "/api/sources/0/", "/api/sources/-1", "/api/pictures/../../../etc/passwd"),
        *("/api/sources/0x0/picture", "/index.html/", "/%00", "/app.js%00.css", "/palme/web/app.js", "/" + "a" * 5000),
    ):
        status = server.ask(path)[0]
        check(f"nothing at {path[:40]}", status in (400, 404), status)


def check_parameters(server: Server):
    for path, word in (
        ("/api/history?limit=0", "limit"),
        ("/api/history?limit=100000", "limit"),
        ("/api/history?source=1000", "source"),
        ("/api/history?source=-1", "source"),
        ("/api/history?from=abc", "from"),
        ("/api/history?to=99999999999999999999999", "to"),
        ("/api/history?before=-5", "before"),
        ("/api/history?q=" + "x" * 300, "q"),
        ("/api/history?q=%ff%fe", "q"),
        ("/api/timeline?bins=1000000000", "bins"),
        ("/api/timeline?from=5&to=5", "to"),
        ("/api/captions.vtt?source=77", "source"),
    ):
        status, _, body = server.ask(path)
        check(f"{path[:40]} is refused by name", status == 400 and json.loads(body)["error"].startswith(word), body)


def check_changes(server: Server):
    before = server.state()["sources"][0]["settings"]
    for change, word in (
        ({"interval": -1}, "interval"),
        ({"interval": "1"}, "interval"),
        ({"interval": 1e999}, "JSON"),
        ({"interval": True}, "interval"),
        ({"max_length": 1.5}, "max_length"),
        ({"max_length": 10**30}, ""),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "x" * 2000}, "prompt"),
        ({"prompt": ["a"]}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"blocklist": "@/etc/passwd"}, "blocklist"),
        ({"model": "../models/b.safetensors"}, "model"),
        ({"model": "/etc/passwd"}, "model"),
        ({"model": ".hidden.safetensors"}, "model"),
        ({"model": "notes.txt"}, "model"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"paused": 1}, "paused"),
        ({"interval": 5, "no such": 1}, "no such"),
    ):
        status, answer = server.post(0, **change)
        check(f"{change} is refused by name"[:80], status == 400 and word in answer["error"], status, answer)
    for body in (
        *(b"", b"{", b"[]", b"null", b"5", b'"x"', b"\xff\xfe", b"{" * 10000, b"[" * 16000, b'{"a":' * 2500),
        *(b'/*"*/' + b"[" * 16000, b"\0" * 100, b'{"interval":1'),
    ):
        status = server.ask("/api/sources/0", "POST", body, JSON_TYPE)[0]
        check(f"{body[:20]} is no object", status == 400, status)
    check("nothing was changed", server.state()["sources"][0]["settings"] == before)
    check("a good change", server.post(0, prompt="a photo of", interval=2.5) == (200, {}))
    after = server.state()["sources"][0]["settings"]
    check("is shown", after["prompt"] == "a photo of" and after["interval"] == 2.5, after)
    check("null is the default", server.post(0, prompt=None, interval=None) == (200, {}))
    check("again", server.state()["sources"][0]["settings"] == before)


def check_strangers(server: Server):
    good = f"{server.host}:{server.port}"
    for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1.evil.example", "[::2]", "", "10.0.0.1"):
        check(f"Host {host}", server.ask("/api/state", headers={"Host": host})[0] in (400, 403))
    for host in ("localhost", f"localhost:{server.port}", "127.0.0.1", "[::1]:99"):
        check(f"Host {host}", server.ask("/api/state", headers={"Host": host})[0] == 200)
    for origin in ("http://evil.example", "null", f"http://{good}.evil.example", "http://127.0.0.1:1", "file://"):
        headers = {"Origin": origin, **JSON_TYPE}
        check(f"Origin {origin} changes nothing", server.ask("/api/sources/0", "POST", b"{}", headers)[0] == 403)
        check(f"Origin {origin} reads nothing", server.ask("/api/state", headers=headers)[0] == 403)
        check(f"Origin {origin} sees nothing", Viewer(server, Origin=origin).status == 403)
    check(
        "our origin", server.ask("/api/sources/0", "POST", b"{}", {"Origin": f"http://{good}", **JSON_TYPE})[0] == 200
    )
    check("a page of another site", server.ask("/api/state", headers={"Sec-Fetch-Site": "cross-site"})[0] == 403)
    check("of another port", server.ask("/api/state", headers={"Sec-Fetch-Site": "same-site"})[0] == 403)
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    check("a link to the page", server.ask("/", headers=link)[0] == 200)
    check("a link to the API", server.ask("/api/state", headers=link)[0] == 403)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        status = server.ask("/api/sources/0", "POST", b"{}", {"Content-Type": kind})[0]
        check(f"a form as {kind}", status == 415, status)
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH", "BREW"):
        check(method, server.ask("/api/sources/0", method)[0] in (405, 501))
    check("POST to what is only read", server.ask("/api/state", "POST", {})[0] == 404)


def check_floods(server: Server):
    head = f"POST /api/sources/0 HTTP/1.1\r\nHost: {server.host}\r\nContent-Type: application/json\r\n".encode()
    check("a body that is too large", server.ask("/api/sources/0", "POST", b" " * 20000, JSON_TYPE)[0] == 413)
    # Without captions, whose history takes its own share.
    server.post(0, paused=True)
    wait_for(lambda: server.state()["sources"][0]["state"] == "paused")
    memory = server.memory()
    answers = (
        server.raw(head + b"Content-Length: 99999999999\r\n\r\n" + b"x" * 4_000_000),
        server.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + b"fffff\r\n" + b"x" * 0xFFFFF),
        server.raw(head + b"Content-Length: -5\r\n\r\n"),
        server.raw(head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        server.raw(b"GET / HTTP/1.1\r\nHost: " + b"a" * 200_000 + b"\r\n\r\n"),
        server.raw(b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(20000)) + b"\r\n"),
        server.raw(b"GET / HTTP/1.1\r\n\r\n"),
        server.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500)),
        server.raw(b"\r\n" * 10000),
    )
    for number, answer in enumerate(answers):
        check(f"flood {number} is not answered well", b" 200 " not in answer, answer[:100])
    left = wait_for(lambda: server.memory() - memory < 8 << 20)
    check("the floods left no memory behind", left, server.memory() - memory)
    server.post(0, paused=False)
    # Connections that ask nothing: only so many are taken, and nothing is lost when they go.
    idle = []
    for _ in range(400):
        s = socket.create_connection((server.host, server.port), timeout=5)
        s.setblocking(False)
        idle.append(s)
    descriptors = len(os.listdir(f"/proc/{server.process.pid}/fd"))
    check("connections are limited", descriptors < 330, descriptors)
    for s in idle:
        s.close()

    def answers_again():
        try:
            return server.ask("/api/state")[0] == 200
        except OSError:
            return False

    check("and it answers again", wait_for(answers_again))


def check_history(server: Server):
    free_captions(server)
    wait_for(lambda: len(server.json("/api/history")) >= 12)
    entries = server.json("/api/history?limit=200")
    check("the newest one comes first", [e["id"] for e in entries] == sorted((e["id"] for e in entries), reverse=True))
    check(
        "captions are kept as they are",
        all(re.fullmatch(r"(a photo of )?a <img src=x onerror=alert\(1\)> & -> \d+", e["text"]) for e in entries),
        entries[0],
    )
    check("each ends where the next one begins", all(a["begin"] == b["end"] for a, b in itertools.pairwise(entries)))
    check(
        "only the last one is still shown", [e["end"] is None for e in entries] == [True] + [False] * (len(entries) - 1)
    )
    one = entries[3]
    n = one["text"].split()[-1]
    check(
        "search", [e["id"] for e in server.json(f"/api/history?q=IMG%20{n}&before={one['id'] + 1}")][:1] == [one["id"]]
    )
    check("search for what is not there", server.json("/api/history?q=zebra") == [])
    check("older ones", server.json(f"/api/history?before={one['id']}&limit=1")[0]["id"] == one["id"] - 1)
    at = server.json(f"/api/history?to={one['begin'] + 1}&limit=1")
    check("what was shown at a time", at[0]["id"] == one["id"], at, one)
    pictured = next(e for e in entries if e["picture"])
    status, headers, jpeg = server.ask(f"/api/pictures/{pictured['id']}")
    check("its picture", status == 200 and jpeg[:2] == b"\xff\xd8" and headers["Content-Type"] == "image/jpeg")
    check("no picture", server.ask("/api/pictures/999999")[0] == 404)
    line = server.json(f"/api/timeline?from={entries[-1]['begin']}&to={entries[0]['begin'] + 1}&bins=10")
    check("the timeline counts them", sum(line["counts"]) == len(entries), line, len(entries))
    # Times are whole milliseconds here: the one before may have ended within the first.
    check("and knows the first one", entries[-1]["id"] - line["ids"][0] in (0, 1), line, entries[-1])
    status, headers, body = server.ask("/api/captions.vtt")
    cues = re.findall(r"(\d\d):(\d\d):(\d\d)\.(\d\d\d) --> (\d\d):(\d\d):(\d\d)\.(\d\d\d)\n(.*)\n", body.decode())
    check("VTT", status == 200 and body.startswith(b"WEBVTT\n") and "attachment" in headers["Content-Disposition"])
    check(
        "escaped",
        cues
        and all(
            re.fullmatch(r"(a photo of )?a &lt;img src=x onerror=alert\(1\)&gt; &amp; -&gt; \d+", c[8]) for c in cues
        ),
    )
    began = server.state()["began"]
    times = [((int(c[0]) * 60 + int(c[1])) * 60 + int(c[2])) * 1000 + int(c[3]) for c in cues]
    begins = {e["begin"] for e in server.json("/api/history?limit=200")}
    check("at the right times", len(begins & {t + began for t in times}) >= 12 or all(abs(t) for t in times), times[:3])
    unread = [socket.create_connection((server.host, server.port)) for _ in range(3)]
    for s in unread:
        s.sendall(b"GET /api/captions.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
    check("a download beside others that nobody reads", server.ask("/api/captions.json")[0] == 200)
    for s in unread:
        s.close()
    check("JSON", [e["id"] for e in server.json("/api/captions.json")][:3] == [1, 2, 3])


def check_models(server: Server):
    check(
        "the models of the folder", server.state()["models"] == ["a.safetensors", "b.safetensors", "broken.safetensors"]
    )
    check("another model", server.post(0, model="b.safetensors") == (200, {}))
    check("is used", wait_for(lambda: server.json("/api/history?limit=1")[0]["text"].startswith("b ")))
    check("and shown", server.state()["sources"][0]["model-info"]["name"] == "b")
    check("one that is broken", server.post(0, model="broken.safetensors") == (200, {}))
    check(
        "is told", wait_for(lambda: "broken" in server.state()["sources"][0]["message"]), server.state()["sources"][0]
    )
    newest = server.json("/api/history?limit=1")[0]["id"]
    check("and captions go on", wait_for(lambda: server.json("/api/history?limit=1")[0]["id"] > newest + 3))


def check_pause(server: Server):
    check("pause", server.post(0, paused=True) == (200, {}))
    check("is shown", wait_for(lambda: server.state()["sources"][0]["state"] == "paused"))
    newest = server.json("/api/history?limit=1")[0]
    check("its caption has ended", newest["end"])
    time.sleep(1)
    check("nothing comes", server.json("/api/history?limit=1")[0]["id"] == newest["id"])
    check("resume", server.post(0, paused=False) == (200, {}))
    check("goes on", wait_for(lambda: server.json("/api/history?limit=1")[0]["id"] > newest["id"]))


class Reader(threading.Thread):
    def __init__(self, server: Server):
        super().__init__(daemon=True)
        self.viewer = Viewer(server)
        self.pictures = self.captions = 0
        self.ordered, self.stop = True, False

    def run(self):
        last = 0
        while not self.stop:
            message = self.viewer.message()
            if message is None:
                return
            if isinstance(message, tuple):
                self.pictures += message[1][:2] == b"\xff\xd8"
            else:
                for entry in message["captions"]:
                    self.ordered &= entry["id"] == last + 1 or last == 0
                    last = entry["id"]
                    self.captions += 1
            self.viewer.acknowledge(message)


def check_viewers(server: Server):
    stalled = Viewer(server)
    wrong = Viewer(server)
    message = wrong.message()
    wrong.tell(n=message["n"] ^ 1 if isinstance(message, dict) else 0)
    while wrong.message():
        pass
    check("who acknowledges what it has not got is sent away", wrong.closed == 1008, wrong.closed)
    for text in (b"", b"{", b"[1]", b'{"watch":5}', b'{"watch":[99]}', b'{"watch":[-1]}', b'{"n":"x"}', b"[" * 900):
        other = Viewer(server)
        other.send(text)
        try:
            while other.message():
                pass
        except ConnectionError:
            other.closed = 0
        check(f"{text[:20]} is not the protocol", other.closed is not None)
        other.close()
    large = Viewer(server)
    large.send(b"x" * 30000)
    try:
        while large.message():
            pass
        fine = True
    except ConnectionError:
        fine = True
    check("a message that is too large ends it", fine)

    memory = server.memory()
    readers = [Reader(server) for _ in range(49)]
    for reader in readers:
        reader.start()
    check("fifty viewers", wait_for(lambda: server.state()["viewers"] >= 50), server.state()["viewers"])
    check("each gets pictures", wait_for(lambda: min(r.pictures for r in readers) >= 20), [r.pictures for r in readers])
    check("each gets captions", wait_for(lambda: min(r.captions for r in readers) >= 10), [r.captions for r in readers])
    check("none is lost, none comes twice", all(r.ordered for r in readers))
    grown = server.memory() - memory
    check("memory is bounded", grown < 64 << 20, grown)
    # The one that never read: what is on its way to it is bounded, whatever was there since.
    stalled.socket.settimeout(1)
    got = 0
    try:
        while stalled.message():
            got += 1
    except OSError:
        pass
    check("who does not read is not written to", 1 <= got <= 4, got)
    for reader in readers:
        reader.stop = True
    for reader in readers:
        reader.join(30)
        reader.viewer.close()
    check("they are gone", wait_for(lambda: server.state()["viewers"] <= 1))


def check_limits(model: Path, folder: Path):
    server = Server(program, "--history", "10", "--pictures", "0", "--viewers", "2", SNOW, model=model, folder=folder)
    free_captions(server)
    wait_for(lambda: server.json("/api/history?limit=1") and server.json("/api/history?limit=1")[0]["id"] > 25)
    state = server.state()
    check("ten captions are kept", state["entries"] == 10 and len(server.json("/api/history?limit=200")) == 10)
    check("and no pictures", state["picture-bytes"] == 0)
    check("old ones are gone", server.json("/api/captions.json")[0]["id"] > 10)
    viewers = [Viewer(server) for _ in range(3)]
    while viewers[2].message():
        pass
    check("too many viewers are told so", viewers[2].reason == "too many viewers", viewers[2].closed)
    check("it ends well", server.stop() == 0, server.said)


def check_token(model: Path, folder: Path):
    server = Server(program, "--token", SNOW, model=model, folder=folder)
    cookie = f"palme-{server.port}={server.token}"
    check("the address has a token", re.fullmatch("[0-9a-f]{32}", server.token or ""))
    for headers in (
        *({}, {"Cookie": cookie[:-1]}, {"Cookie": cookie + "0"}, {"Cookie": f"palme-{server.port}="}),
        *(
            {"Authorization": "Bearer "},
            {"Authorization": "Bearer " + "0" * 32},
            {"Authorization": f"Basic {server.token}"},
        ),
    ):
        for path in ("/", "/app.js", "/api/state", f"/api/state?token={server.token}", "/?token=0"):
            status = server.ask(path, headers=headers)[0]
            check(f"{path[:12]} without the token", status == 401, status, headers)
        check("no change, either", server.ask("/api/sources/0", "POST", {}, headers)[0] == 401)
        check("no video, either", Viewer(server, **headers).status == 401)
    status, headers, _ = server.ask(f"/?token={server.token}")
    check(
        "the address gives a cookie", status == 303 and headers["Location"].endswith("/"), status, headers["Location"]
    )
    check(
        "that scripts and other sites do not get",
        all(w in headers["Set-Cookie"] for w in (cookie, "HttpOnly", "SameSite=Strict")),
    )
    check("with the cookie", server.ask("/api/state", headers={"Cookie": f"x=y; {cookie}"})[0] == 200)
    check("as bearer", server.ask("/api/state", headers={"Authorization": f"Bearer {server.token}"})[0] == 200)
    check("live", Viewer(server, Cookie=cookie).status == 101)
    check("it ends well", server.stop() == 0, server.said)


def check_vanished(model: Path, folder: Path):
    short = SNOW.replace("is-live=true", "is-live=true num-buffers=8")
    server = Server(program, f"door={short}", f"yard={SNOW}", model=model, folder=folder)
    free_captions(server, 1)
    check(
        "a source that is gone says so", wait_for(lambda: "Next attempt in" in server.state()["sources"][0]["message"])
    )
    said = wait_for(lambda: any(line.startswith("palme-web: door: ") for line in server.said))
    check("and on the terminal", said, server.said)
    check("it comes back by itself", wait_for(lambda: server.state()["sources"][0]["attempts"] >= 2))
    newest = server.json("/api/history?source=1&limit=1")
    check("the other one goes on", wait_for(lambda: server.json("/api/history?source=1&limit=1") != newest))
    check("names", [s["name"] for s in server.state()["sources"]] == ["door", "yard"])
    check("it ends well", server.stop() == 0, server.said)
    secret = Server(program, "rtsp://user:secret@127.0.0.1:9/x", model=model, folder=folder)
    wait_for(lambda: secret.state()["sources"][0]["message"])
    check("no password is shown", "secret" not in secret.ask("/api/state")[2].decode() + "".join(secret.said))
    secret.stop()


def check_start(model: Path, folder: Path):
    for words, reason in (
        ([], "which source"),
        (["/no/such.mp4"], "/no/such.mp4"),
        (["pipeline:nosuchelement"], "nosuchelement"),
        (["--models", "/no/such", "test"], "--models /no/such"),
        (["--listen", "example.com", "test"], "--listen example.com"),
        (["--listen", "203.0.113.1", "test"], "203.0.113.1"),
        (["--rate", "0", "test"], "--rate"),
        (["--interval", "-1", "test"], "--interval"),
    ):
        try:
            Server(program, *words, model=model, folder=folder).stop()
            check(f"{words} starts", False)
        except RuntimeError as error:
            check(f"{words} is told", reason in str(error), error)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="web-api-") as name:
        folder = Path(name)
        models = write_models(folder)
        model = models / "a.safetensors"
        empty = folder / "empty"
        empty.mkdir()
        check_start(model, empty)
        server = Server(program, "--models", str(models), SNOW, model=model, folder=empty)
        for part in (
            *(check_files, check_parameters, check_changes, check_strangers, check_history),
            *(check_viewers, check_models, check_pause, check_floods),
        ):
            part(server)
        check("no file is open for writing", not server.written_files(), server.written_files())
        check("and none was made where it runs, at home or where temporary files go", not list(empty.iterdir()))
        check("it ends well", server.stop() == 0, server.said)
        check_limits(model, empty)
        check_token(model, empty)
        check_vanished(model, empty)
    return check.end()


if __name__ == "__main__":
    sys.exit(main())
