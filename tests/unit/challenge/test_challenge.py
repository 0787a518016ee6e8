"""Challenges: what images from outside change in an entry, and what becomes of it when it is made again."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from pydantic import ValidationError

from benchmark.challenge.judge import challenge, refuse_unready
from benchmark.engine.criterion import Outcome, Rule
from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.board_text import to_markdown, to_text
from benchmark.publishing.leaderboard.write_entries import replace_entry, with_challenges
from benchmark.records.entry import Entry
from benchmark.records.entry_files import read_entry, write_entry
from benchmark.scoring.apply_challenge import carried, challenged
from benchmark.scoring.statistics import bootstrap, wilson
from tests.helpers.run_builder import Run, deterministic
from tests.helpers.sample_entries import cells

ONE = "a" * 64
TWO = "b" * 64


def fixed() -> Entry:
    """Six images of a deterministic victim: right in the worst case are the first three."""
    return Run(rows=deterministic(clean="111110", pgd="111000")).entry()


def noisy() -> Entry:
    """Three images of a stochastic victim, four draws each; the attack got each of them to a half."""
    half = Outcome(0.5, 0.1, "1010")
    return Run(
        rows={"clean": ["1111"] * 3, "pgd": [dict.fromkeys(Rule, half)] * 3},
        is_stochastic=True,
    ).entry()


def wrong(rate: float = 0.0, margin: float = -1.0, bits: str = "0") -> dict[Rule, Outcome]:
    return dict.fromkeys(Rule, Outcome(rate, margin, bits))


def handed(outcomes, sha256: str = ONE, credit: str = "Ada, https://a.example") -> dict:
    return {"credit": credit, "sha256": sha256, "outcomes": outcomes}


def test_an_outside_image_that_fools_lowers_its_image_and_gets_the_credit():
    after = challenged(fixed(), **handed({1: wrong(), 2: wrong(1.0, 2.0, "1"), 5: wrong()}))
    assert after is not None
    assert after.per_image.worst == ("1", "0", "1", "0", "0", "0")
    assert after.per_image.chosen[1] == "challenge:1"
    assert after.per_image.chosen[5] != "challenge:1", "it was wrong already"
    assert after.worst is not None
    assert after.worst.single.value == pytest.approx(2 / 6)
    assert (after.worst.single.low, after.worst.single.high) == pytest.approx(wilson(2, 6))
    assert after.worst.single == after.worst.vote == after.worst.any_of
    (made,) = after.challenges
    assert (made.images, made.chosen, made.credit) == (3, 1, "Ada, https://a.example")
    assert made.lowered_by == pytest.approx(1 / 6)
    assert made.worst_before == fixed().worst
    assert made.worst_after == after.worst


def test_a_challenge_that_finds_nothing_changes_nothing():
    assert challenged(fixed(), **handed({0: wrong(1.0, 3.0, "1"), 4: wrong()})) is None


def test_columns_and_attacks_stay_as_they_were_measured():
    before, after = fixed(), challenged(fixed(), **handed({1: wrong()}))
    assert after is not None
    assert (after.columns, after.attacks, after.clean) == (
        before.columns,
        before.attacks,
        before.clean,
    )


def test_challenges_follow_one_another():
    first = challenged(fixed(), **handed({0: wrong()}))
    assert first is not None
    second = challenged(first, **handed({0: wrong(), 2: wrong()}, TWO, "Eve"))
    assert second is not None
    assert second.per_image.chosen[0] == "challenge:1"
    assert second.per_image.chosen[2] == "challenge:2"
    assert second.challenges[1].worst_before == first.worst
    assert challenged(second, **handed({0: wrong(), 2: wrong()}, "c" * 64)) is None


def test_the_choice_looks_at_select_draws_and_the_rate_at_score_draws():
    lucky = wrong(0.75, 0.5, "0000")  # harmless on select draws, so that its score is not looked at
    worse = wrong(0.25, 0.5, "1000")
    unlucky = wrong(0.25, 0.5, "1111")  # chosen, although its score is higher
    assert challenged(noisy(), **handed({0: lucky})) is None
    after = challenged(noisy(), **handed({0: worse, 1: worse, 2: unlucky}))
    assert after is None, "their mean did not fall"
    after = challenged(noisy(), **handed({0: worse, 1: wrong(0.0, 0.0, "0000"), 2: unlucky}))
    assert after is not None
    assert after.per_image.worst == ("1000", "0000", "1111")
    assert after.worst is not None
    low, high = bootstrap([0.25, 0.0, 1.0])
    assert (after.worst.single.low, after.worst.single.high) == (low, high)
    assert after.per_image.choices is not None
    assert after.per_image.choices.single.rates == (0.25, 0.0, 0.25)


def test_each_rule_makes_its_own_choice_and_never_rises():
    by_rule = {
        Rule.SINGLE: Outcome(0.0, 0.0, "0000"),
        Rule.VOTE: Outcome(1.0, 1.0, "11"),
        Rule.ANY: Outcome(0.0, 0.0, "11"),
    }
    after = challenged(noisy(), **handed({0: by_rule}))
    assert after is not None
    assert after.worst is not None
    before = noisy().worst
    assert before is not None
    assert after.worst.single.value < before.single.value
    assert after.worst.vote == before.vote
    assert after.worst.any_of == before.any_of


def test_a_margin_breaks_a_tie_of_a_stochastic_victim():
    after = challenged(noisy(), **handed({0: wrong(0.5, 0.0, "0001"), 1: wrong(0.5, 0.2, "0000")}))
    assert after is not None
    assert after.per_image.worst == ("0001", "1010", "1010")


def test_only_flags_that_follow_from_the_worst_case_change():
    before = Run(rows=deterministic(clean="1110", pgd="1110")).entry()
    after = challenged(before, **handed({0: wrong()}))
    assert after is not None
    changed = [a.id for a, b in zip(after.flags, before.flags, strict=True) if a != b]
    assert changed == ["no-attack-effect"]


def test_a_challenged_entry_is_written_read_and_rendered_with_its_credit(tmp_path):
    after = challenged(fixed(), **handed({0: wrong()}, credit="A | <b> http://x"))
    assert after is not None
    write_entry(after, tmp_path / "entry.json")
    assert read_entry(tmp_path / "entry.json") == after
    page = to_markdown([after, fixed()], "toy")
    assert "33.3 (9.7–70.0)§" in [cell for row in cells(page) for cell in row]
    assert page.count("§") == 2, "one cell and one footnote; the other entry has none"
    assert "worst case 50.0 → 33.3 by 1 of 1 images from outside: A &#124; &lt;b&gt;" in page
    assert "33.3 (9.7–70.0)§" in to_text([after])
    assert "§ toy on net: worst case 50.0 → 33.3" in to_text([after])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"lowered_by": 0.5}, "is not the fall"),
        ({"worst_after": "before"}, "last one end"),
        ({"sha256": "x"}, "pattern"),
        ({"credit": "x" * 201}, "200 characters"),
        ({"images": 0}, "greater than or equal to 1"),
    ],
)
def test_an_entry_whose_challenges_do_not_add_up_is_refused(change, expected):
    after = challenged(fixed(), **handed({0: wrong()}))
    assert after is not None
    values = after.model_dump()
    if change.get("worst_after") == "before":
        change = {"worst_after": values["challenges"][0]["worst_before"], "lowered_by": 0.0}
    values["challenges"] = ({**values["challenges"][0], **change},)
    with pytest.raises(ValidationError, match=expected):
        Entry.model_validate(values)


def test_an_entry_with_a_challenge_twice_or_choices_of_others_is_refused():
    first = challenged(noisy(), **handed({0: wrong(bits="0000")}))
    assert first is not None
    values = first.model_dump()
    one = values["challenges"][0]
    again = {**one, "worst_before": one["worst_after"], "lowered_by": 0.0}
    with pytest.raises(ValidationError, match="twice"):
        Entry.model_validate({**values, "challenges": (one, again)})
    values["per_image"]["choices"]["single"]["outcomes"] = ("0000", "1010", "0101")
    with pytest.raises(ValidationError, match="other outcomes"):
        Entry.model_validate(values)


def test_an_entry_is_not_written_over_one_that_has_changed_meanwhile(tmp_path):
    path = tmp_path / "entry.json"
    after = challenged(fixed(), **handed({0: wrong()}))
    other = challenged(fixed(), **handed({1: wrong()}))
    assert after is not None
    assert other is not None
    write_entry(fixed(), path)
    page = replace_entry(fixed(), after, path, "challenged")
    assert page is None, "no leaderboard's folder, so no page"
    assert not (tmp_path / "README.md").exists()
    with pytest.raises(BenchError, match="has changed"):
        replace_entry(fixed(), other, path, "challenged")
    assert read_entry(path) == after


def test_an_entry_with_nothing_to_compare_with_is_refused():
    old = noisy()
    images = old.per_image.model_copy(update={"choices": None})
    with pytest.raises(BenchError, match="before the choices"):
        refuse_unready(old.model_copy(update={"per_image": images}))
    gap = Run(rows=deterministic(clean="11", pgd="10"), failed=frozenset({("clean", 0)})).entry()
    with pytest.raises(BenchError, match="no worst case"):
        refuse_unready(gap)


def test_the_same_file_again_changes_nothing_and_is_not_judged(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, x_adv=np.full((2, 1, 8, 8), 0.5), indices=[100, 101])
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = challenged(fixed(), **handed({0: wrong()}, sha256))
    assert entry is not None
    verdict = challenge(entry, path)
    assert not verdict.is_lowered
    assert verdict.after == entry
    assert "challenge 1" in verdict.reason


def test_an_entry_from_before_there_were_challenges_is_still_read():
    text = json.loads(fixed().model_dump_json())
    del text["challenges"]
    del text["per_image"]["choices"]
    assert Entry.model_validate_json(json.dumps(text)) == fixed()


def test_a_new_run_keeps_the_challenges_that_still_hold():
    first = challenged(noisy(), **handed({0: wrong(0.25, 0.0, "1000")}))
    assert first is not None
    vote = wrong(0.0, 0.0, "00") | {Rule.SINGLE: Outcome(1.0, 1.0, "1111")}
    second = challenged(first, **handed({1: vote, 2: wrong(0.25, 0.0, "0000")}, TWO))
    assert second is not None
    assert carried(second, noisy()) == second


def test_a_challenge_that_a_new_run_has_caught_up_with_is_left_out():
    one = challenged(fixed(), **handed({0: wrong()}))
    assert one is not None
    both = challenged(one, **handed({1: wrong()}, TWO, "Eve"))
    assert both is not None
    stronger = Run(rows=deterministic(clean="111110", pgd="011000")).entry()
    found = carried(both, stronger)
    assert found is not None
    assert found.per_image.worst == ("0", "0", "1", "0", "0", "0")
    assert [made.credit for made in found.challenges] == ["Eve"]
    assert found.per_image.chosen[:2] == ("pgd", "challenge:1")


@pytest.mark.parametrize("change", [{"weights": "w"}, {"pixels": "q"}, {"threat": "linf:4/255"}])
def test_challenges_do_not_pass_to_another_victim(change):
    old = challenged(fixed(), **handed({0: wrong()}))
    assert old is not None
    new = Run(rows=deterministic(clean="111110", pgd="111000"), **change).entry()
    assert carried(old, new) is None


def test_challenges_that_do_not_stand_in_a_new_run_are_said_to_be_lost(tmp_path):
    path = tmp_path / "entry.json"
    lowered = challenged(noisy(), **handed({2: wrong()}))
    write_entry(lowered, path)
    other = noisy().model_copy(update={"seed": 1})
    entry, said = with_challenges(other, path)
    assert entry.challenges == ()
    assert "Ada" in said
    assert "challenge it again" in said
