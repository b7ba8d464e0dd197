# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Ray cluster of one to three nodes on this machine, and what can happen to its nodes.

A node is a network namespace with one veth into a switch (a bridge in a namespace of its own, so that nothing of this
machine's network is touched), one Ray node in it, started again when it ends as systemd or Kubernetes would do, and two
folders that every node sees under the same path but has to itself: `ray`, Ray's temporary files, and `spool`, a small
tmpfs. `shared` is one small tmpfs for all of them, in the place of a network file system. Node 0 is the head.

    with Nodes(3) as nodes:
        driver = nodes.popen(0, [sys.executable, "driver.py"])     # RAY_ADDRESS is set for it
        nodes.kill_worker(1, "Captioner")
        nodes.kill_node(2); nodes.restart_node(2)
        nodes.cut(1, seconds=10)
        nodes.fill(nodes.shared); nodes.free(nodes.shared)

What is not simulated: a machine's own clock, its own kernel, a slow link. All nodes share this machine's cores; `cores`
holds each of them to a share by a control group, where there is one.

Nothing is left behind: leaving the `with` block removes it all, and so does a second process that notices when this one
is gone without having done so.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PREFIX = "palme"
#: How soon Ray takes a silent node for dead: after `threshold` checks in a row that had no answer within `timeout`.
#: By default it takes half a minute, too long for cameras that are to be back within ten seconds.
QUICK = {
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
#: Ray gives its workers the lowest rank but four, so that on a busy machine they do not even start in time.
NICENESS = {"RAY_worker_niceness": "0"}
#: The least that Ray accepts; the tests hand over little more than captions.
OBJECT_STORE_BYTES = 80_000_000
PORT = 6379
#: Several clusters of one process have different names.
_serial = itertools.count()


class Unavailable(Exception):
    """What this machine lacks for a cluster of namespaces: the reason to skip."""


def why_not() -> str | None:
    """What is missing here, or None. It makes a namespace to find out, as no list of privileges is reliable."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces take root"
    for tool in ("ip", "mount", "umount"):
        if not shutil.which(tool):
            return f"no {tool} here (Debian: iproute2, mount)"
    try:
        import ray  # noqa: F401
    except ImportError as error:
        return f"no Ray in {sys.executable} ({error}); examples/fleet/setup.sh makes an environment with it"
    name = f"{PREFIX}-{os.getpid()}-probe"
    try:
        _ip("netns", "add", name)
        _ip("-n", name, "link", "add", "probe0", "type", "veth", "peer", "name", "probe1")
        _ip("-n", name, "link", "add", "probe2", "type", "bridge")
        with tempfile.TemporaryDirectory() as folder:
            _run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder)
            _run("umount", folder)
    except subprocess.CalledProcessError as error:
        return f"no network namespaces, veth and tmpfs here ({error.stderr.strip()})"
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return None


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _ip(*words: str) -> str:
    return _run("ip", *words)


# ---- Leaving nothing behind -------------------------------------------------------------------------------------


def _namespaces(owner: str) -> list[str]:
    folder = Path("/run/netns")
    return sorted(path.name for path in folder.glob(f"{PREFIX}-{owner}-*")) if folder.is_dir() else []


def _pids(namespace: str) -> list[int]:
    said = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False).stdout
    return [int(word) for word in said.split()]


def _kill_all(namespace: str) -> None:
    """Kills every process of a namespace. In rounds, since a process may start another one meanwhile."""
    end = time.monotonic() + 20
    while (pids := _pids(namespace)) and time.monotonic() < end:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def remove(owner: str, base: str) -> None:
    """Removes all of a cluster: processes, namespaces, mounts, folders, control groups."""
    names = _namespaces(owner)
    for name in names:
        _kill_all(name)
    for name in names:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        if line.split()[1].startswith(base + "/"):
            subprocess.run(["umount", "-l", line.split()[1]], capture_output=True, check=False)
    for group in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")):
        for own in group.glob(f"{PREFIX}-{owner}-*"):
            with contextlib.suppress(OSError):
                own.rmdir()
    shutil.rmtree(base, ignore_errors=True)


def _guard(owner: str, base: str) -> None:
    """The second process: standard input ends when the first one does, in whatever way."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    remove(owner, base)


# ---- The cluster ------------------------------------------------------------------------------------------------


class Nodes:
    """One to three Ray nodes. `cpus` is what each tells Ray it has, `cores` the share of this machine that it may use.

    `env` goes to Ray and to what popen() starts. Raises Unavailable where why_not() has a reason, and TimeoutError
    where Ray does not come up.
    """

    def __init__(
        self,
        count: int,
        *,
        cpus: int = 1,
        cores: float | None = None,
        spool_mb: int = 64,
        shared_mb: int = 64,
        env: dict[str, str] | None = None,
        ray_options: tuple[str, ...] = (),
    ):
        if not 1 <= count <= 3:
            raise ValueError(f"one to three nodes, not {count}")
        if reason := why_not():
            raise Unavailable(reason)
        self.count, self.cpus, self.cores, self.ray_options = count, cpus, cores, ray_options
        self.owner = f"{os.getpid()}-{next(_serial)}"
        # Unix sockets have short paths: below the temporary folder Ray adds 60 bytes of 107.
        self.base = Path(tempfile.mkdtemp(prefix="pf", dir="/tmp"))
        self.spool, self.ray, self.shared = self.base / "spool", self.base / "ray", self.base / "shared"
        self.sizes = {self.shared: shared_mb} | {self.spool_of(i): spool_mb for i in range(count)}
        self.address = f"{self.ip(0)}:{PORT}"
        self.env = {
            key: value for key, value in os.environ.items() if not key.startswith("RAY_") and not key.endswith("_proxy")
        }
        self.env |= (
            QUICK
            | NICENESS
            | {
                "RAY_ADDRESS": self.address,
                # Nobody else reaches these networks. By default Ray writes a token into the user's home, and from then
                # on refuses those without it.
                "RAY_AUTH_MODE": "disabled",
                "RAY_USAGE_STATS_ENABLED": "0",
                "RAY_DISABLE_IMPORT_WARNING": "1",
                "PYTHONUNBUFFERED": "1",
            }
        )
        self.env |= env or {}
        self._guard = None
        #: Whether `cores` could be enforced; without control groups it cannot.
        self.limited = False

    def name(self, node: int | str) -> str:
        return f"{PREFIX}-{self.owner}-{node}"

    def ip(self, node: int) -> str:
        return f"10.77.0.{node + 1}"

    def own(self, node: int) -> Path:
        """The folder with a node's logs and with what it sees as `ray` and `spool`."""
        return self.base / f"node{node}"

    def spool_of(self, node: int) -> Path:
        """A node's own spool, seen from outside; the node itself sees it as `spool`."""
        return self.own(node) / "spool"

    def __enter__(self) -> Nodes:
        self._guard = subprocess.Popen(
            [sys.executable, __file__, "--guard", self.owner, str(self.base)],
            stdin=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            self._build()
            self.start_node(0)
            self.wait_for(1)
            for node in range(1, self.count):
                self.start_node(node)
            self.wait_for(self.count)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error) -> None:
        self.close()

    def close(self) -> None:
        """Removes everything; may be called twice."""
        if self._guard:
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None

    def _build(self) -> None:
        for folder in (self.spool, self.ray, self.shared):
            folder.mkdir()
        switch = self.name("switch")
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for node in range(self.count):
            name = self.name(node)
            _ip("netns", "add", name)
            # Both ends are made inside of namespaces, so there is no name that another test could have, too.
            _ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"port{node}", "netns", switch)
            _ip("-n", switch, "link", "set", f"port{node}", "master", "bridge", "up")
            _ip("-n", name, "address", "add", f"{self.ip(node)}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
            (self.own(node) / "ray").mkdir(parents=True)
            self.spool_of(node).mkdir()
        for folder, megabytes in self.sizes.items():
            _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
        if self.cores is not None:
            self.limited = all(self._limit(node) for node in range(self.count))

    def _limit(self, node: int) -> bool:
        """Holds a node to its share of the processors; False where no control group can be made."""
        period = 100_000
        quota = int(self.cores * period)
        for parent, files in (
            ("/sys/fs/cgroup/cpu", {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": str(quota)}),
            ("/sys/fs/cgroup", {"cpu.max": f"{quota} {period}"}),
        ):
            group = Path(parent) / self.name(node)
            try:
                group.mkdir()
                for file, value in files.items():
                    (group / file).write_text(value)
                return True
            except OSError:
                with contextlib.suppress(OSError):
                    group.rmdir()
        return False

    # ---- Processes in a node

    def popen(self, node: int, command: list[str], *, limited: bool = True, **options) -> subprocess.Popen:
        """Starts a command in a node: its network, its `ray` and `spool`; if `limited`, its share of the processors."""
        groups = [Path(parent) / self.name(node) for parent in ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup")]
        # Before `ip netns exec`, which gives its process a /sys without control groups, and its own mounts.
        enter = "".join(f"echo $$ >{group}/cgroup.procs; " for group in groups if limited and group.is_dir())
        enter += 'exec "$@"'
        own = self.own(node)
        mounts = f'mount --bind {own}/ray {self.ray} && mount --bind {own}/spool {self.spool} && exec "$@"'
        options.setdefault("env", self.env)
        inside = ["ip", "netns", "exec", self.name(node), "sh", "-c", mounts, "sh", *command]
        return subprocess.Popen(["sh", "-c", enter, "sh", *inside], **options)

    def run(self, node: int, command: list[str], timeout: float = 120, **options) -> str:
        """A command in a node to its end; what it printed. Raises CalledProcessError and TimeoutExpired."""
        with self.popen(node, command, stdout=subprocess.PIPE, text=True, **options) as process:
            try:
                said, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command, said)
        return said

    def pids(self, node: int) -> list[int]:
        return _pids(self.name(node))

    def workers(self, node: int, title: str = "") -> list[int]:
        """The processes of a node's actors and tasks: Ray calls them "ray::Class", "ray::Class.method", "ray::task".

        `title` is how the name begins behind "ray::".
        """
        others = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
        found = []
        for pid in self.pids(node):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                if words.startswith("ray::" + title) and not words.startswith(others):
                    found.append(pid)
        return found

    def cpu_seconds(self, node: int, title: str | None = None) -> float:
        """The processor time that a node's living processes have had; with `title`, its workers of that name alone."""
        ticks = 0
        for pid in self.pids(node) if title is None else self.workers(node, title):
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    # ---- Ray

    def start_node(self, node: int) -> None:
        """Starts Ray in a node, under a loop that starts it again when it ends. Does not wait for it."""
        # The command `ray` of the same environment, by its module: a moved environment's scripts have the wrong path.
        words = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats",
            "--node-ip-address", self.ip(node), "--num-cpus", str(self.cpus), "--resources",
            json.dumps({f"node{node}": 1000}), "--object-store-memory", str(OBJECT_STORE_BYTES),
            "--temp-dir", str(self.ray),
        ]  # fmt: skip
        if node == 0:
            words += ["--head", "--port", str(PORT), "--include-dashboard", "false"]
        else:
            words += ["--address", self.address]
        log = (self.own(node) / "ray.log").open("ab")
        loop = 'while :; do "$@"; sleep 0.5; done'
        self.popen(
            node, ["sh", "-c", loop, "sh", *words, *self.ray_options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        log.close()

    def alive(self) -> list[int]:
        """The nodes that the head takes for alive."""
        asked = (
            "import sys\nfrom ray._raylet import GcsClient\n"
            "for node in GcsClient(address=sys.argv[1]).get_all_node_info(timeout=5).values():\n"
            "    if node.state == 0: print(node.node_manager_address)\n"
        )
        try:
            said = self.run(
                0, [sys.executable, "-c", asked, self.address], timeout=30, limited=False, stderr=subprocess.DEVNULL
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return []
        addresses = set(said.split())
        return [node for node in range(self.count) if self.ip(node) in addresses]

    def wait_for(self, count: int, seconds: float = 120) -> None:
        """Waits until so many nodes are alive."""
        end = time.monotonic() + seconds
        while len(self.alive()) != count:
            if time.monotonic() > end:
                logs = "\n".join((self.own(node) / "ray.log").read_text()[-1000:] for node in range(self.count)
                                 if (self.own(node) / "ray.log").exists())  # fmt: skip
                raise TimeoutError(f"Ray has {self.alive()} instead of {count} nodes after {seconds:.0f} s:\n{logs}")
            time.sleep(0.3)

    # ---- What can happen

    def kill_worker(self, node: int, worker: str | int) -> int:
        """SIGKILL for the process of an actor or task, by its number or as workers() finds it by its title; its number.

        Raises LookupError if there is none. While a call has a name of its own, that is the actor's title.
        """
        found = [pid for pid in self.pids(node) if pid == worker] or self.workers(node, str(worker))
        if not found:
            raise LookupError(f"no worker {worker!r} on node {node}")
        os.kill(found[0], signal.SIGKILL)
        return found[0]

    def kill_node(self, node: int) -> None:
        """Kills all processes of a node at once, as if it had lost its power; the link stays."""
        _kill_all(self.name(node))

    def restart_node(self, node: int) -> None:
        """Starts Ray in a node whose processes were killed; the spool is as it was."""
        self.start_node(node)

    def link(self, node: int, up: bool) -> None:
        """The switch's end of a node's cable: the node and all others see the carrier go and come."""
        _ip("-n", self.name("switch"), "link", "set", f"port{node}", "up" if up else "down")

    def cut(self, node: int, seconds: float) -> None:
        """Cuts the link of a node for so long."""
        self.link(node, False)
        time.sleep(seconds)
        self.link(node, True)

    def fill(self, folder: Path) -> None:
        """Leaves no byte free on one of the small disks: `shared`, or spool_of() a node."""
        if folder not in self.sizes:
            raise ValueError(f"{folder} is no disk of these nodes")
        with (folder / ".filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(65536)):
                pass

    def free(self, folder: Path) -> None:
        """Takes away what fill() wrote."""
        (folder / ".filler").unlink(missing_ok=True)


# ---- The table that tests/fleet.sh prints ------------------------------------------------------------------------


def row(fault: str, lost: int | str, doubled: int | str, seconds: float | str) -> None:
    """One line of the table: to the file that PALME_FLEET_TABLE names, or to standard output."""
    seconds = seconds if isinstance(seconds, str) else f"{seconds:.1f}"
    line = f"{fault} | {lost} | {doubled} | {seconds}\n"
    if path := os.environ.get("PALME_FLEET_TABLE"):
        with open(path, "a") as file:
            file.write(line)
    else:
        print(line, end="")


if __name__ == "__main__" and sys.argv[1:2] == ["--guard"]:
    _guard(sys.argv[2], sys.argv[3])
