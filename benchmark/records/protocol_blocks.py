"""_Models of a protocol: how a victim is asked, the paper that it repeats, its diagnosis; no torch."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Asked(_Model):
    """How often a stochastic victim is asked (`benchmark.engine.criterion.Criterion`)."""

    draws: Annotated[int, Field(ge=1)] = 20
    vote: Annotated[int, Field(ge=1)] = 5
    any_of: Annotated[int, Field(ge=1)] = 5


class FewClasses(_Model):
    """What stands in where a task has too few classes for a row's own arguments, such as DLR's."""

    below: Annotated[int, Field(ge=3)]
    """On tasks with fewer classes than this."""
    arguments: Annotated[dict[str, Any], Field(min_length=1)]
    """They replace the row's own of the same names."""
