"""`bench compare`: an entry against what stood before, image by image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from benchmark.cli.options import json_option
from benchmark.cli.types import Number, Word
from benchmark.errors import BenchError
from benchmark.publishing.leaderboard import comparison_text
from benchmark.publishing.leaderboard.comparison import Comparison, Conclusion, compare, pair
from benchmark.records.entry import Entry
from benchmark.records.entry_files import entry_paths, read_entry

FELL, OPEN = 1, 3
EPILOG = """\b
Examples:
  bench compare leaderboards/digits/linf-0.15/atop.json results/digits/linf-0.15/atop.json
  bench compare main/leaderboards pull-request/leaderboards --tolerance 2 --gate worst --gate clean
  bench compare base.json candidate.json --markdown > comment.md

\b
Exit status:
  0  held: nothing changed, or the lower 95 % bound of the change lies above -tolerance
  1  fell: the upper 95 % bound lies below -tolerance
  3  inconclusive: neither; the output says how many images would decide
  2  the two cannot be compared (other images, threat, protocol or classifier, or a gap), or cannot be read
"""


@click.command("compare", epilog=EPILOG)
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option(
    "--tolerance",
    type=Number(0, 100, is_whole=False),
    default=5.0,
    show_default=True,
    metavar="POINTS",
    help="Largest tolerated drop, in points of accuracy.",
)
@click.option(
    "--gate",
    "gates",
    multiple=True,
    type=Word(["worst", "clean"]),
    default=("worst",),
    show_default=True,
    help="What decides: worst-case accuracy, clean accuracy. May be given again.",
)
@json_option("a JSON array, one item a row")
@click.option(
    "--markdown", "as_markdown", is_flag=True, help="Print Markdown for a pull request's comment."
)
def compare_command(
    *,
    base: Path,
    candidate: Path,
    tolerance: float,
    gates: tuple[str, ...],
    as_json: bool,
    as_markdown: bool,
) -> int:
    """Compare CANDIDATE with BASE: two entries, or two folders whose entries are paired by row.

    Both must have met the same images, under the same threat and protocol, with the same classifier. Each
    difference is taken image by image and stands between its one-sided 95 % bounds (Tango's for fixed defenses,
    a bootstrap over images for random ones), with a p-value (exact McNemar, or a sign-flip test). Where all
    outcomes and margins agree, nothing changed, and the candidate is held.
    """
    if as_json and as_markdown:
        raise BenchError("--json and --markdown are two forms of one output; give one of them")
    try:
        pairs, alone = _pairs(base, candidate)
    except BenchError as error:
        if as_markdown:
            click.echo(comparison_text.failure_to_markdown(str(error)), nl=False)
        raise
    share = tolerance / 100
    named = tuple(dict.fromkeys(gates))
    found, failures = _compared(pairs)
    if as_json:
        rows = [comparison_text.to_json(each, share, named) for each in found]
        click.echo(json.dumps(rows, indent=2, allow_nan=False))
    else:
        render = comparison_text.to_markdown if as_markdown else comparison_text.to_text
        parts = [render(each, share, named) for each in found]
        if as_markdown:
            parts += map(comparison_text.failure_to_markdown, failures)
        click.echo("\n".join(parts), nl=False)
    for line in (*alone, *failures):
        click.echo(f"bench: {line}", err=True)
    return 2 if failures else _status(found, share, named)


def _status(found: Sequence[Comparison], tolerance: float, gates: Sequence[str]) -> int:
    """That of the worst row: fell, then inconclusive, then held."""
    verdicts = {each.verdict(tolerance, gates) for each in found}
    if Conclusion.FELL in verdicts:
        return FELL
    return OPEN if Conclusion.OPEN in verdicts else 0


def _compared(pairs: Sequence[tuple[Entry, Entry]]) -> tuple[list[Comparison], list[str]]:
    """What can be compared, and one line for each pair that cannot."""
    found, failures = [], []
    for one, other in pairs:
        try:
            found.append(compare(one, other))
        except BenchError as error:
            failures.append(str(error))
    return found, failures


def _pairs(base: Path, candidate: Path) -> tuple[list[tuple[Entry, Entry]], list[str]]:
    """The entries to be compared, and one line for each row that is in one folder alone."""
    kinds = [path.is_dir() for path in (base, candidate)]
    if not any(kinds):
        return [(read_entry(base), read_entry(candidate))], []
    if not all(kinds):
        raise BenchError("compare two entries or two folders; one of each came")
    # a file that is no entry is refused, since it may be the one that matters
    ours, theirs = ([read_entry(one) for one in entry_paths([path])] for path in (base, candidate))
    return pair(ours, theirs)
