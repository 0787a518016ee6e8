"""Weights files that nobody has reason to trust: what they hold, read as data alone."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.serialization import safe_globals

from benchmark.errors import BenchError
from benchmark.files.parsing import DAMAGED
from benchmark.files.weights import is_pickle, load_safetensors, refuse_foreign

_DEEPEST = 6
"""Levels of a checkpoint that are searched for a state dict."""
_MOST = 1000
"""Containers that are searched."""


class _Ignored:
    """Stands for an object of a pickle that is no weight: it takes whatever it is given, and is nothing."""

    def __new__(cls, *_args: object, **_words: object) -> Self:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        del state


_BESIDES: list[Any] = [
    (_Ignored, path)
    for path in (
        "argparse.Namespace",
        "pathlib.Path",
        "pathlib.PosixPath",
        "pathlib.PurePosixPath",
        "pathlib.WindowsPath",
        "types.SimpleNamespace",
        "datetime.datetime",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
        "numpy.dtype",
        "numpy.ndarray",
    )
]
"""What training scripts keep beside the weights: their options and accuracies. It is skipped, not made."""


def load_state(path: Path) -> Any:
    """What a weights file holds: a state dict, or a checkpoint with one somewhere in it.

    Safetensors, or what `torch.save` wrote, read as data alone: a pickle that would run code is refused, and
    none of it runs. `benchmark.classifiers.fitting` finds the state that is a network's.

    Raises:
        BenchError: The file is missing, truncated, no weights at all, or would run code.
    """
    if not is_pickle(refuse_foreign(path)):
        return load_safetensors(path)
    found = load_checkpoint(path)
    if not states_in(found):
        raise BenchError(
            f"{str(path)!r} holds no state dict but a {type(found).__name__}; save "
            f"network.state_dict(), best as safetensors"
        )
    return found


def states_in(content: Any) -> dict[str, dict[str, Tensor]]:
    """All that may be a network's state, by the key under which it lies (`model.ema`); of the whole, by "".

    Tensors in a list are a state too, whose names are their places; so averaged weights are kept by some.
    What else training scripts keep in a weights file is passed over.
    """
    found: dict[str, dict[str, Tensor]] = {}
    todo: list[tuple[str, Any, int]] = [("", content, 0)]
    for n, (key, value, depth) in enumerate(todo):  # grows while it is walked
        named = value.items() if isinstance(value, Mapping) else enumerate(value)
        parts = [(str(name), part) for name, part in named]
        tensors = {name: part for name, part in parts if isinstance(part, Tensor)}
        if tensors:
            found[key] = tensors
        if depth < _DEEPEST and n < _MOST:  # a pickle may hold itself
            todo += [
                (f"{key}.{name}" if key else name, part, depth + 1)
                for name, part in parts[:_MOST]
                if isinstance(part, Mapping | list | tuple)
            ]
    return found


def load_checkpoint(path: Path) -> Any:
    """What `torch.save` wrote, on the CPU; only tensors and plain data are taken from the pickle.

    Options (`argparse.Namespace`) and numpy's numbers, which training scripts add, are skipped: an inert object
    stands for them.

    Raises:
        BenchError: The file is damaged, or would run code.
    """
    try:
        with warnings.catch_warnings(), safe_globals(_BESIDES):
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise BenchError(
            f"weights {str(path)!r} are refused: the pickle holds more than tensors and plain data"
            f"{f' (an object of {asked[1]})' if asked else ''} and could run code, or it is damaged; of a "
            f"whole network, save network.state_dict(), best as safetensors"
        ) from error
    except DAMAGED as error:
        told = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise BenchError(
            f"weights {str(path)!r} are damaged ({told}); make or download them again"
        ) from error
