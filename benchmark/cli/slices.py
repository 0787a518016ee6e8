"""`bench run --slice k/n`: what a slice has done, what is left, and the command that assembles."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from benchmark.evaluation.execute.run import Sliced
    from benchmark.evaluation.prepare.slices import Slice

slice_option = click.option(
    "--slice",
    "part",
    metavar="K/N",
    help="Do only the K-th of N parts of the images, for Slurm arrays: all parts share one --runs folder, each "
    "writes its own shards and no entry; the same command without --slice assembles them.",
)


def show_slices(part: Slice, slices: Sequence[Sliced], *, has_gaps: bool) -> None:
    """Prints a line for each evaluation, and what to do next.

    Args:
        part: The slice that was run.
        slices: What it did, one for each defense and model.
        has_gaps: Whether some of its shards failed.
    """
    for sliced in slices:
        click.echo(
            f"{sliced.label} on {sliced.model}, slice {part}: {_own(sliced)}; {_left(sliced)}"
        )
    whole = command_without(click.get_current_context(), "part")
    if has_gaps:
        click.echo("Some shards failed: the same command tries them again.")
    elif any(sliced.left for sliced in slices):
        click.echo(f"When all slices are done, assemble with: {whole}")
    else:
        click.echo(f"All shards are done. Assemble with: {whole}")


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


def command_without(context: click.Context, *left_out: str) -> str:
    """The command that is running, with the options as they were typed, but for some.

    Args:
        context: The command's own.
        left_out: Names of parameters.
    """
    words = ["bench", context.info_name or ""]
    for option in context.command.params:
        name = option.name or ""
        if (
            name in left_out
            or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE
        ):
            continue
        value = context.params[name]
        flag = option.opts[0]
        if value is True:
            words.append(flag)
        else:
            for item in value if isinstance(value, tuple) else (value,):
                words += [flag, str(item)]
    return shlex.join(words)
