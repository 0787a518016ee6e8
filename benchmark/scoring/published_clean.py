"""Clean accuracies that RobustBench publishes of its classifiers, beside those measured here; no torch."""

from __future__ import annotations

import csv
import io
import math
from functools import lru_cache
from importlib.resources import files
from statistics import NormalDist
from typing import Final

from benchmark.records.entry import Entry, is_undefended
from benchmark.scoring.flag_parts import Finding, percent, points, raised_above

LEAST_IMAGES: Final = 200
"""On fewer images the interval is too wide to tell one classifier from another."""
LEVEL: Final = 0.999
ROUNDED: Final = 0.005
"""Points by which a published number may be rounded."""


@lru_cache(maxsize=1)
def published() -> dict[tuple[str, str], float]:
    """Clean accuracies in [0, 1] on all test images, by dataset and classifier (`Standard`, `Standard@L2`).

    They are those of `leaderboards/robustbench.csv`.
    """
    text = files("benchmark.scoring").joinpath("robustbench_clean.csv").read_text("utf-8")
    rows = csv.DictReader(io.StringIO(text))
    return {(row["dataset"], row["model"]): float(row["clean"]) / 100 for row in rows}


def unlike_published(entry: Entry) -> Finding:
    """Whether the bare classifier's clean accuracy is not the one that RobustBench publishes of its name.

    It is not where Wilson's 99.9 % interval of the measured share does not hold the published one. That is so
    where the two lie further apart than z standard errors of n images of the published accuracy.
    """
    known = published().get((entry.dataset.name, entry.classifier.name))
    if known is None:
        return "no clean accuracy is published of this classifier"
    if entry.dataset.only_classes:
        return "only images of some classes were taken"
    if entry.dataset.n < LEAST_IMAGES:
        return f"{entry.dataset.n} images are too few: {LEAST_IMAGES} could tell"
    bare = entry.undefended.clean
    if bare is None and is_undefended(entry) and entry.clean is not None:
        bare = entry.clean.single
    if bare is None:
        return "the bare classifier's clean accuracy is not known"
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    most = 100 * z * math.sqrt(known * (1 - known) / entry.dataset.n) + ROUNDED
    detail = f"bare {percent(bare.value)}, RobustBench {percent(known)} (points apart)"
    apart = abs(points(bare.value, known))
    return raised_above(apart, round(most, 9), detail)
