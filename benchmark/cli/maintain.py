"""Commands of maintainers: `bench manifest` lists weights, `bench baselines` what RobustBench publishes."""

from __future__ import annotations

from pathlib import Path

import click

from benchmark.cli.options import folder_option
from benchmark.files.atomic import write_whole
from benchmark.files.manifest_writer import update_manifest
from benchmark.publishing.leaderboard.baselines import FILE, baselines_text, gather_baselines


@click.command("manifest", hidden=True)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--licence", default="", metavar="NAME", help="Of files that are new in it.")
@click.option("--source", default="", metavar="WHO", help="Who made them.")
@click.option(
    "--url",
    default="",
    metavar="URL",
    help="Where its files are published, {file} standing for the name. Default: they ship.",
)
def manifest_command(*, folder: Path, licence: str, source: str, url: str) -> int:
    """Write FOLDER/manifest.yaml from the weights in FOLDER and their training records."""
    path, manifest = update_manifest(folder, licence=licence, source=source, url=url)
    click.echo(f"Written: {path} ({len(manifest.weights)} weights files)")
    return 0


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
