"""Attacks against the passes that they make, and against pyautoattack's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from torch import Tensor
from torch.nn.functional import cross_entropy

from attacks.apgd import APGD
from attacks.autoattack import AutoAttack
from attacks.fast_autoattack import FastAutoAttack
from attacks.pgd import PGD
from benchmark.engine.attacking.attack import Attack
from benchmark.engine.attacking.external import NORMS
from tests.speed.subjects import Subject, both, natural
from tests.speed.timing import Comparison, Sizes, compare


def loops(sizes: Sizes) -> Iterator[Comparison]:
    """(a) PGD and APGD, every image at full length, against the bare passes that they make."""
    it = natural(sizes)
    attacks: tuple[Attack, ...] = (PGD(steps=sizes.steps), APGD(steps=sizes.steps))
    for attack in attacks:
        passes = attack.passes(classes=10, eot=1, stochastic=False, shape=(1, 8, 8))
        assert passes is not None

        def bare(times: int = passes.backwards) -> None:
            for _ in range(times):
                leaf = it.x.clone().requires_grad_()
                loss = cross_entropy(it.victim.classifiers[0](leaf), it.y, reduction="sum")
                torch.autograd.grad(loss, leaf)

        def loop(attack: Attack = attack) -> None:
            attack(it.target(), it.x, it.y, threat=it.threat, draws=it.draws)

        title = f"{attack.name}, {sizes.steps} steps, {sizes.images} images, {it.name}"
        yield compare(title, {"bare passes": bare, "attack loop": loop}, sizes)


def apgd(sizes: Sizes) -> Iterator[Comparison]:
    """(b) our APGD, which lets fooled images leave, against pyautoattack's."""
    for it, loss in itertools.product(both(sizes), ("ce", "dlr-targeted")):
        upstream, again = (_upstream(it, loss, sizes, seed=seed) for seed in (0, 1))
        ours = APGD(loss=loss, steps=sizes.steps)

        def run(it: Subject = it, ours: APGD = ours) -> Tensor:
            target = it.target(leaves_early=True)
            return ours(target, it.x, it.y, threat=it.threat, draws=it.draws)[:, 0]

        title = f"APGD-{loss}, {sizes.images} images, {it.name}"
        yield _judged(title, it, {"pyautoattack": upstream, "ours": run}, again, sizes)


def autoattack(sizes: Sizes) -> Iterator[Comparison]:
    """(c) fast-autoattack against AutoAttack `standard`, each with its process; at most 3 pairs."""
    sizes = replace(sizes, repeats=min(3, sizes.repeats))
    for it in both(sizes):
        fast = FastAutoAttack(steps=sizes.steps, queries=sizes.queries)
        attacks = {"pyautoattack": AutoAttack(version="standard"), "fast-autoattack": fast}

        def runner(attack: Attack, it: Subject = it) -> Callable[[], Tensor]:
            def run() -> Tensor:
                return attack(it.target(), it.x, it.y, threat=it.threat, draws=it.draws)[:, 0]

            return run

        variants = {name: runner(attack) for name, attack in attacks.items()}
        other = replace(it, draws=replace(it.draws, seed=1))
        again = runner(attacks["pyautoattack"], other)
        title = f"AutoAttack, {sizes.images} images, {it.name}"
        yield _judged(title, it, variants, again, sizes)


def _upstream(it: Subject, loss: str, sizes: Sizes, *, seed: int) -> Callable[[], Tensor]:
    """pyautoattack's APGD with AutoAttack's parameters, in this process."""
    options = {"n_iter": sizes.steps, "eps": it.threat.eps, "seed": seed}
    options["norm"] = NORMS[it.threat.norm]
    network = it.victim.classifiers[0]
    attack = (
        APGDAttack(network, loss="ce", **options)
        if loss == "ce"
        else APGDAttack_targeted(network, n_target_classes=9, **options)
    )

    def run() -> Tensor:
        with torch.random.fork_rng(devices=[]):
            found: Tensor = attack.perturb(it.x, it.y)
        return found

    return run


def _judged(
    title: str,
    it: Subject,
    variants: dict[str, Callable[[], Tensor]],
    again: Callable[[], Tensor],
    sizes: Sizes,
) -> Comparison:
    """A comparison that also says on how many images the verdicts agree, and how many stand.

    Starts are random, so `again`, the reference with another seed, shows how far it agrees with itself.
    """
    stands: dict[str, Tensor] = {}

    def judged(name: str) -> Callable[[], None]:
        def run() -> None:
            stands[name] = it.stands(variants[name]())

        return run

    found = compare(title, {name: judged(name) for name in variants}, sizes)
    reference, ours = (stands[name] for name in variants)
    n = len(it.y)
    itself = int((it.stands(again()) == reference).sum())
    found.notes += [
        f"{int((ours == reference).sum())}/{n} equal",
        f"{int(ours.sum())} : {int(reference.sum())} stand",
        f"{next(iter(variants))} with another seed: {itself}/{n} equal",
    ]
    return found
