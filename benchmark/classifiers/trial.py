"""States of a checkpoint, tried on a network: what of each fits, and which may be the network's as well.

Averaged weights lie beside raw ones in many.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

import torch
from torch import Tensor, nn

from benchmark.classifiers.alignment import Alignment, align

AGREED: Final = 0.01
"""How far apart clean accuracies may lie that agree."""
ABOVE_LOWEST: Final = 0.3
"""Accuracy below which agreement may be chance."""
_OPTIMIZER = re.compile(r"(?:^|\.)(?:opt|optims?|\w*optimi[sz]ers?\w*)(?:\.|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Trial:
    """One state of a checkpoint, tried on a network."""

    key: str
    state: Mapping[str, Tensor]
    names: Alignment
    constants: tuple[str, ...]
    """The network's names that the architecture sets itself; not among the missing."""
    misfits: tuple[str, ...]
    """The network's names whose tensors are of another shape or kind in the state."""

    @property
    def missing(self) -> list[str]:
        """The network's names that nothing fills."""
        return [name for name in self.names.missing if name not in self.constants]

    @property
    def is_whole(self) -> bool:
        """Whether everything is filled and nothing is left over."""
        return not (self.missing or self.names.surplus or self.misfits)

    @property
    def place(self) -> str:
        """Where in the file what was used lies, as a key names it."""
        return ".".join(part for part in (self.key, self.names.under.rstrip(".")) if part)

    def tensors(self) -> dict[str, Tensor]:
        """What is loaded, by the network's names."""
        return {name: self.state[given] for name, given in self.names.names.items()}


def tried_on(network: nn.Module, state: Mapping[str, Tensor], key: str) -> Trial:
    """What of a state, which lies under a key, fits a network."""
    wanted = network.state_dict()
    names = align(wanted, state)
    misfits = [name for name, given in names.names.items() if _differ(wanted[name], state[given])]
    return Trial(key, state, names, tuple(_constants(network, names)), tuple(misfits))


def siblings(
    states: Mapping[str, Mapping[str, Tensor]],
) -> dict[str, dict[str, Mapping[str, Tensor]]]:
    """States that lie side by side, as an encoder and its head do, by where they lie; at least two each."""
    found: dict[str, dict[str, Mapping[str, Tensor]]] = {}
    for key, state in states.items():
        if key:
            parent, _, name = key.rpartition(".")
            found.setdefault(parent, {})[name] = state
    return {parent: parts for parent, parts in found.items() if len(parts) > 1}


def tried_together(
    network: nn.Module, parts: Mapping[str, Mapping[str, Tensor]], key: str
) -> Trial:
    """The same of several states as one; those of which nothing fits are none of the network's."""

    def union(of: Iterable[str]) -> dict[str, Tensor]:
        return {f"{part}.{name}": value for part in of for name, value in parts[part].items()}

    found = align(network.state_dict(), union(parts)).names.values()
    used = [part for part in parts if any(name.startswith(f"{part}.") for name in found)]
    return tried_on(network, union(used), key)


def _differ(wanted: object, given: Tensor) -> bool:
    """Whether loading one into the other would change more than its precision."""
    if not isinstance(wanted, Tensor) or wanted.shape != given.shape:
        return True
    return wanted.is_floating_point() != given.is_floating_point() or (
        wanted.is_complex() != given.is_complex()
    )


def _constants(network: nn.Module, names: Alignment) -> list[str]:
    """Missing buffers of a wrapper around the network that was saved: its means, which its code sets.

    A statistic that is learned is none: those of torch's own modules, and what calls itself running.
    """
    inside = _around(names.names)
    buffers = {name for name, _ in network.named_buffers()}
    found = []
    for name in names.missing if inside else ():
        owner, _, last = name.rpartition(".")
        kind = type(network.get_submodule(owner)).__module__
        is_around = name in buffers and not f"{owner}.".startswith(f"{inside}.")
        if is_around and not kind.startswith("torch.") and not last.startswith("running"):
            found.append(name)
    return found


def _around(names: Iterable[str]) -> str:
    """The innermost module in which all names lie; empty for the network itself."""
    columns = zip(*(name.split(".")[:-1] for name in names), strict=False)
    return ".".join(column[0] for column in takewhile(lambda each: len(set(each)) == 1, columns))


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
