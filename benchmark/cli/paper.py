"""Entries in a paper: `bench table` as a table, `bench plot` as figures (SVG, PDF or PNG)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from benchmark.cli.options import file_option
from benchmark.cli.types import Group, Word
from benchmark.errors import BenchError
from benchmark.files.atomic import write_whole
from benchmark.publishing.leaderboard.tables import COLUMNS, Form, to_table, usual
from benchmark.records.entry import Entry
from benchmark.records.entry_files import entry_paths, read_entry
from benchmark.registry import unknown

EPILOG = """\b
Examples:
  bench table leaderboards/digits/linf-0.15 --protocol standard --format latex
  bench table leaderboards --format csv --out numbers.csv
  bench table leaderboards/cifar10/*/*.json --columns defense,clean,worst,seconds
"""
paths_argument = click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
protocol_option = click.option("--protocol", metavar="NAME", help="Entries of this protocol alone.")
entry_argument = click.argument("entry", type=click.Path(path_type=Path))
output_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Ends in .svg, .pdf or .png. The same entries give the same bytes.",
)


@click.command("table", epilog=EPILOG)
@paths_argument
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
@protocol_option
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
    entries = _entries(paths, protocol)
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


@click.group("plot", cls=Group)
def plot_command() -> None:
    """Draw entries: how attacks converged, what other budgets leave, clean against robust accuracy."""


@plot_command.command("convergence")
@entry_argument
@output_option
def plot_convergence_command(*, entry: Path, output: Path) -> None:
    """Draw how many images each attack of ENTRY had turned after each step.

    A line that still falls at its end stands for an attack that was stopped too early.
    """
    from benchmark.publishing.leaderboard.plots import plot_convergence  # matplotlib takes a while

    plot_convergence(read_entry(entry), output)
    click.echo(f"Written: {output}", err=True)


@plot_command.command("eps-curve")
@entry_argument
@output_option
def plot_eps_curve_command(*, entry: Path, output: Path) -> None:
    """Draw the accuracy of ENTRY under budgets from 0 up.

    A curve that rises, or ends high where every image can be turned into grey, stands for an attack that fails.
    """
    from benchmark.publishing.leaderboard.plots import plot_eps_curve

    plot_eps_curve(read_entry(entry), output)
    click.echo(f"Written: {output}", err=True)


@plot_command.command("tradeoff")
@paths_argument
@protocol_option
@output_option
def plot_tradeoff_command(*, paths: tuple[Path, ...], protocol: str | None, output: Path) -> None:
    """Draw clean against robust accuracy of the entries in PATHS (files, or all in folders), with intervals.

    They must be of one board: one dataset, threat and protocol. Undefended classifiers are hollow.
    """
    from benchmark.publishing.leaderboard.plot_tradeoff import plot_tradeoff

    plot_tradeoff(_entries(paths, protocol), output)
    click.echo(f"Written: {output}", err=True)


def _entries(paths: Sequence[Path], protocol: str | None) -> list[Entry]:
    """Entries out of files and folders, of one protocol where one is named."""
    entries = map(read_entry, entry_paths(paths))
    return [entry for entry in entries if protocol in (None, entry.protocol.name)]
