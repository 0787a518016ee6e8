"""How and where torch computes: deterministic kernels, no TF32, a fixed number of threads, which devices."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from loky import cpu_count

from benchmark.compute.device_names import device_parts
from benchmark.errors import BenchError


def fix_numerics(threads: int | None = None) -> None:
    """Turns off what makes the same computation give other numbers (TF32, autotuning, unordered sums).

    A kernel that has no deterministic twin warns and computes all the same: a network with one can be
    evaluated, and the warning says what repeats only up to rounding. To be called before CUDA is first used.

    Args:
        threads: For torch's own loops on the CPU; None leaves them as they are.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it as it starts
    os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")  # so does what compiles networks
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # its longer twin imports the compiler: 2 s of every run
    torch.set_deterministic_debug_mode("warn")
    if threads is not None:
        torch.set_num_threads(threads)


def choose_device(text: str) -> torch.device:
    """A device by name: `auto` (CUDA where there is one), `cpu`, `cuda`, `cuda:1`.

    One with a number becomes torch's current one, because networks are about that ask for `.cuda()`.

    Raises:
        BenchError: It is not one of these, or not there.
    """
    kind, number = device_parts(text)
    if kind == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (number or 0) >= count:
            raise BenchError(
                f"device {text!r} is not there: torch sees {count} CUDA device(s); use --device cpu"
            )
    device = torch.device(text)
    if number is not None:
        torch.cuda.set_device(device)
    return device


def devices_like(device: torch.device, count: int) -> tuple[torch.device, ...]:
    """The devices over which worker processes are spread.

    Args:
        device: As `choose_device` gives it; `cuda` without a number stands for all GPUs.
        count: How many GPUs torch sees.

    Returns:
        Each GPU by its number; the device itself where it is the CPU, or one GPU was named.
    """
    if str(device) != "cuda":
        return (device,)
    return tuple(torch.device("cuda", i) for i in range(max(1, count)))


def device_of(worker: int, devices: Sequence[torch.device]) -> torch.device:
    """The device of the worker of a number, from 0: they take turns."""
    return devices[worker % len(devices)]


def default_workers(devices: Sequence[torch.device]) -> int:
    """How many workers there are by default: one a GPU, or one for each core that this process may use."""
    return len(devices) if devices[0].type == "cuda" else cores()


def cores() -> int:
    """The cores that this process may use, as affinity and containers allow."""
    return int(cpu_count())


def settle(device: torch.device) -> None:
    """Waits until a GPU has done what it was asked for; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def begin_measuring(device: torch.device) -> None:
    """Lets clock and `peak_memory` begin here."""
    settle(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """The most bytes that tensors of this process took at once on a GPU; 0 on the CPU."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else 0


def hardware(device: torch.device) -> str:
    """The name of what computes: the GPU's, or the CPU's with its cores."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    names = re.findall(r"^model name\s*:\s*(.*?)\s*$", text, re.MULTILINE)
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"
