"""`bench check` of attacks: every registered one keeps its contract, and one that breaks it is caught."""

import json
from functools import cache

import pytest
import torch

from benchmark.cli import main
from benchmark.contract.checks import CheckOutcome
from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.errors import BenchError
from benchmark.plugins import ATTACKS, DEFENSES
from benchmark.selftest.attack_contract import ATTACK_CHECKS, AttackSubject, run_attack_checks

NAMES = [check.__name__ for check in ATTACK_CHECKS]
STEPS = {"steps": 5, "step_size": 0.2}
ATTACKED = {
    "clean": {},
    "noise": {},
    "transfer": {},
    "random-points": {"points": 2},
    "fgsm": {"random_start": True},
    "pgd": {**STEPS, "restarts": 2},
    "apgd": {"steps": 7, "restarts": 2},
    "auxiliary": {**STEPS, "lambdas": [0.0, 1.0]},
    "deepfool": {"steps": 3},
    "cw": {"steps": 4, "binary_search_steps": 2},
    "cw-linf": {"rounds": 2, "steps": 4},
    "ddn": {"steps": 5},
    "ifgsm": {"steps": 4},
    "mim": {"steps": 4},
    "stadv": {"steps": 3},
    "rotation-translation": {"rotations": 3, "shifts": 3},
    "wasserstein": {"steps": 3, "window": 3},
    "rp2": {"steps": 3, "restarts": 2, "views": 3},
    "local-search": {"rounds": 2, "t": 1},
    "nes": {"queries": 24, "directions": 2, "draws": 2},
    "square": {"queries": 12, "draws": 2},
    "hopskipjump": {"queries": 250, "first": 5, "draws": 2},
    "boundary": {"steps": 8, "draws": 2},
    "substitute": {"rounds": 1, "epochs": 1, "attack": "fgsm"},
    "fast-autoattack": {"steps": 3, "targets": 1, "queries": 9},
    "frozen-draw": {"steps": 4},
}
MINUTES = {"autoattack"}
"""Its contract is held in test_autoattack.py, at the price of its 5,000 queries an image."""

PROCESSES = {"fast-autoattack"}
"""Which start a process of their own at each call."""


@cache
def outcomes(name: str) -> dict[str, CheckOutcome]:
    attack = ATTACKS.get(name)(**ATTACKED[name])
    return {found.name: found for found in run_attack_checks(AttackSubject(attack))}


def test_every_registered_attack_is_here():
    assert set(ATTACKED) | MINUTES == set(ATTACKS.own())


@pytest.mark.parametrize("check", NAMES)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in PROCESSES else name
        for name in ATTACKED
    ],
)
def test_a_registered_attack_keeps_its_contract(name, check):
    found = outcomes(name)[check]
    assert found.passed, found.detail
    assert found.detail
    assert "\n" not in found.detail


class Honest(Attack):
    """One step along random signs, after one look; what follows break one promise each."""

    name = "honest"

    def perturb(self, target, x, y, *, threat, draws):
        target.predict(x, draws=draws.at("look"))
        return threat.project(x, x + threat.eps * self.direction(x, draws))

    def direction(self, x, draws):
        return draws.at("init").uniform(tuple(x.shape[1:]), dtype=x.dtype) - 0.5

    def passes(self, *, classes, eot, stochastic, shape):
        return Passes(forwards=1, backwards=0)


class LeavesTheBudget(Honest):
    def perturb(self, target, x, y, *, threat, draws):
        return (x + 2 * threat.eps * self.direction(x, draws).sign()).clamp(0, 1)


class FailsOnWhite(Honest):
    def perturb(self, target, x, y, *, threat, draws):
        return super().perturb(target, x, y, threat=threat, draws=draws) / (x.min() < 1)


class FailsOnRandomVictims(Honest):
    def perturb(self, target, x, y, *, threat, draws):
        assert not target.victim.stochastic
        return super().perturb(target, x, y, threat=threat, draws=draws)


class WritesIntoItsInput(Honest):
    def perturb(self, target, x, y, *, threat, draws):
        x.data += 1e-9
        return x.clone()


class DrawsFromTheGlobalGenerator(Honest):
    def direction(self, x, draws):
        return torch.rand_like(x) - 0.5


class CountsItsCalls(Honest):
    def __init__(self):
        self.calls = 0

    def direction(self, x, draws):
        self.calls += 1
        return super().direction(x, draws) * self.calls / 100


class LooksAtTheBatch(Honest):
    def direction(self, x, draws):
        return x - x.mean(0, keepdim=True)


class AsksOnceMore(Honest):
    def perturb(self, target, x, y, *, threat, draws):
        target.predict(x, draws=draws.at("again"))
        return super().perturb(target, x, y, threat=threat, draws=draws)


class AsksPastTheTarget(Honest):
    def perturb(self, target, x, y, *, threat, draws):
        for _ in range(2):
            target.victim.logits(x, draws=draws, mode=target.mode)
        return x.clone()


class HandsBackMoreThanItSays(Honest):
    def perturb(self, target, x, y, *, threat, draws):
        return torch.stack([x, x], dim=1)


class TeachesTheVictim(Honest):
    def perturb(self, target, x, y, *, threat, draws):
        for classifier in target.victim.classifiers:
            for parameter in classifier.parameters():
                parameter.data *= 1 + 1e-9
        return x.clone()


class ChangesTheDefaultDtype(Honest):
    def perturb(self, target, x, y, *, threat, draws):
        torch.set_default_dtype(torch.float64)
        return x.clone()


class RefusesInTwoLines(Honest):
    def perturb(self, target, x, y, *, threat, draws):
        if target.classes == 2:
            raise ValueError("two classes\nare too few")
        return x.clone()


class ForgetsAnArgument(Honest):
    def __init__(self, *, steps=3):
        self.n = steps
        self.steps = 3


LIARS = {
    LeavesTheBudget: "returns_images_in_its_budget",
    FailsOnWhite: "returns_images_in_its_budget",
    FailsOnRandomVictims: "works_on_a_random_victim",
    WritesIntoItsInput: "leaves_its_input",
    DrawsFromTheGlobalGenerator: "uses_no_global_generator",
    CountsItsCalls: "repeats_itself",
    LooksAtTheBatch: "treats_each_image_alone",
    AsksOnceMore: "costs_no_more_than_it_says",
    AsksPastTheTarget: "costs_no_more_than_it_says",
    HandsBackMoreThanItSays: "costs_no_more_than_it_says",
    TeachesTheVictim: "leaves_all_as_it_was",
    ChangesTheDefaultDtype: "leaves_all_as_it_was",
    RefusesInTwoLines: "refuses_in_one_line",
    ForgetsAnArgument: "is_its_arguments",
}


def failed(attack):
    return {found.name for found in run_attack_checks(AttackSubject(attack)) if not found.passed}


def test_an_honest_attack_passes_every_check():
    assert failed(Honest()) == set()


@pytest.mark.parametrize("liar", LIARS, ids=lambda liar: liar.__name__)
def test_a_liar_is_caught(liar):
    assert LIARS[liar] in failed(liar())


def test_a_check_of_an_attack_can_be_read_by_a_program(capfd):
    assert main(["check", "noise", "--device", "cpu", "--json"]) == 0
    assert [found["name"] for found in json.loads(capfd.readouterr().out)] == NAMES


def test_a_class_says_itself_that_it_is_an_attack(capfd):
    assert main(["check", f"{__name__}:AsksOnceMore", "--device", "cpu"]) == 1
    assert "FAIL costs_no_more_than_it_says: under linf" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pgf"], "no defense or attack is called 'pgf'. Did you mean 'pgd'?"),
        (["pgd", "--arg", "stesp=3"], "Did you mean 'steps' or"),
        (["pgd", "--arg", "steps=three"], "steps is of the kind int"),
        (["pgd", "--model", "digits-cnn"], "'pgd' is an attack, and --model is for defenses"),
        (["pgd", "--device", "cdua"], "Did you mean 'cuda'?"),
        (["attacks.pgd:PGF"], "Did you mean 'attacks.pgd:PGD'?"),
        (["attacks.pgd:NAME"], "has no"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_what_cannot_be_checked_is_one_line_and_status_2(words, said, capfd):
    assert main(["check", *words]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line


def test_a_name_that_two_plugins_have_is_asked_about(capfd, monkeypatch):
    monkeypatch.setitem(DEFENSES._own, "pgd", "defenses.jpeg:Jpeg")
    assert main(["check", "pgd"]) == 2
    error = capfd.readouterr().err
    assert "'pgd' is a defense and an attack" in error
    assert "defenses.jpeg:Jpeg or attacks.pgd:PGD" in error


def test_an_attack_without_a_threat_is_refused():
    class Nowhere(Honest):
        norms = frozenset({"l1"})

    class Nothing(Honest):
        norms = frozenset()

    for liar in (Nowhere, Nothing):
        with pytest.raises(BenchError, match="norms must name one of linf"):
            AttackSubject(liar())
