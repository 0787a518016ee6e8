"""Canaries, each of which fools an evaluation that looks at the wrong thing; `bench selftest` runs them all."""

import pytest
import torch

import attacks.transfer
import benchmark.engine.victims.purified
from benchmark.contract.checks import CHECKS
from benchmark.engine.criterion import Rule
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import GradientMode
from benchmark.evaluation.execute.run import run
from benchmark.records.protocol import Column
from benchmark.selftest.canaries import Crowd, Memoriser, ZeroGradient
from benchmark.selftest.canary_suite import PROTOCOL, SAMPLES, Canary, CanaryRun, canaries, seen
from benchmark.selftest.check import check_request

pytestmark = pytest.mark.slow

CANARIES = {canary.name: canary for canary in canaries()}


@pytest.fixture(scope="module")
def cage(tmp_path_factory):
    return CanaryRun(tmp_path_factory.mktemp("runs"), "cpu")


@pytest.fixture(scope="module")
def entries(cage):
    """The entry of each canary, made when it is asked for."""
    made = {}

    def entry(name):
        if name not in made:
            made[name] = run(cage.request(CANARIES[name], PROTOCOL))
        return made[name]

    return entry


def row(entry, name):
    return next(record for record in entry.attacks if record.id == name)


def kept(entry, name):
    return row(entry, name).rates.single.value


def test_every_kind_that_is_known_is_there():
    assert set(CANARIES) == {
        "jpeg",
        "bit-depth",
        "zero-gradient",
        "saturating",
        "gaussian",
        "memoriser",
        "crowd",
        "constant",
        "hidden",
        "grains",
    }


@pytest.mark.parametrize("name", CANARIES)
def test_of_each_something_is_expected(name):
    canary = CANARIES[name]
    assert canary.falls or canary.flags or canary.checks
    assert set(canary.checks) <= {check.__name__ for check in CHECKS}


def test_what_is_expected_of_canaries_is_not_seen_without_one(cage):
    entry = run(cage.request(Canary("none"), PROTOCOL))
    raised = {flag.id for flag in entry.flags if flag.verdict == "raised"}
    assert not raised & {flag for canary in CANARIES.values() for flag in canary.flags}
    outcomes = check_request(cage.request(Canary("none"), PROTOCOL))
    assert all(outcome.passed for outcome in outcomes)


def test_scaled_gradients_hide_everything_from_gradients(entries):
    entry = entries("zero-gradient")
    for name in ("pgd:exact", "apgd-ce", "fgsm"):
        assert kept(entry, name) == entry.clean.single.value
    assert kept(entry, "pgd:bpda") == 0


def test_saturated_logits_hide_everything_from_cross_entropy(entries):
    entry = entries("saturating")
    assert kept(entry, "apgd-ce") == entry.clean.single.value
    assert row(entry, "apgd-ce").zero_gradients > 0.9
    assert kept(entry, "pgd:exact") == 0


def test_the_memoriser_withstands_whatever_is_shown(entries):
    entry = entries("memoriser")
    assert entry.worst.single.value == entry.clean.single.value > 0.9


def test_behind_strong_noise_some_draw_saves_images_that_have_fallen(entries):
    entry = entries("gaussian")
    saved = sum("1" in outcome for outcome in entry.per_image.worst)
    assert saved >= 0.3 * SAMPLES
    assert entry.worst.any_of.value == 0


def test_the_constant_image_hides_every_gradient_but_the_first(entries):
    entry = entries("constant")
    assert row(entry, "pgd:exact").zero_gradients > 0.9
    assert row(entry, "pgd:bpda").zero_gradients == 0


def test_the_crowd_answers_otherwise_in_a_crowd():
    x = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    draws = Draws.of(0, torch.arange(16))
    crowded = Crowd()(x, draws=draws)
    lone = torch.cat(
        [Crowd()(x[i : i + 1], draws=draws.take(torch.tensor([i]))) for i in range(16)]
    )
    assert torch.equal(lone, x)
    assert (crowded - lone).abs().amax((1, 2, 3)).min() > 0.1


def test_a_purifier_that_does_not_fall_fails_its_expectation(entries):
    said, wrong = seen(Canary(Memoriser(), falls=Rule.SINGLE), entries("memoriser"))
    assert not said
    assert "adaptive 95.0%" in wrong[0]


def test_a_flag_that_is_not_raised_fails_its_expectation(entries):
    said, wrong = seen(
        Canary(Memoriser(), flags=("no-attack-effect", "zero-gradients", "no-such-flag")),
        entries("memoriser"),
    )
    assert said == ["flag no-attack-effect is raised"]
    assert len(wrong) == 2


def test_a_column_that_is_missing_is_none_that_fell(entries):
    entry = entries("bit-depth")
    bare = entry.model_copy(update={"columns": entry.columns.model_copy(update={"adaptive": None})})
    said, wrong = seen(CANARIES["bit-depth"], bare)
    assert not said
    assert "nan" in wrong[0]


def test_a_gap_fails_every_expectation(entries):
    entry = entries("memoriser").model_copy(update={"status": "gaps"})
    assert seen(CANARIES["memoriser"], entry)[1] == ["gaps: "]


def test_a_check_that_is_passed_fails_its_expectation(cage):
    found = cage.finding(Canary(ZeroGradient(), checks=("leaves_its_input",)))
    assert not found.passed
    assert found.detail == "check leaves_its_input passes; it must fail"


def test_without_bpda_a_hidden_gradient_stays_hidden(monkeypatch, tmp_path):
    stage = Purified._stage

    def exact(victim, defense, x, draws, mode):
        del mode
        return stage(victim, defense, x, draws, GradientMode.EXACT)

    monkeypatch.setattr(benchmark.engine.victims.purified.Purified, "_stage", exact)
    found = CanaryRun(tmp_path, "cpu").finding(CANARIES["zero-gradient"])
    assert not found.passed
    assert "adaptive 95.0%" in found.detail


def test_where_transfer_shows_clean_images_the_undefended_classifier_stands(monkeypatch, tmp_path):
    monkeypatch.setattr(
        attacks.transfer.Transfer, "perturb", lambda attack, target, x, y, **options: x.clone()
    )
    monkeypatch.setattr("benchmark.selftest.canary_suite.WITH_AUTOATTACK", PROTOCOL)
    found = CanaryRun(tmp_path, "cpu").undefended()
    assert not found.passed
    assert f"{Column.OBLIVIOUS} 95%" in found.detail
    assert f"{Column.TRANSFER} 95%" in found.detail
