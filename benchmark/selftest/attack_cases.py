"""Trials: every search of the shelf in an lp ball, held to what a closed form says is there, one line each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.engine.attacking.attack import Attack
from benchmark.engine.threat import Norm
from benchmark.plugins import ATTACKS

Hold = Callable[["AttackCase"], Iterator[str]]
"""What a case is held to; the sentences say what is wrong."""


@dataclass(frozen=True, slots=True)
class AttackCase:
    """One attack with the arguments under which it is held to truths.

    Args:
        title: What the self-test calls it.
        attack: Its name on the shelf.
        arguments: With steps enough to find every margin.
        tight: For each norm in which it is to be held, what is to be changed of them so that it has not one
            step to spare on a linear problem: with so many it finds the margin, with fewer it cannot.
        not_held: What of `attack_checks.HOLDS` it is not held to, by name, because it does not apply.
        norms: Those that it attacks in.
        above: Of one that takes no gradient, for each of its norms the exact margins at which every point must
            fall: it needs more than one that takes them. Empty for all others.
        holds: What it is held to instead of `attack_checks.HOLDS`, on a problem of its own.
    """

    title: str
    attack: str
    arguments: Mapping[str, Any]
    tight: Mapping[Norm, Mapping[str, Any]] = field(default_factory=dict)
    not_held: tuple[str, ...] = ()
    norms: tuple[Norm, ...] = tuple(Norm)
    above: Mapping[Norm, float] = field(default_factory=dict)
    holds: tuple[Hold, ...] = ()

    def made(self, tight: Norm | None = None) -> Attack:
        """The attack with steps enough; with a norm, that with not one step to spare in it."""
        changes = {} if tight is None else self.tight[tight]
        return ATTACKS.get(self.attack)(**{**self.arguments, **changes})


_STEPS = {"steps": 20, "step_size": 0.25}
_FOUR = {norm: {"steps": 4, "step_size": 0.25, "random_start": False} for norm in Norm}
"""Four steps of a quarter of the budget: three do not leave the margin behind."""
_ONE: dict[Norm, dict[str, Any]] = {norm: {} for norm in Norm}
_AUTO = {Norm.LINF: {"steps": 1}, Norm.L2: {"steps": 2}}
"""APGD's first step is twice the budget: in linf it ends in the corner, in l2 the second one does."""
_CW = {"steps": 60, "binary_search_steps": 6, "initial_const": 0.1, "step_size": 0.02}
_A1, _A2 = ({"variant": name, "lambdas": [0.0, 1.0], **_STEPS} for name in ("A1", "A2"))

_ONE_LOOK = ("draws_anew_over_steps", "keeps_the_best")
"""What means nothing where there is but one step."""
_BLIND = ("draws_anew_over_rows", "draws_anew_over_steps", "keeps_the_best")
"""What a search cannot be held to that looks at the bare classifier."""
_NEAREST = (*_BLIND, "wastes_no_step", "spends_what_it_says")
"""Nor one that goes to the nearest boundary, wherever that lies, and ends there."""
_NEAREST_IN_L2 = (*_NEAREST, "stays_among_images")
"""Nor, where pixels are at a bound, one in l2 alone: the closed form there is linf's."""
_FOUND = (*_BLIND, "wastes_no_step")
"""Nor one that hands its steps to another."""
_QUERIES = (*_FOUND, "stays_among_images")
_LABELS = (*_QUERIES, "spends_what_it_says")
"""Nor one that takes no gradient, and, where it asks for labels alone, ends when it has found what it can."""
_FEW = {"steps": 20, "targets": 1, "queries": 50}
_WALK = {"steps": 300, "sideways": 0.2, "towards": 0.02}
_JUMPS = {"queries": 900, "first": 20}
_ALONE = {"queries": 900, "guided": False}
_TAUGHT = {"rounds": 3, "epochs": 6, "attack": "fgsm"}
_LINF = (Norm.LINF,)

TRIALS: tuple[AttackCase, ...] = (
    AttackCase("fgsm", "fgsm", {}, _ONE, _ONE_LOOK),
    AttackCase("pgd, cross-entropy", "pgd", _STEPS, _FOUR),
    AttackCase("pgd, margin", "pgd", {**_STEPS, "loss": "margin"}, _FOUR),
    AttackCase("apgd, cross-entropy", "apgd", {"steps": 25}, _AUTO),
    AttackCase("apgd, DLR", "apgd", {"steps": 25, "loss": "dlr"}, _AUTO),
    AttackCase("apgd, targeted DLR", "apgd", {"steps": 25, "loss": "dlr-targeted"}, _AUTO),
    AttackCase("apgd, probability margin", "apgd", {"steps": 25, "loss": "pm"}, _AUTO),
    AttackCase("auxiliary-aware A1", "auxiliary", _A1, _FOUR, _BLIND),
    AttackCase("auxiliary-aware A2", "auxiliary", _A2, _FOUR),
    AttackCase("auxiliary-aware A2, projected", "auxiliary", {**_A2, "projection": True}, _FOUR),
    AttackCase("deepfool", "deepfool", {"steps": 6}, not_held=_NEAREST),
    AttackCase("cw", "cw", _CW, not_held=_NEAREST_IN_L2, norms=(Norm.L2,)),
    AttackCase("ifgsm", "ifgsm", {"steps": 20}, {norm: {"steps": 4} for norm in Norm}, _ONE_LOOK),
    AttackCase("mim", "mim", _STEPS, {norm: {"steps": 1, "step_size": 1.0} for norm in Norm}),
    AttackCase("ddn", "ddn", {"steps": 60}, not_held=_NEAREST_IN_L2, norms=(Norm.L2,)),
    AttackCase("cw-linf", "cw-linf", {"rounds": 6, "steps": 40}, not_held=_NEAREST, norms=_LINF),
    AttackCase("frozen-draw", "frozen-draw", _STEPS, not_held=_FOUND),
    AttackCase("fast-autoattack", "fast-autoattack", _FEW, not_held=_FOUND),
    AttackCase(
        "square", "square", {"queries": 300}, {}, _QUERIES, above={Norm.LINF: 1.2, Norm.L2: 2.0}
    ),
    AttackCase(
        "nes",
        "nes",
        {"queries": 900, "guided": False},
        {},
        _QUERIES,
        above={Norm.LINF: 1.2, Norm.L2: 1.2},
    ),
    AttackCase(
        "hopskipjump", "hopskipjump", _JUMPS, {}, _LABELS, above={Norm.LINF: 1.2, Norm.L2: 1.2}
    ),
    AttackCase("boundary", "boundary", _WALK, {}, _LABELS, above={Norm.LINF: 2.4, Norm.L2: 1.3}),
    AttackCase("substitute", "substitute", _TAUGHT, {}, _LABELS, _LINF, above={Norm.LINF: 2.0}),
)
"""A new search in an lp ball is one line here; what it is held to is `benchmark.selftest.attack_checks`."""
