"""One evaluation from a request to an entry: prepare, plan, run, assemble."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import torch

from benchmark.assembly import assemble
from benchmark.classifiers.file import pinned_model
from benchmark.entry import Entry
from benchmark.evaluated import Evaluated, Subject
from benchmark.numerics import fix_numerics, hardware
from benchmark.plan import Subjects, make_plan, weakest_gradient
from benchmark.prepared import Prepared, dtype_of, prepare, probe
from benchmark.remote import pinned
from benchmark.request import Request
from benchmark.results import Result
from benchmark.scheduler import Task, run_tasks, tasks_of
from benchmark.shard import Bench
from benchmark.store import Store

CPU_ROWS = 512
CUDA_ROWS = 2048


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
    rows, skipped = make_plan(ready.protocol, _subjects(ready))
    tasks = tasks_of(rows, len(ready.order), ready.protocol.shard_size)
    listener.on_plan(tasks)
    on_cpu = ready.device.type == "cpu"
    results = run_tasks(
        _bench(ready),
        tasks,
        Store(request.runs),
        workers=request.workers or ((os.cpu_count() or 1) if on_cpu else 1),
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
        "model": _typed_model(ready),
        "dataset": ready.dataset.name,
        "threat": str(ready.threat),
        "protocol": request.protocol if isinstance(request.protocol, str) else ready.protocol.name,
        "samples": len(ready.order),
        "seed": request.seed,
    }
    if request.precision != "float32":
        options["precision"] = request.precision
    if request.weights is not None and [bool(at.weights) for at in ready.settings] == [True]:
        options["weights"] = pinned(request.weights)
    words = ["bench", "run"]
    for name, value in options.items():
        words += [f"--{name}", str(value)]
    for key, value in request.defense_args.items():
        words += ["--defense-arg", f"{key}={value}"]
    return shlex.join(words)


def _typed_model(ready: Prepared) -> str:
    model = ready.request.model
    is_file = isinstance(model, str) and model.startswith("file:")
    return pinned_model(str(model)) if is_file else ready.classifier.name


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


def _bench(ready: Prepared) -> Bench:
    return Bench(
        dataset=ready.dataset,
        split="test",
        order=ready.order,
        victim=ready.victim,
        classifiers={ready.classifier.name: ready.classifier, **ready.surrogates},
        device=ready.device,
        dtype=dtype_of(ready.request),
        batch_size=ready.request.batch_size
        or (CPU_ROWS if ready.device.type == "cpu" else CUDA_ROWS),
    )


def _subjects(ready: Prepared) -> Subjects:
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
