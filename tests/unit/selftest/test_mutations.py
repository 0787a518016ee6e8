"""Mutations planted in attacks: a check of the self-test's own fails at each of them."""

from dataclasses import replace

import pytest

import attacks.apgd
from attacks.auxiliary import AuxiliaryAware
from attacks.fgsm import FGSM
from attacks.pgd import PGD
from benchmark.contract.checks import Finding, outcome_of
from benchmark.engine.attacking.search import Search
from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import Threat
from benchmark.selftest.attack_cases import TRIALS
from benchmark.selftest.attack_checks import HOLDS
from tests.helpers.mutations import KINDS, draws_reused_across_rows

TRIAL = {trial.title: trial for trial in TRIALS}
SEARCHES = {
    "fgsm": "fgsm",
    "pgd": "pgd, margin",
    "apgd": "apgd, cross-entropy",
    "auxiliary": "auxiliary-aware A2",
}
ITERATIVE = ("pgd", "apgd", "auxiliary")
HOLD = {hold.__name__: hold for hold in HOLDS}


def passes(name, hold):
    """Whether a search passes one of the self-test's checks; what it trips over fails it, as there."""

    def find():
        return Finding(not list(HOLD[hold](TRIAL[SEARCHES[name]])), "")

    return outcome_of(hold, find).passed


def sign_flipped(patch):
    direction, apgd_direction = Threat.direction, attacks.apgd._direction
    patch.setattr(Threat, "direction", lambda *args: -direction(*args))
    patch.setattr(attacks.apgd, "_direction", lambda *args: -apgd_direction(*args))


def gradient_negated(patch):
    ascend = Target.ascend

    def descend(target, *args, **options):
        ascent = ascend(target, *args, **options)
        return replace(ascent, gradient=-ascent.gradient)

    patch.setattr(Target, "ascend", descend)


def half(threat):
    return Threat(threat.norm, threat.eps / 2)


def eps_halved(patch):
    project, into_budget = Threat.project, attacks.apgd._into_budget
    patch.setattr(Threat, "project", lambda t, x, z: project(half(t), x, z))
    patch.setattr(attacks.apgd, "_into_budget", lambda x, z, t: into_budget(x, z, half(t)))


def eps_halved_inside(patch):
    for kind in KINDS.values():
        perturb = kind.perturb

        def timid(self, *args, threat, perturb=perturb, **options):
            return perturb(self, *args, threat=half(threat), **options)

        patch.setattr(kind, "perturb", timid)


def projection_skipped(patch):
    patch.setattr(Threat, "project", lambda threat, x, z: z)
    patch.setattr(attacks.apgd, "_into_budget", lambda x, z, threat: z)


def projection_into_the_budget_alone(patch):
    """What is black or white already is pushed further."""

    def unclamped(threat, x, z):
        return x + (z - x).clamp(-threat.eps, threat.eps)

    patch.setattr(Threat, "project", unclamped)
    patch.setattr(attacks.apgd, "_into_budget", lambda x, z, threat: unclamped(threat, x, z))


def a_step_dropped(patch):
    for kind in (PGD, AuxiliaryAware):
        perturb = kind.perturb

        def fewer(self, *args, perturb=perturb, **options):
            self.steps -= 1
            try:
                return perturb(self, *args, **options)
            finally:
                self.steps += 1

        patch.setattr(kind, "perturb", fewer)
    climb = attacks.apgd._Run.climb

    def lower(run):
        run.attack.steps -= 1
        try:
            return climb(run)
        finally:
            run.attack.steps += 1

    patch.setattr(attacks.apgd._Run, "climb", lower)


def a_gradient_used_again(patch):
    """The second look is spared: it takes what the first one saw."""
    look, seen = Search.look, {}

    def thrifty(search, x_adv, objective, *place, **options):
        key = (id(search), len(search.which))
        if place[-1] == 1 and key in seen:
            return seen[key]
        seen[key] = look(search, x_adv, objective, *place, **options)
        return seen[key]

    patch.setattr(Search, "look", thrifty)


def the_only_step_not_made(patch):
    perturb = FGSM.perturb

    def idle(self, target, x, y, **options):
        perturb(self, target, x, y, **options)
        return x.clone()

    patch.setattr(FGSM, "perturb", idle)


def a_step_shortened(patch):
    direction, apgd_direction = Threat.direction, attacks.apgd._direction
    patch.setattr(Threat, "direction", lambda *args: 0.9 * direction(*args))
    patch.setattr(attacks.apgd, "_direction", lambda *args: 0.4 * apgd_direction(*args))


def draws_reused_across_steps(patch):
    draws = Search.draws
    patch.setattr(Search, "draws", lambda search, role, *place: draws(search, role))


def best_iterate_ignored(patch):
    offer, measure = Search.offer, attacks.apgd._Run._measure

    def latest(search, x_adv, logits, value):
        at = search.which
        stays = offer(search, x_adv, logits, value)
        search.best[at] = x_adv
        return stays

    def forgetful(run, course, step):
        course = measure(run, course, step)
        course.x_best = course.x_adv.clone()
        return course

    patch.setattr(Search, "offer", latest)
    patch.setattr(attacks.apgd._Run, "_measure", forgetful)


def looks_at_the_clean_image(patch):
    look = Search.look

    def stale(search, x_adv, objective, *place, **options):
        return look(search, search.x, objective, *place, **options)

    patch.setattr(Search, "look", stale)


ALL = ("fgsm", *ITERATIVE)
MUTANTS = {  # a mutation, the attacks that have it, and the check that is there for it
    sign_flipped: (ALL, "finds_the_exact_margin"),
    gradient_negated: (ALL, "finds_the_exact_margin"),
    eps_halved: (ALL, "finds_the_exact_margin"),
    eps_halved_inside: (ALL, "finds_the_exact_margin"),
    projection_skipped: (ALL, "stays_among_images"),
    projection_into_the_budget_alone: (ALL, "stays_among_images"),
    a_step_dropped: (ITERATIVE, "wastes_no_step"),
    a_gradient_used_again: (ITERATIVE, "spends_what_it_says"),
    the_only_step_not_made: (("fgsm",), "wastes_no_step"),
    a_step_shortened: (ALL, "wastes_no_step"),
    draws_reused_across_rows: (ALL, "draws_anew_over_rows"),
    draws_reused_across_steps: (ITERATIVE, "draws_anew_over_steps"),
    best_iterate_ignored: (ITERATIVE, "keeps_the_best"),
    looks_at_the_clean_image: (ITERATIVE, "finds_the_exact_margin"),
}


@pytest.mark.parametrize(
    ("name", "hold"),
    [(name, hold) for name in ALL for hold in HOLD if hold not in TRIAL[SEARCHES[name]].not_held],
)
def test_without_a_mutation_every_search_passes(name, hold):
    assert passes(name, hold)


@pytest.mark.parametrize(
    ("mutate", "name", "hold"),
    [(mutate, name, hold) for mutate, (names, hold) in MUTANTS.items() for name in names],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_mutated_search_fails_the_self_test(mutate, name, hold, monkeypatch):
    mutate(monkeypatch)
    assert not passes(name, hold)
