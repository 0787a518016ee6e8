"""Kept images: adversarial images of a finished run in one compressed file, and that file read without trust.

An `.npz` archive of `images`, `(k, c, h, w)` as they were judged, each once, and `places`, `(p, 4)` int32: the
number of the attack (in the entry's `kept_images.rows`), that of the rule (in the order of `Rule`), the
position of the original in the entry, and the number of its image; -1 for the clean one.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.engine.criterion import Rule
from benchmark.errors import BenchError
from benchmark.evaluation.execute.planned import Planned
from benchmark.files.npz_arrays import plain_array
from benchmark.files.parsing import DAMAGED
from benchmark.records.audit import LARGEST, Kept, KeptImages
from benchmark.records.entry import Entry
from benchmark.scoring.series import RuleSeries, kept_series

log = logging.getLogger(__name__)

DEFAULTS = frozenset({"standard", "full"})
"""Protocols under which the images that count are kept unless a run says otherwise."""
CLEAN = -1
_RULES = list(Rule)


def wanted_images(asked: str | None, protocol: str) -> Kept | None:
    """Which images a run keeps.

    Args:
        asked: `worst`, `all` or `none`; None where the run leaves it to its protocol.
        protocol: Its name.
    """
    if asked == "none":
        return None
    return "all" if asked == "all" else "worst" if asked or protocol in DEFAULTS else None


def with_kept(entry: Entry, planned: Planned, which: Kept | None) -> tuple[Entry, bytes | None]:
    """An entry with a record of its kept images, and their file; as it is, and None, where none are kept.

    Images that would take more than a gigabyte are not kept, which is logged: no number needs them.

    Args:
        entry: Of the run.
        planned: The run, whose store still holds its shards.
        which: Which images; None for none.
    """
    if which is None or entry.clean is None:
        return entry, None
    try:
        made = _collected(planned, kept_series(entry, which))
    except BenchError as error:
        log.warning("no images were kept: %s", error)
        return entry, None
    file = io.BytesIO()
    np.savez_compressed(file, images=made.images.numpy(), places=made.places)
    content = file.getvalue()
    kept = KeptImages(
        which=which,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        images=len(made.images),
        dtype="float64" if made.images.dtype == torch.float64 else "float32",
        rows=made.rows,
    )
    return entry.model_copy(update={"kept_images": kept}), content


@dataclass(frozen=True, slots=True)
class Collected:
    """Images of a run.

    Args:
        images: `(k, c, h, w)`, on the CPU.
        places: `(p, 4)` int32, as the file holds them.
        rows: Ids of the attacks.
    """

    images: Tensor
    places: NDArray[np.int32]
    rows: tuple[str, ...]


def _collected(planned: Planned, series: list[RuleSeries]) -> Collected:
    """The images of series, taken out of the shards of their run, each once."""
    jobs = {row.id: row.job for row in planned.rows}
    rows = list(dict.fromkeys(name for each in series for name in each.rows if name))
    shards: dict[str, tuple[int, Tensor]] = {}
    images: list[Tensor] = []
    places = []
    for at in range(len(series[0].rows)):
        known = {_bytes(planned.bench.images(at, at + 1)[0][0]): CLEAN}
        for each in series:
            if not (name := each.rows[at]):
                continue
            start, found = shards.get(name, (0, torch.empty(0)))
            if not start <= at < start + len(found):
                start, found = shards[name] = planned.images(jobs[name], at)
            rule = _RULES.index(each.rule)
            image = found[at - start, min(rule, found.shape[1] - 1)]  # (b, r, c, h, w)
            number = known.setdefault(_bytes(image), len(images))
            if number == len(images):
                images.append(image.clone())
                _refuse_too_large(len(images) * image.nbytes)
            places.append((rows.index(name), rule, at, number))
    shape = planned.bench.dataset.shape
    stacked = torch.stack(images) if images else torch.empty((0, *shape))
    return Collected(stacked, np.array(places, dtype=np.int32).reshape(-1, 4), tuple(rows))


def _refuse_too_large(size: int) -> None:
    if size > LARGEST:
        raise BenchError(
            f"they take more than {LARGEST >> 30} GB; --keep-images worst, fewer --samples or "
            f"--keep-images none"
        )


def _bytes(image: Tensor) -> bytes:
    content: bytes = image.cpu().contiguous().numpy().tobytes()
    return content


def unpacked(content: bytes, entry: Entry, kept: KeptImages) -> Collected:
    """Kept images out of the bytes of their file; nothing in it is ever unpickled.

    Args:
        content: Of the sha256 that the entry names, which says nothing of who made it.
        entry: Whose images they are.
        kept: What it says of them.

    Raises:
        BenchError: It is damaged, or not of the form that `bench run` writes.
    """
    n = entry.dataset.n
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        "images": ((kept.images, *entry.threat.input_shape), kept.dtype),
        "places": ((-1, 4), "int32"),
    }

    def wrong(what: str) -> BenchError:
        return BenchError(f"the file of kept images {what}")

    def read(name: str, archive: zipfile.ZipFile) -> NDArray[Any]:
        wanted, dtype = shapes[name]
        most = len(kept.rows) * len(Rule) * n

        def check(shape: tuple[int, ...], found: np.dtype[Any]) -> None:
            is_fit = shape == wanted or (
                wanted[0] < 0 and shape[1:] == (4,) and 0 < shape[0] <= most
            )
            if (
                not is_fit
                or found != np.dtype(dtype)
                or math.prod(shape) * found.itemsize > LARGEST
            ):
                raise wrong(f"holds {name} as {found} {shape}; expected {dtype} {wanted}")

        with archive.open(f"{name}.npy") as stream:
            return plain_array(stream, name, check=check, wrong=wrong)

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            images, places = (read(name, archive) for name in shapes)
    except DAMAGED as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise wrong(f"is damaged ({reason}); run the entry's command again") from error
    ends = (len(kept.rows), len(Rule), n, kept.images)
    is_inside = (places >= (0, 0, 0, CLEAN)).all() and (places < ends).all()
    if not is_inside or len(np.unique(places[:, :3], axis=0)) != len(places):
        raise wrong(
            "names an attack, a rule, an original or an image that there is not, or one twice"
        )
    return Collected(torch.from_numpy(np.array(images)), places, kept.rows)
