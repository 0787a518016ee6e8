"""`bench baselines`: makes the data file of RobustBench's published numbers; for maintainers."""

from __future__ import annotations

from pathlib import Path

import click

from benchmark.cli.options import folder_option
from benchmark.files.atomic import write_whole
from benchmark.publishing.leaderboard.baselines import FILE, baselines_text, gather_baselines


@click.command("baselines", hidden=True)
@click.argument("model_info", type=click.Path(path_type=Path))
@folder_option(
    "--out",
    "results",
    "Where robustbench.csv is written; the leaderboards' pages read leaderboards/robustbench.csv.",
    metavar="DIR",
)
def baselines_command(*, model_info: Path, out: Path) -> int:
    """Write robustbench.csv from MODEL_INFO, that folder of a checkout of RobustBench."""
    found = gather_baselines(model_info)
    path = out / FILE
    write_whole(path, baselines_text(found).encode())
    click.echo(f"Written: {path}, {len(found)} models")
    return 0
