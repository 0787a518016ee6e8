"""The self-test: attacks held to closed forms, and known-broken purifiers brought down."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from benchmark.criterion import Criterion, Rule
from benchmark.defense import Defense
from benchmark.numerics import choose_device, fix_numerics
from benchmark.protocol import Column, Protocol, load_protocol
from benchmark.publishing.entry import Entry
from benchmark.purified import Purified
from benchmark.randomness import Draws
from benchmark.running.request import Request, make_defenses
from benchmark.running.run import run
from benchmark.shelf import ATTACKS, DEFENSES
from benchmark.target import Target
from benchmark.threat import Norm
from benchmark.trust.canaries import ZeroGradient
from benchmark.trust.checks import CheckOutcome
from benchmark.trust.truths import LinearTask, linear_failures
from benchmark.verdict import judge
from benchmark.victim import GradientMode

SIGMA = 0.04
SCORED = 400
CANARY_SAMPLES = 30
SLACK = 1 / CANARY_SAMPLES
"""One image of the canaries' sample: what a broken purifier may keep above the undefended classifier."""

SEARCHES: dict[str, tuple[str, dict[str, Any]]] = {
    "pgd, cross-entropy": ("pgd", {"steps": 20, "step_size": 0.25}),
    "pgd, margin": ("pgd", {"steps": 20, "step_size": 0.25, "loss": "margin"}),
    "apgd, cross-entropy": ("apgd", {"steps": 25}),
    "apgd, DLR": ("apgd", {"steps": 25, "loss": "dlr"}),
    "apgd, targeted DLR": ("apgd", {"steps": 25, "loss": "dlr-targeted"}),
    "auxiliary-aware A1": ("auxiliary", {"variant": "A1", "steps": 20, "step_size": 0.25}),
    "auxiliary-aware A2": ("auxiliary", {"variant": "A2", "steps": 20, "step_size": 0.25}),
}


def selftest(
    device: str = "auto", report: Callable[[CheckOutcome], None] | None = None
) -> list[CheckOutcome]:
    """Runs everything; an installation in which one outcome has not passed is not to be trusted.

    Args:
        device: Where the canaries run; the closed forms are held in float64 on the CPU.
        report: Told of each outcome as soon as it is known.

    Raises:
        BenchError: The device is not there.
    """
    choose_device(device)
    outcomes = []
    threads = torch.get_num_threads()
    fix_numerics(threads=1)  # networks this small lose time to every other thread
    try:
        for outcome in chain(_margins(), _closed_forms(), _canaries(device)):
            outcomes.append(outcome)
            if report is not None:
                report(outcome)
    finally:
        torch.set_num_threads(threads)
    return outcomes


def _margins() -> Iterator[CheckOutcome]:
    """Each search on a linear classifier: all fall at 1.05 times the exact margin, none at 0.95.

    AutoAttack is the field's own package; it is seen at work on the canaries.
    """
    task = LinearTask.make(n=8)
    for title, (name, arguments) in SEARCHES.items():
        attack = ATTACKS.get(name)(**arguments)
        failures = [
            f"{norm} {mode}: {failure}"
            for norm in Norm
            for mode in GradientMode
            for failure in linear_failures(attack, task, _linear_target(task, mode), norm)
        ]
        detail = "; ".join(failures) or "all fall at 1.05 times the exact margin, none at 0.95"
        yield CheckOutcome(f"linear margin, {title}", not failures, detail)


def _linear_target(task: LinearTask, mode: GradientMode) -> Target:
    victim = Purified([DEFENSES.get("none")()], task.classifier, mode=mode)
    return Target(victim, classes=task.classifier.classes, mode=mode, leaves_early=True)


def _closed_forms() -> Iterator[CheckOutcome]:
    """Behind Gaussian noise the scored accuracy is that of the worst point, within binomial error."""
    task = LinearTask.make(n=16)
    noise = make_defenses(Request(defense="gaussian", defense_args={"sigma": SIGMA}))
    victim = Purified(noise, task.classifier)
    draws = Draws.of(0, torch.arange(len(task.x)), "selftest")
    criterion = Criterion(draws=SCORED, vote=1, any_of=1)
    for norm in Norm:
        threat = task.threat(norm, 0.9)
        expected = float(task.gaussian_accuracy(task.worst_room(threat), SIGMA))
        spread = 4 * math.sqrt(expected * (1 - expected) / (SCORED * len(task.x)))
        for name, arguments in (SEARCHES["pgd, margin"], SEARCHES["apgd, cross-entropy"]):
            target = Target(victim, classes=task.classifier.classes, eot=8)
            candidates = ATTACKS.get(name)(**arguments)(
                target, task.x, task.y, threat=threat, draws=draws.at("attack")
            )
            outcomes, _ = judge(victim, candidates, task.y, draws=draws, criterion=criterion)
            scores = [outcome.accuracy for outcome in outcomes[Rule.SINGLE]]
            measured = sum(scores) / len(scores)
            yield CheckOutcome(
                f"Gaussian closed form, {name}, {norm}",
                abs(measured - expected) <= spread + 0.01,
                f"scored {measured:.4f}, closed form {expected:.4f}, binomial error {spread:.4f}",
            )


def _canaries(device: str) -> Iterator[CheckOutcome]:
    """Broken purifiers under `quick`: their worst case is the undefended classifier's."""
    whole = load_protocol("quick")
    # against a gradient of zero AutoAttack is left with its 5,000 queries an image: minutes, and no news
    short = whole.model_copy(
        update={"attacks": [row for row in whole.attacks if row.column is not Column.AUTOATTACK]}
    )
    with tempfile.TemporaryDirectory(prefix="purifybench-selftest-") as folder:
        evaluate = partial(_evaluate, device=device, runs=Path(folder))
        undefended = _worst(evaluate("none", whole))
        for entry in (evaluate("jpeg", whole), evaluate(ZeroGradient(), short)):
            reached = _worst(entry)
            gaps = f"; gaps: {', '.join(gap.row for gap in entry.gaps)}" if entry.gaps else ""
            yield CheckOutcome(
                f"canary {entry.defense.label}",
                entry.status == "complete" and reached <= undefended + SLACK,
                f"worst case {reached:.1%}, undefended {undefended:.1%}{gaps}",
            )


def _evaluate(defense: str | Defense, protocol: Protocol, *, device: str, runs: Path) -> Entry:
    request = Request(
        defense=defense,
        dataset="digits",
        protocol=protocol,
        samples=CANARY_SAMPLES,
        device=device,
        workers=1,
        runs=runs,
    )
    return run(request)


def _worst(entry: Entry) -> float:
    return entry.worst.single.value if entry.worst else math.nan  # NaN passes no comparison
