"""A real process tree with two workers, killed at random (more often: `python -m tests.helpers.killed 100`)."""

from __future__ import annotations

import pytest

from tests.helpers.killed import kill_repeatedly

pytestmark = pytest.mark.slow


@pytest.mark.timeout(900)
def test_killed_at_random_moments_a_run_ends_with_the_same_entry_and_leaves_nothing(tmp_path):
    report = kill_repeatedly(tmp_path, kills=3)
    assert report.wrong == []
    assert report.kills.total() == 3
    assert report.finished >= 1
