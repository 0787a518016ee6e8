"""`bench audit`: an entry's victim is asked again about its images, and some are attacked anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmark.cli.options import file_option, folder_option, number_option, remake_options
from benchmark.cli.progress import RunProgress
from benchmark.cli.types import Number
from benchmark.compute.device_names import device_parts
from benchmark.errors import BenchError
from benchmark.records.entry import Entry
from benchmark.records.entry_files import read_entry

if TYPE_CHECKING:
    from benchmark.audit.audit import Audited, Wanted

SHOWN = 10
"""Images that speak against an entry and are written out; the rest is counted."""
EPILOG = """\b
Examples:
  bench run --defense hgd --keep-images worst
  bench audit results/digits/linf-0.15/hgd--digits-cnn--quick.json
  bench audit ENTRY.json --again 16
  bench audit ENTRY.json --again 16 --seed 7 --by "Ada Lovelace" --write
"""


@click.command("audit", epilog=EPILOG)
@click.argument("entry", type=click.Path(path_type=Path))
@file_option(
    "--images", "The images that its run kept. Default: the file beside it, ENTRY.images.npz."
)
@number_option("--again", "Attack K random images anew, too.", metavar="K")
@click.option(
    "--seed",
    type=Number(0, 2**63 - 1),
    metavar="N",
    help="Of these attacks, and of which images. Default: a fresh one, which is said; give it to resume.",
)
@click.option("--by", default="", metavar="TEXT", help="Who audits, as --write keeps it.")
@click.option("--write", is_flag=True, help="Keep what was found in ENTRY; boards then mark it.")
@folder_option("--runs", "runs", "Where finished shards of the new attacks are kept.")
@remake_options
def audit_command(**options: Any) -> int:
    """Check that ENTRY is what its victim does: for maintainers, before they publish what others submit.

    The victim is made again by the entry's command and held to its hashes. Replay: each image that its run kept
    must lie in the budget, and the victim must say of it, and of the clean images, at the entry's own draws
    what the entry says. That confirms images that fell; that others are robust, no image can show. --again K:
    K random images are attacked anew, by all rows that count, from a seed that nobody could know, which bounds
    how many may be forged. Exit status 0 confirmed, 1 not confirmed, 2 not to be audited here.
    """
    device_parts(options["device"])
    path, before = options["entry"], read_entry(options["entry"])
    from benchmark.audit.audit import audit  # so that a wrong name starts no torch
    from benchmark.evaluation.prepare.reproduce import Where
    from benchmark.publishing.leaderboard.write_entries import replace_entry

    where = Where(**{name: options[name] for name in ("data", "weights", "device")})
    wanted = _wanted(before, options)
    with RunProgress(f"audit {path.name}") as progress:
        found = audit(
            before, path, wanted, where, on_step=progress.step, listener=progress.listener
        )
    if options["write"]:
        after = before.model_copy(update={"audit": found.audit})
        page = replace_entry(before, after, path, "audited")
        click.echo(f"Written: {path}{f' and {page}' if page else ''}", err=True)
    report = _as_json if options["as_json"] else _as_text
    click.echo(report(before, found))
    return 0 if found.audit.is_confirmed else 1


def _wanted(entry: Entry, options: dict[str, Any]) -> Wanted:
    from benchmark.audit.audit import Wanted
    from benchmark.audit.fresh_attacks import Again, fresh_seed

    again, seed = options["again"], options["seed"]
    if again is None and seed is not None:
        raise BenchError("--seed is that of the new attacks: give --again K with it")
    if again is not None and seed is None:
        seed = fresh_seed(entry)
        click.echo(
            f"The images are attacked from --seed {seed}, which resumes this audit.", err=True
        )
    made = again and Again(images=again, seed=seed, runs=options["runs"])
    return Wanted(images=options["images"], again=made, by=options["by"])


def _as_text(entry: Entry, found: Audited) -> str:
    record, n = found.audit.replayed, entry.dataset.n
    lines = [
        f"{entry.name}, {entry.threat.text}, {entry.protocol.name}, {n} images",
        f"replay       {record.confirmed} confirmed, {record.within_rounding} within rounding, "
        f"{record.contradicted} contradicted",
    ]
    if record.kept is None:
        lines.append("             of the clean images alone: no kept images were there")
    else:
        lines += [
            f"             with the images that were kept ({record.kept}): accuracy is no higher than the "
            f"entry",
            "             says. That it is no lower, no image can show: a forger's attacks may not have tried",
        ]
        if not found.replay.is_budget_checked:
            lines.append(f"             budgets of {entry.threat.text} cannot be read off images")
    lines += [*_again_lines(entry, found), *_against(entry, found), _verdict(found)]
    return "\n".join(lines)


def _again_lines(entry: Entry, found: Audited) -> list[str]:
    record, n = found.audit.again, entry.dataset.n
    if record is None:
        return [
            "again        nothing was attacked anew: --again 16 bounds how many images may be forged"
        ]
    return [
        f"again        {record.agreed} of {record.images} agree, {record.fallen} fall now, {record.stood} "
        f"stand now (seed {record.seed})",
        f"             worst case of these: {100 * record.before:.1f} in the entry, {100 * record.after:.1f} "
        f"now (sign-flip p {record.p:.3f})",
        f"             so that at most {100 * record.at_most:.1f} % of the {n} images are forged, at 95 % "
        f"(hypergeometric)",
        *_hidden(entry, record.images),
    ]


def _hidden(entry: Entry, images: int) -> list[str]:
    """How much of a random victim's image its draws may hide."""
    from benchmark.scoring.audit_figures import tolerance

    if not entry.defense.stochastic:
        return []
    half = entry.criterion.draws // 2
    bits = "1" * half + "0" * (entry.criterion.draws - half)
    return [
        f"             by more than {100 * tolerance(bits, bits, images):.0f} points each, which "
        f"{entry.criterion.draws} draws may differ by"
    ]


def _against(entry: Entry, found: Audited) -> list[str]:
    """Images that speak against the entry, or differ, one line each."""
    indices, replay = entry.per_image.indices, found.replay
    lines = [
        f"image {indices[at]}: {replay.reasons[at]}"
        for at in sorted(replay.reasons, key=lambda at: (-replay.findings[at], at))
    ]
    said = {1: "falls now", -1: "stands now, which an attack may miss"}
    lines += [
        f"image {indices[at]}: {said[sign]}: right at {before.count('1')} of {len(before)} draws in the entry, "
        f"at {after.count('1')} now"
        for at, sign, before, after in found.attacked(entry)
        if sign
    ]
    more = [f"and {len(lines) - SHOWN} more (--json)"] if len(lines) > SHOWN else []
    return [*lines[:SHOWN], *more]


def _verdict(found: Audited) -> str:
    again = found.audit.again
    if found.audit.is_confirmed:
        return "confirmed"
    if found.audit.replayed.contradicted:
        return "not confirmed"
    if again is None or again.is_confirmed:
        return "not confirmed: more than a quarter of the images differ within rounding"
    return (
        "not confirmed: the entry calls images more robust than they are now. An honest entry loses one now "
        "and then, since attacks begin at random, and wins about as many"
    )


def _as_json(entry: Entry, found: Audited) -> str:
    replay, indices = found.replay, entry.per_image.indices
    shown = {
        "confirmed": found.audit.is_confirmed,
        **found.audit.model_dump(mode="json"),
        "differing": [
            {"index": indices[at], "finding": replay.findings[at].name.lower(), "reason": reason}
            for at, reason in sorted(replay.reasons.items())
        ],
        "attacked": [
            {"index": indices[at], "fell": sign > 0, "stood": sign < 0, "before": bits}
            for at, sign, bits, _ in found.attacked(entry)
        ],
    }
    return json.dumps(shown, indent=2)
