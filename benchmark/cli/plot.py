"""`bench plot`: figures of entries, as SVG, PDF or PNG."""

from __future__ import annotations

from pathlib import Path

import click

from benchmark.cli.types import Group
from benchmark.publishing.leaderboard.plot_tradeoff import plot_tradeoff
from benchmark.publishing.leaderboard.plots import plot_convergence, plot_eps_curve
from benchmark.records.entry_files import entry_paths, read_entry

entry_argument = click.argument("entry", type=click.Path(path_type=Path))
output_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Ends in .svg, .pdf or .png. The same entries give the same bytes.",
)


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
    plot_convergence(read_entry(entry), output)
    click.echo(f"Written: {output}", err=True)


@plot_command.command("eps-curve")
@entry_argument
@output_option
def plot_eps_curve_command(*, entry: Path, output: Path) -> None:
    """Draw the accuracy of ENTRY under budgets from 0 up.

    A curve that rises, or ends high where every image can be turned into grey, stands for an attack that fails.
    """
    plot_eps_curve(read_entry(entry), output)
    click.echo(f"Written: {output}", err=True)


@plot_command.command("tradeoff")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--protocol", metavar="NAME", help="Entries of this protocol alone.")
@output_option
def plot_tradeoff_command(*, paths: tuple[Path, ...], protocol: str | None, output: Path) -> None:
    """Draw clean against robust accuracy of the entries in PATHS (files, or all in folders), with intervals.

    They must be of one board: one dataset, threat and protocol. Undefended classifiers are hollow.
    """
    entries = [read_entry(path) for path in entry_paths(paths)]
    if protocol is not None:
        entries = [entry for entry in entries if entry.protocol.name == protocol]
    plot_tradeoff(entries, output)
    click.echo(f"Written: {output}", err=True)
