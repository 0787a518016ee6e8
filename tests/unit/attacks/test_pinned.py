"""What each attack finds and costs on one small problem is what it was: a change of numbers is meant, and seen.

`python -m tests.pinned` writes the file anew; the change of it belongs to the commit that changes the numbers.
"""

import json

import pytest

from tests.pinned import CASES, FILE, costs, found, names, orders

PINNED = json.loads(FILE.read_text())


@pytest.mark.parametrize("attack", CASES)
def test_an_attack_finds_what_it_found(attack):
    for case in names():
        if case.startswith(f"{attack}|"):
            assert found(case) == pytest.approx(PINNED[case], rel=1e-6, abs=1e-7), case


def test_what_processes_of_their_own_are_told_is_what_they_were_told():
    for attack, told in orders().items():
        assert told == pytest.approx(PINNED[attack], rel=1e-6, abs=1e-7), attack


def test_attacks_cost_what_they_cost_and_every_case_is_pinned():
    cases = {case: value for case, value in PINNED.items() if isinstance(value, list)}
    assert {case: cost for case, cost in PINNED.items() if case not in cases} == costs()
    assert list(cases) == [*names(), "autoattack", "fast-autoattack"]
