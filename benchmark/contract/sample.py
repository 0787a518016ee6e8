"""Samples: a victim and its purifiers with a few images on which what they do is measured."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.compute.sandbox import sandboxed
from benchmark.contract.probe import Subject
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.defense import Defense
from benchmark.engine.victims.setting import Setting
from benchmark.engine.victims.victim import GradientMode, Victim
from benchmark.errors import BenchError
from benchmark.records.gradients import MeasuredGradients


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What is examined.

    Args:
        victim: The defended classifier.
        stages: Its purifiers with what each was prepared with.
        images: The first evaluation images `(b, c, h, w)` in [0, 1], at least two.
        fresh: As many training images; None where there are none.
        seed: Of all draws.
        known: The images of the evaluation split, as far as memory and time allow, some at a time.
        made: Makes the victim anew in a precision.
        gradients: What was measured of them before; None where that is to be done.
        followed: The gradient modes that attacks follow; none for those that its declaration makes best.
    """

    victim: Victim
    stages: Sequence[tuple[Defense, Setting]]
    images: Tensor
    fresh: Tensor | None
    seed: int
    known: Callable[[], Iterable[Tensor]]
    made: Callable[[torch.dtype], Victim]
    gradients: MeasuredGradients | None = None
    followed: Collection[str] = ()

    def subjects(self) -> list[Subject]:
        """Each purifier by itself."""
        return [Subject(defense, at, self.images, self.seed) for defense, at in self.stages]

    def finest(self) -> tuple[Victim, Tensor, str]:
        """The victim in float64, else itself, with images off the clamps and the precision in words."""
        x = 0.1 + 0.75 * self.images
        n = torch.arange(len(x), device=x.device)
        draws = Draws.of(self.seed, n, "jitter")
        x = x.double() + 0.05 * draws.uniform(tuple(x.shape[1:]), dtype=torch.float64)
        try:
            with sandboxed("in float64, it"), torch.no_grad():
                twin = self.made(torch.float64)
                twin.logits(x[:2], draws=draws.take(n[:2]), mode=GradientMode.EXACT)
                return twin, x, "in float64"
        except BenchError as error:
            return self.victim, x.to(self.images.dtype), f"in float32 ({error})"
