"""`bench table`: entries as a table for a paper."""

from __future__ import annotations

from pathlib import Path

import click

from benchmark.cli.options import file_option
from benchmark.cli.types import Word
from benchmark.errors import BenchError
from benchmark.files.atomic import write_whole
from benchmark.publishing.leaderboard.tables import COLUMNS, Form, to_table, usual
from benchmark.records.entry_files import entry_paths, read_entry
from benchmark.registry import unknown

EPILOG = """\b
Examples:
  bench table leaderboards/digits/linf-0.15 --protocol standard --format latex
  bench table leaderboards --format csv --out numbers.csv
  bench table leaderboards/cifar10/*/*.json --columns defense,clean,worst,seconds
"""


@click.command("table", epilog=EPILOG)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=Word(["markdown", "latex", "csv"]),
    default="markdown",
    show_default=True,
    help="latex: a tabular for the package booktabs. csv: shares in [0, 1] with both ends of their intervals.",
)
@click.option(
    "--columns", metavar="A,B,C", help="Which columns, in order. Default: names and accuracies."
)
@click.option("--protocol", metavar="NAME", help="Entries of this protocol alone.")
@click.option("--defense", "label", metavar="NAME", help="Entries of this published name alone.")
@file_option("--out", "Default: standard output.")
def table_command(
    *,
    paths: tuple[Path, ...],
    form: str,
    columns: str | None,
    protocol: str | None,
    label: str | None,
    out: Path | None,
) -> int:
    """Write entries (files, or all in folders) as one table, in the order of the leaderboard.

    Each defense before a classifier has one line, by its entry on the most images, and the undefended
    classifier leads them, without a rank. Accuracies are of single draws, on all images of each entry; the
    worst case stands with its 95 % interval, and beside it the difference to the undefended classifier
    (gain), image by image.
    """
    names = [] if columns is None else [name.strip() for name in columns.split(",")]
    for name in names:
        if name not in COLUMNS:
            raise unknown("column", name, COLUMNS)
    entries = [read_entry(path) for path in entry_paths(paths)]
    if protocol is not None:
        entries = [entry for entry in entries if entry.protocol.name == protocol]
    if not any(label in (None, entry.defense.label) for entry in entries):
        raise BenchError(
            "no entry is left; name another --protocol or --defense, or leave them out"
        )
    text = to_table(
        entries,
        names or usual(entries),
        Form(form),
        is_shown=lambda entry: label in (None, entry.defense.label),
    )
    if out is None:
        click.echo(text, nl=False)
    else:
        write_whole(out, text.encode())
        click.echo(f"Written: {out}")
    return 0
