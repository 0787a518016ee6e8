"""The flag of a verdict unlike its attack: images asked about as the attack asks, and as the verdict does."""

from __future__ import annotations

import math
from statistics import NormalDist

from benchmark.records.entry import Entry
from benchmark.records.entry_parts import AttackRecord
from benchmark.records.rates import mean_rate, share
from benchmark.scoring.flag_parts import Finding, percent, raised_above

ALARMS = 1 - NormalDist().cdf(3.0)
"""How often an honest victim may raise it, all rows and both signs together: as often as a single figure lies 3
standard errors above its mean, 1 in 741. Each of several rows gets its share (Bonferroni)."""
SINCE = 3
"""The version of job keys from which on each row that asks its victim is asked about again."""
FLIPS = 0.02
"""The share of a deterministic victim's answers that may be others in the other context, since rounding is."""
NEAR = 1e-3
"""A margin this small, relative to the row's largest, is one that rounding may turn."""


def verdict_unlike_attack(entry: Entry) -> Finding:
    """Whether the victim answers otherwise while it is attacked than in the verdict, on the same images.

    Of each row of the worst case that asked its victim anything: the image that single draws chose, at EOT
    draws in the attack's context against `score` draws in the verdict. No draw of either chose or made the
    image, so that an honest victim is right as often here as there.
    """
    rows = [row for row in entry.attacks if row.counts and row.context]
    if not rows:
        return "no attack of the worst case asked its victim, or the entry is from before it was measured"
    found = [(*_errors(row, is_random=entry.defense.stochastic), row) for row in rows]
    errors, attacked, row = max(found, key=lambda each: abs(each[0]))
    allowed = round(NormalDist().inv_cdf(1 - ALARMS / (2 * len(rows))), 9)
    detail = (
        f"most in {row.id}: right at {percent(attacked)} of its draws while attacked, at "
        f"{percent(mean_rate(_bits(row)))} in the verdict (standard errors of the difference)"
    )
    return raised_above(abs(errors), allowed, detail)


def is_context_missing(entry: Entry) -> bool:
    """Whether a row of the worst case asked its victim and was not compared, though entries of its kind are."""
    return entry.key_version >= SINCE and any(
        row.counts and row.status == "ok" and row.cost.forwards_per_image and not row.context
        for row in entry.attacks
    )


def _bits(row: AttackRecord) -> tuple[str, ...]:
    if row.scores is None:
        raise ValueError(f"{row.id}: expected scores, since it has a context")
    return row.scores.single.outcomes


def _errors(row: AttackRecord, *, is_random: bool) -> tuple[float, float]:
    """By how many standard errors a victim is right more often in the verdict, and how often in the attack.

    The variance is that of so many draws of one rate an image, of which (right + 1) / (draws + 2) is the
    estimate, so that none is 0 (Laplace's rule); of a deterministic victim, that of `FLIPS`.
    """
    bits, asked = _bits(row), row.eot
    right = list(row.context)
    if not is_random:
        right = _settled(row)
    n = len(bits)
    variance = n * FLIPS * (1 - FLIPS)
    if is_random:
        variance = math.fsum(
            p * (1 - p) * (1 / asked + 1 / len(said))
            for count, said in zip(right, bits, strict=True)
            for p in [(count + said.count("1") + 1) / (asked + len(said) + 2)]
        )
    apart = math.fsum(share(said) - count / asked for count, said in zip(right, bits, strict=True))
    return round(apart / math.sqrt(variance), 9), math.fsum(right) / (asked * n)


def _settled(row: AttackRecord) -> list[int]:
    """What a deterministic victim answers while attacked; as in the verdict where rounding may decide."""
    margins = row.scores.single.margins if row.scores else ()
    near = NEAR * max(map(abs, margins))
    return [
        row.eot * int(said) if abs(margin) <= near else count
        for margin, said, count in zip(margins, _bits(row), row.context, strict=True)
    ]
