"""The names in the RobustBench zoo, resolved without importing it (and so without torch)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmark.classifiers.zoo_source import registered, rows
from benchmark.errors import BenchError

CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
"""The zoo's datasets with their numbers of classes."""


_ON_CIFAR = {
    "Rebuffi2021": "Rebuffi2021Fixing_28_10_cutmix_ddpm",
    "Rebuffi2021Fixing": "Rebuffi2021Fixing_28_10_cutmix_ddpm",
    "Pang2022": "Pang2022Robustness_WRN28_10",
    "Pang2022Robustness": "Pang2022Robustness_WRN28_10",
    "Cui2023": "Cui2023Decoupled_WRN-28-10",
    "Wang2023": "Wang2023Better_WRN-28-10",
    "Wang2023Better": "Wang2023Better_WRN-28-10",
}
ALIASES = {
    ("cifar10", "Gowal2021"): "Gowal2021Improving_28_10_ddpm_100m",
    ("cifar10", "Gowal2021Improving"): "Gowal2021Improving_28_10_ddpm_100m",
    ("cifar10", "Gowal2020"): "Gowal2020Uncovering_28_10_extra",
    **{("cifar10", short): model for short, model in _ON_CIFAR.items()},
    ("cifar10", "Sehwag2021"): "Sehwag2021Proxy",
    **{("cifar100", short): model for short, model in _ON_CIFAR.items()},
}
"""Short names that stand for one of several models.

Each is the WRN-28-10 of its paper: the architecture of AToP's comparisons (its Tables 2 to 5). Sehwag2021 is
the WRN-34-10, whose RobustBench name says nothing else.
"""

_NORMS = {"linf": "Linf", "l2": "L2", "common_corruptions": "corruptions"}
"""RobustBench's threat models by the name of their table in its source, the first preferred."""
_TORCHVISION = {"Standard_R50": "https://download.pytorch.org/models/resnet50-0676ba61.pth"}
"""Models whose weights are torchvision's own (`IMAGENET1K_V1`), with their URL."""


@dataclass(frozen=True, slots=True)
class ZooModel:
    """One model of the zoo; its checkpoints are on Google Drive, or its one file has a URL.

    Args:
        model: RobustBench's name.
        dataset: `cifar10`, `cifar100` or `imagenet`.
        norm: RobustBench's threat model: `Linf`, `L2` or `corruptions`.
        drive_ids: Google Drive's ids of its checkpoints, several for an ensemble.
        url: Where its file is, for a model of timm or torchvision.
        timm: The name under which RobustBench registers it with timm; empty for all others.
        preparation: What is done to ImageNet images for it, as `Dataset.prepared_for` takes it; empty for the
            dataset's own way.
    """

    model: str
    dataset: str
    norm: str
    drive_ids: tuple[str, ...] = ()
    url: str = ""
    timm: str = ""
    preparation: str = ""

    @property
    def name(self) -> str:
        """The name that finds it again: RobustBench's, with `@L2` or `@corruptions` where not Linf."""
        return self.model if self.norm == "Linf" else f"{self.model}@{self.norm}"

    def files(self, folder: Path) -> list[Path]:
        """Where its checkpoints lie under a data folder: RobustBench's own layout under `models`."""
        place = folder / "models" / self.dataset / self.norm
        if not self.is_ensemble:
            return [place / f"{self.model}.pt"]
        return [place / f"{self.model}.pt_m{i}.pt" for i in range(len(self.drive_ids))]

    @property
    def is_ensemble(self) -> bool:
        """Whether it has several checkpoints."""
        return len(self.drive_ids) > 1

    def note(self, threat: str) -> str:
        """One line for a listing: its threat (else its board), its parts, how images are prepared for it."""
        short = [
            name
            for (dataset, name), model in ALIASES.items()
            if (dataset, model, "Linf") == (self.dataset, self.model, self.norm)
        ]
        parts = [
            f"RobustBench, {threat or self.norm}",
            f"{len(self.drive_ids)} checkpoints" if self.is_ensemble else "",
            "weights by URL" if self.url else "",
            f"images by {self.preparation}" if self.preparation else "",
            f"short: {', '.join(short)}" if short else "",
        ]
        return "; ".join(part for part in parts if part)


def zoo_models(dataset: str) -> list[ZooModel]:
    """The models for a dataset, Linf first; empty for a dataset unknown to the zoo."""
    return list(_all_models(dataset))


def resolve(name: str, dataset: str) -> ZooModel | None:
    """The model that a name stands for: exact, else an alias, else a unique beginning.

    `NAME@L2` picks the norm; without `@`, an exact name found under several norms is the Linf one.
    `@corruptions_3d` is `@corruptions`, whose models it tests on both. None where nothing is called so.

    Raises:
        BenchError: Several models begin with that name, or its files are nowhere to be had.
    """
    wanted, _, norm = name.partition("@")
    norm = norm.lower().removesuffix("_3d")
    models = [m for m in _all_models(dataset) if norm in ("", m.norm.lower())]
    alias = ALIASES.get((dataset, wanted))
    found = (
        [m for m in models if m.model == wanted]
        or [m for m in models if m.model == alias]
        or [m for m in models if wanted and m.model.startswith(wanted)]
    )
    names = sorted({m.model for m in found})
    if not names:
        return None
    if len(names) > 1:
        raise BenchError(
            f"{name!r} is the beginning of several RobustBench models for {dataset}: "
            f"{', '.join(names)}; give one of them in full"
        )
    if not found[0].drive_ids and not found[0].url:
        raise BenchError(
            f"RobustBench lists {names[0]!r} for {dataset} without a checkpoint; take another model, or "
            f"load your copy as file:PATH@{names[0]}"
        )
    return found[0]


def is_norm(text: str) -> bool:
    """Whether `NAME@text` picks one of RobustBench's threat models."""
    return text.lower().removesuffix("_3d") in {norm.lower() for norm in _NORMS.values()}


def has_model(name: str, dataset: str) -> bool:
    """Whether a dataset has a model of exactly that name, or an alias of that name."""
    wanted = name.partition("@")[0]
    return (dataset, wanted) in ALIASES or any(m.model == wanted for m in _all_models(dataset))


@lru_cache(maxsize=8)
def _all_models(dataset: str) -> tuple[ZooModel, ...]:
    if dataset not in CLASSES:
        return ()
    return tuple(_model(dataset, *row) for row in rows(dataset))


def _model(dataset: str, table: str, name: str, said: dict[str, Any]) -> ZooModel:
    norm = _NORMS[table]
    timm = f"{name.lower().replace('-', '_')}_{dataset}_{norm.lower()}"
    if timm in registered():
        url, preparation = registered()[timm]
        # on CIFAR images are taken as they are, whatever timm's configuration says
        preparation = preparation if dataset == "imagenet" else ""
        return ZooModel(name, dataset, norm, url=url, timm=timm, preparation=preparation)
    ids = said.get("gdrive_id")
    drive_ids = tuple(str(i) for i in (ids if isinstance(ids, list) else [ids]) if i)
    url = "" if drive_ids else _TORCHVISION.get(name, "")
    preparation = said.get("preprocessing") or ""
    return ZooModel(name, dataset, norm, drive_ids, url=url, preparation=preparation)
