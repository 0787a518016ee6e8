"""Missing rows: why a row that a protocol asks for has no numbers in a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from benchmark.files.schema import Arguments, Strict
from benchmark.records.protocol import Column


class Why(StrEnum):
    """The listed reasons; which row it was and what exactly happened stands in one line beside it."""

    FAILED = "failed"
    """A crash, a time-out, a dead worker, a shard that is not there, or a row that no job did."""
    NO_SURROGATES = "no-surrogates"
    """There are no, or too few, surrogate classifiers of the task."""
    NO_SEED_IMAGES = "no-seed-images"
    """The dataset holds too few images that the attacker could have of his own."""
    THREAT_UNSUPPORTED = "threat-unsupported"
    """The attack does not work under such a threat."""
    TOO_FEW_CLASSES = "too-few-classes"
    """The attack does not exist for a task with so few classes."""

    @property
    def is_unavailable(self) -> bool:
        """Whether it lies in the task, and is so for every defense: still a gap, but nobody's fault."""
        return self in _UNAVAILABLE

    @property
    def is_not_applicable(self) -> bool:
        """Whether there is nothing to measure at all: no gap, but said on the board."""
        return self in _NOT_APPLICABLE


_UNAVAILABLE: Final = frozenset({Why.NO_SURROGATES, Why.NO_SEED_IMAGES, Why.THREAT_UNSUPPORTED})
_NOT_APPLICABLE: Final = frozenset({Why.TOO_FEW_CLASSES})


@dataclass(frozen=True, slots=True)
class Missing:
    """A row without numbers.

    Args:
        why: The listed reason.
        reason: One line of it for people.
    """

    why: Why
    reason: str

    def __str__(self) -> str:
        return self.reason


_OLD_REASONS: Final = {
    "no surrogate classifiers are known for ": Why.NO_SURROGATES,
    "too few surrogate classifiers are known for ": Why.NO_SURROGATES,
    " and the threat is ": Why.THREAT_UNSUPPORTED,
}
"""What the reasons of entries from before there was a `why` have in them."""


class Gap(Strict):
    """A row that the protocol asks for and that has no numbers."""

    row: str
    column: Column | None
    why: Why = Why.FAILED
    """The listed reason."""
    reason: Annotated[str, Field(min_length=1)]
    """The same in one line, for people."""

    @model_validator(mode="before")
    @classmethod
    def _reads_old_reasons(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "why" in values:
            return values
        reason = str(values.get("reason", ""))
        said = [why for text, why in _OLD_REASONS.items() if text in reason]
        return values | {"why": said[0]} if said else values


class StandIn(Strict):
    """A row that ran with other arguments than its own, as the protocol says it must where classes are few."""

    row: str
    arguments: Arguments
    """Those that replaced the row's own of the same names."""
    below: Annotated[int, Field(ge=3)]
    """The task has fewer classes than this."""
