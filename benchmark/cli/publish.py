"""`bench publish`: a static site from the entries of a leaderboards folder."""

from __future__ import annotations

from pathlib import Path

import click

from benchmark.cli.options import folder_option
from benchmark.publishing.leaderboard.escaping import plain
from benchmark.publishing.site.build import publish_site


@click.command("publish")
@click.argument("leaderboards", type=click.Path(path_type=Path))
@folder_option(
    "--out",
    "site",
    "The site's own folder. What an earlier publishing wrote there is replaced; anything else is refused.",
)
def publish_command(*, leaderboards: Path, out: Path) -> int:
    """Write a static site from the entries in LEADERBOARDS.

    It opens from the folder or from any web host, without a server and without a network. The same entries give
    the same bytes, and the site is replaced whole or not at all. Entries that cannot be read are named and left
    out; the exit status is 2 then, though the rest is published.
    """
    published = publish_site(leaderboards, out)
    click.echo(
        f"Written: {plain(str(published.index))} ({published.n_pages} pages from {published.n_entries} entries)"
    )
    for line in published.damaged:
        click.echo(f"bench: left out of the site: {plain(line)}", err=True)
    return 2 if published.damaged else 0
