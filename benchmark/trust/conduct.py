"""Conduct: how a victim answers the same question in other ways, measured at the start of every run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NoReturn

import torch
from torch import Tensor

from benchmark.belongings import belongings, differing
from benchmark.classifiers.acceptance import EXACT, ROUNDED, Conduct, wide_rows
from benchmark.containment import as_if_fresh, contained
from benchmark.errors import BenchError, ContractBroken
from benchmark.evaluated import Measurement
from benchmark.memory import Room
from benchmark.randomness import Draws
from benchmark.victim import GradientMode, Victim

RUN = 4
"""Draws of each image in a short run of EOT rows."""
MOVED = 0.25
"""The share of images whose logits may move by more than `ROUNDED` where only float32 can be asked: steps by
the sign of a gradient make much of rounding (AID-Purifier moved 6 of 64 images between two kernels)."""


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """A victim that is asked before a run begins.

    Args:
        victim: The defended classifier, as it is attacked.
        what: What a message calls it.
        x: A few clean images `(b, c, h, w)` in [0, 1], at least two.
        draws: Of these images.
        modes: The gradient modes in which the run asks it.
        batch: Rows in one pass of the run.
        classes: Of the dataset.
        made: Makes the same victim anew in a precision.
    """

    victim: Victim
    what: str
    x: Tensor
    draws: Draws
    modes: tuple[GradientMode, ...]
    batch: int
    classes: int
    made: Callable[[torch.dtype], Victim]


@dataclass(frozen=True)
class Asked:
    """A victim with images off the clamps, and how finely its answers are compared.

    Args:
        exhibit: What it is, and what it is asked about.
        victim: In the precision of the run, or the same in float64.
        x: The images in that precision, off the clamps.
        tolerance: Logits no farther apart, relative to the range of all, are the same.
        allowed: The share of images that may move all the same.
    """

    exhibit: Exhibit
    victim: Victim
    x: Tensor
    tolerance: float
    allowed: float

    def ask(
        self,
        x: Tensor | None = None,
        draws: Draws | None = None,
        *,
        place: int = 0,
        mode: GradientMode | None = None,
    ) -> Tensor:
        """Logits `(b, k)`, without a graph.

        Args:
            x: Images; its own by default. The victim is given a copy.
            draws: Their draws; its own by default.
            place: What the global generators are seeded by.
            mode: With gradients, in this mode; None for without.

        Raises:
            ContractBroken: It changed the images.
        """
        x = self.x if x is None else x
        draws = self.exhibit.draws if draws is None else draws

        def one_pass(part: Tensor) -> Tensor:
            shown = x[part].clone().requires_grad_(mode is not None)
            with torch.set_grad_enabled(mode is not None):
                logits = self.victim.logits(
                    shown, draws=draws.take(part), mode=mode or GradientMode.EXACT
                )
            if not torch.equal(shown.detach(), x[part]):
                refuse(
                    self.exhibit.what,
                    "changes the images that it is given, in place",
                    "start from x.clone()",
                )
            return logits.detach()

        with as_if_fresh("conduct", place):
            found = list(Room(len(x)).passes(len(x), one_pass, x.device))
        return torch.cat([logits for _, logits in found])

    @cached_property
    def first(self) -> Tensor:
        """Its answers, `(b, k)`."""
        return self.ask()

    def moved(self, one: Tensor, other: Tensor, tolerance: float | None = None) -> Tensor:
        """Which answers differ, `(b,)` bool; NaN does."""
        span = float(self.first.max() - self.first.min()) or 1.0
        apart = (one.double() - other.double()).abs().amax(1)
        return ~(apart <= span * (self.tolerance if tolerance is None else tolerance))

    def differs(self, one: Tensor, other: Tensor) -> bool:
        """Whether more answers differ than may."""
        return float(self.moved(one, other).double().mean()) > self.allowed


def refuse(what: str, found: str, mend: str) -> NoReturn:
    """Refuses a victim, in one line.

    Raises:
        ContractBroken: Always.
    """
    raise ContractBroken(f"{what} {found}; {mend}")


def examine(exhibit: Exhibit) -> tuple[Conduct, tuple[Measurement, ...]]:
    """How a victim answers, and the measurements that say so in its entry.

    It is asked in the precision of the run, and in float64 where it can be made in that: there rounding
    explains nothing. A victim that is random by the global generators, or at other draws though it declares
    otherwise, and one that looks at its batch, is measured all the same. Refused is one that no seed repeats,
    that changes its images, that remembers what it was shown, and that answers otherwise where gradients are
    wanted.

    Raises:
        BenchError: It cannot be measured, or breaks down.
    """
    before = belongings(exhibit.victim)
    here = Asked(exhibit, exhibit.victim, exhibit.x, EXACT, 0.0)
    _refuse_logits(here)  # before anything else, so that what it remembers is of these images
    fine, why = _finest(exhibit, here)
    random = _randomness(here, fine)
    moved = differing(before, belongings(exhibit.victim))
    if moved:
        _refuse_memory(here, moved[0])
    if random:
        said = (
            "it is random by itself: an answer hangs on the batch that random numbers are drawn for"
        )
        return Conduct(random=random), _measurements(random, 1.0, said, fine, why)
    _refuse_watched(fine)
    share, crowd = _crowd(here, fine)
    return Conduct(crowd=crowd), _measurements("", share, crowd, fine, why)


def _refuse_logits(here: Asked) -> None:
    """Refuses a victim whose logits are not one a class, or not finite.

    Raises:
        ContractBroken: They are.
    """
    what, logits = here.exhibit.what, here.first
    expected = (len(here.x), here.exhibit.classes)
    if tuple(logits.shape) != expected:
        raise ContractBroken(
            f"{what} returned logits of shape {tuple(logits.shape)}; expected {expected} for {len(here.x)} "
            f"images"
        )
    if not bool(logits.isfinite().all()):
        raise ContractBroken(f"{what}: the logits of clean images are not finite")


def _finest(exhibit: Exhibit, here: Asked) -> tuple[Asked, str]:
    """The victim in float64, or, with the reason, as coarsely as float32 allows."""
    draws = exhibit.draws.at("jitter")
    jitter = draws.uniform(tuple(exhibit.x.shape[1:]), dtype=torch.float64)
    x = 0.1 + 0.75 * exhibit.x.double() + 0.05 * jitter
    if exhibit.x.dtype == torch.float64:
        return Asked(exhibit, exhibit.victim, x, EXACT, 0.0), ""
    try:
        with contained("made in float64, it"):
            twin = Asked(exhibit, exhibit.made(torch.float64), x, EXACT, 0.0)
            if twin.first.dtype == torch.float64 and bool(twin.first.isfinite().all()):
                return twin, ""
            why = f"its logits are {twin.first.dtype}"
    except ContractBroken:
        raise
    except BenchError as error:
        why = str(error)
    return Asked(exhibit, here.victim, x.to(exhibit.x.dtype), ROUNDED, MOVED), why


def _randomness(here: Asked, fine: Asked) -> str:
    """How the victim is random although it does not say so; empty where it is not.

    Raises:
        ContractBroken: No seed repeats it.
    """
    for asked in (here, fine):
        asked.first  # noqa: B018
        asked.ask(1 - asked.x, place=1)
        again = asked.ask(place=2)
        is_fine = asked is fine
        if not (asked.differs(asked.first, again) if is_fine else _is_other(asked, again)):
            continue
        one, other = asked.ask(), asked.ask()
        if asked.differs(one, other) or asked.differs(one, asked.first):
            refuse(
                asked.exhibit.what,
                "does not repeat itself: the same images get other logits at the same draws and seeds",
                "take random numbers from `draws` alone (no generator of its own, no clock, none of the "
                "system's), and keep nothing between calls",
            )
        return (
            "the same images get other logits at the same draws: it draws from a global generator"
        )
    if not here.victim.stochastic:
        elsewhere = replace(fine.exhibit.draws, seed=fine.exhibit.draws.seed + 1)
        if fine.differs(fine.first, fine.ask(draws=elsewhere)):
            return "it declares to be deterministic, and other draws change its logits"
    return ""


def _is_other(asked: Asked, again: Tensor) -> bool:
    """Whether answers in the run's own precision differ by more than rounding, which kernels may repeat."""
    return float(asked.moved(asked.first, again, ROUNDED).double().mean()) > MOVED


def _refuse_memory(here: Asked, name: str) -> None:
    """Refuses a victim that answers otherwise after other images; one that only counts may.

    Raises:
        BenchError: It does, or it cannot be made anew to be asked.
    """
    exhibit = here.exhibit
    anew = replace(here, victim=exhibit.made(here.x.dtype))
    anew.ask(1 - here.x)
    expected, found = here.ask(), anew.ask()
    if here.moved(expected, found).any():
        refuse(
            exhibit.what,
            f"remembers what it was shown: its logits hang on what came before (it writes to its {name})",
            "keep nothing between calls",
        )


def _refuse_watched(fine: Asked) -> None:
    """Refuses a victim that answers otherwise where gradients are wanted.

    Raises:
        ContractBroken: It does.
    """
    for mode in fine.exhibit.modes:
        if fine.differs(fine.ask(mode=mode), fine.first):
            refuse(
                fine.exhibit.what,
                f"gives other logits where gradients are wanted ({mode}) than where they are not",
                "let it not ask for the gradient mode, nor change its input in place",
            )


def _crowd(here: Asked, fine: Asked) -> tuple[float, str]:
    """The share of images whose answers hang on the batch, and how; the share is 0 where none may be named.

    Small layouts are asked as finely as can be; wide ones in the run's own precision, since 512 rows in float64
    would cost more than all else.
    """
    if share := _beside_others(here):
        return share, "an image's logits change with what else is in the batch"
    b, most = len(here.x), wide_rows(here.x[:1])
    wide = replace(here, tolerance=ROUNDED, allowed=MOVED)
    small = {"alone": [[0], [-1]], "in another order": [list(range(b))[::-1]]}
    for asked, k, layouts in ((fine, RUN, small), (wide, -(-max(most, 2 * b) // b), {})):
        run = _Runs(asked, k)
        for name, parts in run.layouts(layouts):
            moved = run.moved(parts)
            share = float(moved.double().mean())
            if share > asked.allowed:
                return share, f"an image's logits are others {name}"
    return 0.0, ""


def _beside_others(here: Asked) -> float:
    """The share of images that answer otherwise at the same place of a batch of the same size.

    Rounding has no reason to differ there, however much a purifier makes of it.
    """
    own, n = here.exhibit.draws, 0
    for i in (0, len(here.x) - 1):
        others, images = (1 - here.x).flip(0), own.images + 1_000_003
        others[i], images[i] = here.x[i], own.images[i]
        answer = here.ask(others, replace(own, images=images))
        n += bool(here.moved(answer, here.first)[i])
    return n / 2


class _Runs:
    """Rows as attacks and verdicts lay them out: the k draws of one image, then those of the next.

    Each image is looked at by its first and its last draw, which are first asked for among those of others.

    Args:
        asked: Who is asked.
        k: Draws of each image.
    """

    def __init__(self, asked: Asked, k: int) -> None:
        b, device = len(asked.x), asked.x.device
        self.asked = asked
        self.rows = asked.x.repeat_interleave(k, 0)
        self.draws = asked.exhibit.draws.repeat(k)
        self.every = torch.arange(b * k, device=device)
        self.first = torch.arange(b, device=device) * k
        ends = (self.first, self.first + k - 1)
        self.known = {int(row): answer for end in ends for row, answer in self._ask(end)}

    def _ask(self, part: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(part, self.asked.ask(self.rows[part], self.draws.take(part)), strict=True)

    def layouts(self, small: Mapping[str, list[list[int]]]) -> Iterator[tuple[str, list[Tensor]]]:
        """Layouts by name: positions of the rows of each batch."""
        for name, parts in small.items():
            yield name, [self.first[part] for part in parts]
        yield f"in a batch of {len(self.every)}", [self.every]
        batch = self.asked.exhibit.batch
        if batch < len(self.every):
            yield "in the batches of the run", [self.every[:batch]]

    def moved(self, parts: Sequence[Tensor]) -> Tensor:
        """Which images answer otherwise in a layout, `(b,)` bool."""
        k = len(self.every) // len(self.first)
        moved = torch.zeros(len(self.first), dtype=torch.bool)
        for part in parts:
            for row, answer in self._ask(part):
                if int(row) in self.known:
                    moved[int(row) // k] |= self.asked.moved(
                        answer[None], self.known[int(row)][None]
                    )[0].cpu()
        return moved


def _measurements(
    random: str, share: float, crowd: str, fine: Asked, why: str
) -> tuple[Measurement, ...]:
    """What an entry says of it."""
    where = f"in {fine.x.dtype}".replace("torch.", "") + (f" ({why})" if why else "")
    randomness = Measurement(
        id="randomness",
        value=float(bool(random)),
        threshold=0.0,
        detail=random or f"the same draws give the same logits, {where}",
    )
    layout = Measurement(
        id="layout",
        value=share,
        threshold=0.0,
        detail=crowd or f"an image has the same logits in every batch, {where}",
    )
    return randomness, layout
