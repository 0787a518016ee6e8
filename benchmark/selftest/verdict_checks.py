"""What the verdict is held to: closed forms of scored accuracies, and crashes that must stay gaps."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from benchmark.contract.checks import Finding
from benchmark.datasets.given import Given
from benchmark.engine.attacking.target import Target
from benchmark.engine.criterion import Criterion, Rule
from benchmark.engine.judging.verdict import judge
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Knowledge, Norm
from benchmark.engine.victims.defense import Defense
from benchmark.engine.victims.purified import Purified
from benchmark.evaluation.execute.run import run
from benchmark.evaluation.prepare.request import Request, make_defenses
from benchmark.records.entry import Entry
from benchmark.records.identity import Asked
from benchmark.records.protocol import AttackRow, Column, Protocol, SourceRow
from benchmark.selftest.attack_cases import TRIALS
from benchmark.selftest.canary_suite import image_row, white_box_row
from benchmark.selftest.closed_forms import LinearTask
from benchmark.selftest.toy_victims import Coin, Crashing, Roles

SIGMA = 0.04
SCORED = 400
RIGHT = 0.8
"""How often `Coin` is right."""
CANDIDATES = 24
"""Candidates, or rows, of one accuracy: the least of 24 means over 20 draws lies 0.17 below it."""
COINS = 32
ASKED = 20
_ONE_STEP: dict[str, Any] = {"steps": 1, "random_start": False, "keep": "last"}
ERRORS = 4
"""Standard errors that a scored accuracy may lie off its closed form."""
TOLERANCE = 0.01
"""How far a search may stop short of the worst point, as a share of draws."""
_task = lru_cache(maxsize=2)(LinearTask.make)


def gaussian_form(title: str, norm: Norm) -> Finding:
    """Behind Gaussian noise the scored accuracy is that of the worst point, within binomial error."""
    task = _task(n=16)
    trial = next(trial for trial in TRIALS if trial.title == title)
    noise = make_defenses(Request(defense="gaussian", defense_args={"sigma": SIGMA}))
    victim = Purified(noise, task.classifier)
    draws = Draws.of(0, torch.arange(len(task.x)), "selftest")
    threat = task.threat(norm, 0.9)
    target = Target(victim, classes=task.classifier.classes, eot=8)
    candidates = trial.made()(target, task.x, task.y, threat=threat, draws=draws.at("attack"))
    criterion = Criterion(draws=SCORED, vote=1, any_of=1)
    outcomes, _ = judge(victim, candidates, task.y, draws=draws, criterion=criterion)
    scores = [outcome.accuracy for outcome in outcomes[Rule.SINGLE]]
    expected = float(task.gaussian_accuracy(task.worst_room(threat), SIGMA))
    return _close(sum(scores) / len(scores), expected, n=SCORED * len(task.x))


def tells_its_draws_apart() -> Finding:
    """It chooses on `select` draws, scores on `score` draws, and on as many of each as it is told to."""
    task = _task(n=COINS)
    victim = Roles(Purified([], task.classifier))
    black = task.x.clone()
    black[:, 0, 0, 0] = 0.0
    candidates = torch.stack([task.x, black, task.x], dim=1)
    criterion = Criterion(draws=ASKED, vote=5, any_of=5)
    draws = Draws.of(0, torch.arange(COINS), "selftest", "roles")
    outcomes, chosen = judge(
        victim, candidates, torch.zeros_like(task.y), draws=draws, criterion=criterion
    )
    wrong = []
    if not all(torch.equal(each, black) for each in chosen.unbind(1)):
        wrong.append("it does not take the candidate that is wrong at every select draw")
    single = outcomes[Rule.SINGLE]
    if {(outcome.rate, outcome.bits) for outcome in single} != {(0.0, "1" * ASKED)}:
        wrong.append("that candidate is right at every score draw, and is not scored so")
    select, score = (set(victim.asked.get(role, [])) for role in ("select", "score"))
    if (len(select), len(score)) != (COINS * ASKED, COINS * ASKED) or select & score:
        wrong.append(
            f"expected {COINS * ASKED} draws of each role and none shared; got {len(select)} and "
            f"{len(score)}, {len(select & score)} shared"
        )
    said = f"chosen on select draws, scored on {ASKED} others, image by image"
    return Finding(not wrong, "; ".join(wrong) or said)


def is_not_misled_by_many() -> Finding:
    """The least of many candidates that are all right equally often is right as often as each of them."""
    task = _task(n=COINS)
    shifts = torch.arange(CANDIDATES, dtype=task.x.dtype).view(1, -1, 1, 1, 1) * 1e-4
    draws = Draws.of(0, torch.arange(COINS), "selftest", "coins")
    outcomes, _ = judge(
        Purified([Coin(right=RIGHT)], task.classifier),
        task.x.unsqueeze(1) + shifts,
        task.y,
        draws=draws,
        criterion=Criterion(draws=ASKED, vote=5, any_of=5),
    )
    scores = [outcome.accuracy for outcome in outcomes[Rule.SINGLE]]
    return _close(sum(scores) / COINS, RIGHT, n=ASKED * COINS)


def whole_run_is_not_misled(runs: Path) -> Finding:
    """The same over the rows of a whole run, clean images among them: the published worst case."""
    rows = [
        white_box_row(f"row-{i}", "pgd", ["bpda"], step_size=0.01 * (i + 1), **_ONE_STEP)
        for i in range(CANDIDATES)
    ]
    entry = _entry(Coin(right=RIGHT), rows, runs)
    if entry.worst is None or entry.clean is None or entry.status != "complete":
        gaps = ", ".join(gap.row for gap in entry.gaps) or "none"
        return Finding(False, f"expected a whole entry; its gaps are {gaps}")
    n = ASKED * COINS
    clean = _close(entry.clean.single.value, RIGHT, n=n)
    worst = _close(entry.worst.single.value, RIGHT, n=n)
    said = f"clean: {clean.detail}; worst case: {worst.detail}"
    return Finding(clean.passed and worst.passed, said)


def crash_is_a_gap(runs: Path) -> Finding:
    """Where a purifier breaks down under every gradient, each such row is a gap and none was withstood."""
    attacks = ("fgsm", "pgd", "apgd", "auxiliary")
    rows = [white_box_row(name, name, ["exact", "bpda"]) for name in attacks]
    entry = _entry(Crashing(), rows, runs)
    expected = {f"{row.id}:{mode}" for row in rows for mode in row.gradients}
    named = {gap.row for gap in entry.gaps}
    family = entry.family(Column.ADAPTIVE)
    counted = [record.id for record in entry.attacks if record.id in expected and record.rates]
    wrong = []
    if entry.status != "gaps" or named != expected:
        wrong.append(
            f"of {len(expected)} rows that crash {len(named & expected)} are named as gaps"
        )
    if family is None or family.is_complete or family.rates or counted:
        wrong.append("a row that crashed has an accuracy")
    if entry.clean is None:
        wrong.append("rows that need no gradient are gone too")
    detail = "; ".join(wrong) or f"{len(expected)} rows crash, and are {len(expected)} named gaps"
    return Finding(not wrong, detail)


def _entry(defense: Defense, rows: list[AttackRow], runs: Path) -> Entry:
    """A whole run on the linear task, in float64 on the CPU."""
    task = _task(n=COINS)
    classes = task.classifier.classes
    dataset = Given(images=task.x, labels=task.y, classes=classes, title="linear")
    protocol = Protocol(
        name="selftest",
        version=1,
        summary="what a linear problem's verdict is held to",
        criterion=Asked(draws=ASKED, vote=5, any_of=5),
        sources=[SourceRow(id="clean-bare", attack="clean", against="bare")],
        attacks=[image_row("clean", Column.CLEAN, Knowledge.OBLIVIOUS), *rows],
    )
    return run(
        Request(
            defense=defense,
            model=task.classifier.network,
            dataset=dataset,
            threat=task.threat(Norm.LINF, 0.5),
            protocol=protocol,
            device="cpu",
            workers=1,
            precision="float64",
            runs=runs,
        )
    )


def _close(measured: float, expected: float, *, n: int) -> Finding:
    """Whether a share of n outcomes is a closed form's, within binomial error."""
    error = ERRORS * math.sqrt(expected * (1 - expected) / n)
    return Finding(
        abs(measured - expected) <= error + TOLERANCE,
        f"scored {measured:.4f}, closed form {expected:.4f}, binomial error {error:.4f}",
    )


Proof = Callable[[], Finding]
"""What shows one thing when it is called."""


def verdicts(runs: Path) -> dict[str, Proof]:
    """Every truth about the verdict by its title; whole runs keep their shards in a folder."""
    forms: dict[str, Proof] = {
        f"Gaussian closed form, {title}, {norm}": partial(gaussian_form, title, norm)
        for title in ("pgd, margin", "apgd, cross-entropy")
        for norm in Norm
    }
    return forms | {
        "verdict, draws and their roles": tells_its_draws_apart,
        "verdict, many candidates": is_not_misled_by_many,
        "verdict, many rows of a run": partial(whole_run_is_not_misled, runs),
        "verdict, crashes": partial(crash_is_a_gap, runs),
    }
