"""Planned rows: the gradient modes and names that a protocol's row has on a victim; no torch."""

from __future__ import annotations

from benchmark.records.protocol import AttackRow

BEST = {
    "exact": ["exact"],
    "almost-everywhere": ["exact", "bpda"],
    "none": ["bpda"],
}
"""The best modes by what a defense declares: both where each may hide what the other sees, so that no
declaration picks one."""


def modes_of(row: AttackRow, gradient: str) -> list[str]:
    """The gradient modes that a row asks for, as far as a defense that declares a key of `BEST` has them."""
    best = BEST[gradient]
    if not row.gradients:
        return best[:1]  # the attack uses none
    asked = [mode for wish in row.gradients for mode in (best if wish == "best" else [wish])]
    kept = [mode for mode in asked if mode != "exact" or gradient != "none"]
    return list(dict.fromkeys(kept or best))


def names_of(row: AttackRow, gradient: str) -> dict[str, str]:
    """The name of the job that a row asks for, by gradient mode, as `modes_of` has them."""
    modes = modes_of(row, gradient)
    is_several = max(len(modes), len(row.gradients)) > 1
    return {mode: f"{row.id}:{mode}" if is_several else row.id for mode in modes}
