"""Weights files: where they are found, how they are read, and how they are written whole or not at all."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from benchmark.errors import BenchError
from benchmark.files.atomic import write_whole
from benchmark.files.expansion import refuse_bomb
from benchmark.files.formats import other_format
from benchmark.files.http import is_web_page
from benchmark.files.known_hashes import file_sha256
from benchmark.files.limits import WEIGHTS
from benchmark.files.locations import local_file
from benchmark.files.manifest import plugin_weights, read_manifest, weights_beside
from benchmark.files.parsing import DAMAGED
from benchmark.files.user_folders import weights_folder

_LONGEST = 64


def file_name(*, label: str, classifier: str, dataset: str) -> str:
    """`<label>--<classifier>--<dataset>.safetensors`, with nothing in it that a file system could mistake.

    A part that had to be changed carries a short hash of the original, so that no two share a name.
    """
    parts = (label, classifier, dataset)
    return "--".join(_sanitised(part) for part in parts) + ".safetensors"


def default_weights_path(*, label: str, classifier: str, dataset: str) -> Path:
    """Where `bench train` writes weights unless told otherwise."""
    return weights_folder() / file_name(label=label, classifier=classifier, dataset=dataset)


def find_weights(
    defense_class: type,
    *,
    label: str,
    classifier: str,
    dataset: str,
    explicit: Path | str | None = None,
) -> Path | None:
    """The weights of a defense for one classifier and dataset.

    Args:
        defense_class: The plugin; weights that ship with it, and the manifest of those that are downloaded, lie
            in `weights/` beside its module's file.
        label: The defense's label, such as `atop[digits]`.
        classifier: The classifier's name.
        dataset: The dataset's name.
        explicit: What the user named, a path, a URL or a file of the Hub; it is then the only one considered.

    Returns:
        The file named, else the shipped one, else the manifest's, else the user's own; None where there is
        none.

    Raises:
        BenchError: What the user named, or a manifest lists, does not exist, cannot be had or has changed.
    """
    names = {"label": label, "classifier": classifier, "dataset": dataset}
    if explicit is not None:
        what = f"the weights {label} for {classifier}"
        return local_file(explicit, what=what, accept=load_safetensors)
    listed = plugin_weights(defense_class, "defense", **names, accept=load_safetensors)
    return listed or _first_unlisted(defense_class, names)


def shipped_sha256(defense_class: type, *, label: str, classifier: str, dataset: str) -> str:
    """The sha256, hex, of the weights that a plugin ships or lists for these names; empty without any.

    Fetches nothing.
    """
    beside = weights_beside(defense_class)
    names = {"label": label, "classifier": classifier, "dataset": dataset}
    listed = read_manifest(beside).find("defense", **names)
    path = beside / file_name(**names) if beside else None
    if listed is None and path is not None and path.is_file():
        return file_sha256(path)
    return listed.sha256 if listed else ""


def finds_unnamed(
    path: Path, defense_class: type, *, label: str, classifier: str, dataset: str
) -> bool:
    """Whether `find_weights` comes to this file where nobody names one; fetches nothing."""
    names = {"label": label, "classifier": classifier, "dataset": dataset}
    if read_manifest(weights_beside(defense_class)).find("defense", **names):
        return False  # what it lists comes first
    first = _first_unlisted(defense_class, names)
    return first is not None and first.samefile(path)


def _first_unlisted(defense_class: type, names: dict[str, str]) -> Path | None:
    """The weights that no manifest lists: beside the plugin, else the user's own."""
    folders = (weights_beside(defense_class), weights_folder())
    places = [folder / file_name(**names) for folder in folders if folder]
    return next((place for place in places if place.is_file()), None)


def load_safetensors(
    path: Path, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Args:
        path: The file.
        device: Where the tensors are put.
        dtype: To what floating-point tensors are cast; integers (counters) keep theirs. None casts nothing.

    Raises:
        BenchError: The file is missing, truncated, or of another kind.
    """
    if is_pickle(refuse_foreign(path)):
        raise BenchError(
            f"weights {str(path)!r} are a pickle, not safetensors; convert them with "
            f"safetensors.torch.save_file(state_dict, ...)"
        )
    try:
        tensors = load_file(path)
    except DAMAGED as error:
        raise BenchError(
            f"weights {str(path)!r} are no whole safetensors file ({error}); make or download them again"
        ) from error
    return {name: _placed(tensor, device, dtype) for name, tensor in tensors.items()}


def refuse_foreign(path: Path) -> bytes:
    """Refuses what cannot be weights of any kind, before anything parses it; gives the first bytes.

    Raises:
        BenchError: The file is missing, empty, a web page (what a failed download leaves), of another format
            that is no plain weights, or expands too far.
    """
    if not path.is_file():
        raise BenchError(f"there is no weights file {str(path)!r}; give an existing file")
    with path.open("rb") as file:
        first = file.read(512)
    if not first.strip():
        raise BenchError(f"weights {str(path)!r} are empty; make or download them again")
    if is_web_page(first):
        raise BenchError(
            f"weights {str(path)!r} are a web page, as a failed download leaves it; delete it and "
            f"download the weights again"
        )
    if first.startswith(b"PK"):
        refuse_bomb(path, WEIGHTS)
    other = other_format(path, first)
    if other is not None:
        raise BenchError(f"weights {str(path)!r} are no state dict, but {other[0]}; {other[1]}")
    return first


def is_pickle(first: bytes) -> bool:
    """Whether a file that begins so is what `torch.save` writes: a pickle, or a zip archive with one.

    Safetensors begin with the length of a JSON header, whose bytes may be anything, a pickle's among them; the
    header itself then begins at the ninth.
    """
    return first.startswith((b"\x80", b"PK")) and first[8:9] != b"{"


def save_safetensors(
    tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Writes tensors to a safetensors file, whole or not at all; the same tensors give the same bytes.

    Args:
        tensors: By name.
        path: The file.
        metadata: What the file says of itself besides.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(path, save(plain, metadata))


def halved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with floating-point numbers as float16; a network that loads them casts them back.

    Raises:
        BenchError: A number is too large for float16.
    """
    small = {
        name: _placed(tensor, tensor.device, torch.float16) for name, tensor in tensors.items()
    }
    for name, tensor in small.items():
        if not torch.isfinite(tensor).all():
            raise BenchError(
                f"{name} does not fit into float16; store the weights as they are (without --half)"
            )
    return small


def _placed(tensor: Tensor, device: torch.device | str, dtype: torch.dtype | None) -> Tensor:
    return tensor.to(device, dtype if tensor.is_floating_point() else None)


def _sanitised(text: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9._\[\]+=@-]", "-", text).lstrip(".") or "unnamed"
    if safe == text and len(text) <= _LONGEST:
        return text
    return f"{safe[-_LONGEST:]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
