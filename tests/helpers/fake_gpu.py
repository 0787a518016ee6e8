"""A pretended GPU: tensors that say they are on `cuda:0`, compute on the CPU, and refuse to mix with others.

What a GPU would refuse for being on two devices is refused here too, so that a device mistake is found where
there is no GPU. Kernels, memory and rounding are the CPU's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

GPU = torch.device("cuda", 0)
_MAY_MIX = {  # what takes tensors of both: copies, and indices that lie on the CPU
    "aten::_to_copy",
    "aten::copy_",
    "aten::index.Tensor",
    "aten::index_put_",
    "aten::index_put",
    "aten::_index_put_impl_",
}


class OnGpu(torch.Tensor):
    """A tensor that says that it is on the GPU, around one on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnGpu:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
        )

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    @property
    def device(self) -> torch.device:
        return GPU

    @property
    def is_cuda(self) -> bool:
        return True

    def to(self, *args: Any, **options: Any) -> torch.Tensor:
        if args and isinstance(args[0], torch.Tensor):
            args = (args[0].device, args[0].dtype)
        device, dtype, _, _ = torch._C._nn._parse_to(*args, **options)
        same = dtype in (None, self.dtype)
        if device is None or device.type == "cuda":
            return self if same else torch.Tensor.to(self, dtype)
        return torch.Tensor.to(self if same else torch.Tensor.to(self, dtype), GPU).inner.clone()

    def cpu(self) -> torch.Tensor:
        return self.to("cpu")

    def tolist(self) -> Any:
        return self.inner.tolist()

    def numpy(self, **options: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu()")

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _computed(func, args, kwargs or {})


class _Everywhere(TorchDispatchMode):
    """Sees also what takes no tensor of ours: makers of new ones, and copies of the CPU's."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _computed(func, args, kwargs or {})


class _Numbered(TorchFunctionMode):
    """Does what torch would ask CUDA itself for: the number of a device without one, a tensor out of a list."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        def numbered(value: Any) -> Any:
            is_bare = isinstance(value, torch.device) and str(value) == "cuda"
            return GPU if is_bare or (isinstance(value, str) and value == "cuda") else value

        if func is torch.device:
            return func(*args, **(kwargs or {}))
        options = {k: numbered(v) for k, v in (kwargs or {}).items()}
        if func is torch.tensor and options.get("device") == GPU:
            return func(*args, **{**options, "device": "cpu"}).to(GPU)
        if func is torch.Tensor.to and len(args) > 1 and isinstance(args[1], OnGpu):
            args = (args[0], GPU, args[1].dtype)
        return func(*map(numbered, args), **options)


def _computed(func: Any, args: Any, options: dict[str, Any]) -> Any:
    tensors = list(_tensors_in((*args, *options.values())))
    ours = [t for t in tensors if isinstance(t, OnGpu)]
    others = [t for t in tensors if not isinstance(t, OnGpu) and t.ndim > 0]
    name, may_mix = _known(func)
    if ours and others and not may_mix:
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, cuda:0 and cpu")
    device = options.get("device")
    if name.startswith("aten::index") and others and any(t is not ours[0] for t in ours[1:]):
        raise RuntimeError(f"{name}: indices are on cuda:0 and on cpu")
    if not isinstance(args[0] if args else None, OnGpu) and ours and name.startswith("aten::index"):
        raise RuntimeError(f"{name}: a tensor of the CPU cannot be indexed by one of the GPU")
    is_ours = bool(ours) if device is None else torch.device(device).type == "cuda"
    is_ours |= name == "aten::_to_copy" and bool(
        ours
    )  # autograd's own, which takes ours for the CPU's
    if device is not None:
        options = {**options, "device": torch.device("cpu")}
    wrapper_of = {id(t.inner): t for t in ours}

    def bare(value: Any) -> Any:
        return value.inner if isinstance(value, OnGpu) else value

    out = func(
        *(_mapped(bare, value) for value in args),
        **{key: _mapped(bare, value) for key, value in options.items()},
    )

    def dressed(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) in wrapper_of:
            return wrapper_of[id(value)]  # changed in place
        return OnGpu(value) if is_ours and not isinstance(value, OnGpu) else value

    return _mapped(dressed, out)


@lru_cache
def _known(func: Any) -> tuple[str, bool]:
    """An operator's name, and whether it takes tensors of both devices."""
    name = func._schema.name
    return name, bool({name, f"{name}.{func._schema.overload_name}"} & _MAY_MIX)


def _tensors_in(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors_in(value)


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """A value, or each in lists inside each other, changed; operators take and give no other trees."""
    if isinstance(value, list | tuple):
        return type(value)([_mapped(change, each) for each in value])
    return change(value)


@contextmanager
def pretended_gpu(monkeypatch: pytest.MonkeyPatch, count: int = 1) -> Iterator[list[str]]:
    """torch says that there are GPUs, and `cuda` computes on the CPU; gives what CUDA was asked for by name."""
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a pretended GPU")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 90000)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    check = "_accelerator_graph_capture_health_check"
    monkeypatch.setattr(torch.optim.Optimizer, check, lambda optimizer: None, raising=False)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 2**20)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda *_: torch.zeros(1))
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", list)
    for name in ("synchronize", "reset_peak_memory_stats", "set_device", "set_rng_state"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, name=name: asked.append(name))
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a wrapper is no storage
    try:
        with _Numbered(), _Everywhere():
            yield asked
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
