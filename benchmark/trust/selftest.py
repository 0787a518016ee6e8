"""The self-test: attacks and verdicts held to closed forms, and known-broken purifiers brought down."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from benchmark.numerics import choose_device, fix_numerics
from benchmark.trust.checks import CheckOutcome, outcome_of
from benchmark.trust.expectations import Cage, canaries
from benchmark.trust.holds import held
from benchmark.trust.trials import TRIALS
from benchmark.trust.verdicts import Proof, verdicts


def selftest(
    device: str = "auto", report: Callable[[CheckOutcome], None] | None = None
) -> list[CheckOutcome]:
    """Runs everything; an installation in which one outcome has not passed is not to be trusted.

    Args:
        device: Where the canaries run; the closed forms are held in float64 on the CPU.
        report: Told of each outcome as soon as it is known.

    Raises:
        BenchError: The device is not there.
    """
    choose_device(device)
    outcomes = []
    threads = torch.get_num_threads()
    fix_numerics(threads=1)  # networks this small lose time to every other thread
    try:
        with tempfile.TemporaryDirectory(prefix="purifybench-selftest-") as folder:
            for title, prove in proofs(device, Path(folder)):
                outcome = outcome_of(title, prove)
                outcomes.append(outcome)
                if report is not None:
                    report(outcome)
    finally:
        torch.set_num_threads(threads)
    return outcomes


def proofs(device: str, runs: Path) -> Iterator[tuple[str, Proof]]:
    """All that is to be shown, by title, what costs least first.

    Args:
        device: Where the canaries run.
        runs: An empty folder for the shards of whole runs.
    """
    for trial in TRIALS:
        yield f"attack {trial.title}", partial(held, trial)
    yield from verdicts(runs).items()
    cage = Cage(runs, device)
    yield "undefended classifier", cage.undefended
    for canary in canaries():
        yield f"canary {canary.name}", partial(cage.finding, canary)
