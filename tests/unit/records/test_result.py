"""The record of a shard: what may stand in it, and that it is read as it was written."""

import pytest

from benchmark.engine.criterion import Outcome, Rule
from benchmark.errors import BenchError
from benchmark.records.result import SCHEMA, Result, ShardCost, Status

ONE = Outcome(rate=0.5, margin=-1.0, bits="10")


def record(n=2, **changes):
    values = {"job": "k", "start": 3, "stop": 5, "status": Status.OK}
    outcomes = dict.fromkeys(Rule, (ONE,) * n)
    return Result(**{**values, "outcomes": outcomes, **changes})


@pytest.mark.parametrize("stop", [3, 2])
def test_a_shard_has_at_least_one_image(stop):
    with pytest.raises(ValueError, match="at least one image"):
        record(n=0, stop=stop)
    assert record(n=1, stop=4).stop == 4


@pytest.mark.parametrize("n", [1, 3])
def test_it_has_one_outcome_an_image(n):
    with pytest.raises(ValueError, match=f"{n} outcomes for 2 images"):
        record(n)


def test_it_has_outcomes_under_every_rule():
    with pytest.raises(ValueError, match="under every rule"):
        record(outcomes={Rule.SINGLE: (ONE, ONE)})


def test_what_failed_has_an_error_and_no_outcomes():
    assert record(outcomes={}, status=Status.FAILED, error="boom").error == "boom"
    for changes in ({"error": "boom"}, {"outcomes": {}}, {}):
        with pytest.raises(ValueError, match="an error and no outcomes"):
            record(status=Status.FAILED, **changes)


def test_nothing_is_spent_warned_of_or_zero_unless_it_is_said():
    plain = record()
    assert (plain.cost, plain.trace, plain.warnings, plain.zero_gradients) == (
        ShardCost(),
        (),
        (),
        0.0,
    )
    assert ShardCost() == ShardCost(forwards=0, backwards=0, seconds=0.0, peak_bytes=0)


def test_it_is_read_as_it_was_written_and_another_schema_is_refused():
    other = (Outcome(rate=1.0, margin=2.0, bits="11"), ONE)
    made = record(
        outcomes={Rule.SINGLE: other, Rule.VOTE: (ONE, ONE), Rule.ANY: (ONE, ONE)},
        cost=ShardCost(forwards=3, backwards=2, seconds=0.5, peak_bytes=7),
        trace=(1.0, 0.5),
        warnings=("w",),
        zero_gradients=0.25,
        pixels_sha256="p",
    )
    assert Result.from_json(made.to_json(), where="here") == made
    assert made.to_json()["outcomes"][Rule.SINGLE][1] == {"rate": 0.5, "margin": -1.0, "bits": "10"}
    with pytest.raises(BenchError, match=f"here: expected a record of schema {SCHEMA}"):
        Result.from_json({**made.to_json(), "schema": SCHEMA + 1}, where="here")
    with pytest.raises(BenchError, match="here: not a record"):
        Result.from_json({**made.to_json(), "unknown": 1}, where="here")
