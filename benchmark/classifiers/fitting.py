"""Networks filled from a checkpoint: whole, or one line that says what is missing and what is left over."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.classifiers.misfits import CHOICE, few, held, misfit_of
from benchmark.classifiers.state import states_in
from benchmark.classifiers.trial import Trial, siblings, tried_on, tried_together
from benchmark.errors import BenchError
from benchmark.weights import sha256_of

log = logging.getLogger(__name__)


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
    tried = [tried_on(network, state, at) for at, state in states.items()]
    if not any(fit.is_whole for fit in tried):
        tried += [tried_together(network, parts, at) for at, parts in siblings(states)]
    whole = [fit for fit in tried if fit.is_whole]
    if not whole:
        raise misfit_of(network, tried, path)
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
    raise BenchError(f"weights {str(path)!r} hold nothing under {key!r}; they hold {held(states)}")


def _refuse_rivals(whole: list[Trial], path: Path) -> None:
    """Refuses to choose between states that fit and are not the same."""
    first = whole[0].tensors()
    others = [
        fit
        for fit in whole[1:]
        if any(not torch.equal(first[name], tensor) for name, tensor in fit.tensors().items())
    ]
    if others:
        places = few([repr(fit.place) for fit in (whole[0], *others)], most=8)
        raise SeveralFit(
            f"weights {str(path)!r} hold several states that fit, and are not the same: {places}; say which, "
            f"as {CHOICE}"
        )


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
        raise BenchError(
            f"weights {str(path)!r} are not of this architecture ({type(network).__name__}): "
            f"{_last_line(error)}; name the right architecture"
        ) from error


def _sha256(network: nn.Module, fit: Trial, path: Path, key: str) -> str:
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


def _last_line(error: Exception) -> str:
    return str(error).strip().split("\n")[-1].strip().rstrip(".")
