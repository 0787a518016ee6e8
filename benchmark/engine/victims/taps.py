"""Positions in a classifier, by names that hang on no architecture: where it is tapped, and how pooled."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from benchmark.compute.sandbox import misfit, sandboxed
from benchmark.engine.victims.logits import logits_in
from benchmark.errors import BenchError

POSITIONS = ("stem", "1/3", "2/3", "3/3", "map", "pooled", "logits")
"""In the order in which an image passes them; each depends on the one before, or is the same."""
INPUT = ":input"
"""Ends a tap's name where the module's input is meant, and not its output."""

Layout = Literal["channels-first", "channels-last", "tokens", "vector"]
_BLOCKS = ("Block", "Bottleneck", "Residual")
_NO_BLOCKS = frozenset({"ClassAttentionBlock", "BottleneckTransform"})
"""The first changes the class token alone; the second is the inside of a block."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a classifier.

    Args:
        tap: Its name for `Classifier.features`.
        shape: Of what is tapped there for one image, without the batch.
        layout: What these dimensions mean: `(c, h, w)`, `(h, w, c)`, `(tokens, c)` or `(c,)`.
        prefix: Class and register tokens, which come first among the tokens.
    """

    tap: str
    shape: tuple[int, ...]
    layout: Layout
    prefix: int = 0

    @property
    def channels(self) -> int:
        """c, the width of `pooled`."""
        return self.shape[0] if self.layout == "channels-first" else self.shape[-1]

    def pooled(self, tap: Tensor) -> Tensor:
        """The mean over all places in the image, `(b, c)`, of what was tapped, `(b, *shape)`.

        Class and register tokens stand for no place and are left out.
        """
        if self.layout == "channels-first":
            return tap.mean((2, 3))
        if self.layout == "channels-last":
            return tap.mean((1, 2))
        return tap[:, self.prefix :].mean(1) if self.layout == "tokens" else tap


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """One call of a module; the shapes `(1, ...)` of its first input and its output are empty if no tensors."""

    name: str
    module: nn.Module
    input: tuple[int, ...]
    output: tuple[int, ...]


def positions(network: nn.Module, shape: tuple[int, int, int]) -> dict[str, Position]:
    """The places of a network by their names in `POSITIONS`, found by one forward pass of a grey image.

    `stem` is what the first convolution makes of the image, with the layers around it. `1/3`, `2/3` and `3/3`
    are the outputs of that share of the residual blocks, rounded up (WRN-34-10: of the 5th, 10th and 15th of
    15, as the AID-Purifier paper taps it). `map` is the last map, or the last tokens, before pooling: after the
    final norm and nonlinearity as far as they are modules. `pooled` is what the last linear layer is given;
    `logits` is what the network puts out.

    Where there are no residual blocks, the parts of a `Sequential`, else the convolutions, else the hidden
    linear layers take their place; where there is no map, `map` is `pooled`. Of an ensemble whose members each
    see the image, all but `logits` are in the member that runs last.

    Args:
        network: In eval mode.
        shape: `(c, h, w)` of an image.

    Raises:
        BenchError: It has neither a convolution nor a linear layer, or it does not take such images.
    """
    calls = _trace(network, shape)
    stem = _stem_at(calls, shape[0])
    trunk = _trunk(calls, stem)
    inside = [call for call in calls[stem:] if trunk in _upwards(call.name)]
    blocks = _blocks(inside, calls[stem].name)
    thirds = [blocks[math.ceil(len(blocks) * share / 3) - 1] for share in (1, 2, 3)]
    first = _widened(inside, blocks, trunk)
    last = _map_of(inside, blocks[-1])
    final = _final(inside[inside.index(last) + 1 :]) or _final(calls[calls.index(last) + 1 :])
    places = math.prod(first.output[2:]) if len(first.output) == 4 else math.prod(first.output[1:2])
    found = [_position(call.name, call.output, shape, places) for call in (first, *thirds, last)]
    pooled = (
        _position(final.name + INPUT, final.input, shape, places)
        if final is not None
        else found[-1]
    )
    if len(last.output) == 2:
        found[-1] = pooled
    logits = _position("", calls[-1].output, shape, places)
    return dict(zip(POSITIONS, (*found, pooled, logits), strict=True))


def _trace(network: nn.Module, shape: tuple[int, int, int]) -> list[_Call]:
    """All calls of modules in one forward pass, in the order in which they end; the network's own is last."""
    calls: list[_Call] = []
    like = next(network.parameters(), torch.zeros(()))
    x = torch.full((1, *shape), 0.5, device=like.device, dtype=like.dtype)

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def hook(_module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            output = output if name else logits_in(output)
            calls.append(_Call(name, module, _shape(inputs[0] if inputs else None), _shape(output)))

        handle: torch.utils.hooks.RemovableHandle = module.register_forward_hook(hook)
        return handle

    with contextlib.ExitStack() as stack, torch.no_grad():
        for name, module in network.named_modules():
            stack.callback(watch(name, module).remove)
        what = f"a classifier of type {type(network).__name__}"
        with sandboxed(what, partial(misfit, shape=shape, dtype=str(x.dtype))):
            network(x)
    return calls


def _shape(value: object) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _stem_at(calls: Sequence[_Call], channels: int) -> int:
    """The call of the convolution that sees the image, an ensemble's last one; else of a linear layer."""
    seeing = [
        at
        for at, call in enumerate(calls)
        if isinstance(call.module, nn.Conv2d)
        and call.module.in_channels == channels
        and len(call.input) == 4
    ]
    linear = [at for at, call in enumerate(calls) if isinstance(call.module, nn.Linear)]
    if not seeing and not linear:
        raise BenchError(
            f"a classifier of type {type(calls[-1].module).__name__} has neither a convolution nor a "
            f"linear layer, and so nothing to tap"
        )
    return seeing[-1] if seeing else linear[0]


def _upwards(name: str) -> list[str]:
    """The names of a module and of those around it, the nearest first, the network itself (`""`) last."""
    parts = name.split(".") if name else []
    return [".".join(parts[:i]) for i in range(len(parts), -1, -1)]


def _is_block(call: _Call) -> bool:
    kind = type(call.module).__name__
    return (
        len(call.output) in (3, 4)
        and any(word in kind for word in _BLOCKS)
        and kind not in _NO_BLOCKS
    )


def _trunk(calls: Sequence[_Call], stem: int) -> str:
    """The smallest module around the stem that has residual blocks besides, else the whole network."""
    around = _upwards(calls[stem].name)[1:]
    names = [call.name for call in calls[stem:] if _is_block(call) and call.name not in around]
    return next((a for a in around if any(a in _upwards(n) for n in names)), "")


def _blocks(inside: Sequence[_Call], stem: str) -> list[_Call]:
    """What the thirds are counted in; at least one."""
    named = [call for call in inside if _is_block(call) and call.name not in _upwards(stem)]
    outer = {name for call in named for name in _upwards(call.name)[1:]}
    innermost = [call for call in named if call.name not in outer]
    if innermost:
        return innermost
    kinds = {call.name: call.module for call in inside}
    parts = [
        call
        for call in inside
        if len(call.output) in (3, 4)
        and call.name
        and isinstance(kinds.get(_upwards(call.name)[1]), nn.Sequential)
    ]
    names = {call.name for call in parts}
    outermost = [call for call in parts if names.isdisjoint(_upwards(call.name)[1:])]
    convolutions = [call for call in inside if isinstance(call.module, nn.Conv2d)]
    linear = [call for call in inside if isinstance(call.module, nn.Linear)]
    return outermost or convolutions or linear[:-1] or linear


def _widened(inside: Sequence[_Call], blocks: Sequence[_Call], trunk: str) -> _Call:
    """The stem with the layers around it that hold no block, as far as a tensor comes out of them."""
    found = inside[0]
    by_name = {call.name: call for call in inside}
    for name in _upwards(found.name)[1:]:
        if name == trunk or any(name in _upwards(block.name) for block in blocks):
            break
        if name in by_name and by_name[name].output:
            found = by_name[name]
    return found


def _map_of(inside: Sequence[_Call], block: _Call) -> _Call:
    """The last call from the last block on that puts out a map of the same size, or at least its tokens."""

    def is_alike(output: tuple[int, ...]) -> bool:
        if len(output) == len(block.output) == 3:
            return output[2] == block.output[2] and output[1] >= block.output[1]
        return output == block.output

    after = inside[inside.index(block) :]
    return [call for call in after if is_alike(call.output)][-1]


def _final(calls: Sequence[_Call]) -> _Call | None:
    """The last linear layer, or 1x1 convolution of a map of size 1."""
    final = [
        call
        for call in calls
        if isinstance(call.module, nn.Linear)
        or (isinstance(call.module, nn.Conv2d) and call.input[2:] == (1, 1))
    ]
    return final[-1] if final else None


def _position(
    tap: str, output: tuple[int, ...], image: tuple[int, int, int], places: int
) -> Position:
    """A position from the shape `(1, ...)` of its tap and the number of places that the stem sees."""
    shape = output[1:]
    if len(shape) == 3:
        is_first, is_last = _has_aspect(shape[1:], image), _has_aspect(shape[:2], image)
        return Position(
            tap, shape, "channels-last" if is_last and not is_first else "channels-first"
        )
    if len(shape) == 2:
        return Position(tap, shape, "tokens", max(shape[0] - places, 0))
    return Position(tap, shape, "vector")


def _has_aspect(size: tuple[int, ...], image: tuple[int, int, int]) -> bool:
    return size[0] * image[2] == size[1] * image[1]
