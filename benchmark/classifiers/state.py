"""States of networks out of weights files that nobody has reason to trust."""

from __future__ import annotations

import contextlib
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.serialization import add_safe_globals, clear_safe_globals, get_safe_globals

from benchmark.damage import DAMAGED
from benchmark.errors import BenchError
from benchmark.weights import is_pickle, load_safetensors, refuse_foreign

_WRAPPINGS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "model.", "_orig_mod.", "network.")


class _Ignored:
    """Stands for an object of a pickle that is no weight: it takes whatever it is given, and is nothing."""

    def __new__(cls, *_args: object, **_words: object) -> Self:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        del state


def _stand_in(path: str) -> type:
    module, _, name = path.rpartition(".")
    return type(name, (_Ignored,), {"__module__": module, "__qualname__": name})


_BESIDES: list[Any] = [
    _stand_in(path)
    for path in (
        "argparse.Namespace",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
        "numpy.dtype",
        "numpy.ndarray",
    )
]
"""What training scripts keep beside the weights: their options and accuracies. It is skipped, not made."""


def load_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file: safetensors, or what `torch.save` wrote, read as data alone.

    A pickle that would run code is refused, and none of it runs. A state dict may lie inside a checkpoint under
    `state_dict`, `model_state_dict`, `model` or `net`.

    Raises:
        BenchError: The file is missing, truncated, no weights at all, or would run code.
    """
    if not is_pickle(refuse_foreign(path)):
        return load_safetensors(path)
    found = load_checkpoint(path)
    for wrapping in _WRAPPINGS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapping), Mapping):
            found = found[wrapping]
    if not isinstance(found, Mapping) or not found:
        raise BenchError(
            f"{str(path)!r} holds no state dict but a {type(found).__name__}; save "
            f"network.state_dict(), best as safetensors"
        )
    return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}


def load_checkpoint(path: Path) -> Any:
    """What `torch.save` wrote, on the CPU; only tensors and plain data are taken from the pickle.

    Options (`argparse.Namespace`) and numpy's numbers, which training scripts add, are skipped: an inert object
    stands for them.

    Raises:
        BenchError: The file is damaged, or would run code.
    """
    try:
        with warnings.catch_warnings(), _skipping():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise BenchError(
            f"weights {str(path)!r} are refused: the pickle holds more than tensors and plain data"
            f"{f' ({asked[1]})' if asked else ''} and could run code, or it is damaged; save the plain state "
            f"dict as safetensors"
        ) from error
    except DAMAGED as error:
        raise BenchError(
            f"weights {str(path)!r} are damaged ({_first_line(error)}); make or download them again"
        ) from error


@contextlib.contextmanager
def _skipping() -> Iterator[None]:
    before = list(get_safe_globals())
    add_safe_globals(_BESIDES)
    try:
        yield
    finally:
        clear_safe_globals()
        add_safe_globals(before)


def fitted(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> nn.Module:
    """The network with a state loaded; prefixes that wrappers leave (`module.`) are taken off where need be.

    Raises:
        BenchError: Keys or shapes are not the network's.
    """
    wanted = set(network.state_dict())
    fitting = dict(state)
    for prefix in _PREFIXES:
        if not wanted & set(fitting):
            fitting = {name.removeprefix(prefix): value for name, value in fitting.items()}
    missing, surplus = sorted(wanted - set(fitting)), sorted(set(fitting) - wanted)
    if missing or surplus:
        raise BenchError(
            f"weights {str(path)!r} are not of this architecture ({type(network).__name__}): it needs "
            f"{_few(missing)} and has no place for {_few(surplus)}; name the right architecture"
        )
    try:
        network.load_state_dict(fitting)
    except RuntimeError as error:
        raise BenchError(
            f"weights {str(path)!r} are not of this architecture ({type(network).__name__}): "
            f"{_last_line(error)}; name the right architecture"
        ) from error
    return network


def _few(names: list[str]) -> str:
    if not names:
        return "nothing more"
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]


def _last_line(error: Exception) -> str:
    return str(error).strip().split("\n")[-1].strip().rstrip(".")
