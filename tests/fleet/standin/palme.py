# SPDX-License-Identifier: LGPL-2.1-or-later
"""A stand-in for the package palme: captions that say how large a picture is, after as long as a test wants.

While the file that PALME_STANDIN_SLOW names exists, a caption takes PALME_STANDIN_SECONDS; without it a process makes
three captions, and waits with the next one until the file is gone. A picture whose first pixel is red ends the process,
as a fault in a decoder would; so does a model whose content is "deadly".
"""

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace


class Picture:
    def __init__(self, data, *, width, height, format="rgb", stride=None):
        assert len(data) == width * height * len(format), "rows without gaps"
        self.data, self.width, self.height = bytes(data[:4]), width, height


class Model:
    def __init__(self, path, *, threads=0, level=None, precision=None, verify=False):
        content = Path(path).read_bytes()
        assert content, "a model file with content"
        if content == b"deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        self.min_score = -2.0

    def session(self, **options):
        return Session()


class Session:
    made = 0

    def caption(self, picture, prompt=None):
        if picture.data[0] > 240 and picture.data[1] < 16 and picture.data[2] < 16:
            os.kill(os.getpid(), signal.SIGKILL)
        slow = os.environ.get("PALME_STANDIN_SLOW")
        seconds = os.environ.get("PALME_STANDIN_SECONDS")
        if slow and seconds and os.path.exists(slow):
            time.sleep(float(seconds))
        while slow and not seconds and Session.made >= 3 and os.path.exists(slow):
            time.sleep(0.05)
        Session.made += 1
        label = SimpleNamespace(name="picture", phrase="a picture", probability=0.5)
        text = f"{picture.width} by {picture.height} pixels"
        return SimpleNamespace(text=text, score=-1.0, confirmed=True, labels=[label])

    def cautious(self):
        return "a photo of a picture"
