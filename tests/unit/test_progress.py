"""Progress bars: what is shown while something is trained."""

from __future__ import annotations

from benchmark.cli.progress import RunProgress


def test_static_sets_are_a_bar_of_their_own_that_goes_when_they_are_made():
    with RunProgress("train hgd") as progress:
        for done in (1, 2):
            progress.training(done, 2, None)
        progress.training(1, 10, {"loss": 0.5})
        steps, sets = progress._bar.tasks
    assert (sets.description, sets.completed, sets.visible) == ("static sets", 2, False)
    assert (steps.description, steps.completed, steps.total) == ("train hgd", 1, 10)
    assert steps.fields["note"] == "loss 0.500"
