"""Audits as an entry keeps them: the images that its run kept, and what came of asking and attacking again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from math import comb, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from benchmark.publishing.identity import Count, Share
from benchmark.strict import Strict, Words

if TYPE_CHECKING:
    from benchmark.publishing.entry import Entry

ONE_IN = 20
"""The bound on forged images fails once in so many audits: 95 % confidence."""
LARGEST = 1 << 30
"""Bytes of kept images, packed or not."""
ALARM = 1e-3
"""Chance that draws alone make one of an honest entry's images look forged, over all that are attacked anew."""
BY_LENGTH = 200
"""Characters of an auditor's name."""
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Kept = Literal["worst", "all"]
"""Of each image the one that counts under each rule; or, besides, that of every attack on the victim."""


class KeptImages(Strict):
    """The adversarial images of a run, in a compressed file beside the entry (`<entry>.images.npz`)."""

    which: Kept
    sha256: Hash
    """Of the file."""
    bytes: Annotated[int, Field(ge=1, le=LARGEST)]
    """Its size."""
    images: Count
    """How many it holds; clean ones, and the same one twice, are not among them."""
    dtype: Literal["float32", "float64"]
    rows: tuple[str, ...]
    """Ids of the attacks that they are of, as the file numbers them."""


class Replayed(Strict):
    """The victim asked again about clean and kept images, at the entry's draws; all images fall into three."""

    kept: Kept | None
    """Which images were there; None for the clean ones alone."""
    confirmed: Count
    within_rounding: Count
    """Something differs, and the victim's own rounding explains it."""
    contradicted: Count


class AttackedAgain(Strict):
    """Images attacked anew from another seed, by every row that counts; they fall into three."""

    seed: Count
    agreed: Count
    fallen: Count
    """The entry calls them more robust than they are now: contradictions."""
    stood: Count
    """They are more robust now: weaker evidence, since an attack may miss what another found."""
    at_most: Share
    """Share of the entry's images that may be forged, at 95 % confidence (`most_forged`)."""

    @property
    def images(self) -> int:
        """How many were attacked."""
        return self.agreed + self.fallen + self.stood


class Audit(Strict):
    """What `bench audit` found."""

    of: Hash
    """Of the entry's content that it was made on (`content_sha256`)."""
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    by: Annotated[str, Field(max_length=BY_LENGTH)]
    versions: Words
    """What computed it."""
    replayed: Replayed
    again: AttackedAgain | None

    @model_validator(mode="after")
    def _has_attacked(self) -> Audit:
        if self.again is not None and not self.again.images:
            raise ValueError("audit.again: expected at least one image")
        return self

    @property
    def is_confirmed(self) -> bool:
        """Whether nothing speaks against the entry."""
        n = self.replayed.confirmed + self.replayed.within_rounding
        is_close = 4 * self.replayed.within_rounding <= n
        fallen = self.again.fallen if self.again else 0
        return is_close and not self.replayed.contradicted and not fallen


_CONTENT: Final[dict[str, Any]] = {
    "schema_version": True,
    "protocol": {"name", "version", "sha256"},
    "defense": {
        "label": True,
        "stochastic": True,
        "stages": {"__all__": {"plugin", "arguments", "source_sha256", "weights_sha256"}},
    },
    "classifier": {"name", "sha256"},
    "dataset": {"name", "split", "n", "indices_sha256", "pixels_sha256", "order", "only_classes"},
    "threat": {"norm", "eps", "input_shape"},
    "criterion": True,
    "seed": True,
    "precision": True,
    "attacks": {"__all__": {"id", "job_key", "column", "counts", "gradient", "eot", "scores"}},
    "per_image": {"indices", "labels"},
    "kept_images": True,
    "command": True,
}


def content_sha256(entry: Entry) -> str:
    """Of all that an audit confirms, hex: who was attacked, how, and what became of each image."""
    content = entry.model_dump(mode="json", include=_CONTENT)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def most_forged(n: int, attacked: int, fallen: int) -> int:
    """The most images of n that may be forged, where `fallen` of the `attacked` ones were found to be.

    The one-sided upper bound of a hypergeometric sample at 95 %: the greatest number D for which as few forged
    images among those attacked, drawn without replacement, have a chance of at least 5 %. For n without end
    it becomes that of Clopper and Pearson (1934): none of 16 found leaves 1 - .05 ** (1 / 16) = 17 %.
    """
    low, high = fallen, n - (attacked - fallen)  # the chance falls as there are more
    while low < high:
        middle = (low + high + 1) // 2
        seen = sum(comb(middle, i) * comb(n - middle, attacked - i) for i in range(fallen + 1))
        is_likely = ONE_IN * seen >= comb(n, attacked)  # whole numbers of any length
        low, high = (middle, high) if is_likely else (low, middle - 1)
    return low


def tolerance(before: str, after: str, attacked: int) -> float:
    """How far two shares of right outcomes of one image may lie apart by their draws alone.

    That of 0/1 outcomes of a fixed victim is 0. Of a random one: the normal quantile at which one of so many
    images is beyond it with a chance of `ALARM`, times the standard error of the difference at the pooled
    share, one success and one failure added (Agresti and Caffo, 2000).

    Args:
        before: Outcomes of an image in the entry.
        after: Its outcomes now.
        attacked: How many images are compared.
    """
    if len(before) == len(after) == 1:
        return 0.0
    draws = len(before) + len(after)
    p = (before.count("1") + after.count("1") + 1) / (draws + 2)
    error = sqrt(p * (1 - p) * (1 / len(before) + 1 / len(after)))
    return NormalDist().inv_cdf(1 - ALARM / attacked) * error


def compared(
    n: int, seed: int, before: Sequence[str], after: Sequence[str]
) -> tuple[AttackedAgain, list[int]]:
    """Images attacked anew beside what the entry says of them.

    Args:
        n: Images of the entry.
        seed: Of the new attacks.
        before: Worst-case outcomes of the attacked images in the entry, under single draws.
        after: Their outcomes now.

    Returns:
        The figures, and for each image 1 where it fell now, -1 where it stands now, 0 where both agree.
    """
    signs = []
    for old, new in zip(before, after, strict=True):
        drop = old.count("1") / len(old) - new.count("1") / len(new)
        signs.append((drop > 0) - (drop < 0) if abs(drop) > tolerance(old, new, len(before)) else 0)
    found = AttackedAgain(
        seed=seed,
        agreed=signs.count(0),
        fallen=signs.count(1),
        stood=signs.count(-1),
        at_most=most_forged(n, len(signs), signs.count(1)) / n,
    )
    return found, signs


def problems_of_audit(entry: Entry) -> Iterator[str]:
    """What an audit, or the record of kept images, says that its entry does not, one line each."""
    kept, audit = entry.kept_images, entry.audit
    if kept is not None:
        ids = {row.id for row in entry.attacks}
        strange = [name for name in kept.rows if name not in ids]
        if strange or len(set(kept.rows)) != len(kept.rows):
            yield f"kept_images.rows: {strange[0] if strange else 'a row twice'!r} is no attack of it"
    if audit is None:
        return
    if audit.of != content_sha256(entry):
        yield "audit: the entry has changed since it was audited; audit it again (bench audit --write)"
    n, replayed, again = entry.dataset.n, audit.replayed, audit.again
    if replayed.confirmed + replayed.within_rounding + replayed.contradicted != n:
        yield f"audit.replayed: its counts are not those of {n} images"
    if replayed.kept != (kept.which if kept and replayed.kept else None):
        yield f"audit.replayed: {replayed.kept!r} images were replayed, and the entry kept others"
    if again is None:
        return
    if again.images > n:
        yield f"audit.again: {again.images} images were attacked, and there are {n}"
    elif again.at_most != most_forged(n, again.images, again.fallen) / n:
        yield f"audit.again: at_most is {again.at_most:.4f}, and its counts make it another"
    if again.seed == entry.seed:
        yield "audit.again: its seed is the entry's own"
