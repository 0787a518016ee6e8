"""The table of diagnoses below a board: what was varied, beside the number that it is held against."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.publishing.leaderboard.cells import percent
from benchmark.records.diagnosis import DiagnosisRecord
from benchmark.records.entry import Entry
from benchmark.records.rates import mean_rate
from benchmark.records.run import Kind

TITLE = "Diagnosis of one attack on the first images; nothing in it is ranked:"
HEADERS = (
    "defense / classifier",
    "images",
    "accuracy by eps",
    "steps doubled",
    "draws doubled",
    "random points",
    "one fixed draw → its images on fresh draws",
)


def diagnosis_rows(board: Sequence[Entry]) -> list[list[str]]:
    """One row for each entry that was diagnosed, accuracies in %; a gap is called one. Not escaped."""
    return [_row(entry) for entry in board if entry.diagnosis]


def _row(entry: Entry) -> list[str]:
    curve = [f"{point.eps:.3g}: {percent(point.rate)}" for point in entry.eps_curve]
    frozen = [f"{percent(row.own)} → {percent(row.rate)}" for row in _of(entry, "frozen")]
    return [
        f"{entry.defense.label} / {entry.classifier.name}",
        str(entry.diagnosis[0].images),
        ", ".join(curve) or ("gap" if _of(entry, "eps") else "–"),
        _doubled(entry, "steps"),
        _doubled(entry, "eot"),
        ", ".join(percent(row.rate) for row in _of(entry, "noise")) or "–",
        ", ".join(frozen) or "–",
    ]


def _doubled(entry: Entry, kind: Kind) -> str:
    found = {attack.id: attack.outcomes for attack in entry.attacks}
    cells = []
    for row in _of(entry, kind):
        bits = found[row.of][: row.images]
        cells.append(f"{percent(mean_rate(bits) if bits else None)} → {percent(row.rate)}")
    return ", ".join(cells) or "–"


def _of(entry: Entry, kind: Kind) -> list[DiagnosisRecord]:
    return [row for row in entry.diagnosis if row.kind == kind]
