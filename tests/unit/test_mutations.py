"""Mutations planted in the attacks: each must make a check against truth fail, and unplanted none does."""

import pytest
import torch

import attacks.apgd
from attacks.apgd import APGD
from attacks.auxiliary import AuxiliaryAware
from attacks.fgsm import FGSM
from attacks.pgd import PGD
from benchmark.errors import ContractBroken
from benchmark.randomness import Draws
from benchmark.search import Search
from benchmark.target import Target
from benchmark.threat import Norm, Threat
from benchmark.trust.truths import LinearTask, fooled_by_any, linear_failures
from tests.toys import Band, Noise, image_draws, linear_target

TASK = LinearTask.make(n=4)
ATTACKS = {
    "fgsm": FGSM(),
    "pgd": PGD(steps=14, step_size=0.25),
    "apgd": APGD(steps=12),
    "auxiliary": AuxiliaryAware(steps=14, step_size=0.25, lambdas=(0.0,), cap=9.0),
}
GRADIENTS = {"fgsm": 1, "pgd": 15, "apgd": 13, "auxiliary": 15}
ITERATIVE = ("pgd", "apgd", "auxiliary")


def exact_linf_margin(name):
    return linear_failures(ATTACKS[name], TASK, linear_target(TASK), Norm.LINF)


def exact_l2_margin(name):
    return linear_failures(ATTACKS[name], TASK, linear_target(TASK), Norm.L2)


def every_step_is_made(name):
    target = linear_target(TASK)
    ATTACKS[name](target, TASK.x, TASK.y, threat=TASK.threat(Norm.LINF, 0.9), draws=image_draws(4))
    expected = GRADIENTS[name] * len(TASK.x)
    if target.backwards != expected:
        return [f"{target.backwards} gradients where {expected} were declared"]
    return []


def every_look_has_noise_of_its_own(name):
    noise = Noise()
    target = linear_target(TASK, noise, eot=3)
    threat = TASK.threat(Norm.LINF, 0.9)
    ATTACKS[name](target, TASK.x, TASK.y, threat=threat, draws=image_draws(4))
    if len(set(noise.seen)) != len(noise.seen):
        return [f"{len(noise.seen)} looks shared {len(set(noise.seen))} noises"]
    return []


def the_best_iterate_is_kept(name):
    return _band(name, is_random=False)


def the_iterate_of_best_mean_loss_is_kept(name):
    return _band(name, is_random=True)


def _band(name, *, is_random):
    """The images start amid the only wrong answers, and the gradient leads out of them for good."""
    threat = TASK.threat(Norm.LINF, 1.0)
    target = Target(Band(TASK.classifier, width=threat.eps / 3, is_random=is_random), classes=4)
    x = TASK.x - TASK.x.mean((1, 2, 3), keepdim=True) + 0.5
    y = torch.zeros_like(TASK.y)
    x_adv = ATTACKS[name](target, x, y, threat=threat, draws=image_draws(4))
    fooled = int(fooled_by_any(target.victim, x_adv, y, target).sum())
    return [] if fooled == len(x) else [f"{fooled} of {len(x)} images kept the wrong answer"]


CHECKS = {
    check.__name__: check
    for check in (
        exact_linf_margin,
        exact_l2_margin,
        every_step_is_made,
        every_look_has_noise_of_its_own,
        the_best_iterate_is_kept,
        the_iterate_of_best_mean_loss_is_kept,
    )
}
NOT_FOR_ONE_STEP = {"the_best_iterate_is_kept", "the_iterate_of_best_mean_loss_is_kept"}


def failing(name):
    """The names of the checks that an attack fails; to be refused at the door is to fail."""
    failed = set()
    for title, check in CHECKS.items():
        if name == "fgsm" and title in NOT_FOR_ONE_STEP:
            continue
        try:
            if check(name):
                failed.add(title)
        except ContractBroken:
            failed.add(title)
    return failed


def sign_flipped(patch):
    direction, apgd_direction = Threat.direction, attacks.apgd._direction
    patch.setattr(Threat, "direction", lambda *args: -direction(*args))
    patch.setattr(attacks.apgd, "_direction", lambda *args: -apgd_direction(*args))


def eps_halved(patch):
    project, into_budget = Threat.project, attacks.apgd._into_budget

    def half(threat):
        return Threat(threat.norm, threat.eps / 2)

    patch.setattr(Threat, "project", lambda t, x, z: project(half(t), x, z))
    patch.setattr(attacks.apgd, "_into_budget", lambda x, z, t: into_budget(x, z, half(t)))


def projection_skipped(patch):
    patch.setattr(Threat, "project", lambda threat, x, z: z)
    patch.setattr(attacks.apgd, "_into_budget", lambda x, z, threat: z)


def a_step_dropped(patch):
    for kind in (PGD, APGD, AuxiliaryAware):
        perturb = kind.perturb

        def fewer(self, *args, perturb=perturb, **options):
            self.steps -= 1
            try:
                return perturb(self, *args, **options)
            finally:
                self.steps += 1

        patch.setattr(kind, "perturb", fewer)


def draws_reused_across_rows(patch):
    def repeat(draws, n):
        again = torch.arange(len(draws)).repeat_interleave(n)
        return draws.take(again)

    patch.setattr(Draws, "repeat", repeat)


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


MUTANTS = {  # a mutation, the attacks that have it, and the check that is there for it
    sign_flipped: (("fgsm", *ITERATIVE), "exact_linf_margin"),
    eps_halved: (("fgsm", *ITERATIVE), "exact_l2_margin"),
    projection_skipped: (ITERATIVE, "exact_linf_margin"),
    a_step_dropped: (ITERATIVE, "every_step_is_made"),
    draws_reused_across_rows: (("fgsm", *ITERATIVE), "every_look_has_noise_of_its_own"),
    draws_reused_across_steps: (ITERATIVE, "every_look_has_noise_of_its_own"),
    best_iterate_ignored: (ITERATIVE, "the_best_iterate_is_kept"),
    looks_at_the_clean_image: (ITERATIVE, "exact_linf_margin"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_without_a_mutation_no_check_fails(name):
    assert failing(name) == set()


@pytest.mark.parametrize(
    ("mutate", "name", "check"),
    [(mutate, name, check) for mutate, (names, check) in MUTANTS.items() for name in names],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_mutation_makes_its_check_fail(mutate, name, check, monkeypatch):
    mutate(monkeypatch)
    assert check in failing(name)


def test_a_mutated_apgd_no_longer_returns_the_iterate_of_best_mean_loss(monkeypatch):
    best_iterate_ignored(monkeypatch)
    assert "the_iterate_of_best_mean_loss_is_kept" in failing("apgd")
