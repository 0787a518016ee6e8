"""`bench claims`: what papers report, beside what was measured here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from tabulate import tabulate

from benchmark.cli.options import folder_option, json_option
from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.cells import percent
from benchmark.publishing.leaderboard.claims import (
    FILE,
    SYSTEMS,
    Claim,
    JudgedClaim,
    judge,
)
from benchmark.publishing.leaderboard.data_file import read_lines
from benchmark.publishing.leaderboard.escaping import plain, shortened
from benchmark.publishing.leaderboard.publish import read_entries
from benchmark.registry import unknown

EPILOG = """\b
Examples:
  bench claims --defense advae
  bench claims --defense aid --table T8 --dataset svhn
  bench claims --all --json > claims.json
"""
HEADERS = (
    "table",
    "row",
    "classifier",
    "attack",
    "knowledge",
    "claimed",
    "clean",
    "obliv",
    "adapt",
    "worst",
)


@click.command("claims", epilog=EPILOG)
@click.option(
    "--defense", metavar="NAME", help="The paper of this defense: aid, atop, hgd, advae, add."
)
@click.option("--table", metavar="T", help="One of its tables, such as T1.")
@click.option(
    "--dataset", metavar="NAME", help="Claims on these images alone, as the paper names them."
)
@click.option("--all", "everything", is_flag=True, help="All papers.")
@folder_option("--leaderboards", "leaderboards", "Where published entries are, and claims.csv.")
@folder_option("--results", "results", "Where entries of your own are.")
@json_option()
def claims_command(
    *,
    defense: str | None,
    table: str | None,
    dataset: str | None,
    everything: bool,
    leaderboards: Path,
    results: Path,
    as_json: bool,
) -> int:
    """Show what papers claim beside what was measured here, in % of the true label.

    A measurement stands beside a claim only where classifier, images and threat are the same; else the claim is
    not comparable, and the reason stands below. `claimed` is the paper's number under its own attack and the
    attacker's knowledge that it names; the measured numbers are clean, oblivious, adaptive and worst case.
    """
    if (defense is None) != everything:
        raise BenchError("name a paper with --defense, or give --all")
    if defense is not None and defense not in SYSTEMS:
        raise unknown("paper's defense", defense, tuple(SYSTEMS))
    claims = read_lines(leaderboards / FILE, Claim)
    if defense is not None:
        claims = [claim for claim in claims if claim.system == SYSTEMS[defense]]
    claims = _narrowed(claims, "table", table)
    claims = _narrowed(claims, "dataset", dataset)
    entries, damaged = read_entries(
        path for folder in (leaderboards, results) for path in sorted(folder.glob("*/*/*.json"))
    )
    judged = judge(claims, list(entries.values()))
    if as_json:
        click.echo(json.dumps([_plain(each) for each in judged], indent=2, allow_nan=False))
    else:
        click.echo(to_text(judged))
    for line in damaged.values():
        click.echo(f"bench: {line}", err=True)
    return 2 if damaged else 0


def to_text(judged: Sequence[JudgedClaim]) -> str:
    """A table of claims with their measurements, and a line for each reason why others have none."""
    beside = [_cells(each) for each in judged if each.entry is not None]
    parts = ["No claim has a measurement beside it."]
    if beside:
        parts = [tabulate(beside, HEADERS, tablefmt="simple", disable_numparse=True)]
    reasons = Counter(
        (each.claim.table, each.reason, each.command) for each in judged if each.reason
    )
    lines = [
        f"  {plain(table)}: {count} claim{'s' if count > 1 else ''}: {plain(reason)}"
        f"{f'; measure: {command}' if command else ''}"
        for (table, reason, command), count in reasons.items()
    ]
    if lines:
        parts.append("\n".join(["Not comparable, or not measured:", *lines]))
    return "\n\n".join(parts)


def _cells(judged: JudgedClaim) -> list[str]:
    claim = judged.claim
    attack = " ".join(part for part in (claim.attack, claim.norm, claim.eps) if part)
    names = [claim.table, claim.defense, claim.classifier, attack, claim.threat]
    numbers = [percent(share, "–") for share in (claim.accuracy, *judged.measured.values())]
    return [*(shortened(name, 24) for name in names), *numbers]


def _plain(judged: JudgedClaim) -> dict[str, object]:
    entry = judged.entry
    return {
        **asdict(judged.claim),
        "claimed": judged.claim.accuracy,
        "measured": judged.measured if entry else None,
        "n": entry.dataset.n if entry else None,
        "protocol": entry.protocol.name if entry else None,
        "label": entry.defense.label if entry else None,
        "not_comparable": judged.reason or None,
        "measure": judged.command or None,
    }


def _narrowed(claims: Sequence[Claim], field: str, wanted: str | None) -> list[Claim]:
    """The claims of one table, or on one dataset."""
    if wanted is None:
        return list(claims)
    found = [claim for claim in claims if getattr(claim, field) == wanted]
    if not found:
        known = sorted({getattr(claim, field) for claim in claims})
        raise unknown(f"claims' {field}", wanted, known)
    return found
