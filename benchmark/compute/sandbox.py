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
from collections.abc import Callable, Iterable, Iterator
from functools import partial
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
    if "torch" not in sys.modules:
        yield  # nothing of it can have been changed, and listing starts no torch
        return
    before = [(read, put, read()) for read, put in _settings()]
    with generators_kept(gpus=()):
        try:
            yield
        finally:
            for read, put, value in before:
                # what costs much is compared; the rest is written unread, since torch's own reading fails
                # where its older and newer names for one precision were mixed, and writing mends that
                if put.__name__ not in _DEAR or read() != value:
                    put(value)


@contextlib.contextmanager
def generators_kept(gpus: Iterable[int] | None = None) -> Iterator[None]:
    """Puts the global generators of numpy, Python and torch back to where they were; of GPUs all by default."""
    import numpy as np
    import torch

    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(range(torch.cuda.device_count()) if gpus is None else gpus):
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)


_DEAR = ("set_default_device", "set_num_threads")


def _settings() -> list[tuple[Callable[[], Any], Callable[[Any], object]]]:
    """How each of torch's settings that decide numbers is read, and how it is set."""
    import torch

    backends: Any = torch.backends
    attributes = (
        *((backends.cudnn, name) for name in ("benchmark", "deterministic", "allow_tf32")),
        (backends.cuda.matmul, "allow_tf32"),
        (backends.mkldnn.matmul, "fp32_precision"),
    )
    return [
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.get_default_device, torch.set_default_device),
        (torch.is_grad_enabled, torch.set_grad_enabled),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
        (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        *map(_attribute, attributes),
    ]


def _attribute(place: tuple[Any, str]) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    owner, name = place

    def put(value: object) -> None:
        setattr(owner, name, value)

    return partial(getattr, owner, name), put


def seed_torch(seed: int) -> None:
    """Seeds torch's global generators, those of GPUs where CUDA is in use.

    `torch.manual_seed` keeps, where it is not, the stack of each call until it will be: a sixth of a small run.
    """
    import torch

    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)


def seed_all(seed: int) -> None:
    """Seeds the global generators of torch, numpy and Python."""
    import numpy as np

    seed_torch(seed)
    np.random.seed(seed)
    random.seed(seed)


@contextlib.contextmanager
def fresh_global_state(*place: str | int) -> Iterator[None]:
    """Computes as if nothing had run before in this process, whatever a plugin left changed.

    torch's defaults are those of its start, and the global generators, which nobody should draw from, are
    seeded by `place` alone.
    """
    import torch

    with settings_kept():
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.set_grad_enabled(True)
        torch.set_float32_matmul_precision("highest")
        text = "\x1f".join(map(str, place))
        seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")
        seed_all(seed)
        yield
