"""Runs with a diagnosis: each flag is raised by a purifier made to raise it, and by no honest one."""

from __future__ import annotations

import pytest

from benchmark.contract import measurements as examination
from benchmark.estimate.estimate import estimate
from benchmark.evaluation.execute.run import Listener, run, run_slice
from benchmark.evaluation.prepare.slices import Slice
from benchmark.publishing.leaderboard.eligibility import why_unranked
from benchmark.records.entry import without_timing
from benchmark.records.entry_files import read_entry, write_entry
from benchmark.records.protocol_files import parse_protocol
from benchmark.scoring.diagnosis_flags import EXAMINED
from tests.helpers.flagged_defenses import (
    Backwards,
    Blind,
    ByHeart,
    Crash,
    Crowded,
    Dazzling,
    Grainy,
    Halves,
    Modest,
    Wall,
)
from tests.helpers.tiny_task import Noise, dataset, request
from tests.helpers.toy_plugins import Quantised

pytestmark = pytest.mark.slow

N = 16
DATA = dataset(N)
KNOWN = DATA._images.flatten(1).tolist()
NEW = {
    "doubled-steps",
    "doubled-eot",
    "eps-curve-rises",
    "eps-curve-ends-high",
    "random-noise",
    *EXAMINED,
}
CALM = Noise(sigma=0.02)


def protocol(attack="steps: 10, step_size: 0.25, loss: margin", eot=4, **asked):
    asked = {"images": N, "curve": [0.5, 2], "points": 20, "frozen": "true", "examined": 8} | asked
    block = ", ".join(f"{name}: {value}" for name, value in asked.items())
    text = f"""
name: diagnosed
version: 1
summary: one attack and its diagnosis
shard_size: 8
criterion: {{draws: 8, vote: 3, any_of: 2}}
attacks:
  - {{id: clean, column: clean, knowledge: oblivious, attack: clean}}
  - {{id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [best], eot: {eot},
     arguments: {{{attack}}}}}
diagnosis: {{of: pgd, {block}}}
"""
    return parse_protocol(text.encode(), where="diagnosed")


def asked(runs, defense, **changes):
    given = {"protocol": protocol(), "dataset": DATA, "threat": "linf:0.1"} | changes
    return request(runs, defense=defense, **given)


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """An honest purifier's entry, and the folder of its run."""
    runs = tmp_path_factory.mktemp("calm")
    return run(asked(runs, CALM)), runs


def raised(entry):
    return {flag.id for flag in entry.flags if flag.verdict == "raised"} & NEW


def rates(entry):
    return [point.rate for point in entry.eps_curve]


@pytest.mark.parametrize("honest", [Halves(), Quantised()], ids=lambda each: each.name)
def test_an_honest_deterministic_purifier_raises_none_of_them(honest, tmp_path):
    entry = run(asked(tmp_path, honest))
    assert raised(entry) == set()
    assert {flag.id for flag in entry.flags if flag.verdict == "ok"} >= NEW - {"doubled-eot"}
    assert rates(entry)[0] > 0.5
    assert rates(entry)[-1] == 0.0


def test_an_honest_random_purifier_raises_none_of_them(calm):
    entry, _ = calm
    assert raised(entry) == set()
    assert {flag.id for flag in entry.flags if flag.verdict == "ok"} >= NEW
    assert rates(entry)[0] > 0.7
    assert rates(entry)[-1] < 0.05


@pytest.mark.parametrize(
    ("liar", "flags"),
    [
        (Blind(), {"gradient-not-as-declared", "eps-curve-ends-high", "random-noise"}),
        (Backwards(), {"gradient-not-as-declared", "eps-curve-ends-high"}),
        (Modest(), {"gradient-not-as-declared"}),
        (ByHeart(known=KNOWN), {"memorises-images"}),
        (ByHeart(known=KNOWN, far=0.06), {"memorises-images", "eps-curve-rises"}),
        (Crowded(), {"batch-dependent"}),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else "",
)
def test_a_purifier_made_to_raise_a_flag_raises_it(liar, flags, tmp_path):
    entry = run(asked(tmp_path, liar))
    assert flags <= raised(entry)
    assert not {"doubled-steps", "doubled-eot"} & raised(entry)


def test_an_attack_that_is_too_short_is_named_and_its_purifier_is_not(tmp_path):
    short = protocol("steps: 1, step_size: 0.4, random_start: false, loss: margin")
    found = raised(run(asked(tmp_path, Halves(), protocol=short)))
    assert "doubled-steps" in found
    assert found <= {"doubled-steps", "random-noise"}


def test_gradients_drowned_in_noise_are_named(tmp_path):
    few = protocol("steps: 3, step_size: 0.34, random_start: false, loss: margin", eot=1)
    found = raised(run(asked(tmp_path, Dazzling(), protocol=few, threat="linf:0.2")))
    assert "doubled-eot" in found


def test_a_constant_output_is_excused_from_the_curve(tmp_path):
    entry = run(asked(tmp_path, Wall()))
    assert rates(entry)[-1] > 0
    (flag,) = [flag for flag in entry.flags if flag.id == "eps-curve-ends-high"]
    assert flag.verdict == "ok"
    assert "constant" in flag.detail


def test_noise_saves_images_and_a_frozen_draw_says_how_many(tmp_path):
    n = 48
    many = {"dataset": dataset(n), "samples": n, "protocol": protocol(images=n)}
    entry = run(asked(tmp_path, Grainy(), **many))
    row = next(row for row in entry.diagnosis if row.id == "diagnosis-frozen:exact")
    assert row.own is not None
    assert row.rate is not None
    assert row.own < row.rate - 0.1
    assert row.id not in {attack.id for attack in entry.attacks}
    assert row.id not in entry.per_image.chosen


def test_what_is_to_be_had_in_float32_alone_is_measured_in_that_and_keeps_its_rank(tmp_path):
    entry = run(asked(tmp_path, Crash(), precision="float32"))
    assert raised(entry) == set()
    assert why_unranked(entry) == ()
    assert "only float32" in entry.examination[0].detail


def test_what_cannot_be_measured_is_not_run_and_the_run_goes_on_without_a_rank(
    tmp_path, monkeypatch
):
    def broken(*_):
        raise RuntimeError("it broke")

    monkeypatch.setattr(examination, "shifts", broken)
    entry = run(asked(tmp_path, Halves()))
    (flag,) = [flag for flag in entry.flags if flag.id == "memorises-images"]
    assert entry.status == "complete"
    assert (flag.verdict, "it broke" in flag.detail) == ("not-run", True)
    assert why_unranked(entry) == ("memorises-images could not be checked",)


def test_a_second_run_repeats_nothing_and_says_the_same(calm, tmp_path, monkeypatch):
    first, runs = calm
    again = []
    monkeypatch.setattr(examination, "examine", lambda exhibit: again.append(exhibit))
    listener = Listener(on_done=lambda task, result, cached: again.extend([task] * (not cached)))
    second = run(asked(runs, CALM), listener)
    assert not again
    assert without_timing(second) == without_timing(first)
    write_entry(second, tmp_path / "e.json")
    assert read_entry(tmp_path / "e.json") == second


def test_a_damaged_examination_is_made_again(calm):
    first, runs = calm
    kept = {path: path.read_bytes() for path in (runs / "examinations").iterdir()}
    assert len(kept) == 2  # of the gradients, before the plan, and of all else
    for damage in (b"", b"[" * 40, b'[{"id": 1}]', b"null"):
        for path in kept:
            path.write_bytes(damage)
        again = run(asked(runs, CALM))
        assert (again.examination, again.defense) == (first.examination, first.defense)
        assert {path: path.read_bytes() for path in kept} == kept


def test_slices_do_a_diagnosis_once_and_together_say_what_one_run_says(calm, tmp_path):
    parts = [run_slice(asked(tmp_path, CALM, slice=Slice(k, 2))) for k in (1, 2)]
    assert sum(part.images for part in parts) == N
    assert parts[-1].left == 0
    cached = []
    listener = Listener(on_done=lambda task, result, done: cached.append(done))
    entry = run(asked(tmp_path, CALM), listener)
    assert without_timing(entry) == without_timing(calm[0])
    assert all(cached)


def test_an_estimate_knows_what_a_diagnosis_costs_and_what_is_done(calm):
    found = {row.id: row for row in estimate(asked(calm[1], CALM)).rows}
    assert {name: row.left for name, row in found.items() if row.left} == {}
    found = {
        row.id: row for row in estimate(asked(calm[1], CALM, protocol=protocol(images=4))).rows
    }
    assert found["diagnosis-steps"].column == "diagnosis"
    assert (found["diagnosis-steps"].images, found["pgd"].images) == (4, N)
    assert (found["diagnosis-steps"].left, found["pgd"].left) == (4, 0)
    assert found["diagnosis-eot"].passes.forwards == 2 * found["pgd"].passes.forwards
