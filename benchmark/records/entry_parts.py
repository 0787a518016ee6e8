"""Parts of an entry: its rows, its columns, its flags, and what became of each image."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from benchmark.engine.threat import Knowledge
from benchmark.files.schema import Arguments, Strict
from benchmark.records.challenge import Choices
from benchmark.records.identity import Count, Share
from benchmark.records.protocol import Column
from benchmark.records.rates import Cost, Outcomes, Rate, Rates, refuse_other_mean
from benchmark.records.scores import Scores


class Family(Strict):
    """A column: one image chosen for each original over the clean one and this family's rows."""

    rows: tuple[str, ...]
    """Ids of the attacks that were planned for it."""
    is_complete: bool
    rates: Rates | None
    """None where a row of it is a gap: what is missing is never counted as withstood."""

    @model_validator(mode="after")
    def _gaps_have_no_value(self) -> Family:
        if self.rates is not None and not self.is_complete:
            raise ValueError("an incomplete column has no rates")
        return self


class Columns(Strict):
    """The families; None where the protocol has none of that kind for such a victim and task."""

    oblivious: Family | None
    autoattack: Family | None
    adaptive: Family | None
    auxiliary: Family | None
    transfer: Family | None
    black_box: Family | None = None
    known_draw: Family | None = None
    """At one draw an image that the attacker knows, the clean image's own outcomes left out."""


class Undefended(Strict):
    """The bare classifier, on the very images that were made on it; None where no row measured it."""

    clean: Rate | None
    oblivious: Rate | None


class AttackRecord(Strict):
    """One row of the protocol: an attack on the victim, or a source made on a bare classifier."""

    id: str
    column: Column | None
    """None for a source."""
    knowledge: Knowledge
    attack: str
    plugin: str
    arguments: Arguments
    source_sha256: str
    gradient: str
    eot: Annotated[int, Field(ge=1)]
    counts: bool
    """Whether it enters the worst case."""
    last: bool = False
    """Whether it went on from what the counting rows before it had found, on images left standing."""
    classifier: str
    """The one attacked, bare for a source."""
    job_key: str
    status: Literal["ok", "gap"]
    error: str
    rates: Rates | None
    """Of the worse of the clean image and this row's, for each image; of a source, on its own victim, and at a
    known draw of this row's alone."""
    outcomes: tuple[Outcomes, ...]
    """Those that `rates.single` is the mean of, one string an image; empty where it is a gap."""
    cost: Cost
    trace: tuple[Share, ...]
    """Share of images still classified rightly, step by step."""
    warnings: tuple[str, ...]
    zero_gradients: Share
    """Share of gradients that were zero everywhere."""
    margins: tuple[float, ...] = ()
    """Mean margin (true logit minus best other) on the draws that chose, of the images that `outcomes` are of,
    rounded (`benchmark.records.rates.kept_margin`). Empty for a source, a gap, and in entries from before."""
    context: tuple[Count, ...] = ()
    """At how many of `eot` draws the victim was right about this row's own image under single draws, asked as
    the attack asks. Empty where the attack asks nothing, for a source, a gap, and in entries from before."""
    scores: Scores | None = None
    """Of this row's own images, of which `rates`, `outcomes` and `margins` follow. Of a gap those that it did
    finish; None where there are none, and in entries of schema 1."""

    @property
    def knows_draw(self) -> bool:
        """Whether it met each image at one draw, known to it, and was judged there."""
        return self.knowledge is Knowledge.KNOWN_DRAW

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> AttackRecord:
        if (self.status == "gap") != bool(self.error):
            raise ValueError("a gap has an error, and nothing else has")
        if self.status == "gap" and (self.rates or self.outcomes):
            raise ValueError("a gap has no rates and no outcomes")
        single = self.rates.single if self.rates else None
        refuse_other_mean(f"attack {self.id!r}", single, self.outcomes)
        if self.knows_draw and self.counts:
            raise ValueError(f"attack {self.id!r} knows the draw, and enters no worst case")
        n = len(self.scores.single.outcomes) if self.scores and self.status == "ok" else 0
        if self.context and (len(self.context) != n or max(self.context) > self.eot):
            raise ValueError(f"context: expected {n} counts of at most {self.eot}")
        if self.margins and len(self.margins) != len(self.outcomes):
            raise ValueError(f"margins: expected {len(self.outcomes)}, one an image")
        return self


class Flag(Strict):
    """A verdict on a known sign of an evaluation that fails to attack (`benchmark.publishing.flags`)."""

    id: str
    value: float | None
    threshold: float | None
    verdict: Literal["ok", "raised", "not-run"]
    detail: str


class PerImage(Strict):
    """What happened to each image, under the single-draw rule; empty rows where the clean row is a gap."""

    indices: tuple[Count, ...]
    labels: tuple[Count, ...]
    clean: tuple[Outcomes, ...]
    worst: tuple[Outcomes, ...]
    chosen: tuple[str, ...]
    """Id of the attack whose image was scored for the worst case; `challenge:k` for the k-th challenge's."""
    choices: Choices | None = None
    """Of a stochastic victim; None in entries from before they were kept. Of a deterministic one `worst` says
    all that there is to say, under every rule."""
