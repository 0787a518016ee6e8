"""Progress bars: what is shown while something is trained."""

from __future__ import annotations

import re
import time

from benchmark.cli.progress import LOGGED_EVERY, RunProgress


def test_static_sets_are_a_bar_of_their_own_that_goes_when_they_are_made():
    with RunProgress("train hgd") as progress:
        for done in (1, 2):
            progress.training(done, 2, None)
        progress.training(1, 10, {"loss": 0.5})
        steps, sets = progress._bar.tasks
    assert (sets.description, sets.completed, sets.visible) == ("static sets", 2, False)
    assert (steps.description, steps.completed, steps.total) == ("train hgd", 1, 10)
    assert steps.fields["note"] == "loss 0.500"


def test_a_log_file_gets_a_line_a_minute_and_a_short_run_none(capfd, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with RunProgress("train aid") as progress:
        for step in range(1, 181):
            now[0] += LOGGED_EVERY / 60
            progress.training(step, 200, {"bce": 0.5})
    lines = capfd.readouterr().err.splitlines()
    assert [re.split(r",|:", line)[1] for line in lines] == [" 60/200", " 120/200", " 180/200"]
    assert all(line.endswith("bce 0.500") and "elapsed" in line for line in lines)
    with RunProgress("train aid") as progress:
        progress.training(1, 2, {"bce": 0.5})
    assert capfd.readouterr().err == ""


def test_a_log_says_how_far_static_sets_have_come_and_nothing_in_a_terminal(capfd, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for is_terminal, lines in ((False, 1), (True, 0)):
        with RunProgress("train hgd") as progress:
            monkeypatch.setattr(type(progress._console), "is_terminal", is_terminal)
            now[0] += LOGGED_EVERY
            progress.training(3, 12, None)
        logged = [
            line for line in capfd.readouterr().err.splitlines() if "static sets: 3/12" in line
        ]
        assert len(logged) == lines
