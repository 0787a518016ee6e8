"""ATen operations as they are declared: what they write to, and what gives the same without writing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import enable_reentrant_dispatch
from torch.utils._pytree import tree_leaves, tree_map_only

_NO_WRITE = frozenset({"detach_", "requires_grad_", "record_stream"})


@dataclass(slots=True)
class Call:
    """One operation: on twins, whose values may stand for integers, and as it was.

    Args:
        func: The operation.
        name: Its name, without what says that it writes in place.
        args: What it was given, twins for tensors that have one.
        kwargs: Likewise.
        real_args: What it was really given.
        real_kwargs: Likewise.
        out: What it really gave.
        choice: Of indices the soft weights `(n, k)` by which they were chosen, or None.
        weights: To be filled by a rule that chooses.
    """

    func: Any
    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    real_args: tuple[Any, ...]
    real_kwargs: Mapping[str, Any]
    out: Any
    choice: Callable[[Tensor], Tensor | None]
    weights: Tensor | None = None

    def is_soft(self, place: int) -> bool:
        """Whether a tensor of whole numbers, or of truths, is given by a twin."""
        real, twin = self.real_args[place], self.args[place]
        return (
            isinstance(real, Tensor) and not real.is_floating_point() and twin.is_floating_point()
        )


def name_of(func: Any) -> str:
    """An operation's name without what says that it writes in place."""
    name: str = func._schema.name.partition("::")[2]
    return name if name.startswith("__") or not name.endswith("_") else name[:-1]


def written_by(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The tensors that an operation writes to."""
    schema = func._schema
    if not schema.is_mutable or schema.name.partition("::")[2] in _NO_WRITE:
        return []
    named = dict(zip((argument.name for argument in schema.arguments), args, strict=False))
    named |= kwargs
    found = [
        named.get(argument.name)
        for argument in schema.arguments
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]


def repeat(func: Any, given: tuple[Any, Any], written: list[Tensor]) -> Any:
    """An operation on twins as autograd knows it; one that writes, on copies."""
    args, kwargs = given
    if not written:
        return func(*args, **_floating(kwargs))
    twin_func, outs = _functional(func)
    if twin_func is not None:
        return twin_func(*args, **_floating({k: v for k, v in kwargs.items() if k not in outs}))
    args, kwargs = tree_map_only(Tensor, torch.clone, (args, dict(kwargs)))
    func(*args, **kwargs)
    return written_by(func, args, kwargs)


def _floating(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments without a type of whole numbers, in which there are no twins."""
    dtype = kwargs.get("dtype")
    if isinstance(dtype, torch.dtype) and not dtype.is_floating_point:
        return {name: value for name, value in kwargs.items() if name != "dtype"}
    return dict(kwargs)


@cache
def _functional(func: Any) -> tuple[Any, frozenset[str]]:
    """The operation that gives what another writes, or None, and the names of what that one writes to."""
    schema = func._schema
    outs = frozenset(argument.name for argument in schema.arguments if argument.is_out)
    space = getattr(torch.ops, func.namespace)
    packet = getattr(space, name_of(func), None)
    names = [argument.name for argument in schema.arguments if argument.name not in outs]
    for overload in packet.overloads() if packet is not None else ():
        other = getattr(packet, overload)
        arguments = [argument.name for argument in other._schema.arguments]
        is_same = outs or func._overloadname in (overload, "default")
        if arguments == names and is_same and not other._schema.is_mutable:
            return other, outs
    return None, outs


def is_fixed(name: str) -> bool:
    """Whether an operation draws nothing although its like may (dropout inside)."""
    return "attention" in name or "rnn" in name


def has_no_derivative(twin: object) -> bool:
    """Whether autograd kept an operation of which it knows none."""
    return (
        isinstance(twin, Tensor)
        and twin.grad_fn is not None
        and "NotImplemented" in twin.grad_fn.name()
    )


@contextlib.contextmanager
def with_graph() -> Iterator[None]:
    """In here operations are as outside of every mode, with graphs of their own."""
    with (
        _no_hooks(),
        enable_reentrant_dispatch(),
        no_modes(),
        torch.inference_mode(mode=False),
        torch.enable_grad(),
    ):
        yield


@contextlib.contextmanager
def _no_hooks() -> Iterator[None]:
    """In here no hook sees what a graph saves: one that hands back an output would keep its graph for ever."""
    autograd: Any = torch._C._autograd
    taken = []
    while (hooks := autograd._top_saved_tensors_default_hooks(True)) is not None:
        taken.append(hooks)
        autograd._pop_saved_tensors_default_hooks()
    try:
        yield
    finally:
        for hooks in reversed(taken):
            autograd._push_saved_tensors_default_hooks(*hooks)


def no_modes() -> contextlib.AbstractContextManager[object]:
    """Lets even operations without an argument, such as `arange`, see no mode."""
    python = torch._C.DispatchKeySet(torch._C.DispatchKey.Python)
    snapshot = torch._C.DispatchKeySet(torch._C.DispatchKey.PythonTLSSnapshot)
    return torch._C._ExcludeDispatchKeyGuard(python | snapshot)


@contextlib.contextmanager
def tracing_apart() -> Iterator[None]:
    """Lets `torch.jit.trace` see no mode: under one it crashes the process."""
    real = {
        (owner, name): getattr(owner, name)
        for owner in (torch._C, torch._C.ScriptModule)
        for name in dir(owner)
        if name.startswith("_create_") and "_from_trace" in name
    }

    def apart(trace: Callable[..., Any]) -> Callable[..., Any]:
        def traced(*args: Any, **kwargs: Any) -> Any:
            with no_modes():
                return trace(*args, **kwargs)

        return traced

    try:
        for (owner, name), trace in real.items():
            setattr(owner, name, apart(trace))
        yield
    finally:
        for (owner, name), trace in real.items():
            setattr(owner, name, trace)
