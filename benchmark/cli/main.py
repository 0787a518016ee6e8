"""`bench`: the command group, and how failures become exit statuses."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence

import click

from benchmark.cli.types import Group
from benchmark.compute.address_space import refuse_cramped, refuse_rationed
from benchmark.compute.interrupts import MESSAGE, interrupted_status, was_interrupted
from benchmark.compute.own_packages import add_current_folder
from benchmark.compute.sandbox import exits_raised
from benchmark.errors import BenchError
from benchmark.identity.version import full_version
from benchmark.publishing.leaderboard.escaping import plain

log = logging.getLogger(__name__)

HELP = """Evaluates adversarial purification: defenses that clean an image before a frozen classifier sees it.

\b
First steps:
  bench run                                        AToP and the undefended classifier, on a CPU, in minutes
  bench run --defense jpeg --model standard-r18    another defense and classifier
  bench run --defense my_pkg:MyPurifier            your own purifier, in front of the default classifier
  bench check my_pkg:MyPurifier                    does it keep the contract of a defense?
  bench list defenses                              what there is
  bench publish leaderboards --out site            a static web site of all entries

Results go to results/ (JSON entries and a Markdown table), from where bench adopt takes them into
leaderboards/; finished work is kept in runs/, so the same command resumes where it stopped. Exit status:
0 done, 1 an attack failed, 2 usage error (in the command or the files it names), 130 interrupted (143 by
SIGTERM, 129 by SIGHUP); bench compare: 1 it fell, 3 inconclusive; bench audit: 1 not confirmed.
"""
COMMANDS = {
    "adopt": ("adopt", "Copy entries from results into leaderboards."),
    "audit": ("audit", "Ask an entry's victim again; attack some images anew."),
    "baselines": ("maintain", ""),
    "challenge": ("challenge", "Lower ENTRY by adversarial images from outside, X_ADV."),
    "check": ("check", "Check that PLUGIN, a defense or an attack, keeps its contract."),
    "claims": ("claims", "Show what papers claim beside what was measured."),
    "compare": ("compare", "Compare an entry with what stood before; for CI."),
    "estimate": ("estimate", "Say what a run would cost, before it is begun."),
    "list": ("listing", "List defenses, attacks, models, datasets, protocols or folders."),
    "manifest": ("maintain", ""),
    "plot": (
        "paper",
        "Draw entries: how attacks converged, what other budgets leave, clean against robust accuracy.",
    ),
    "publish": ("publish", "Write a static site from the entries in LEADERBOARDS."),
    "run": ("run", "Evaluate defenses and write their entries."),
    "selftest": ("check", "Show that this installation's attacks attack."),
    "table": ("paper", "Write entries as a table for a paper."),
    "train": ("train", "Train a defense, or a classifier."),
    "validate": ("validate", "Check entries before they are published."),
}
"""By name: the module of its `NAME_command`, and what the help says of it; nothing of one that is hidden."""
_COMPUTES = {"run", "estimate", "train", "check", "selftest", "challenge", "audit", "baselines"}
"""Commands that start torch."""


def _say_version(context: click.Context, _option: click.Parameter, is_asked: bool) -> None:
    """Prints the version where it is asked for, and ends; git is asked only then."""
    if is_asked:
        click.echo(f"bench, version {full_version()}")
        context.exit()


@click.group(
    cls=Group,
    lazy=COMMANDS,
    help=HELP,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_say_version,
    help="Show the version, with the commit where it is known, and exit.",
)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Say more on standard error, tracebacks of crashed jobs included.",
)
@click.pass_context
def bench(context: click.Context, *, verbose: bool) -> None:
    """The group that all commands hang on."""
    if context.invoked_subcommand in _COMPUTES:
        refuse_cramped()
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(levelname)s: %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("numba", "matplotlib", "PIL", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status.

    Args:
        argv: Arguments without the program's name; None for those of the process.
    """
    try:
        add_current_folder()
        _refuse_unreadable(sys.argv[1:] if argv is None else argv)
        with exits_raised():
            status = bench.main(args=argv, prog_name="bench", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _interrupted()
    except click.ClickException as error:
        return _misused(error)
    except BenchError as error:
        return _refused(_told(error))
    except BrokenPipeError:
        _close_stdout()  # who reads our output has seen enough of it
        return 0
    except OSError as error:
        log.debug("", exc_info=True)
        return _refused(
            f"{error}; mend that, and give the same command again (bench -v shows where)"
        )
    except SystemExit as error:  # nothing of ours does that
        if _is_clicks(error):  # a broken pipe again
            _close_stdout()
            return 0
        log.debug("", exc_info=True)
        return _refused(
            f"a plugin ended the program: sys.exit({error.code!r}) (bench -v shows where)"
        )
    except Exception as error:
        log.debug("", exc_info=True)
        if (told := _told(error)) == str(error):
            raise
        return _refused(told)


def _told(error: Exception) -> str:
    """The line for an error; another one where a limit of memory is behind it."""
    try:
        refuse_rationed(error)
    except BenchError as rationed:
        return str(rationed)
    return str(error)


def _is_clicks(error: SystemExit) -> bool:
    """Whether click itself ended the program, as it does where nobody reads the output."""
    last = list(traceback.walk_tb(error.__traceback__))[-1][0]
    return str(last.f_globals.get("__name__")).startswith("click.")


def _refuse_unreadable(argv: Sequence[str]) -> None:
    """Refuses what no file of ours can say: bytes that are no text."""
    for word in argv:
        if "\0" in word or any("\ud800" <= c <= "\udfff" for c in word):
            raise BenchError(f"{word!r} is no text (UTF-8); give the file another name")


def _misused(error: click.ClickException) -> int:
    """One line about an option, an argument or a command; a group without a command shows its help instead."""
    context = getattr(error, "ctx", None)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return 2
    see = f" (see {context.command_path} --help)" if context else ""
    return _refused(f"{error.format_message()}{see}")


def _refused(reason: str) -> int:
    if was_interrupted():  # the terminal that is gone is what went wrong
        return _interrupted()
    _say(f"bench: {plain(reason)}")
    return 2


def _close_stdout() -> None:
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _interrupted() -> int:
    _say(MESSAGE)
    return interrupted_status()


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it any more
        click.echo(line, err=True)
