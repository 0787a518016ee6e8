"""The environment of a process: the code that computes, the packages that it stands on, and the machine."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType

import torch

from benchmark.compute.determinism import hardware
from benchmark.identity.version import full_version

PACKAGES = ("numpy", "torchvision", "robustbench", "pyautoattack")
SWITCHES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "cpu": (
            "ATEN_CPU_CAPABILITY",
            "ONEDNN_MAX_CPU_ISA",
            "DNNL_MAX_CPU_ISA",
            "ONEDNN_DEFAULT_FPMATH_MODE",
            "MKL_CBWR",
            "MKL_ENABLE_INSTRUCTIONS",
        ),
        "cuda": ("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
    }
)
"""Variables by which users choose other kernels; those that are set are part of the environment."""


def environment(device: torch.device) -> dict[str, str]:
    """Versions and hardware of this process, by name, as they stand in each shard that it computes."""
    found = _lasting(device) | {"threads": str(torch.get_num_threads())}
    switches = [
        f"{name}={os.environ[name]}"
        for name in SWITCHES.get(device.type, ())
        if os.environ.get(name)
    ]
    if not torch.backends.mkldnn.enabled:
        switches.append("onednn off")
    return found | ({"kernels": " ".join(switches)} if switches else {})


@cache
def _lasting(device: torch.device) -> dict[str, str]:
    """What stays as it is as long as a process lives."""
    found = {
        "purifybench": full_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{package: _version_of(package) for package in PACKAGES},
        "system": platform.platform(),
        "device": device.type,
        "hardware": hardware(device),
    }
    if device.type == "cuda":
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        return found | {"cuda": str(torch.version.cuda), "cudnn": str(cudnn)}
    onednn = re.search(r"MKL-DNN v([\d.]+)", torch.__config__.show())
    return found | {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "onednn": onednn[1] if onednn else "none",
    }


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
