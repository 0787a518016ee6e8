"""The interface of attacks: one small method that changes images inside a threat."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from benchmark.configuration import arguments_of
from benchmark.errors import BenchError, ContractBroken
from benchmark.randomness import Draws
from benchmark.target import Target
from benchmark.threat import ROUNDING, Threat


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """What an attack asks for one image at the most: what an image that is never fooled costs.

    Args:
        forwards: Passes forward, every EOT row counted, as `Target` counts them.
        backwards: Passes backward, likewise.
        auxiliary: Looks at the purifiers' auxiliary loss, with its gradient; their forward passes are not among
            the `forwards`, because `Target` does not count them.
        candidates: Images that it hands back for the one.
        on_bare: Whether its forward passes go through the bare classifiers, past the purifiers.
        shared: Forward passes that a batch costs besides, however many images it has.
    """

    forwards: int
    backwards: int
    auxiliary: int = 0
    candidates: int = 1
    on_bare: bool = False
    shared: int = 0


class Attack(ABC):
    """Turns images into adversarial images inside a threat; it never judges its own success.

    `__init__` of a subclass takes keyword-only arguments, stores them under their own names and does nothing
    else.
    """

    name: ClassVar[str]
    min_classes: ClassVar[int] = 2
    """The fewest classes with which its loss makes sense (3 for DLR, 4 for targeted DLR)."""
    per_image: ClassVar[bool] = True
    """Whether an image's result is the same in any batch; where not, the batch size is part of the key."""
    mixes: ClassVar[bool] = True
    """Whether `--precision mixed` lets it search in bfloat16 first. Not where it asks its victim nothing, where
    it counts its queries, or where it is another library: it then runs in float32 alone."""
    summary: ClassVar[str] = ""
    """One line for a listing, with its paper."""
    seeds: ClassVar[int] = 0
    """Images of the task that the attacker has of his own (`Target.seeds`), none of them evaluated."""
    parts: ClassVar[tuple[str, ...]] = ()
    """The attacks, by name, that it runs itself: their source is part of its jobs' keys."""

    @abstractmethod
    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """Adversarial images for a batch.

        Args:
            target: The victim, with its gradient mode; counts what it is asked.
            x: Clean images `(b, c, h, w)` in [0, 1]. Not to be changed in place.
            y: True labels `(b,)`.
            threat: The budget to stay in.
            draws: The only source of randomness allowed; one stream an image.

        Returns:
            One image for each, `(b, c, h, w)`, or m candidates for each, `(b, m, c, h, w)`, among which the
            criterion chooses.
        """

    def passes(
        self, *, classes: int, eot: int, stochastic: bool, shape: tuple[int, int, int]
    ) -> Passes | None:
        """The most that one image costs, for `bench estimate`; None, the default, where that is not known.

        Args:
            classes: Number of classes.
            eot: Draws over which a gradient is averaged.
            stochastic: Whether the victim is random.
            shape: `(c, h, w)` of an image.
        """
        del classes, eot, stochastic, shape
        return None

    def arguments(self) -> dict[str, object]:
        """The constructor's arguments with their values, as they enter a job's key."""
        return arguments_of(self)

    @final
    def __call__(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """`perturb`, with its contract enforced; rounding is projected, an excess is an error.

        Returns:
            Candidates `(b, m, c, h, w)`, inside the budget and [0, 1].

        Raises:
            BenchError: There are too few classes for its loss.
            ContractBroken: It returned a wrong shape, NaN, or left the budget or [0, 1].
        """
        if target.classes < self.min_classes:
            raise BenchError(
                f"attack {self.name!r} needs at least {self.min_classes} classes; this task has "
                f"{target.classes}"
            )
        version = x._version
        with torch.no_grad():
            x_adv = self.perturb(target, x, y, threat=threat, draws=draws).detach()
        if x._version != version:
            raise ContractBroken(f"attack {self.name!r} changed its input in place")
        if x_adv.shape == x.shape:
            x_adv = x_adv.unsqueeze(1)
        if x_adv.ndim != 5 or x_adv.shape[0] != len(x) or x_adv.shape[2:] != x.shape[1:]:
            raise ContractBroken(
                f"attack {self.name!r} returned shape {tuple(x_adv.shape)} for images of shape "
                f"{tuple(x.shape)}; perturb() must return one image, or m candidates, for each"
            )
        m = x_adv.shape[1]
        flat, clean = x_adv.flatten(0, 1), x.repeat_interleave(m, 0)
        refuse_outside(self.name, clean, flat, threat)
        return threat.project(clean, flat).view_as(x_adv)


def refuse_outside(name: str, x: Tensor, x_adv: Tensor, threat: Threat) -> None:
    """Refuses images `(b, c, h, w)` that left the budget around `x`, or [0, 1], by more than rounding.

    Raises:
        ContractBroken: One of them did, or is NaN.
    """
    if not x_adv.numel():
        return
    worst = float(threat.size(x, x_adv).max())
    low, high = (float(v) for v in torch.aminmax(x_adv))
    if not worst <= threat.eps * (1 + ROUNDING) + ROUNDING:  # written so that NaN fails too
        raise ContractBroken(
            f"attack {name!r} left the budget: {threat.norm} {worst:g} where {threat.eps:g} is allowed"
        )
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise ContractBroken(f"attack {name!r} left [0, 1]: values from {low:g} to {high:g}")
