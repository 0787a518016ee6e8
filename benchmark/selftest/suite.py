"""The self-test: attacks and verdicts held to closed forms, and known-broken purifiers brought down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from benchmark.compute.determinism import choose_device, fix_numerics
from benchmark.contract.checks import CheckOutcome, outcome_of
from benchmark.files.temporary import temporary_folder
from benchmark.selftest.attack_cases import TRIALS
from benchmark.selftest.attack_checks import held
from benchmark.selftest.canary_suite import CanaryRun, canaries
from benchmark.selftest.known_cases import CASES, shown
from benchmark.selftest.verdict_checks import Proof, verdicts


def selftest(
    device: str = "auto",
    *,
    on_begin: Callable[[str], object] = lambda _: None,
    on_outcome: Callable[[CheckOutcome], object] = lambda _: None,
) -> list[CheckOutcome]:
    """Runs everything; an installation in which one outcome has not passed is not to be trusted.

    Args:
        device: Where the canaries run; the closed forms are held in float64 on the CPU.
        on_begin: Told the title of what begins.
        on_outcome: Told each outcome as soon as it is known.

    Raises:
        BenchError: The device is not there.
    """
    choose_device(device)
    outcomes = []
    threads = torch.get_num_threads()
    fix_numerics(threads=1)  # networks this small lose time to every other thread
    try:
        with temporary_folder() as folder:
            for title, prove in proofs(device, folder):
                on_begin(title)
                outcomes.append(outcome_of(title, prove))
                on_outcome(outcomes[-1])
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
    for case in CASES:
        yield f"attack {case.title}", partial(shown, case)
    yield from verdicts(runs).items()
    cage = CanaryRun(runs, device)
    yield "undefended classifier", cage.undefended
    for canary in canaries():
        yield f"canary {canary.name}", partial(cage.finding, canary)
