"""The criterion: draws become outcomes, and one candidate is chosen without looking at its score."""

import pytest

from benchmark.engine.criterion import Criterion, Outcome, Rule, worst
from benchmark.errors import BenchError

CRITERION = Criterion(draws=6, vote=3, any_of=2)


def test_single_counts_every_draw():
    assert CRITERION.outcomes(Rule.SINGLE, [1, 0, 1, 1, 2, 1], 1) == "101101"


def test_a_vote_needs_more_votes_than_any_rival_and_a_tie_is_a_loss():
    assert CRITERION.outcomes(Rule.VOTE, [1, 1, 0, 0, 0, 1], 1) == "10"
    assert CRITERION.outcomes(Rule.VOTE, [1, 0, 2, 1, 1, 1], 1) == "01"


def test_a_plurality_wins_a_vote():
    assert Criterion(draws=5, vote=5).outcomes(Rule.VOTE, [1, 1, 0, 2, 3], 1) == "1"


def test_any_of_n_is_right_only_if_all_n_are():
    assert CRITERION.outcomes(Rule.ANY, [1, 1, 1, 0, 0, 0], 1) == "100"


def test_a_group_that_is_not_full_is_left_out():
    assert Criterion(draws=5, vote=2, any_of=2).outcomes(Rule.ANY, [1, 1, 1, 1, 0], 1) == "11"


def test_a_deterministic_victim_gives_one_outcome_under_every_rule():
    for rule in Rule:
        assert CRITERION.outcomes(rule, [1], 1) == "1"
        assert CRITERION.outcomes(rule, [0], 1) == "0"


def test_the_choice_looks_at_select_draws_alone():
    unlucky_score = Outcome(rate=0.9, margin=1.0, bits="0000")
    chosen = Outcome(rate=0.5, margin=2.0, bits="1111")
    assert worst([unlucky_score, chosen]) == 1


def test_the_margin_breaks_ties_and_then_the_order():
    a, b = Outcome(0.5, 2.0, "1"), Outcome(0.5, 1.0, "1")
    assert worst([a, b]) == 1
    assert worst([a, a]) == 0


@pytest.mark.parametrize("wrong", [{"vote": 0}, {"vote": 7}, {"any_of": 9}])
def test_groups_larger_than_the_draws_are_refused(wrong):
    with pytest.raises(BenchError, match="between 1 and its draws"):
        Criterion(**{"draws": 6, "vote": 3, "any_of": 2, **wrong})


@pytest.mark.parametrize("bits", ["", "2", "1 0"])
def test_outcomes_are_ones_and_zeros(bits):
    with pytest.raises(ValueError, match="row of 0 and 1"):
        Outcome(0.0, 0.0, bits)
