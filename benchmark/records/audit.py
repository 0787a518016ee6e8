"""Audits as an entry keeps them: the images that its run kept, and what came of asking and attacking again."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from benchmark.files.schema import Strict, Words
from benchmark.records.identity import Count, Share
from benchmark.records.rates import Outcomes

UNLIKELY = 0.01
"""Below this p-value all images attacked anew together speak against an entry."""
LARGEST = 1 << 30
"""Bytes of kept images, packed or not."""
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

    @property
    def is_confirmed(self) -> bool:
        """Whether no image is contradicted, and at most a quarter differs within rounding."""
        return not self.contradicted and 3 * self.within_rounding <= self.confirmed


class AttackedAgain(Strict):
    """Images attacked anew from another seed, by every row that counts; they fall into three.

    All but the seed and the outcomes follow from these and from the entry (`audit_figures.compared`).
    """

    seed: Count
    """Of the draws, and of which images were attacked."""
    outcomes: Annotated[tuple[Outcomes, ...], Field(min_length=1)]
    """Of the worst case of each of them under single draws, in the entry's order."""
    before: Share
    """Worst-case accuracy of these images in the entry, less what challenges took from it."""
    after: Share
    """The same now."""
    p: Share
    """Two-sided, of the sign-flip test that both are runs of one procedure (`statistics.sign_flip`)."""
    agreed: Count
    fallen: Count
    """The entry calls them more robust than they are now: contradictions."""
    stood: Count
    """They are more robust now: weaker evidence, since an attack may miss what another found."""
    at_most: Share
    """Share of the entry's images that may be forged by more than draws explain, at 95 % confidence
    (`audit_figures.most_forged`)."""

    @property
    def images(self) -> int:
        """How many were attacked."""
        return len(self.outcomes)

    @property
    def is_confirmed(self) -> bool:
        """Whether no image fell, nor all of them together."""
        return not self.fallen and not (self.p < UNLIKELY and self.after < self.before)


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

    @property
    def is_confirmed(self) -> bool:
        """Whether nothing speaks against the entry."""
        return self.replayed.is_confirmed and (self.again is None or self.again.is_confirmed)
