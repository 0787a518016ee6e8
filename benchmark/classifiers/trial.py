"""One state of a checkpoint, tried on a network: what of it fits, what is missing and what is left over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile

from torch import Tensor, nn

from benchmark.classifiers.alignment import Alignment, align


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
