"""Networks filled from a checkpoint: whole, or one line that says what is missing and what is left over."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from benchmark.classifiers.state import states_in
from benchmark.classifiers.trial import (
    Trial,
    agree,
    completed,
    rivals_of,
    siblings,
    tried_on,
    tried_together,
    without_optimizers,
)
from benchmark.errors import BenchError
from benchmark.files.known_hashes import file_sha256

log = logging.getLogger(__name__)

Accuracy = Callable[[nn.Module], float]
"""How often a network is right on clean images, in [0, 1]."""


class SeveralFit(BenchError):
    """A checkpoint holds several states of a network that are not the same."""


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
    names, at = ("outputs (classes)", "inputs (channels)"), apart[0]
    if len(apart) > 1 or at >= len(names):
        return ""
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


def fitted(
    network: object, content: Any, path: Path, *, key: str = "", accuracy: Accuracy | None = None
) -> tuple[nn.Module, str]:
    """A network with the state that a file holds for it, and the sha256 of all that decides its weights, hex.

    That is the file's, with the key of the state in it where one was asked for, and the constants that the
    architecture set itself, if any.

    Names are matched by the two sets of names themselves (`benchmark.classifiers.alignment`); a state may lie
    anywhere in a checkpoint, but in an optimizer's. Where several may be the network's and are not equal, none
    is chosen, unless all can be loaded and are right equally often: then it is the first, and that is said.
    Averages that were asked for and are of parameters alone get the buffers of the one state beside them.

    Args:
        network: The network, whose every parameter and buffer is filled.
        content: What `load_state` gave for the file.
        path: The file.
        key: Where the state lies in it, such as `ema` or `state_dict.student`; empty to have it found.
        accuracy: How often the network as it is now is right; None where nobody can say.

    Raises:
        BenchError: No state is the network's, or several are.
    """
    if not isinstance(network, nn.Module):
        raise BenchError(f"expected a torch.nn.Module for {str(path)!r}; got {network!r:.200}")
    every = states_in(content)
    states = _under(key, every, path) if key else without_optimizers(every)
    tried = [tried_on(network, state, at) for at, state in states.items()]
    if not any(fit.is_whole for fit in tried):
        tried += [tried_together(network, parts, at) for at, parts in siblings(states).items()]
    whole = [fit for fit in tried if fit.is_whole]
    if key and not whole:
        beside = {at: s for at, s in without_optimizers(every).items() if at not in states}
        others = [tried_on(network, state, at) for at, state in beside.items()]
        whole = [made for fit in tried if (made := completed(network, fit, others))]
    if not whole:
        raise misfit_of(network, tried, path)
    rivals = rivals_of(whole[0], tried, network)
    if rivals:
        _settle(network, [whole[0], *rivals], path, accuracy)
    _load(network, whole[0], path)
    return network, _sha256(network, whole[0], path, key)


def _under(
    key: str, states: Mapping[str, Mapping[str, Tensor]], path: Path
) -> dict[str, dict[str, Tensor]]:
    """What lies under a key: states of that name or below it, or the part of one whose names begin so."""
    below = {at: dict(s) for at, s in states.items() if at == key or at.startswith(f"{key}.")}
    if below:
        return below
    for at, state in states.items():
        if at and not key.startswith(f"{at}."):
            continue
        prefix = f"{key[len(at) + 1 :] if at else key}."
        found = {
            name[len(prefix) :]: part for name, part in state.items() if name.startswith(prefix)
        }
        if found:
            return {key: found}
    raise BenchError(f"weights {str(path)!r} hold nothing under {key!r}; they hold {held(states)}")


def _settle(
    network: nn.Module, fits: Sequence[Trial], path: Path, accuracy: Accuracy | None
) -> None:
    """Refuses to choose between states that are not the same, unless they are right equally often.

    Raises:
        SeveralFit: They are not, or that cannot be told.
    """
    shares: list[float] = []
    if accuracy and all(fit.is_whole for fit in fits):
        for fit in fits:
            _load(network, fit, path)
            shares.append(accuracy(network))
    places = few([repr(fit.place) for fit in fits], most=8)
    right = " and ".join(f"{100 * share:.1f}" for share in shares)
    places += f" (right on {right} % of the first clean images)" if shares else ""
    if not agree(shares):
        raise SeveralFit(
            f"weights {str(path)!r} hold several states that fit, and are not the same: {places}; say which, "
            f"as {CHOICE}, such as file:{path}#{fits[-1].place}@..."
        )
    log.warning("weights %r hold %s; took %r", str(path), places, fits[0].place)


def _load(network: nn.Module, fit: Trial, path: Path) -> None:
    own = network.state_dict()
    if fit.constants:
        log.warning(
            "weights %r do not hold %s: as the architecture sets them",
            str(path),
            few(list(fit.constants)),
        )
    try:
        network.load_state_dict({**own, **fit.tensors()})
    except RuntimeError as error:
        told = str(error).strip().split("\n")[-1].strip().rstrip(".")
        raise BenchError(
            f"weights {str(path)!r} are not of this architecture ({type(network).__name__}): {told}; name the "
            f"right architecture"
        ) from error


def _sha256(network: nn.Module, fit: Trial, path: Path, key: str) -> str:
    """That of the file, where the file alone decides."""
    found = file_sha256(path)
    if not key and not fit.constants:
        return found
    digest = hashlib.sha256(f"{found}\0{key}".encode())
    for name in fit.constants:
        value = network.get_buffer(name).detach().cpu()
        digest.update(f"\0{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.double().numpy().tobytes())
    return digest.hexdigest()
