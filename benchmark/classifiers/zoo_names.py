"""The names in the RobustBench zoo, read out of its source without importing it (and so without torch)."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from benchmark.errors import BenchError

CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
"""The zoo's datasets with their numbers of classes."""

ALIASES = {("cifar10", "Gowal2021"): "Gowal2021Improving_28_10_ddpm_100m"}
"""Short names that stand for one of several models: the row with which the AToP paper compares."""

_NORMS = {"linf": "Linf", "l2": "L2", "common_corruptions": "corruptions"}
"""RobustBench's threat models by the name of their table in its source, the first preferred."""


@dataclass(frozen=True, slots=True)
class ZooModel:
    """One model of the zoo.

    Args:
        model: RobustBench's name.
        dataset: `cifar10`, `cifar100` or `imagenet`.
        norm: RobustBench's threat model: `Linf`, `L2` or `corruptions`.
        drive_ids: Google Drive's ids of its checkpoints, several for an ensemble; empty where it has none.
    """

    model: str
    dataset: str
    norm: str
    drive_ids: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name that finds it again: RobustBench's, with `@L2` or `@corruptions` where not Linf."""
        return self.model if self.norm == "Linf" else f"{self.model}@{self.norm}"

    def files(self, folder: Path) -> list[Path]:
        """Where its checkpoints lie under a data folder: RobustBench's own layout under `models`."""
        place = folder / "models" / self.dataset / self.norm
        if len(self.drive_ids) == 1 and not self.is_ensemble:
            return [place / f"{self.model}.pt"]
        return [place / f"{self.model}.pt_m{i}.pt" for i in range(len(self.drive_ids))]

    @property
    def is_ensemble(self) -> bool:
        """Whether it has several checkpoints."""
        return len(self.drive_ids) > 1


def zoo_models(dataset: str) -> list[ZooModel]:
    """The models for a dataset that have a checkpoint, Linf first; empty for a dataset unknown to the zoo."""
    return [model for model in _all_models(dataset) if model.drive_ids]


def resolve(name: str, dataset: str) -> ZooModel | None:
    """The model that a name stands for: exact, else an alias, else a unique prefix; `NAME@L2` picks the norm.

    Without `@`, an exact name found under several norms is the Linf one. None where nothing has that name.

    Raises:
        BenchError: Several models begin with that name, or it has no checkpoint.
    """
    wanted, _, norm = name.partition("@")
    models = [m for m in _all_models(dataset) if not norm or m.norm.lower() == norm.lower()]
    wanted = ALIASES.get((dataset, wanted), wanted)
    exact = [m for m in models if m.model == wanted]
    found = exact or [m for m in models if wanted and m.model.startswith(wanted)]
    names = sorted({m.model for m in found})
    if not names:
        return None
    if len(names) > 1:
        raise BenchError(
            f"{name!r} is the beginning of several RobustBench models for {dataset}: "
            f"{', '.join(names)}; give one of them in full"
        )
    if not found[0].drive_ids:
        raise BenchError(
            f"RobustBench lists {names[0]!r} for {dataset} without a checkpoint of its own; take "
            f"another model, or load your copy as file:PATH@module:callable"
        )
    return found[0]


@lru_cache(maxsize=8)
def _all_models(dataset: str) -> tuple[ZooModel, ...]:
    """Every entry of RobustBench's tables for a dataset, in their order."""
    spec = find_spec("robustbench")
    if dataset not in CLASSES or spec is None or not spec.submodule_search_locations:
        return ()
    source = Path(next(iter(spec.submodule_search_locations))) / "model_zoo" / f"{dataset}.py"
    if not source.is_file():
        return ()
    tables: dict[str, list[ZooModel]] = {}
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=table)], value=ast.Call(args=[ast.List(elts=rows)])
            ) if table in _NORMS:
                tables[table] = [m for row in rows for m in _model(row, dataset, _NORMS[table])]
    return tuple(model for table in _NORMS for model in tables.get(table, []))


def _model(row: ast.expr, dataset: str, norm: str) -> list[ZooModel]:
    """The model of a row `("name", {"gdrive_id": ...})`; none where a row looks otherwise."""
    match row:
        case ast.Tuple(elts=[ast.Constant(value=str(name)), ast.Dict(keys=keys, values=values)]):
            pass
        case _:
            return []
    ids: tuple[str, ...] = ()
    for key, value in zip(keys, values, strict=True):
        if isinstance(key, ast.Constant) and key.value == "gdrive_id":
            found = ast.literal_eval(value)
            listed = found if isinstance(found, list) else [found]
            ids = tuple(str(drive_id) for drive_id in listed if drive_id)
    return [ZooModel(name, dataset, norm, ids)]
