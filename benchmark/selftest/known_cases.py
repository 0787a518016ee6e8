"""Cases of attacks that search no lp ball: what each must show, on a problem of which the answer is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from benchmark.contract.checks import Finding
from benchmark.engine.attacking.attack import Attack
from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import EXAMPLES, Norm, Threat
from benchmark.engine.victims.purified import Purified
from benchmark.plugins import ATTACKS
from benchmark.selftest.attack_checks import draws_of, linear_task, target_of, way_behind_mask
from benchmark.selftest.closed_forms import fooled_by_any
from benchmark.selftest.set_cases import Problems, flows, pixels, stickers, transports, turns
from benchmark.selftest.toy_victims import SEEN

OFF = 0.1
"""How far the share of pixels that one draw lets through may lie from a half: four standard errors of 432."""
SIGMAS = 4.5
"""Standard errors that the share of pixels which noise raises may lie from a half."""

Show = Callable[[Attack], Iterator[str]]
"""It takes an attack; the sentences say what is wrong."""


@dataclass(frozen=True, slots=True)
class Case:
    """An attack and what it must show.

    Args:
        title: What the self-test calls it.
        attack: Its name on the shelf.
        show: What is seen.
        arguments: Of the attack.
    """

    title: str
    attack: str
    show: Show
    arguments: Mapping[str, Any] = field(default_factory=dict)


def gives_back_the_clean_images(attack: Attack) -> Iterator[str]:
    """Bit for bit, under every kind of threat, and it asks nothing."""
    task = linear_task()
    for text in EXAMPLES.values():
        target = target_of(task)
        x_adv = attack(target, task.x, task.y, threat=Threat.parse(text), draws=draws_of("clean"))
        if not torch.equal(x_adv, task.x.unsqueeze(1)):
            yield f"under {text} it changes the clean images"
        yield from _questions(target)


def shows_what_others_made(attack: Attack) -> Iterator[str]:
    """All images that other jobs made, each where it belongs, and it asks nothing."""
    task = linear_task()
    threat = task.threat(Norm.LINF, 0.5)
    share = torch.tensor([1.0, -1.0, 0.5], dtype=task.x.dtype).view(1, -1, 1, 1, 1)
    sources = task.x.unsqueeze(1) + threat.eps * share
    target = target_of(task, sources=sources)
    x_adv = attack(target, task.x, task.y, threat=threat, draws=draws_of("transfer"))
    if x_adv.shape != sources.shape or not torch.allclose(x_adv, sources, rtol=0, atol=1e-9):
        yield "it does not show the images that it was given"
    yield from _questions(target)


def lies_on_the_rim(attack: Attack) -> Iterator[str]:
    """Every candidate uses the whole budget, in a direction of its own, half of the pixels up; it asks none."""
    task = linear_task()
    for norm in Norm:
        target, threat = target_of(task), task.threat(norm, 0.5)
        x_adv = attack(target, task.x, task.y, threat=threat, draws=draws_of("rim"))
        for found in x_adv.unbind(1):
            size = threat.size(task.x, found)
            if not torch.allclose(size, torch.full_like(size, threat.eps)):
                yield f"{norm}: it uses {float(size.min()):g} of a budget of {threat.eps:g}"
        change = (x_adv - task.x.unsqueeze(1)).flatten(0, 1).flatten(1)
        rounded = (change / threat.eps).round(decimals=6).tolist()
        if len(set(map(tuple, rounded))) < len(change):
            yield f"{norm}: two images get the same change"
        up, error = float((change > 0).double().mean()), 0.5 / change.numel() ** 0.5
        if abs(up - 0.5) > SIGMAS * error:
            yield f"{norm}: {up:.1%} of the pixels get lighter; a half is right"
        yield from _questions(target)


def lets_one_draw_stand(attack: Attack) -> Iterator[str]:
    """Behind a mask of half of the pixels all its steps see one half: they lead half of the way."""
    way = way_behind_mask(attack, eot=1)
    if not abs(way - SEEN) <= OFF:
        yield f"its steps led {way:.3f} of the way; at one draw {SEEN} is right"


def fools_what_can_be_fooled(problems: Problems, attack: Attack) -> Iterator[str]:
    """Of images of which it is known which can be fooled it fools these, and never another."""
    for known in problems():
        victim = Purified([], known.classifier)
        target = Target(victim, classes=known.classifier.classes, leaves_early=True)
        draws = draws_of("set", n=len(known.x))
        x_adv = attack(target, known.x, known.y, threat=known.threat, draws=draws)
        fooled = fooled_by_any(victim, x_adv, known.y, target)
        if not torch.equal(fooled, known.expected):
            yield (
                f"under {known.threat} it fooled {int(fooled.sum())} of {len(fooled)} images; the "
                f"{int(known.expected.sum())} that can be fooled are right"
            )


def _questions(target: Target) -> Iterator[str]:
    if target.forwards or target.backwards:
        yield f"it asked for {target.forwards + target.backwards} passes; it must ask for none"


def _set(title: str, problems: Problems, **arguments: object) -> Case:
    return Case(title, title, partial(fools_what_can_be_fooled, problems), arguments)


CASES: tuple[Case, ...] = (
    Case("clean", "clean", gives_back_the_clean_images),
    Case("transfer", "transfer", shows_what_others_made),
    Case("noise", "noise", lies_on_the_rim),
    Case("random-points", "random-points", lies_on_the_rim, {"points": 3}),
    Case("frozen-draw, one draw", "frozen-draw", lets_one_draw_stand),
    _set("stadv", flows, smoothness=0.0),
    _set("rotation-translation", turns, rotations=3, shifts=3),
    _set("wasserstein", transports, steps=3, window=3),
    _set("rp2", stickers, steps=12, l2_weight=0.0),
    _set("local-search", pixels, rounds=6, t=1, d=6, start=1.0, change="extremes"),
)
WITHOUT: Mapping[str, str] = {
    "autoattack": "an image that it cannot fool costs minutes (5,000 queries); the undefended classifier and "
    "the canary jpeg must fall to it instead",
}
"""Attacks that have neither a trial nor a case, with the reason."""


def shown(case: Case) -> Finding:
    """What a case shows."""
    attack = ATTACKS.get(case.attack)(**case.arguments)
    failures = list(case.show(attack))
    show = case.show.func if isinstance(case.show, partial) else case.show
    name = getattr(show, "__name__", "").replace("_", " ")
    return Finding(not failures, "; ".join(failures) or name)
