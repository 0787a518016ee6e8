"""One attack on one batch of images, from clean images to outcomes: all that is computed for a shard."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmark.compute.determinism import settle
from benchmark.compute.memory import BatchLimit
from benchmark.engine.attacking.attack import Attack
from benchmark.engine.attacking.mixed_precision import AttackOutput, search_then_confirm
from benchmark.engine.attacking.target import Target
from benchmark.engine.criterion import Criterion, Outcome, Rule
from benchmark.engine.judging.in_context import right_in_context
from benchmark.engine.judging.verdict import judge, survivors
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.purified import broken_in
from benchmark.engine.victims.victim import GradientMode, Victim


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What an attack found on b images.

    Args:
        output: Its candidates, and what it spent.
        outcomes: For each rule, one an image.
        chosen: The images chosen under each rule, `(b, r, c, h, w)` as `judge` gives them.
        context: At how many EOT draws the victim was right about the image chosen under single draws, asked
            as the attack asked, `(b,)`; empty where the attack asked it nothing.
        seconds: Wall-clock seconds of the attack, without the verdict.
    """

    output: AttackOutput
    outcomes: Mapping[Rule, tuple[Outcome, ...]]
    chosen: Tensor
    context: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackBatch:
    """An attack and the b images that it is to change.

    Args:
        victim: Who is attacked, and asked for the verdict.
        attack: The attack.
        threat: Its budget.
        x: Clean images `(b, c, h, w)` in [0, 1].
        y: True labels `(b,)`.
        draws: Of the b images, at the run's root: the draws are the same for all attacks.
        classes: Number of classes.
        mode: The gradient mode for the victim.
        eot: Draws over which each gradient is averaged.
        criterion: How often the victim is asked.
        is_mixed: Whether bfloat16 searches first, and float32 attacks what survived.
        is_source: Whether its candidates are made for other attacks, so that no image leaves early.
        is_last: Whether it goes on from the sources: they are candidates too, and only images that none of
            them beats are attacked.
        batch_size: Rows in one forward pass at the most.
        sources: Images that other attacks made of the same originals, `(b, m, c, h, w)`.
        seeds: Images of the attacker's own, `(n, c, h, w)`.
        room_of: For how many rows of the attack there was memory before, in float32 (empty) or `bfloat16`.
        verdict_room: Likewise, for the verdict.
    """

    victim: Victim
    attack: Attack
    threat: Threat
    x: Tensor
    y: Tensor
    draws: Draws
    classes: int
    mode: GradientMode = GradientMode.EXACT
    eot: int = 1
    criterion: Criterion
    is_mixed: bool = False
    is_source: bool = False
    is_last: bool = False
    batch_size: int = 256
    sources: Tensor | None = None
    seeds: Tensor | None = None
    room_of: Callable[[str], BatchLimit] | None = None
    verdict_room: BatchLimit | None = None

    def run(self) -> Judged:
        """Attacks, then judges.

        Raises:
            ContractBroken: A plugin broke its contract.
        """
        began = time.perf_counter()
        output = self._output()
        settle(self.x.device)  # a GPU may still be at work when the last call returns
        seconds = time.perf_counter() - began
        outcomes, chosen = judge(self.victim, output.candidates, self.y, **self._asked)
        return Judged(
            output=output,
            outcomes=outcomes,
            chosen=chosen,
            context=self._context(output, chosen[:, 0]),
            seconds=seconds,
        )

    def _output(self) -> AttackOutput:
        b = len(self.x)
        left = partial(survivors, self.victim, y=self.y, **self._asked)
        if self.is_last and self.sources is not None:
            return self._on_what_stands(self.sources.to(self.x), left)
        if not self.is_mixed:
            return self._attempt(self.victim, torch.arange(b), "")
        return search_then_confirm(self._attempt, self.victim, b, survivors=left)

    def _on_what_stands(self, found: Tensor, left: Callable[[Tensor], Tensor]) -> AttackOutput:
        """Images that were found before, `(b, m, c, h, w)`, and those of this attack on what they left."""
        before = AttackOutput(
            candidates=found,
            forwards=0,
            backwards=0,
            gradients=0,
            zero_gradients=0,
            trace=(),
            warnings=(),
        )
        which = left(found)
        return before.then(self._attempt(self.victim, which, ""), which) if len(which) else before

    @property
    def _asked(self) -> dict[str, Any]:
        """How a verdict asks."""
        return {"draws": self.draws, "criterion": self.criterion, "room": self.verdict_room}

    def _attempt(self, victim: Victim, which: Tensor, place: str) -> AttackOutput:
        """One run of the attack on the images at positions `(k,)`, at draws of a place."""
        which = which.to(self.x.device)
        target = self._target(victim, which, place)
        attack = copy.copy(self.attack)  # nothing of one run stays for the next
        candidates = attack(
            target,
            self.x[which],
            self.y[which],
            threat=self.threat,
            draws=self._draws(place).take(which),
        )
        if self.mode is GradientMode.RECOVERED:
            target.warnings += [f"recovered: broken at {where}" for where in broken_in(victim)]
        return AttackOutput.of(candidates, target)

    def _context(self, output: AttackOutput, chosen: Tensor) -> tuple[int, ...]:
        if self.is_source or not output.forwards:
            return ()
        target = self._target(self.victim, torch.arange(len(chosen)).to(self.x.device), "")
        draws = self._draws("").at("context")
        return right_in_context(target, chosen, self.y, draws=draws, is_followed=output.is_followed)

    def _draws(self, place: str) -> Draws:
        """Those of the b images in an attempt."""
        names = (self.attack.name, self.mode.value, *([place] if place else []))
        return self.draws.at("attack", *names)

    def _target(self, victim: Victim, which: Tensor, place: str) -> Target:
        target = Target(
            victim,
            classes=self.classes,
            mode=self.mode,
            eot=self.eot,
            batch_size=self.batch_size,
            sources=None if self.sources is None else self.sources.to(self.x)[which],
            leaves_early=not self.is_source,
            seeds=self.seeds,
        )
        if self.room_of is not None:
            target.room = self.room_of(place)
        return target
