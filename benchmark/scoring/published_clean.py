"""Clean accuracies that RobustBench publishes of its classifiers, beside those measured here; no torch."""

from __future__ import annotations

import csv
import io
import math
from functools import lru_cache
from importlib.resources import files
from statistics import NormalDist
from typing import Final

from benchmark.records.entry import Entry, Rate, is_undefended
from benchmark.records.entry_parts import Flag
from benchmark.scoring.flag_parts import not_run, percent, points, raised_above

NAME: Final = "unlike-published"
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


def unlike_published(entry: Entry) -> Flag:
    """Whether the bare classifier's clean accuracy is not the one that RobustBench publishes of its name.

    It is not where Wilson's 99.9 % interval of the measured share does not hold the published one. That is so
    where the two lie further apart than z standard errors of n images of the published accuracy.
    """
    known = published().get((entry.dataset.name, entry.classifier.name))
    if known is None:
        return not_run(NAME, "no clean accuracy is published of this classifier")
    if entry.dataset.only_classes:
        return not_run(NAME, "only images of some classes were taken")
    if entry.dataset.n < LEAST_IMAGES:
        return not_run(NAME, f"{entry.dataset.n} images are too few: {LEAST_IMAGES} could tell")
    bare = _bare(entry)
    if bare is None:
        return not_run(NAME, "the bare classifier's clean accuracy is not known")
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    most = 100 * z * math.sqrt(known * (1 - known) / entry.dataset.n) + ROUNDED
    detail = f"bare {percent(bare.value)}, RobustBench {percent(known)} (points apart)"
    apart = abs(points(bare.value, known))
    return raised_above(NAME, apart, round(most, 9), detail)


def _bare(entry: Entry) -> Rate | None:
    """The undefended classifier's clean accuracy on the entry's images."""
    if entry.undefended.clean is None and is_undefended(entry) and entry.clean is not None:
        return entry.clean.single
    return entry.undefended.clean
