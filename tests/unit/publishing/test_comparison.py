"""Comparing two entries: what is concluded, what is refused, and how it is said."""

from __future__ import annotations

import json

import pytest

from benchmark.cli import main
from benchmark.engine.criterion import Outcome
from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.comparison import Conclusion, Held, compare, pair
from benchmark.publishing.leaderboard.comparison_text import to_json, to_markdown, to_text
from benchmark.records.entry_files import write_entry
from benchmark.scoring.flag_explanations import said_of
from tests.helpers.run_builder import Run, deterministic
from tests.helpers.sample_entries import cells, toy


def fixed(worst, *, label="toy", margin=0.0, **fields):
    """A deterministic entry of which these images stand up to PGD; all are right when clean."""
    clean = [Outcome(1.0, 3.0, "1")] * len(worst)
    pgd = [Outcome(float(bit), margin + (0.5 if bit == "1" else -0.5), bit) for bit in worst]
    return Run(rows={"clean": clean, "pgd": pgd}, label=label, **fields).entry()


def judged(base, candidate, tolerance=0.05, gates=("worst",), **fields):
    other = fixed(candidate, label="new", margin=0.01, **fields)
    return compare(fixed(base), other).verdict(tolerance, gates)


STANDING = "1" * 70 + "0" * 30


def test_a_better_candidate_is_held_and_a_worse_one_has_fallen():
    assert judged(STANDING, "1" * 90 + "0" * 10) is Conclusion.HELD
    assert judged(STANDING, "1" * 40 + "0" * 60) is Conclusion.FELL


def test_a_small_change_on_few_images_is_inconclusive_and_held_with_more_tolerance():
    slightly = "1" * 66 + "0" * 34
    assert judged(STANDING, slightly) is Conclusion.OPEN
    assert judged(STANDING, slightly, tolerance=0.2) is Conclusion.HELD


def test_no_tolerance_asks_for_proof_of_a_gain():
    assert judged(STANDING, STANDING, 0.0) is Conclusion.OPEN
    assert judged(STANDING, "1" * 71 + "0" * 29, 0.0) is Conclusion.OPEN
    assert judged(STANDING, "1" * 85 + "0" * 15, 0.0) is Conclusion.HELD


def test_the_gate_on_clean_images_sees_what_the_worst_case_does_not():
    base = fixed("1" * 20 + "0" * 80)
    rows = deterministic(clean="1" * 70 + "0" * 30, pgd="1" * 20 + "0" * 80)
    found = compare(base, Run(rows=rows, label="new").entry())
    assert found.verdict(0.05, ("worst",)) is Conclusion.HELD
    assert found.verdict(0.05, ("worst", "clean")) is Conclusion.FELL


def test_pairs_decide_where_the_rates_alone_could_not():
    """Each loses ten images of the other's: equal rates, and yet twenty images differ."""
    found = compare(fixed("1" * 50 + "0" * 10), fixed("0" * 10 + "1" * 50))
    assert found.worst.value == 0
    assert (len(found.worst.lost), len(found.worst.gained)) == (10, 10)
    same = compare(fixed("1" * 50 + "0" * 10), fixed("1" * 50 + "0" * 10, label="new"))
    assert found.worst.high > 2 * same.worst.high
    assert found.worst.lost == tuple(range(100, 110))


def test_64_images_of_which_none_differs_rule_out_a_fall_of_5_points_and_none_of_4():
    """The one-sided bound is z^2 / (n + z^2) with z = 1.645: 4.06 points."""
    found = compare(fixed("1" * 40 + "0" * 24), fixed("1" * 40 + "0" * 24, label="new", margin=1))
    assert found.worst.low == pytest.approx(-0.04056, abs=1e-5)
    assert found.held(0.05, ("worst",)) is Held.BOUND
    assert found.verdict(0.04, ("worst",)) is Conclusion.OPEN
    assert found.worst.deciding_n(0.04) == 65  # z^2 (1 - t) / t = 64.9
    assert (
        compare(fixed("1" * 64), fixed("1" * 64, margin=1, label="new")).worst.deciding_n(0.02)
        == 133
    )


@pytest.mark.parametrize("fallen", [3, 4, 8])
def test_the_number_of_images_that_would_decide_does_decide(fallen):
    n = 60
    found = compare(fixed("1" * n), fixed("0" * fallen + "1" * (n - fallen))).worst
    assert found.verdict(0.1) is Conclusion.OPEN
    wanted = found.deciding_n(0.1)
    assert wanted > n
    times = -(-wanted // n) + 1  # the approximation may be off by a little
    more = compare(
        fixed("1" * n * times),
        fixed("0" * fallen * times + "1" * (n - fallen) * times),
    ).worst
    assert more.verdict(0.1) is not Conclusion.OPEN


def test_a_change_of_the_tolerance_itself_is_decided_by_no_number():
    found = compare(fixed("1" * 60), fixed("0" * 6 + "1" * 54)).worst
    assert found.verdict(0.1) is Conclusion.OPEN
    assert found.deciding_n(0.1) is None


def test_the_very_same_jobs_are_held_whatever_the_tolerance():
    found = compare(fixed(STANDING), fixed(STANDING))
    assert found.held(0.0, ("worst", "clean")) is Held.SAME_JOBS
    assert "the very same jobs" in to_text(found, 0.0, ("worst",))


def test_keys_that_agree_hold_nothing_where_outcomes_do_not():
    found = compare(fixed(STANDING), fixed("1" * 40 + "0" * 60))
    assert found.verdict(0.05, ("worst",)) is Conclusion.FELL


@pytest.mark.parametrize(
    ("apart", "held"), [(0.0, Held.SAME_OUTCOMES), (9e-5, Held.SAME_OUTCOMES), (2e-4, None)]
)
def test_other_code_of_the_same_outcomes_and_margins_is_held(apart, held):
    found = compare(fixed(STANDING), fixed(STANDING, label="new", margin=apart))
    assert found.held(0.0, ("worst", "clean")) is held
    said = to_json(found, 0.0, ("worst",))
    assert (said["verdict"], said["held_because"]) == (
        ("held", "same-outcomes") if held else ("inconclusive", None)
    )


def test_one_outcome_that_differs_is_a_change_whatever_the_margins():
    found = compare(fixed(STANDING), fixed("1" * 71 + "0" * 29, label="new"))
    assert found.unchanged is None


def test_entries_from_before_margins_were_kept_are_not_said_to_behave_the_same():
    old = fixed(STANDING)
    old = old.model_copy(
        update={"attacks": tuple(row.model_copy(update={"margins": ()}) for row in old.attacks)}
    )
    assert compare(old, fixed(STANDING, label="new")).unchanged is None
    assert compare(old, fixed(STANDING)).unchanged is Held.SAME_JOBS


def test_random_victims_of_the_same_draws_and_margins_are_held():
    def random_one(label, margin=0.0):
        rows = {
            "clean": ["1111"] * 40,
            "pgd": [Outcome(0.5, margin, "1110")] * 20 + [Outcome(1.0, 1.0, "1111")] * 20,
        }
        return Run(rows=rows, label=label, is_stochastic=True).entry()

    assert compare(random_one("a"), random_one("b")).held(0.0, ("worst",)) is Held.SAME_OUTCOMES
    assert compare(random_one("a"), random_one("b", margin=0.1)).unchanged is None


def test_random_victims_are_compared_by_their_shares():
    def random_one(bits, label):
        rows = {"clean": ["1111"] * 40, "pgd": [bits] * 20 + ["1111"] * 20}
        return Run(rows=rows, label=label, is_stochastic=True).entry()

    found = compare(random_one("1110", "base"), random_one("0001", "new"))
    assert found.worst.value == pytest.approx(-0.25)
    assert found.verdict(0.05, ("worst",)) is Conclusion.FELL


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"dataset": "mnist"}, "another dataset: digits and mnist"),
        ({"threat": "linf:4/255"}, "another threat: linf:8/255 and linf:4/255"),
        ({"protocol": "quick"}, "another protocol: standard version 1 and quick version 1"),
        ({"version": 2}, "another protocol: standard version 1 and standard version 2"),
        ({"model": "other"}, "another classifier: net and other"),
        ({"pixels": "q"}, "another pixels"),
    ],
)
def test_what_met_another_evaluation_is_not_compared(fields, reason):
    with pytest.raises(BenchError, match=f"cannot be compared: they are of {reason}"):
        compare(fixed("1100"), fixed("1100", **fields))


def test_another_number_of_images_is_not_compared():
    with pytest.raises(BenchError, match="another number of images: 4 and 3"):
        compare(fixed("1100"), fixed("110"))


def test_a_gap_is_not_compared_and_is_named():
    rows = deterministic(clean="1111", pgd="1100")
    gap = Run(rows=rows, label="new", failed=frozenset({("pgd", 0)})).entry()
    with pytest.raises(BenchError, match=r"candidate \(new on net, .* has a gap, .*: pgd: "):
        compare(fixed("1100"), gap)


def test_a_flag_that_only_the_candidate_raises_says_what_to_do_next():
    base = toy("toy", pgd="1100")
    candidate = toy("toy", pgd="1111", clean="1111")
    said = f"only the candidate raises {said_of('no-attack-effect')}"
    assert said in to_text(compare(base, candidate), 0.05, ["worst"])
    assert "raises" not in to_text(compare(candidate, base), 0.05, ["worst"])


def test_folders_are_paired_by_row_and_the_rest_is_named():
    base = [toy("a"), toy("b"), toy("c")]
    pairs, alone = pair(base, [toy("b"), toy("d"), toy("a")])
    assert [(x.defense.label, y.defense.label) for x, y in pairs] == [("a", "a"), ("b", "b")]
    assert [line.split(":")[0] for line in alone] == ["only in base", "only in candidate"]
    with pytest.raises(BenchError, match="no row is in both folders"):
        pair([toy("a")], [toy("b")])
    with pytest.raises(BenchError, match=r"holds a on net, .* twice"):
        pair([toy("a"), toy("a", clean="1110")], [toy("a")])


def test_a_pull_requests_comment_shows_hostile_names_as_text():
    hostile = "<script>alert(1)</script> | [x](javascript:1) `"
    found = compare(fixed("1100"), fixed("1000", label=hostile))
    page = to_markdown(found, 0.05, ("worst",))
    assert "<script>" not in page
    assert [row[0] for row in cells(page)] == ["", "worst case", "clean", "", "pgd"]


def test_a_program_reads_shares_and_the_verdict():
    found = compare(fixed("1" * 30), fixed("0" * 2 + "1" * 28, label="new"))
    assert found.held(0.2, ("worst",)) is Held.BOUND
    said = json.loads(json.dumps(to_json(found, 0.05, ("worst",)), allow_nan=False))
    assert said["verdict"] == "inconclusive"
    assert said["deciding_n"] > 30
    assert said["worst"]["change"] == pytest.approx(-2 / 30)
    assert said["worst"]["lost"] == [100, 101]
    assert [row["name"] for row in said["attacks"]] == ["pgd"]


@pytest.fixture
def files(tmp_path):
    def write(worst, label="toy", where="candidate", **fields):
        path = tmp_path / where / f"{label}.json"
        path.parent.mkdir(exist_ok=True)
        write_entry(fixed(worst, label=label, **fields), path)
        return path

    return write


@pytest.mark.parametrize(
    ("candidate", "status", "word"),
    [
        ("1" * 90 + "0" * 10, 0, "Held"),
        ("1" * 40 + "0" * 60, 1, "Fell"),
        ("1" * 66 + "0" * 34, 3, "--samples"),
    ],
)
def test_the_exit_status_is_the_verdict(files, capsys, candidate, status, word):
    base, other = files(STANDING, where="base"), files(candidate, label="new")
    assert main(["compare", str(base), str(other)]) == status
    assert word in capsys.readouterr().out


def test_of_several_rows_the_worst_decides_and_one_that_cannot_be_compared_is_status_2(
    files, capsys
):
    for label in ("a", "b"):
        base = files(STANDING, label=label, where="base").parent
    files("1" * 95 + "0" * 5, label="a")
    candidate = files("1" * 40 + "0" * 60, label="b").parent
    assert main(["compare", str(base), str(candidate)]) == 1
    out = capsys.readouterr().out
    assert "Held" in out
    assert "Fell" in out
    files("1" * 40 + "0" * 60, label="b", version=2)
    assert main(["compare", str(base), str(candidate), "--markdown"]) == 2
    assert "### ⚠️ cannot be compared\n\nbase and candidate" in capsys.readouterr().out
    assert main(["compare", str(base), str(candidate), "--json"]) == 2
    said = capsys.readouterr()
    assert [row["candidate"]["defense"] for row in json.loads(said.out)] == ["a"]
    assert "another protocol" in said.err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["{base}", "{folder}"], "two entries or two folders"),
        (["{base}", "{missing}"], "cannot read"),
        (["{base}", "{base}", "--json", "--markdown"], "give one of them"),
        (["{base}", "{base}", "--tolerance", "-1"], "expected a number from 0 to 100"),
        (["{base}", "{damaged}"], "is no JSON"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(files, tmp_path, capsys, words, reason):
    base = files("1100", where="base")
    damaged = tmp_path / "damaged.json"
    damaged.write_text("{")
    places = {"base": base, "folder": base.parent, "missing": tmp_path / "x", "damaged": damaged}
    assert main(["compare", *(word.format(**places) for word in words)]) == 2
    assert reason in capsys.readouterr().err
