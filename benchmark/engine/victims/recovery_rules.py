"""Rules for what has no useful derivative: steps are straight-through, choices and comparisons smooth."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmark.engine.victims.operations import Call

OPEN = 0.05
"""Share of an image's values that a clamp must leave as they are for its own derivative to be used."""
_TINY = 1e-12


Rule = Callable[[Call], Any]
"""Gives what is differentiated in place of the operation, or NotImplemented for the operation itself."""


def _first(call: Call) -> Any:
    """The identity of the first tensor that has a twin."""
    return next(arg for arg in call.args if isinstance(arg, Tensor) and arg.requires_grad)


def _constant(call: Call) -> Any:
    """Nothing hangs on the images."""
    return call.out


def _random(call: Call) -> Any:
    """What is drawn around a tensor is its identity; what is drawn over it is nothing of it."""
    return call.out if call.func._schema.is_mutable else _first(call)


def _clamp(call: Call) -> Any:
    """A clamp's own derivative, but the identity for images that it leaves next to nothing of."""
    real, out = call.real_args[0], call.out
    kept = (real == out).double()
    share = (
        kept.flatten(1).mean(1)
        if kept.ndim > 1
        else kept.mean().expand(len(kept) if kept.ndim else 1)
    )
    if call.is_soft(0) or bool((share < OPEN).all()):
        return call.args[0]
    if bool((share >= OPEN).all()):
        return NotImplemented
    shut = (share < OPEN).view(-1, *[1] * (kept.ndim - 1))
    return torch.where(shut, call.args[0], torch.where(kept.bool(), call.args[0], out.detach()))


def _divide(call: Call) -> Any:
    """Division without its rounding."""
    if call.name == "div" and not call.kwargs.get("rounding_mode"):
        return NotImplemented
    return torch.true_divide(call.args[0], call.args[1])


def _remainder(call: Call) -> Any:
    """What a step leaves over, whose derivative is 0 when the step's is 1; its own where there is one step."""
    steps = torch.floor_divide(call.real_args[0], call.real_args[1])
    return NotImplemented if bool((steps == steps.flatten()[0]).all()) else call.out


def _above(call: Call, sign: float) -> Any:
    """A comparison as a logistic function of the difference, as wide as differences are."""
    gap = sign * (call.args[0] - call.args[1])
    return torch.sigmoid(gap / gap.detach().abs().mean().clamp_min(_TINY))


def _equal(call: Call, sign: float) -> Any:
    weights = call.choice(call.real_args[0])
    if sign > 0 and weights is not None and weights.numel() == call.out.numel():
        return weights.reshape(
            call.out.shape
        )  # an index that was chosen, against each that there is
    gap = call.args[0] - call.args[1]
    near = torch.exp(-((gap / gap.detach().abs().mean().clamp_min(_TINY)) ** 2))
    return near if sign > 0 else 1 - near


def _heaviside(call: Call) -> Any:
    x = call.args[0]
    return torch.sigmoid(x / x.detach().abs().mean().clamp_min(_TINY))


def _where(call: Call) -> Any:
    """A mixture by the condition's twin."""
    if not call.is_soft(0):
        return NotImplemented
    c, a, b = call.args
    return _mixed(call.real_args[0], c, a, b)


def _masked_fill(call: Call) -> Any:
    if not call.is_soft(1):
        return NotImplemented
    x, c, value = call.args
    return _mixed(call.real_args[1], c, value, x)


def _mixed(real: Tensor, c: Tensor, a: Any, b: Any) -> Tensor:
    """`a` where a condition is true, else `b`; how much they differ is the slope of its twin `c`.

    A value that is not finite, as masks have it, has no slope.
    """
    a, b = (torch.as_tensor(each, dtype=c.dtype, device=c.device) for each in (a, b))
    apart = (a - b).detach().nan_to_num(0.0, 0.0, 0.0)
    found: Tensor = torch.where(real, a, b) + (c - c.detach()) * apart
    return found


def _not(call: Call) -> Any:
    return 1 - call.args[0] if call.out.dtype is torch.bool else -call.args[0]


def _and(call: Call) -> Any:
    return call.args[0] * call.args[1] if call.out.dtype is torch.bool else _first(call)


def _or(call: Call) -> Any:
    a, b = call.args
    return a + b - a * b if call.out.dtype is torch.bool else _first(call)


def _xor(call: Call) -> Any:
    a, b = call.args
    return a + b - 2 * a * b if call.out.dtype is torch.bool else _first(call)


def _shift(call: Call, sign: int) -> Any:
    return call.args[0] * 2.0 ** (sign * call.args[1])


def _to(call: Call) -> Any:
    """A conversion; to whole numbers, straight-through."""
    return call.args[0].to(call.out.dtype) if call.out.is_floating_point() else call.args[0]


def _copy(call: Call) -> Any:
    return call.args[1].expand(call.args[0].shape)


def _bucketize(call: Call) -> Any:
    """The number of a bucket as a linear function, as steep as buckets are narrow."""
    by_name = call.name == "bucketize"
    x, edges = (call.args[0], call.args[1]) if by_name else (call.args[1], call.args[0])
    span = (edges[..., -1:] - edges[..., :1]).abs().clamp_min(_TINY)
    return x * ((edges.shape[-1] - 1) / span.reshape(-1)[0])


def _arg(call: Call, sign: float) -> Any:
    """The index chosen as a mean over soft weights, which are kept for what it then takes."""
    x = call.args[0]
    dim = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim")
    scores = sign * (x.reshape(-1) if dim is None else x.movedim(dim, -1))  # (..., k)
    call.weights = _softened(scores).reshape(-1, scores.shape[-1])
    steps = torch.arange(scores.shape[-1], dtype=x.dtype, device=x.device)
    return (call.weights @ steps).reshape(_index_of(call.out).shape)


def _best(call: Call, sign: float) -> Any:
    """`max` and `min` along a dimension: values as autograd has them, the index as above."""
    if not isinstance(call.out, tuple):
        return NotImplemented
    index = _arg(call, sign)
    return call.func(*call.args, **call.kwargs)[0], index


def _index_of(out: Any) -> Tensor:
    found: Tensor = out[1] if isinstance(out, tuple) else out
    return found


def _softened(scores: Tensor) -> Tensor:
    """Weights that sum to 1 along the last dimension; their width is how far the best lies before the rest."""
    fixed = scores.detach()
    finite = torch.where(fixed.isfinite(), fixed, torch.nan)
    gap = finite.nan_to_num(-torch.inf).amax(-1, keepdim=True) - finite.nanmean(-1, keepdim=True)
    gap = gap.nan_to_num(0.0, 0.0, 0.0)
    return torch.softmax(scores / (gap / 4).clamp_min(_TINY), dim=-1)


def _look_up(call: Call) -> Any:
    """A table at indices that hang on the images: a mean by soft weights, else linear between neighbours."""
    table, (dim, index, soft) = call.args[0], _indices(call)
    if soft is None:
        return NotImplemented
    if call.name in ("gather", "take_along_dim"):
        return _neighbours(partial(torch.gather, table, dim), index, soft, table.shape[dim])
    weights = call.choice(index)
    if weights is not None and dim == 0 and weights.shape[1] == len(table):
        flat: Tensor = weights @ table.reshape(len(table), -1).to(weights.dtype)
        return flat.reshape(*index.shape, *table.shape[1:])
    taken = partial(_take, table, dim)
    return _neighbours(taken, index, soft, table.shape[dim])


def _take(table: Tensor, dim: int, index: Tensor) -> Tensor:
    found = table.index_select(dim, index.reshape(-1))
    return found.reshape(*table.shape[:dim], *index.shape, *table.shape[dim + 1 :])


def _neighbours(
    take: Callable[[Tensor], Tensor], index: Tensor, soft: Tensor, count: int
) -> Tensor:
    here = index.long()
    slope = (take((here + 1).clamp_max(count - 1)) - take((here - 1).clamp_min(0))) / 2
    moved = soft - soft.detach()
    return take(here) + slope * moved.reshape(*moved.shape, *[1] * (slope.ndim - moved.ndim))


def _indices(call: Call) -> tuple[int, Tensor, Tensor | None]:
    """The dimension that is looked up, the real indices, and their twin where they have one."""
    real, twins = call.real_args, call.args
    if call.name == "index":
        at = [i for i, each in enumerate(real[1]) if each is not None]
        if len(at) != 1 or real[1][at[0]].dtype is torch.bool:
            return 0, real[0], None
        dim, index, twin = at[0], real[1][at[0]], twins[1][at[0]]
    elif call.name in ("embedding", "take"):
        dim, index, twin = 0, real[1], twins[1]
    else:
        dim, index, twin = real[1], real[2], twins[2]
    return dim, index, twin if twin.is_floating_point() else None


def _scatter(call: Call) -> Any:
    """A one-hot vector of an index that was chosen: the soft weights themselves."""
    x, dim, index = call.real_args[:3]
    weights = call.choice(index) if isinstance(call.args[3], (int, float)) else None
    if weights is None or dim not in (-1, x.ndim - 1) or weights.shape[1] != x.shape[-1]:
        return NotImplemented
    return weights.reshape(x.shape) * call.args[3]


def _dropout(call: Call) -> Any:
    keep = 1 - call.args[1]
    return call.args[0] * call.out[1] / max(keep, _TINY), call.out[1]


_STEPS = (
    "round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "quantize_per_tensor", "quantize_per_channel",
    "dequantize",
)  # fmt: skip
RULES: dict[str, Rule] = {
    **dict.fromkeys(_STEPS, _first),
    **dict.fromkeys(("normal", "poisson", "bernoulli"), _random),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max", "hardtanh"), _clamp),
    **dict.fromkeys(("div", "floor_divide"), _divide),
    **dict.fromkeys(("remainder", "fmod"), _remainder),
    **dict.fromkeys(("gt", "ge", "greater", "greater_equal"), partial(_above, sign=1.0)),
    **dict.fromkeys(("lt", "le", "less", "less_equal"), partial(_above, sign=-1.0)),
    "eq": partial(_equal, sign=1.0),
    "ne": partial(_equal, sign=-1.0),
    "heaviside": _heaviside,
    "where": _where,
    "masked_fill": _masked_fill,
    **dict.fromkeys(("logical_not", "bitwise_not"), _not),
    **dict.fromkeys(("logical_and", "bitwise_and"), _and),
    **dict.fromkeys(("logical_or", "bitwise_or"), _or),
    **dict.fromkeys(("logical_xor", "bitwise_xor"), _xor),
    **dict.fromkeys(("__lshift__", "bitwise_left_shift"), partial(_shift, sign=1)),
    **dict.fromkeys(("__rshift__", "bitwise_right_shift"), partial(_shift, sign=-1)),
    "_to_copy": _to,
    "copy": _copy,
    **dict.fromkeys(("bucketize", "searchsorted"), _bucketize),
    "argmax": partial(_arg, sign=1.0),
    "argmin": partial(_arg, sign=-1.0),
    "max": partial(_best, sign=1.0),
    "min": partial(_best, sign=-1.0),
    **dict.fromkeys(("index", "embedding", "index_select", "gather", "take"), _look_up),
    "scatter": _scatter,
    "native_dropout": _dropout,
    **dict.fromkeys(("uniform", "exponential", "random", "multinomial", "fill", "zero"), _constant),
}
