"""Classifiers of the RobustBench zoo (Croce et al., NeurIPS 2021 Datasets and Benchmarks)."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from benchmark.classifier import Classifier
from benchmark.classifiers.state import load_checkpoint
from benchmark.classifiers.zoo_names import CLASSES, ZooModel
from benchmark.drive import fetch_drive
from benchmark.errors import BenchError
from benchmark.recorded import hold_to_record, record, recorded_sha256
from benchmark.weights import refuse_foreign, sha256_of

_EXPECTED = (
    "pkg_resources is deprecated",
    "Deprecated call to `pkg_resources",
    "Importing from timm",
    "`torch.jit",
)
"""Beginnings of the warnings that importing robustbench 1.1.1 gives, none of which its user can mend."""


def load_zoo(
    model: ZooModel, *, folder: Path, device: torch.device | str, dtype: torch.dtype
) -> Classifier:
    """A model of the zoo, frozen; its checkpoints are downloaded where they are absent.

    Raises:
        BenchError: A checkpoint cannot be downloaded, is damaged, would run code, or does not fit.
    """
    files = model.files(folder)
    hashes = []
    for file, drive_id in zip(files, model.drive_ids, strict=True):
        if not file.is_file():
            _download(file, drive_id, model)
        refuse_foreign(file)
        hashes.append(sha256_of(file))
        hold_to_record(file, hashes[-1])
        load_checkpoint(file)  # as data alone, whatever robustbench does afterwards
    utils = robustbench_module("robustbench.utils")
    try:
        with torch.random.fork_rng(devices=[]):  # first weights, made only to be replaced
            network: nn.Module = utils.load_model(
                model_name=model.model,
                model_dir=folder / "models",
                dataset=model.dataset,
                threat_model=model.norm,
                custom_checkpoint=str(files[0]),
            )
    except (RuntimeError, KeyError, AttributeError, TypeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise BenchError(
            f"the checkpoint {str(files[0])!r} is not that of {model.name!r} ({reason}); delete it, and "
            f"it will be downloaded again"
        ) from error
    for file, found in zip(files, hashes, strict=True):
        record(file, found)
    sha256 = hashes[0] if len(hashes) == 1 else _digest("".join(hashes))
    classifier = Classifier(network, name=model.name, classes=CLASSES[model.dataset], sha256=sha256)
    return classifier.to(device=device, dtype=dtype)


def zoo_network(model: ZooModel) -> nn.Module:
    """The architecture of a model, with fresh weights from torch's global generator."""
    zoo = robustbench_module("robustbench.model_zoo")
    enums = robustbench_module("robustbench.model_zoo.enums")
    tables = zoo.model_dicts[enums.BenchmarkDataset(model.dataset)]
    network: nn.Module = tables[enums.ThreatModel(model.norm)][model.model]["model"]()
    return network


def robustbench_module(name: str) -> ModuleType:
    """A module of robustbench, imported quietly.

    It asks for `autoattack`, while what it depends on is called `pyautoattack`: the same code. The alias holds
    during the import alone, and gives way to a real `autoattack`.

    Raises:
        BenchError: It cannot be imported.
    """
    with warnings.catch_warnings(), _autoattack_alias():
        for beginning in _EXPECTED:
            warnings.filterwarnings("ignore", message=beginning)
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise BenchError(
                f"robustbench cannot be imported ({error}); install robustbench==1.1.1 with setuptools<81"
            ) from error


@contextlib.contextmanager
def _autoattack_alias() -> Iterator[None]:
    if "autoattack" in sys.modules or importlib.util.find_spec("autoattack") is not None:
        yield
        return
    sys.modules["autoattack"] = importlib.import_module("pyautoattack")
    try:
        yield
    finally:
        for name in [n for n in sys.modules if n.partition(".")[0] == "autoattack"]:
            del sys.modules[name]


def _download(file: Path, drive_id: str, model: ZooModel) -> None:
    """Fetches a checkpoint; what arrives takes its place only when it can be read as weights.

    One that was here before, and has a record, must be the same again.
    """
    fetch_drive(
        drive_id,
        file,
        what=f"the checkpoint of {model.name!r}",
        sha256=recorded_sha256(file),
        accept=_refuse_unreadable,
    )


def _refuse_unreadable(file: Path) -> None:
    load_checkpoint(file)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
