"""Replays: a victim asked again about the images of an entry at its own draws, and compared bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import torch
from torch import Tensor

from benchmark.audit.questions import DrawAnswers, Questions
from benchmark.engine.criterion import Outcome, Rule
from benchmark.engine.judging.verdict import Answers
from benchmark.engine.threat import ROUNDING
from benchmark.evaluation.execute.kept_images import CLEAN, Collected
from benchmark.evaluation.prepare.prepare import Prepared
from benchmark.records.audit import Kept, Replayed
from benchmark.records.entry import Entry
from benchmark.records.rates import kept_margin, share
from benchmark.scoring.series import RuleSeries, clean_series, kept_series

NEAR = 1e-3
"""A margin below this share of the largest one on clean images is within rounding of the boundary."""
_RULES = list(Rule)

OnStep = Callable[[int, int, str], None]
"""Told how many questions are answered, of how many, and about what."""


class ReplayFinding(IntEnum):
    """What a replay says of an image, the worst last."""

    CONFIRMED = 0
    WITHIN_ROUNDING = 1
    CONTRADICTED = 2


def replay(
    ready: Prepared,
    entry: Entry,
    collected: Collected | None,
    *,
    shard_size: int,
    on_step: OnStep = lambda *_: None,
) -> Replay:
    """Asks an entry's victim, as `remake` gives it, again about clean images and those that the run kept.

    Every image is held to the budget and, as `judge` does, shown at the draws by which the entry chose and at
    its `score` draws, in shards of the run's size; rate, margin and outcomes must be those of the entry.

    Raises:
        BenchError: A plugin fails.
    """
    kept = entry.kept_images.which if collected and entry.kept_images else None
    made = Replay(Questions(ready, entry, collected, shard_size), kept)
    clean, others = clean_series(entry), kept_series(entry, kept) if kept else []
    for i, series in enumerate((*clean, *others)):
        images = collected if i >= len(clean) else None
        on_step(
            i, len(clean) + len(others), f"{series.rule} {'kept' if images else 'clean'} images"
        )
        made.compare(series, images)
    return made


class Replay:
    """What asking again comes to, series by series.

    Args:
        questions: Who is asked.
        kept: Which images there are; None for the clean ones alone.

    Attributes:
        findings: One for each image of the entry.
        reasons: Of each image that is not confirmed, by its position, one line.
        is_budget_checked: Whether images say how large their change is (`Threat.is_read_off`).
    """

    def __init__(self, questions: Questions, kept: Kept | None) -> None:
        self.questions = questions
        self.kept = kept
        self.labels = questions.entry.per_image.labels
        self.findings = [ReplayFinding.CONFIRMED] * len(self.labels)
        self.reasons: dict[int, str] = {}
        self.is_budget_checked = questions.ready.task.threat.is_read_off
        clean = questions.asked((CLEAN,) * len(self.labels))
        self.near = NEAR * float(clean.choosing.margins.abs().max())

    def record(self) -> Replayed:
        """The same in figures."""
        confirmed, rounded, contradicted = map(self.findings.count, ReplayFinding)
        return Replayed(
            kept=self.kept,
            confirmed=confirmed,
            within_rounding=rounded,
            contradicted=contradicted,
        )

    def compare(self, series: RuleSeries, collected: Collected | None) -> None:
        """Holds a series to what the victim says of its images."""
        numbers = self._inside(series, self._numbers(series, collected))
        asked = self.questions.asked(numbers)
        for at, outcome in enumerate(series.outcomes):
            if outcome is None:
                continue
            finding, reason = self._held(outcome, series.rule, at, asked, None)
            if finding is ReplayFinding.CONTRADICTED:
                other = self.questions.asked(numbers, is_other=True)
                finding, reason = self._held(outcome, series.rule, at, asked, other)
            self._say(at, series, finding, reason)

    def _say(self, at: int, series: RuleSeries, finding: ReplayFinding, reason: str) -> None:
        """Takes up what was found of an image; the worst stays."""
        if finding > self.findings[at]:
            self.findings[at] = finding
            self.reasons[at] = f"{series.rows[at]}, {series.rule}: {reason}"

    def _numbers(self, series: RuleSeries, collected: Collected | None) -> list[int]:
        """The numbers of a series' images; what is not kept is contradicted, and its clean one stands in."""
        numbers = [CLEAN] * len(series.rows)
        if collected is None:
            return numbers
        rule, rows = _RULES.index(series.rule), collected.rows
        places = {
            (rows[row], at): number for row, r, at, number in collected.places.tolist() if r == rule
        }
        for at, name in enumerate(series.rows):
            if name and (name, at) not in places:
                reason = "its image is not among those kept"
                self._say(at, series, ReplayFinding.CONTRADICTED, reason)
            numbers[at] = places.get((name, at), CLEAN)
        return numbers

    def _inside(self, series: RuleSeries, numbers: list[int]) -> tuple[int, ...]:
        """The same; what is outside the budget or [0, 1] is contradicted, and its clean one stands in."""
        threat, size = self.questions.ready.task.threat, self.questions.shard_size
        most = threat.eps * (1 + ROUNDING) + ROUNDING
        for start in range(0, len(numbers), size):
            part = torch.arange(start, min(start + size, len(numbers)))
            x, x_adv = self.questions.pair(tuple(numbers), part)
            flat = x_adv.flatten(1)
            is_image = (flat >= -ROUNDING).all(1) & (flat <= 1 + ROUNDING).all(1)  # nor NaN
            sizes = threat.size(x, x_adv) if self.is_budget_checked else torch.zeros(len(x))
            for i, at in enumerate(part.tolist()):
                if is_image[i] and float(sizes[i]) <= most:
                    continue
                size_of = f"{threat.norm} {float(sizes[i]):g}"
                found = size_of if is_image[i] else "pixels outside [0, 1]"
                reason = f"outside the budget: {found} where {threat.eps:g} is allowed"
                self._say(at, series, ReplayFinding.CONTRADICTED, reason)
                numbers[at] = CLEAN
        return tuple(numbers)

    def _held(
        self, outcome: Outcome, rule: Rule, at: int, asked: DrawAnswers, other: DrawAnswers | None
    ) -> tuple[ReplayFinding, str]:
        """What an entry says of an image, held to its victim's answers.

        Those of another layout show what rounding does; without them there is none beyond `NEAR`.
        """
        label, slack = self.labels[at], self.near
        answers = asked.at(at)
        near = [part.margins.abs() <= self.near for part in answers]
        if other is not None:
            moved = (asked.choosing.margins.mean(1) - other.choosing.margins.mean(1)).abs()
            slack = max(slack, 2 * float(moved.max()))
            pairs = zip(answers, other.at(at), strict=True)
            near = [
                n | (2 * (a.margins - b.margins).abs() >= a.margins.abs())
                for n, (a, b) in zip(near, pairs, strict=True)
            ]
        select, score = (
            self._reach(rule, part, label, n) for part, n in zip(answers, near, strict=True)
        )
        margin = kept_margin(float(answers.choosing.margins.mean()))
        apart = abs(margin - outcome.margin)
        if not (
            share(select[1]) <= outcome.rate <= share(select[2])
            and _lies_between(outcome.bits, score[1], score[2])
            and apart <= slack
        ):
            return ReplayFinding.CONTRADICTED, (
                f"the entry says rate {outcome.rate:g}, margin {outcome.margin:g}, outcomes "
                f"{outcome.bits[:20]}; its victim says {share(select[0]):g}, {margin:g}, {score[0][:20]}"
            )
        is_same = (share(select[0]), score[0]) == (outcome.rate, outcome.bits)
        if is_same and apart <= self.near:
            return ReplayFinding.CONFIRMED, ""
        return ReplayFinding.WITHIN_ROUNDING, "it differs within rounding of the decision boundary"

    def _reach(self, rule: Rule, part: Answers, label: int, near: Tensor) -> list[str]:
        """Outcomes as answered, and the least and the most right ones that rounding leaves open."""
        rows = (
            part.predictions,
            torch.where(near, part.rivals, part.predictions),
            torch.where(near, torch.full_like(part.rivals, label), part.predictions),
        )
        criterion = self.questions.criterion
        return [criterion.outcomes(rule, row.tolist(), label) for row in rows]


def _lies_between(bits: str, low: str, high: str) -> bool:
    return len(bits) == len(low) and all(
        bit in pair for bit, pair in zip(bits, zip(low, high, strict=True), strict=True)
    )
