"""Jobs: one attack on one victim, as a frozen value whose key covers everything that decides its result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.engine.criterion import Criterion
from benchmark.errors import BenchError
from benchmark.records.task import Task

KEY_VERSION = 3
"""Raised whenever the meaning of a key changes without any of its fields changing."""

MIXED = "mixed"
"""In which bfloat16 searches and float32 judges (`benchmark.engine.attacking.mixed_precision`)."""

RUNTIME_FIELDS = frozenset({"row"})
"""Fields that decide nothing about the result; all others are in the key."""


@dataclass(frozen=True, slots=True)
class PluginId:
    """A plugin as a key sees it.

    Args:
        path: `module:Class`.
        label: The name it is published under.
        arguments: Its constructor's arguments, canonical JSON.
        source: sha256 of its modules and of all that they import of its own package or folder, hex.
        weights: sha256 of its weights file, or of the images that an attacker has of his own, hex; empty where
            there are none.
        harness: sha256 of the harness's modules that those import, hex.
        content: sha256 of the packages it rests on, of files it opened or its arguments name, and of what it
            holds, hex.
    """

    path: str
    label: str
    arguments: str
    source: str
    weights: str = ""
    harness: str = ""
    content: str = ""


@dataclass(frozen=True, slots=True)
class ClassifierId:
    """A classifier as a key sees it.

    Args:
        name: What an entry calls it.
        sha256: Of its weights, hex.
        code: sha256 of the user's own modules behind it, hex; empty where there are none.
        source: sha256 of all else of its own that decides its logits, hex.
        harness: sha256 of the harness's modules that these import, hex.
    """

    name: str
    sha256: str
    code: str = ""
    source: str = ""
    harness: str = ""


@dataclass(frozen=True, kw_only=True)  # no slots: the key is kept in the instance's dict
class Job:
    """One attack on one victim; a shard of it is some of its images.

    Args:
        row: The id of the protocol's row; for people only.
        task: The images, the threat and the arithmetic.
        defenses: The purifiers in the order in which an image passes them; none for a bare classifier.
        classifier: The frozen classifier.
        attack: The attack.
        gradient: `exact`, `bpda` or `recovered`.
        eot: Draws a gradient is averaged over.
        is_source: Whether its images are made for other jobs: full length, every image, all kept.
        criterion: How often the victim is asked.
        fixed_batch: The batch size where a plugin is not per-image, and so the result hangs on it; else 0.
        is_uncut: Whether no batch may be cut, since the victim's answers hang on it.
        knows_draw: Whether a random victim is attacked, and judged, at one draw an image
            (`benchmark.engine.victims.victim.KnownDraw`).
        needs: Keys of the jobs whose images it takes.
        is_last: Whether it goes on from these, on images that none of them beats.
        engine: sha256 of the harness's own source that decides any result, hex.
        victim: sha256 of how purifiers and classifier are put together, and of the source that does it, hex;
            empty for a bare classifier.
        composition: How the purifiers, by their number, and the classifiers of an ensemble are put together;
            empty for a chain.
        key_version: `KEY_VERSION`.
    """

    row: str
    task: Task
    defenses: tuple[PluginId, ...]
    classifier: ClassifierId
    attack: PluginId
    gradient: str
    eot: int
    is_source: bool
    criterion: Criterion
    fixed_batch: int = 0
    is_uncut: bool = False
    knows_draw: bool = False
    needs: tuple[str, ...] = ()
    is_last: bool = False
    engine: str
    victim: str = ""
    composition: str = ""
    key_version: int = KEY_VERSION

    @cached_property
    def key(self) -> str:
        """sha256 of all that decides the result, hex; computed once."""
        identity = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in RUNTIME_FIELDS
        }
        return hashlib.sha256(canonical(identity).encode()).hexdigest()


def canonical(value: object) -> str:
    """A value as JSON in which equal values are equal text.

    Raises:
        BenchError: It holds something that JSON cannot say.
    """

    def plain(item: object) -> Any:
        if hasattr(item, "__dataclass_fields__"):
            return asdict(item)  # type: ignore[call-overload]
        if isinstance(item, Path):
            return str(item)
        raise BenchError(
            f"an argument of type {type(item).__name__} cannot enter a job's key; plugins take numbers, "
            f"strings, booleans, lists and None (got {item!r})"
        )

    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"), default=plain)
