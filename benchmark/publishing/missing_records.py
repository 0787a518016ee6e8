"""Records of rows that are not as asked: what an entry says of one without numbers, or with a stand-in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from benchmark.missing import Why
from benchmark.protocol import Column
from benchmark.strict import Arguments, Strict

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


def refuse_misplaced(gaps: Sequence[Gap], not_applicable: Sequence[Gap]) -> None:
    """Refuses a gap that stands among what is not applicable, and the other way round.

    Raises:
        ValueError: One does.
    """
    for gap in gaps:
        if gap.why.is_not_applicable:
            raise ValueError(f"row {gap.row!r} is not applicable ({gap.why}), and so no gap")
    for gap in not_applicable:
        if not gap.why.is_not_applicable:
            raise ValueError(f"row {gap.row!r} is a gap ({gap.why}), and so not 'not applicable'")
