# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starts palme-web for a test, and speaks HTTP and WebSocket with it."""

import atexit
import base64
import contextlib
import http.client
import json
import os
import re
import socket
import stat
import struct
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

TIMEOUT = 60.0  # seconds, against hanging alone
# A picture that changes all the time, so that no caption is kept for it.
SNOW = "pipeline:videotestsrc is-live=true pattern=snow ! video/x-raw,width=320,height=180,framerate=15/1"


class Checks:
    """Counts, and goes on after a failure."""

    def __init__(self):
        self.passed = self.failed = 0

    def __call__(self, name: str, fine: object, *said):
        if fine:
            self.passed += 1
        else:
            self.failed += 1
            print("FAILED:", name, *said, flush=True)

    def end(self) -> int:
        print(f"{self.passed} checks, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0


def wait_for(what, seconds: float = TIMEOUT):
    """Asks until the answer is true, and returns it; None when the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        answer = what()
        if answer:
            return answer
        time.sleep(0.05)
    return None


class Server:
    """A running palme-web. `said` is what it writes to stderr."""

    def __init__(self, program: str, *words: str, model: Path, folder: Path):
        env = dict(os.environ, PALME_MODEL=str(model), HOME=str(folder), TMPDIR=str(folder))
        self.process = subprocess.Popen(
            [program, "--port", "0", *words],
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        atexit.register(self.process.kill)  # should the test break off
        self.said: list[str] = []
        listener = threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True)
        listener.start()
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            self.process.wait(TIMEOUT)
            listener.join(TIMEOUT)
            raise RuntimeError("palme-web did not start: " + "".join(self.said))
        parts = urllib.parse.urlsplit(self.address)
        self.host, self.port = parts.hostname, parts.port
        self.token = urllib.parse.parse_qs(parts.query).get("token", [None])[0]

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(TIMEOUT)

    def ask(self, path: str, method: str = "GET", body=None, headers: dict | None = None):
        """Status, headers, bytes. A body that is not bytes is sent as JSON."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def json(self, path: str):
        status, _, body = self.ask(path)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {body!r}")
        return json.loads(body)

    def post(self, source: int, **change):
        status, _, body = self.ask(f"/api/sources/{source}", "POST", change)
        return status, json.loads(body)

    def state(self) -> dict:
        return self.json("/api/state")

    def raw(self, data: bytes) -> bytes:
        """What comes back to bytes that need not be HTTP, until the server closes or a second is over."""
        with socket.create_connection((self.host, self.port), timeout=TIMEOUT) as s:
            got = b""
            try:
                s.sendall(data)
                s.settimeout(1)
                while part := s.recv(65536):
                    got += part
            except OSError:
                pass
            return got

    def written_files(self) -> list[str]:
        """The files that it has open for writing. Those that have no name any more are not its own: GStreamer's
        library for vector code (ORC) has one, for the code that it makes."""
        found = []
        for fd in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                flags = int(
                    re.search(r"flags:\s*(\d+)", (fd.parent.parent / "fdinfo" / fd.name).read_text()).group(1), 8
                )
                name = os.readlink(fd)
                if stat.S_ISREG(fd.stat().st_mode) and flags & os.O_ACCMODE != os.O_RDONLY and "(deleted)" not in name:
                    found.append(name)
        return found

    def memory(self) -> int:
        """Bytes in memory, those of files aside; 0 with a sanitizer, which keeps what was freed."""
        if "libasan" in Path(f"/proc/{self.process.pid}/maps").read_text():
            return 0
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no RssAnon")


class Viewer:
    """A WebSocket to /live. Nothing is read or acknowledged but by `message` and `acknowledge`."""

    def __init__(self, server: Server, **headers: str):
        self.socket = socket.create_connection((server.host, server.port), timeout=TIMEOUT)
        fields = {
            "Host": f"{server.host}:{server.port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            **headers,
        }
        head = "GET /live HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n"
        self.socket.sendall(head.encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer and self.more():
            pass
        answer, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.status = int(answer.split()[1])
        self.closed = None  # the code

    def more(self) -> bool:
        got = self.socket.recv(1 << 16)
        self.buffer += got
        return bool(got)

    def take(self, n: int) -> bytes:
        while len(self.buffer) < n:
            if not self.more():
                raise ConnectionError("closed")
        part, self.buffer = self.buffer[:n], self.buffer[n:]
        return part

    def message(self):
        """The next text as an object, the next picture as (header, JPEG), or None when the server has closed."""
        while True:
            first, second = self.take(2)
            size = second & 127
            if size == 126:
                size = struct.unpack(">H", self.take(2))[0]
            elif size == 127:
                size = struct.unpack(">Q", self.take(8))[0]
            data = self.take(size)
            if first == 0x81:
                return json.loads(data)
            if first == 0x82:
                length = struct.unpack(">I", data[:4])[0]
                return json.loads(data[4 : 4 + length]), data[4 + length :]
            if first == 0x88:
                self.closed = struct.unpack(">H", data[:2])[0] if data else 1005
                self.reason = data[2:].decode()
                return None
            if first == 0x89:
                self.send(data, 0x8A)

    def send(self, data: bytes, kind: int = 0x81):
        mask = os.urandom(4)
        size = bytes([128 | len(data)]) if len(data) < 126 else bytes([254]) + struct.pack(">H", len(data))
        masked = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
        self.socket.sendall(bytes([kind]) + size + mask + masked)

    def tell(self, **what):
        self.send(json.dumps(what).encode())

    def acknowledge(self, message):
        self.tell(n=(message[0] if isinstance(message, tuple) else message)["n"])

    def close(self):
        self.socket.close()
