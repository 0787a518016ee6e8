"""The worst case: the least of all counting rows, image by image, rebuilt from what an entry keeps."""

from __future__ import annotations

import pytest

from benchmark.engine.criterion import Outcome, Rule
from benchmark.publishing.leaderboard.board_text import to_markdown
from benchmark.publishing.leaderboard.eligibility import why_unranked
from benchmark.publishing.leaderboard.ranking import boards
from benchmark.records.entry import Entry
from benchmark.records.entry_files import read_entry, write_entry
from benchmark.records.scores import Scores
from benchmark.scoring.flags import flags_of
from benchmark.scoring.validation import problems_of
from tests.helpers.planned import Plan
from tests.helpers.run_builder import Run
from tests.helpers.sample_entries import toy


def least(entry: Entry, rule: Rule, i: int) -> tuple[float, float, int, str]:
    """By definition: the least select rate, then margin, then place, of the clean image and counting rows."""
    rows = [row for row in entry.attacks if row.counts]
    found = [(row.scores.under(rule), row.id) for row in rows]
    return min((one.rates[i], one.margins[i], k, name) for k, (one, name) in enumerate(found))


@pytest.mark.parametrize("defense", ["jpeg", "gaussian"])
def test_the_worst_case_is_the_least_of_all_counting_rows_under_each_rule(defense):
    entry = Plan(defense=defense).entry()
    rows = {row.id: row for row in entry.attacks}
    for i in range(entry.dataset.n):
        *_, name = least(entry, Rule.SINGLE, i)
        assert entry.per_image.chosen[i] == name
        assert entry.per_image.worst[i] == rows[name].scores.single.outcomes[i]
        for rule in Rule if entry.per_image.choices else ():
            rate, margin, _, name = least(entry, rule, i)
            choice = entry.per_image.choices.under(rule)
            assert (choice.rates[i], choice.margins[i], choice.rows[i]) == (rate, margin, name)
            assert choice.outcomes[i] == rows[name].scores.under(rule).outcomes[i]


def test_a_deterministic_worst_case_is_no_more_than_any_counting_row_image_by_image():
    entry = Plan().entry()
    for row in entry.attacks:
        if row.counts:
            pairs = zip(entry.per_image.worst, row.scores.single.outcomes, strict=True)
            assert all(worst <= own for worst, own in pairs)


def test_a_choice_is_made_on_figures_as_they_are_kept():
    near = {rule: [Outcome(0.0, margin, "0")] for rule in Rule for margin in [-1e-7]}
    assert Scores.of(near).single.margins == (0.0,)
    overflow = {rule: [Outcome(0.0, -float("inf"), "0")] for rule in Rule}
    assert Scores.of(overflow).single.margins == (-1e9,)


def half(score: str) -> Outcome:
    return Outcome(0.5, 0.0, score)


def lucky(n: int, worst: str, other: str) -> Entry:
    """A random victim of n images whose chosen candidate scores `worst`, and another row `other`."""
    chosen, rest = Outcome(0.25, 0.0, worst), Outcome(0.5, 0.0, other)
    rows = {"clean": ["1111"] * n, "pgd": [chosen] * n, "fgsm": [rest] * n}
    return Run(rows=rows, is_stochastic=True).entry()


def flag(entry: Entry):
    return next(one for one in flags_of(entry) if one.id == "worst-above-column")


def test_a_worst_case_far_above_a_row_is_a_flag_and_chance_is_none():
    far, near = lucky(30, "1111", "0000"), lucky(3, "1100", "1000")
    assert flag(far).verdict == "raised"
    assert "most above fgsm" in flag(far).detail
    assert flag(near).verdict == "ok"
    assert flag(lucky(30, "1000", "1100")).verdict == "ok"
    assert flag(toy("a")).verdict == "not-run"


def legacy(entry: Entry) -> Entry:
    """The entry as schema 1 kept it."""
    values = entry.model_dump()
    for row in (*values["attacks"], *values["sources"], *values["diagnosis"]):
        del row["scores"]
        row.pop("context", None)
    later = "verdict-unlike-attack"
    values["flags"] = tuple(one for one in values["flags"] if one["id"] != later)
    for name in ("content", "content_sha256"):
        del values["protocol"][name]
    return Entry.model_validate({**values, "schema_version": 1})


def test_an_entry_of_schema_1_is_read_shown_after_the_ranked_ones_and_said_to_have_no_rank(
    tmp_path,
):
    old, new = legacy(toy("best", pgd="1110")), toy("worse", pgd="1000")
    write_entry(old, tmp_path / "old.json")
    assert read_entry(tmp_path / "old.json") == old
    assert why_unranked(old)
    assert not why_unranked(new)
    (board,) = boards([old, new])
    (group,) = board.groups
    assert [(line.entry.defense.label, line.place) for line in group.lines] == [
        ("worse", 1),
        ("best", None),
    ]
    assert "not ranked: made under schema 1" in to_markdown([old, new], "t")


def test_an_entry_of_schema_1_still_has_to_agree_with_itself():
    old = legacy(Plan().entry())
    assert problems_of(old) == []
    worst = tuple("1" for _ in old.per_image.worst)
    forged = old.model_copy(update={"per_image": old.per_image.model_copy(update={"worst": worst})})
    assert any("its worst case is not what" in line for line in problems_of(forged))


def test_an_entry_that_neither_ships_nor_holds_its_protocol_has_no_rank():
    entry = toy("a", protocol="theirs")
    assert not why_unranked(entry)
    bare = entry.protocol.model_copy(update={"content": None})
    assert why_unranked(entry.model_copy(update={"protocol": bare}))
