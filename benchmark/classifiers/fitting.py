"""Networks filled from a checkpoint: whole, or one line that says what is missing and what is left over."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.classifiers.alignment import Alignment, align
from benchmark.classifiers.state import states_in
from benchmark.errors import BenchError
from benchmark.weights import sha256_of

log = logging.getLogger(__name__)

CHOICE = "file:PATH#KEY@ARCHITECTURE"
_MEANS = ("mean", "std", "mu", "sigma")
"""Ends of the names that tensors have by which images are normalised."""


class SeveralFit(BenchError):
    """A checkpoint holds several states of a network that are not the same."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A network with the weights of a file.

    Args:
        network: The network.
        sha256: Of all that decides its weights, hex: of the file, with the key of the state in it where one was
            asked for, and the constants that the architecture set itself, if any.
    """

    network: nn.Module
    sha256: str


@dataclass(frozen=True, slots=True)
class _Fit:
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
        return [name for name in self.names.missing if name not in self.constants]

    @property
    def is_whole(self) -> bool:
        return not (self.missing or self.names.surplus or self.misfits)

    @property
    def place(self) -> str:
        """Where in the file what was used lies, as a key names it."""
        return ".".join(part for part in (self.key, self.names.under.rstrip(".")) if part)

    def tensors(self) -> dict[str, Tensor]:
        """What is loaded, by the network's names."""
        return {name: self.state[given] for name, given in self.names.names.items()}


def fitted(network: object, content: Any, path: Path, *, key: str = "") -> Fitted:
    """A network with the state that a file holds for it.

    Names are matched by the two sets of names themselves (`benchmark.classifiers.alignment`); a state may lie
    anywhere in a checkpoint. Where several fit that are not equal, none is chosen.

    Args:
        network: The network, whose every parameter and buffer is filled.
        content: What `load_state` gave for the file.
        path: The file.
        key: Where the state lies in it, such as `ema` or `state_dict.student`; empty to have it found.

    Raises:
        BenchError: No state is the network's, or several are.
    """
    if not isinstance(network, nn.Module):
        raise BenchError(f"expected a torch.nn.Module for {str(path)!r}; got {network!r:.200}")
    states = states_in(content)
    if key:
        states = {key: _under(key, states, path)}
    tried = [_tried(network, state, at) for at, state in states.items()]
    if not any(fit.is_whole for fit in tried):
        tried += [_tried_together(network, parts, at) for at, parts in _siblings(states)]
    whole = [fit for fit in tried if fit.is_whole]
    if not whole:
        raise _misfit(network, tried, path)
    _refuse_rivals(whole, path)
    _load(network, whole[0], path)
    return Fitted(network, _sha256(network, whole[0], path, key))


def _under(key: str, states: Mapping[str, Mapping[str, Tensor]], path: Path) -> dict[str, Tensor]:
    """The tensors that lie under a key: a state of that name, or the part of one whose names begin so."""
    for at, state in states.items():
        if at == key:
            return dict(state)
        if at and not key.startswith(f"{at}."):
            continue
        prefix = f"{key[len(at) + 1 :] if at else key}."
        found = {
            name[len(prefix) :]: part for name, part in state.items() if name.startswith(prefix)
        }
        if found:
            return found
    raise BenchError(f"weights {str(path)!r} hold nothing under {key!r}; they hold {_held(states)}")


def _tried(network: nn.Module, state: Mapping[str, Tensor], key: str) -> _Fit:
    wanted = network.state_dict()
    names = align(wanted, state)
    misfits = [name for name, given in names.names.items() if _differ(wanted[name], state[given])]
    return _Fit(key, state, names, tuple(_constants(network, names)), tuple(misfits))


def _siblings(
    states: Mapping[str, Mapping[str, Tensor]],
) -> Iterator[tuple[str, dict[str, Mapping[str, Tensor]]]]:
    """States that lie side by side, as an encoder and its head do, by where they lie; at least two each."""
    for parent in dict.fromkeys(key.rpartition(".")[0] for key in states if key):
        parts = {
            key.rpartition(".")[2]: state
            for key, state in states.items()
            if key and key.rpartition(".")[0] == parent
        }
        if len(parts) > 1:
            yield parent, parts


def _tried_together(
    network: nn.Module, parts: Mapping[str, Mapping[str, Tensor]], key: str
) -> _Fit:
    """The same of several states as one; those of which nothing fits are none of the network's."""

    def union(of: Iterable[str]) -> dict[str, Tensor]:
        return {f"{part}.{name}": value for part in of for name, value in parts[part].items()}

    found = align(network.state_dict(), union(parts)).names.values()
    used = [part for part in parts if any(name.startswith(f"{part}.") for name in found)]
    return _tried(network, union(used), key)


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


def _refuse_rivals(whole: list[_Fit], path: Path) -> None:
    """Refuses to choose between states that fit and are not the same."""
    first = whole[0].tensors()
    others = [
        fit
        for fit in whole[1:]
        if any(not torch.equal(first[name], tensor) for name, tensor in fit.tensors().items())
    ]
    if others:
        places = _few([repr(fit.place) for fit in (whole[0], *others)], most=8)
        raise SeveralFit(
            f"weights {str(path)!r} hold several states that fit, and are not the same: {places}; say which, "
            f"as {CHOICE}"
        )


def _load(network: nn.Module, fit: _Fit, path: Path) -> None:
    own = network.state_dict()
    if fit.constants:
        log.warning(
            "weights %r do not hold %s: as the architecture sets them",
            str(path),
            _few(list(fit.constants)),
        )
    try:
        network.load_state_dict({**own, **fit.tensors()})
    except RuntimeError as error:
        raise BenchError(
            f"weights {str(path)!r} are not of this architecture ({type(network).__name__}): "
            f"{_last_line(error)}; name the right architecture"
        ) from error


def _sha256(network: nn.Module, fit: _Fit, path: Path, key: str) -> str:
    """That of the file, where the file alone decides."""
    found = sha256_of(path)
    if not key and not fit.constants:
        return found
    digest = hashlib.sha256(f"{found}\0{key}".encode())
    for name in fit.constants:
        value = network.get_buffer(name).detach().cpu()
        digest.update(f"\0{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.double().numpy().tobytes())
    return digest.hexdigest()


def _misfit(network: nn.Module, tried: list[_Fit], path: Path) -> BenchError:
    """The error for a file without a state of the network's, by the state that comes nearest."""
    fit = max(tried, key=lambda one: len(one.names.names) - len(one.misfits))
    beginning = f"weights {str(path)!r} are not of this architecture ({type(network).__name__}): "
    if not fit.names.names:
        held = _held({one.key: one.state for one in tried})
        text = f"it needs {_few(fit.missing)}, of which there is nothing in {held}"
        return BenchError(f"{beginning}{text}; name the right architecture")
    if fit.misfits and not fit.missing and not fit.names.surplus:
        return BenchError(f"{beginning}{_shapes(network, fit)}; name the right architecture")
    where = f" (of what lies under {fit.place!r})" if fit.place else ""
    text = f"it needs {_few(fit.missing)} and has no place for {_few(fit.names.surplus)}{where}"
    return BenchError(f"{beginning}{text}; {_mend(network, fit)}")


def _mend(network: nn.Module, fit: _Fit) -> str:
    """What to do about names that are missing or left over."""
    surplus = fit.names.surplus
    if not fit.missing and fit.names.rivals:
        rivals = (fit.names.under, *fit.names.rivals)
        keys = _few([repr(".".join(filter(None, (fit.key, p.rstrip("."))))) for p in rivals])
        return f"several parts fit, {keys}: say which, as {CHOICE}"
    if not fit.missing and any(name.rpartition(".")[2].endswith(_MEANS) for name in surplus):
        return "it normalises by what is left over: name an architecture that does so, too"
    if not fit.missing and fit.names.under:
        return (
            f"name the right architecture, or that part alone: file:PATH#{fit.place}@ARCHITECTURE"
        )
    buffers = {name for name, _ in network.named_buffers()}
    if not surplus and buffers.issuperset(fit.missing):
        return "save them too, or register what the architecture sets itself with persistent=False"
    return "name the right architecture"


def _shapes(network: nn.Module, fit: _Fit) -> str:
    """What is of another shape or kind, with the outputs or channels that this comes to."""
    wanted = network.state_dict()
    found = []
    for name in fit.misfits[:2]:
        own, given = wanted[name], fit.state[fit.names.names[name]]
        if own.shape == given.shape:
            found.append(f"{name} is {_kind(given)} in the file and {_kind(own)} in the network")
        else:
            shapes = f"{tuple(given.shape)} in the file and {tuple(own.shape)} in the network"
            found.append(f"{name} is {shapes}{_sizes(given, own)}")
    rest = f", and {len(fit.misfits) - 2} more" if len(fit.misfits) > 2 else ""
    return f"{', '.join(found)}{rest}"


def _sizes(given: Tensor, own: Tensor) -> str:
    """The one thing in which two weights differ, if it has a name."""
    if given.ndim != own.ndim or given.ndim < 2:
        return ""
    apart = [i for i in range(own.ndim) if given.shape[i] != own.shape[i]]
    names = {0: "outputs (classes)", 1: "inputs (channels)"}
    if len(apart) > 1 or apart[0] not in names:
        return ""
    at = apart[0]
    return f": for {given.shape[at]} {names[at]}, not {own.shape[at]}"


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _held(states: Mapping[str, Mapping[str, Tensor]]) -> str:
    """The states of a file with what they hold."""
    return _few([f"{key or 'the file'!r} ({_few(state)})" for key, state in states.items()])


def _few(names: Iterable[str], most: int = 3) -> str:
    shown = [name if name.isprintable() else repr(name) for name in names]
    if not shown:
        return "nothing more"
    rest = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(name[:120] for name in shown[:most]) + rest


def _last_line(error: Exception) -> str:
    return str(error).strip().split("\n")[-1].strip().rstrip(".")
