"""Requests made real: everything that a request names, loaded, checked and ready to be attacked."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from functools import cache, partial
from typing import Any

import torch

from benchmark.compute.determinism import choose_device
from benchmark.engine.attacker_images import seed_images
from benchmark.engine.dataset import Dataset, indices_of, labels_of, pixels_sha256
from benchmark.engine.threat import Threat
from benchmark.engine.victims.acceptance import Conduct
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.defense import Defense, weakest_gradient
from benchmark.engine.victims.setting import Setting
from benchmark.engine.victims.victim import AsStochastic, Victim
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.bench import Bench
from benchmark.evaluation.prepare.given_networks import wrap_module
from benchmark.evaluation.prepare.loading import (
    data_folder,
    load_classifier,
    with_known_classes,
)
from benchmark.evaluation.prepare.plan import Plannable
from benchmark.evaluation.prepare.purifier import PreparedDefense
from benchmark.evaluation.prepare.request import Request, make_defenses
from benchmark.evaluation.prepare.resolve import resolve
from benchmark.evaluation.prepare.surrogates import TransferSources
from benchmark.evaluation.prepare.victim_builder import Built, Load, build_victim
from benchmark.identity.identity import Known, identity_of
from benchmark.identity.opened_files import Opened, watched
from benchmark.records.protocol import Protocol
from benchmark.records.protocol_files import load_protocol
from benchmark.records.run import DefenseMeasurement
from benchmark.records.task import Task

CPU_ROWS = 512
CUDA_ROWS = 2048
"""Rows in one forward pass to begin with; `benchmark.compute.memory.BatchLimit` finds how many of them fit."""


@dataclass(frozen=True, kw_only=True)
class Prepared(Plannable):
    """Everything a request names, loaded and ready."""

    request: Request
    dataset: Dataset
    stages: tuple[PreparedDefense, ...]
    victim: Victim
    label: str
    """The published name of the defense."""
    order: tuple[int, ...]
    device: torch.device
    made: Callable[[torch.dtype], Victim]
    """Makes the same victim anew, from new purifiers and copies of the classifiers, in a precision."""
    conduct: Mapping[str, Conduct] = field(default_factory=dict)
    """How the bare classifiers answer, by their names, and the victim, by an empty one: as `probe` found."""
    examination: tuple[DefenseMeasurement, ...] = ()
    """What `probe` measured of the victim."""

    def watched(self) -> AbstractContextManager[Opened]:
        """Keeps account of files that are read in here: some purifiers read theirs with their first images."""
        held = [one.setting.weights for one in self.stages if one.setting.weights]
        return watched(f"victim {self.label} {[one.arguments for one in self.plugins]}", held=held)

    @property
    def notices(self) -> list[str]:
        """Lines for the user about what purifiers were trained for."""
        return list(dict.fromkeys(line for stage in self.stages for line in stage.notices()))

    def behaving(
        self, conduct: Mapping[str, Conduct], examination: tuple[DefenseMeasurement, ...] = ()
    ) -> Prepared:
        """The same with what was measured of it: a victim that is random is asked as one."""
        is_random = conduct.get("", Conduct()).random and not self.is_stochastic
        return replace(
            self,
            conduct=conduct,
            examination=examination,
            victim=AsStochastic(self.victim) if is_random else self.victim,
            is_stochastic=is_random or self.is_stochastic,
            is_uncut=any(each.random or each.crowd for each in conduct.values()),
        )


def prepare(request: Request) -> Prepared:
    """Loads everything that a request names.

    Raises:
        WeightsMissing: It needs weights that nobody has; all of them are named.
        BenchError: Something is missing, damaged or impossible.
    """
    device = choose_device(request.device)
    wanted = request.protocol
    protocol = wanted if isinstance(wanted, Protocol) else load_protocol(wanted)
    named, threat, typed = resolve(request)  # before a classifier is downloaded
    base = request.classifier or named.model
    load = _loader(request, named, device)
    dataset = with_known_classes(named, base, load)
    load = load if dataset is named else _loader(request, dataset, device)
    protocol = protocol.for_classes(dataset.classes)
    order = order_of(dataset, request, protocol)
    setting = Setting(
        dataset=dataset.name,
        shape=dataset.shape,
        classes=dataset.classes,
        threat=threat,
        device=device,
        dtype=dtype_of(request),
    )
    build = partial(build_victim, request, base)
    found, stages = build(setting, load, typed)

    def made(dtype: torch.dtype) -> Victim:
        new = make_defenses(portable(request))
        anew = [replace(f, defense=d) for f, d in zip(typed, new, strict=True)]

        def copied(model: str | torch.nn.Module) -> Classifier:
            return copy.deepcopy(load(model)).to(dtype)

        return build(replace(setting, dtype=dtype), copied, anew)[0].victim

    strangers = TransferSources(dataset, protocol, found.classifier, load)
    return Prepared(
        request=request,
        protocol=protocol,
        task=task_of(request, dataset, threat),
        dataset=dataset,
        classifier=found.classifier,
        surrogates=strangers.surrogates(),
        ensembles=strangers.ensembles(),
        stages=tuple(stages),
        plugins=tuple(stage.plugin for stage in stages),
        gradient=weakest_gradient(stage.defense for stage in stages),
        is_stochastic=found.victim.stochastic,
        victim=found.victim,
        victim_sha256=_victim_sha256(found, stages),
        label=found.label,
        composition=found.composition,
        order=order,
        seeds=lambda n: pixels_sha256(seed_images(dataset, "test", order, n), ()),
        device=device,
        made=made,
    )


def _loader(request: Request, dataset: Dataset, device: torch.device) -> Load:
    """What loads the classifiers of a request."""
    at: Any = {"dataset": dataset, "device": device, "dtype": dtype_of(request)}
    named = cache(partial(load_classifier, folder=data_folder(request.data), **at))

    def load(model: str | torch.nn.Module) -> Classifier:
        if isinstance(model, str):
            return named(model)
        return wrap_module(model, said=request.identity, **at)

    return load


def task_of(request: Request, dataset: Dataset, threat: Threat) -> Task:
    """The task of a request: what its names stand for, and the options that the two have in common."""
    names = {each.name for each in fields(Task)} & {each.name for each in fields(request)}
    found: dict[str, Any] = {name: getattr(request, name) for name in names}
    found |= {
        "dataset": dataset.name,
        "classes": dataset.classes,
        "shape": tuple(dataset.shape),
        "threat": threat,
        "preparation": dataset.preparation,
        "source": identity_of(type(dataset), what=f"dataset {dataset.name!r}").sha256(),
    }
    return Task(**found)


def _victim_sha256(found: Built, stages: Sequence[PreparedDefense]) -> str:
    """sha256 of a victim's own source and structure; purifiers and classifiers in it are known already."""
    known = {id(one.defense): f"stage {i}" for i, one in enumerate(stages)}
    known |= {
        id(one): f"classifier {one.name} {one.sha256} {one.source} {one.harness}"
        for one in found.victim.classifiers
    }
    what = f"the victim of defense {found.label!r}"
    return identity_of(found.victim, what=what, known=Known(objects=known)).sha256()


def bare_classifiers(ready: Prepared) -> tuple[Classifier, ...]:
    """All that images are made on without a purifier."""
    return (ready.classifier, *ready.surrogates.values(), *ready.ensembles.values())


def bench_of(ready: Prepared) -> Bench:
    """What the jobs of a run are done with.

    Raises:
        BenchError: Two classifiers of one name, by which a job names the one that it attacks, are not the same.
    """
    named: dict[str, Classifier] = {}
    for one in bare_classifiers(ready):
        other = named.setdefault(one.name, one)
        if (other.sha256, other.code, other.source) != (one.sha256, one.code, one.source):
            raise BenchError(
                f"two classifiers of this run are called {one.name!r} and have other weights or code (sha256 "
                f"{other.sha256[:16]} and {one.sha256[:16]}); give one of them another name"
            )
    rows = CPU_ROWS if ready.device.type == "cpu" else CUDA_ROWS
    return Bench(
        dataset=ready.dataset,
        split="test",
        order=ready.order,
        victim=ready.victim,
        classifiers=named,
        device=ready.device,
        dtype=dtype_of(ready.request),
        batch_size=ready.request.batch_size or rows,
        random=frozenset(name for name, each in ready.conduct.items() if each.random),
    )


def bench_on(
    request: Request, device: torch.device, conduct: Mapping[str, Conduct] | None = None
) -> Bench:
    """The same bench on another device: everything loaded and prepared anew, nothing moved.

    What was prepared elsewhere may keep tensors that no `to(device)` reaches: a defense its setting's device, a
    network of the zoo its means.

    Raises:
        BenchError: As `prepare`.
    """
    ready = prepare(replace(portable(request), device=str(device)))
    return bench_of(ready.behaving(conduct or {}))


def portable(request: Request) -> Request:
    """The request with nothing in it that was prepared on some device."""
    defense = request.defense
    if not isinstance(defense, Defense):
        return request
    return replace(request, defense=type(defense)(**defense.arguments()))


def dtype_of(request: Request) -> torch.dtype:
    """The precision of a request as torch names it."""
    return torch.float64 if request.precision == "float64" else torch.float32


def order_of(dataset: Dataset, request: Request, protocol: Protocol) -> tuple[int, ...]:
    """Indices of the images of a request, in order.

    Raises:
        BenchError: There are not so many, or a class that there is not.
    """
    order = indices_of(dataset, "test", request.order)
    where = "" if request.order == "nested" else " in RobustBench's order"
    if request.only_classes:
        unknown = [str(label) for label in request.only_classes if label >= dataset.classes]
        if unknown:
            raise BenchError(
                f"dataset {dataset.name!r} has classes 0 to {dataset.classes - 1}; --classes names "
                f"{', '.join(unknown)}"
            )
        labels = labels_of(dataset, "test").tolist()
        order = [index for index in order if labels[index] in request.only_classes]
        where += f" of classes {','.join(map(str, request.only_classes))}"
    samples = request.samples
    if not order or (samples is not None and samples > len(order)):
        raise BenchError(
            f"dataset {dataset.name!r} has {len(order)} test images{where}; --samples {samples or 1} is more "
            f"than that"
        )
    n = samples or min(protocol.samples or len(order), len(order))
    return tuple(order[i] for i in request.positions or range(n))
