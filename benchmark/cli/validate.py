"""`bench validate`: whether entries may be published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from benchmark.cli.options import json_option
from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.escaping import plain
from benchmark.records.entry_boundary import failure_of
from benchmark.records.entry_files import adoptable, entry_paths, read_entry
from benchmark.records.example_sheets import read_sheet
from benchmark.scoring.validation import notes_of

SHOWN = 20
"""Problems of one file that are written out; the rest is counted."""
EPILOG = """\b
Examples:
  bench validate leaderboards/cifar10/linf-8-255/mine--standard-r18.json
  bench validate leaderboards
"""


@click.command("validate", epilog=EPILOG)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option("a JSON array, one item a file")
def validate_command(*, paths: tuple[Path, ...], as_json: bool) -> int:
    """Check entries (files, or all in a folder) before they are published.

    Each is recomputed: columns, worst case, rates, intervals, flags, gaps and totals are made anew from what
    its rows keep of each image. It is held to the protocol that it names: every row there or a named gap, as it
    is planned, with no more passes than its attack makes; to its command; to the labels of its dataset, where
    that is here; and to the sheet of example images beside it. Nothing is evaluated. Exit status 2 where one
    has a problem.
    """
    found = [_validated(path) for path in entry_paths(paths)]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for each in found:
            _show(each)
    return 2 if any(each["problems"] for each in found) else 0


def _validated(path: Path) -> dict[str, Any]:
    from benchmark.audit.replan import all_problems_of  # with torch

    try:
        entry = read_entry(path)
    except BenchError as error:
        return {"file": str(path), "problems": [str(error)], "notes": []}
    problems = all_problems_of(entry)
    for read in (read_sheet, adoptable):
        try:
            read(path, entry)
        except BenchError as error:
            problems.append(str(error))
    notes: list[str] = []
    failure_of(lambda: notes.extend(notes_of(entry)))  # what breaks here, broke a check above, too
    return {"file": str(path), "problems": problems, "notes": notes}


def _show(found: dict[str, Any]) -> None:
    problems: list[str] = found["problems"]
    click.echo(f"{'bad' if problems else 'ok '}  {plain(found['file'])}")
    for problem in problems[:SHOWN]:
        click.echo(f"     {plain(problem)}")
    if len(problems) > SHOWN:
        click.echo(f"     and {len(problems) - SHOWN} more")
    for note in found["notes"]:
        click.echo(f"     note: {plain(note)}")
