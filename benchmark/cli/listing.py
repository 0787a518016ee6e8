"""`bench list`: what there is, without starting torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
from tabulate import tabulate

from benchmark.classifiers.names import classifier_names, classifier_note
from benchmark.errors import BenchError
from benchmark.folders import data_folder, static_folder, weights_folder
from benchmark.protocol import load_protocol, protocol_names
from benchmark.registry import Registry
from benchmark.shelf import ATTACKS, DATASETS, DEFENSES


@click.group("list")
def list_group() -> None:
    """List defenses, attacks, models, datasets, protocols or folders."""


json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")


def _show(rows: Sequence[dict[str, str]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(list(rows), indent=2))
    else:
        click.echo(tabulate(rows, headers="keys", tablefmt="simple", maxcolwidths=[None, 90]))


@list_group.command("defenses")
@json_option
def list_defenses(*, as_json: bool) -> None:
    """Purifiers, by the name that --defense takes."""
    _show(_of(DEFENSES), as_json=as_json)


@list_group.command("attacks")
@json_option
def list_attacks(*, as_json: bool) -> None:
    """Attacks, by the name that a protocol takes."""
    _show(_of(ATTACKS), as_json=as_json)


@list_group.command("datasets")
@json_option
def list_datasets(*, as_json: bool) -> None:
    """Datasets, by the name that --dataset takes."""
    rows = _of(DATASETS)
    rows.append({"name": "npz:FILE", "what": "your own images and labels"})
    _show(rows, as_json=as_json)


@list_group.command("protocols")
@json_option
def list_protocols(*, as_json: bool) -> None:
    """Protocols, by the name that --protocol takes."""
    protocols = [load_protocol(name) for name in protocol_names()]
    rows = [
        {
            "name": p.name,
            "version": str(p.version),
            "samples": str(p.samples or "all"),
            "attacks": str(len(p.attacks)),
            "what": p.summary,
        }
        for p in protocols
    ]
    _show(rows, as_json=as_json)


@list_group.command("folders")
@json_option
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


@list_group.command("models")
@click.option("--dataset", metavar="NAME", help="Only those for one dataset.")
@json_option
def list_models(*, dataset: str | None, as_json: bool) -> None:
    """Classifiers, by the name that --model takes: this project's, and the RobustBench zoo."""
    chosen = [dataset] if dataset else DATASETS.names()
    rows = [
        {"name": name, "dataset": of, "what": classifier_note(name, of)}
        for of in chosen
        for name in classifier_names(of)
    ]
    if not rows:
        raise BenchError(
            f"no classifier is known for dataset {dataset!r}; known: {', '.join(DATASETS.names())}"
        )
    _show(rows, as_json=as_json)


def _of(registry: Registry[Any]) -> list[dict[str, str]]:
    return [{"name": name, "what": registry.note(name)} for name in registry.names()]
