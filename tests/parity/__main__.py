"""`python -m tests.parity`: foolbox, torchattacks and ART on the images that `standard` calls robust."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path

import click
import numpy as np
import torch

from benchmark.errors import BenchError
from benchmark.evaluation.prepare.reproduce import Where, remake
from benchmark.records.entry import Entry
from benchmark.records.entry_files import read_entry
from benchmark.registry import unknown
from tests.parity.results import Budget, Hunt, write_found

BOARDS = Path(__file__).resolve().parents[2] / "leaderboards"
LIBRARIES = ("foolbox", "torchattacks", "art")


def entry_of(defense: str, model: str) -> Path:
    """The committed `standard` entry of a defense on a classifier."""
    for path in sorted(BOARDS.glob("*/*/*.json")):
        entry = read_entry(path)
        names = [stage.label.partition("[")[0] for stage in entry.defense.stages]
        is_standard = entry.protocol.name == "standard" and entry.threat.norm == "linf"
        if names == [defense] and entry.classifier.name == model and is_standard:
            return path
    raise BenchError(f"no standard entry of {defense!r} on {model!r} is committed")


@click.command()
@click.option("--defense", required=True)
@click.option("--model", default="digits-cnn", show_default=True)
@click.option("--entry", type=click.Path(path_type=Path), help="Another entry than the committed.")
@click.option("--samples", type=int, default=1000, help="How many robust images at most.")
@click.option("--library", "libraries", type=click.Choice(LIBRARIES), multiple=True)
@click.option("--attack", "wanted", multiple=True, help="Only attacks of these names.")
@click.option("--steps", type=int, default=100, show_default=True)
@click.option("--queries", type=int, default=2000, show_default=True)
@click.option("--eot", type=int, default=1, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The images found (.npz).")
def main(**options) -> None:
    """Attack what an entry calls robust with other people's attacks."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    path = options["entry"] or entry_of(options["defense"], options["model"])
    entry = read_entry(path)
    ready = remake(entry, Where(device="cpu"))
    hunt = Hunt(entry, ready, options["samples"])
    head = f"{entry.defense.label} on {entry.classifier.name}, {entry.threat.text}"
    print(f"{head}: {len(hunt.robust)} of {entry.dataset.n} images are attacked, all robust there")
    if not hunt.robust:
        return
    budget = Budget(
        eps=entry.threat.eps,
        shape=entry.threat.input_shape,
        classes=ready.dataset.classes,
        **{name: options[name] for name in ("eot", "steps", "queries")},
    )
    shelves = {
        library: importlib.import_module(f"tests.parity.with_{library}").attacks(
            ready.victim, budget
        )
        for library in options["libraries"] or LIBRARIES
    }
    refuse_attacks(options["wanted"], {name for attacks in shelves.values() for name in attacks})
    for library, attacks in shelves.items():
        wanted = options["wanted"] or tuple(attacks)
        for tried in hunt.run({name: made for name, made in attacks.items() if name in wanted}):
            did = f"did not run: {tried.error}" if tried.error else len(tried.turned)
            print(f"  {library:12} {tried.name:14} {did!s:3} {tried.seconds:7.1f} s", flush=True)
    report(entry, hunt, options["output"])


def refuse_attacks(wanted: Sequence[str], known: Collection[str]) -> None:
    """Refuses names that no library that was asked for has."""
    for name in wanted:
        if name not in known:
            raise unknown("attack of those libraries", name, known)


def report(entry: Entry, hunt: Hunt, output: Path | None) -> None:
    """Says how many images fell, and writes them as `bench challenge` reads them."""
    found = hunt.found()
    before = [
        entry.per_image.worst[i].count("1") / len(entry.per_image.worst[i]) for i in hunt.robust
    ]
    after = [hunt.best[i][0].accuracy for i in hunt.robust]
    print(
        f"found: {len(found)} of {len(hunt.robust)} ({100 * len(found) / len(hunt.robust):.1f} %); their mean "
        f"accuracy in the entry {100 * np.mean(before):.1f} %, on outside images {100 * np.mean(after):.1f} %"
    )
    if output:
        write_found(hunt, output)
        print(f"written: {output}")


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        print(f"tests.parity: {error}", file=sys.stderr)
        sys.exit(2)
