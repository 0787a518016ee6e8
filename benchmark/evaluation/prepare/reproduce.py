"""Victims made again: from an entry back to the classifier and purifier that it speaks of, or a refusal."""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.compute.determinism import fix_numerics
from benchmark.engine.dataset import images_of, labels_of, pixels_sha256
from benchmark.engine.threat import Knowledge, Norm, Threat
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.prepare import Prepared, dtype_of, prepare
from benchmark.evaluation.prepare.probing import probe
from benchmark.evaluation.prepare.request import Request, parse_arguments
from benchmark.records.entry import Entry
from benchmark.records.job import KEY_VERSION
from benchmark.records.protocol import AttackRow, Column, Protocol
from benchmark.records.protocol_files import load_protocol

log = logging.getLogger(__name__)

_WORDS = ("defense", "model", "dataset", "threat", "order", "precision", "weights")
"""Options of an entry's command that a request takes as they stand."""
_SHARDS = (64, 32, 16, 8, 4, 2, 1, 128, 256, 512)
"""Images in a shard, where the entry's protocol cannot be read: its pixels were hashed shard by shard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What this machine decides and no entry: where files are, and what computes.

    Args:
        data: Datasets and downloaded classifiers; None for the usual folder.
        weights: The defense's weights; None for those that the entry's command names, or that are found.
        device: `auto`, `cpu`, `cuda` or `cuda:0`.
    """

    data: Path | None = None
    weights: Path | str | None = None
    device: str = "auto"


def remake(entry: Entry, where: Where | None = None) -> Prepared:
    """Everything that an entry speaks of, loaded, and held against what it says.

    Sources are held to those of an entry of today's keys; of an earlier one a warning says that they are not.

    Args:
        entry: As it was read.
        where: None for the usual places.

    Raises:
        BenchError: Something is not here, or is not what the entry stands on.
    """
    fix_numerics()
    ready = probe(prepare(request_of(entry, where or Where())))
    sources = list(_other_sources(entry, ready))
    if sources and (entry.is_legacy or entry.key_version < KEY_VERSION):
        log.warning(
            "this entry was made under version %d of keys, when sources were hashed otherwise: its weights and "
            "predictions are compared, its sources are not (%s)",
            entry.key_version,
            sources.pop(0),
        )
        sources = []
    other = next(_differences(entry, ready), None) or next(iter(sources), None)
    if other:
        raise BenchError(
            f"this entry cannot be made again here: {other}; make the entry anew by its command, or give the "
            f"files, and the version of the code, that it was made with"
        )
    return ready


def originals(ready: Prepared, positions: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Clean images `(b, c, h, w)` in the run's precision, labels `(b,)` and dataset indices `(b,)`, on the CPU.

    Args:
        ready: As `remake` gives it.
        positions: Of the wanted ones in the entry, `(b,)`; None for all.

    Raises:
        BenchError: The dataset's files are missing or damaged.
    """
    indices = torch.tensor(ready.order)
    indices = indices if positions is None else indices[positions]
    x = images_of(ready.dataset, "test", indices).to(dtype_of(ready.request))
    return x, labels_of(ready.dataset, "test")[indices], indices


def request_of(entry: Entry, where: Where) -> Request:
    """The request behind an entry's command, without its attacks.

    Raises:
        BenchError: The command is none that `bench run` writes.
    """
    options, pairs = read_command(entry.command)
    found: dict[str, Any] = {name: options[name] for name in _WORDS if name in options}
    classes = options.get("classes", "")
    if not all(part.isdecimal() for part in classes.split(",") if classes):
        raise _foreign(entry.command)
    request = Request(
        **{"defense": entry.defense.label, **found, "threat": _threat(entry, found.get("threat"))},
        defense_args=parse_arguments(pairs),
        only_classes=tuple(int(part) for part in classes.split(",") if classes),
        samples=entry.dataset.n,
        seed=entry.seed,
        protocol=_only_clean(entry),
        data=where.data,
        device=where.device,
    )
    return request if where.weights is None else replace(request, weights=where.weights)


def read_command(command: str) -> tuple[dict[str, str], list[str]]:
    """A command's options by name, and its `--defense-arg` values.

    Raises:
        BenchError: It is none that `bench run` writes.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise _foreign(command) from error
    names, values = words[2::2], words[3::2]
    others = ("classes", "protocol", "samples", "seed", "keep-images", "defense-arg")
    single = [name for name in names if name != "--defense-arg"]
    if (
        words[:2] != ["bench", "run"]
        or len(names) != len(values)
        or not set(names) <= {f"--{name}" for name in (*_WORDS, *others)}
        or len(set(single)) != len(single)
    ):
        raise _foreign(command)
    pairs = list(zip(names, values, strict=True))
    options = {name[2:]: value for name, value in pairs if name != "--defense-arg"}
    return options, [value for name, value in pairs if name == "--defense-arg"]


def _threat(entry: Entry, text: str | None) -> Threat | str | None:
    """The entry's threat to its last digit, where the command says the same in fewer."""
    norm, eps = entry.threat.norm, entry.threat.eps
    exact = Threat(Norm(norm), eps) if norm in tuple(Norm) else None
    return exact if exact and str(exact) == text else text


def _foreign(command: str) -> BenchError:
    return BenchError(
        f"the entry's command is none that bench run writes, so that its victim cannot be made again: "
        f"{command[:200]!r}"
    )


def _only_clean(entry: Entry) -> Protocol:
    """A protocol with the entry's criterion and no attacks: no surrogates are loaded for it."""
    clean = AttackRow(
        id="clean", column=Column.CLEAN, knowledge=Knowledge.OBLIVIOUS, attack="clean"
    )
    return Protocol(
        name="challenge",
        version=1,
        summary="the clean images",
        criterion=entry.criterion,
        attacks=[clean],
    )


def _differences(entry: Entry, ready: Prepared) -> Iterator[str]:
    """What is not as the entry says but for sources, one line each, the nearest cause first."""
    dataset, threat = entry.dataset, entry.threat
    own = ready.task.threat
    made = own.norm.value, own.eps, ready.task.shape
    if made != (threat.norm, threat.eps, threat.input_shape):
        yield f"it is under {threat.text} on images of {threat.input_shape}, not {own} on {made[2]}"
    said, here = entry.classifier, ready.classifier
    if (here.name, here.sha256) != (said.name, said.sha256):
        yield _other("classifier", said.name, said.sha256, here.sha256)
    yield from _other_defenses(entry, ready)
    if (ready.dataset.name, ready.dataset.preparation) != (dataset.name, dataset.preparation):
        yield f"its images are those of {dataset.name!r}, not of {ready.dataset.name!r}"
    indices = hashlib.sha256(",".join(map(str, ready.order)).encode()).hexdigest()
    if ready.order != entry.per_image.indices or indices != dataset.indices_sha256:
        yield f"the first {dataset.n} images of {dataset.name!r} are others here"
    elif not _same_pixels(entry, ready):
        yield f"the images of {dataset.name!r} have other pixels or labels here"


def _other_defenses(entry: Entry, ready: Prepared) -> Iterator[str]:
    stages = entry.defense.stages
    if len(stages) != len(ready.plugins):
        yield f"it has {len(stages)} purifiers, not {len(ready.plugins)}"
        return
    for stage, plugin in zip(stages, ready.plugins, strict=True):
        if (plugin.path, json.loads(plugin.arguments)) != (stage.plugin, stage.arguments):
            yield f"its defense is {stage.plugin} {stage.arguments}, not {plugin.path} {plugin.arguments}"
        if plugin.weights != stage.weights_sha256:
            yield _other("weights of", stage.label, stage.weights_sha256, plugin.weights)
    if (ready.label, ready.is_stochastic) != (entry.defense.label, entry.defense.stochastic):
        yield f"its defense is called {entry.defense.label!r}, not {ready.label!r}"


def _other_sources(entry: Entry, ready: Prepared) -> Iterator[str]:
    """Whose source is not as the entry says, one line each."""
    said, here = entry.classifier, ready.classifier
    if said.source_sha256 != here.code:
        yield _other("source of the classifier", said.name, said.source_sha256, here.code)
    for stage, plugin in zip(entry.defense.stages, ready.plugins, strict=False):
        if plugin.source != stage.source_sha256:
            yield _other("source of", stage.label, stage.source_sha256, plugin.source)


def _other(what: str, name: str, expected: str, found: str) -> str:
    return (
        f"the {what} {name!r} is to have the sha256 {expected[:12] or 'of nothing'}, and here it has "
        f"{found[:12] or 'none'}"
    )


def _same_pixels(entry: Entry, ready: Prepared) -> bool:
    """Whether pixels and labels have the entry's hash, which is that of the hashes of its shards."""
    indices = torch.tensor(ready.order)
    labels = labels_of(ready.dataset, "test")[indices].tolist()
    if tuple(labels) != entry.per_image.labels:
        return False
    for size in dict.fromkeys((*_asked_shards(entry), *_SHARDS)):
        shards = [slice(i, i + size) for i in range(0, len(labels), size)]
        hashes = (
            pixels_sha256(images_of(ready.dataset, "test", indices[at]), labels[at])
            for at in shards
        )
        if hashlib.sha256(",".join(hashes).encode()).hexdigest() == entry.dataset.pixels_sha256:
            return True
    return False


def _asked_shards(entry: Entry) -> list[int]:
    """The shard size of the entry's protocol, where that is here."""
    try:
        return [load_protocol(read_command(entry.command)[0].get("protocol", "")).shard_size]
    except BenchError:
        return []
