"""What a search is held to: closed forms on both sides, so that an attack that is weaker by anything fails.

Each hold takes a trial and returns what is wrong, one sentence each; nothing where all is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import torch
from torch import Tensor

from benchmark.contract.checks import Finding
from benchmark.engine.attacking.attack import Attack
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm
from benchmark.engine.victims.defense import Defense
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import GradientMode
from benchmark.plugins import DEFENSES
from benchmark.selftest.attack_cases import AttackCase
from benchmark.selftest.closed_forms import (
    ABOVE,
    LOGIT_GAP,
    LinearTask,
    fooled_by_any,
    linear_failures,
)
from benchmark.selftest.toy_victims import Band, Crashing, Masked

POINTS = 4
SEEDS = 60
"""Images of the attacker's own."""
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


@lru_cache(maxsize=3)
def linear_task(pinned: int = 0, *, is_small: bool = False) -> LinearTask:
    """The linear task, with some pixels at a bound; small, grey and of 4 classes for who takes no gradient."""
    if is_small:
        return LinearTask.make(n=POINTS, classes=4, shape=(1, 6, 6))
    return LinearTask.make(n=POINTS, pinned=pinned)


def target_of(
    task: LinearTask,
    defense: Defense | None = None,
    *,
    mode: GradientMode = GradientMode.EXACT,
    eot: int = 1,
    sources: Tensor | None = None,
) -> Target:
    """A task's classifier behind a purifier, by default one that does nothing; the attacker has images, too."""
    own = draws_of("seeds", n=SEEDS).uniform(tuple(task.slope.shape), dtype=torch.float64)
    return Target(
        Purified([defense or DEFENSES.get("none")()], task.classifier, mode=mode),
        classes=task.classifier.classes,
        mode=mode,
        eot=eot,
        sources=sources,
        leaves_early=True,
        seeds=0.4 + 0.2 * own,
    )


def draws_of(*path: str, n: int = POINTS) -> Draws:
    """Draws for images 0 to n - 1 at a place of the self-test."""
    return Draws.of(0, torch.arange(n), "selftest", *path)


def finds_the_exact_margin(trial: AttackCase) -> Iterator[str]:
    """Every point falls at 1.05 times its margin and none at 0.95, through the purifier and by BPDA.

    What takes no gradient stands behind a purifier that breaks down under one, and needs a greater budget.
    """
    is_blind = bool(trial.above)
    task, defense = linear_task(is_small=is_blind), Crashing() if is_blind else None
    for norm in trial.norms:
        for mode in (GradientMode.EXACT,) if is_blind else GradientMode:
            target, above = target_of(task, defense, mode=mode), trial.above.get(norm, ABOVE)
            for failure in linear_failures(trial.made(), task, target, norm, above=above):
                yield f"{mode}: {failure}"


def stays_among_images(trial: AttackCase) -> Iterator[str]:
    """The same where some pixels are black or white already, and can be pushed no further."""
    task = linear_task(PINNED)
    target = target_of(task)
    for failure in linear_failures(trial.made(), task, target, Norm.LINF):
        yield f"pixels at a bound: {failure}"


def wastes_no_step(trial: AttackCase) -> Iterator[str]:
    """With not one step to spare it still finds the margin."""
    task = linear_task()
    for norm in trial.tight:
        target = target_of(task)
        for failure in linear_failures(trial.made(norm), task, target, norm):
            yield f"not one step to spare: {failure}"


def spends_what_it_says(trial: AttackCase) -> Iterator[str]:
    """Where no image is ever fooled, it asks for exactly what `passes` says."""
    task = linear_task()
    for attack in map(trial.made, (*trial.tight, None)):
        target = target_of(task)
        threat = task.threat(trial.norms[0], 0.9)
        attack(target, task.x, task.y, threat=threat, draws=draws_of("expense"))
        classes, (c, h, w) = task.classifier.classes, task.slope.shape
        said = attack.passes(classes=classes, eot=1, stochastic=False, shape=(c, h, w))
        asked = (target.forwards / POINTS, target.backwards / POINTS)
        if said is not None and asked != (said.forwards, said.backwards):
            yield (
                f"it asked for {asked[0]:g} passes forward and {asked[1]:g} backward an image; it says "
                f"{said.forwards} and {said.backwards}"
            )


def draws_anew_over_rows(trial: AttackCase) -> Iterator[str]:
    """Behind a random mask each look comes as far as fresh draws in all its EOT rows lead."""
    way, expected = way_behind_mask(trial.made(Norm.LINF), eot=ROWS), 1 - 2.0**-ROWS
    if not abs(way - expected) <= NEAR:
        yield f"{ROWS} draws at each step led {way:.3f} of the way; {expected:.3f} is right"


def draws_anew_over_steps(trial: AttackCase) -> Iterator[str]:
    """Behind it many looks at one draw each come as far as fresh draws at every step lead."""
    way = way_behind_mask(trial.made(), eot=1)
    if not way >= FAR:
        yield f"one draw at each step led {way:.3f} of the way; {FAR} at least is right"


def way_behind_mask(attack: Attack, *, eot: int) -> float:
    """How far the first candidates behind `Masked` come, as a share of what the budget allows; a mean.

    The first is that of one goal, and of no auxiliary term, which would see the pixels that are hidden.
    """
    task = linear_task()
    threat = task.threat(Norm.LINF, HALFWAY)
    target = target_of(task, Masked(), eot=eot)
    x_adv = attack(target, task.x, task.y, threat=threat, draws=draws_of("masked"))
    gained = LOGIT_GAP - task.room(x_adv)[:, 0]  # (n, m) to (n,)
    return float(gained.mean()) / (HALFWAY * LOGIT_GAP)


def keeps_the_best(trial: AttackCase) -> Iterator[str]:
    """The images start amid the only wrong answers; a gradient that leads out of them loses none of them."""
    task = linear_task()
    threat = task.threat(Norm.LINF, 1.0)
    x = task.x - task.x.mean((1, 2, 3), keepdim=True) + 0.5
    y = torch.zeros_like(task.y)
    for is_random in (False, True):
        victim = Band(Purified([], task.classifier), width=threat.eps / 3, is_random=is_random)
        target = Target(victim, classes=4)
        x_adv = trial.made()(target, x, y, threat=threat, draws=draws_of("band"))
        fooled = int(fooled_by_any(victim, x_adv, y, target).sum())
        if fooled != POINTS:
            kind = "random" if is_random else "fixed"
            yield f"of {POINTS} images of a {kind} victim {fooled} kept the wrong answer they had"


Hold = Callable[[AttackCase], Iterator[str]]
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


def held(trial: AttackCase) -> Finding:
    """A trial held to everything that applies to it."""
    holds = [hold for hold in HOLDS if hold.__name__ not in trial.not_held]
    failures = [failure for hold in holds for failure in hold(trial)]
    names = ", ".join(hold.__name__.replace("_", " ") for hold in holds)
    return Finding(not failures, "; ".join(failures) or names)
