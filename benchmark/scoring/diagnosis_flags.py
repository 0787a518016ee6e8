"""Flags of the diagnosis: what a longer attack, other budgets, blind search and a look at the purifier say."""

from __future__ import annotations

from benchmark.engine.threat import Knowledge
from benchmark.records.diagnosis import DiagnosisRecord, Examined
from benchmark.records.entry import Entry
from benchmark.records.entry_parts import Flag
from benchmark.records.protocol import Column
from benchmark.records.rates import mean_rate
from benchmark.records.run import Kind
from benchmark.scoring.flag_parts import (
    WEAKER_POINTS,
    not_run,
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
EXAMINED = {
    "gradient-not-as-declared": ("gradient", "slope"),
    "memorises-images": ("memory", "shifted", "nearest"),
    "batch-dependent": ("batch", "layout"),
    "undeclared-randomness": ("randomness",),
}
"""Flags that measurements of purifiers and victim decide, with the ids of these; an entry from before one of
them has the others alone."""


def black_box_beats_white_box(entry: Entry) -> Flag:
    """Whether the best attack on outputs alone is ahead of the best adaptive one by `WEAKER_POINTS`."""
    name = "black-box-beats-white-box"
    black = _rates(entry, Knowledge.BLACK_BOX, tuple(Column))
    white = _rates(entry, Knowledge.WHITE_BOX, (Column.ADAPTIVE,))
    if not black or not white:
        return not_run(name, "no black-box attack finished, or no adaptive one")
    (weaker, row), (adaptive, other) = min(black), min(white)
    detail = f"{row} {percent(weaker)}, {other} {percent(adaptive)} (points ahead)"
    return raised_above(name, points(adaptive, weaker), WEAKER_POINTS, detail)


def _rates(
    entry: Entry, knowledge: Knowledge, columns: tuple[Column, ...]
) -> list[tuple[float, str]]:
    return [
        (row.rates.single.value, row.id)
        for row in entry.attacks
        if row.knowledge is knowledge and row.column in columns and row.rates
    ]


def doubled_steps(entry: Entry) -> Flag:
    """Whether twice the steps change the accuracy by more than `resolution`."""
    return _doubled(entry, "doubled-steps", "steps", NOT_ASKED)


def doubled_eot(entry: Entry) -> Flag:
    """Whether twice the draws a gradient change the accuracy by more than `resolution`."""
    fixed = "the victim is deterministic: there is nothing to average over"
    return _doubled(entry, "doubled-eot", "eot", NOT_ASKED if entry.defense.stochastic else fixed)


def _doubled(entry: Entry, name: str, kind: Kind, absent: str) -> Flag:
    rows = _of_kind(entry, kind)
    broken = _broken(rows)
    if not rows or broken:
        return not_run(name, broken or absent)
    changes = []
    for row in rows:
        before = _reference(entry, row)
        if row.rate is None or before is None:
            return not_run(name, f"{row.of} has no outcomes to be compared with")
        said = f"{row.id}: {percent(before)}, doubled {percent(row.rate)} on {row.images} images"
        changes.append((abs(points(before, row.rate)), said))
    most, said = max(changes)
    threshold = resolution(entry, rows[0].images)
    return raised_above(name, most, threshold, f"{said} (points of change)")


def eps_curve_rises(entry: Entry) -> Flag:
    """Whether some larger budget leaves more accuracy than a smaller one, by more than `resolution`."""
    name, why = "eps-curve-rises", _no_curve(entry)
    if why:
        return not_run(name, why)
    lowest, most, said = entry.eps_curve[0], 0.0, "none"
    for point in entry.eps_curve[1:]:
        rise = points(point.rate, lowest.rate)
        if rise > most:
            most = rise
            said = (
                f"{percent(lowest.rate)} at eps {lowest.eps:.4g}, {percent(point.rate)} at eps "
                f"{point.eps:.4g}"
            )
        lowest = min(lowest, point, key=lambda each: each.rate)
    images = _of_kind(entry, "eps")[0].images
    return raised_above(name, most, resolution(entry, images), f"{said} (points of rise)")


def eps_curve_ends_high(entry: Entry) -> Flag:
    """Whether accuracy is left at the budget that turns every image into grey, but for a constant output."""
    name, why = "eps-curve-ends-high", _no_curve(entry)
    if why:
        return not_run(name, why)
    last = entry.eps_curve[-1]
    detail = f"{percent(last.rate)} at eps {last.eps:.4g} (points left)"
    left, allowed = points(last.rate, 0), RESIDUE_POINTS if entry.defense.stochastic else 0.0
    if _is_constant(entry):
        detail += "; the output is constant, and no budget changes it"
        return Flag(id=name, value=left, threshold=allowed, verdict="ok", detail=detail)
    return raised_above(name, left, allowed, detail)


def random_noise(entry: Entry) -> Flag:
    """Whether random points fool images (`BEATEN`) that every attack of the worst case left alone."""
    name, rows = "random-noise", _of_kind(entry, "noise")
    broken = _broken(rows)
    if not rows or broken:
        return not_run(name, broken or NOT_ASKED)
    if not entry.per_image.worst:
        return not_run(name, "there is no worst case")
    row = rows[0]
    pairs = zip(entry.per_image.worst, row.outcomes, strict=False)  # the first images alone
    beaten = sum(mean_rate([worst]) - mean_rate([noise]) >= BEATEN for worst, noise in pairs)
    detail = f"{row.id}: {beaten} of {row.images} images (share of them)"
    return raised_above(name, beaten / row.images, BEATEN_IMAGES, detail)


def examined(entry: Entry, name: str) -> Flag:
    """A measurement of the purifiers themselves against its threshold (`benchmark.contract.measurements`)."""
    found = [each for each in entry.examination if each.id in EXAMINED[name]]
    if not found:
        return not_run(
            name, "the entry is from before it was measured, or no protocol asked for it"
        )
    flags = [_of_one(name, each) for each in found]
    worst = {"raised": 0, "not-run": 1, "ok": 2}
    return min(flags, key=lambda flag: worst[flag.verdict])


def _of_one(name: str, one: Examined) -> Flag:
    if one.value is None or one.threshold is None:
        return not_run(name, one.detail)
    return raised_above(name, one.value, one.threshold, one.detail)


def _of_kind(entry: Entry, kind: Kind) -> list[DiagnosisRecord]:
    return [row for row in entry.diagnosis if row.kind == kind]


def _broken(rows: list[DiagnosisRecord]) -> str:
    """Why some of the rows have no rate; empty where all have."""
    return "; ".join(f"{row.id}: {row.error}" for row in rows if row.error)


def _reference(entry: Entry, row: DiagnosisRecord) -> float | None:
    """What the varied attack itself reached on the same images."""
    (found,) = [attack for attack in entry.attacks if attack.id == row.of]
    return mean_rate(found.outcomes[: row.images]) if found.outcomes else None


def _no_curve(entry: Entry) -> str:
    """Why there is no curve; empty where there is one."""
    if entry.eps_curve:
        return ""
    rows = _of_kind(entry, "eps")
    return (_broken(rows) or "the diagnosed attack is a gap") if rows else NOT_ASKED


def _is_constant(entry: Entry) -> bool:
    return any(
        each.id == "constant"
        and each.value is not None
        and each.threshold is not None
        and each.value > each.threshold
        for each in entry.examination
    )
