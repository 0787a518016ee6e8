"""What an entry's page says: figures, attacks, flags, provenance, and whether its command is a plain one."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmark.publishing.leaderboard.cells import bound, percent, with_interval
from benchmark.publishing.leaderboard.claims import Claim
from benchmark.publishing.leaderboard.columns import ADAPTIVE, CLEAN, OBLIVIOUS, WORST, Span
from benchmark.publishing.leaderboard.footnotes import footnotes
from benchmark.publishing.leaderboard.ranking import Line
from benchmark.publishing.site.images import Gallery, gallery
from benchmark.publishing.site.panels import Panel, panels
from benchmark.publishing.site.urls import Placed
from benchmark.publishing.site.views import Cell
from benchmark.records.entry import AttackRecord, Entry, Family, Flag, Rate
from benchmark.records.environments import told_apart
from benchmark.records.identity import Stage
from benchmark.scoring.flags import EXPLANATIONS

FIGURES = (CLEAN, OBLIVIOUS, ADAPTIVE, WORST)
"""Columns that stand large on top of the page."""
WORDS = {"autoattack": "AutoAttack", "auxiliary": "auxiliary-aware", "any_of": "any of n"}
"""Names of fields that are not said as they are written."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that stands large."""

    name: str
    value: str
    interval: str


@dataclass(frozen=True, slots=True)
class FamilyRow:
    """An attack family: its accuracy under each rule."""

    name: str
    rate: Rate | None
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackRow:
    """One attack of the protocol, as a line of the table."""

    id: str
    column: str
    attack: str
    arguments: str
    knowledge: str
    gradient: str
    eot: int
    counts: bool
    classifier: str
    cell: Cell
    rate: Rate | None
    chosen: int
    forwards: Cell
    backwards: Cell
    warnings: tuple[str, ...]
    error: str


@dataclass(frozen=True, slots=True)
class FlagRow:
    """A flag with what it means."""

    flag: Flag
    explanation: str


@dataclass(frozen=True, slots=True)
class StageView:
    """A purifier of the chain: what is known of it, name by name."""

    label: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryView:
    """All that an entry's page shows."""

    entry: Entry
    data: str
    figures: tuple[Figure, ...]
    claims: tuple[tuple[str, ...], ...]
    undefended: tuple[Figure, ...]
    notes: tuple[str, ...]
    """What the marks of its row on a board say, flags apart."""
    families: tuple[FamilyRow, ...]
    rules: tuple[str, ...]
    attacks: tuple[AttackRow, ...]
    sources: tuple[AttackRow, ...]
    flags: tuple[FlagRow, ...]
    gallery: Gallery | None
    panels: tuple[Panel, ...]
    stages: tuple[StageView, ...]
    facts: tuple[tuple[str, str], ...]
    command_is_plain: bool


def entry_view(placed: Placed, claims: Sequence[Claim], sheet: bytes | None = None) -> EntryView:
    """An entry, ready for its template, beside what its paper claims under the same classifier and threat.

    Args:
        placed: The entry in its place.
        claims: Of its paper.
        sheet: Its example images, where they are there.
    """
    entry = placed.entry
    chosen = Counter(entry.per_image.chosen)
    order = {"raised": 0, "ok": 1, "not-run": 2}
    return EntryView(
        entry=entry,
        data=placed.data,
        figures=(*_claimed(claims), *_figures(entry)),
        claims=tuple(map(_claim, claims)),
        undefended=tuple(_undefended(entry)),
        notes=tuple(footnotes([entry], {})),
        families=tuple(_families(entry)),
        rules=("single", "vote", "any_of") if entry.defense.stochastic else ("single",),
        attacks=tuple(_attack(row, chosen) for row in entry.attacks),
        sources=tuple(_attack(row, chosen) for row in entry.sources),
        flags=tuple(
            FlagRow(flag, EXPLANATIONS.get(flag.id, ""))
            for flag in sorted(entry.flags, key=lambda flag: order[flag.verdict])
        ),
        gallery=gallery(placed, is_there=sheet is not None),
        panels=tuple(panels(entry)),
        stages=tuple(_stage(stage) for stage in entry.defense.stages),
        facts=tuple(_facts(entry)),
        command_is_plain=is_plain_command(entry.command),
    )


def is_plain_command(command: str) -> bool:
    """Whether a shell reads it as one `bench run` and nothing else."""
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    return words[:2] == ["bench", "run"] and shlex.join(words) == command


def _claimed(claims: Sequence[Claim]) -> Iterator[Figure]:
    """The lowest accuracy under attack that a paper claims; nothing where it claims none."""
    found = [c.accuracy for c in claims if not c.is_clean and c.accuracy is not None]
    if found:
        yield Figure("claimed", f"{100 * min(found):.1f}", f"lowest of {len(found)}")


def _claim(claim: Claim) -> tuple[str, ...]:
    attack = " ".join(part for part in (claim.attack, claim.norm, claim.eps) if part)
    accuracy = "–" if claim.accuracy is None else f"{100 * claim.accuracy:.1f}"
    return f"{claim.system}, {claim.table}", claim.defense, attack, claim.threat, accuracy


def _figures(entry: Entry) -> Iterator[Figure]:
    line = Line(entry)
    for column in FIGURES:
        main = column.cell(line).partition(" (")[0]
        name = column.title.partition(" (95")[0]
        yield Figure(name, main, _interval(column.span(line) if column.span else None))


def _undefended(entry: Entry) -> Iterator[Figure]:
    bare = entry.undefended
    for name, rate in (("clean", bare.clean), ("on images made to fool it", bare.oblivious)):
        if rate:
            yield Figure(name, percent(rate), _interval(rate))


def _interval(rate: Span | None) -> str:
    return f"{100 * rate.low:.1f}–{100 * rate.high:.1f}" if rate else ""


def _families(entry: Entry) -> Iterator[FamilyRow]:
    """Clean, every family there is, and the worst case."""
    before = "≤ " if bound(entry) else ""
    found = [("clean", entry.clean, "")]
    found += [
        (WORDS.get(name, name.replace("_", "-")), family.rates, "")
        for name, family in entry.columns
        if isinstance(family, Family)
    ]
    found.append(("worst case", entry.worst, before))
    for name, rates, sign in found:
        every = (rates.single, rates.vote, rates.any_of) if rates else ()
        asked = every if entry.defense.stochastic else every[:1]
        values = tuple(f"{sign}{with_interval(rate)}" for rate in asked)
        missing = ("gap",) * (3 if entry.defense.stochastic else 1)
        yield FamilyRow(name, rates.single if rates else None, values or missing)


def _attack(row: AttackRecord, chosen: Mapping[str, int]) -> AttackRow:
    rate = row.rates.single if row.rates else None
    forwards, backwards = row.cost.forwards_per_image, row.cost.backwards_per_image
    return AttackRow(
        id=row.id,
        column=WORDS.get(row.column, str(row.column)) if row.column else "source",
        attack=row.attack,
        arguments=_words(row.arguments),
        knowledge=str(row.knowledge),
        gradient=row.gradient,
        eot=row.eot,
        counts=row.counts,
        classifier=row.classifier,
        cell=Cell.of(with_interval(rate)) if rate else Cell("gap", "", None),
        rate=rate,
        chosen=chosen[row.id],
        forwards=Cell(f"{forwards:.0f}", "", forwards),
        backwards=Cell(f"{backwards:.0f}", "", backwards),
        warnings=row.warnings,
        error=row.error,
    )


def _words(arguments: Mapping[str, object]) -> str:
    return " ".join(f"{key}={json.dumps(value)}" for key, value in arguments.items())


def _stage(stage: Stage) -> StageView:
    facts = {
        "plugin": stage.plugin,
        "arguments": _words(stage.arguments) or "none",
        "source sha256": stage.source_sha256,
        "weights sha256": stage.weights_sha256 or "it has no weights",
    }
    training = stage.training
    said = training.trained_for if training else None
    if training and said is None:
        facts["trained for"] = "its weights state nothing"
    if training and said:
        facts |= {
            "stated by": f"the {training.stated_by}",
            "trained for": f"{' and '.join(said.names) or 'any classifier'}, {said.dataset or 'any dataset'}",
            "training threat": said.threat,
            "recipe": said.recipe,
            "recipe's arguments": _words(said.arguments),
            "trained behind": said.behind,
            "unlike its recipe": _words(training.unlike_recipe),
            "differs here in": ", ".join(training.differs),
        }
    return StageView(stage.label, tuple((name, text) for name, text in facts.items() if text))


def _facts(entry: Entry) -> Iterator[tuple[str, str]]:
    protocol, dataset, asked = entry.protocol, entry.dataset, entry.criterion
    samples = "the whole split" if protocol.samples is None else f"{protocol.samples} images"
    yield "protocol", f"{protocol.name}, version {protocol.version}; asks for {samples}"
    yield "protocol sha256", protocol.sha256
    yield "classifier", entry.classifier.name
    yield "classifier sha256", entry.classifier.sha256
    yield "images", f"{dataset.name} {dataset.split}, {dataset.n}, order {dataset.order}"
    if dataset.preparation:
        yield "preparation", dataset.preparation
    if dataset.only_classes:
        yield "classes", ", ".join(map(str, dataset.only_classes))
    yield "indices sha256", dataset.indices_sha256
    yield "pixels sha256", dataset.pixels_sha256 or "gap"
    if entry.defense.stochastic:
        yield "draws", f"{asked.draws} scored, vote of {asked.vote}, any of {asked.any_of}"
    gradient = (
        f"{entry.defense.gradient}, {'stochastic' if entry.defense.stochastic else 'deterministic'}"
    )
    yield "declared gradient", gradient
    yield "precision", entry.precision
    yield "seed", str(entry.seed)
    if entry.identity:
        yield "identity, as stated", entry.identity
    yield "cost", _cost(entry)
    yield from entry.environment.items()
    yield from told_apart(entry.environments)


def _cost(entry: Entry) -> str:
    cost = entry.cost
    memory = cost.peak_memory_bytes
    most = f", at most {memory / 2**30:.1f} GiB on the GPU" if memory else ""
    return (
        f"{cost.forwards_per_image:.0f} forward and {cost.backwards_per_image:.0f} backward passes, "
        f"{cost.seconds_per_image:.3g} s an image{most}"
    )
