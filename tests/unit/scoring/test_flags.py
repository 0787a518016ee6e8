"""Flags: each one raised where its sign is there, silent where it is not, and not run where it cannot be."""

import dataclasses

import pytest

from benchmark.engine.criterion import Criterion, Outcome, Rule
from benchmark.records.protocol import Column
from benchmark.scoring.flag_explanations import EXPLANATIONS
from benchmark.scoring.flag_parts import percent, points
from benchmark.scoring.flags import flags_of
from tests.helpers.run_builder import WHOLE, Run, deterministic

TEN = deterministic(clean="1" * 10, pgd="1" * 5 + "0" * 5)


def verdict(run, name):
    (flag,) = [flag for flag in run.entry().flags if flag.id == name]
    return flag.verdict


def test_an_entry_carries_every_flag_once_in_a_fixed_order():
    entry = Run(rows=WHOLE).entry()
    assert [flag.id for flag in entry.flags] == list(EXPLANATIONS)
    assert flags_of(entry) == entry.flags


@pytest.mark.parametrize("column", ["transfer", "oblivious"])
@pytest.mark.parametrize(
    ("bits", "expected"), [("0" * 10, "raised"), ("1" * 5 + "0" * 5, "ok"), ("1" * 10, "ok")]
)
def test_an_attacker_who_knows_less_must_not_be_ahead(column, bits, expected):
    name = {"transfer": "transfer-beats-white-box", "oblivious": "oblivious-beats-adaptive"}[column]
    assert verdict(Run(rows=TEN | deterministic(**{column: bits})), name) == expected


@pytest.mark.parametrize(("bits", "expected"), [("0" * 10, "raised"), ("1" * 5 + "0" * 5, "ok")])
def test_the_adaptive_attacks_must_find_what_autoattack_finds(bits, expected):
    run = Run(rows=TEN | deterministic(autoattack=bits))
    assert verdict(run, "autoattack-beats-adaptive") == expected
    assert verdict(Run(rows=TEN), "autoattack-beats-adaptive") == "not-run"


@pytest.mark.parametrize(
    ("again", "native", "expected"), [("1000", 0.5, "raised"), ("1100", 0.0, "ok")]
)
def test_of_a_random_victim_autoattacks_images_are_compared_drawn_again(again, native, expected):
    """Though they do not count there; its own verdict, by one lucky draw, says nothing."""
    rows = {"clean": ["1111"] * 4, "pgd": ["1100"] * 4, "autoattack": [again] * 4}
    run = Run(rows=rows, is_stochastic=True, traces={"autoattack": (native,)})
    assert not any(row.counts for row in run.entry().attacks if row.id == "autoattack")
    assert verdict(run, "autoattack-beats-adaptive") == expected


def test_a_column_that_is_a_gap_is_compared_with_nothing():
    run = Run(rows=TEN | deterministic(transfer="0" * 10), failed=frozenset({("pgd", 0)}))
    assert verdict(run, "transfer-beats-white-box") == "not-run"


@pytest.mark.parametrize(("fgsm", "expected"), [("0" * 10, "raised"), ("1" * 10, "ok")])
def test_one_step_must_not_beat_many_though_both_stand_in_one_column(fgsm, expected):
    assert verdict(Run(rows=TEN | deterministic(fgsm=fgsm)), "one-step") == expected
    assert verdict(Run(rows=TEN), "one-step") == "not-run"


@pytest.mark.parametrize(("steps", "expected"), [(1, "raised"), (2, "not-run")])
def test_the_one_step_of_a_papers_table_may_be_an_iterated_attack(steps, expected):
    entry = Run(rows=TEN | deterministic(fgsm="0" * 10)).entry()
    named = {"attack": "ifgsm", "arguments": {"steps": steps}}
    rows = tuple(row.model_copy(update=named) if row.id == "fgsm" else row for row in entry.attacks)
    flags = flags_of(entry.model_copy(update={"attacks": rows}))
    assert [flag.verdict for flag in flags if flag.id == "one-step"] == [expected]


@pytest.mark.parametrize(("share", "expected"), [(0.0, "ok"), (0.05, "ok"), (0.9, "raised")])
def test_zero_gradients_are_named(share, expected):
    assert verdict(Run(rows=TEN, zero_gradients={"pgd": share}), "zero-gradients") == expected


def test_zero_gradients_of_a_transfer_attack_mean_nothing():
    run = Run(rows=TEN | deterministic(transfer="1" * 10), zero_gradients={"transfer": 1.0})
    assert verdict(run, "zero-gradients") == "ok"


@pytest.mark.parametrize(("clean", "expected"), [("1111", "ok"), ("1010", "raised")])
def test_clean_images_that_fail_under_a_stricter_rule_are_named(clean, expected):
    asked = Criterion(4, 2, 2)
    said = {rule: asked.outcomes(rule, [int(bit) for bit in clean], 1) for rule in Rule}
    cell = {rule: Outcome(bits.count("1") / len(bits), 0.0, bits) for rule, bits in said.items()}
    assert verdict(Run(rows={"clean": [cell]}, is_stochastic=True), "clean-fails") == expected


@pytest.mark.parametrize(
    ("vote", "any_of", "lost"), [(0.9, 0.4, 60.0), (0.4, 0.9, 60.0), (1.0, 1.0, 0.0)]
)
def test_the_stricter_of_two_rules_says_how_much_of_the_clean_accuracy_is_lost(vote, any_of, lost):
    entry = Run(rows=TEN).entry()
    whole = entry.clean.single.model_copy(update={"value": 1.0})
    rates = {"single": 1.0, "vote": vote, "any_of": any_of}
    clean = {name: whole.model_copy(update={"value": rate}) for name, rate in rates.items()}
    found = flags_of(entry.model_copy(update={"clean": entry.clean.model_copy(update=clean)}))
    assert [flag.value for flag in found if flag.id == "clean-fails"] == [lost]


def test_autoattacks_own_warnings_are_kept_and_raise_a_flag():
    run = Run(rows=WHOLE, warnings={"autoattack": ("randomized defense",)})
    assert verdict(run, "autoattack-warnings") == "raised"
    assert verdict(Run(rows=WHOLE), "autoattack-warnings") == "ok"
    assert verdict(Run(rows=TEN), "autoattack-warnings") == "not-run"
    assert "randomized defense" in str(run.entry().flags)


@pytest.mark.parametrize(("native", "expected"), [(0.5, "ok"), (0.1, "raised"), (0.9, "raised")])
def test_autoattacks_own_verdict_is_held_against_its_images_drawn_again(native, expected):
    rows = {"clean": ["1111"] * 4, "autoattack": ["1100"] * 4}
    run = Run(rows=rows, is_stochastic=True, traces={"autoattack": (native,)})
    assert verdict(run, "autoattack-native") == expected
    assert verdict(dataclasses.replace(run, traces={}), "autoattack-native") == "not-run"


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        ((0.9, 0.7, 0.5, 0.3), "raised"),
        ((0.9, 0.7, 0.5, 0.47), "raised"),
        ((0.9, 0.7, 0.5, 0.485), "ok"),
        ((0.9, 0.3, 0.3, 0.3), "ok"),
        ((0.9, 0.3, 0.3, 0.4), "ok"),
        ((0.9, 0.5, 0.2, 0.0), "ok"),  # nothing left to fall
        ((0.9, 0.5, 0.3, 0.3, 0.9, 0.8, 0.5, 0.3), "ok"),  # a restart that found no more
        ((0.9, 0.5, 0.3, 0.3, 0.9, 0.8, 0.5, 0.1), "raised"),  # one that did
        ((0.9, 0.3), "not-run"),
    ],
)
def test_accuracy_that_is_still_falling_is_named(trace, expected):
    assert verdict(Run(rows=TEN, traces={"pgd": trace}), "convergence") == expected


@pytest.mark.parametrize(("clean", "expected"), [("1" * 10, "ok"), ("1" * 9 + "0", "raised")])
def test_a_trained_defense_may_lose_five_points_of_clean_accuracy(clean, expected):
    run = Run(
        rows=TEN | deterministic(clean=clean),
        sources={"clean-bare:net": list("1" * 10)},
        weights="w" * 64,
    )
    assert verdict(run, "training-floor-clean") == expected
    assert verdict(dataclasses.replace(run, weights=""), "training-floor-clean") == "not-run"


@pytest.mark.parametrize(
    ("oblivious", "expected"), [("1" * 3 + "0" * 7, "ok"), ("1" * 2 + "0" * 8, "raised")]
)
def test_a_trained_defense_must_gain_twenty_points_against_an_oblivious_attacker(
    oblivious, expected
):
    run = Run(
        rows=TEN | deterministic(oblivious=oblivious),
        sources={"made-bare:net": list("1" + "0" * 9)},
        weights="w" * 64,
    )
    assert verdict(run, "training-floor-oblivious") == expected
    assert verdict(dataclasses.replace(run, sources={}), "training-floor-oblivious") == "not-run"


def test_attacks_without_any_effect_are_named():
    assert verdict(Run(rows=deterministic(clean="11", pgd="11")), "no-attack-effect") == "raised"
    assert verdict(Run(rows=deterministic(clean="11", pgd="10")), "no-attack-effect") == "ok"
    assert verdict(Run(rows=deterministic(clean="00", pgd="00")), "no-attack-effect") == "not-run"


def test_where_no_attack_counts_none_is_said_to_have_no_effect():
    """AutoAttack alone before a random victim, as in AToP's tables, leaves the worst case as it is."""
    entry = Run(rows=deterministic(clean="11", autoattack="00")).entry()
    rows = tuple(
        row.model_copy(update={"counts": row.column is Column.CLEAN}) for row in entry.attacks
    )
    flags = flags_of(entry.model_copy(update={"attacks": rows, "worst": entry.clean}))
    assert [flag.verdict for flag in flags if flag.id == "no-attack-effect"] == ["not-run"]


def test_a_run_without_any_rates_raises_nothing():
    entry = Run(rows=WHOLE, failed=frozenset({("clean", 0)})).entry()
    assert not [flag.id for flag in entry.flags if flag.verdict == "raised"]


def test_shares_are_said_in_percent_and_differences_in_points():
    assert (percent(0.5), percent(1.0), percent(0.0304)) == ("50.0 %", "100.0 %", "3.0 %")
    assert (points(0.75, 0.5), points(0.25, 0.5)) == (25.0, -25.0)
