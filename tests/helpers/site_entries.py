"""Entries of every kind that a site shows."""

from __future__ import annotations

from benchmark.records.entry import Entry
from tests.helpers.run_builder import WHOLE, Run, deterministic
from tests.helpers.sample_entries import toy

TRACED = Run(
    rows=WHOLE,
    sources={"made-bare:net": list("000000"), "clean-bare:net": list("111110")},
    traces={"pgd": (1.0, 0.75, 0.5, 0.5, 0.5, 0.25), "made-bare:net": (1.0, 0.0)},
    warnings={"autoattack": ("it randomises",)},
)
RANDOM = Run(
    rows=deterministic(clean="1111", autoattack="1110", pgd="1100") | {"pgd": ["1100"] * 4},
    is_stochastic=True,
    label="noisy",
)
GAPPED = Run(rows=WHOLE, label="holed", failed=frozenset({("transfer", 2)}))
BOARD = "digits--linf-8-255/index.html"


def entries() -> list[Entry]:
    """Traced, random, with a gap, plain, under another protocol, of another task."""
    return [
        TRACED.entry(),
        RANDOM.entry(),
        GAPPED.entry(),
        toy("first", pgd="1111"),
        toy("first", protocol="quick"),
        toy("elsewhere", dataset="mnist", threat="l2:0.5"),
    ]
