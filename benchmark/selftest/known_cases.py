"""Cases of attacks that search no lp ball: what each must show, on a problem of which the answer is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import EXAMPLES, Norm, Threat
from benchmark.engine.victims.purified import Purified
from benchmark.selftest.attack_cases import AttackCase, Hold
from benchmark.selftest.attack_checks import draws_of, linear_task, target_of, way_behind_mask
from benchmark.selftest.closed_forms import fooled_by_any
from benchmark.selftest.set_cases import Problems, flows, pixels, stickers, transports, turns
from benchmark.selftest.toy_victims import SEEN

OFF = 0.1
"""How far the share of pixels that one draw lets through may lie from a half: four standard errors of 432."""
SIGMAS = 4.5
"""Standard errors that the share of pixels which noise raises may lie from a half."""


def gives_back_the_clean_images(case: AttackCase) -> Iterator[str]:
    """Bit for bit, under every kind of threat, and it asks nothing."""
    task = linear_task()
    for text in EXAMPLES.values():
        target = target_of(task)
        x_adv = case.made()(
            target, task.x, task.y, threat=Threat.parse(text), draws=draws_of("clean")
        )
        if not torch.equal(x_adv, task.x.unsqueeze(1)):
            yield f"under {text} it changes the clean images"
        yield from _questions(target)


def shows_what_others_made(case: AttackCase) -> Iterator[str]:
    """All images that other jobs made, each where it belongs, and it asks nothing."""
    task = linear_task()
    threat = task.threat(Norm.LINF, 0.5)
    share = torch.tensor([1.0, -1.0, 0.5], dtype=task.x.dtype).view(1, -1, 1, 1, 1)
    sources = task.x.unsqueeze(1) + threat.eps * share
    target = target_of(task, sources=sources)
    x_adv = case.made()(target, task.x, task.y, threat=threat, draws=draws_of("transfer"))
    if x_adv.shape != sources.shape or not torch.allclose(x_adv, sources, rtol=0, atol=1e-9):
        yield "it does not show the images that it was given"
    yield from _questions(target)


def lies_on_the_rim(case: AttackCase) -> Iterator[str]:
    """Every candidate uses the whole budget, in a direction of its own, half of the pixels up; it asks none."""
    task = linear_task()
    for norm in Norm:
        target, threat = target_of(task), task.threat(norm, 0.5)
        x_adv = case.made()(target, task.x, task.y, threat=threat, draws=draws_of("rim"))
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


def lets_one_draw_stand(case: AttackCase) -> Iterator[str]:
    """Behind a mask of half of the pixels all its steps see one half: they lead half of the way."""
    way = way_behind_mask(case.made(), eot=1)
    if not abs(way - SEEN) <= OFF:
        yield f"its steps led {way:.3f} of the way; at one draw {SEEN} is right"


def fooling(problems: Problems) -> Hold:
    """Of images of which it is known which can be fooled it fools these, and never another."""

    def fools_what_can_be_fooled(case: AttackCase) -> Iterator[str]:
        for known in problems():
            victim = Purified([], known.classifier)
            target = Target(victim, classes=known.classifier.classes, leaves_early=True)
            draws = draws_of("set", n=len(known.x))
            x_adv = case.made()(target, known.x, known.y, threat=known.threat, draws=draws)
            fooled = fooled_by_any(victim, x_adv, known.y, target)
            if not torch.equal(fooled, known.expected):
                yield (
                    f"under {known.threat} it fooled {int(fooled.sum())} of {len(fooled)} images; the "
                    f"{int(known.expected.sum())} that can be fooled are right"
                )

    return fools_what_can_be_fooled


def _questions(target: Target) -> Iterator[str]:
    if target.forwards or target.backwards:
        yield f"it asked for {target.forwards + target.backwards} passes; it must ask for none"


def _case(attack: str, hold: Hold, title: str = "", **arguments: object) -> AttackCase:
    return AttackCase(title or attack, attack, arguments, holds=(hold,))


CASES: tuple[AttackCase, ...] = (
    _case("clean", gives_back_the_clean_images),
    _case("transfer", shows_what_others_made),
    _case("noise", lies_on_the_rim),
    _case("random-points", lies_on_the_rim, points=3),
    _case("frozen-draw", lets_one_draw_stand, title="frozen-draw, one draw"),
    _case("stadv", fooling(flows), smoothness=0.0),
    _case("rotation-translation", fooling(turns), rotations=3, shifts=3),
    _case("wasserstein", fooling(transports), steps=3, window=3),
    _case("rp2", fooling(stickers), steps=12, l2_weight=0.0),
    _case("local-search", fooling(pixels), rounds=6, t=1, d=6, start=1.0, change="extremes"),
)
WITHOUT: Mapping[str, str] = {
    "autoattack": "an image that it cannot fool costs minutes (5,000 queries); the undefended classifier and "
    "the canary jpeg must fall to it instead",
}
"""Attacks that have neither a trial nor a case, with the reason."""
