"""Which entries may be compared: rows that neither side has, that one side has, and that were declared away."""

from __future__ import annotations

import pytest

from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.comparison import Conclusion, compare
from benchmark.publishing.leaderboard.comparison_text import to_json, to_text
from benchmark.records.missing_rows import Missing, Why
from tests.helpers.run_builder import Run, deterministic


def lacking(label, *, why=Why.NO_SURROGATES, row="transfer", pgd="1" * 64, **fields):
    """An entry of a protocol with a row for transfer, which is missing."""
    rows = deterministic(clean="1" * len(pgd), pgd=pgd, transfer="1" * len(pgd))
    skipped = {row: Missing(why, f"{row}: it cannot be had here")}
    return Run(rows=rows, label=label, skipped=skipped, **fields).entry()


@pytest.mark.parametrize("why", [why for why in Why if why is not Why.FAILED])
def test_a_row_that_neither_side_can_have_does_not_block(why):
    found = compare(lacking("toy", why=why), lacking("toy", why=why))
    assert found.verdict(0.05, ("worst",)) is Conclusion.HELD
    assert "missing on both sides: transfer (transfer: it cannot be had here)" in to_text(
        found, 0.05, ("worst",)
    )
    assert to_json(found, 0.05, ("worst",))["missing_on_both"] == ["transfer"]
    worse = compare(lacking("toy", why=why), lacking("new", why=why, pgd="1" * 32 + "0" * 32))
    assert worse.verdict(0.05, ("worst",)) is Conclusion.FELL


def whole(label):
    return Run(
        rows=deterministic(clean="1" * 64, pgd="1" * 64, transfer="1" * 64), label=label
    ).entry()


@pytest.mark.parametrize(
    ("base", "candidate", "side"),
    [
        (whole("toy"), lacking("toy"), "candidate"),
        (lacking("toy"), whole("toy"), "base"),
        (lacking("toy"), lacking("toy", why=Why.NO_SEED_IMAGES), "base"),
        (lacking("toy", why=Why.TOO_FEW_CLASSES), lacking("toy"), "base"),
        (lacking("toy", why=Why.FAILED), lacking("toy", why=Why.FAILED), "base"),
        (lacking("toy"), lacking("toy", failed=frozenset({("pgd", 0)})), "candidate"),
    ],
    ids=[
        "new gap",
        "gap gone",
        "other reasons",
        "not applicable once",
        "both crashed",
        "crash too",
    ],
)
def test_a_row_that_one_side_has_or_that_failed_blocks(base, candidate, side):
    with pytest.raises(BenchError, match=rf"the {side} \(toy on net, .* has a gap"):
        compare(base, candidate)


def test_a_defense_that_declares_an_attack_away_is_not_compared_with_itself():
    rows = deterministic(clean="1" * 64, pgd="1" * 64, pgd_bpda="0" * 64)
    base = Run(rows=rows).entry()
    spared = Run(rows=rows, not_planned=frozenset({"pgd:bpda"})).entry()
    with pytest.raises(BenchError, match=r"spared what counts for the base: pgd:bpda; it declares"):
        compare(base, spared)
    other = Run(rows=rows, not_planned=frozenset({"pgd:bpda"}), label="other").entry()
    assert compare(base, other).missing == ("pgd:bpda",)
