"""Classifiers of the RobustBench zoo (Croce et al., NeurIPS 2021 Datasets and Benchmarks)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.classifiers.state import load_checkpoint, load_state, states_in
from benchmark.classifiers.zoo_names import CLASSES, ZooModel
from benchmark.classifiers.zoo_robustbench import (
    built,
    loaded,
    refuse_missing,
    robustbench_module,
)
from benchmark.engine.victims.classifier import Classifier
from benchmark.errors import BenchError
from benchmark.files.downloads import Origin, fetch
from benchmark.files.google_drive import drive_origin
from benchmark.files.known_hashes import file_sha256, hold_to_record, record, recorded_sha256
from benchmark.files.weights import is_pickle, refuse_foreign

_SAME_NETWORK = {"Standard_R50": ("Salman2020Do_R50", "Linf")}
"""Rows whose constructor downloads weights, with a row of the same architecture whose does not."""
_KEYS = ("state_dict", "model_state_dict", "model", "net", "")


def load_zoo(
    model: ZooModel, *, folder: Path, device: torch.device | str, dtype: torch.dtype
) -> Classifier:
    """A model of the zoo, frozen; its checkpoints are downloaded where they are absent.

    Raises:
        BenchError: A checkpoint cannot be downloaded, is damaged, would run code, or does not fit.
    """
    files = model.files(folder)
    origins: Iterable[str | Origin] = (
        [model.url] if model.url else map(drive_origin, model.drive_ids)
    )
    for file, origin in zip(files, origins, strict=False):
        if not file.is_file():  # one that was here before, and has a record, must be the same again
            what, known = f"the checkpoint of {model.name!r}", recorded_sha256(file)
            fetch(origin, file, what=what, sha256=known, accept=_checkpoint)
    hashes = []
    for file in files:
        refuse_foreign(file)  # before much work is done for another
        hashes.append(file_sha256(file))
        hold_to_record(file, hashes[-1])
    network = zoo_network_of(model, files)
    for file, found in zip(files, hashes, strict=True):
        record(file, found)
    joined = "".join(hashes)
    sha256 = joined if len(hashes) == 1 else hashlib.sha256(joined.encode()).hexdigest()
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
                return _registered(model, _state_of(files[0])).eval()
            if model.url:
                return _of_torchvision(model, _state_of(files[0])).eval()
            return loaded(model, [partial(_checkpoint, file) for file in files])
    except (BenchError, RuntimeError, KeyError, AttributeError, TypeError) as error:
        if isinstance(error, BenchError) and any(repr(str(file)) in str(error) for file in files):
            raise  # it could not even be read
        first, *rest = str(error).strip().split("\n")
        # torch names the first keys that do not fit on its second line
        reason = rest[0].strip()[:200] if first.endswith(":") and rest else first
        which = " and ".join(repr(str(file)) for file in files)
        raise BenchError(
            f"the checkpoint {which} is not that of {model.name!r} ({reason}); delete it, and "
            f"it will be downloaded again"
        ) from error


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
    network = zoo_network(model)
    prefixed = {f"model.{name}": value for name, value in state.items()}
    refuse_missing(network, prefixed)
    network.load_state_dict({**network.state_dict(), **prefixed})
    return network


def _state_of(file: Path) -> Mapping[str, Tensor]:
    """The state in a checkpoint of RobustBench's, whose files keep it under one of these names or none."""
    states = states_in(load_state(file))
    found = next((states[key] for key in _KEYS if key in states), None)
    if found is None:
        raise BenchError(f"it holds no state under any of {', '.join(filter(None, _KEYS))}")
    return found


def _checkpoint(file: Path) -> Any:
    return load_checkpoint(file) if is_pickle(refuse_foreign(file)) else load_state(file)
