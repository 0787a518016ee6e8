"""The self-test's cases: every attack has one or a reason for none, and fails it where it is mutated."""

from dataclasses import replace
from functools import partial

import pytest
import torch

import attacks.rotation_translation
from attacks.clean import Clean
from attacks.transfer import Transfer
from benchmark.contract.checks import outcome_of
from benchmark.engine.attacking.queries import Oracle
from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import NamedSet, Threat
from benchmark.engine.victims.victim import KnownDraw
from benchmark.plugins import ATTACKS
from benchmark.selftest.attack_cases import TRIALS
from benchmark.selftest.attack_checks import held
from benchmark.selftest.canary_suite import LIMITS, WITH_AUTOATTACK
from benchmark.selftest.known_cases import CASES, WITHOUT

HANDING_ON = ("frozen-draw", "fast-autoattack")
"""Those that let other attacks search; test_mutations.py has all others that take gradients."""
OWN = [trial for trial in TRIALS if trial.above or trial.attack in HANDING_ON]
PROOFS = {case.title: partial(held, case) for case in (*OWN, *CASES)}
NAMES = {each.title: each.attack for each in (*TRIALS, *CASES)}


def test_every_registered_attack_has_a_case_or_a_reason_for_none():
    with_one = {each.attack for each in (*TRIALS, *CASES)}
    assert with_one | set(WITHOUT) == set(ATTACKS.own())
    assert not with_one & set(WITHOUT)
    assert all(WITHOUT.values())


def test_the_undefended_classifier_must_fall_to_what_has_no_case():
    columns = {row.attack: row.column for row in WITH_AUTOATTACK.attacks}
    assert all(columns[name] in LIMITS for name in WITHOUT)


def less(threat):
    """About half of a budget; of pixels a whole number."""
    half = threat.eps / 2
    return Threat(threat.norm, max(1, half // 1) if threat.norm is NamedSet.PIXELS else half)


def eps_halved_inside(patch, name):
    kind = ATTACKS.get(name)
    perturb = kind.perturb

    def timid(self, *args, threat, **options):
        return perturb(self, *args, threat=less(threat), **options)

    patch.setattr(kind, "perturb", timid)


def gradient_negated(patch, name):
    ascend = Target.ascend

    def descend(target, *args, **options):
        ascent = ascend(target, *args, **options)
        return replace(ascent, gradient=-ascent.gradient)

    patch.setattr(Target, "ascend", descend)


def answers_turned_round(patch, name):
    margin = attacks.rotation_translation.margin
    patch.setattr(attacks.rotation_translation, "margin", lambda *args: -margin(*args))


def labels_ignored(patch, name):
    patch.setattr(Oracle, "is_fooled", lambda oracle, x, *_: torch.zeros(len(x)).bool())


def a_gradient_taken(patch, name):
    predict = Target.predict

    def curious(target, x, **options):
        with torch.enable_grad():
            target.logits(x.clone().requires_grad_(), **options)
        return predict(target, x, **options)

    patch.setattr(Target, "predict", curious)


def a_pass_asked(patch, name):
    kind = ATTACKS.get(name)
    perturb = kind.perturb

    def curious(self, target, x, *args, draws, **options):
        target.predict(x, draws=draws)
        return perturb(self, target, x, *args, draws=draws, **options)

    patch.setattr(kind, "perturb", curious)


def an_image_touched(patch, name):
    patch.setattr(Clean, "perturb", lambda self, target, x, y, **_: x * (1 - 1e-9))


def shown_for_another_image(patch, name):
    perturb = Transfer.perturb
    patch.setattr(Transfer, "perturb", lambda *args, **options: perturb(*args, **options).flip(1))


def every_image_the_same(patch, name):
    kind = ATTACKS.get(name)
    perturb = kind.perturb

    def shared(self, *args, draws, **options):
        first = draws.take(torch.zeros(len(draws), dtype=torch.int64))
        return perturb(self, *args, draws=first, **options)

    patch.setattr(kind, "perturb", shared)


def draws_made_anew(patch, name):
    patch.setattr(KnownDraw, "_known", lambda victim, draws: draws)


BLIND = ("nes", "square", "hopskipjump", "boundary", "substitute")
SETS = ("stadv", "rotation-translation", "wasserstein", "rp2", "local-search")
MUTANTS = {  # a mutation, and the trials and cases that must fail at it
    eps_halved_inside: (*BLIND, *SETS, "noise", "random-points", "frozen-draw", "fast-autoattack"),
    gradient_negated: ("stadv", "wasserstein", "rp2", "frozen-draw"),
    answers_turned_round: ("rotation-translation",),
    labels_ignored: ("hopskipjump", "boundary"),
    a_gradient_taken: BLIND,
    a_pass_asked: ("clean", "transfer", "noise", "random-points", "square"),
    an_image_touched: ("clean",),
    shown_for_another_image: ("transfer",),
    every_image_the_same: ("noise", "random-points"),
    draws_made_anew: ("frozen-draw, one draw",),
}


def marked(*values):
    """A case of a test; FAB's and Square's own process takes seconds."""
    marks = pytest.mark.slow if values[-1] == "fast-autoattack" else ()
    return pytest.param(*values, marks=marks)


@pytest.mark.parametrize("title", [marked(title) for title in PROOFS])
def test_without_a_mutation_it_passes(title):
    outcome = outcome_of(title, PROOFS[title])
    assert outcome.passed, outcome.detail


@pytest.mark.parametrize(
    ("mutate", "title"),
    [marked(mutate, title) for mutate, titles in MUTANTS.items() for title in titles],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_mutated_attack_fails_the_self_test(mutate, title, monkeypatch):
    mutate(monkeypatch, NAMES[title])
    assert not outcome_of(title, PROOFS[title]).passed


def test_every_proof_here_fails_at_some_mutation():
    assert {title for titles in MUTANTS.values() for title in titles} == set(PROOFS)
