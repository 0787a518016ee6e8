"""Unranked blocks of a protocol: the paper whose table it repeats, and the diagnosis that tests it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

UNRANKED = frozenset({"diagnosis", "paper"})
"""Blocks of a protocol from which no ranked number comes: with them or without, rows may be compared."""

Words = Annotated[str, Field(min_length=1)]
ThreatText = Annotated[str, Field(pattern=r"^[a-z0-9-]+:[0-9./e-]+$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Paper(_Model):
    """The table of a paper that a protocol measures as the paper did, and the task that it was measured on.

    `bench run` takes what its command leaves open from here (`benchmark.evaluation.prepare.paper_defaults`); no
    result hangs on it.
    """

    defenses: Annotated[list[Words], Field(min_length=1)]
    """As `--defense` takes them."""
    table: Words
    """Its number: `Table 8`."""
    title: Words
    """What the table is, and of which paper."""
    dataset: Words
    models: list[Words] = []
    """As `--model` takes them; none where the paper's classifiers cannot be had and none stands in for them."""
    threats: Annotated[list[ThreatText], Field(min_length=1)]
    """As `--threat` takes them; `Threat.parse` has the last word when they are run."""
    note: Words
    """What differs from the paper, and what of the table cannot be had."""


class Diagnosis(_Model):
    """What tests the evaluation itself: variations of one attack, which enter no column and no worst case."""

    of: str
    """Id of the attack row that is varied."""
    images: Annotated[int, Field(ge=2)] = 20
    """The first so many images, or all where there are fewer: that keeps it cheap."""
    doubled: list[Literal["steps", "eot"]] = ["steps", "eot"]
    """What is doubled, one thing at a time; draws (`eot`) only where the victim is random."""
    curve: list[Annotated[float, Field(gt=0)]] = []
    """Budgets of the eps curve, in multiples of the threat's eps, as far as the budget that turns every image
    into grey; that one is always the last point. Empty: no curve."""
    points: Annotated[int, Field(ge=0)] = 0
    """Random points of the budget shown to the victim; 0 for none."""
    frozen: bool = False
    """Whether a random victim is attacked, and judged, at one fixed draw an image."""
    examined: Annotated[int, Field(ge=0)] = 0
    """Images on which purifiers' declarations are measured (`benchmark.contract.measurements`); 0 for none."""
