"""`python -m tests.parity`: foolbox, torchattacks and ART on the images that `standard` calls robust."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from tabulate import tabulate

from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.prepare import Prepared
from benchmark.evaluation.prepare.reproduce import Where, remake
from benchmark.evaluation.prepare.request import Request, parse_arguments
from benchmark.records.entry import Entry
from benchmark.registry import unknown
from benchmark.scoring.statistics import wilson
from tests.parity.results import Attack, Budget, Parity, Tried, write_found
from tests.parity.subject import subject_of
from tests.parity.victims import handed

LIBRARIES = {
    "foolbox": "foolbox",
    "torchattacks": "torchattacks",
    "art": "adversarial-robustness-toolbox",
}
"""Names as they are typed, and as they are installed."""


@click.command()
@click.option("--defense", default="none", show_default=True)
@click.option("--defense-arg", "defense_args", multiple=True)
@click.option("--model")
@click.option("--dataset")
@click.option("--threat", help="Such as linf:0.1: smaller where nothing is robust to the usual.")
@click.option("--weights", type=click.Path(path_type=Path), help="The defense's.")
@click.option("--entry", type=click.Path(path_type=Path), help="An entry of standard; else made.")
@click.option("--images", type=int, default=64, show_default=True, help="How many robust ones.")
@click.option("--samples", type=int, help="Of so many images at most.")
@click.option("--library", "libraries", type=click.Choice(list(LIBRARIES)), multiple=True)
@click.option("--attack", "wanted", multiple=True, help="Only attacks of these names.")
@click.option("--steps", type=int, default=100, show_default=True)
@click.option("--queries", type=int, default=2000, show_default=True)
@click.option("--eot", type=int, default=20, show_default=True, help="Draws, of a random victim.")
@click.option("--mode", type=click.Choice([str(mode) for mode in GradientMode]))
@click.option("--seed", type=int, default=1, show_default=True, help="Not the entry's.")
@click.option("--runs", type=click.Path(path_type=Path), default="runs", show_default=True)
@click.option("--made", type=click.Path(path_type=Path), help="Keep attacks' images; resumes.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="For bench challenge (.npz).")
def main(**options: Any) -> None:
    """Attack what `standard` calls robust with other people's attacks, and print how many images fall.

    Shards of `standard` are kept under --runs and images under --made: the same command goes on where it
    stopped, and with --library it does a part.
    """
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    entry = subject_of(
        request_of(options),
        entry=options["entry"],
        wanted=options["images"],
        samples=options["samples"],
    )
    if entry.threat.norm != "linf":
        raise BenchError(f"these attacks are run in linf; the entry is under {entry.threat.text}")
    ready = remake(entry, Where(device="cpu", weights=options["weights"]))
    parity, shelves = opened(entry, ready, options)
    head = f"{entry.defense.label} on {entry.classifier.name}, {entry.threat.text}"
    print(f"{head}: {len(parity.robust)} images, of the {entry.dataset.n} attacked, are robust\n")
    if parity.robust:
        tried = [each for name, shelf in shelves.items() for each in run(parity, name, shelf)]
        print(table(tried), report(parity), sep="\n\n")
        if options["output"]:
            write_found(parity, options["output"])


def request_of(options: Mapping[str, Any]) -> Request:
    """The request whose entry is attacked."""
    same = ("defense", "model", "dataset", "threat", "weights", "runs")
    return Request(
        **{name: options[name] for name in same},
        defense_args=parse_arguments(options["defense_args"]),
        device="cpu",
        workers=1,
    )


def opened(
    entry: Entry, ready: Prepared, options: Mapping[str, Any]
) -> tuple[Parity, dict[str, dict[str, Attack]]]:
    """The images, and the attacks that are wanted by library.

    Raises:
        BenchError: A library is not installed, or has no attack of a name.
    """
    budget = Budget(
        eps=entry.threat.eps,
        shape=entry.threat.input_shape,
        classes=ready.dataset.classes,
        steps=options["steps"],
        queries=options["queries"],
    )
    mode = GradientMode(options["mode"]) if options["mode"] else None
    victim = handed(ready, eot=options["eot"], seed=options["seed"], mode=mode)
    shelves = {}
    for name in options["libraries"] or LIBRARIES:
        try:
            found = importlib.import_module(f"tests.parity.with_{name}").attacks(victim, budget)
        except ImportError as error:
            raise BenchError(
                f"{name} cannot be imported ({error}); see docs/challenge.md"
            ) from None
        shelves[name] = found
    wanted = options["wanted"]
    refuse_attacks(wanted, {name for attacks in shelves.values() for name in attacks})
    kept = {
        name: {each: attacks[each] for each in attacks if each in (wanted or attacks)}
        for name, attacks in shelves.items()
    }
    made_by = f"{budget} {victim.gradients.mode} {options['eot'] if ready.is_stochastic else 1}"
    parity = Parity(entry, ready, options["images"], options["seed"], options["made"], made_by)
    return parity, kept


def refuse_attacks(wanted: Sequence[str], known: Collection[str]) -> None:
    """Refuses names that no library that was asked for has."""
    for name in wanted:
        if name not in known:
            raise unknown("attack of those libraries", name, known)


def run(parity: Parity, library: str, attacks: Mapping[str, Attack]) -> list[Tried]:
    """Runs a library's attacks, each said as it ends."""
    found = []
    for tried in parity.run(f"{library} {version(LIBRARIES[library])}", attacks):
        said = tried.error or f"{len(tried.fallen)} fell"
        print(f"{library} {tried.name}: {said}, {tried.seconds:.0f} s", file=sys.stderr, flush=True)
        found.append(tried)
    return found


def table(tried: Sequence[Tried]) -> str:
    """What each attack did, in Markdown."""
    rows = [
        (one.library, one.name, one.error or len(one.fallen), f"{100 * one.accuracy:.1f}", f"{one.seconds:.0f}")
        for one in tried
    ]  # fmt: skip
    heads = ("library", "attack", "fell", "accuracy on its images, %", "CPU seconds")
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


def report(parity: Parity) -> str:
    """How many images fell to any attack, with Wilson's interval, and the mean accuracies."""
    n, fallen = len(parity.robust), parity.fallen()
    before = 100 * np.mean([parity.before(i) for i in parity.robust])
    after = 100 * np.mean([outcome.accuracy for outcome, _ in parity.best.values()])
    high = 100 * wilson(len(fallen), n)[1]
    which = f" (positions {', '.join(map(str, fallen))})" if fallen else ""
    return (
        f"fell: {len(fallen)} of {n}{which}, at most {high:.1f} % by Wilson's interval; mean accuracy "
        f"{before:.1f} % in the entry, {after:.1f} % on the most harmful image of each"
    )


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        print(f"tests.parity: {error}", file=sys.stderr)
        sys.exit(2)
