"""One evaluation from a request to an entry: prepare, plan, run, assemble."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import torch

from benchmark.assembly import assemble
from benchmark.crew import Crew
from benchmark.entry import Entry
from benchmark.evaluated import Evaluated, Subject
from benchmark.numerics import default_workers, devices_like, fix_numerics, hardware
from benchmark.plan import Subjects, make_plan, weakest_gradient
from benchmark.prepared import Prepared, bench_of, bench_on, portable, prepare, probe
from benchmark.request import Request
from benchmark.results import Result
from benchmark.scheduler import Task, run_tasks, tasks_of
from benchmark.store import Store


@dataclass(frozen=True, slots=True)
class Listener:
    """Whom a run tells of its progress.

    Args:
        on_plan: Called once with every task.
        on_done: Called for each finished task with its result, and whether it had been done before.
    """

    on_plan: Callable[[Sequence[Task]], None] = lambda tasks: None  # noqa: ARG005
    on_done: Callable[[Task, Result, bool], None] = lambda task, result, cached: None  # noqa: ARG005


def run(request: Request, listener: Listener | None = None) -> Entry:
    """Evaluates a request, or goes on where an earlier run of it stopped.

    Raises:
        BenchError: The request cannot be met as it stands, or a finished shard cannot be written.
    """
    listener = listener or Listener()
    fix_numerics()
    ready = prepare(request)
    probe(ready)
    rows, skipped = make_plan(ready.protocol, subjects_of(ready))
    tasks = tasks_of(rows, len(ready.order), ready.protocol.shard_size)
    listener.on_plan(tasks)
    results = run_tasks(
        bench_of(ready),
        tasks,
        Store(request.runs),
        crew=crew_of(ready),
        on_done=listener.on_done,
    )
    return assemble(
        Evaluated(
            subject=_subject(ready),
            protocol=ready.protocol,
            rows=tuple(rows),
            results=results,
            skipped=skipped,
            command=command_of(ready),
            environment=environment(ready.device),
        )
    )


def command_of(ready: Prepared) -> str:
    """The command that makes an entry again; for objects from Python, what it would be with their names."""
    request = ready.request
    options = {
        "defense": request.defense if isinstance(request.defense, str) else ready.label,
        "model": ready.classifier.name,
        "dataset": ready.dataset.name,
        "threat": str(ready.threat),
        "protocol": request.protocol if isinstance(request.protocol, str) else ready.protocol.name,
        "samples": len(ready.order),
        "seed": request.seed,
    }
    if request.precision != "float32":
        options["precision"] = request.precision
    words = ["bench", "run"]
    for name, value in options.items():
        words += [f"--{name}", str(value)]
    for key, value in request.defense_args.items():
        words += ["--defense-arg", f"{key}={value}"]
    return shlex.join(words)


def environment(device: torch.device) -> dict[str, str]:
    """Versions and hardware, by name."""
    found = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device.type,
        "hardware": hardware(device),
    }
    if device.type == "cuda":
        found["cuda"] = str(torch.version.cuda)
    for package in ("purifybench", "pyautoattack", "robustbench"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def crew_of(ready: Prepared) -> Crew:
    """Who computes: as many processes as asked for, else one a core on the CPU, and one a GPU."""
    devices = devices_like(ready.device, torch.cuda.device_count())
    return Crew(
        workers=ready.request.workers or default_workers(devices),
        devices=devices,
        bench_on=partial(bench_on, portable(ready.request)),
    )


def subjects_of(ready: Prepared) -> Subjects:
    """What its protocol is applied to."""
    return Subjects(
        defenses=ready.defenses,
        plugins=ready.plugins,
        is_stochastic=ready.victim.stochastic,
        classifier=ready.classifier,
        surrogates=ready.surrogates,
        dataset=ready.dataset.name,
        split="test",
        classes=ready.dataset.classes,
        threat=ready.threat,
        precision=ready.request.precision,
        seed=ready.request.seed,
    )


def _subject(ready: Prepared) -> Subject:
    labels = ready.dataset.labels("test")[torch.tensor(ready.order)].tolist()
    return Subject(
        label=ready.label,
        is_stochastic=ready.victim.stochastic,
        gradient=weakest_gradient(ready.defenses).value,
        is_add_on=True,
        classes=ready.dataset.classes,
        shape=ready.dataset.shape,
        split="test",
        indices=ready.order,
        labels=tuple(labels),
    )
