"""`bench manifest`: lists the weights that a plugin package ships or publishes."""

from __future__ import annotations

from pathlib import Path

import click

from benchmark.files.manifest_writer import update_manifest


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
