"""An attack under examination, the small victims it is shown, and what it makes of their images."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from benchmark.compute.sandbox import generators_kept, settings_kept
from benchmark.contract.probe import NOBODYS
from benchmark.engine.attacking.attack import EVERY_SET, Attack
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import EXAMPLES, Threat
from benchmark.engine.victims.purified import Purified
from benchmark.errors import BenchError
from benchmark.plugins import DEFENSES
from benchmark.selftest.toy_victims import Counting, small_network

IMAGES = 6
CLASSES = 6
SIDE = 6
"""Pixels of an image along each axis: on fewer AutoAttack's own Square breaks down."""
EOT = 2
SIGMA = 0.04
"""Of the Gaussian noise that makes the random victim."""


class AttackSubject:
    """An attack under examination, on a small network, with its images; under each threat it says it supports.

    Args:
        attack: With arguments that let it end in seconds.
        seed: Of all draws.
        device: Where the network is.
    """

    def __init__(self, attack: Attack, *, seed: int = 0, device: str = "cpu") -> None:
        self.attack = attack
        classes = max(CLASSES, *(attack.least_classes(stochastic=each) for each in (False, True)))
        classifier, x, y = small_network(IMAGES, classes, SIDE)
        self.classifier, self.x, self.y = classifier.to(device), x.to(device), y.to(device)
        self.draws = Draws.of(seed, NOBODYS + torch.arange(IMAGES, device=device), "check")
        self.other = replace(self.draws, seed=seed + 1)
        self.threats = [
            Threat.parse(text) for kind, text in EXAMPLES.items() if kind in attack.norms
        ]
        if not self.threats or not attack.norms <= EVERY_SET:
            raise BenchError(
                f"attack {attack.name!r}: norms must name one of {', '.join(EXAMPLES)} at least, and nothing "
                f"else; got {sorted(attack.norms)}"
            )
        self._whole: dict[tuple[Threat, bool], tuple[Tensor, Target]] = {}

    @cached_property
    def situations(self) -> list[tuple[Threat, bool]]:
        """Each threat with a fixed victim, and with a random one unless the attack does not work on that."""
        fixed = [(threat, False) for threat in self.threats]
        with (
            contextlib.suppress(Exception),
            settings_kept(),
            generators_kept(),
        ):  # what it trips over is what `works_on_a_random_victim` is there to tell
            self.whole(self.threats[0], is_random=True)
            return fixed + [(threat, True) for threat in self.threats]
        return fixed

    def target(self, x: Tensor, *, is_random: bool = False, batch_size: int = 256) -> Target:
        """The network for images `(b, c, h, w)`, which are their own sources; random behind Gaussian noise."""
        noise = [DEFENSES.get("gaussian")(sigma=SIGMA)] if is_random else []  # type: ignore[call-arg]
        rows = torch.arange(max(1, self.attack.seeds), device=x.device)
        own = Draws.of(self.draws.seed, rows, "seeds")
        return Target(
            Counting(Purified(noise, self.classifier)),
            classes=self.classifier.classes,
            eot=EOT if is_random else 1,
            batch_size=batch_size,
            sources=x.unsqueeze(1).clone(),
            leaves_early=True,
            seeds=own.uniform(tuple(x.shape[1:]), dtype=x.dtype),
        )

    def made(
        self,
        threat: Threat,
        target: Target | None = None,
        *,
        x: Tensor | None = None,
        which: Tensor | None = None,
        draws: Draws | None = None,
        **options: Any,
    ) -> Tensor:
        """Candidates `(b, m, c, h, w)` of its images, of some of them by position, or of others instead."""
        which = torch.arange(IMAGES, device=self.x.device) if which is None else which
        x = (self.x if x is None else x)[which]
        target = target or self.target(x, **options)
        at = (self.draws if draws is None else draws).take(which)
        return self.attack(target, x, self.y[which], threat=threat, draws=at)

    def whole(self, threat: Threat, *, is_random: bool) -> tuple[Tensor, Target]:
        """Candidates of all images together, made once, and the target that counted."""
        key = (threat, is_random)
        if key not in self._whole:
            target = self.target(self.x, is_random=is_random)
            self._whole[key] = self.made(threat, target), target
        return self._whole[key]
