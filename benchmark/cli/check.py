"""`bench check` and `bench selftest`: does a plugin keep its contract, do the attacks attack?"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from benchmark.cli.options import (
    arguments_option,
    device_option,
    model_option,
    task_options,
    weights_option,
)
from benchmark.cli.progress import RunProgress
from benchmark.compute.device_names import device_parts

if TYPE_CHECKING:
    from benchmark.contract.checks import CheckOutcome


@click.command("check")
@click.argument("defense")
@arguments_option("--defense-arg", "An argument of the defense.")
@model_option(multiple=False)
@task_options
@device_option
@weights_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def check_command(**options: Any) -> int:
    """Check that DEFENSE keeps the contract of a defense.

    What it declares is checked, not believed: shape and range, input untouched, the same draws give the same
    output, gradients against finite differences, and an image's output the same in any batch. Exit status 1
    where a check fails.
    """
    from benchmark.evaluation.prepare.names import refuse_unknown
    from benchmark.evaluation.prepare.request import Request, parse_arguments

    names = ("model", "dataset", "data", "threat", "seed", "device", "weights")
    request = Request(
        defense=options["defense"],
        defense_args=parse_arguments(options["defense_args"]),
        **{name: options[name] for name in names},
    )
    refuse_unknown(request)
    from benchmark.selftest.check import check_request  # here so that a wrong name starts no torch

    with RunProgress(f"check {options['defense']}"):
        outcomes = check_request(request)
    if options["as_json"]:
        _print_json(outcomes)
    else:
        for outcome in outcomes:
            _print(outcome)
    return _status(outcomes, quiet=options["as_json"])


@click.command("selftest")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def selftest_command(*, device: str, as_json: bool) -> int:
    """Show that this installation's attacks attack.

    They must find the exact margin of a linear classifier with not one step to spare, score the closed form
    behind a Gaussian purifier, name what crashed, and bring known-broken purifiers down to what the undefended
    classifier reaches, or raise the flag that names what is wrong. It takes about half a minute of one core.
    Exit status 1 where something fails: such an installation is not to be trusted.
    """
    device_parts(device)
    from benchmark.selftest.suite import Witness, selftest  # here so that --help starts no torch

    def on_outcome(outcome: CheckOutcome) -> None:
        _show("")
        if not as_json:
            _print(outcome)

    outcomes = selftest(device, Witness(on_begin=_show, on_outcome=on_outcome))
    if as_json:
        _print_json(outcomes)
    status = _status(outcomes, quiet=as_json)
    if status:
        names = "; ".join(outcome.name for outcome in outcomes if not outcome.passed)
        click.echo(f"do not trust numbers from this installation: {names}", err=True)
    return status


def _show(title: str) -> None:
    """What is being done, on a line of a terminal that the next one takes the place of."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[2K{title}", err=True, nl=False)


def _print(outcome: CheckOutcome) -> None:
    mark = click.style("ok  ", fg="green") if outcome.passed else click.style("FAIL", fg="red")
    click.echo(f"{mark} {outcome.name}: {outcome.detail}")


def _print_json(outcomes: Sequence[CheckOutcome]) -> None:
    click.echo(json.dumps([dataclasses.asdict(outcome) for outcome in outcomes], indent=2))


def _status(outcomes: Sequence[CheckOutcome], *, quiet: bool) -> int:
    failed = sum(not outcome.passed for outcome in outcomes)
    if not quiet:
        click.echo(f"{len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed else 0
