"""`bench challenge`: adversarial images from outside are verified and lower an entry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmark.cli.options import remake_options
from benchmark.cli.progress import RunProgress
from benchmark.compute.device_names import device_parts
from benchmark.records.entry_files import read_entry
from benchmark.records.rates import Rate

if TYPE_CHECKING:
    from benchmark.challenge.judge import ChallengeOutcome

EPILOG = """\b
Examples:
  bench challenge leaderboards/digits/linf-0.15/jpeg--digits-cnn--quick.json x_adv.npz --dry-run
  bench challenge ENTRY.json x_adv.npz --credit "Ada Lovelace, https://example.org/attack"
"""


@click.command("challenge", epilog=EPILOG)
@click.argument("entry", type=click.Path(path_type=Path))
@click.argument("x_adv", type=click.Path(path_type=Path))
@click.option(
    "--credit", default="", metavar="TEXT", help="Name and link, as the page will show them."
)
@click.option("--dry-run", is_flag=True, help="Say what would come of it; write nothing.")
@remake_options
def challenge_command(**options: Any) -> int:
    """Lower ENTRY by adversarial images from outside, X_ADV.

    X_ADV is an .npz file: x_adv (n, c, h, w) in [0, 1] and indices (n,), the dataset indices of their
    originals, which are among the entry's. The entry's victim is made again and checked against its hashes; the
    images must lie in its budget; they are judged by the harness's own draws and rule. Where they do more harm
    than what the entry counts, entry and page are written anew, with credit; else nothing changes. What cannot
    be verified is refused: exit status 2.
    """
    device_parts(options["device"])
    before = read_entry(options["entry"])
    from benchmark.challenge.judge import challenge  # so that a wrong name starts no torch
    from benchmark.evaluation.prepare.reproduce import Where
    from benchmark.publishing.leaderboard.updated_entries import write_challenged

    where = Where(**{name: options[name] for name in ("data", "weights", "device")})
    with RunProgress(f"challenge {options['entry'].name}"):
        verdict = challenge(before, options["x_adv"], credit=options["credit"], where=where)
    is_written = verdict.is_lowered and not options["dry_run"]
    if is_written:
        page = write_challenged(verdict.before, verdict.after, options["entry"])
    report = _as_json if options["as_json"] else _as_text
    click.echo(report(verdict, dry_run=options["dry_run"]))
    if is_written:
        beside = f" and {page}" if page else " (no page beside it)"
        click.echo(f"Written: {options['entry']}{beside}", err=True)
    return 0


def _as_text(verdict: ChallengeOutcome, *, dry_run: bool) -> str:
    n = len(verdict.before.per_image.indices)
    head = f"{verdict.images} images from outside, for {n} of the entry, are inside its budget. "
    if not verdict.is_lowered:
        return f"{head}Nothing is lowered: {verdict.reason}."
    made = verdict.after.challenges[-1]
    would = "would fall" if dry_run else "falls"
    return (
        f"{head}{made.chosen} of them are worse than what it counts: the worst case {would} from "
        f"{_percent(made.worst_before.single)} to {_percent(made.worst_after.single)}."
    )


def _percent(rate: Rate) -> str:
    return f"{100 * rate.value:.1f} % ({100 * rate.low:.1f}–{100 * rate.high:.1f})"


def _as_json(verdict: ChallengeOutcome, *, dry_run: bool) -> str:
    before, after = verdict.before, verdict.after
    rows = before.per_image.chosen, after.per_image.chosen
    chosen = zip(after.per_image.indices, *rows, strict=True)
    shown = {
        "lowered": verdict.is_lowered,
        "reason": verdict.reason,
        "written": verdict.is_lowered and not dry_run,
        "sha256": verdict.sha256,
        "images": verdict.images,
        "chosen_indices": [index for index, old, new in chosen if old != new],
        "worst_before": before.worst.model_dump() if before.worst else None,
        "worst_after": after.worst.model_dump() if after.worst else None,
    }
    return json.dumps(shown, indent=2)
