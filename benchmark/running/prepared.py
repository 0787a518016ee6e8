"""Requests made real: everything that a request names, loaded, checked and ready to be attacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from benchmark.classifier import Classifier
from benchmark.configuration import parameters_of
from benchmark.containment import contained
from benchmark.dataset import Dataset, images_of, indices_of
from benchmark.defense import Defense
from benchmark.errors import BenchError, ContractBroken, WeightsMissing
from benchmark.job import Plugin, plugin_of
from benchmark.loading import data_folder, load_classifier, load_task, wrap_module
from benchmark.memory import Room
from benchmark.numerics import choose_device
from benchmark.protocol import Protocol, load_protocol
from benchmark.purified import Purified
from benchmark.randomness import Draws
from benchmark.running.request import Request, make_defenses
from benchmark.setting import Setting
from benchmark.shard import Bench
from benchmark.shelf import DEFENSES
from benchmark.threat import Threat
from benchmark.victim import GradientMode, Victim
from benchmark.weights import find_weights, sha256_of

PROBED = 4
"""Clean images that a victim is shown before a run begins."""
CPU_ROWS = 512
CUDA_ROWS = 2048
"""Rows in one forward pass to begin with; `benchmark.memory.Room` finds out how many of them fit."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything a request names, loaded and ready."""

    request: Request
    protocol: Protocol
    threat: Threat
    dataset: Dataset
    classifier: Classifier
    surrogates: Mapping[str, Classifier]
    defenses: tuple[Defense, ...]
    plugins: tuple[Plugin, ...]
    settings: tuple[Setting, ...]
    victim: Victim
    order: tuple[int, ...]
    device: torch.device

    @property
    def label(self) -> str:
        """The published name of the defense."""
        return "+".join(plugin.label for plugin in self.plugins)


def prepare(request: Request) -> Prepared:
    """Loads everything that a request names.

    Raises:
        BenchError: Something is missing, damaged or impossible.
    """
    device = choose_device(request.device)
    wanted = request.protocol
    protocol = wanted if isinstance(wanted, Protocol) else load_protocol(wanted)
    dataset, threat = load_task(
        request.dataset, request.model, request.threat, folder=data_folder(request.data)
    )
    defenses = make_defenses(request)
    load = _Loader(request, dataset, device)
    load.refuse_no_model()
    order = _order(dataset, request, protocol)
    classifier = load.classifier(request.model or dataset.model)
    needed = any(row.against == "surrogates" for row in protocol.sources)
    surrogates = {
        name: load.classifier(name)
        for name in (dataset.surrogates if needed else ())
        if name != classifier.name
    }
    setting = Setting(
        dataset=dataset.name,
        shape=dataset.shape,
        classes=dataset.classes,
        threat=threat,
        device=device,
        dtype=dtype_of(request),
        classifier=classifier,
    )
    of_chain = len(defenses) > 1
    settings = [_with_weights(d, setting, request, of_chain=of_chain) for d in defenses]
    plugins = [_prepared(d, at) for d, at in zip(defenses, settings, strict=True)]
    victim: Victim = Purified(defenses, classifier)
    for defense in defenses:
        with contained(f"defense {defense.name!r}: wrapping its victim"):
            victim = defense.wrap(victim)
    return Prepared(
        request=request,
        protocol=protocol,
        threat=threat,
        dataset=dataset,
        classifier=classifier,
        surrogates=surrogates,
        defenses=tuple(defenses),
        plugins=tuple(plugins),
        settings=tuple(settings),
        victim=victim,
        order=order,
        device=device,
    )


def bench_of(ready: Prepared) -> Bench:
    """What the jobs of a run are done with."""
    rows = CPU_ROWS if ready.device.type == "cpu" else CUDA_ROWS
    return Bench(
        dataset=ready.dataset,
        split="test",
        order=ready.order,
        victim=ready.victim,
        classifiers={ready.classifier.name: ready.classifier, **ready.surrogates},
        device=ready.device,
        dtype=dtype_of(ready.request),
        batch_size=ready.request.batch_size or rows,
    )


def bench_on(request: Request, device: torch.device) -> Bench:
    """The same bench on another device: everything loaded and prepared anew, nothing moved.

    What was prepared elsewhere may keep tensors that no `to(device)` reaches: a defense its setting's device, a
    network of the zoo its means.

    Raises:
        BenchError: As `prepare`.
    """
    return bench_of(prepare(replace(portable(request), device=str(device))))


def portable(request: Request) -> Request:
    """The request with nothing in it that was prepared on some device."""
    defense = request.defense
    if not isinstance(defense, Defense):
        return request
    return replace(request, defense=type(defense)(**defense.arguments()))


@dataclass(frozen=True, slots=True)
class _Loader:
    request: Request
    dataset: Dataset
    device: torch.device

    def refuse_no_model(self) -> None:
        """Asked before anything is downloaded."""
        if not (self.request.model or self.dataset.model):
            raise BenchError(
                f"dataset {self.dataset.name!r} has no default classifier; name one with --model"
            )

    def classifier(self, model: str | torch.nn.Module) -> Classifier:
        dtype = dtype_of(self.request)
        if not isinstance(model, str):
            return wrap_module(model, dataset=self.dataset, device=self.device, dtype=dtype)
        return load_classifier(
            model,
            dataset=self.dataset,
            folder=data_folder(self.request.data),
            device=self.device,
            dtype=dtype,
        )


def probe(ready: Prepared) -> None:
    """Shows the victim a few clean images, so that a broken plugin is refused before anything is attacked.

    Raises:
        BenchError: A plugin breaks its contract, or images and classifier do not fit each other.
    """
    indices = torch.tensor(ready.order[:PROBED])
    x = images_of(ready.dataset, "test", indices).to(ready.device, dtype_of(ready.request))
    draws = Draws.of(ready.request.seed, indices.to(ready.device), "probe")

    def one_pass(part: torch.Tensor) -> torch.Tensor:
        return ready.victim.logits(x[part], draws=draws.take(part), mode=GradientMode.EXACT)

    with contained(f"defense {ready.label!r}"), torch.no_grad():
        try:
            passes = Room(PROBED).passes(len(x), one_pass, x.device)
            logits = torch.cat([found for _, found in passes])
        except RuntimeError as error:
            raise BenchError(
                f"defense {ready.label!r} with classifier {ready.classifier.name!r} does not take images of "
                f"shape {ready.dataset.shape} of {ready.dataset.name!r}: {' '.join(str(error).split())[:200]}"
            ) from error
    expected = (len(x), ready.dataset.classes)
    if tuple(logits.shape) != expected:
        raise ContractBroken(
            f"classifier {ready.classifier.name!r} returned logits of shape {tuple(logits.shape)}; expected "
            f"{expected} for {len(x)} images of {ready.dataset.name!r}"
        )
    if not bool(logits.isfinite().all()):
        raise ContractBroken(f"defense {ready.label!r}: the logits of clean images are not finite")


def dtype_of(request: Request) -> torch.dtype:
    """The precision of a request as torch names it."""
    return torch.float64 if request.precision == "float64" else torch.float32


def _order(dataset: Dataset, request: Request, protocol: Protocol) -> tuple[int, ...]:
    order = indices_of(dataset, "test", request.order)
    samples = request.samples
    if samples is not None and samples > len(order):
        where = "" if request.order == "nested" else " in RobustBench's order"
        raise BenchError(
            f"dataset {dataset.name!r} has {len(order)} test images{where}; --samples {samples} is more than "
            f"that"
        )
    n = samples or min(protocol.samples or len(order), len(order))
    return tuple(order[:n])


def _with_weights(
    defense: Defense, setting: Setting, request: Request, *, of_chain: bool
) -> Setting:
    """The setting with the weights that were found for a defense."""
    if request.weights is not None and (of_chain or not defense.needs_weights):
        raise BenchError(
            f"--weights goes with one defense that is trained; "
            f"{f'{defense.name!r} is part of a chain' if of_chain else f'{defense.name!r} has no weights'}"
            f": leave it out"
        )
    if not defense.needs_weights:
        return setting
    classifier = setting.defended()
    weights = find_weights(
        type(defense),
        label=defense.label(setting.shape),
        classifier=classifier.name,
        dataset=setting.dataset,
        explicit=request.weights,
    )
    if weights is None:
        raise WeightsMissing(
            f"{defense.name} has no weights for {classifier.name} on {setting.dataset}; train them with: "
            f"bench train --defense {_typed(defense, request)} --model {classifier.name} "
            f"--dataset {setting.dataset} "
            f"(or add --train, or give --weights FILE, URL or hf:org/name)"
        )
    return replace(setting, weights=weights)


def _typed(defense: Defense, request: Request) -> str:
    """What a user calls a defense: its name, or the `module:Class` that he gave."""
    names = request.defense.split("+") if isinstance(request.defense, str) else []
    return next((name for name in names if DEFENSES.get(name) is type(defense)), defense.name)


def _prepared(defense: Defense, setting: Setting) -> Plugin:
    """Prepares a defense and says what a key needs to know of it."""
    with contained(f"defense {defense.name!r}: preparing it"):
        defense.prepare(setting)
    sha256 = sha256_of(setting.weights) if setting.weights else ""
    return plugin_of(defense, label=_published(defense, setting.shape), weights=sha256)


def _published(defense: Defense, shape: tuple[int, int, int]) -> str:
    """The label, with the arguments that are not the defaults: `atop[digits](transform=rt3)`."""
    defaults = parameters_of(type(defense))
    changed = [f"{k}={v}" for k, v in defense.arguments().items() if v != defaults[k]]
    return defense.label(shape) + (f"({', '.join(changed)})" if changed else "")
