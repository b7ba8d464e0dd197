# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files that one process of a machine holds, by a lock that the kernel gives free when it ends, in whatever way."""

import contextlib
import fcntl
import os
import time


class Lock:
    """A file that this process holds until remove(), close(), or its end. Raises BlockingIOError where another holds
    it, and OSError where the file cannot be made."""

    def __init__(self, path):
        self.path = path
        while True:
            self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The one who had it may have deleted the file in between.
                if os.path.exists(path) and os.path.samestat(os.fstat(self.file), os.stat(path)):
                    return
            except BlockingIOError:
                os.close(self.file)
                raise
            os.close(self.file)

    def remove(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.close()

    def close(self):
        """Gives it free, and leaves the file. May be called twice."""
        if self.file is not None:
            os.close(self.file)
        self.file = None


def wait_for(path, seconds=60):
    """A Lock, as soon as its holder has ended. Raises TimeoutError."""
    end = time.monotonic() + seconds
    os.makedirs(os.path.dirname(path), exist_ok=True)
    while True:
        try:
            return Lock(path)
        except BlockingIOError:
            if time.monotonic() > end:
                raise TimeoutError(f"{path}: another process has this lock") from None
            time.sleep(0.1)
