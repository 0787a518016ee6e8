"""`bench list`: what there is, without starting torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
from tabulate import tabulate

from benchmark.classifiers.catalog import classifier_names, classifier_note
from benchmark.cli.options import json_option
from benchmark.cli.types import Group
from benchmark.engine.threat import Knowledge
from benchmark.errors import unknown
from benchmark.files.user_folders import data_folder, static_folder, weights_folder
from benchmark.plugins import ATTACKS, DATASETS, DEFENSES
from benchmark.records.protocol import Column, Protocol
from benchmark.records.protocol_costs import ProtocolCost, Spent, read_costs
from benchmark.records.protocol_files import load_protocol, protocol_names
from benchmark.registry import Registry

PASSES = """fixed, random: passes forward/backward for one image at the most, of a deterministic and of a
stochastic defense with an exact gradient (10 classes, two surrogates); jobs+: some attacks do not say theirs.
attacker: o oblivious, t transfer, q queries (black-box), w white-box, d known draw.
bench estimate says it of your victim."""
_SHORT = dict(zip(Knowledge, "otqwd", strict=True))


@click.group("list", cls=Group)
def list_command() -> None:
    """List defenses, attacks, models, datasets, protocols or folders."""


def _show(
    rows: Sequence[dict[str, Any]], *, as_json: bool, widths: Sequence[int | None] = (None, 90)
) -> None:
    if as_json:
        click.echo(json.dumps(list(rows), indent=2))
    else:
        click.echo(tabulate(rows, headers="keys", tablefmt="simple", maxcolwidths=[*widths]))


def _add_plugins(registry: Registry[Any], help_text: str, more: dict[str, str]) -> None:
    """Adds the command that lists a registry, and more in the place of its names."""

    @list_command.command(f"{registry.kind}s", help=help_text)
    @json_option()
    def list_plugins(*, as_json: bool) -> None:
        notes = {name: registry.note(name) for name in registry.names()} | more
        _show([{"name": name, "what": note} for name, note in notes.items()], as_json=as_json)


_add_plugins(DEFENSES, "Purifiers, by the name that --defense takes.", {})
_add_plugins(ATTACKS, "Attacks, by the name that a protocol takes.", {})
FILES = {
    "npz:FILE": "your own images and labels",
    "folder:PATH": "your own images, one folder a class",
}
_add_plugins(DATASETS, "Datasets, by the name that --dataset takes.", FILES)


@list_command.command("protocols")
@json_option()
def list_protocols(*, as_json: bool) -> None:
    """Protocols, by the name that --protocol takes, and what each costs for one image."""
    costs = read_costs()
    protocols = [load_protocol(name) for name in protocol_names()]
    protocols.sort(key=lambda protocol: protocol.paper is not None)
    of = _facts if as_json else _line
    rows = [of(protocol, costs.get(protocol.name)) for protocol in protocols]
    _show(rows, as_json=as_json, widths=[*[None] * (len(rows[0]) - 1), 52])
    if not as_json:
        click.echo(f"\n{PASSES}")


def _line(protocol: Protocol, cost: ProtocolCost | None) -> dict[str, Any]:
    """A protocol's row for a terminal."""
    jobs = "?" if cost is None else f"{cost.fixed.jobs}{'+' * bool(cost.lacks or cost.unknown)}"
    return {
        "name": protocol.name,
        "v": str(protocol.version),
        "samples": str(protocol.samples or "all"),
        "jobs": jobs,
        "fixed": "?" if cost is None else _passes(cost.fixed),
        "random": "?" if cost is None else _passes(cost.random),
        "attacker": " ".join(_SHORT[known] for known in _knowledge(protocol)),
        "what": protocol.summary,
    }


def _facts(protocol: Protocol, cost: ProtocolCost | None) -> dict[str, Any]:
    """The same for a program, with nothing rounded or left out."""
    return {
        "name": protocol.name,
        "version": protocol.version,
        "sha256": protocol.sha256(),
        "samples": protocol.samples,
        "preliminary": protocol.preliminary,
        "attacks": len(protocol.attacks),
        "knowledge": _knowledge(protocol),
        "cost": None if cost is None else cost.model_dump(mode="json"),
        "paper": None if protocol.paper is None else protocol.paper.model_dump(mode="json"),
        "what": protocol.summary,
    }


def _knowledge(protocol: Protocol) -> list[Knowledge]:
    """What its attackers know, from the least to the most; the clean images are no attack."""
    found = {row.knowledge for row in protocol.attacks if row.column is not Column.CLEAN}
    return [known for known in Knowledge if known in found]


def _passes(spent: Spent) -> str:
    """Passes forward and backward for one image, verdicts and looks at the auxiliary loss included."""
    forwards = spent.forwards + spent.auxiliary + spent.verdicts
    return f"{_amount(forwards)}/{_amount(spent.backwards + spent.auxiliary)}"


@list_command.command("folders")
@json_option()
def list_folders(*, as_json: bool) -> None:
    """Where downloads and trained weights are kept, and what names another place."""
    from huggingface_hub import constants  # here because it is slower than all other lists

    rows = [
        {"name": "data", "where": str(data_folder()), "set by": "--data, BENCH_DATA"},
        {"name": "weights", "where": str(weights_folder()), "set by": "BENCH_WEIGHTS"},
        {"name": "static sets", "where": str(static_folder()), "set by": "BENCH_STATIC"},
        {"name": "hub", "where": constants.HF_HUB_CACHE, "set by": "HF_HUB_CACHE, HF_HOME"},
    ]
    _show(rows, as_json=as_json)


@list_command.command("models")
@click.option("--dataset", metavar="NAME", help="Only those for one dataset.")
@json_option()
def list_models(*, dataset: str | None, as_json: bool) -> None:
    """Classifiers, by the name that --model takes: this project's, and the RobustBench zoo."""
    chosen = [dataset] if dataset else DATASETS.names()
    rows = [
        {"name": name, "dataset": of, "what": classifier_note(name, of)}
        for of in chosen
        for name in classifier_names(of)
    ]
    if not rows:
        raise unknown("dataset with classifiers", str(dataset), DATASETS.names())
    _show(rows, as_json=as_json)


def _amount(count: int) -> str:
    """Three digits: 12.3k, 410, 1.25M."""
    for unit, size in (("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)
