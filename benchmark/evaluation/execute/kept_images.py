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
from benchmark.evaluation.execute.examples import Finished
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
    by_default: Kept | None = "worst" if protocol in DEFAULTS else None
    return (
        {"worst": "worst", "all": "all", "none": None}.get(asked, by_default)
        if asked
        else by_default
    )


def with_kept(entry: Entry, finished: Finished, which: Kept | None) -> tuple[Entry, bytes | None]:
    """An entry with a record of its kept images, and their file; as it is, and None, where none are kept.

    Images that would take more than a gigabyte are not kept, which is logged: no number needs them.

    Args:
        entry: Of the run.
        finished: The run, whose store still holds its shards.
        which: Which images; None for none.
    """
    if which is None or entry.clean is None:
        return entry, None
    try:
        made = _Collection(finished, _pixel_bytes(entry)).of(kept_series(entry, which))
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


class _Collection:
    """Images taken out of the shards of a run, each once.

    Args:
        finished: The run.
        size: Bytes of one image.
    """

    def __init__(self, finished: Finished, size: int) -> None:
        self.finished = finished
        self.size = size
        self.jobs = {row.id: row.job for row in finished.rows}
        self.images: list[Tensor] = []
        self.shards: dict[str, tuple[int, Tensor]] = {}

    def of(self, series: list[RuleSeries]) -> Collected:
        """The images of series."""
        names = dict.fromkeys(name for each in series for name in each.rows if name)
        rows, places = list(names), []
        for at in range(len(series[0].rows)):
            known = {_bytes(self.finished.bench.images(at, at + 1)[0][0]): CLEAN}
            for each in series:
                if name := each.rows[at]:
                    number = self._number(self._image(name, each.rule, at), known)
                    places.append((rows.index(name), _RULES.index(each.rule), at, number))
        shape = self.finished.bench.dataset.shape
        images = torch.stack(self.images) if self.images else torch.empty((0, *shape))
        return Collected(images, np.array(places, dtype=np.int32).reshape(-1, 4), tuple(rows))

    def _number(self, image: Tensor, known: dict[bytes, int]) -> int:
        """The number of an image among those kept; it is kept where it is new to its original."""
        content = _bytes(image)
        if content not in known:
            known[content] = len(self.images)
            self.images.append(image.detach().cpu().clone())
            if len(self.images) * self.size > LARGEST:
                raise BenchError(
                    f"they take more than {LARGEST >> 30} GB; --keep-images worst, fewer --samples or "
                    f"--keep-images none"
                )
        return known[content]

    def _image(self, name: str, rule: Rule, at: int) -> Tensor:
        """The image that an attack's shard chose for an original under a rule, `(c, h, w)`."""
        job = self.jobs[name]
        start, images = self.shards.get(name, (0, torch.empty(0)))
        if not start <= at < start + len(images):
            start, images = self.shards[name] = self.finished.images(job, at)
        return images[at - start, min(_RULES.index(rule), images.shape[1] - 1)]  # (b, r, c, h, w)


def _bytes(image: Tensor) -> bytes:
    content: bytes = image.detach().cpu().contiguous().numpy().tobytes()
    return content


def _pixel_bytes(entry: Entry) -> int:
    width = 8 if entry.precision == "float64" else 4
    return width * math.prod(entry.threat.input_shape)


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
