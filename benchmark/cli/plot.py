"""`bench plot`: figures of entries, as SVG, PDF or PNG."""

from __future__ import annotations

from pathlib import Path

import click

entry_argument = click.argument("entry", type=click.Path(path_type=Path))
output_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Ends in .svg, .pdf or .png. The same entry gives the same bytes.",
)


@click.group("plot")
def plot_group() -> None:
    """Draw entries: how attacks converged, what other budgets leave."""


@plot_group.command("convergence")
@entry_argument
@output_option
def plot_convergence_command(*, entry: Path, output: Path) -> None:
    """Draw how many images each attack of ENTRY had turned after each step.

    A line that still falls at its end stands for an attack that was stopped too early.
    """
    from benchmark.publishing.entry_files import read_entry  # so that --help starts quickly
    from benchmark.publishing.plots import plot_convergence

    plot_convergence(read_entry(entry), output)
    click.echo(f"Written: {output}", err=True)


@plot_group.command("eps-curve")
@entry_argument
@output_option
def plot_eps_curve_command(*, entry: Path, output: Path) -> None:
    """Draw the accuracy of ENTRY under budgets from 0 up.

    A curve that rises, or ends high where every image can be turned into grey, stands for an attack that fails.
    """
    from benchmark.publishing.entry_files import read_entry  # so that --help starts quickly
    from benchmark.publishing.plots import plot_eps_curve

    plot_eps_curve(read_entry(entry), output)
    click.echo(f"Written: {output}", err=True)
