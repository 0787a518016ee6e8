"""Networks filled from a checkpoint: whole, or one line that says what is missing and what is left over."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from benchmark.classifiers.misfits import CHOICE, few, held, misfit_of
from benchmark.classifiers.rivals import agree, completed, rivals_of, without_optimizers
from benchmark.classifiers.state import states_in
from benchmark.classifiers.trial import Trial, siblings, tried_on, tried_together
from benchmark.errors import BenchError
from benchmark.weights import sha256_of

log = logging.getLogger(__name__)

Accuracy = Callable[[nn.Module], float]
"""How often a network is right on clean images, in [0, 1]."""


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


def fitted(
    network: object, content: Any, path: Path, *, key: str = "", accuracy: Accuracy | None = None
) -> Fitted:
    """A network with the state that a file holds for it.

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
        tried += [tried_together(network, parts, at) for at, parts in siblings(states)]
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
    return Fitted(network, _sha256(network, whole[0], path, key))


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
