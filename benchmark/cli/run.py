"""`bench run`: evaluates defenses, writes entries, prints their table; or runs a slice of that."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from benchmark.cli.adopt import show_written
from benchmark.cli.options import (
    device_option,
    folder_option,
    json_option,
    requests_of,
    run_options,
)
from benchmark.cli.progress import RunProgress
from benchmark.cli.types import Word
from benchmark.cli.weights import see_to_weights
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.request import Request
from benchmark.evaluation.prepare.slices import Slice
from benchmark.files.atomic import refuse_unwritable

if TYPE_CHECKING:
    from benchmark.evaluation.execute.run import Listener, Sliced

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
@click.option(
    "--slice",
    type=Slice.parse,
    metavar="K/N",
    help="Do only the K-th of N parts of the images, for Slurm arrays: all parts share one --runs folder, each "
    "writes its own shards and no entry; the same command without --slice assembles them.",
)
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
@json_option("the entries as one JSON array instead of a table")
def run_command(**options: Any) -> int:
    """Evaluate defenses and write their entries.

    Every attack family of the protocol is run on every image: oblivious, AutoAttack, adaptive (exact gradients
    and BPDA, with EOT), auxiliary-aware and transfer. The worst case is taken image by image. Finished shards
    are kept, so the same command resumes an interrupted run where it stopped.
    """
    is_slice = options["slice"] is not None
    if is_slice and options["as_json"]:
        raise BenchError("--json prints entries, and a slice makes none; leave one of the two out")
    requests = requests_of(options)
    for name in ("runs",) if is_slice else ("results", "runs"):
        refuse_unwritable(options[name])
    see_to_weights(requests, train_first=options["train_first"])
    failures = (_run_slices if is_slice else _run_whole)(requests, options)
    for failure in failures:
        click.echo(f"bench: a gap: {failure}", err=True)
    return 1 if failures else 0


def _run_whole(requests: Sequence[Request], options: dict[str, Any]) -> list[str]:
    """Evaluates requests, writes and prints their entries; returns what failed."""
    # imported here so that neither --help nor a wrong name starts torch
    from benchmark.evaluation.execute.run import run_shown
    from benchmark.publishing.leaderboard.board_text import to_text
    from benchmark.publishing.leaderboard.write_entries import undefended_beside, write_row

    rows = []
    failures: list[str] = []
    for request in requests:
        entry, sheet, images = _evaluate(run_shown, request, failures)
        rows.append(write_row(entry, sheet, options["results"], images=images))
        show_written(rows[-1:])
    entries = [row.entry for row in rows]
    if options["as_json"]:
        click.echo(json.dumps([entry.model_dump(mode="json") for entry in entries], indent=2))
    else:
        click.echo(to_text([*entries, *undefended_beside(rows)]), nl=False)
    return failures


def _run_slices(requests: Sequence[Request], options: dict[str, Any]) -> list[str]:
    """Evaluates one slice of each request, and prints what is left of it; returns what failed."""
    from benchmark.evaluation.execute.run import run_slice

    failures: list[str] = []
    slices = [_evaluate(run_slice, request, failures) for request in requests]
    for sliced in slices:
        click.echo(
            f"{sliced.label} on {sliced.model}, slice {options['slice']}: {_own(sliced)}; {_left(sliced)}"
        )
    whole = _command_without_slice(click.get_current_context())
    if failures:
        click.echo("Some shards failed: the same command tries them again.")
    elif any(sliced.left for sliced in slices):
        click.echo(f"When all slices are done, assemble with: {whole}")
    else:
        click.echo(f"All shards are done. Assemble with: {whole}")
    return failures


def _evaluate(
    run: Callable[[Request, Listener], Done], request: Request, failures: list[str]
) -> Done:
    """Runs a request under a progress bar, and takes note of the shards that failed."""
    with RunProgress(str(request.defense)) as progress:
        done = run(request, progress.listener())
    failures += progress.failures
    return done


def _own(sliced: Sliced) -> str:
    if not sliced.shards:
        return "no images are its own (there are fewer shards than slices), nothing to do"
    return f"its {sliced.images} images in {sliced.shards} shards"


def _left(sliced: Sliced) -> str:
    if not sliced.left:
        return f"all {sliced.total} shards of the run are there"
    return (
        f"{sliced.left} of the run's {sliced.total} shards are left, of slices "
        f"{' '.join(map(str, sliced.waiting))}"
    )


def _command_without_slice(context: click.Context) -> str:
    """The command that is running, with its options as they were typed."""
    words = ["bench", context.info_name or ""]
    for option in context.command.params:
        name = option.name or ""
        is_typed = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if name == "slice" or not is_typed:
            continue
        # what is not handed on, such as --offline, is a flag
        value = context.params.get(name, True)
        for item in value if option.multiple else (value,):
            said = ",".join(map(str, item)) if isinstance(item, tuple) else str(item)
            words += [option.opts[0]] if item is True else [option.opts[0], said]
    return shlex.join(words)
