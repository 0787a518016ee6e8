"""What a search is held to: closed forms on both sides, so that an attack that is weaker by anything fails.

Each hold takes a trial and returns what is wrong, one sentence each; nothing where all is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import torch

from benchmark.contract.checks import Finding
from benchmark.engine.attacking.attack import Attack
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm
from benchmark.engine.victims.defense import Defense
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import GradientMode
from benchmark.plugins import DEFENSES
from benchmark.selftest.attack_cases import Trial
from benchmark.selftest.closed_forms import LOGIT_GAP, LinearTask, fooled_by_any, linear_failures
from benchmark.selftest.toy_victims import Band, Masked

POINTS = 4
PINNED = 12
"""Pixels at a bound, of 108."""
ROWS = 4
"""EOT draws, at which a search sees 1 - 2**-4 of the pixels behind `Masked`."""
HALFWAY = 0.5
"""The budget behind `Masked`, in exact margins: so far from the boundary that no draw fools."""
NEAR = 0.03
"""How far the way that a search comes may lie from its closed form: four standard errors of 432 pixels are
0.047 for one search, and here all are decided by the seed, none as far as half of this."""
FAR = 0.85
"""The share of the way that fresh draws at every step lead to at least; draws used again lead half of it."""


@lru_cache(maxsize=2)
def _task(pinned: int = 0) -> LinearTask:
    return LinearTask.make(n=POINTS, pinned=pinned)


def _target(
    task: LinearTask, defense: Defense, *, mode: GradientMode = GradientMode.EXACT, eot: int = 1
) -> Target:
    return Target(
        Purified([defense], task.classifier, mode=mode),
        classes=task.classifier.classes,
        mode=mode,
        eot=eot,
        leaves_early=True,
    )


def _draws(*path: str) -> Draws:
    return Draws.of(0, torch.arange(POINTS), "selftest", *path)


def finds_the_exact_margin(trial: Trial) -> Iterator[str]:
    """Every point falls at 1.05 times its margin and none at 0.95, through the purifier and by BPDA."""
    task = _task()
    for norm in trial.norms:
        for mode in GradientMode:
            target = _target(task, DEFENSES.get("none")(), mode=mode)
            for failure in linear_failures(trial.ample(), task, target, norm):
                yield f"{mode}: {failure}"


def stays_among_images(trial: Trial) -> Iterator[str]:
    """The same where some pixels are black or white already, and can be pushed no further."""
    task = _task(PINNED)
    target = _target(task, DEFENSES.get("none")())
    for failure in linear_failures(trial.ample(), task, target, Norm.LINF):
        yield f"pixels at a bound: {failure}"


def wastes_no_step(trial: Trial) -> Iterator[str]:
    """With not one step to spare it still finds the margin."""
    task = _task()
    for norm in trial.tight:
        target = _target(task, DEFENSES.get("none")())
        for failure in linear_failures(trial.tightest(norm), task, target, norm):
            yield f"not one step to spare: {failure}"


def spends_what_it_says(trial: Trial) -> Iterator[str]:
    """Where no image is ever fooled, it asks for exactly what `passes` says."""
    task = _task()
    attacks = [trial.tightest(norm) for norm in trial.tight]
    for attack in (*attacks, trial.ample()):
        target = _target(task, DEFENSES.get("none")())
        threat = task.threat(trial.norms[0], 0.9)
        attack(target, task.x, task.y, threat=threat, draws=_draws("expense"))
        classes, (c, h, w) = task.classifier.classes, task.slope.shape
        said = attack.passes(classes=classes, eot=1, stochastic=False, shape=(c, h, w))
        asked = (target.forwards / POINTS, target.backwards / POINTS)
        if said is not None and asked != (said.forwards, said.backwards):
            yield (
                f"it asked for {asked[0]:g} passes forward and {asked[1]:g} backward an image; it says "
                f"{said.forwards} and {said.backwards}"
            )


def draws_anew_over_rows(trial: Trial) -> Iterator[str]:
    """Behind a random mask each look comes as far as fresh draws in all its EOT rows lead."""
    way, expected = _way(trial.tightest(Norm.LINF), eot=ROWS), 1 - 2.0**-ROWS
    if not abs(way - expected) <= NEAR:
        yield f"{ROWS} draws at each step led {way:.3f} of the way; {expected:.3f} is right"


def draws_anew_over_steps(trial: Trial) -> Iterator[str]:
    """Behind it many looks at one draw each come as far as fresh draws at every step lead."""
    way = _way(trial.ample(), eot=1)
    if not way >= FAR:
        yield f"one draw at each step led {way:.3f} of the way; {FAR} at least is right"


def _way(attack: Attack, *, eot: int) -> float:
    """How far the first candidates behind `Masked` come, as a share of what the budget allows; a mean.

    The first is that of one goal, and of no auxiliary term, which would see the pixels that are hidden.
    """
    task = _task()
    threat = task.threat(Norm.LINF, HALFWAY)
    target = _target(task, Masked(), eot=eot)
    x_adv = attack(target, task.x, task.y, threat=threat, draws=_draws("masked"))
    gained = LOGIT_GAP - task.room(x_adv)[:, 0]  # (n, m) to (n,)
    return float(gained.mean()) / (HALFWAY * LOGIT_GAP)


def keeps_the_best(trial: Trial) -> Iterator[str]:
    """The images start amid the only wrong answers; a gradient that leads out of them loses none of them."""
    task = _task()
    threat = task.threat(Norm.LINF, 1.0)
    x = task.x - task.x.mean((1, 2, 3), keepdim=True) + 0.5
    y = torch.zeros_like(task.y)
    for is_random in (False, True):
        victim = Band(task.classifier, width=threat.eps / 3, is_random=is_random)
        target = Target(victim, classes=4)
        x_adv = trial.ample()(target, x, y, threat=threat, draws=_draws("band"))
        fooled = int(fooled_by_any(victim, x_adv, y, target).sum())
        if fooled != POINTS:
            kind = "random" if is_random else "fixed"
            yield f"of {POINTS} images of a {kind} victim {fooled} kept the wrong answer they had"


Hold = Callable[[Trial], Iterator[str]]
"""It takes a trial; the sentences say what is wrong."""

HOLDS: tuple[Hold, ...] = (
    finds_the_exact_margin,
    stays_among_images,
    wastes_no_step,
    spends_what_it_says,
    draws_anew_over_rows,
    draws_anew_over_steps,
    keeps_the_best,
)


def held(trial: Trial) -> Finding:
    """A trial held to everything that applies to it."""
    holds = [hold for hold in HOLDS if hold.__name__ not in trial.not_held]
    failures = [failure for hold in holds for failure in hold(trial)]
    names = ", ".join(hold.__name__.replace("_", " ") for hold in holds)
    return Finding(not failures, "; ".join(failures) or names)
