"""What an entry's page says: figures, attacks, flags, provenance, and whether its command is a plain one."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmark.engine.criterion import Rule
from benchmark.publishing.leaderboard.cells import (
    bound,
    class_cells,
    interval,
    percent,
    with_interval,
)
from benchmark.publishing.leaderboard.claims import Claim
from benchmark.publishing.leaderboard.columns import FIGURES
from benchmark.publishing.leaderboard.footnotes import footnotes
from benchmark.publishing.leaderboard.ranking import Line
from benchmark.publishing.site.images import gallery
from benchmark.publishing.site.panels import panels
from benchmark.publishing.site.urls import Placed
from benchmark.records.entry import Entry, Rate
from benchmark.records.environments import told_apart
from benchmark.records.identity import Stage
from benchmark.records.protocol import FAMILIES, Column
from benchmark.records.rates import RULES
from benchmark.scoring.flag_explanations import EXPLANATIONS, NEXT_STEPS

ONE_DRAW = "one draw"
"""Stands under the rules of many draws where only one is met."""
Figure = tuple[str, str, str]
"""A number that stands large: its name, its value, its interval."""


def entry_view(
    placed: Placed, claims: Sequence[Claim], sheet: bytes | None = None, spread: str = ""
) -> dict[str, Any]:
    """An entry, ready for its template.

    Args:
        placed: The entry, and where its page is.
        claims: Of its paper, under the same classifier and threat.
        sheet: Its example images; None where they are not there.
        spread: What its board says of it over seeds.
    """
    entry = placed.entry
    order = {"raised": 0, "ok": 1, "not-run": 2}
    rules = list(Rule) if entry.defense.stochastic else [Rule.SINGLE]
    asked, named = dict(entry.criterion), [RULES[rule] for rule in rules]
    said = [rule.said.format(asked.get(rule.field)) for rule in named]
    return {
        "entry": entry,
        "data": placed.data,
        "figures": [*_claimed(claims), *_figures(entry)],
        "claims": list(map(_claim, claims)),
        "undefended": list(_undefended(entry)),
        "spread": spread,
        "worst_class": dict(zip(("clean", "worst case"), class_cells(entry), strict=False)),
        "notes": footnotes([entry], {}),
        "families": list(_families(entry, rules)),
        "rules": said if entry.defense.stochastic else ["accuracy"],
        "chosen": Counter(entry.per_image.chosen),
        "flags": sorted(entry.flags, key=lambda flag: order[flag.verdict]),
        "explanations": EXPLANATIONS,
        "next_steps": NEXT_STEPS,
        "gallery": gallery(placed, is_there=sheet is not None),
        "panels": list(panels(entry)),
        "stages": [(stage.label, _stage(stage)) for stage in entry.defense.stages],
        "facts": _facts(entry),
        "command_is_plain": is_plain_command(entry.command),
    }


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
        yield "claimed", percent(min(found)), f"lowest of {len(found)}"


def _claim(claim: Claim) -> tuple[str, ...]:
    attack = " ".join(part for part in (claim.attack, claim.norm, claim.eps) if part)
    where, accuracy = f"{claim.system}, {claim.table}", percent(claim.accuracy, "–")
    return where, claim.defense, attack, claim.threat, accuracy


def _figures(entry: Entry) -> Iterator[Figure]:
    line = Line(entry)
    for column in FIGURES:
        rate, main = column.number(line), column.cell(line).partition(" (")[0]
        yield column.title.partition(" (95")[0], main, interval(rate) if rate else ""


def _undefended(entry: Entry) -> Iterator[Figure]:
    bare = entry.undefended
    for name, rate in (("clean", bare.clean), ("on images made to fool it", bare.oblivious)):
        if rate:
            yield name, percent(rate.value), interval(rate)


def _families(
    entry: Entry, rules: Sequence[Rule]
) -> Iterator[tuple[str, Rate | None, Sequence[str]]]:
    """Clean, every family there is, and the worst case: the name, the rate, and that under each rule."""
    families = [(column, entry.family(column)) for column in FAMILIES]
    found = [
        (Column.CLEAN.said, entry.clean, ""),
        *((column.said, family.rates, "") for column, family in families if family),
        ("worst case", entry.worst, bound(entry)),
    ]
    for name, rates, sign in found:
        said = ["gap"] * len(rules)
        if rates is not None:
            said = [f"{sign}{with_interval(rates.under(rule))}" for rule in rules]
        if name == Column.KNOWN_DRAW.said:
            said = [said[0], *[ONE_DRAW] * (len(rules) - 1)]
        yield name, rates.single if rates else None, said


def words(arguments: Mapping[str, object]) -> str:
    """Arguments as `steps=3 size="full"`, values as JSON has them."""
    return " ".join(f"{key}={json.dumps(value)}" for key, value in arguments.items())


def _stage(stage: Stage) -> Iterator[tuple[str, str]]:
    """What is known of a purifier of the chain, name by name."""
    facts = {
        "plugin": stage.plugin,
        "arguments": words(stage.arguments) or "none",
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
            "recipe's arguments": words(said.arguments),
            "trained behind": said.behind,
            "unlike its recipe": words(training.unlike_recipe),
            "differs here in": ", ".join(training.differs),
        }
    yield from ((name, text) for name, text in facts.items() if text)


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
        chosen = f", chosen by {asked.choosing} of {asked.finalists} finalists a rule" * bool(
            asked.finalists
        )
        yield "draws", f"{asked.draws} scored, vote of {asked.vote}, any of {asked.any_of}{chosen}"
    kind = "stochastic" if entry.defense.stochastic else "deterministic"
    yield "declared gradient", f"{entry.defense.gradient}, {kind}"
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
