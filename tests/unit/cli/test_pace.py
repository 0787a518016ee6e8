"""Time left: by what this process has done, lately, and by nothing that was found done."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import pytest

from benchmark.cli.progress import LEAST_SECONDS, LOGGED_EVERY, Pace, RunProgress
from benchmark.records.result import ShardCost


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def paced(clock, seconds, *, start=0.0):
    """A pace after steps that took so long each."""
    pace = Pace()
    pace.mark(start)
    for done, each in enumerate(seconds, 1):
        clock[0] += each
        pace.mark(start + done)
    return pace


def test_nothing_is_said_before_the_first_step_of_this_process(clock):
    assert Pace().seconds(5) is None
    assert paced(clock, []).seconds(5) is None
    assert paced(clock, [2.0]).seconds(5) == 10.0


def test_what_an_earlier_process_did_does_not_count(clock):
    assert paced(clock, [3.0] * 4, start=900).seconds(96) == pytest.approx(3.0 * 96)


def test_a_wait_before_any_work_does_not_count(clock):
    pace = Pace()
    for _ in range(5):
        pace.mark(0)
        clock[0] += 100
    pace.mark(0)
    clock[0] += 4
    pace.mark(1)
    assert pace.seconds(10) == 40


def test_a_slower_stage_is_believed_after_a_while(clock):
    quick, slow = [1.0] * 1000, [10.0] * 1000
    assert paced(clock, quick + slow).seconds(100) == pytest.approx(1000, rel=0.01)


def test_a_validation_counts_as_often_as_it_comes(clock):
    epoch = [1.0] * 99 + [101.0]
    assert paced(clock, epoch * 30).seconds(300) == pytest.approx(600, rel=0.1)


def test_steps_longer_than_the_window_have_a_pace_too(clock):
    assert paced(clock, [2 * LEAST_SECONDS] * 3).seconds(2) == 4 * LEAST_SECONDS


def test_time_left_falls_while_a_step_lasts_and_is_unknown_once_it_is_over(clock):
    pace = paced(clock, [10.0, 10.0])
    clock[0] += 6
    assert pace.seconds(2) == 14
    clock[0] += 20
    assert pace.seconds(2) is None


def test_a_million_steps_are_remembered_in_little_room(clock):
    pace = paced(clock, [0.5] * 20_000)
    assert len(pace._marks) <= 2001
    assert pace.seconds(10) == pytest.approx(5.0)


def test_work_that_begins_anew_has_a_pace_of_its_own(clock):
    pace = paced(clock, [100.0] * 3)
    pace.mark(0)
    clock[0] += 2
    pace.mark(1)
    assert pace.seconds(5) == 10


def shard(row, *, cached=False):
    task = SimpleNamespace(row=SimpleNamespace(id=row))
    return task, SimpleNamespace(cost=ShardCost(seconds=1.0), error=""), cached


def test_shards_kept_from_before_do_not_shorten_what_is_left(clock, capfd):
    with RunProgress("atop") as progress:
        listener = progress.listener()
        listener.on_plan([None] * 1000)
        for _ in range(900):
            listener.on_done(*shard("clean", cached=True))
        for _ in range(4):
            clock[0] += LOGGED_EVERY
            listener.on_done(*shard("pgd"))
    last = capfd.readouterr().err.splitlines()[-1]
    assert re.search(r"904/1000, .* elapsed, 1:36:00 left, pgd 1.0 s", last)


def test_a_resumed_training_says_what_is_left_by_its_own_steps(clock, capfd):
    with RunProgress("train aid") as progress:
        for done in range(501, 505):
            clock[0] += LOGGED_EVERY
            progress.training(done, 1000, {"bce": 0.5})
    last = capfd.readouterr().err.splitlines()[-1]
    assert "504/1000" in last
    assert "8:16:00 left" in last
