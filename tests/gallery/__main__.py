"""`python -m tests.gallery [NAME...]`: what `quick` publishes of each mask, and what is left by hand."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from tabulate import tabulate

from benchmark.engine.criterion import Criterion, Rule
from benchmark.engine.dataset import images_of, labels_of
from benchmark.engine.judging.attack_batch import AttackBatch
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.purified import Purified
from benchmark.errors import BenchError, ContractBroken
from benchmark.evaluation.execute.evaluate import evaluate
from benchmark.evaluation.prepare.prepare import prepare
from benchmark.evaluation.prepare.request import Request
from benchmark.plugins import ATTACKS
from benchmark.publishing.leaderboard.eligibility import why_unranked
from tests.gallery.masks import MASKS, Mask, Opened

IMAGES = 16
POINTS = 0.10
"""How far a published rate may lie above the truth."""


def request(mask: Mask, runs: Path) -> Request:
    """What is asked for each of them."""
    return Request(
        defense=mask, model="digits-cnn", dataset="digits", protocol="quick", samples=IMAGES, runs=runs,
        device="cpu", workers=1,
    )  # fmt: skip


def truth(mask: Mask, runs: Path) -> float:
    """What 60 steps of PGD on the margin leave by hand: exact gradients of the mask without its mask."""
    ready = prepare(replace(request(mask, runs), defense="hgd"))
    mask.prepare(ready.stages[0].setting)
    at = torch.tensor(ready.order[:IMAGES])
    task = ready.task
    kept = []
    for seed in range(2):
        found = AttackBatch(
            victim=Purified([Opened(mask=mask)], ready.classifier),
            attack=ATTACKS.get("pgd")(steps=60, step_size=0.1, loss="margin"),
            threat=task.threat,
            x=images_of(ready.dataset, "test", at),
            y=labels_of(ready.dataset, "test")[at],
            draws=Draws.of(seed, at, task.dataset, task.split),
            classes=task.classes,
            eot=10 if mask.stochastic else 1,
            criterion=Criterion(draws=20),
        ).run()
        bits = [each.bits for each in found.outcomes[Rule.SINGLE]]
        kept.append([b.count("1") / len(b) for b in bits])
    return sum(map(min, zip(*kept, strict=True))) / IMAGES


def line(name: str) -> tuple[list[str], bool]:
    """A mask's row, and whether it gets nothing that it does not have."""
    with tempfile.TemporaryDirectory() as folder:
        mask = MASKS[name]()
        try:
            left = truth(MASKS[name](), Path(folder))
            said = f"{100 * left:.1f}"
        except BenchError:
            left, said = 0.0, "-"
        try:
            entry = evaluate(options=request(mask, Path(folder)))
        except ContractBroken as error:
            return [name, said, "refused", str(error)[:90], "held"], True
    published = entry.worst.single.value if entry.worst else None
    reasons = why_unranked(entry)
    is_held = bool(reasons) or (published is not None and published <= left + POINTS)
    number = "gap" if published is None else f"{100 * published:.1f}"
    return [
        name,
        said,
        number,
        "; ".join(reasons) or "ranked",
        "held" if is_held else "NOT HELD",
    ], is_held


def main(argv: Sequence[str]) -> int:
    """Runs the gallery; status 1 where a mask keeps a rank with more than it has."""
    rows = []
    for name in argv or MASKS:
        rows.append(line(name))
        print(*rows[-1][0], sep=" | ", flush=True)
    print(tabulate([row for row, _ in rows], ["mask", "by hand", "published", "standing", ""]))
    held = sum(is_held for _, is_held in rows)
    print(f"{held} of {len(rows)} held")
    return 0 if held == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
