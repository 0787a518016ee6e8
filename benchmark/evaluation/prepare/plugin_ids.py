"""Plugins, victims and the harness as a job's key sees them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from benchmark.engine.attacking.attack import Attack
from benchmark.identity.closure import closure_of
from benchmark.identity.identity import Identity, Known, identity_of, sha256_of_words
from benchmark.identity.opened_files import Opened, watched
from benchmark.identity.values import Walk
from benchmark.plugins import ATTACKS
from benchmark.records.job import PluginId, canonical
from benchmark.registry import path_of

_ROOTS = (
    "benchmark.evaluation.execute.shard",
    "benchmark.compute.determinism",
    "benchmark.compute.sandbox",
    "benchmark.evaluation.prepare.loading",
    "benchmark.evaluation.prepare.given_networks",
)
"""What computes a shard, sets up how, and loads what it is given; engine and verdict follow from it."""


def harness_sha256() -> str:
    """sha256 of the harness's own source from which any shard can reach a number, hex."""
    return closure_of(_ROOTS).sha256()


def plugin_of(
    instance: Any,
    *,
    label: str,
    weights: str = "",
    parts: Sequence[type] = (),
    identity: Identity | None = None,
) -> PluginId:
    """A defense or an attack as a key sees it.

    Args:
        instance: It has `arguments()`.
        label: The name it is published under.
        weights: sha256 of its weights file, hex.
        parts: The plugins that it runs itself; their source decides its results too.
        identity: What decides its results, as it was before it was prepared; None to find it now.

    Raises:
        BenchError: Its arguments cannot enter a key.
    """
    kind, arguments = type(instance), instance.arguments()
    with watched_for(kind, arguments) as opened:  # while it was made and prepared
        files = opened.hashes()
    if identity is None:
        known = Known(modules=[part.__module__ for part in parts], arguments=arguments.values())
        identity = identity_of(instance, what=path_of(kind), known=known)
    return PluginId(
        path_of(kind),
        label,
        canonical(described(arguments)),
        identity.source,
        weights,
        harness=identity.harness,
        content=sha256_of_words(identity.content, *files),
    )


def attack_id(attack: Attack, *, weights: str = "") -> PluginId:
    """An attack as a key sees it, with those that it runs itself; `weights` is the sha256 of its own images."""
    parts = [ATTACKS.get(name) for name in attack.parts]
    return plugin_of(attack, label=attack.name, weights=weights, parts=parts)


def watched_for(
    kind: type, arguments: Mapping[str, object], *, weights: Path | None = None
) -> AbstractContextManager[Opened]:
    """Keeps account of the files that are read in here but its weights, for a plugin with those arguments."""
    held = () if weights is None else (weights,)
    return watched(f"{path_of(kind)} {canonical(described(arguments))}", held=held)


def described(arguments: Mapping[str, object]) -> dict[str, object]:
    """Arguments as JSON can say them: objects by their type and sha256.

    Raises:
        BenchError: One of them cannot be told from another that gives other numbers.
    """
    return {name: _described(name, value) for name, value in arguments.items()}


def _described(name: str, value: object) -> object:
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        sha256 = Walk(f"argument {name!r}", is_given=True, said="described").sha256(value)
        return {"type": path_of(type(value)), "sha256": sha256}
