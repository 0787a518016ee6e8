"""`bench challenge`: adversarial images from outside are verified and lower an entry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmark.cli.options import data_option, device_option, offline_option, weights_option
from benchmark.cli.progress import RunProgress
from benchmark.compute.device_names import device_parts

if TYPE_CHECKING:
    from benchmark.challenge.judge import ChallengeOutcome
    from benchmark.records.rates import Rate

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
@data_option
@offline_option
@weights_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def challenge_command(**options: Any) -> int:
    """Lower ENTRY by adversarial images from outside, X_ADV.

    X_ADV is an .npz file: x_adv (n, c, h, w) in [0, 1] and indices (n,), the dataset indices of their
    originals, which are among the entry's. The entry's victim is made again and checked against its hashes; the
    images must lie in its budget; they are judged by the harness's own draws and rule. Where they do more harm
    than what the entry counts, entry and page are written anew, with credit; else nothing changes. What cannot
    be verified is refused: exit status 2.
    """
    from benchmark.records.entry_files import read_entry  # so that --help starts quickly

    device_parts(options["device"])
    before = read_entry(options["entry"])
    from benchmark.challenge.judge import challenge  # so that a wrong name starts no torch
    from benchmark.evaluation.prepare.reproduce import Where
    from benchmark.publishing.leaderboard.write_entries import replace_entry

    where = Where(**{name: options[name] for name in ("data", "weights", "device")})
    with RunProgress(f"challenge {options['entry'].name}"):
        verdict = challenge(before, options["x_adv"], credit=options["credit"], where=where)
    page = None
    if verdict.is_lowered and not options["dry_run"]:
        page = replace_entry(verdict.before, verdict.after, options["entry"], "challenged")
    if options["as_json"]:
        click.echo(json.dumps(_as_json(verdict, dry_run=options["dry_run"]), indent=2))
    else:
        click.echo(_as_text(verdict, dry_run=options["dry_run"]))
    if verdict.is_lowered and not options["dry_run"]:
        written = (
            f"{options['entry']} and {page}" if page else f"{options['entry']} (no page beside it)"
        )
        click.echo(f"Written: {written}", err=True)
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


def _as_json(verdict: ChallengeOutcome, *, dry_run: bool) -> dict[str, Any]:
    before, after = verdict.before, verdict.after
    chosen = [
        index
        for index, old, new in zip(
            after.per_image.indices, before.per_image.chosen, after.per_image.chosen, strict=True
        )
        if old != new
    ]
    return {
        "lowered": verdict.is_lowered,
        "reason": verdict.reason,
        "written": verdict.is_lowered and not dry_run,
        "sha256": verdict.sha256,
        "images": verdict.images,
        "chosen_indices": chosen,
        "worst_before": before.worst.model_dump() if before.worst else None,
        "worst_after": after.worst.model_dump() if after.worst else None,
    }
