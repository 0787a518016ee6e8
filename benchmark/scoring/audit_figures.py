"""Figures of audits: how images attacked anew compare with an entry, and the bound on forged ones; pure."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from math import comb, sqrt
from statistics import NormalDist, fmean
from typing import Any, Final

from benchmark.records.audit import AttackedAgain, Audit
from benchmark.records.entry import Entry
from benchmark.scoring.series import kept_series
from benchmark.scoring.statistics import sign_flip

ONE_IN = 20
"""The bound on forged images fails once in so many audits: 95 % confidence."""
ALARM = 1e-3
"""Chance that draws alone make one of an honest entry's images look forged, over all that are attacked anew."""


def most_forged(n: int, attacked: int, fallen: int) -> int:
    """The most images of n that may be forged, where `fallen` of the `attacked` ones were found to be.

    The one-sided upper bound of a hypergeometric sample at 95 %: the greatest number D for which as few forged
    images among those attacked, drawn without replacement, have a chance of at least 5 %. For n without end
    it becomes that of Clopper and Pearson (1934): none of 16 found leaves 1 - .05 ** (1 / 16) = 17 %.
    """
    low, high = fallen, n - (attacked - fallen)  # the chance falls as there are more
    while low < high:
        middle = (low + high + 1) // 2
        seen = sum(comb(middle, i) * comb(n - middle, attacked - i) for i in range(fallen + 1))
        is_likely = ONE_IN * seen >= comb(n, attacked)  # whole numbers of any length
        low, high = (middle, high) if is_likely else (low, middle - 1)
    return low


def tolerance(before: str, after: str, attacked: int) -> float:
    """How far two shares of right outcomes of one image may lie apart by their draws alone.

    That of 0/1 outcomes of a fixed victim is 0. Of a random one: the normal quantile at which one of so many
    images is beyond it with a chance of `ALARM`, times the standard error of the difference at the pooled
    share, one success and one failure added (Agresti and Caffo, 2000).

    Args:
        before: Outcomes of an image in the entry.
        after: Its outcomes now.
        attacked: How many images are compared.
    """
    if len(before) == len(after) == 1:
        return 0.0
    draws = len(before) + len(after)
    p = (before.count("1") + after.count("1") + 1) / (draws + 2)
    error = sqrt(p * (1 - p) * (1 / len(before) + 1 / len(after)))
    return NormalDist().inv_cdf(1 - ALARM / attacked) * error


def positions_of(seed: int, n: int, k: int) -> tuple[int, ...]:
    """The k images of n that an audit of a seed attacks anew, ascending."""
    return tuple(sorted(random.Random(seed).sample(range(n), k)))


def compared(entry: Entry, seed: int, after: Sequence[str]) -> tuple[AttackedAgain, list[int]]:
    """Images attacked anew beside what the entry says of them, less what challenges took from it.

    An honest entry and the new attacks are two runs of one procedure, so that each is as likely as the other
    to be the one in which an image fares worse.

    Args:
        entry: With a worst case.
        seed: Of the new attacks.
        after: Their worst-case outcomes under single draws, of the images of `positions_of`.

    Returns:
        The figures, and for each image 1 where it fell now, -1 where it stands now, 0 where both agree.
    """
    n, signs = entry.dataset.n, []
    before = claimed(entry, positions_of(seed, n, len(after)))
    for old, new in zip(before, after, strict=True):
        drop = share(old) - share(new)
        is_beyond = abs(drop) > tolerance(old, new, len(before))
        signs.append((drop > 0) - (drop < 0) if is_beyond else 0)
    shares = [list(map(share, bits)) for bits in (before, after)]
    found = AttackedAgain(
        seed=seed,
        outcomes=tuple(after),
        before=fmean(shares[0]),
        after=fmean(shares[1]),
        p=sign_flip(*shares),
        agreed=signs.count(0),
        fallen=signs.count(1),
        stood=signs.count(-1),
        at_most=most_forged(n, len(signs), signs.count(1)) / n,
    )
    return found, signs


def claimed(entry: Entry, positions: Sequence[int]) -> list[str]:
    """The worst-case outcomes that an entry's own rows have at positions, under single draws."""
    outcomes = kept_series(entry, "worst")[0].outcomes
    return [outcome.bits for at in positions if (outcome := outcomes[at])]


def share(bits: str) -> float:
    """The share of right outcomes."""
    return bits.count("1") / len(bits)


def problems_of_audit(entry: Entry) -> Iterator[str]:
    """What an audit, or the record of kept images, says that its entry does not, one line each."""
    kept, audit = entry.kept_images, entry.audit
    if kept is not None:
        ids = {row.id for row in entry.attacks}
        strange = [name for name in kept.rows if name not in ids]
        if strange or len(set(kept.rows)) != len(kept.rows):
            yield f"kept_images.rows: {strange[0] if strange else 'a row twice'!r} is no attack of it"
    if audit is None:
        return
    if entry.is_legacy or not entry.clean:
        yield "audit: an entry without scores or without a worst case cannot be audited"
        return
    if audit.of != content_sha256(entry):
        yield "audit: the entry has changed since it was audited; audit it again (bench audit --write)"
    n, replayed, again = entry.dataset.n, audit.replayed, audit.again
    if replayed.confirmed + replayed.within_rounding + replayed.contradicted != n:
        yield f"audit.replayed: its counts are not those of {n} images"
    if replayed.kept and replayed.kept != (kept and kept.which):
        yield f"audit.replayed: {replayed.kept!r} images were replayed, and the entry kept others"
    if again is not None:
        yield from _again(entry, again)


def valid_audit(entry: Entry) -> Audit | None:
    """The audit of an entry, as far as it belongs to it; else None."""
    return None if any(problems_of_audit(entry)) else entry.audit


def _again(entry: Entry, again: AttackedAgain) -> Iterator[str]:
    n, draws = entry.dataset.n, entry.criterion.draws if entry.defense.stochastic else 1
    if again.images > n or any(len(bits) != draws for bits in again.outcomes):
        yield f"audit.again: expected {draws} outcomes of each of at most {n} images"
    elif again != compared(entry, again.seed, again.outcomes)[0]:
        yield "audit.again: its figures are not those of its outcomes and of the entry's"
    if again.seed == entry.seed:
        yield "audit.again: its seed is the entry's own"


_CONTENT: Final[dict[str, Any]] = {
    "schema_version": True,
    "protocol": {"name", "version", "sha256"},
    "defense": {
        "label": True,
        "stochastic": True,
        "stages": {"__all__": {"plugin", "arguments", "source_sha256", "weights_sha256"}},
    },
    "classifier": {"name", "sha256"},
    "dataset": {"name", "split", "n", "indices_sha256", "pixels_sha256", "order", "only_classes"},
    "threat": {"norm", "eps", "input_shape"},
    "criterion": True,
    "seed": True,
    "precision": True,
    "attacks": {"__all__": {"id", "job_key", "column", "counts", "gradient", "eot", "scores"}},
    "per_image": {"indices", "labels"},
    "kept_images": True,
    "command": True,
}


def content_sha256(entry: Entry) -> str:
    """Of all that an audit confirms, hex: who was attacked, how, and what became of each image."""
    content = entry.model_dump(mode="json", include=_CONTENT)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
