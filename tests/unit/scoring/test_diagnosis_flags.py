"""Flags of the diagnosis: raised just above their threshold, silent at it, not run without a measurement."""

import dataclasses
from pathlib import Path

import pytest

from benchmark.records.run import DefenseMeasurement
from benchmark.scoring import diagnosis_flags
from benchmark.scoring import flag_parts as signs
from benchmark.scoring.diagnosis_flags import EXAMINED
from benchmark.scoring.flag_explanations import EXPLANATIONS, NEXT_STEPS
from benchmark.scoring.flag_parts import Measured
from tests.helpers.run_builder import Run, Varied, deterministic

N = 50  # one image is the two points that every comparison allows
CLEAN = "1" * N


def right(k, n=N):
    """The first k of n images are right."""
    return "1" * k + "0" * (n - k)


def run(*diagnosis, pgd=25, worst=0, **fields):
    """A run whose `pgd` leaves 25 of 50 images; `worst` of them fall to another attack of the worst case."""
    rows = deterministic(clean=CLEAN, pgd=right(pgd), fgsm=right(pgd - worst))
    return Run(rows=rows | fields.pop("rows", {}), diagnosis=diagnosis, **fields)


def noisy(k, draws=4, n=20):
    """n images of 4 draws each, of which k in all are right."""
    bits = "1" * k + "0" * (n * draws - k)
    return [bits[i * draws : (i + 1) * draws] for i in range(n)]


def random_run(*diagnosis, pgd=40, **fields):
    rows = {"clean": ["1111"] * 20, "pgd": noisy(pgd)}
    return Run(rows=rows, is_stochastic=True, diagnosis=diagnosis, **fields)


def curve(*points, n=N):
    """Variations of the budget; the run's own is 8/255."""
    return [Varied(kind="eps", cells=right(k, n), eps=eps) for eps, k in points]


def measured(name, value, threshold):
    return (DefenseMeasurement(id=name, value=value, threshold=threshold, detail="by hand"),)


def found(run, name):
    (flag,) = [flag for flag in run.entry().flags if flag.id == name]
    return flag


BOUNDARIES = {  # for each flag: a run at the threshold, and one just above it
    "black-box-beats-white-box": (
        run(rows=deterministic(queries=right(24))),
        run(rows=deterministic(queries=right(23))),
    ),
    "doubled-steps": (
        run(Varied(kind="steps", cells=right(24))),
        run(Varied(kind="steps", cells=right(23))),
    ),
    "doubled-eot": (  # 80 draws: two standard errors are 15.8 points, 12 draws are 15 and 13 are 16.25
        random_run(Varied(kind="eot", cells=noisy(28))),
        random_run(Varied(kind="eot", cells=noisy(27))),
    ),
    "eps-curve-rises": (
        run(*curve((0.1, 10), (0.2, 11), (0.5, 0))),
        run(*curve((0.1, 10), (0.2, 12), (0.5, 0))),
    ),
    "eps-curve-ends-high": (
        run(*curve((0.1, 10), (0.5, 0))),
        run(*curve((0.1, 10), (0.5, 1))),
    ),
    "random-noise": (
        run(Varied(kind="noise", cells=right(25))),
        run(Varied(kind="noise", cells=right(24))),
    ),
    **{
        name: (
            run(examination=measured(kind, 0.25, 0.25)),
            run(examination=measured(kind, 0.2501, 0.25)),
        )
        for name, kinds in EXAMINED.items()
        for kind in kinds[-1:]
    },
}


@pytest.mark.parametrize("name", BOUNDARIES)
def test_a_flag_is_raised_just_above_its_threshold_and_not_at_it(name):
    at, above = (found(run, name) for run in BOUNDARIES[name])
    assert (at.verdict, above.verdict) == ("ok", "raised")
    assert above.value > above.threshold
    assert above.detail


@pytest.mark.parametrize("name", BOUNDARIES)
def test_without_its_diagnosis_a_flag_is_not_run_and_says_why(name):
    flag = found(run(examination=()), name)
    assert (flag.verdict, flag.value, flag.threshold) == ("not-run", None, None)
    assert flag.detail


def at_least(value, threshold, detail):
    return Measured(value, threshold, detail, value >= threshold - 1e-9)


def turned(value, threshold, detail):
    return Measured(value, threshold, detail, value < threshold)


def never(value, threshold, detail):
    return Measured(value, threshold, detail, is_raised=False)


@pytest.mark.parametrize(
    ("name", "mutant"),
    [
        (name, mutant)
        for name in BOUNDARIES
        for mutant in (at_least, turned, never)
        if (name, mutant) != ("doubled-eot", at_least)  # no number of draws lies at its threshold
    ],
)
def test_a_mutated_comparison_is_caught_at_the_boundary(name, mutant, monkeypatch):
    monkeypatch.setattr(diagnosis_flags, "raised_above", mutant)
    at, above = (found(run, name) for run in BOUNDARIES[name])
    assert (at.verdict, above.verdict) != ("ok", "raised")


@pytest.mark.parametrize(
    ("constant", "other", "name"),
    [
        ("WEAKER_POINTS", 1.9, "black-box-beats-white-box"),
        ("WEAKER_POINTS", 4.1, "black-box-beats-white-box"),
        ("BEATEN_IMAGES", 0.03, "random-noise"),
        ("BEATEN", 1.1, "random-noise"),
    ],
)
def test_another_threshold_is_caught_too(constant, other, name, monkeypatch):
    monkeypatch.setattr(diagnosis_flags, constant, other)
    at, above = (found(run, name) for run in BOUNDARIES[name])
    assert (at.verdict, above.verdict) != ("ok", "raised")


@pytest.mark.parametrize("name", ["doubled-steps", "eps-curve-rises"])
@pytest.mark.parametrize("points", [1.0, 4.5])
def test_another_resolution_is_caught_too(name, points, monkeypatch):
    monkeypatch.setattr(diagnosis_flags, "resolution", lambda entry, images: points)
    at, above = (found(run, name) for run in BOUNDARIES[name])
    assert (at.verdict, above.verdict) != ("ok", "raised")


@pytest.mark.parametrize(
    ("images", "is_random", "expected"),
    [
        (20, False, 5.0),
        (50, False, 2.0),
        (500, False, 2.0),
        (20, True, 15.811),
        (1000, True, 2.236),
    ],
)
def test_a_change_counts_from_one_image_or_two_standard_errors_on(images, is_random, expected):
    entry = (random_run() if is_random else run()).entry()
    assert signs.resolution(entry, images) == pytest.approx(expected, abs=1e-3)


def test_doubling_is_held_against_the_same_images_alone():
    flag = found(run(Varied(kind="steps", cells=right(20, 20))), "doubled-steps")
    assert (flag.verdict, flag.value, flag.threshold) == ("ok", 0.0, 5.0)


def test_doubling_that_raises_the_number_is_a_change_too():
    assert found(run(Varied(kind="steps", cells=right(27))), "doubled-steps").verdict == "raised"


def test_doubled_draws_of_a_deterministic_victim_are_not_run_and_say_so():
    assert "deterministic" in found(run(), "doubled-eot").detail
    assert "deterministic" not in found(random_run(), "doubled-eot").detail


def test_a_random_victim_may_keep_five_points_where_all_is_grey():
    for k, expected in ((4, "ok"), (5, "raised")):
        made = random_run(Varied(kind="eps", cells=noisy(k), eps=0.5))
        assert found(made, "eps-curve-ends-high").verdict == expected


def test_a_constant_output_excuses_a_curve_that_never_reaches_0():
    points = curve((0.1, 25), (0.5, 25))
    assert found(run(*points), "eps-curve-ends-high").verdict == "raised"
    for share, expected in ((1.0, "ok"), (0.999, "raised")):
        made = run(*points, examination=measured("constant", share, 0.999))
        flag = found(made, "eps-curve-ends-high")
        assert (flag.verdict, flag.value) == (expected, 50.0)


def test_a_rise_is_measured_from_the_lowest_smaller_budget():
    flag = found(run(*curve((0.1, 10), (0.2, 12), (0.3, 14), (0.5, 0))), "eps-curve-rises")
    assert flag.value == 8.0
    assert "eps 0.1" in flag.detail
    assert "eps 0.3" in flag.detail


def test_a_rise_of_one_image_among_many_is_said_as_it_is():
    rows = deterministic(clean="1" * 200, pgd=right(100, 200))
    made = Run(rows=rows, diagnosis=curve((0.1, 20), (0.2, 21), (0.5, 0), n=200))
    flag = found(made, "eps-curve-rises")
    assert (flag.verdict, flag.value) == ("ok", 0.5)
    assert "eps 0.2" in flag.detail


@pytest.mark.parametrize(("bits", "expected"), [("1000", "ok"), ("0000", "raised")])
def test_noise_beats_a_random_victims_image_where_half_of_its_draws_more_fall(bits, expected):
    # the worst case keeps two of the first image's four draws
    rows = {"clean": ["1111"] * 3, "pgd": ["1100", "0000", "0000"]}
    cells = [bits, "1111", "1111"]
    made = Run(rows=rows, is_stochastic=True, diagnosis=[Varied(kind="noise", cells=cells)])
    assert found(made, "random-noise").verdict == expected


def test_what_another_attack_of_the_worst_case_fooled_noise_has_not_beaten():
    made = run(Varied(kind="noise", cells=right(24)), worst=1)
    assert found(made, "random-noise").verdict == "ok"


def test_a_measurement_that_could_not_be_made_is_not_run_and_says_why():
    broken = (DefenseMeasurement(id="memory", value=None, threshold=None, detail="it crashed"),)
    flag = found(run(examination=broken), "memorises-images")
    assert (flag.verdict, flag.detail) == ("not-run", "it crashed")


@pytest.mark.parametrize(
    ("name", "varied"),
    [
        ("doubled-steps", [Varied(kind="steps", cells=right(10))]),
        ("eps-curve-rises", curve((0.1, 10), (0.5, 0))),
        ("eps-curve-ends-high", curve((0.1, 10), (0.5, 9))),
        ("random-noise", [Varied(kind="noise", cells=right(10))]),
    ],
)
def test_a_diagnosis_that_crashed_is_not_run_and_no_gap_of_the_entry(name, varied):
    made = run(*varied, failed=frozenset({(varied[0].id, 0)}))
    entry = made.entry()
    assert (entry.status, entry.gaps) == ("complete", ())
    flag = found(made, name)
    assert flag.verdict == "not-run"
    assert "it | crashed" in flag.detail


def test_where_the_varied_attack_is_a_gap_nothing_is_compared():
    varied = [Varied(kind="steps", cells=right(10)), *curve((0.5, 0))]
    made = run(*varied, failed=frozenset({("pgd", 0)}))
    for name in ("doubled-steps", "eps-curve-rises", "eps-curve-ends-high"):
        assert found(made, name).verdict == "not-run"


def test_a_run_without_clean_rates_raises_nothing_of_a_diagnosis():
    made = run(*curve((0.5, 9)), Varied(kind="noise", cells=right(9)))
    made = dataclasses.replace(made, failed=frozenset({("clean", 0)}))
    assert not [flag.id for flag in made.entry().flags if flag.verdict == "raised"]


PAGE = Path(__file__).resolve().parents[3] / "docs/flags.md"


def test_every_flag_has_an_explanation_and_a_line_on_its_page():
    assert set(BOUNDARIES) < set(EXPLANATIONS)
    assert list(EXPLANATIONS) == list(NEXT_STEPS)
    rules, _, _ = PAGE.read_text().partition("## What to do next")
    assert [name for name in EXPLANATIONS if f"`{name}`" not in rules] == []


def test_the_page_of_flags_says_of_each_what_to_do_next_in_the_same_words():
    _, _, table = PAGE.read_text().partition("| raised | what to do next |")
    rows = [line.split(" | ") for line in table.strip().split("\n\n")[0].splitlines()[1:]]
    said = {
        name: step.removesuffix(" |") for names, step in rows for name in names.split("`")[1::2]
    }
    assert said == NEXT_STEPS
