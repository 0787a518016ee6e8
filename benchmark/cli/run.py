"""`bench run`: evaluates defenses, writes entries, prints their table."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from benchmark.cli.adopt import show_written
from benchmark.cli.options import device_option, folder_option, requests_of, run_options
from benchmark.cli.progress import RunProgress
from benchmark.cli.slices import show_slices, slice_option
from benchmark.cli.types import Word
from benchmark.cli.weights import see_to_weights
from benchmark.errors import BenchError

if TYPE_CHECKING:
    from benchmark.evaluation.execute.run import Listener
    from benchmark.evaluation.prepare.request import Request

Done = TypeVar("Done")

EPILOG = """\b
Examples:
  bench run
  bench run --defense atop --defense jpeg --defense none
  bench run --defense gaussian --defense-arg sigma=0.1 --model standard-r18 --samples 32
  bench run --defense atop+jpeg --protocol standard
  bench run --defense my_pkg:MyPurifier --dataset npz:images.npz --model file:net.safetensors@resnet18
  bench run --defense atop --protocol standard --slice $SLURM_ARRAY_TASK_ID/8    in sbatch --array=1-8
"""


@click.command("run", epilog=EPILOG)
@run_options
@slice_option
@device_option
@folder_option(
    "--results",
    "results",
    "Where entries and their pages are written; bench adopt copies them into leaderboards.",
)
@click.option(
    "--keep-images",
    type=Word(["worst", "all", "none"]),
    help="Adversarial images that stay beside the entry for bench audit: those that count, or of every attack. "
    "Default: worst under standard and full, else none.",
)
@click.option(
    "--train",
    "train_first",
    is_flag=True,
    help="Train a defense that has no weights for this classifier and dataset, then go on.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the entries as one JSON array instead of a table.",
)
def run_command(**options: Any) -> int:
    """Evaluate defenses and write their entries.

    Every attack family of the protocol is run on every image: oblivious, AutoAttack, adaptive (exact gradients
    and BPDA, with EOT), auxiliary-aware and transfer. The worst case is taken image by image. Finished shards
    are kept, so the same command resumes an interrupted run where it stopped.
    """
    if options["part"] is not None:
        return _run_slice(options)
    requests = requests_of(options)
    # imported here so that neither --help nor a wrong name starts torch
    from benchmark.evaluation.execute.run import run_shown
    from benchmark.files.atomic import refuse_unwritable
    from benchmark.publishing.leaderboard.board_text import to_text
    from benchmark.publishing.leaderboard.write_entries import undefended_beside, write_row

    for folder in (options["results"], options["runs"]):
        refuse_unwritable(folder)
    see_to_weights(requests, train_first=options["train_first"])
    rows = []
    failures: list[str] = []
    for request in requests:
        (entry, sheet, images), failed = _evaluate(run_shown, request)
        failures += failed
        rows.append(write_row(entry, sheet, options["results"], images=images))
        show_written(rows[-1:])
    entries = [row.entry for row in rows]
    if options["as_json"]:
        click.echo(json.dumps([entry.model_dump(mode="json") for entry in entries], indent=2))
    else:
        click.echo(to_text([*entries, *undefended_beside(rows)]), nl=False)
    return _status(failures)


def _run_slice(options: dict[str, Any]) -> int:
    if options["as_json"]:
        raise BenchError("--json prints entries, and a slice makes none; leave one of the two out")
    requests = requests_of(options)
    from benchmark.evaluation.execute.run import run_slice
    from benchmark.files.atomic import refuse_unwritable

    refuse_unwritable(options["runs"])
    see_to_weights(requests, train_first=options["train_first"])
    done = []
    failures: list[str] = []
    for request in requests:
        sliced, failed = _evaluate(run_slice, request)
        done.append(sliced)
        failures += failed
    part = requests[0].slice
    if part is not None:
        show_slices(part, done, has_gaps=bool(failures))
    return _status(failures)


def _status(failures: Sequence[str]) -> int:
    for failure in failures:
        click.echo(f"bench: a gap: {failure}", err=True)
    return 1 if failures else 0


def _evaluate(run: Callable[[Request, Listener], Done], request: Request) -> tuple[Done, list[str]]:
    """Runs a request under a progress bar, and says which of its shards failed."""
    with RunProgress(str(request.defense)) as progress:
        return run(request, progress.listener()), progress.failures
