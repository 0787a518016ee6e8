"""Standing: what refutes a declaration, or could not be measured, takes the rank and says so everywhere."""

from __future__ import annotations

import pytest

from benchmark.publishing.leaderboard.board_text import to_markdown, to_text
from benchmark.publishing.leaderboard.comparison import compare
from benchmark.publishing.leaderboard.comparison_text import to_json
from benchmark.publishing.leaderboard.comparison_text import to_text as compared
from benchmark.publishing.leaderboard.eligibility import why_unranked
from benchmark.publishing.leaderboard.ranking import boards
from benchmark.publishing.leaderboard.tables import Form, to_table, usual
from benchmark.publishing.site.entry_page import footnotes
from benchmark.records.run import DefenseMeasurement
from benchmark.scoring.diagnosis_flags import EXAMINED
from benchmark.scoring.validation import problems_of
from tests.helpers.run_builder import AS_DECLARED
from tests.helpers.sample_entries import toy

KINDS = [(flag, kind) for flag, kinds in EXAMINED.items() for kind in kinds]


def measured(kind, value, threshold=0.25):
    """All that is measured, as it should be but for one."""
    one = DefenseMeasurement(id=kind, value=value, threshold=threshold, detail="as measured")
    return tuple(one if each.id == kind else each for each in AS_DECLARED)


REFUTED = toy("liar", pgd="1111", examination=measured("layout", 0.5))
HONEST = toy("honest", pgd="1000", examination=measured("layout", 0.0))


@pytest.mark.parametrize(("flag", "kind"), KINDS)
def test_a_measurement_above_its_threshold_takes_the_rank_and_one_at_it_does_not(flag, kind):
    assert why_unranked(toy("a", examination=measured(kind, 0.26))) == (flag,)
    assert why_unranked(toy("a", examination=measured(kind, 0.25))) == ()


@pytest.mark.parametrize(("flag", "kind"), KINDS)
def test_a_measurement_that_broke_down_takes_the_rank(flag, kind):
    entry = toy("a", examination=measured(kind, None, None))
    assert why_unranked(entry) == (f"{flag} could not be checked",)


def test_one_measurement_of_several_is_enough_and_a_refuted_one_is_named_first():
    assert why_unranked(toy("a", examination=measured("slope", 1.0))) == (
        "gradient-not-as-declared",
    )
    broken = measured("gradient", None, None)
    both = [each for each in broken if each.id != "slope"] + [
        each for each in measured("slope", 1.0) if each.id == "slope"
    ]
    assert why_unranked(toy("a", examination=tuple(both))) == ("gradient-not-as-declared",)


@pytest.mark.parametrize(("flag", "kind"), KINDS)
def test_what_was_not_measured_is_not_believed(flag, kind):
    others = tuple(each for each in AS_DECLARED if each.id != kind)
    assert why_unranked(toy("a", examination=others)) == (f"{flag} could not be checked",)


def test_a_constant_output_keeps_its_rank():
    assert why_unranked(toy("a")) == ()
    assert why_unranked(toy("a", examination=measured("constant", 1.0))) == ()


def test_without_a_rank_it_stands_behind_those_that_have_one_whatever_its_number():
    (board,) = boards([REFUTED, HONEST])
    (group,) = board.groups
    assert [(line.entry.defense.label, line.place) for line in group.lines] == [
        ("honest", 1),
        ("liar", None),
    ]


def test_page_terminal_table_and_comparison_say_that_it_is_not_ranked_and_why():
    reason = "not ranked: batch-dependent (liar on net)"
    entries = [REFUTED, HONEST]
    for text in (to_markdown(entries, "t"), to_text(entries)):
        assert reason in text
    assert "not ranked: batch-dependent (every row)" in "\n".join(footnotes([REFUTED], {}))
    assert "liar (not ranked)" in to_markdown(entries, "t")
    columns = usual(entries)
    assert columns[-1] == "not-ranked"
    assert "batch-dependent" in to_table(entries, columns, Form.CSV)
    assert "not-ranked" not in usual([HONEST])
    found = compare(HONEST, REFUTED)
    assert "not ranked: the candidate: batch-dependent" in compared(found, 0.05, ["worst"])
    assert to_json(found, 0.05, ["worst"])["candidate"]["not_ranked"] == ["batch-dependent"]


def test_the_flag_and_the_standing_of_an_entry_agree():
    for entry in (REFUTED, HONEST):
        raised = {flag.id for flag in entry.flags if flag.verdict == "raised"} & set(EXAMINED)
        assert raised == set(why_unranked(entry))
        assert not [problem for problem in problems_of(entry) if "flag" in problem]
