"""Entries of schema 1: whether one agrees with itself, as far as that can be seen; pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from benchmark.records.entry import Entry, Rate
from benchmark.records.protocol import FAMILIES
from benchmark.records.rates import OTHER_MACHINE, share
from benchmark.scoring.choice import rate_of, worst_class
from benchmark.scoring.derived import sha256_of
from benchmark.scoring.flags import flags_of

YOUNGER = frozenset({"autoattack-beats-adaptive"})
"""Flags of what an entry of schema 1 says, too, that came when none was made any more."""


def _indices(entry: Entry) -> Iterator[str]:
    if sha256_of(entry.per_image.indices) != entry.dataset.indices_sha256:
        yield "dataset.indices_sha256 is not that of per_image.indices"


def _intervals(entry: Entry) -> Iterator[str]:
    found: list[tuple[str, Rate, Sequence[str]]] = [
        (row.id, row.rates.single, row.outcomes)
        for row in (*entry.attacks, *entry.sources)
        if row.rates
    ]
    if entry.clean and entry.worst:
        found.append(("clean", entry.clean.single, entry.per_image.clean))
        found.append(("worst", entry.worst.single, entry.per_image.worst))
    for name, rate, outcomes in found:
        made = rate_of(outcomes)
        if max(abs(made.low - rate.low), abs(made.high - rate.high)) > OTHER_MACHINE:
            yield (
                f"{name}: the interval {rate.low:.4f} to {rate.high:.4f} is not that of its outcomes, "
                f"{made.low:.4f} to {made.high:.4f}"
            )


def _draws(entry: Entry) -> Iterator[str]:
    wanted = entry.criterion.draws if entry.defense.stochastic else 1
    for name, outcomes in (
        ("per_image.clean", entry.per_image.clean),
        ("per_image.worst", entry.per_image.worst),
        *((row.id, row.outcomes) for row in entry.attacks),
    ):
        if any(len(bits) != wanted for bits in outcomes):
            yield f"{name}: expected {wanted} outcomes an image"
        if outcomes and len(outcomes) != entry.dataset.n:
            yield f"{name}: expected one row of outcomes for each of {entry.dataset.n} images"


def _worst_case(entry: Entry) -> Iterator[str]:
    """Each image's worst case is that of the row which it names; no row that counts does more harm."""
    rows = {row.id: row for row in entry.attacks}
    images = entry.per_image
    for i, name in enumerate(images.chosen):
        row = rows.get(name)
        if row is None:
            continue  # a challenge's image, whose outcomes stand nowhere else; reading has checked the name
        if not row.counts:
            yield f"image {images.indices[i]}: its worst case is of {name}, which does not count"
        elif row.outcomes and row.outcomes[i] != images.worst[i]:
            yield f"image {images.indices[i]}: its worst case is not what {name} did to it"
    if entry.defense.stochastic:
        return  # what was chosen on `select` draws may be better on `score` draws
    for row in entry.attacks:
        for i, bits in enumerate(row.outcomes if row.counts else ()):
            if bits == "0" and images.worst[i] == "1":
                yield f"image {images.indices[i]}: withstood in the worst case, but not under {row.id}"


def _columns(entry: Entry) -> Iterator[str]:
    """A fixed victim's column has the worst of its rows for each image.

    Of a random one, one candidate is chosen over all rows, and which is not in the entry: its share of right
    outcomes is that of one of the rows.
    """
    rows = {row.id: row.outcomes for row in entry.attacks}
    for column in FAMILIES:
        family = entry.family(column)
        if family is None or family.rates is None:
            continue
        rate = family.rates.single.value
        images = list(zip(*(rows[name] for name in family.rows), strict=True))
        low, high = (fmean(pick(map(share, image)) for image in images) for pick in (min, max))
        high = high if entry.defense.stochastic else low
        if not low - OTHER_MACHINE <= rate <= high + OTHER_MACHINE:
            span = f"{low:.4f}" if low == high else f"{low:.4f} to {high:.4f}"
            yield f"column {column}: {rate:.4f} is not what its rows give, {span}"


def _worst_class(entry: Entry) -> Iterator[str]:
    said, images = entry.worst_class, entry.per_image
    found = ((said.clean, images.clean), (said.worst, images.worst)) if said else ()
    for one, bits in found:
        made = worst_class(images.labels, bits) if bits else None
        if made is None or (one.label, one.n) != (made.label, made.n):
            yield "worst_class is not that of its outcomes"
        elif not all(
            _is_close(*pair) for pair in zip(_ends(one.rate), _ends(made.rate), strict=True)
        ):
            yield "worst_class: its rate is not that of its outcomes"


def _ends(rate: Rate) -> tuple[float, float, float]:
    return rate.low, rate.value, rate.high


def _flags(entry: Entry) -> Iterator[str]:
    stored = {flag.id: flag for flag in entry.flags}
    if len(stored) != len(entry.flags):
        yield "a flag stands twice"
    for flag in flags_of(entry):
        found = stored.pop(flag.id, None)
        if found is None:
            if flag.verdict == "raised" and flag.id not in YOUNGER:
                yield f"flag {flag.id} is missing, and its entry raises it"
        elif found.verdict != flag.verdict or not _is_close(found.value, flag.value):
            yield f"flag {flag.id} says {found.verdict}, and its entry {flag.verdict}"
    for name in stored:
        yield f"flag {name} is none that is known"


def _cost(entry: Entry) -> Iterator[str]:
    once = {row.job_key: row.cost for row in (*entry.attacks, *entry.sources)}
    for name in ("forwards_per_image", "backwards_per_image", "seconds_per_image"):
        total = math.fsum(getattr(cost, name) for cost in once.values())
        said = getattr(entry.cost, name)
        if not math.isclose(total, said, rel_tol=OTHER_MACHINE, abs_tol=OTHER_MACHINE):
            yield f"cost.{name} is {said:g}, and that of its rows {total:g}"


def _is_close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=OTHER_MACHINE, abs_tol=OTHER_MACHINE)


LEGACY_CHECKS: tuple[Callable[[Entry], Iterator[str]], ...] = (
    _indices,
    _draws,
    _intervals,
    _worst_case,
    _columns,
    _worst_class,
    _flags,
    _cost,
)
