"""`bench check` and `bench selftest`: does a plugin keep its contract, do the attacks attack?"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from benchmark.cli.options import (
    device_option,
    json_option,
    model_option,
    request_options,
    task_options,
    weights_option,
)
from benchmark.cli.progress import RunProgress
from benchmark.compute.device_names import device_parts
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.names import is_attack, refuse_plugin, refuse_unknown
from benchmark.evaluation.prepare.request import Request, parse_arguments
from benchmark.plugins import ATTACKS

if TYPE_CHECKING:
    from benchmark.contract.checks import CheckOutcome

_OF_DEFENSES = ("model", "dataset", "data", "threat", "weights")
"""Options that say nothing about an attack."""


@click.command("check")
@click.argument("plugin")
@click.option(
    "--arg",
    "--defense-arg",
    "arguments",
    multiple=True,
    metavar="KEY=VALUE",
    help="An argument of its constructor, such as sigma=0.1 of gaussian or steps=5 of pgd.",
)
@model_option(multiple=False)
@task_options
@device_option
@weights_option
@json_option()
def check_command(**options: Any) -> int:
    """Check that PLUGIN, a defense or an attack, keeps its contract.

    PLUGIN is a name (bench list defenses, bench list attacks) or module:Class. What it declares is checked, not
    believed.

    A defense: shape and range, input untouched, the same draws give the same output, gradients against finite
    differences, and an image's output the same in any batch.

    An attack, on small networks, fixed and random, under every threat that it names: images in [0, 1] and in
    the budget, input and victim untouched, the same draws give the same images, an image's the same in any
    batch, no more passes than it says. --model, --dataset, --data, --threat and --weights are for defenses.
    Give it few steps: bench check pgd --arg steps=5.

    Exit status 1 where a check fails.
    """
    name, given = options["plugin"], parse_arguments(options["arguments"])
    check = (_of_attack if is_attack(name) else _of_defense)(name, given, options)
    with RunProgress(f"check {name}"):
        outcomes = check()
    if options["as_json"]:
        _print_json(outcomes)
    else:
        for outcome in outcomes:
            _print(outcome)
    return _status(outcomes, quiet=options["as_json"])


def _of_attack(
    name: str, given: Mapping[str, Any], options: Mapping[str, Any]
) -> Callable[[], list[CheckOutcome]]:
    device_parts(options["device"])
    for option in _OF_DEFENSES:
        if options[option] is not None:
            raise BenchError(
                f"{name!r} is an attack, and --{option} is for defenses: leave it out; an attack is checked on "
                f"small networks, under every threat that it names"
            )
    refuse_plugin(ATTACKS, name, given)
    from benchmark.selftest.attack_contract import check_attack

    return partial(check_attack, name, given, seed=options["seed"], device=options["device"])


def _of_defense(
    name: str, given: Mapping[str, Any], options: Mapping[str, Any]
) -> Callable[[], list[CheckOutcome]]:
    request = Request(defense=name, defense_args=given, **request_options(options))
    refuse_unknown(request)
    from benchmark.selftest.check import check_request  # here so that a wrong name starts no torch

    return partial(check_request, request)


@click.command("selftest")
@device_option
@json_option()
def selftest_command(*, device: str, as_json: bool) -> int:
    """Show that this installation's attacks attack.

    They must find the exact margin of a linear classifier with not one step to spare, or the closed form of
    another threat, score the closed form behind a Gaussian purifier, name what crashed, and bring
    known-broken purifiers down to what the undefended classifier reaches, or raise the flag that names what is
    wrong. It takes about forty seconds of one core. Exit status 1 where something fails: such an installation
    is not to be trusted.
    """
    device_parts(device)
    from benchmark.selftest.suite import selftest  # here so that --help starts no torch

    def on_outcome(outcome: CheckOutcome) -> None:
        _show("")
        if not as_json:
            _print(outcome)

    outcomes = selftest(device, on_begin=_show, on_outcome=on_outcome)
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
