# SPDX-License-Identifier: LGPL-2.1-or-later
"""The leases of cameras.py, by a clock that stands still until the test moves it."""

import random
import sys
from pathlib import Path

import pytest

FLEET = Path(__file__).parents[2] / "examples" / "fleet"
sys.path.insert(0, str(FLEET))

from live import lease  # noqa: E402


class Clock:
    def __init__(self):
        self.time = 1000.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


def opened(clock, cameras, settle=12):
    table = lease.LeaseTable(4, settle, now=clock)
    table.configure(cameras)
    return table


class Process:
    """A holder as the program has it, without the cameras."""

    def __init__(self, name, clock, capacity=64):
        self.name, self.capacity, self.held = name, capacity, lease.HeldLeases(4, now=clock)

    def ask(self, table):
        asked, held, ended = self.held.request()
        granted = table.renew(self.name, asked, held, ended, self.capacity)
        return ([], []) if granted is None else self.held.answer(asked, ended, granted)

    @property
    def cameras(self):
        return set(self.held.leases)


def test_nothing_is_given_before_old_leases_must_be_over(clock):
    table, one = opened(clock, "ab"), Process("one", clock)
    clock.time += 3.9
    one.ask(table)
    assert not one.cameras
    clock.time += 0.2
    one.ask(table)
    assert one.cameras == {"a", "b"}


def test_cameras_are_shared_out(clock):
    table, all_of = opened(clock, range(7)), [Process(str(i), clock) for i in range(3)]
    for _ in range(20):
        clock.time += 0.5
        for one in all_of:
            one.ask(table)
    assert sorted(len(one.cameras) for one in all_of) == [2, 2, 3]
    assert set.union(*(one.cameras for one in all_of)) == set(range(7))


def test_no_more_than_there_is_room_for(clock):
    table, small, large = opened(clock, range(10)), Process("small", clock, 2), Process("large", clock, 6)
    for _ in range(20):
        clock.time += 0.5
        small.ask(table), large.ask(table)
    assert (len(small.cameras), len(large.cameras)) == (2, 6)


def test_one_that_is_cut_off_stops_before_another_starts(clock):
    table, one, two = opened(clock, "ab"), Process("one", clock), Process("two", clock)
    clock.time += 5
    one.ask(table), two.ask(table)
    assert one.cameras == {"a", "b"}  # two was not known yet
    taken = stopped = None
    for _ in range(100):
        clock.time += 0.1
        if one.held.lapse():
            stopped = clock.time
        two.ask(table)
        if len(two.cameras) == 2 and taken is None:
            taken = clock.time
    assert stopped is not None and taken is not None and stopped <= taken < stopped + 1


def test_a_pictures_time_decides(clock):
    table, one = opened(clock, "a"), Process("one", clock)
    clock.time += 5
    one.ask(table)
    epoch, until = one.held.leases["a"]
    assert until == clock.time + 4
    assert one.held.covers("a", epoch, until - 0.1) and not one.held.covers("a", epoch, until)
    assert not one.held.covers("a", "another", clock.time)


def test_a_slow_answer_gives_no_lease_that_is_over(clock):
    table, one = opened(clock, "a"), Process("one", clock)
    clock.time += 5
    asked, held, ended = one.held.request()
    granted = table.renew("one", asked, held, ended, 64)
    clock.time += 5
    assert one.held.answer(asked, ended, granted) == ({}, [])


def test_a_lease_that_was_ended_is_not_taken_again(clock):
    table, one = opened(clock, "a"), Process("one", clock)
    clock.time += 5
    asked, held, ended = one.held.request()
    granted = table.renew("one", asked, held, ended, 64)
    one.held.answer(asked, ended, granted)
    one.held.end("a")
    clock.time += 0.1
    assert one.held.answer(clock.time, {}, granted) == ({}, [])  # an answer from before the table could hear of it
    clock.time += 0.1
    old = granted["a"]
    one.ask(table)
    assert one.cameras == {"a"} and one.held.leases["a"][0] != old


def test_a_request_that_was_overtaken_takes_nothing(clock):
    table, one = opened(clock, "a"), Process("one", clock)
    clock.time += 5
    one.ask(table)
    early = one.held.request()
    one.held.end("a")
    clock.time += 0.1
    one.capacity = 0
    one.ask(table)
    assert "a" not in table.holding()
    assert table.renew("one", *early, 64) is None and "a" not in table.holding()


def test_a_new_table_takes_over_the_leases_that_are_shown(clock):
    table, one = opened(clock, "ab"), Process("one", clock)
    clock.time += 5
    one.ask(table)
    before = {camera: epoch for camera, (epoch, _) in one.held.leases.items()}
    table, two = lease.LeaseTable(4, now=clock), Process("two", clock)
    assert one.ask(table) == ([], [])  # it knows no cameras yet: the holder goes on
    table.configure("abc")
    for _ in range(12):
        clock.time += 0.5
        two.ask(table), one.ask(table)
    assert {camera: one.held.leases[camera][0] for camera in "ab"} == before
    assert two.cameras == {"c"}


def test_a_process_that_is_known_dead_holds_nothing(clock):
    table, one, two = opened(clock, "a"), Process("one", clock), Process("two", clock)
    clock.time += 5
    one.ask(table)
    table.gone("one")
    two.ask(table)
    assert two.cameras == {"a"}


def test_one_that_comes_back_gets_its_share(clock):
    table, one, two = opened(clock, range(6)), Process("one", clock), Process("two", clock)
    clock.time += 5
    one.ask(table)
    assert len(one.cameras) == 6
    for _ in range(60):
        clock.time += 0.5
        one.ask(table), two.ask(table)
    assert (len(one.cameras), len(two.cameras)) == (3, 3)


def test_removed_cameras_are_let_go_and_others_stay(clock):
    table, one = opened(clock, "abc"), Process("one", clock)
    clock.time += 5
    one.ask(table)
    before = dict(one.held.leases)
    table.configure("acd")
    clock.time += 0.5
    start, stop = one.ask(table)
    assert stop == ["b"] and set(start) == {"d"}
    assert all(one.held.leases[camera][0] == before[camera][0] for camera in "ac")


def test_never_two_at_once_whatever_happens():
    """Processes that are cut off, lag, die and return, and tables that start again, at random."""
    seeds, had = 100, 0
    for seed in range(seeds):
        chance, clock = random.Random(seed), Clock()
        cameras = [f"c{i}" for i in range(5)]
        table, processes, on_the_way = opened(clock, cameras), [Process(str(i), clock) for i in range(3)], []
        cut = {}
        for step in range(500):
            clock.time += 0.1
            for i, one in enumerate(processes):
                one.held.lapse()
                if step % 5 == i and chance.random() > 0.01:
                    asked, held, ended = one.held.request()
                    # Requests and answers take their time while the link is cut.
                    delay = max(cut.get(i, 0) - clock.time, 0) + chance.random()
                    on_the_way.append((clock.time + delay, "ask", one, asked, held, ended))
                if chance.random() < 0.01:
                    cut[i] = clock.time + chance.random() * 8
                if chance.random() < 0.002:
                    processes[i] = Process(f"{i}-{step}", clock)
            if chance.random() < 0.003:
                table = opened(clock, cameras)
            for item in sorted((item for item in on_the_way if item[0] <= clock.time), key=lambda item: item[0]):
                on_the_way.remove(item)
                _, kind, one, asked, *rest = item
                if kind == "ask":
                    granted = table.renew(one.name, asked, rest[0], rest[1], 64)
                    if granted is not None:
                        arrives = clock.time + max(cut.get(int(one.name[0]), 0) - clock.time, 0) + chance.random()
                        on_the_way.append((arrives, "answer", one, asked, rest[1], granted))
                elif one in processes:
                    one.held.answer(asked, *rest)
            for camera in cameras:
                held = [
                    one for one in processes if camera in one.held.leases and one.held.leases[camera][1] > clock.time
                ]
                assert len(held) <= 1, f"seed {seed}, step {step}: {camera} is with {[one.name for one in held]}"
                had += len(held)
    assert had > seeds * 500 * 5 / 2  # and they were held for most of the time


def test_epochs_differ():
    assert len({lease.new_epoch() for _ in range(10000)}) == 10000
