"""Ranking: entries become boards, groups of one classifier, and rows in rank order; pure, no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from benchmark.publishing.leaderboard.eligibility import why_unranked
from benchmark.publishing.leaderboard.escaping import short_hash
from benchmark.publishing.leaderboard.paired import difference
from benchmark.records.entry import Entry, is_undefended
from benchmark.records.identity import ClassifierIdentity
from benchmark.records.protocol import PRECISION, SEED
from benchmark.records.rates import mean_rate


@dataclass(frozen=True, slots=True)
class Gain:
    """A worst-case accuracy minus that of the same classifier undefended, on the same images.

    Args:
        value: In [-1, 1].
        low: Lower end of its 95 % interval.
        high: Upper end.
        n: Images that both were measured on.
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Line:
    """An entry on its board.

    Args:
        entry: What was measured.
        place: Its rank within its group, from 1; None where it has none.
        gain: None where it is not known (`gain_of`).
    """

    entry: Entry
    place: int | None = None
    gain: Gain | None = None


@dataclass(frozen=True, slots=True)
class BoardGroup:
    """The rows before one classifier.

    Args:
        classifier: The classifier; two names of one content are one classifier.
        header: The classifier undefended; None where no entry measured it.
        lines: The defenses before it, in rank order.
    """

    classifier: ClassifierIdentity
    header: Line | None
    lines: tuple[Line, ...]

    def __iter__(self) -> Iterator[Line]:
        """All lines, the header first."""
        yield from (self.header,) if self.header else ()
        yield from self.lines


@dataclass(frozen=True, slots=True)
class Board:
    """What may be compared: one set of images, one threat, and one content of a protocol.

    Args:
        groups: By the classifiers' names.
        others: Entries of the same rows that are not shown, such as those on fewer images.
        images: Hash of the images, where another board of the same dataset has others; else empty.
    """

    groups: tuple[BoardGroup, ...]
    others: tuple[Entry, ...]
    images: str = ""

    @property
    def lines(self) -> list[Line]:
        """All lines, group by group, each group's header first."""
        return [line for group in self.groups for line in group]

    @property
    def entries(self) -> list[Entry]:
        """Their entries."""
        return [line.entry for line in self.lines]

    @property
    def first(self) -> Entry:
        """An entry that stands for all, where they agree."""
        return self.entries[0]


def boards(entries: Iterable[Entry]) -> list[Board]:
    """The boards of some entries, the standard protocol's first.

    A board holds one set of images, or the first of it: entries on others stand on another board. A row stands
    for a defense before a classifier, by the classifier's content: the entry on the most images. The undefended
    classifier is the header of its group. Within a group, rows that may be ranked come before others, rows on
    all images that the protocol asks for before preliminary ones, more images before fewer (only those on the
    most have ranks), then higher worst-case accuracy (single draws), then higher clean accuracy. Groups are not
    ranked against each other: before a robust classifier, any defense would be ahead of any before a natural
    one.
    """
    ordered = sorted(entries, key=lambda entry: (_board(entry), _weight(entry)))
    grouped = [_by_images(list(found)) for _, found in groupby(ordered, key=_board)]
    return [
        _made(same, short_hash(repr(_images(same[0]))) if len(sets) > 1 else "")
        for sets in grouped
        for same in sets
    ]


def _by_images(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Entries of one name's images: all together where they met the first of one set, else by what they met."""
    largest = max(entries, key=lambda entry: entry.dataset.n).per_image
    pixels: dict[int, set[str]] = {}
    for entry in entries:
        pixels.setdefault(entry.dataset.n, set()).update(filter(None, [_pixels(entry)]))
    if all(len(found) < 2 for found in pixels.values()) and all(
        entry.per_image.indices == largest.indices[: entry.dataset.n]
        and entry.per_image.labels == largest.labels[: entry.dataset.n]
        for entry in entries
    ):
        return [list(entries)]
    sets: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        sets.setdefault(_images(entry), []).append(entry)
    return list(sets.values())


def _images(entry: Entry) -> tuple[Any, ...]:
    """What an entry says of its images."""
    return _pixels(entry), entry.per_image.indices, entry.per_image.labels


def shares_group(entry: Entry, other: Entry) -> bool:
    """Whether two entries stand in one group of one board."""
    return _board(entry) == _board(other) and entry.classifier.content == other.classifier.content


def unlike_protocol(entry: Entry) -> list[str]:
    """How an entry was evaluated otherwise than protocols are ranked; empty where it was not."""
    found = [] if entry.seed == SEED else [f"seed {entry.seed}"]
    return found + ([] if entry.precision == PRECISION else [f"precision {entry.precision}"])


def gain_of(entry: Entry, undefended: Entry) -> Gain | None:
    """How far a defense is ahead of its classifier undefended, image by image on those that both met.

    None where they share no image, where they met other images under the same index, were evaluated at another
    seed or precision, and where an attack is missing from one of them: its worst case is then no more than a
    bound. Attacks that no defense of the task could meet, for a listed reason, are missing from both alike.
    """
    if _is_bound(entry) or _is_bound(undefended) or _conditions(entry) != _conditions(undefended):
        return None
    ours, theirs = _by_image(entry), _by_image(undefended)
    if ours.keys() == theirs.keys() and _pixels(entry) != _pixels(undefended):
        return None
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return None
    pairs = [(mean_rate([theirs[image]]), mean_rate([ours[image]])) for image in common]
    return Gain(*difference([x for x, _ in pairs], [y for _, y in pairs]), n=len(pairs))


def _conditions(entry: Entry) -> tuple[Any, ...]:
    """What two entries must have alike to be paired."""
    unavailable = sorted((gap.row, gap.why.value) for gap in entry.gaps)
    return entry.seed, entry.precision, entry.dataset.preparation, unavailable


def _is_bound(entry: Entry) -> bool:
    """Whether an attack that others could meet is missing."""
    return any(not gap.why.is_unavailable for gap in entry.gaps)


def _pixels(entry: Entry) -> str:
    return entry.dataset.pixels_sha256


def _by_image(entry: Entry) -> dict[tuple[int, int], str]:
    """The outcomes in the worst case by an image's index and label; empty without a worst case."""
    images = entry.per_image
    if not images.worst:
        return {}
    return dict(zip(zip(images.indices, images.labels, strict=True), images.worst, strict=True))


def _made(entries: Sequence[Entry], images: str) -> Board:
    """A board of entries in the order of `_weight`: of each row the first one stays."""
    rows: dict[tuple[Any, ...], Entry] = {}
    headers: dict[tuple[str, str], Entry] = {}
    others: list[Entry] = []
    for entry in entries:
        if is_undefended(entry):
            kept = headers.setdefault(entry.classifier.content, entry)
        else:
            kept = rows.setdefault(_row(entry), entry)
        if kept != entry and entry not in others:
            others.append(entry)
    shown = [entry.classifier for entry in (*headers.values(), *rows.values())]
    classifiers = {each.content: each for each in reversed(shown)}  # the first of each content
    ordered = sorted(classifiers.values(), key=lambda each: (each.name, each.content))
    groups = [_group(each, headers.get(each.content), list(rows.values())) for each in ordered]
    return Board(tuple(groups), tuple(others), images)


def _group(
    classifier: ClassifierIdentity, header: Entry | None, rows: Sequence[Entry]
) -> BoardGroup:
    own = [entry for entry in rows if entry.classifier.content == classifier.content]
    rankable = [entry for entry in own if not _has_no_rank(entry)]
    most = max((entry.dataset.n for entry in rankable), default=0)
    lines = [
        Line(
            entry,
            place if entry in rankable and entry.dataset.n == most else None,
            gain_of(entry, header) if header else None,
        )
        for place, entry in enumerate(sorted(own, key=_place), start=1)
    ]
    return BoardGroup(classifier, Line(header) if header else None, tuple(lines))


def _board(entry: Entry) -> tuple[Any, ...]:
    dataset, threat, protocol = entry.dataset, entry.threat, entry.protocol
    return (
        dataset.name,
        dataset.split,
        dataset.order,
        dataset.only_classes,
        dataset.preparation,
        threat.norm,
        threat.eps,
        threat.input_shape,
        protocol.name != "standard",
        protocol.name,
        -protocol.version,
        protocol.sha256,
    )


def _row(entry: Entry) -> tuple[Any, ...]:
    """Names the row of an entry: not its weights, source and number of images."""
    stages = [(stage.plugin, stage.arguments) for stage in entry.defense.stages]
    defense = json.dumps([entry.defense.label, stages], sort_keys=True)
    return defense, entry.classifier.content, entry.seed, entry.precision


def _weight(entry: Entry) -> tuple[Any, ...]:
    """Sorts entries of one row: what may be ranked, the most images, no gaps, the lowest number first."""
    return (
        bool(unlike_protocol(entry) or why_unranked(entry)),
        -entry.dataset.n,
        bool(entry.gaps),
        entry.worst.single.value if entry.worst else 0.0,
        *_names(entry),
    )


def _has_no_rank(entry: Entry) -> bool:
    return bool(entry.gaps or unlike_protocol(entry) or why_unranked(entry))


def _place(entry: Entry) -> tuple[Any, ...]:
    return (
        _has_no_rank(entry),
        entry.preliminary,
        -entry.dataset.n,
        -entry.worst.single.value if entry.worst else 0.0,
        -entry.clean.single.value if entry.clean else 0.0,
        *_names(entry),
    )


def _names(entry: Entry) -> tuple[str, ...]:
    """What settles a tie, so that the order of files decides nothing."""
    key = entry.attacks[0].job_key if entry.attacks else ""
    return entry.defense.label, entry.classifier.name, key, entry.command
