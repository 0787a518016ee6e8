"""The environment of a run: the code that computes, the packages that it stands on, and the machine."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from benchmark.numerics import hardware
from benchmark.version import full_version


def environment(device: torch.device) -> dict[str, str]:
    """Versions and hardware, by name."""
    found = {
        "purifybench": full_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device.type,
        "hardware": hardware(device),
    }
    if device.type == "cuda":
        found["cuda"] = str(torch.version.cuda)
    for package in ("pyautoattack", "robustbench"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
