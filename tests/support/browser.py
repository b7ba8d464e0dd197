# SPDX-License-Identifier: LGPL-2.1-or-later
"""Drives a headless Chromium by its DevTools protocol, over pipes: no port, and nothing but Python's own library.

    browser = Browser()
    page = browser.page("http://127.0.0.1:8080/")
    page.click("#pause")

A page keeps what it asked for over the network (`requests`) and what went wrong in it (`problems`).
"""

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

TIMEOUT = 60.0  # seconds, against hanging alone


def chromium() -> str | None:
    """The program, or None where there is none."""
    return next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)


class Browser:
    def __init__(self, *flags: str):
        self.folder = tempfile.mkdtemp(prefix="browser-")
        ours, theirs = os.pipe(), os.pipe()  # what we write, what it writes
        # It reads commands from descriptor 3 and answers on 4.
        command = [
            *("sh", "-c", f'exec "$@" 3<&{ours[0]} 4>&{theirs[1]}', "sh", chromium(), "--headless=new", "--no-sandbox"),
            *("--remote-debugging-pipe", f"--user-data-dir={self.folder}", "--no-first-run", "--disable-gpu"),
            *("--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"),
            *("--autoplay-policy=no-user-gesture-required", "--mute-audio", "--hide-scrollbars", *flags, "about:blank"),
        ]
        self.log = open(Path(self.folder) / "log", "wb")  # noqa: SIM115 - closed in close()
        self.process = subprocess.Popen(
            command,
            pass_fds=(ours[0], theirs[1]),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self.write_fd, self.read_fd = ours[1], theirs[0]
        os.set_blocking(self.read_fd, False)
        self.buffer, self.events, self.number, self.pages = b"", [], 0, {}

    def close(self):
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)  # it has a process group of its own
        self.process.wait()
        for fd in (self.write_fd, self.read_fd):
            os.close(fd)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def read(self) -> dict | None:
        """The next message, or None if there is none yet."""
        while b"\0" not in self.buffer:
            try:
                got = os.read(self.read_fd, 1 << 20)
            except BlockingIOError:
                return None
            if not got:
                raise RuntimeError("chromium has ended: " + (Path(self.folder) / "log").read_text(errors="replace"))
            self.buffer += got
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def pump(self, seconds: float = 0.0):
        """Hands events to their pages for so long."""
        until = time.monotonic() + seconds
        while True:
            message = self.read()
            if message:
                self.note(message)
            elif time.monotonic() >= until:
                return
            else:
                time.sleep(0.01)

    def note(self, message: dict):
        page = self.pages.get(message.get("sessionId"))
        if page and "method" in message:
            page.note(message["method"], message["params"])

    def send(self, method: str, session: str | None = None, **params) -> dict:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.write_fd, data) :]
        until = time.monotonic() + TIMEOUT
        while time.monotonic() < until:
            answer = self.read()
            if answer is None:
                time.sleep(0.005)
            elif answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            else:
                self.note(answer)
        raise RuntimeError(f"{method}: chromium does not answer")

    def page(
        self, address: str, width: int = 1280, height: int = 900, dark: bool = False, phone: bool = False
    ) -> "Page":
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session)
        for domain in ("Page", "Network", "Runtime", "Log"):
            page.send(f"{domain}.enable")
        page.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        page.scheme(dark)
        page.send("Page.navigate", url=address)
        return page


class Page:
    def __init__(self, browser: Browser, session: str):
        self.browser, self.session = browser, session
        self.requests: list[str] = []
        self.problems: list[str] = []

    def note(self, method: str, params: dict):
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requests.append(params["url"])
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(params["entry"]["text"] + " " + params["entry"].get("url", ""))

    def send(self, method: str, **params) -> dict:
        return self.browser.send(method, self.session, **params)

    def scheme(self, dark: bool):
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[feature])

    def js(self, expression: str):
        """The value of an expression; of a promise, when it is there."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    def wait(self, expression: str, seconds: float = TIMEOUT):
        """Until the expression is true; its value."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            value = self.js(expression)
            if value:
                return value
            self.browser.pump(0.05)
        raise RuntimeError(f"it did not become true: {expression}")

    def text(self, selector: str) -> str:
        return self.js(f"document.querySelector({json.dumps(selector)}).textContent")

    def where(self, selector: str) -> tuple[float, float]:
        """The middle of an element that is on the screen, where nothing covers it."""
        found = self.wait(f"""(() => {{
            const e = document.querySelector({json.dumps(selector)});
            if (!e) return null;
            e.scrollIntoView({{block: "center"}});
            const b = e.getBoundingClientRect(), x = b.left + b.width / 2, y = b.top + b.height / 2;
            const top = document.elementFromPoint(x, y);
            return b.width && top && (e === top || e.contains(top) || top.contains(e)) ? [x, y] : null;
        }})()""")
        return tuple(found)

    def click(self, selector: str):
        self.click_at(*self.where(selector))

    def click_at(self, x: float, y: float):
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str):
        self.send("Input.insertText", text=text)

    def key(self, key: str, code: int, modifiers: int = 0):
        common = dict(key=key, code=key, windowsVirtualKeyCode=code, modifiers=modifiers)
        self.send("Input.dispatchKeyEvent", type="rawKeyDown", **common)
        if key == "Enter":
            self.send("Input.dispatchKeyEvent", type="char", text="\r", **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def area(self, whole: bool) -> dict:
        if not whole:
            return {}
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": dict(x=0, y=0, width=size["width"], height=size["height"], scale=1)}

    def screenshot(self, path: str, whole: bool = False):
        """A PNG, of what is on the screen or of the whole page."""
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self.area(whole))[
            "data"
        ]
        Path(path).write_bytes(base64.b64decode(data))
