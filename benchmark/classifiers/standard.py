"""The naturally trained CIFAR-10 ResNet-18 that is installed with pyautoattack."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from torch import nn

from benchmark.classifiers.base import ClassifierSource
from benchmark.errors import BenchError


class StandardR18(ClassifierSource):
    """A ResNet-18 for CIFAR-10, undefended (93.7 % of the first 1,000 test images); real, and offline.

    Architecture and weights are those of pyautoattack's example, which takes [0, 1] images as they are.
    """

    name = "standard-r18"
    dataset = "cifar10"
    classes = 10

    def network(self) -> nn.Module:
        """The class `ResNet18` of the example's `resnet.py`, the only file that is executed."""
        path = _examples() / "resnet.py"
        spec = importlib.util.spec_from_file_location("_pyautoattack_example_resnet", path)
        if spec is None or spec.loader is None or not path.is_file():
            raise BenchError(f"{str(path)!r} is missing; install pyautoattack==0.2.0 again")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        network: nn.Module = module.ResNet18()
        return network

    def weights(self, folder: Path) -> Path:
        """The example's `model_test.pt`."""
        del folder
        return _examples() / "model_test.pt"


def _examples() -> Path:
    spec = importlib.util.find_spec("pyautoattack")
    if spec is None or not spec.submodule_search_locations:
        raise BenchError("standard-r18 comes with pyautoattack; install pyautoattack==0.2.0")
    return Path(next(iter(spec.submodule_search_locations))) / "examples"
