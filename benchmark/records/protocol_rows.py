"""Planned rows: which of a protocol's rows a victim meets, in which gradient modes and by which names."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.records.gradients import WISHES, MeasuredGradients
from benchmark.records.identity import DefenseIdentity
from benchmark.records.protocol import AttackRow, Protocol

BEST = {
    "exact": ["exact"],
    "almost-everywhere": ["exact", "bpda"],
    "none": ["bpda"],
}
"""The best modes by what a defense declares: both where each may hide what the other sees, so that no
declaration picks one."""


def is_measured(row: AttackRow) -> bool:
    """Whether what is measured of a victim's gradients decides a row."""
    return row.when != "always" or any(wish in WISHES for wish in row.gradients)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faced:
    """What a protocol's rows hang on of a victim.

    Args:
        gradient: What the defense declares, a key of `BEST`.
        is_stochastic: Whether draws matter.
        measured: Its gradients; None where they were not measured, so that what it declares counts.
    """

    gradient: str
    is_stochastic: bool
    measured: MeasuredGradients | None = None

    @classmethod
    def of(cls, defense: DefenseIdentity) -> Faced:
        """Of the victim that an entry speaks of."""
        return cls(
            gradient=defense.gradient,
            is_stochastic=defense.stochastic,
            measured=defense.measured,
        )

    def rows(self, protocol: Protocol) -> list[AttackRow]:
        """The protocol's rows that are meant for such a victim."""
        kind = "stochastic" if self.is_stochastic else "deterministic"
        meant = [row for row in protocol.attacks if row.victims in ("all", kind)]
        return [row for row in meant if self._is_wanted(row)]

    def _is_wanted(self, row: AttackRow) -> bool:
        """Whether what is measured of the gradients asks for a row; unmeasured, for none."""
        if row.when == "always" or self.measured is None:
            return row.when == "always"
        is_unconfirmed = not self.measured.confirmed
        return is_unconfirmed and (row.when == "unconfirmed" or self.measured.is_saturated)

    def modes(self, row: AttackRow) -> list[str]:
        """The gradient modes that a row asks for, as far as the victim has them."""
        best = BEST[self.gradient]
        if not row.gradients:
            return best[:1]  # the attack uses none
        asked = [(wish, mode) for wish in row.gradients for mode in self._of(wish)]
        is_none = self.gradient == "none"  # and measured wishes know better
        kept = [m for wish, m in asked if m != "exact" or wish in WISHES or not is_none]
        return list(dict.fromkeys(kept or best))

    def _of(self, wish: str) -> list[str]:
        """The modes of one wish."""
        best = BEST[self.gradient]
        if wish not in WISHES:
            return best if wish == "best" else [wish]
        if self.measured is None:
            return {"measured": [*best, "recovered"], "confirmed": best, "guide": best[-1:]}[wish]
        return [each.mode for each in WISHES[wish](self.measured)]

    def names(self, row: AttackRow) -> dict[str, str]:
        """The name of the job that a row asks for, by gradient mode, as `modes` has them."""
        modes = self.modes(row)
        is_several = max(len(modes), len(row.gradients)) > 1
        return {mode: f"{row.id}:{mode}" if is_several else row.id for mode in modes}
