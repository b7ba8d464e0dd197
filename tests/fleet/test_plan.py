# SPDX-License-Identifier: LGPL-2.1-or-later
"""examples/fleet/plan.py: its arithmetic by hand, its simulation beside queueing theory, and the program itself.

Where a simulated mean is compared with theory, the tolerance is 4.5 standard errors, which come from independent
repetitions: fewer than 1 of 10,000 right programs would fail, and the seeds are fixed. Each of these tests also asserts
that its standard error is small, so that a wrong formula cannot hide in it.
"""

import json
import math
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

FLEET = Path(__file__).resolve().parents[2] / "examples" / "fleet"
sys.path.insert(0, str(FLEET))

from planning import options, simulate, size  # noqa: E402

NEVER = simulate.Failures(math.inf, math.inf, 10, 600)


def is_mean(values, theory, most_error):
    """The mean of independent values is the theoretical one; their standard error is at most that share of it."""
    values = np.asarray(values)
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert error < most_error * theory
    assert abs(values.mean() - theory) < 4.5 * error, (values.mean(), theory, error)


# ---- Queues ----------------------------------------------------------------------------------------------------


def test_waiting_times_are_lindleys():
    rng = np.random.default_rng(3)
    arrivals, services = np.cumsum(rng.exponential(1, 500)), rng.exponential(0.9, 500)
    free, waits = 0.0, []
    for arrival, service in zip(arrivals, services, strict=True):
        begin = max(free, arrival)
        waits.append(begin - arrival)
        free = begin + service
    # Sums of 500 numbers up to 500, of 53 bits each.
    assert np.allclose(simulate.waiting_times(arrivals, services), waits, rtol=0, atol=500 * 500 * 2**-52)
    assert simulate.waiting_times(np.zeros(0), np.zeros(0)).shape == (0,)


@pytest.mark.parametrize("load", [0.3, 0.7])
@pytest.mark.parametrize("kind", ["M/D/1", "M/M/1", "M/G/1"])
def test_queues_wait_as_theory_says(kind, load):
    """Pollaczek and Khinchine: the mean wait is load * E[S^2] / (2 E[S] (1 - load))."""
    measured = np.array([0.8, 0.9, 1.0, 1.1, 3.0])
    drawn = {
        "M/D/1": lambda rng, n: np.ones(n),
        "M/M/1": lambda rng, n: rng.exponential(1, n),
        "M/G/1": lambda rng, n: measured[rng.integers(0, 5, n)],
    }[kind]
    mean, square = {"M/D/1": (1, 1), "M/M/1": (1, 2), "M/G/1": (measured.mean(), (measured**2).mean())}[kind]
    means = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        services = drawn(rng, 22000)
        waits = simulate.waiting_times(np.cumsum(rng.exponential(mean / load, 22000)), services)
        means.append(waits[2000:].mean())  # The queue was empty at first: 2000 are many times what it takes to forget.
    is_mean(means, load * square / (2 * mean * (1 - load)), 0.02)


def test_cameras_are_due_in_their_own_rhythm():
    assert simulate.due_times(np.array([3.0, 1.0]), 5.0, 2.0, 12.0).tolist() == [3, 6, 8, 11]
    assert simulate.due_times(np.array([1.0]), 5.0, 2.0, 2.0).tolist() == []


def test_percentiles_are_those_of_the_numbers():
    waits = simulate.Waits()
    for part in np.array_split(np.arange(1000) / 100, 7):
        waits.add(part)
    assert waits.percentile(50) == pytest.approx(5.0, abs=0.011)
    assert waits.percentile(99) == pytest.approx(9.9, abs=0.011)
    assert waits.summary()["mean"] == pytest.approx(4.995)


# ---- Cameras ---------------------------------------------------------------------------------------------------


def day(**changed):
    usual = dict(
        cameras=400, nodes=5, cores=4, interval=5.0, background=0.01, still=0.0, failures=NEVER, late_after=5.0,
        length=20000.0, seed=1,
    )  # fmt: skip
    return simulate.simulate_cameras(changed.pop("services", np.array([0.001])), **(usual | changed))


def test_without_failures_every_caption_is_made():
    found = day()
    assert found["due"] == 400 * 20000 / 5 == found["captions"]
    assert found["lost"] == found["late"] == found["node_failures"] == found["process_failures"] == 0


def test_one_camera_on_a_core_never_waits_and_two_do_at_times():
    assert day(cameras=20, services=np.array([0.5]))["waiting_seconds"]["mean"] == 0
    # Of two periodic cameras at a random distance one waits for what the other has left: S^2 / interval / 2 on average.
    services, means = np.array([0.5]), []
    for seed in range(40):
        found = day(cameras=600, nodes=75, services=services, background=0.0, length=50.0, seed=seed)
        means.append(found["waiting_seconds"]["mean"])
    is_mean(means, 0.5**2 / 5 / 2, 0.03)


def test_decoding_takes_from_captions():
    assert day(cameras=20, services=np.array([2.0]), background=0.5, late_after=3.9)["late_share"] == 1
    assert day(cameras=20, services=np.array([2.0]), background=0.5, late_after=4.1)["late_share"] == 0
    with pytest.raises(ValueError, match="without captions"):
        day(cameras=40, background=0.5)


def test_still_scenes_take_nothing():
    found = day(still=0.75)
    n = found["due"]
    assert abs(found["without_work"] - 0.75 * n) < 4.5 * math.sqrt(n * 0.75 * 0.25)
    assert found["captions"] + found["without_work"] == n


def test_a_process_that_fails_loses_its_time_to_recover():
    """In the long run the share of time that it is down is recovery / (mtbf + recovery)."""
    failures = simulate.Failures(1000, math.inf, 10, 600)
    shares = [day(failures=failures, length=50000.0, background=0.0, seed=seed)["lost_share"] for seed in range(40)]
    # It is up at first, which is worth less than one recovery of the 50,000 s; and what a core is at work on is lost as
    # well, 20 * 0.001 / 5 captions beside the 40 of a recovery. Both are below 0.02 %, and the standard error is 0.5 %.
    is_mean(shares, 10 / 1010, 0.02)


def test_cameras_of_a_failed_node_go_to_others():
    failures = simulate.Failures(math.inf, 4000, 10, 600)
    several, alone = day(failures=failures, seed=5), day(failures=failures, seed=5, nodes=1, cores=20)
    assert several["node_failures"] > 10 and alone["node_failures"] > 1
    each = 400 / 5 / 5  # captions due a second on a node
    # 10 s each; where a node that took them fails as well, as much again for those.
    assert 0.9 <= several["lost"] / (several["node_failures"] * each * 10) <= 1.5
    assert alone["lost"] > 0.5 * alone["node_failures"] * 600 * 400 / 5


# ---- Archives --------------------------------------------------------------------------------------------------


def archive(**changed):
    usual = dict(
        photos=1e5, shard=100, nodes=2, cores=4, per_shard=0.0, slow_share=0.0, slow_factor=1.0, failures=NEVER, seed=1
    )
    return simulate.simulate_archive(changed.pop("services", np.array([0.01])), **(usual | changed))


def test_an_archive_without_failures_takes_its_work_by_the_cores():
    found = archive(photos=100 * 1001)
    assert found["seconds"] == pytest.approx(math.ceil(1001 / 8) * 1.0)
    assert found["ideal_days"] * 86400 == pytest.approx(1001 / 8)
    assert found["shards_again"] == found["work_again_share"] == 0
    assert archive(per_shard=0.5)["seconds"] == pytest.approx(1000 / 8 * 1.5)


def test_slow_nodes_do_less():
    # One of two nodes takes twice as long: together they do the work of 1.5. The last shard may begin late.
    found = archive(slow_share=0.5, slow_factor=2.0)
    assert 1000 / 4 / 1.5 <= found["seconds"] <= 1000 / 4 / 1.5 + 2


def test_a_shard_begins_again_as_theory_says():
    """With failures at the rate r a shard of d seconds takes one core (e^(r d) - 1) (1 / r + recovery)."""
    failures = simulate.Failures(3.0, math.inf, 0.25, 600)
    found = [
        archive(photos=100 * 200, nodes=1, cores=1, failures=failures, seed=seed)["seconds"] / 200 for seed in range(60)
    ]
    is_mean(found, (math.exp(1 / 3) - 1) * (3.0 + 0.25), 0.02)


def test_no_shard_is_forgotten_when_nodes_fail():
    found = archive(photos=1e6, failures=simulate.Failures(500, 300, 10, 60), seed=2)
    assert found["shards_again"] > 30
    # The work itself, the work that is done again, and the time when cores are away.
    assert found["seconds"] > found["ideal_days"] * 86400 * (1 + found["work_again_share"])


# ---- Sizing ----------------------------------------------------------------------------------------------------

COSTS = size.Costs(
    service=0.04, caption=0.04, decode=0.09, element=0.01, stream_bytes=2**24, process_bytes=2**26, read=0.01
)


def test_cameras_by_hand():
    node = size.Node(cores=16, memory=2**35, utilisation=0.7, reserve=2**32)
    plan = size.size_cameras(COSTS, node, cameras=500, interval=4, still=0, spare=1)
    # 0.09 + 0.01 + 0.04 / 4 = 0.11 of a core; 16 * 0.7 / 0.11 = 101.8; 500 / 101 = 4.95
    assert (plan["cameras_per_node"], plan["nodes"], plan["nodes_with_spare"]) == (101, 5, 6)
    assert plan["limit"] == "processor time"
    # (32 - 4 - 1) GiB / 16 MiB
    assert plan["cameras_per_node_by_memory"] == 1728
    small = size.Node(cores=16, memory=2**31, utilisation=0.7, reserve=2**29)
    plan = size.size_cameras(COSTS, small, cameras=500, interval=4, still=0, spare=0)
    assert (plan["limit"], plan["cameras_per_node"], plan["nodes"]) == ("memory", 32, 16)
    with pytest.raises(size.Problem, match="memory"):
        size.size_cameras(COSTS, size.Node(16, 2**30, 0.7, 2**29), 500, 4, 0, 0)
    with pytest.raises(size.Problem, match="processor time"):
        size.size_cameras(COSTS, size.Node(1, 2**35, 0.1, 2**29), 500, 4, 0, 0)


def test_an_archive_by_hand():
    node = size.Node(cores=10, memory=2**35, utilisation=0.7, reserve=2**32)
    # (0.04 + 0.01) * 1.2 = 0.06 s; 86400 * 10 / 0.06 = 14.4 million a day and node
    plan = size.size_archive(COSTS, node, photos=100e6, days=3, overhead=0.2)
    assert plan["nodes"] == 3 and plan["days"] == pytest.approx(100 / 14.4 / 3)


@pytest.mark.parametrize("text, value", [("32GiB", 2**35), ("512M", 2**29), ("1.5 GB", 3 * 2**29), ("7", 7)])
def test_sizes_are_read(text, value):
    assert options.memory(text) == value


@pytest.mark.parametrize("text, value", [("10", 10), ("5min", 300), ("30d", 2592000), ("never", math.inf)])
def test_times_are_read(text, value):
    assert options.duration(text) == value


# ---- The program -----------------------------------------------------------------------------------------------


def plan(*words, status=0):
    done = subprocess.run(
        [sys.executable, str(FLEET / "plan.py"), *map(str, words)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == status, done.stderr
    return done


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What plan.py measures on this machine, in a short run."""
    path = tmp_path_factory.mktemp("plan") / "measured.json"
    plan("--save", path, "--rounds", 2, "--seconds", 2, "--repeats", 1, "--size", "640x360", "--json")
    return path


def test_it_measures(measured):
    found = json.loads(measured.read_text())
    captions, streams = found["captions"], found["streams"]
    assert captions["captions_per_second_per_core"] > 0
    assert captions["slowest_round"] <= captions["captions_per_second_per_core"] <= captions["fastest_round"]
    assert len(captions["service_seconds"]) == 8 * 2 * captions["cores_busy"]
    # A stream has at least a frame in its decoder, and no process is smaller than the weights, 16 MB as int8.
    assert streams["stream_bytes"] > 640 * 360 * 1.5
    assert streams["process_bytes"] > 2**24
    assert 0 < streams["decode_cpu"] < 1 and 0 < streams["caption_cpu"] < 1


def test_a_plan_from_the_measurement(measured):
    said = json.loads(
        plan(
            "--measured", measured, "--size", "640x360", "--cameras", 500, "--interval", 5, "--photos", "1e9", "--json"
        ).stdout
    )
    found, made = said["measured"], said["plan"]["cameras"]
    streams = found["streams"]
    each = streams["decode_cpu"] + streams["element_cpu"] + streams["caption_cpu"] / 5
    assert made["cpu_per_camera"] == pytest.approx(each)
    assert made["nodes"] == math.ceil(500 / math.floor(16 * 0.7 / each))
    assert any("H.264 of 640x360" in line for line in said["assumptions"])
    raw = json.loads(plan("--measured", measured, "--size", "640x360", "--decode", "none", "--json").stdout)
    assert raw["plan"]["cameras"]["cpu_decode"] == 0


def test_it_simulates_and_draws(measured, tmp_path):
    picture = tmp_path / "fleet.svg"
    said = plan(
        "--measured", measured, "--size", "640x360", "--cameras", 60, "--interval", 30, "--photos", "1e6",
        "--plot", picture, "--process-mtbf", "1h", "--hours", 2,
    ).stdout  # fmt: skip
    assert "Simulated: 60 cameras on" in said and "Simulated: 1e+06 photos on" in said and "guesses" in said
    words = " ".join(ElementTree.parse(picture).getroot().itertext())
    for wanted in (
        "how long a due picture waits",
        "what failures cost",
        "Archive of 1,000,000 photos",
        "wait for a core",
    ):
        assert wanted in words


@pytest.mark.parametrize(
    "words, said",
    [
        (("--memory", "much"), "32GiB"),
        (("--utilisation", "2"), "utilisation"),
        (("--cameras", "1.5"), "whole number"),
        (("--size", "1x1"), "1280x720"),
        (("--repair", "5s"), "--recovery"),
    ],
)
def test_wrong_options_are_told(words, said):
    assert said in plan(*words, status=2).stderr


def test_wrong_files_are_told(tmp_path, measured):
    assert "no JPEGs" in plan("--photos-from", tmp_path, status=1).stderr
    (tmp_path / "other.json").write_text("{}")
    assert "other.json" in plan("--measured", tmp_path / "other.json", status=1).stderr
    assert "--size" in plan("--measured", measured, status=1).stderr
    assert "nothing.safetensors" in plan("--model", "nothing.safetensors", status=1).stderr
