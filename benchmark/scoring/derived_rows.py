"""Derived rows: the figures of attacks, columns, the diagnosis and the eps curve, from scores alone; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmark.engine.criterion import Rule
from benchmark.records.diagnosis import CurvePoint, DiagnosisRecord
from benchmark.records.entry import Entry, Rate
from benchmark.records.entry_parts import AttackRecord, Columns, Family, Undefended
from benchmark.records.protocol import FAMILIES, Column, Protocol
from benchmark.records.protocol_rows import Faced
from benchmark.records.rates import Cost, kept_margin, mean_rate
from benchmark.records.scores import Scores
from benchmark.scoring.choice import Candidates, choose, rates

CLEAN_IS_GAP = "the clean row is a gap"


@dataclass(frozen=True)
class Rows:
    """The rows of an entry, by what each keeps of every image.

    Args:
        entry: Of which only what was measured is read, and what is missing.
        protocol: The one that it names; None where that is not known.
    """

    entry: Entry
    protocol: Protocol | None = None

    @property
    def clean(self) -> Candidates:
        """The clean rows; none where one of them is a gap."""
        rows = self._of_column(Column.CLEAN)
        is_whole = not any(gap.column is Column.CLEAN for gap in self.entry.gaps)
        return _candidates(rows) if is_whole and all(row.scores for row in rows) else ()

    def counting(self) -> Candidates:
        """All rows that enter the worst case."""
        rows = (row for row in self.entry.attacks if row.counts and row.column is not Column.CLEAN)
        return (*self.clean, *_candidates(rows))

    def record(self, row: AttackRecord) -> AttackRecord:
        """A row with its rates and, of the worse of the clean image and its own, outcomes and margins."""
        beside = () if row.column in (None, Column.CLEAN) else self._beside(row.column)
        if not self.clean or row.status == "gap":
            return row.model_copy(update={"rates": None, "outcomes": (), "margins": ()})
        rows, n = (*beside, *_candidates([row])), len(self.entry.per_image.indices)
        found = choose(rows, Rule.SINGLE, n)
        margins = [kept_margin(each.margin) for each in found.outcomes]
        return row.model_copy(
            update={
                "rates": rates(rows, n),
                "outcomes": found.bits,
                "margins": () if row.column is None else tuple(margins),
            }
        )

    def columns(self) -> Columns:
        """All families."""
        return Columns(**{column.field: self._family(column) for column in FAMILIES})

    def _family(self, column: Column) -> Family | None:
        """A column; None where the protocol has none of that kind for such a victim and task."""
        rows = self._of_column(column)
        is_gap = any(gap.column is column for gap in self.entry.gaps)
        if not rows and not is_gap and not self._is_asked(column):
            return None
        is_complete, found = bool(rows) and not is_gap, None
        if is_complete and self.clean:
            candidates = (*self._beside(column), *_candidates(rows))
            found = rates(candidates, len(self.entry.per_image.indices))
        return Family(rows=tuple(row.id for row in rows), is_complete=is_complete, rates=found)

    def _beside(self, column: Column) -> Candidates:
        """The clean rows, among which a column chooses too; none where its rows were judged at other draws."""
        return () if column is Column.KNOWN_DRAW else self.clean

    def _is_asked(self, column: Column) -> bool:
        if self.protocol is None:
            return False
        asked = Faced.of(self.entry.defense).rows(self.protocol)
        excused = {gap.row for gap in self.entry.not_applicable}
        return any(row.column is column and row.id not in excused for row in asked)

    def _of_column(self, column: Column) -> list[AttackRecord]:
        return [row for row in self.entry.attacks if row.column is column]

    def undefended(self) -> Undefended:
        """The bare classifier behind the purifier, on clean images and on those made on it."""
        name, made = self.entry.classifier.name, self.entry.sources
        bare = [row for row in made if row.classifier == name and row.status == "ok"]
        return Undefended(
            clean=self._single(row for row in bare if row.attack == "clean"),
            oblivious=self._single(row for row in bare if row.attack != "clean"),
        )

    def _single(self, rows: Iterable[AttackRecord]) -> Rate | None:
        found = _candidates(rows)
        return rates(found, len(self.entry.per_image.indices)).single if found else None

    def diagnosis(self, row: DiagnosisRecord) -> DiagnosisRecord:
        """A row of the diagnosis with its rate and outcomes."""
        bits: tuple[str, ...] = ()
        if self.clean and row.scores and not row.error:
            bits = self._worst([(row.id, Scores(single=row.scores))], row.images)
        error = row.error or ("" if self.clean else CLEAN_IS_GAP)
        rate = mean_rate(bits) if bits else None
        return row.model_copy(update={"error": error, "rate": rate, "outcomes": bits})

    def eps_curve(self) -> tuple[CurvePoint, ...]:
        """Accuracy by budget, from the clean images on; empty without a curve or where part of it is a gap.

        At each budget an image counts with the worst of the clean one and of what the diagnosed attack made of
        it in any of its gradient modes. The threat's own budget is the ranked rows', cut to the diagnosis's
        images.
        """
        asked = [row for row in self.entry.diagnosis if row.kind == "eps"]
        bases = {row.of for row in asked}
        own = [row for row in self.entry.attacks if row.id in bases]
        is_whole = all(row.scores and not row.error for row in asked)
        if not asked or not self.clean or not is_whole or any(row.error for row in own):
            return ()
        budgets: dict[float, list[tuple[str, Scores | None]]] = {
            self.entry.threat.eps: [(row.id, row.scores) for row in own]
        }
        for row in asked:
            scores = Scores(single=row.scores) if row.scores else None
            budgets.setdefault(row.eps, []).append((row.id, scores))
        n = asked[0].images
        points = [(0.0, self._worst([], n))]
        points += [(eps, self._worst(budgets[eps], n)) for eps in sorted(budgets)]
        return tuple(CurvePoint(eps=eps, rate=mean_rate(bits)) for eps, bits in points)

    def _worst(self, rows: Candidates, n: int) -> tuple[str, ...]:
        """Outcomes of single draws on the first n images, of the worst of the clean one and of some rows."""
        return choose((*self.clean, *rows), Rule.SINGLE, n).bits

    def cost(self) -> Cost:
        """What all rows took together; a job that stands in two rows was run once."""
        once = {row.job_key: row.cost for row in (*self.entry.attacks, *self.entry.sources)}
        costs = list(once.values())
        return Cost(
            forwards_per_image=sum(cost.forwards_per_image for cost in costs),
            backwards_per_image=sum(cost.backwards_per_image for cost in costs),
            seconds_per_image=sum(cost.seconds_per_image for cost in costs),
            peak_memory_bytes=max((cost.peak_memory_bytes or 0 for cost in costs), default=0)
            or None,
        )


def _candidates(rows: Iterable[AttackRecord]) -> Candidates:
    return tuple((row.id, row.scores) for row in rows)
