"""Marks on a leaderboard, and the lines below it that explain them: flags, gaps, what was trained for what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from benchmark.publishing.leaderboard.cells import CHALLENGED, native, percent
from benchmark.publishing.leaderboard.eligibility import why_unranked
from benchmark.publishing.leaderboard.ranking import unlike_protocol
from benchmark.records.entry import Entry, Gap
from benchmark.records.identity import Stage
from benchmark.records.protocol import PRECISION, SEED, Column
from benchmark.records.provenance import Difference, TrainedFor, other_arguments
from benchmark.scoring.audit_figures import valid_audit
from benchmark.scoring.flag_explanations import EXPLANATIONS, said_of

NATIVE = (
    "† AutoAttack on a stochastic victim: its images drawn again (its own verdict, by the last draw alone, in "
    "brackets); it does not enter the worst case"
)
KNOWN_DRAW = (
    "known draw: attacked and judged at one draw an image, which the attacker knows; the difference to the "
    "other columns is what randomness hides from him, and it never enters the worst case"
)
BOUND = "≤: attacks are missing (gaps), so that the truth is at most this; such a row has no rank"
UNDIAGNOSED = "°"
"""Marks an entry without a diagnosis on a board where others have one."""
NO_DIAGNOSIS = (
    f"{UNDIAGNOSED}: without a diagnosis, as entries were before there was one; its flags say nothing of "
    f"longer attacks, other budgets, random points or what its purifiers declare"
)
OTHERWISE = "¶"
"""Marks an entry at another seed or precision than protocols are ranked at."""
ELSEWHERE = "‡"
"""Marks a defense that was trained for something else than what was evaluated."""

AUDITED = "✓"
"""Marks a defense whose entry was audited and confirmed."""
REFUTED = "✗"
"""Marks one whose audit speaks against its entry."""
Told = Iterable[tuple[str, str]]
"""Titles, each with what is said of it."""


def raised(entry: Entry) -> list[str]:
    """The flags that are raised."""
    return [flag.id for flag in entry.flags if flag.verdict == "raised"]


def marks(board: Sequence[Entry]) -> dict[str, str]:
    """A letter for each flag that is raised on a board."""
    found = {name for entry in board for name in raised(entry)}
    ordered = [name for name in EXPLANATIONS if name in found] + sorted(found - set(EXPLANATIONS))
    return {name: chr(ord("a") + i) if i < 26 else f"z{i}" for i, name in enumerate(ordered)}


def flag_marks(entry: Entry, board: Sequence[Entry], letters: dict[str, str]) -> list[str]:
    """An entry's marks: a letter for each raised flag, and whether its flags say less than its neighbours'."""
    found = [letters[name] for name in raised(entry)]
    return found + ([UNDIAGNOSED] if entry in _undiagnosed(board) else [])


def _undiagnosed(board: Sequence[Entry]) -> list[Entry]:
    """The entries without a diagnosis, where others have one."""
    without = [entry for entry in board if not entry.diagnosis]
    return without if len(without) < len(board) else []


def footnotes(board: Sequence[Entry], letters: dict[str, str]) -> list[str]:
    """One line for each mark on a board; `letters` are those of `marks`."""
    notes = [f"{mark}: {said_of(name)}" for name, mark in letters.items()]
    if _undiagnosed(board):
        notes.append(NO_DIAGNOSIS)
    if any(native(entry) for entry in board):
        notes.append(NATIVE)
    if any(entry.family(Column.KNOWN_DRAW) for entry in board):
        notes.append(KNOWN_DRAW)
    if any(entry.status == "gaps" for entry in board):
        notes.append(BOUND)
    notes += _by_title(board, _unranked)
    for told in (_otherwise_lines, _training_lines, _audit_lines, _challenge_lines):
        notes += chain.from_iterable(map(told, board))
    return notes


def name_marks(entry: Entry) -> str:
    """The marks behind a defense's name.

    They say that its weights were trained for something else or not as their recipe stands, that it was
    evaluated at another seed or precision than protocols are ranked at, and what an audit of it found.
    """
    audit = valid_audit(entry)
    audited = (AUDITED if audit.is_confirmed else REFUTED) if audit else ""
    trained = [stage.training for stage in entry.defense.stages if stage.training]
    elsewhere = "" if all(training.is_as_meant for training in trained) else ELSEWHERE
    return elsewhere + (OTHERWISE if unlike_protocol(entry) else "") + audited


def _otherwise_lines(entry: Entry) -> Iterator[str]:
    """How an entry was evaluated, where that is not how protocols are ranked."""
    if said := ", ".join(unlike_protocol(entry)):
        ranked = f"ranks are given at seed {SEED} and precision {PRECISION} alone"
        yield f"{OTHERWISE} {entry.name}: {said}; {ranked}"


def _audit_lines(entry: Entry) -> Iterator[str]:
    """What an audit of an entry found, where it has one that belongs to it."""
    audit = valid_audit(entry)
    if audit is None:
        return
    said = audit.replayed
    of = f"images kept ({said.kept})" if said.kept else "clean images alone"
    parts = [
        f"replay of {of}: {said.confirmed} confirmed, {said.within_rounding} within rounding, "
        f"{said.contradicted} contradicted"
    ]
    if again := audit.again:
        parts.append(
            f"{again.images} attacked anew: {again.agreed} agree, {again.fallen} fall now, {again.stood} stand "
            f"now, so that at most {again.at_most:.0%} of its images are forged"
        )
    mark, who = AUDITED if audit.is_confirmed else REFUTED, f" by {audit.by}" if audit.by else ""
    yield f"{mark} {entry.name}: audited {audit.date}{who}; {'; '.join(parts)}"


def _challenge_lines(entry: Entry) -> Iterator[str]:
    """Who lowered an entry from outside, and by how much."""
    for one in entry.challenges:
        before, after = (percent(r.single.value) for r in (one.worst_before, one.worst_after))
        yield (
            f"{CHALLENGED} {entry.name}: worst case {before} → {after} by {one.chosen} of {one.images} images "
            f"from outside: {one.credit or 'nobody named'} (sha256 {one.sha256[:16]})"
        )


def _training_lines(entry: Entry) -> Iterable[str]:
    """What the weights of an entry were trained for and how, where that is something else."""
    lines = []
    for stage in entry.defense.stages:
        training = stage.training
        if training is None or training.is_as_meant:
            continue
        said = [_difference(name, stage, training.trained_for) for name in training.differs]
        if training.unlike_recipe:
            said.append(f"with {assigned(training.unlike_recipe)}, unlike its recipe")
        lines.append(f"{ELSEWHERE} {entry.name}: {stage.label} was trained {', '.join(said)}")
    return dict.fromkeys(lines)


def _difference(name: Difference, stage: Stage, said: TrainedFor | None) -> str:
    if said is None:
        return "for another classifier, as its user says; its weights state nothing"
    other = other_arguments(said, stage.arguments)
    return {
        "classifier": f"for {' and '.join(said.names)}",
        "dataset": f"on {said.dataset}",
        "arguments": f"with {assigned(other)}",
        "alone": "alone, with no purifier before it",
        "behind": f"behind {said.behind}",
    }[name]


def assigned(arguments: Mapping[str, object]) -> str:
    """Arguments as `steps=3 size=2`."""
    return " ".join(f"{key}={value}" for key, value in arguments.items())


def gap_lines(board: Sequence[Entry]) -> list[str]:
    """One line for each gap on a board, and for each row that its task's few classes leave out or change."""
    lines = [
        f"gap: {entry.name}: {_titled(gap)}: {gap.reason}" for entry in board for gap in entry.gaps
    ]
    return lines + [line for told in (_excused, _stand_ins) for line in _by_title(board, told)]


def _by_title(board: Sequence[Entry], told: Callable[[Entry], Told]) -> list[str]:
    """What is told of a board, each title once: of whom, and in which words, where there are any."""
    names: dict[str, list[str]] = {}
    words: dict[str, dict[str, None]] = {}
    for entry in board:
        for title, reason in told(entry):
            names.setdefault(title, []).append(entry.name)
            words.setdefault(title, {})[reason] = None
    return [
        f"{title} ({'every row' if len(whose) == len(board) else ', '.join(whose)})"
        f"{': ' if any(words[title]) else ''}{'; '.join(words[title])}"
        for title, whose in names.items()
    ]


def _unranked(entry: Entry) -> Told:
    return ((f"not ranked: {reason}", "") for reason in why_unranked(entry))


def _excused(entry: Entry) -> Told:
    return [(f"not applicable: {_titled(gap)}", gap.reason) for gap in entry.not_applicable]


def _stand_ins(entry: Entry) -> Told:
    for one in entry.stand_ins:
        words = ", ".join(f"{key}={value}" for key, value in one.arguments.items())
        why = f"because the task has fewer than {one.below} classes"
        yield f"stands in: {one.row}", f"with {words}, {why}"


def _titled(gap: Gap) -> str:
    return f"{gap.row}{f' ({gap.column})' if gap.column else ''}"
