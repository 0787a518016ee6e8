"""Identities: which defense, classifier, images, threat and protocol an entry speaks of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from benchmark.engine.criterion import MORE_DRAWS, MOST_FINALISTS
from benchmark.files.schema import Arguments, Strict
from benchmark.records.gradients import MeasuredGradients
from benchmark.records.provenance import Provenance

Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class ProtocolIdentity(Strict):
    """Which standard evaluation; entries are ranked together only where name, version and sha256 agree."""

    name: str
    version: int
    sha256: str
    samples: Annotated[int, Field(ge=1)] | None
    """Images that the protocol asks for; None for the whole split."""
    content_sha256: str = ""
    """Of all of it, the diagnosis included (`Protocol.content_sha256`); empty in entries of schema 1."""
    content: Arguments | None = None
    """The protocol itself, where it does not ship with the project; None where it does or once did."""


class Stage(Strict):
    """One purifier of a chain."""

    plugin: str
    """`module:Class`."""
    label: str
    arguments: Arguments
    source_sha256: str
    weights_sha256: str
    """Empty where it has no weights."""
    content_sha256: str = ""
    """Of the packages it rests on, of files that it opened or its arguments name, and of what it holds; empty
    in entries from before it was kept."""
    training: Provenance | None = None
    """What its weights were trained for, and what differs here; None without weights."""


class DefenseIdentity(Strict):
    """What was evaluated."""

    label: str
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    gradient: str
    """What it declares: exact, almost-everywhere or none."""
    stochastic: bool
    add_on: bool
    """Whether the classifier stays frozen and its own."""
    measured: MeasuredGradients | None = None
    """The gradients of the victim that it makes; None in entries from before they were measured."""


class ClassifierIdentity(Strict):
    """The frozen classifier behind the purifier."""

    name: str
    sha256: str
    """Of its weights."""
    source_sha256: str = ""
    """Of the user's own modules that compute with them; empty without any, and in entries from before."""

    @property
    def content(self) -> tuple[str, str]:
        """What it is, whatever it is called."""
        return self.sha256, self.source_sha256


class DatasetIdentity(Strict):
    """The images; two entries with equal hashes met the same ones."""

    name: str
    split: str
    n: Annotated[int, Field(ge=1)]
    indices_sha256: str
    pixels_sha256: str
    """Of the hashes of the shards' pixels and labels; empty where the clean row is a gap."""
    order: Literal["nested", "robustbench"] = "nested"
    """Of which order they are the first n: the balanced one of this project, or RobustBench's."""
    preparation: str = ""
    """How stored files became images, where the dataset knows several ways (`Res256Crop224`)."""
    classes: Annotated[int, Field(ge=2)] | None = None
    """Of the task; None in entries from before it was kept."""
    only_classes: tuple[Count, ...] = ()
    """The classes whose images were taken, classified among all the same; none for all."""


class ThreatIdentity(Strict):
    """The budget at the classifier's own resolution: of lp balls in pixel units of [0, 1]."""

    norm: str
    eps: Annotated[float, Field(gt=0)]
    text: str
    """As the command line takes it: `linf:8/255`."""
    input_shape: tuple[int, int, int]
    """`(c, h, w)`."""


class Asked(Strict):
    """How often a stochastic victim is asked (`benchmark.engine.criterion.Criterion`)."""

    draws: Annotated[int, Field(ge=1)] = 20
    """Scored."""
    vote: Annotated[int, Field(ge=1)] = 5
    """k of the vote."""
    any_of: Annotated[int, Field(ge=1)] = 5
    """n of any-of-n."""
    finalists: Annotated[int, Field(ge=0, le=MOST_FINALISTS)] = 0
    """Candidates of an image that are asked again under each rule before one is chosen; 0 for none."""

    @property
    def choosing(self) -> int:
        """Draws that the last choice is made by, the shares that select rates are of."""
        return self.draws * (MORE_DRAWS if self.finalists else 1)
