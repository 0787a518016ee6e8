"""The interface of attacks: one small method that changes images inside a threat."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from benchmark.engine.arguments import arguments_of, parameters_of
from benchmark.engine.attacking.perturbations import CHANGES, Perturbation
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import ROUNDING, NamedSet, Norm, Threat
from benchmark.errors import BenchError, ContractBroken

LP: frozenset[str] = frozenset(Norm)
"""The lp balls."""
EVERY_SET: frozenset[str] = frozenset((*Norm, *NamedSet))
"""Every kind of threat: for what changes nothing itself."""


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
    else: what `@dataclass(kw_only=True, eq=False)` makes of annotated attributes.
    """

    name: ClassVar[str]
    min_classes: ClassVar[int] = 2
    """The fewest classes with which it exists, whatever its arguments are."""
    per_image: ClassVar[bool] = True
    """Whether an image's result is the same in any batch; where not, the batch size is part of the key."""
    mixes: ClassVar[bool] = True
    """Whether `--precision mixed` lets it search in bfloat16 first. Not where it asks its victim nothing, where
    it counts its queries, or where it is another library: it then runs in float32 alone."""
    summary: ClassVar[str] = ""
    """One line for a listing, with its paper."""
    norms: ClassVar[frozenset[str]] = LP
    """The kinds of threats under which it works, by `Threat.norm`; under any other it is refused, and a
    protocol's row of it is a gap."""
    seeds: ClassVar[int] = 0
    """Images of the task that the attacker has of his own (`Target.seeds`), none of them evaluated."""
    parts: ClassVar[tuple[str, ...]] = ()
    """The attacks, by name, that it runs itself: their source is part of its jobs' keys."""

    @abstractmethod
    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor | Perturbation:
        """Adversarial images for a batch.

        Args:
            target: The victim, with its gradient mode; counts what it is asked.
            x: Clean images `(b, c, h, w)` in [0, 1]. Not to be changed in place.
            y: True labels `(b,)`.
            threat: The budget to stay in.
            draws: The only source of randomness allowed; one stream an image.

        Returns:
            One image for each, `(b, c, h, w)`, or m candidates for each, `(b, m, c, h, w)`, among which the
            criterion chooses. Where two images do not say how large a change is (`Threat.is_read_off`), the
            change's parameters, as `perturbations.CHANGES` has them; images are taken there only where they
            are the clean ones or the target's sources.
        """

    def least_classes(self, *, stochastic: bool) -> int:
        """The fewest classes with which it exists as it was made (3 for DLR, 4 for targeted DLR).

        With fewer it is refused, and a protocol's row of it is not applicable.

        Args:
            stochastic: Whether the victim is random.
        """
        del stochastic
        return self.min_classes

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
        self.refuse_classes(target.classes, stochastic=target.victim.stochastic)
        self.refuse_threat(threat)
        version, sources = x._version, target.sources
        with torch.no_grad():
            made = self.perturb(target, x, y, threat=threat, draws=draws)
        if x._version != version:
            raise ContractBroken(f"attack {self.name!r} changed its input in place")
        if isinstance(made, Perturbation):
            return _rendered(self.name, made, x, threat)
        x_adv = made.detach()
        if x_adv.shape == x.shape:
            x_adv = x_adv.unsqueeze(1)
        if x_adv.ndim != 5 or x_adv.shape[0] != len(x) or x_adv.shape[2:] != x.shape[1:]:
            raise ContractBroken(
                f"attack {self.name!r} returned shape {tuple(x_adv.shape)} for images of shape "
                f"{tuple(x.shape)}; perturb() must return one image, or m candidates, for each"
            )
        if not threat.is_read_off:
            _refuse_unverified(self.name, x_adv, x, sources, threat)
            return x_adv
        m = x_adv.shape[1]
        flat, clean = x_adv.flatten(0, 1), x.repeat_interleave(m, 0)
        refuse_outside(self.name, clean, flat, threat)
        is_lp = threat.norm in LP  # what is counted in pixels knows no rounding
        inside = threat.project(clean, flat) if is_lp else flat.clamp(0.0, 1.0)
        return inside.view_as(x_adv)

    @final
    def refuse_classes(self, classes: int, *, stochastic: bool) -> None:
        """Refuses a task with too few classes for the attack.

        Raises:
            BenchError: There are fewer than `least_classes`.
        """
        least = self.least_classes(stochastic=stochastic)
        if classes < least:
            defaults = parameters_of(type(self))
            given = [f"{k}={v!r}" for k, v in self.arguments().items() if v != defaults[k]]
            asked = f" with {', '.join(given)}" if given else ""
            raise BenchError(
                f"attack {self.name!r}{asked} needs at least {least} classes; this task has {classes}"
            )

    @final
    def refuse_threat(self, threat: Threat) -> None:
        """Refuses a threat in which the attack does not work.

        Raises:
            BenchError: It is none of its `norms`.
        """
        if threat.norm not in self.norms:
            raise BenchError(
                f"attack {self.name!r} works under {', '.join(sorted(self.norms))} and the threat is {threat}: "
                f"name a threat of these, or an attack of {threat.norm}"
            )

    @final
    def _require(self, holds: bool, needs: str, *names: str) -> None:
        """Refuses arguments by what the attack needs of them, and quotes those named, or all of them.

        Raises:
            BenchError: It does not hold.
        """
        if not holds:
            some = ", ".join(f"{name}={getattr(self, name)}" for name in names)
            raise BenchError(f"attack {self.name!r} needs {needs}; got {some or self.arguments()}")

    @final
    def _require_choice(self, **known: Sequence[str]) -> None:
        """Refuses arguments, by name, that are none of the values known.

        Raises:
            BenchError: One of them.
        """
        for what, values in known.items():
            value = getattr(self, what)
            if value not in values:
                raise BenchError(
                    f"attack {self.name!r}: {what} is one of {', '.join(values)}; got {value!r}"
                )


def refuse_outside(name: str, x: Tensor, x_adv: Tensor, threat: Threat) -> None:
    """Refuses images `(b, c, h, w)` that left the budget around `x`, or [0, 1], by more than rounding.

    Raises:
        ContractBroken: One of them did, or is NaN.
    """
    if not x_adv.numel():
        return
    _refuse_larger(name, threat.size(x, x_adv), threat)
    _refuse_range(name, x_adv)


def _refuse_larger(name: str, size: Tensor, threat: Threat) -> None:
    worst = float(size.max())
    if not worst <= threat.eps * (1 + ROUNDING) + ROUNDING:  # written so that NaN fails too
        raise ContractBroken(
            f"attack {name!r} left the budget: {threat.norm} {worst:g} where {threat.eps:g} is allowed"
        )


def _refuse_range(name: str, x_adv: Tensor) -> None:
    low, high = (float(v) for v in torch.aminmax(x_adv))
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise ContractBroken(f"attack {name!r} left [0, 1]: values from {low:g} to {high:g}")


def _rendered(name: str, change: Perturbation, x: Tensor, threat: Threat) -> Tensor:
    """The images `(b, m, c, h, w)` of a change of b images, whose size is read off its parameters.

    Raises:
        ContractBroken: It is of another kind or shape, impossible, too large, or leaves [0, 1].
    """
    kind = CHANGES.get(threat.norm)
    if kind is None or type(change) is not kind:  # a class derived from it could tell any size
        wanted = f"a {kind.__module__}.{kind.__name__}" if kind else "images"
        raise ContractBroken(
            f"attack {name!r} returned a {type(change).__name__} under threat {threat}; perturb() must return "
            f"{wanted} there"
        )
    values = change.values.detach().to(x)
    if values.ndim == kind.dims + 1:
        values = values.unsqueeze(1)
    b, image = len(x), tuple(x.shape[1:])
    is_fit = values.ndim == kind.dims + 2 and values.shape[0] == b and values.shape[1] > 0
    if not (is_fit and kind.is_shape(tuple(values.shape[2:]), image)):
        raise ContractBroken(
            f"attack {name!r} returned a {kind.__name__} of shape {tuple(change.values.shape)} for images of "
            f"shape {tuple(x.shape)}; perturb() must return the parameters of one change, or of m, for each"
        )
    if not b:
        return x.unsqueeze(1)
    m = values.shape[1]
    flat, clean = values.flatten(0, 1), x.repeat_interleave(m, 0)
    flaw, size = kind.flaw(clean, flat), kind.size(clean, flat)
    if flaw:
        raise ContractBroken(f"attack {name!r} returned a {kind.__name__} that cannot be: {flaw}")
    _refuse_larger(name, size, threat)
    shrink = torch.where(size > threat.eps, threat.eps / size, torch.ones_like(size))
    images = kind.rendered(clean, flat * shrink.view(-1, *[1] * kind.dims))
    _refuse_range(name, images)
    return images.clamp(0.0, 1.0).view(b, m, *image)


def _refuse_unverified(
    name: str, x_adv: Tensor, x: Tensor, sources: Tensor | None, threat: Threat
) -> None:
    """Refuses candidates `(b, m, c, h, w)` that are neither clean images nor sources of the same image.

    Sources `(b, s, c, h, w)` were made under the same threat, and verified when they were.

    Raises:
        ContractBroken: One of them is neither.
    """
    known, kind = x.unsqueeze(1), CHANGES[threat.norm]
    if sources is not None:
        known = torch.cat((known, sources.to(x)), dim=1)
    for i in range(x_adv.shape[1]):
        is_known = (x_adv[:, i : i + 1] == known).flatten(2).all(2).any(1)
        if not bool(is_known.all()):
            raise ContractBroken(
                f"attack {name!r} returned images under threat {threat}, and two images do not say how large "
                f"such a change is; perturb() must return a {kind.__module__}.{kind.__name__}"
            )
