"""Baselines: what RobustBench publishes of its zoo's classifiers, as a data file; theirs, not measured here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from benchmark.engine.threat import Threat
from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.cells import pipe
from benchmark.publishing.leaderboard.data_file import csv_text, header_of
from benchmark.publishing.leaderboard.escaping import plain
from benchmark.records.entry import Entry

FILE = "robustbench.csv"
NORMS = {"Linf": "linf", "L2": "l2"}
"""RobustBench's folders of models under an lp threat."""
HEADERS = (
    "classifier",
    "clean",
    "AutoAttack",
    "best known",
    "architecture",
    "venue",
    "reported in",
)


@dataclass(frozen=True, slots=True)
class Baseline:
    """One row of RobustBench, as its model information has it.

    Args:
        dataset: `cifar10`, `cifar100` or `imagenet`.
        threat: Such as `linf:8/255`.
        model: RobustBench's name, which `--model` takes.
        clean: Clean accuracy in %, as written.
        autoattack: Accuracy under AutoAttack in %, as written.
        external: Under the strongest evaluation known to RobustBench, in %; empty where that is AutoAttack.
        unreliable: `yes` where RobustBench marks AutoAttack's number as unreliable.
        architecture: In RobustBench's words.
        venue: Of the paper.
        title: Of the paper.
        link: To the paper.
    """

    dataset: str
    threat: str
    model: str
    clean: str
    autoattack: str
    external: str
    unreliable: str
    architecture: str
    venue: str
    title: str
    link: str


def gather_baselines(model_info: Path) -> list[Baseline]:
    """The baselines in the folder `model_info` of a checkout of RobustBench, sorted; corruptions are left out.

    Raises:
        BenchError: There is none, or a file is not of the form that is known.
    """
    paths = sorted(path for norm in NORMS for path in model_info.glob(f"*/{norm}/*.json"))
    if not paths:
        raise BenchError(
            f"expected RobustBench's model_info folder at {model_info}, with files such as "
            f"cifar10/Linf/Standard.json; found none"
        )
    return sorted((_gathered(path) for path in paths), key=astuple)


def baselines_text(baselines: Iterable[Baseline]) -> str:
    """The data file: CSV with the fields of `Baseline` as its header."""
    return csv_text([header_of(Baseline), *map(astuple, baselines)])


def baselines_of(entries: Sequence[Entry], baselines: Iterable[Baseline]) -> list[Baseline]:
    """Those of the classifiers of some entries, on the same dataset under the same threat."""
    wanted = {(e.dataset.name, e.threat.text, e.classifier.name) for e in entries}
    return [each for each in baselines if (each.dataset, each.threat, each.model) in wanted]


def to_markdown(baselines: Sequence[Baseline]) -> str:
    """A section of a page that shows them; empty where there are none."""
    if not baselines:
        return ""
    rows = [
        [
            each.model,
            each.clean,
            f"{each.autoattack}{'‡' if each.unreliable else ''}",
            each.external or each.autoattack,
            each.architecture,
            each.venue,
            f"{each.title} ({each.link})",
        ]
        for each in baselines
    ]
    doubt = " ‡ RobustBench marks this number as unreliable."
    note = doubt if any(each.unreliable for each in baselines) else ""
    return "\n\n".join(
        [
            "## For reference: RobustBench's own numbers",
            "Of the undefended classifiers, in %, as RobustBench publishes them; not measured here, and on all "
            f"10,000 test images (ImageNet: 5,000).{note}",
            pipe(rows, HEADERS),
        ]
    )


def _gathered(path: Path) -> Baseline:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        norm = NORMS[path.parent.name]
        return Baseline(
            dataset=path.parents[1].name,  # the file of cifar100's Hendrycks2019Using says cifar10
            threat=str(Threat.parse(f"{norm}:{said['eps']}")),
            model=path.stem,
            clean=str(said["clean_acc"]),
            autoattack=str(said["autoattack_acc"]),
            external=str(said.get("external") or ""),
            unreliable="yes" if said.get("unreliable") else "",
            architecture=plain(str(said["architecture"])),
            venue=plain(str(said["venue"]).replace("<br>", " ")),
            title=plain(str(said["name"])),
            link=plain(str(said["link"])),
        )
    except (OSError, ValueError, KeyError, TypeError, BenchError) as error:
        raise BenchError(
            f"{path}: not a model's information as RobustBench 1.1.1 has it ({error!r})"
        ) from error
