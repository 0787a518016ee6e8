"""Jobs: one attack on one victim, as a frozen value whose key covers everything that decides its result."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import cloudpickle

from benchmark.criterion import Criterion
from benchmark.errors import BenchError
from benchmark.threat import Threat

KEY_VERSION = 1
"""Raised whenever the meaning of a key changes without any of its fields changing."""

MIXED = "mixed"
"""The precision in which bfloat16 searches and float32 judges (`benchmark.mixed`)."""

RUNTIME_FIELDS = frozenset({"row"})
"""Fields that decide nothing about the result."""
IDENTITY_FIELDS = frozenset(
    {
        "defenses",
        "composition",
        "classifier",
        "dataset",
        "split",
        "order",
        "only_classes",
        "preparation",
        "threat",
        "attack",
        "gradient",
        "eot",
        "is_source",
        "criterion",
        "precision",
        "seed",
        "fixed_batch",
        "needs",
        "engine",
        "key_version",
    }
)
_SHELVES = frozenset({"attacks", "defenses", "__main__"})
_ENGINE = (
    "attack",
    "changes",
    "classifier",
    "criterion",
    "dataset",
    "defense",
    "foreign",
    "goals",
    "isolation",
    "logits",
    "losses",
    "memory",
    "mixed",
    "pieces",
    "purified",
    "queries",
    "randomness",
    "search",
    "seeds",
    "shard",
    "smallest",
    "taps",
    "target",
    "threat",
    "verdict",
    "victim",
)


@lru_cache(maxsize=1)
def engine_sha256() -> str:
    """sha256 of the harness's own files that decide a result, hex."""
    folder = Path(__file__).parent
    return _sha256_of_files([folder / f"{name}.py" for name in _ENGINE])


def _sha256_of_files(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin as a key sees it.

    Args:
        path: `module:Class`.
        label: The name it is published under.
        arguments: Its constructor's arguments, canonical JSON.
        source: sha256 of its source, hex.
        weights: sha256 of its weights file, or of the images that an attacker has of his own, hex; empty where
            there are none.
    """

    path: str
    label: str
    arguments: str
    source: str
    weights: str = ""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A classifier as a key sees it: its name, the sha256 of its weights, that of the user's code behind it."""

    name: str
    sha256: str
    code: str = ""


@dataclass(frozen=True, kw_only=True)  # no slots: the key is kept in the instance's dict
class Job:
    """One attack on one victim; a shard of it is some of its images.

    Args:
        row: The id of the protocol's row; for people only.
        defenses: The purifiers in the order in which an image passes them; none for a bare classifier.
        classifier: The frozen classifier.
        dataset: Its name; the pixels' own hash stands in each shard.
        split: `train` or `test`.
        threat: The budget.
        attack: The attack.
        gradient: `exact` or `bpda`.
        eot: Draws a gradient is averaged over.
        is_source: Whether its images are made for other jobs: full length, every image, all kept.
        criterion: How often the victim is asked.
        precision: `float32`, `float64`, or `mixed`: searched in bfloat16, then in float32.
        seed: The run's seed.
        fixed_batch: The batch size where a plugin is not per-image, and so the result hangs on it; else 0.
        needs: Keys of the jobs whose images it takes.
        engine: sha256 of the harness's own files that decide a result, hex.
        order: Of which order of the dataset a shard's positions are: `nested` or `robustbench`.
        preparation: How the dataset's files became images; empty where there is but one way.
        only_classes: The classes whose images that order was cut down to; none for all.
        composition: How the purifiers, by their number, and the classifiers of an ensemble are put together;
            empty for a chain.
        key_version: `KEY_VERSION`.
    """

    row: str
    defenses: tuple[Plugin, ...]
    classifier: Frozen
    dataset: str
    split: str
    threat: Threat
    attack: Plugin
    gradient: str
    eot: int
    is_source: bool
    criterion: Criterion
    precision: str
    seed: int
    fixed_batch: int = 0
    needs: tuple[str, ...] = ()
    engine: str = field(default_factory=engine_sha256)
    order: str = "nested"
    preparation: str = ""
    only_classes: tuple[int, ...] = ()
    composition: str = ""
    key_version: int = KEY_VERSION

    @cached_property
    def key(self) -> str:
        """sha256 of all that decides the result, hex; computed once."""
        identity = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name in IDENTITY_FIELDS
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


def plugin_of(
    instance: Any, *, label: str, weights: str = "", parts: Sequence[type] = ()
) -> Plugin:
    """A defense or an attack as a key sees it.

    Args:
        instance: It has `arguments()`.
        label: The name it is published under.
        weights: sha256 of its weights file, hex.
        parts: The plugins that it runs itself; their source decides its results too.

    Raises:
        BenchError: Its arguments cannot enter a key.
    """
    kind = type(instance)
    path = f"{kind.__module__}:{kind.__qualname__}"
    source = source_sha256(kind)
    for part in parts:
        source = hashlib.sha256(f"{source}{source_sha256(part)}".encode()).hexdigest()
    return Plugin(path, label, canonical(instance.arguments()), source, weights)


def source_sha256(kind: type) -> str:
    """sha256 of the source that a plugin's class consists of, hex.

    That is its own file where it lies on one of this project's shelves or in no package, all files of its
    folder where it has a folder of its own on a shelf, and all of its top package where it is someone else's.
    """
    try:
        file = Path(inspect.getsourcefile(kind) or "")
    except TypeError:
        file = Path()
    if not file.is_file():
        return hashlib.sha256(cloudpickle.dumps(kind)).hexdigest()
    module = inspect.getmodule(kind)
    package = [name for name in ((module and module.__package__) or "").split(".") if name]
    if not package or package[-1] in _SHELVES:
        return _sha256_of_files([file])
    levels = len(package) - 1 if package[0] in _SHELVES else len(package)
    return _sha256_of_files(sorted(file.parents[levels - 1].rglob("*.py")))
