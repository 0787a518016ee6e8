"""Errors for checkpoints that are not a network's: what is missing, left over or of another shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from benchmark.classifiers.trial import Trial
from benchmark.errors import BenchError

CHOICE = "file:PATH#KEY@ARCHITECTURE"
_MEANS = ("mean", "std", "mu", "sigma")
"""Ends of the names that tensors have by which images are normalised."""


def misfit_of(network: nn.Module, tried: list[Trial], path: Path) -> BenchError:
    """The error for a file without a state of the network's, by the state that comes nearest."""
    fit = max(tried, key=lambda one: len(one.names.names) - len(one.misfits))
    beginning = f"weights {str(path)!r} are not of this architecture ({type(network).__name__}): "
    if not fit.names.names:
        states = held({one.key: one.state for one in tried})
        text = f"it needs {few(fit.missing)}, of which there is nothing in {states}"
        return BenchError(f"{beginning}{text}; name the right architecture")
    if fit.misfits and not fit.missing and not fit.names.surplus:
        return BenchError(f"{beginning}{_shapes(network, fit)}; name the right architecture")
    where = f" (of what lies under {fit.place!r})" if fit.place else ""
    text = f"it needs {few(fit.missing)} and has no place for {few(fit.names.surplus)}{where}"
    return BenchError(f"{beginning}{text}; {_mend(network, fit)}")


def _mend(network: nn.Module, fit: Trial) -> str:
    """What to do about names that are missing or left over."""
    surplus = fit.names.surplus
    if not fit.missing and fit.names.rivals:
        rivals = (fit.names.under, *fit.names.rivals)
        keys = few([repr(".".join(filter(None, (fit.key, p.rstrip("."))))) for p in rivals])
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


def _shapes(network: nn.Module, fit: Trial) -> str:
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


def held(states: Mapping[str, Mapping[str, Tensor]]) -> str:
    """The states of a file with what they hold."""
    return few([f"{key or 'the file'!r} ({few(state)})" for key, state in states.items()])


def few(names: Iterable[str], most: int = 3) -> str:
    """The first names of several, and how many more there are."""
    shown = [name if name.isprintable() else repr(name) for name in names]
    if not shown:
        return "nothing more"
    rest = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(name[:120] for name in shown[:most]) + rest
