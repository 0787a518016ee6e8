"""Missing rows: why a row that a protocol asks for has no numbers in a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


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
