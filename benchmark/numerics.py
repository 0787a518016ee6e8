"""How torch computes here: deterministic kernels, no TF32, a fixed number of threads."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from benchmark.errors import BenchError


def fix_numerics(threads: int | None = None) -> None:
    """Turns off what makes the same computation give other numbers (TF32, autotuning, unordered sums).

    Args:
        threads: For torch's own loops on the CPU; None leaves them as they are.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    if threads is not None:
        torch.set_num_threads(threads)


def choose_device(text: str) -> torch.device:
    """A device by name: `auto` (CUDA where there is one), `cpu`, `cuda`, `cuda:1`.

    Raises:
        BenchError: It is not one of these, or not there.
    """
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = text.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise BenchError(f"device {text!r} is not understood: expected auto, cpu, cuda or cuda:0")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            raise BenchError(
                f"device {text!r} is not there: torch sees {count} CUDA device(s); use --device cpu"
            )
    return torch.device(text)


def hardware(device: torch.device) -> str:
    """The name of what computes: the GPU's, or the CPU's with its cores."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"
