"""Records of a diagnosis: what was varied or measured, and what came of it; no ranked number hangs on them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from benchmark.files.schema import Arguments, Strict
from benchmark.records.identity import Amount, Share
from benchmark.records.rates import ROUNDING, Cost, Outcomes, mean_rate
from benchmark.records.scores import Scored

Kind = Literal["steps", "eot", "eps", "noise", "frozen"]
"""What a diagnosis varies: the steps or the draws of a gradient doubled, another budget, random points instead
of an attack, or one fixed draw an image."""


class DiagnosisRecord(Strict):
    """A variation of one attack on the first images, which tests the evaluation; no column knows of it."""

    id: str
    kind: Kind
    """What it varies: `steps` or `eot` doubled, another `eps`, `noise` for an attack, one `frozen` draw."""
    of: str
    """Id of the attack that it is held against, on the same images."""
    attack: str
    plugin: str
    arguments: Arguments
    source_sha256: str
    gradient: str
    eot: Annotated[int, Field(ge=1)]
    eps: Annotated[float, Field(gt=0)]
    images: Annotated[int, Field(ge=1)]
    """It took the first so many."""
    job_key: str
    error: str
    """Why some of its images have no outcome; empty where each has one."""
    rate: Share | None
    """Of single draws, of the worse of the clean image and this row's; None where `error` says why."""
    outcomes: tuple[Outcomes, ...]
    """Those that `rate` is the mean of."""
    own: Share | None = None
    """The accuracy that a frozen attack had at its own draw, which the images' verdict does not know."""
    cost: Cost
    scores: Scored | None = None
    """Of this row's own images under single draws, of which `rate` and `outcomes` follow; None where some image
    has none, and in entries of schema 1."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> DiagnosisRecord:
        if (self.rate is None) != (not self.outcomes) or (self.error and self.outcomes):
            raise ValueError("a rate and outcomes come together, and never with an error")
        if self.rate is not None:
            if len(self.outcomes) != self.images:
                raise ValueError(f"expected {self.images} outcomes, one an image")
            if abs(self.rate - mean_rate(self.outcomes)) > ROUNDING:
                raise ValueError(f"the rate {self.rate} is not the mean of its outcomes")
        return self


class CurvePoint(Strict):
    """The accuracy under one budget."""

    eps: Amount
    """0 for the clean images."""
    rate: Share


class Examined(Strict):
    """What was measured of the purifiers themselves on a few images (`benchmark.trust.examination`)."""

    id: str
    value: float | None
    """None where it could not be measured: `detail` says why."""
    threshold: float | None
    detail: str
