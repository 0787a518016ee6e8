"""Flags of the diagnosis: what a longer attack, other budgets, blind search and a look at the purifier say."""

from __future__ import annotations

from benchmark.engine.criterion import Rule
from benchmark.engine.threat import Knowledge
from benchmark.records.diagnosis import CurvePoint, DiagnosisRecord, Kind
from benchmark.records.entry import Entry
from benchmark.records.protocol import Column
from benchmark.records.rates import mean_rate, share
from benchmark.scoring.choice import choose
from benchmark.scoring.flag_parts import (
    WEAKER_POINTS,
    Finding,
    Measured,
    lowest,
    percent,
    points,
    raised_above,
    resolution,
)

RESIDUE_POINTS = 5.0
"""What a random victim may keep where every image can be turned into grey: by luck some of an image's draws are
right. A deterministic one may keep nothing."""
BEATEN = 0.5
"""By how much more of its draws a random point must fool an image than the worst case does, to count as having
succeeded where the attacks failed: for a deterministic victim its one verdict, else more than three standard
errors of the difference on 20 draws."""
BEATEN_IMAGES = 0.0
"""The share of images that may be so: each of them proves that its worst case is not the worst."""
NOT_ASKED = "the protocol asks for no such diagnosis"
NOTHING_DRAWN = "the victim is deterministic: there is nothing to average over"
NO_CURVE = "the diagnosed attack is a gap"
EXAMINED = {
    "gradient-not-as-declared": ("gradient", "slope"),
    "memorises-images": ("memory", "shifted", "nearest"),
    "batch-dependent": ("batch", "layout"),
    "undeclared-randomness": ("randomness",),
    "surrogate-misleads": ("surrogate",),
}
"""Flags that measurements of purifiers and victim decide, with the ids of these; an entry from before one of
them has the others alone."""


def black_box_beats_white_box(entry: Entry) -> Finding:
    """Whether the best attack on outputs alone is ahead of the best adaptive one by `WEAKER_POINTS`.

    One that went on from what all others found is held against these together.
    """
    black = lowest(row for row in entry.attacks if row.knowledge is Knowledge.BLACK_BOX)
    if any(row.last and row.scores for row in entry.attacks):
        return _beyond_all_others(entry)
    adaptive_rows = [row for row in entry.attacks if row.column is Column.ADAPTIVE]
    white = lowest(row for row in adaptive_rows if row.knowledge is Knowledge.WHITE_BOX)
    if black is None or white is None:
        return "no black-box attack finished, or no adaptive one"
    (weaker, row), (adaptive, other) = black, white
    detail = f"{row} {percent(weaker)}, {other} {percent(adaptive)} (points ahead)"
    return raised_above(points(adaptive, weaker), WEAKER_POINTS, detail)


def _beyond_all_others(entry: Entry) -> Finding:
    """Whether rows that come last lower the worst case of all others by more than `WEAKER_POINTS`."""
    n = len(entry.per_image.indices)
    counting = [row for row in entry.attacks if row.counts and row.scores]
    others = [(row.id, row.scores) for row in counting if not row.last]
    if not others:
        return "no other attack that counts finished"
    every = [(row.id, row.scores) for row in counting]
    before, after = (mean_rate(choose(rows, Rule.SINGLE, n).bits) for rows in (others, every))
    detail = f"all other attacks {percent(before)}, then queries {percent(after)} (points ahead)"
    return raised_above(points(before, after), WEAKER_POINTS, detail)


def doubled(entry: Entry, kind: Kind) -> Finding:
    """Whether twice the steps, or the draws a gradient, change the accuracy by more than `resolution`."""
    is_fixed, rows = kind == "eot" and not entry.defense.stochastic, _of_kind(entry, kind)
    why = _missing(rows, NOTHING_DRAWN if is_fixed else NOT_ASKED)
    if why:
        return why
    changes = []
    for row in rows:
        (found,) = [attack for attack in entry.attacks if attack.id == row.of]
        if row.rate is None or not found.outcomes:
            return f"{row.of} has no outcomes to be compared with"
        before = mean_rate(found.outcomes[: row.images])
        said = f"{row.id}: {percent(before)}, doubled {percent(row.rate)} on {row.images} images"
        changes.append((abs(points(before, row.rate)), said))
    most, said = max(changes)
    return raised_above(most, resolution(entry, rows[0].images), f"{said} (points of change)")


def _said(point: CurvePoint) -> str:
    return f"{percent(point.rate)} at eps {point.eps:.4g}"


def eps_curve_rises(entry: Entry) -> Finding:
    """Whether some larger budget leaves more accuracy than a smaller one, by more than `resolution`."""
    rows = _of_kind(entry, "eps")
    if not entry.eps_curve:
        return _missing(rows) or NO_CURVE
    lowest, most, said = entry.eps_curve[0], 0.0, "none"
    for point in entry.eps_curve[1:]:
        rise = points(point.rate, lowest.rate)
        if rise > most:
            most = rise
            said = f"{_said(lowest)}, {_said(point)}"
        lowest = min(lowest, point, key=lambda each: each.rate)
    return raised_above(most, resolution(entry, rows[0].images), f"{said} (points of rise)")


def eps_curve_ends_high(entry: Entry) -> Finding:
    """Whether accuracy is left at the budget that turns every image into grey, but for a constant output."""
    if not entry.eps_curve:
        return _missing(_of_kind(entry, "eps")) or NO_CURVE
    last = entry.eps_curve[-1]
    detail = f"{_said(last)} (points left)"
    left, allowed = points(last.rate, 0), RESIDUE_POINTS if entry.defense.stochastic else 0.0
    if any(
        each.value is not None and each.threshold is not None and each.value > each.threshold
        for each in entry.examination
        if each.id == "constant"
    ):
        detail += "; the output is constant, and no budget changes it"
        return Measured(left, allowed, detail, is_raised=False)
    return raised_above(left, allowed, detail)


def random_noise(entry: Entry) -> Finding:
    """Whether random points fool images (`BEATEN`) that every attack of the worst case left alone."""
    rows = _of_kind(entry, "noise")
    why = _missing(rows) or ("" if entry.per_image.worst else "there is no worst case")
    if why:
        return why
    row = rows[0]
    pairs = zip(entry.per_image.worst, row.outcomes, strict=False)  # the first images alone
    beaten = sum(share(worst) - share(noise) >= BEATEN for worst, noise in pairs)
    detail = f"{row.id}: {beaten} of {row.images} images (share of them)"
    return raised_above(beaten / row.images, BEATEN_IMAGES, detail)


def examined(entry: Entry, name: str) -> Finding:
    """A measurement of the purifiers themselves against its threshold (`benchmark.contract.measurements`).

    Of several the first that is raised, or could not be taken, or any.
    """
    findings = [
        one.detail
        if one.value is None or one.threshold is None
        else raised_above(one.value, one.threshold, one.detail)
        for one in entry.examination
        if one.id in EXAMINED[name]
    ]
    if not findings:
        return "the entry is from before it was measured, or no protocol asked for it"
    return min(findings, key=lambda found: 1 if isinstance(found, str) else 2 - 2 * found.is_raised)


def _of_kind(entry: Entry, kind: Kind) -> list[DiagnosisRecord]:
    return [row for row in entry.diagnosis if row.kind == kind]


def _missing(rows: list[DiagnosisRecord], absent: str = NOT_ASKED) -> str:
    """Why some of the rows have no rate, or that there are none; empty where all have."""
    return "; ".join(f"{row.id}: {row.error}" for row in rows if row.error) if rows else absent
