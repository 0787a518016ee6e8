"""A gradient for a purifier that hides its own: each ATen operation of a real call is repeated with autograd.

`no_grad`, `inference_mode`, `.data`, `detach`, TorchScript and a backward pass of zeros stand above ATen; below
it a call is the operations that made its numbers. Beside each tensor that hangs on the images there is a *twin*
of the same values that has a graph, and what is done to tensors is done to their twins, steps by the rules of
`recovery_rules`. Twins belong to memory, not to tensor objects, so that views, writes in place, `out=` and
arrays on the same memory are followed. What was computed elsewhere (numpy, PIL, threads) and looks like the
images is taken for the identity of them (Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense
of security", ICML 2018, take the whole purifier for it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode
from torch.utils._pytree import tree_leaves, tree_map_only

from benchmark.engine.victims.operations import (
    Call,
    has_no_derivative,
    is_fixed,
    name_of,
    no_modes,
    repeat,
    tracing_apart,
    with_graph,
    written_by,
)
from benchmark.engine.victims.recovery_rules import RULES
from benchmark.engine.victims.twins import MOVED, Twins, address, alike, values_of
from benchmark.engine.victims.victim import StraightThrough

_FAILURES = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, StopIteration)
"""What repeating an operation may end in."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a purifier gives, with a gradient.

    Args:
        images: `(b, c, h, w)`, the values of the call, differentiable in the images that it was given.
        broken: Operations at which an edge was taken for the identity; empty where all was repeated.
    """

    images: Tensor
    broken: tuple[str, ...]


def recovered(purify: Callable[[Tensor], Tensor], x: Tensor) -> Recovered:
    """`purify(x)` with the gradient of the operations that it is made of.

    Args:
        purify: Called once, with images that require no gradient; the same numbers whenever it is asked.
        x: Images `(b, c, h, w)`, with their graph.
    """
    recorder = _Recorder(x)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operation that has no derivative
    try:
        with tracing_apart(), recorder:
            real = purify(x.detach())
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    with torch.enable_grad():
        return Recovered(recorder.finished(real), tuple(dict.fromkeys(recorder.broken)))


def repeated(
    real: Callable[[Tensor], Tensor], twin: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor | None:
    """`real(x)`, for whose gradient `twin` is called, while a recorder follows `x`; None where none does.

    It is for what knows a cheaper way to its gradient than the record of all that it does.
    """
    recorder = _get_current_dispatch_mode()
    if not isinstance(recorder, _Recorder) or recorder.memory(x) is None:
        return None
    with no_modes():
        out = real(x)
        with torch.inference_mode(mode=False), torch.enable_grad():
            followed = recorder.twin(x)
            if followed is not None:
                recorder.keep(out, StraightThrough.apply(twin(followed), values_of(out, x.dtype)))
    return out


class _Recorder(Twins, TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows one call from its images to what it returns."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: so that torch imports no compiler (a second) to keep it away from here."""
        return False

    def __init__(self, x: Tensor) -> None:
        TorchDispatchMode.__init__(self)  # type: ignore[no-untyped-call]
        Twins.__init__(self, x)

    def finished(self, real: Tensor) -> Tensor:
        """The twin of what was returned; the identity of the images where nothing leads to it."""
        twin = self.twin(real)
        if twin is None:
            self._import(real, "the output")
            twin = self.twin(real)
        if twin is None or not twin.requires_grad:
            self.broken.append("the output")
            twin = self.x
        out: Tensor = StraightThrough.apply(twin, real.detach())
        return out

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The operation itself; then the same on the twins of what it is given."""
        del types
        kwargs = dict(kwargs or {})
        if func is torch.ops.aten._local_scalar_dense.default and not isinstance(args[0], Tensor):
            return args[0]  # a number of a trace, which comes here as one
        leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        written = written_by(func, args, kwargs)
        with with_graph():
            given = self._prepared(func, leaves, written, (args, kwargs))
        out = func(*args, **kwargs)
        if given is None:
            self.see(out)
            return out
        with with_graph():
            try:
                self._repeat(func, given, (args, kwargs), out, written)
            except _FAILURES:
                self.broken.append(str(func))
        return out

    def _prepared(
        self, func: Any, leaves: list[Tensor], written: list[Tensor], real: tuple[Any, Any]
    ) -> tuple[Any, Any] | None:
        """What an operation on twins is given; None where nothing hangs on the images."""
        try:
            for leaf in leaves:
                self._import(leaf, func)
                self._refresh(leaf, func)
            if all(self.memory(leaf) is None for leaf in leaves):
                return None
            if name_of(func) == "_local_scalar_dense" and leaves[0].is_floating_point():
                self.broken.append(str(func))  # a number on which Python goes on
            kept = {id(leaf) for leaf in written}
            given: tuple[Any, Any] = tree_map_only(
                Tensor, lambda leaf: self._given(leaf, is_written=id(leaf) in kept), real
            )
        except _FAILURES:
            self.broken.append(str(func))
            return None
        return given

    def _given(self, tensor: Tensor, *, is_written: bool) -> Tensor:
        """What an operation on twins is given for a tensor: its twin, else its values, now.

        What was there before, such as weights, is not copied; what the call made, it may write over later.
        """
        twin = self.twin(tensor)
        if twin is not None:
            return twin
        is_made = tensor.layout is not torch.strided or address(tensor) in self.seen
        values = tensor.detach()
        return values.clone() if is_made or is_written or tensor.is_inference() else values

    def _refresh(self, tensor: Tensor, func: object) -> None:
        """Makes a twin anew where its memory was written out of sight: the identity of what stood there."""
        twin = self.twin(tensor)
        if twin is None or not tensor.is_floating_point() or twin.shape != tensor.shape:
            return
        apart = (twin.detach() - tensor).abs().amax()
        if bool(apart > MOVED * tensor.abs().amax()):
            values = values_of(tensor, self.x.dtype)
            kept = StraightThrough.apply(twin.to(values.dtype), values)
            self.keep(tensor, kept, is_write=True)
            self.broken.append(f"before {func}")

    def _repeat(
        self,
        func: Any,
        given: tuple[Any, Any],
        real: tuple[Any, Any],
        out: Any,
        written: list[Tensor],
    ) -> None:
        """Gives each tensor that an operation made or wrote to its twin."""
        targets = written or [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if name_of(func) == "copy" and self.copied_whole(*real[0][:2]):
            return
        call = Call(func, name_of(func), given[0], given[1], real[0], real[1], out, self.choice)
        rule = RULES.get(call.name)
        try:
            found = rule(call) if rule else NotImplemented
            is_exact = found is NotImplemented
            if found is NotImplemented:
                is_drawn = torch.Tag.nondeterministic_seeded in func.tags and not is_fixed(
                    call.name
                )
                found = out if is_drawn else repeat(func, given, written)
                if any(has_no_derivative(leaf) for leaf in tree_leaves(found)):
                    raise NotImplementedError(call.name)
        except _FAILURES:
            found, is_exact = self._identity(targets, real), False
            self.broken.append(str(func))
        twins = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
        for target, twin in zip(targets, twins, strict=False):
            if not (twin.is_floating_point() or twin.is_complex()) or twin.numel() == 0:
                continue
            if twin.requires_grad and is_exact and twin.dtype is target.dtype:
                pass
            elif twin.requires_grad:
                values = values_of(target, self.x.dtype)
                twin = StraightThrough.apply(twin.expand(values.shape).to(values.dtype), values)
            elif written and self.memory(target) is not None:
                twin = values_of(target, self.x.dtype)  # written over with what hangs on no image
            elif not twin.requires_grad:
                continue
            self.keep(target, twin, is_write=bool(written))
        if call.weights is not None and targets:
            memory = self.memory(targets[-1])
            if memory is not None:
                memory.choice = call.weights
        self.see(targets)

    def _identity(self, targets: list[Tensor], real: tuple[Any, Any]) -> list[Tensor]:
        """For an operation that cannot be repeated: its first argument of the output's shape."""
        leaves = [leaf for leaf in tree_leaves(real) if isinstance(leaf, Tensor)]
        twins = [twin for leaf in leaves if (twin := self.twin(leaf)) is not None]
        return [
            next((twin for twin in twins if twin.shape == target.shape), torch.zeros(0))
            for target in targets
        ]

    def _import(self, tensor: Tensor, func: object) -> None:
        """Ties what was computed out of sight to the images where it looks like them, one or a channel."""
        if (
            tensor.layout is not torch.strided
            or not self.x.numel()
            or tensor.numel() not in (self.x.numel(), self.x[0].numel(), self.x[0, 0].numel())
            or self.memory(tensor) is not None
            or tensor.untyped_storage().data_ptr() in self.seen
            or tensor.is_complex()
        ):
            return
        self.see(tensor)
        twin = alike(self.latest, tensor.detach())
        if twin is not None:
            values = values_of(tensor, self.x.dtype)
            self.keep(tensor, StraightThrough.apply(twin.to(values.dtype), values))
            self.broken.append(f"before {func}")
