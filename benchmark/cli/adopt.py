"""`bench adopt`: takes entries from results into the leaderboards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmark.cli.options import folder_option
from benchmark.publishing.leaderboard.escaping import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.publishing.leaderboard.write_entries import WrittenRow

EPILOG = """\b
Examples:
  bench adopt results/digits/linf-0.15/jpeg--digits-cnn--quick.json
  bench adopt results --into ../my-leaderboards
"""


@click.command("adopt", epilog=EPILOG)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--audited",
    is_flag=True,
    help="Keep the audits in them, which are left out of entries from others.",
)
@folder_option("--into", "leaderboards", "The leaderboards.", metavar="DIR")
def adopt_command(*, paths: tuple[Path, ...], into: Path, audited: bool) -> int:
    """Copy entries (files, or all in a folder) into the leaderboards, and write their pages.

    `bench run` writes to results/, which git ignores; what is to be published is adopted. Every entry is
    validated first (bench validate): if one has a problem, nothing is copied and the exit status is 2. An entry
    replaces the earlier one of its row and keeps its challenges. Its kept images go with it up to 2 MB; an
    audit in it only with --audited, since anyone may have written it (bench audit --write makes one).
    """
    from benchmark.audit.replan import all_problems_of
    from benchmark.publishing.leaderboard.write_entries import adopt
    from benchmark.records.entry_files import entry_paths

    show_written(adopt(entry_paths(paths), into, all_problems_of, audited=audited))
    return 0


def show_written(rows: Sequence[WrittenRow]) -> None:
    """Writes the pages of rows that were written, and says on standard error what went where."""
    from benchmark.publishing.leaderboard.write_entries import publish_rows

    for row in rows:
        if row.lost:
            click.echo(f"bench: {plain(row.lost)}", err=True)
        click.echo(f"Written: {plain(str(row.path))}", err=True)
    for published in publish_rows(rows):
        click.echo(f"Written: {plain(str(published.page))}", err=True)
        for line in published.damaged:
            click.echo(f"bench: left out of the page: {plain(line)}", err=True)
