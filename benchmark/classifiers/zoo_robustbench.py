"""RobustBench as a library: imported quietly, and made to read checkpoints as data and to miss no weight."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import RLock
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from benchmark.classifiers.zoo_names import ZooModel
from benchmark.errors import BenchError

_EXPECTED = (
    "pkg_resources is deprecated",
    "Deprecated call to `pkg_resources",
    "Importing from timm",
    "`torch.jit",
)
"""Beginnings of the warnings that importing robustbench 1.1.1 gives, none of which its user can mend."""
_CONSTANTS = re.compile(
    r"(^|\.)(mu|sigma|mean|std|num_batches_tracked|momentum|epsilon|flag_update_statistics|batch_num)$"
)
"""Names in a state that an architecture sets itself, so that old checkpoints may lack them."""
_ACTIVATIONS = ("dm_wide_resnet", "Meansparse_wrn_70_16", "Meansparse_wrn_94_16")
"""Files of robustbench with a Swish whose backward pass reads what torch has renamed."""
_lock = RLock()


def robustbench_module(name: str) -> ModuleType:
    """A module of robustbench, imported quietly.

    It asks for `autoattack`, while what it depends on is called `pyautoattack`: the same code. The alias holds
    during the import alone, and gives way to a real `autoattack`.

    Raises:
        BenchError: It cannot be imported.
    """
    with _lock, warnings.catch_warnings(), _autoattack_alias():
        for beginning in _EXPECTED:
            warnings.filterwarnings("ignore", message=beginning)
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise BenchError(
                f"robustbench cannot be imported ({error}); install robustbench==1.1.1 with setuptools<81"
            ) from error


def built(make: Callable[[], nn.Module]) -> nn.Module:
    """A network as one of robustbench's functions makes it, on the CPU, silently, and with or without a GPU.

    Some constructors print, some call `.cuda()` on a constant that they later move to where the images are.
    """
    _mend_architectures()
    with _lock, contextlib.redirect_stdout(io.StringIO()), contextlib.ExitStack() as stack:
        if not torch.cuda.is_available():
            stack.enter_context(patch.multiple(torch.Tensor, cuda=lambda tensor, *_, **__: tensor))
        return make()


def loaded(model: ZooModel, checkpoints: Sequence[Callable[[], Any]]) -> nn.Module:
    """What `robustbench.utils.load_model` makes of checkpoints; prefixes, wrappers, ensembles are its business.

    Each checkpoint is what reads a file, in the order of their numbers.

    Raises:
        BenchError: A checkpoint lacks weights that the architecture has.
        RuntimeError: Keys or shapes do not fit; `KeyError`, `TypeError` and `AttributeError` likewise.
    """
    utils = robustbench_module("robustbench.utils")
    remaining = iter(checkpoints)
    load_state = utils._safe_load_state_dict

    def load_all(network: nn.Module, name: str, state: Mapping[str, Tensor], of: object) -> Any:
        refuse_missing(network, state)
        return load_state(network, name, state, of)

    there = SimpleNamespace(exists=lambda _path: True, isfile=lambda _path: True)
    safe: dict[str, Any] = {
        "os": SimpleNamespace(path=there),  # so that it downloads nothing
        "torch": SimpleNamespace(load=lambda *_, **__: next(remaining)(), device=torch.device),
        "_safe_load_state_dict": load_all,
    }
    with _lock, patch.multiple(utils, **safe):
        return built(
            lambda: utils.load_model(model.model, dataset=model.dataset, threat_model=model.norm)
        )


def refuse_missing(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Refuses a state that would leave first weights in a network.

    robustbench loads some checkpoints leniently, since they lack constants; so a wrong one would go unnoticed.

    Raises:
        BenchError: It lacks more than constants.
    """
    wanted = [name for name in network.state_dict() if not _CONSTANTS.search(name)]
    missing = [name for name in wanted if name not in state]
    if missing:
        raise BenchError(f"it lacks {len(missing)} of {len(wanted)} weights, such as {missing[0]}")


def _mend_architectures() -> None:
    """Gives two architectures of robustbench what a frozen network needs; values and derivatives stay theirs.

    The custom Swish gets a backward pass that does not warn, BoostingWideResNet a forward pass that does not
    write into its own weights (so that the second pass on an image is not another than the first).
    """
    place = "robustbench.model_zoo.architectures"
    for file in _ACTIVATIONS:
        module = robustbench_module(f"{place}.{file}")
        module._Swish.backward = staticmethod(_swish_derivative)
    robustbench_module(f"{place}.boosting_wide_resnet").BoostingWideResNet.forward = _boosted


def _boosted(network: Any, x: Tensor) -> Tensor:
    """Logits of features and class weights of length 1 (Pang et al., NeurIPS 2020)."""
    x = network.conv1((x - network.mu) / network.sigma)
    for block in (network.block1, network.block2, network.block3):
        x = block(x)
    x = functional.avg_pool2d(network.relu(network.bn1(x)), 8).flatten(1)  # (b, channels)
    weight = functional.normalize(network.fc.weight, dim=1)
    logits: Tensor = functional_call(network.fc, {"weight": weight}, (functional.normalize(x),))
    return logits


def _swish_derivative(ctx: Any, gradient: Tensor) -> Tensor:
    (x,) = ctx.saved_tensors
    s = x.sigmoid()
    found: Tensor = gradient * (s * (1 + x * (1 - s)))
    return found


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
