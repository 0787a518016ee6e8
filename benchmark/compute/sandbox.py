"""Other people's code, contained: what it raises, how it ends and what it leaves changed stay its own."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import random
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from benchmark.errors import BenchError

log = logging.getLogger(__name__)

_SHAPES = re.compile(
    r"shape|size of tensor|sizes of|size mismatch|channels|dimension|-D input|Kernel size|output size|"
    r"too small|invalid for input of size|normalized_shape"
)
_PRECISION = re.compile(r"dtype|scalar type|[Ii]nput type|same type|not implemented for '\w+'")
"""What torch says where a network does not take images of a shape, or of a precision."""


def one_line(error: BaseException) -> str:
    """What was raised, as one line; a plugin's `sys.exit` is named as such."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})"
    text = " ".join(str(error).split())[:500]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def cause_of(error: BaseException) -> str:
    """What was raised, and the line of the plugin's own code in which it was, as one line."""
    at = _innermost(error)
    return f"{one_line(error)} (at {at})" if at else one_line(error)


def failure(what: str, error: BaseException) -> BenchError:
    """The error for a plugin that failed."""
    return BenchError(f"{what} failed: {cause_of(error)}; bench -v shows the traceback")


def misfit(
    what: str, error: BaseException, *, shape: tuple[int, ...], dtype: str, dataset: str = ""
) -> BenchError:
    """The error for a network or purifier that failed on images: for their shape, their precision, or neither.

    Args:
        what: What the message calls it.
        error: What it raised.
        shape: `(c, h, w)` of an image.
        dtype: Of the images, and of the run.
        dataset: Where they come from.
    """
    of = f" of {dataset!r}" if dataset else ""
    text, cause = str(error), cause_of(error)
    if isinstance(error, RuntimeError) and _PRECISION.search(text):
        return BenchError(
            f"{what} does not compute in {dtype.removeprefix('torch.')}, the precision of this run: {cause}; "
            f"give its weights and its input one dtype (no .half() or .double() on one of them alone)"
        )
    if isinstance(error, RuntimeError) and _SHAPES.search(text):
        return BenchError(f"{what} does not take images of shape {shape}{of}: {cause}")
    return BenchError(
        f"{what} failed on images of shape {shape}{of}: {cause}; bench -v shows the traceback"
    )


def _innermost(error: BaseException) -> str:
    """`file.py:12` of the innermost frame that is neither the harness's nor a library's; else empty."""
    harness = Path(__file__).parent.parent
    standard = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    own, installed = [], []
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if frame.filename.startswith("<") or harness in path.parents:
            continue
        if {"site-packages", "dist-packages"} & set(path.parts):
            installed += [] if "torch" in path.parts else [frame]  # a plugin may be installed, too
        elif not standard & set(path.parents):
            own.append(frame)
    last = next(iter((own or installed)[-1:]), None)
    return f"{Path(last.filename).name}:{last.lineno}" if last else ""


Told = Callable[[str, BaseException], BenchError]
"""Makes the error that is raised for what a plugin raised, from what the message calls it."""


@contextlib.contextmanager
def sandboxed(what: str, told: Told = failure) -> Iterator[None]:
    """Runs a plugin's code so that whatever it raises, `sys.exit` too, is one line that names it.

    torch's settings and the global generators are afterwards what they were.

    Args:
        what: What the message calls it ("defense 'my_pkg:Mine'").
        told: Makes the error.

    Raises:
        BenchError: The plugin raised it, or anything else; -v shows the traceback.
    """
    with settings_kept():
        try:
            yield
        except BenchError:
            raise
        except (Exception, SystemExit) as error:  # (the boundary to other people's code)
            log.debug("%s failed:\n%s", what, traceback.format_exc())
            raise told(what, error) from error


@contextlib.contextmanager
def exits_raised() -> Iterator[None]:
    """Lets `os._exit` in this process raise SystemExit: nothing ends it as if all were well."""
    real, here = os._exit, os.getpid()

    def raising(status: int) -> NoReturn:
        if os.getpid() != here:  # a child that was forked
            real(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = raising
    try:
        yield
    finally:
        os._exit = real


@contextlib.contextmanager
def settings_kept() -> Iterator[None]:
    """Puts torch's process-wide settings and the global generators back to what they were."""
    if (
        "torch" not in sys.modules
    ):  # nothing of it can have been changed, and listing starts no torch
        yield
        return
    before = _Settings()
    try:
        yield
    finally:
        before.restore()


def seed_torch(seed: int) -> None:
    """Seeds torch's global generators, those of GPUs where CUDA is in use.

    `torch.manual_seed` keeps, where it is not, the stack of each call until it will be: a sixth of a small run.
    """
    import torch

    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)


@contextlib.contextmanager
def fresh_global_state(*place: str | int) -> Iterator[None]:
    """Computes as if nothing had run before in this process, whatever a plugin left changed.

    torch's defaults are those of its start, and the global generators, which nobody should draw from, are
    seeded by `place` alone.
    """
    import numpy as np
    import torch

    with settings_kept():
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.set_grad_enabled(True)
        torch.set_float32_matmul_precision("highest")
        text = "\x1f".join(map(str, place))
        seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")
        seed_torch(seed)
        np.random.seed(seed)
        random.seed(seed)
        yield


class _Settings:
    """torch's process-wide settings that decide numbers, and the states of the global generators."""

    def __init__(self) -> None:
        import numpy as np
        import torch

        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        self.torch: Any = torch
        self.numpy: Any = np
        self.mkldnn: Any = torch.backends.mkldnn
        self.dtype = torch.get_default_dtype()
        self.device = torch.get_default_device()
        self.is_grad = torch.is_grad_enabled()
        self.threads = torch.get_num_threads()
        self.determinism = torch.get_deterministic_debug_mode()
        self.cudnn = (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32)
        self.tf32 = matmul.allow_tf32
        self.precision = self.mkldnn.matmul.fp32_precision
        self.is_anomaly = torch.is_anomaly_enabled()
        self.generators = (torch.get_rng_state(), np.random.get_state(), random.getstate())

    def restore(self) -> None:
        torch = self.torch
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        torch.set_default_dtype(self.dtype)
        if torch.get_default_device() != self.device:
            torch.set_default_device(self.device)
        torch.set_grad_enabled(self.is_grad)
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        torch.set_deterministic_debug_mode(self.determinism)
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = self.cudnn
        matmul.allow_tf32 = self.tf32
        self.mkldnn.matmul.fp32_precision = self.precision
        torch.autograd.set_detect_anomaly(self.is_anomaly)
        torch.set_rng_state(self.generators[0])
        self.numpy.random.set_state(self.generators[1])
        random.setstate(self.generators[2])
