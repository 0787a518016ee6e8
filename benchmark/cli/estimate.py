"""`bench estimate`: what a run would cost, before it is begun."""

from __future__ import annotations

import json
from typing import Any

import click
from tabulate import tabulate

from benchmark.cli.options import device_option, json_option, requests_of, run_options
from benchmark.cli.progress import RunProgress
from benchmark.cli.weights import see_to_weights
from benchmark.estimate.report import Expense, RowExpense

EPILOG = """\b
Examples:
  bench estimate --defense atop --protocol standard
  bench estimate --defense atop --model Gowal2021          # with weights trained for it
  bench estimate --defense my_pkg:MyPurifier --samples 512 --json
"""


@click.command("estimate", epilog=EPILOG)
@run_options
@device_option
@json_option()
def estimate_command(**options: Any) -> int:
    """Say what `bench run` with the same options would cost at the most.

    For each attack: passes forward and backward, those of its verdict, disk, what is finished in --runs
    already, and, after timing a few batches of the real victim, seconds an image and hours. It attacks
    nothing.
    """
    requests = requests_of(options)
    see_to_weights(requests)
    from benchmark.estimate.estimate import estimate  # here so that --help starts no torch

    expenses: list[Expense] = []
    for request in requests:
        with RunProgress(f"estimate {request.defense}") as progress:
            expenses.append(estimate(request, progress.step))
    if options["as_json"]:
        click.echo(json.dumps([expense.to_json() for expense in expenses], indent=2))
    else:
        click.echo("\n\n".join(to_text(expense) for expense in expenses))
    return 0


def to_text(expense: Expense) -> str:
    """An expense as a table, with what is to be known about its numbers below."""
    t = expense.title
    lines = [
        f"{t['defense']} on {t['classifier']}, {t['dataset']}, {t['threat']}: protocol {t['protocol']}, "
        f"{expense.rows[0].images} images",
        tabulate(
            [*map(_cells, expense.rows), _total(expense)],
            headers=[
                *("row", "attack", "forward", "backward", "verdict", "left"),
                *("forwards left", "backwards left", "disk", "s/image", "time left"),
            ],
            colalign=("left", "left", *["right"] * 9),
            tablefmt="simple",
            disable_numparse=True,
        ),
        *_notes(expense),
    ]
    return "\n".join(lines)


def _cells(row: RowExpense) -> list[str]:
    passes, known = row.passes, row.passes is not None
    name = row.attack if row.eot == 1 else f"{row.attack}, eot {row.eot}"
    return [
        row.id,
        name,
        f"{passes.forwards:,}" if passes else "unknown",
        f"{passes.backwards:,}" if passes else "unknown",
        f"{row.verdict:,}" if known else "unknown",
        f"{row.left}/{row.images}",
        _short((passes.forwards + (row.verdict or 0)) * row.left) if passes else "unknown",
        _short(passes.backwards * row.left) if passes else "unknown",
        _bytes(row.disk * row.left),
        "unknown" if row.seconds is None else f"{row.seconds:.3g}",
        "unknown" if row.hours is None else _time(row.hours),
    ]


def _total(expense: Expense) -> list[str]:
    whole = expense.to_json()
    return [
        *("total", "", "", "", "", ""),
        _short(whole["forwards_left"] + whole["verdict_left"]),
        _short(whole["backwards_left"]),
        _bytes(whole["disk_left"]),
        "",
        _time(expense.hours),
    ]


def _notes(expense: Expense) -> list[str]:
    alone = "1 process" if expense.workers == 1 else f"{expense.workers} workers"
    notes = [
        f"  {_time(expense.wall_hours)} with {alone} on {expense.hardware}, in shards of "
        f"{expense.shard_size} images.",
        "  forward, backward: passes of the attack for one image; verdict: forward ones that judge it.",
        "  Time is passes by their speed here; an attack's own arithmetic and starting processes come on top.",
    ]
    bounds = "Upper bounds, as if no image were ever fooled: those that are leave early."
    if expense.is_stochastic:
        bounds = (
            "No image of a random victim leaves early but in AutoAttack: these passes are all made."
        )
    notes.append(f"  {bounds}")
    for row, missing in expense.skipped.items():
        said = "not applicable" if missing.why.is_not_applicable else "left out"
        notes.append(f"  {said}: {row}: {missing}")
    if expense.unknown:
        notes.append(
            f"  not in the totals, because the attack does not say what it costs: {', '.join(expense.unknown)}"
        )
    return notes


def _short(n: float) -> str:
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.0f}"


def _bytes(n: float) -> str:
    return f"{_short(n)}B" if n >= 1e3 else f"{n:.0f} B"


def _time(hours: float) -> str:
    seconds = hours * 3600
    if seconds < 60:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.2g} min" if seconds < 3600 else f"{hours:,.3g} h"
