"""Conduct: how a victim answers the same question in other ways, measured at the start of every run."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchmark.compute.object_state import belongings, differing
from benchmark.compute.sandbox import sandboxed
from benchmark.contract.ask import MOVED, Examinee, ProbedVictim
from benchmark.contract.batch_layouts import crowd_of
from benchmark.engine.victims.acceptance import EXACT, ROUNDED, Conduct, refuse
from benchmark.errors import BenchError, ContractBroken
from benchmark.records.run import DefenseMeasurement


def examine(exhibit: Examinee) -> tuple[Conduct, tuple[DefenseMeasurement, ...]]:
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
    here = ProbedVictim(exhibit, exhibit.victim, exhibit.x, EXACT, 0.0)
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
    share, crowd = crowd_of(here, fine)
    return Conduct(crowd=crowd), _measurements("", share, crowd, fine, why)


def _refuse_logits(here: ProbedVictim) -> None:
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


def _finest(exhibit: Examinee, here: ProbedVictim) -> tuple[ProbedVictim, str]:
    """The victim in float64, or, with the reason, as coarsely as float32 allows."""
    draws = exhibit.draws.at("jitter")
    jitter = draws.uniform(tuple(exhibit.x.shape[1:]), dtype=torch.float64)
    x = 0.1 + 0.75 * exhibit.x.double() + 0.05 * jitter
    if exhibit.x.dtype == torch.float64:
        return ProbedVictim(exhibit, exhibit.victim, x, EXACT, 0.0), ""
    try:
        with sandboxed("made in float64, it"):
            twin = ProbedVictim(exhibit, exhibit.made(torch.float64), x, EXACT, 0.0)
            if twin.first.dtype == torch.float64 and bool(twin.first.isfinite().all()):
                return twin, ""
            why = f"its logits are {twin.first.dtype}"
    except ContractBroken:
        raise
    except BenchError as error:
        why = str(error)
    return ProbedVictim(exhibit, here.victim, x.to(exhibit.x.dtype), ROUNDED, MOVED), why


def _randomness(here: ProbedVictim, fine: ProbedVictim) -> str:
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


def _is_other(asked: ProbedVictim, again: Tensor) -> bool:
    """Whether answers in the run's own precision differ by more than rounding, which kernels may repeat."""
    return float(asked.moved(asked.first, again, ROUNDED).double().mean()) > MOVED


def _refuse_memory(here: ProbedVictim, name: str) -> None:
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


def _refuse_watched(fine: ProbedVictim) -> None:
    """Refuses a victim that answers otherwise where gradients are wanted.

    Raises:
        ContractBroken: It does.
    """
    for mode in fine.exhibit.modes:
        try:
            with sandboxed(f"asked for gradients ({mode}), it"):
                answers = fine.ask(mode=mode)
        except ContractBroken:
            raise
        except BenchError:
            continue  # what breaks down under gradients alone is a gap of each row that asks for them
        if fine.differs(answers, fine.first):
            refuse(
                fine.exhibit.what,
                f"gives other logits where gradients are wanted ({mode}) than where they are not",
                "let it not ask for the gradient mode, nor change its input in place",
            )


def _measurements(
    random: str, share: float, crowd: str, fine: ProbedVictim, why: str
) -> tuple[DefenseMeasurement, ...]:
    """What an entry says of it."""
    where = f"in {fine.x.dtype}".replace("torch.", "") + (f" ({why})" if why else "")
    randomness = DefenseMeasurement(
        id="randomness",
        value=float(bool(random)),
        threshold=0.0,
        detail=random or f"the same draws give the same logits, {where}",
    )
    layout = DefenseMeasurement(
        id="layout",
        value=share,
        threshold=0.0,
        detail=crowd or f"an image has the same logits in every batch, {where}",
    )
    return randomness, layout
