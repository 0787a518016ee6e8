"""Rival states of a checkpoint: averaged weights beside raw ones, and what else may be the network's too."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from benchmark.classifiers.trial import Trial, tried_on

AGREED: Final = 0.01
"""How far apart clean accuracies may lie that agree."""
ABOVE_LOWEST: Final = 0.3
"""Accuracy below which agreement may be chance."""
_OPTIMIZER = re.compile(r"(?:^|\.)(?:opt|optims?|\w*optimi[sz]ers?\w*)(?:\.|$)", re.IGNORECASE)


def without_optimizers(
    states: Mapping[str, Mapping[str, Tensor]],
) -> Mapping[str, Mapping[str, Tensor]]:
    """The states that are no optimizer's, which may have the names of weights; all, where there is no other."""
    return {at: state for at, state in states.items() if not _OPTIMIZER.search(at)} or states


def largest_in(states: Mapping[str, Mapping[str, Tensor]]) -> list[str]:
    """The keys of the states that may be a network's by their size: at least half of the largest's."""
    own = without_optimizers(states)
    most = max(map(len, own.values()), default=0)
    return [at for at, state in own.items() if 2 * len(state) >= most]


def rivals_of(chosen: Trial, tried: Sequence[Trial], network: nn.Module) -> list[Trial]:
    """The trials that hold other values for each of a network's parameters.

    They may lack buffers, hold more than the network, or have other names for the same shapes: averages are
    kept in all these ways.
    """
    names = [name for name, _ in network.named_parameters()]
    ours = chosen.tensors()
    values = [ours[name] for name in names if name in ours]
    others = [fit for fit in tried if fit is not chosen]
    return [fit for fit in others if _names_other(names, ours, fit) or _lists_other(values, fit)]


def completed(network: nn.Module, fit: Trial, beside: Sequence[Trial]) -> Trial | None:
    """A state of parameters alone, by name or in order, with the buffers of the one state beside it.

    None where it is no such state, or none or several lie beside it.
    """
    names = [name for name, _ in network.named_parameters()]
    whole = [other for other in beside if other.is_whole]
    by_place = dict(zip(names, fit.state.values(), strict=False))
    given = fit.tensors() if fit.names.names else by_place
    if len(whole) != 1 or len(given) != len(fit.state) or given.keys() != set(names):
        return None
    made = tried_on(network, {**whole[0].tensors(), **given}, fit.key)
    return made if made.is_whole else None


def agree(shares: Sequence[float]) -> bool:
    """Whether accuracies in [0, 1] are the same for all purposes, and not by chance."""
    return bool(shares) and max(shares) - min(shares) <= AGREED and min(shares) > ABOVE_LOWEST


def _names_other(names: Sequence[str], ours: Mapping[str, Tensor], fit: Trial) -> bool:
    if any(name not in fit.names.names or name in fit.misfits for name in names):
        return False
    theirs = fit.tensors()
    return any(not _equal(ours[name], tensor) for name, tensor in theirs.items() if name in ours)


def _lists_other(values: Sequence[Tensor], fit: Trial) -> bool:
    """The same of tensors of other names, by their shapes."""
    floats = [tensor for tensor in fit.state.values() if tensor.is_floating_point()]
    shapes = Counter(tuple(tensor.shape) for tensor in values)
    if fit.names.names or not shapes or shapes - Counter(tuple(t.shape) for t in floats):
        return False
    return len(floats) != len(values) or not all(map(_equal, values, floats))


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)
