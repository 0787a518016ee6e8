"""What is expected of each known-broken purifier, as data, and the evaluation that must show it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmark.contract.checks import Finding
from benchmark.engine.criterion import Rule
from benchmark.engine.threat import Knowledge
from benchmark.engine.victims.defense import Defense
from benchmark.evaluation.execute.run import run
from benchmark.evaluation.prepare.request import Request
from benchmark.records.entry import Entry
from benchmark.records.identity import Asked
from benchmark.records.protocol import AttackRow, Column, Protocol, SourceRow
from benchmark.records.rates import ROUNDING
from benchmark.records.unranked import Diagnosis
from benchmark.selftest.canaries import (
    BitDepth,
    Constant,
    Crowd,
    Grains,
    Hidden,
    Memoriser,
    Saturating,
    ZeroGradient,
)
from benchmark.selftest.check import check_request

SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Canary:
    """A broken purifier, and by what an evaluation shows that it is; all that is named must be seen.

    Args:
        defense: Its name on the shelf, or itself.
        falls: The rule under which its adaptive column must be what the undefended classifier reaches: by the
            gradients of its own, without images made elsewhere. None where an accuracy says nothing, so that
            another instrument must speak.
        flags: Flags of the entry that must be raised.
        checks: Checks of `bench check` that it must fail.
        arguments: Of the constructor of one on the shelf.
        to_autoattack: Whether the AutoAttack column must fall, too.
    """

    defense: str | Defense
    falls: Rule | None = None
    flags: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    to_autoattack: bool = False

    @property
    def name(self) -> str:
        """What its purifier is called."""
        return self.defense if isinstance(self.defense, str) else self.defense.name


def canaries() -> tuple[Canary, ...]:
    """All of them; a new one is a class in `benchmark.selftest.canaries`, and one line here."""
    return (
        Canary("jpeg", falls=Rule.SINGLE, to_autoattack=True),
        Canary(BitDepth(), falls=Rule.SINGLE),
        Canary(
            ZeroGradient(),
            falls=Rule.SINGLE,
            flags=("zero-gradients", "gradient-not-as-declared"),
            checks=("has_the_gradient_it_declares",),
        ),
        Canary(Saturating(), falls=Rule.SINGLE, flags=("zero-gradients",)),
        Canary("gaussian", falls=Rule.ANY, flags=("clean-fails",), arguments={"sigma": 0.25}),
        Canary(Memoriser(images=SAMPLES), flags=("no-attack-effect", "memorises-images")),
        Canary(Crowd(), flags=("batch-dependent",), checks=("treats_each_image_alone",)),
        Canary(Constant(), flags=("zero-gradients",)),
        Canary(Hidden(), falls=Rule.SINGLE),
        Canary(Grains(), flags=("black-box-beats-white-box",)),
    )


def white_box_row(
    name: str,
    attack: str,
    gradients: list[str],
    column: Column = Column.ADAPTIVE,
    eot: int = 1,
    **arguments: object,
) -> AttackRow:
    """A row of a protocol: a white-box attack in some gradient modes."""
    said = {"id": name, "column": column, "knowledge": Knowledge.WHITE_BOX, "attack": attack}
    return AttackRow.model_validate(
        {**said, "arguments": arguments, "gradients": gradients, "eot": eot}
    )


def image_row(name: str, column: Column, knowledge: Knowledge, *sources: str) -> AttackRow:
    """A row of a protocol: clean images, or those that sources made."""
    attack = "transfer" if sources else "clean"
    return AttackRow(
        id=name, column=column, knowledge=knowledge, attack=attack, sources=list(sources)
    )


def _last_row(name: str, attack: str, **fields: Any) -> AttackRow:
    """A row of queries where no gradient is confirmed."""
    return AttackRow(id=name, attack=attack, when="unconfirmed", last=True, **fields)


_MADE: dict[str, Any] = {"steps": 20, "step_size": 0.25, "loss": "margin"}
_SOURCE = {**_MADE, "keep": "max_margin"}
_TERMS: dict[str, Any] = {"steps": 10, "step_size": 0.25, "lambdas": [0.0, 1.0]}
_white = partial(white_box_row, eot=8)
_last = partial(_last_row, column=Column.BLACK_BOX, knowledge=Knowledge.BLACK_BOX)
PROTOCOL = Protocol(
    name="canaries",
    version=1,
    summary="every family at the least strength that brings known-broken purifiers down",
    samples=SAMPLES,
    preliminary=True,
    criterion=Asked(draws=10, vote=5, any_of=5),
    sources=[
        SourceRow(id="clean-bare", attack="clean", against="bare"),
        SourceRow(id="made-bare", attack="pgd", against="bare", arguments=_SOURCE),
        SourceRow(id="made-surrogates", attack="pgd", against="surrogates", arguments=_SOURCE),
    ],
    attacks=[
        image_row("clean", Column.CLEAN, Knowledge.OBLIVIOUS),
        image_row("oblivious", Column.OBLIVIOUS, Knowledge.OBLIVIOUS, "made-bare"),
        _white("fgsm", "fgsm", ["best"]),
        _white("pgd", "pgd", ["exact", "bpda"], **_MADE),
        _white("apgd-ce", "apgd", ["best"], steps=20),
        _white("auxiliary-a2", "auxiliary", ["best"], Column.AUXILIARY, **_TERMS),
        _white("pgd-measured", "pgd", ["measured"], **_MADE),
        image_row("transfer", Column.TRANSFER, Knowledge.TRANSFER, "made-surrogates"),
        _last("last-nes", "nes", gradients=["guide"], arguments={"queries": 300, "directions": 8}),
        _last("last-square", "square", arguments={"queries": 300, "draws": 4}),
    ],
    diagnosis=Diagnosis(of="pgd", doubled=["steps"], curve=[0.5, 2.0], points=10, examined=16),
)
"""Without AutoAttack: against a gradient of zero it is left with its 5,000 queries an image, which are minutes
and no news. It is seen at work on the undefended classifier and on JPEG."""
_AUTOATTACK = white_box_row("autoattack", "autoattack", ["best"], Column.AUTOATTACK)
_COUNTED = _AUTOATTACK.model_copy(update={"counts": "deterministic"})
WITH_AUTOATTACK = PROTOCOL.model_copy(update={"attacks": [*PROTOCOL.attacks, _COUNTED]})


UNDEFENDED = 0.05
"""What the digits' own classifier, which nobody trained to withstand anything, may keep at linf 0.15: one image
of 20. It keeps none."""
LIMITS = {
    Column.OBLIVIOUS: UNDEFENDED,
    Column.AUTOATTACK: UNDEFENDED,
    Column.ADAPTIVE: UNDEFENDED,
    Column.AUXILIARY: UNDEFENDED,
    Column.TRANSFER: 0.6,
}
"""The same by column; images made on two other classifiers leave it 40 %."""


@dataclass(frozen=True, slots=True)
class CanaryRun:
    """Where canaries are evaluated: digits, the dataset's own classifier, one process.

    Args:
        runs: Where finished shards are kept; images made for transfer are made once for all canaries.
        device: Where they run.
    """

    runs: Path
    device: str

    def undefended(self) -> Finding:
        """The classifier alone must fall to each family of attacks by itself: canaries are held to it."""
        entry = run(self.request(Canary("none"), WITH_AUTOATTACK))
        reached = {name: column_of(entry, name, Rule.SINGLE) for name in LIMITS}
        passed = all(reached[name] <= limit + ROUNDING for name, limit in LIMITS.items())
        detail = ", ".join(
            f"{name} {reached[name]:.0%} (at most {limit:.0%})" for name, limit in LIMITS.items()
        )
        return Finding(passed, detail)

    def finding(self, canary: Canary) -> Finding:
        """Whether an evaluation shows of a canary all that is expected."""
        protocol = WITH_AUTOATTACK if canary.to_autoattack else PROTOCOL
        entry = run(self.request(canary, protocol))
        outcomes = check_request(self.request(canary, PROTOCOL)) if canary.checks else []
        said, wrong = seen(canary, entry, {each.name for each in outcomes if not each.passed})
        return Finding(not wrong, "; ".join(wrong or said))

    def request(self, canary: Canary, protocol: Protocol) -> Request:
        """What is asked of the harness."""
        return Request(
            defense=canary.defense,
            defense_args=canary.arguments,
            dataset="digits",
            protocol=protocol,
            device=self.device,
            workers=1,
            runs=self.runs,
        )


def seen(canary: Canary, entry: Entry, failed: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """What an entry and failed checks show of a canary's expectations, and what not, one sentence each."""
    gaps = [f"gaps: {', '.join(gap.row for gap in entry.gaps)}"] * (entry.status != "complete")
    told = []
    if canary.falls is not None:
        for name in (Column.ADAPTIVE, *[Column.AUTOATTACK] * canary.to_autoattack):
            reached = column_of(entry, name, canary.falls)
            detail = f"{name} {reached:.1%} ({canary.falls})"
            right = f"{detail}; {UNDEFENDED:.0%}, as undefended, is right"
            told.append((reached <= UNDEFENDED + ROUNDING, detail, right))
    raised = {flag.id for flag in entry.flags if flag.verdict == "raised"}
    for flag in canary.flags:
        told.append(
            (flag in raised, f"flag {flag} is raised", f"flag {flag} is not raised; it must be")
        )
    for check in canary.checks:
        told.append(
            (check in failed, f"check {check} fails", f"check {check} passes; it must fail")
        )
    said = [yes for is_seen, yes, _ in told if is_seen]
    return said, [*gaps, *(no for is_seen, _, no in told if not is_seen)]


def column_of(entry: Entry, column: Column, rule: Rule) -> float:
    """A column's accuracy under a rule; NaN, which passes no comparison, where there is none."""
    family = entry.family(column)
    return family.rates.under(rule).value if family and family.rates else math.nan
