"""Classifiers of the RobustBench zoo (Croce et al., NeurIPS 2021 Datasets and Benchmarks)."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.classifier import Classifier
from benchmark.classifiers.state import load_checkpoint, load_state
from benchmark.classifiers.zoo_names import CLASSES, ZooModel
from benchmark.classifiers.zoo_robustbench import (
    built,
    loaded,
    refuse_missing,
    robustbench_module,
)
from benchmark.downloads import fetch_url
from benchmark.errors import BenchError
from benchmark.weights import refuse_foreign, sha256_of

_SAME_NETWORK = {"Standard_R50": ("Salman2020Do_R50", "Linf")}
"""Rows whose constructor downloads weights, with a row of the same architecture whose does not."""


def load_zoo(
    model: ZooModel, *, folder: Path, device: torch.device | str, dtype: torch.dtype
) -> Classifier:
    """A model of the zoo, frozen; its checkpoints are downloaded where they are absent.

    Raises:
        BenchError: A checkpoint cannot be downloaded, is damaged, would run code, or does not fit.
    """
    files = model.files(folder)
    if model.url and not files[0].is_file():
        what = f"the checkpoint of {model.name!r}"
        fetch_url(model.url, files[0], what=what, accept=_accept)
    for file, drive_id in zip(files, model.drive_ids, strict=False):
        if not file.is_file():
            _download(file, drive_id, model)
    for file in files:
        refuse_foreign(file)  # before much work is done for another
    network = zoo_network_of(model, files)
    hashes = [sha256_of(file) for file in files]
    sha256 = hashes[0] if len(hashes) == 1 else _digest("".join(hashes))
    classifier = Classifier(network, name=model.name, classes=CLASSES[model.dataset], sha256=sha256)
    return classifier.to(device=device, dtype=dtype)


def zoo_network(model: ZooModel) -> nn.Module:
    """The architecture of a model, with fresh weights from torch's global generator; it downloads nothing."""
    if model.timm:
        return _registered(model, {})
    zoo = robustbench_module("robustbench.model_zoo")
    enums = robustbench_module("robustbench.model_zoo.enums")
    tables = zoo.model_dicts[enums.BenchmarkDataset(model.dataset)]
    name, norm = _SAME_NETWORK.get(model.model, (model.model, model.norm))
    return built(tables[enums.ThreatModel(norm)][name]["model"])


def zoo_network_of(model: ZooModel, files: list[Path]) -> nn.Module:
    """The network of a model, in eval mode, with the weights of its checkpoints.

    Raises:
        BenchError: A checkpoint is damaged, would run code, or does not fit.
    """
    try:
        with torch.random.fork_rng(devices=[]):  # first weights, made only to be replaced
            if model.timm:
                return _registered(model, load_state(files[0])).eval()
            if model.is_torchvision:
                return _of_torchvision(model, load_state(files[0])).eval()
            return loaded(
                model.model,
                dataset=model.dataset,
                norm=model.norm,
                checkpoints=[partial(_checkpoint, file) for file in files],
            )
    except (BenchError, RuntimeError, KeyError, AttributeError, TypeError) as error:
        if isinstance(error, BenchError) and any(repr(str(file)) in str(error) for file in files):
            raise  # it could not even be read
        reason = _reason(error)
        which = " and ".join(repr(str(file)) for file in files)
        raise BenchError(
            f"the checkpoint {which} is not that of {model.name!r} ({reason}); delete it, and "
            f"it will be downloaded again"
        ) from error


def _reason(error: Exception) -> str:
    """What went wrong on one line; torch names the first keys that do not fit on its second."""
    first, *rest = str(error).strip().split("\n")
    return rest[0].strip()[:200] if first.endswith(":") and rest else first


def _registered(model: ZooModel, state: Mapping[str, Tensor]) -> nn.Module:
    """A model that RobustBench registers with timm, which loads a state into it where one is given."""
    robustbench_module("robustbench.model_zoo")  # its import registers the model
    timm = robustbench_module("timm")
    plain = {name.removeprefix("module."): value for name, value in state.items()}
    given: dict[str, Any] = {"pretrained_cfg_overlay": {"state_dict": plain}} if plain else {}
    return built(
        lambda: timm.create_model(
            model.timm, num_classes=CLASSES[model.dataset], pretrained=bool(plain), **given
        )
    )


def _of_torchvision(model: ZooModel, state: Mapping[str, Tensor]) -> nn.Module:
    """A normalised torchvision network with torchvision's own weights."""
    network = zoo_network(model)
    prefixed = {f"model.{name}": value for name, value in state.items()}
    refuse_missing(network, prefixed)
    network.load_state_dict({**network.state_dict(), **prefixed})
    return network


def _checkpoint(file: Path) -> Any:
    is_pickle = refuse_foreign(file).startswith((b"\x80", b"PK"))
    return load_checkpoint(file) if is_pickle else load_state(file)


def _accept(file: Path) -> None:
    refuse_foreign(file)
    load_checkpoint(file)


def _download(file: Path, drive_id: str, model: ZooModel) -> None:
    """Fetches a checkpoint; what arrives takes its place only when it can be read as weights."""
    utils = robustbench_module("robustbench.utils")
    temporary = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            utils.download_gdrive_new(drive_id, str(temporary))
        refuse_foreign(temporary)
        load_checkpoint(temporary)
        temporary.replace(file)
    except (BenchError, OSError, RuntimeError, ValueError, _retrieval_error()) as error:
        reason = str(error).strip().split("\n")[0].rstrip(":")
        if isinstance(error, OSError) or not reason:  # requests tells the whole chain of its causes
            reason = type(error).__name__
        raise BenchError(
            f"the checkpoint of {model.name!r} could not be downloaded ({reason}); get {file.name} by hand "
            f"(Google Drive id {drive_id}) and put it into {str(file.parent)!r}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _retrieval_error() -> type[Exception]:
    """What gdown, which robustbench installs, raises where Google Drive refuses."""
    found: type[Exception] = importlib.import_module("gdown.exceptions").FileURLRetrievalError
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
