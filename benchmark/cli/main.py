"""`bench`: the command group, and how failures become exit statuses."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from benchmark.cli.check import check_command, selftest_command
from benchmark.cli.estimate import estimate_command
from benchmark.cli.listing import list_group
from benchmark.cli.run import run_command
from benchmark.cli.train import train_command
from benchmark.errors import BenchError

HELP = """Evaluates adversarial purification: defenses that clean an image before a frozen classifier sees it.

\b
First steps:
  bench run                                        AToP and the undefended classifier, on a CPU, in minutes
  bench run --defense jpeg --model standard-r18    another defense and classifier
  bench run --defense my_pkg:MyPurifier            your own purifier, in front of the default classifier
  bench check my_pkg:MyPurifier                    does it keep the contract of a defense?
  bench list defenses                              what there is

Results go to leaderboards/ (JSON entries and a Markdown table); finished work is kept in runs/, so the same
command again goes on where it stopped. Exit status: 0 done, 1 something of ours failed, 2 something to mend
in the command or the files it names, 130 interrupted.
"""


def _version() -> str:
    try:
        return version("purifybench")
    except PackageNotFoundError:
        return "not installed"


@click.group(help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version(), prog_name="bench")
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Say more on standard error, tracebacks of crashed jobs included.",
)
def bench(*, verbose: bool) -> None:
    """The group that all commands hang on."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(levelname)s: %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("numba", "matplotlib", "PIL", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


bench.add_command(run_command)
bench.add_command(estimate_command)
bench.add_command(train_command)
bench.add_command(list_group)
bench.add_command(check_command)
bench.add_command(selftest_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status.

    Args:
        argv: Arguments without the program's name; None for those of the process.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # so that module:Class finds a file of the current folder
    try:
        status = bench.main(args=argv, prog_name="bench", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.Abort:
        return _interrupted()
    except KeyboardInterrupt:
        return _interrupted()
    except click.ClickException as error:
        error.show()
        return 2
    except BenchError as error:
        click.echo(f"bench: {' '.join(str(error).split())}", err=True)
        return 2
    except BrokenPipeError:
        return 0


def _interrupted() -> int:
    click.echo(
        "bench: interrupted; what was finished is kept, the same command goes on from there",
        err=True,
    )
    return 130
