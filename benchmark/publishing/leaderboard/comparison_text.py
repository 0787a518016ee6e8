"""A comparison as text: for a terminal, for a pull request's comment, for a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from benchmark.publishing.leaderboard.cells import percent, pipe, points
from benchmark.publishing.leaderboard.comparison import Comparison, Conclusion, Difference, Held
from benchmark.publishing.leaderboard.eligibility import why_unranked
from benchmark.publishing.leaderboard.escaping import markdown, plain
from benchmark.publishing.leaderboard.footnotes import raised
from benchmark.records.entry import Entry
from benchmark.scoring.flag_explanations import said_of

HEADERS = ("", "base", "candidate", "change (95 % bounds)", "p", "lost", "gained")
IMAGES = 8
"""Indices that are written out; the rest is counted."""


def to_text(comparison: Comparison, tolerance: float, gates: Sequence[str]) -> str:
    """A table for a terminal, the conclusion below it.

    Args:
        comparison: What was compared.
        tolerance: The largest tolerated fall, a share from 0 up.
        gates: What decides: `worst`, `clean` or both.
    """
    changes = (comparison.worst, comparison.clean, *comparison.attacks)
    table = tabulate(
        [HEADERS, *map(_cells, changes)],
        tablefmt="plain",
        colalign=("left", *["right"] * (len(HEADERS) - 1)),
        disable_numparse=True,
    )
    lines = [_heading(comparison), table, *_notes(comparison, tolerance, gates)]
    return "\n".join(plain(line) if line is not table else line for line in lines) + "\n"


def to_markdown(comparison: Comparison, tolerance: float, gates: Sequence[str]) -> str:
    """The same for a comment on a pull request: conclusion and gates in sight, attacks folded away."""
    verdict = comparison.verdict(tolerance, gates)
    first, *others = _notes(comparison, tolerance, gates)
    whole = map(_cells, (comparison.worst, comparison.clean))
    parts = [
        f"### {_SIGNS[verdict]} {markdown(_heading(comparison))}",
        f"**{markdown(first)}**",
        pipe(list(whole), HEADERS),
        "\n".join(f"- {markdown(note)}" for note in others),
        f"<details><summary>attacks: {len(comparison.attacks)}</summary>",
        pipe(list(map(_cells, comparison.attacks)), HEADERS),
        "</details>",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def failure_to_markdown(reason: str) -> str:
    """Why two entries cannot be compared, for a comment on a pull request."""
    return f"### ⚠️ cannot be compared\n\n{markdown(reason)}\n"


def to_json(comparison: Comparison, tolerance: float, gates: Sequence[str]) -> dict[str, Any]:
    """The same as plain JSON values; shares, not percentages."""
    return {
        "base": _identity(comparison.base),
        "candidate": _identity(comparison.candidate),
        "verdict": comparison.verdict(tolerance, gates).value,
        "held_because": comparison.held(tolerance, gates),
        "tolerance": tolerance,
        "gates": list(gates),
        "deciding_n": deciding_n(comparison, tolerance, gates),
        "worst": _plain(comparison.worst),
        "clean": _plain(comparison.clean),
        "attacks": [_plain(change) for change in comparison.attacks],
        "missing": list(comparison.missing),
        "added": list(comparison.added),
        "missing_on_both": [gap.row for gap in comparison.neither],
    }


def deciding_n(comparison: Comparison, tolerance: float, gates: Sequence[str]) -> int | None:
    """About how many images would decide what is inconclusive; None where nothing is, or no number would."""
    if comparison.verdict(tolerance, gates) is not Conclusion.OPEN:
        return None
    wanted = [
        change.deciding_n(tolerance)
        for change in map(comparison.gate, gates)
        if change.verdict(tolerance) is Conclusion.OPEN
    ]
    found = [n for n in wanted if n is not None]
    return max(found) if len(found) == len(wanted) else None


_SIGNS = {Conclusion.HELD: "✅", Conclusion.FELL: "❌", Conclusion.OPEN: "❔"}
_HELD = {
    Held.SAME_JOBS: "Held: both are the outcome of the very same jobs; nothing changed.",
    Held.SAME_OUTCOMES: "Held: every attack has the same outcome and margin on every image; the code changed, "
    "its behavior did not.",
    Held.BOUND: "Held: that {lost} is ruled out at 95 % confidence.",
}


def _identity(entry: Entry) -> dict[str, Any]:
    return {
        "defense": entry.defense.label,
        "classifier": entry.classifier.name,
        "dataset": entry.dataset.name,
        "threat": entry.threat.text,
        "protocol": entry.protocol.name,
        "n": entry.dataset.n,
        "not_ranked": list(why_unranked(entry)),
    }


def _plain(change: Difference) -> dict[str, Any]:
    return {**asdict(change), "change": change.value}


def _heading(comparison: Comparison) -> str:
    base, candidate = comparison.base, comparison.candidate
    names = candidate.defense.label
    if base.defense.label != candidate.defense.label:
        names = f"{candidate.defense.label} against {base.defense.label}"
    return (
        f"{names} on {base.classifier.name}: {base.dataset.name}, {base.threat.text}, protocol "
        f"{base.protocol.name}, {base.dataset.n} images"
    )


def _cells(change: Difference) -> list[str]:
    value, low, high = (points(share, "+") for share in (change.value, change.low, change.high))
    return [
        change.name,
        percent(change.base),
        percent(change.candidate),
        f"{value} ({low} to {high})",
        f"{change.p:.2g}",
        str(len(change.lost)),
        str(len(change.gained)),
    ]


def _notes(comparison: Comparison, tolerance: float, gates: Sequence[str]) -> list[str]:
    """The conclusion first, then what a reader should know."""
    names = " and ".join(comparison.gate(name).name for name in gates)
    lost = f"the {names} lost more than {100 * tolerance:g} points"
    held = comparison.held(tolerance, gates)
    if held is not None:
        said = _HELD[held].format(lost=lost)
    elif comparison.verdict(tolerance, gates) is Conclusion.FELL:
        said = f"Fell: at 95 % confidence {lost}."
    else:
        said = f"Inconclusive: cannot tell whether {lost}. {_wanted(comparison, tolerance, gates)}"
    notes = [said]
    worst = comparison.worst
    if worst.lost:
        notes.append(f"lost in the worst case: images {_images(worst.lost)}")
    if worst.gained:
        notes.append(f"gained in the worst case: images {_images(worst.gained)}")
    for word, rows in (("not in the candidate", comparison.missing), ("new", comparison.added)):
        if rows:
            notes.append(f"attacks {word}: {', '.join(rows)}")
    notes += [f"missing on both sides: {gap.row} ({gap.reason})" for gap in comparison.neither]
    return [*notes, *_remarks(comparison)]


def _wanted(comparison: Comparison, tolerance: float, gates: Sequence[str]) -> str:
    n = deciding_n(comparison, tolerance, gates)
    if n is None:
        return "No number of images is likely to decide: the change found is the tolerance itself."
    return f"About {n} images would decide (--samples {n})."


def _images(indices: Sequence[int]) -> str:
    shown = ", ".join(map(str, indices[:IMAGES]))
    more = len(indices) - IMAGES
    return f"{shown} and {more} more" if more > 0 else shown


def _remarks(comparison: Comparison) -> list[str]:
    base, candidate = comparison.base, comparison.candidate
    notes = [
        f"not ranked: the {side}: {', '.join(reasons)}"
        for side, entry in (("base", base), ("candidate", candidate))
        if (reasons := why_unranked(entry))
    ]
    for what, ours, theirs in (
        ("seed", base.seed, candidate.seed),
        ("precision", base.precision, candidate.precision),
        ("version of keys", base.key_version, candidate.key_version),
    ):
        if ours != theirs:
            notes.append(f"they differ in {what}: {ours} and {theirs}")
    if base.preliminary or candidate.preliminary:
        notes.append("preliminary: a protocol for a first look, or fewer images than it asks for")
    risen = {*raised(candidate)} - {*raised(base)}
    return [*notes, *(f"only the candidate raises {said_of(name)}" for name in sorted(risen))]
