"""The weights that ship: their records, their size, and the floor below which a training is broken."""

import pytest

from benchmark.files.known_hashes import file_sha256
from tests.helpers.shipped_weights import (
    accuracy,
    images,
    oblivious,
    plain_setting,
    record,
    shipped,
    victim,
)

ROWS = {
    "aid": 1,
    "atop": 10,
    "atop-mae": 10,
    "trust-no-pixel": 1,
    "hgd": 1,
    "advae": 1,
    "add": 1,
    "add-s": 1,
}
"""Draws of each image."""
STATIC_SETS = {"hgd": 7, "add": 2, "add-s": 2}


@pytest.mark.parametrize("name", ROWS)
def test_the_record_tells_how_the_shipped_weights_were_made(name):
    said = record(name)
    assert said["weights_sha256"] == file_sha256(shipped(name))
    assert said["setting"]["classifier_sha256"] == plain_setting().defended().sha256
    assert said["seed"] == 0
    assert said["threads"] == 1
    assert said["command"].startswith(f"bench train --defense {name} ")
    assert len(said.get("static_sets", ())) == STATIC_SETS.get(name, 0)
    assert shipped(name).stat().st_size < 2_000_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_the_shipped_weights_are_past_the_floor(name):
    """Clean within five points of the classifier's, and twenty above it on images made on it (PGD-100)."""
    x, rows = images()[0], ROWS[name]
    bare, defended = victim("none"), victim(name)
    assert accuracy(bare, oblivious()) < 10
    assert accuracy(defended, x, rows) > accuracy(bare, x) - 5
    assert accuracy(defended, oblivious(), rows) > accuracy(bare, oblivious()) + 20
