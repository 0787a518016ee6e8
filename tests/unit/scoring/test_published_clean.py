"""RobustBench's published clean accuracies: a classifier that is not the one of its name is flagged."""

import csv
from math import sqrt
from pathlib import Path

import pytest

from benchmark.scoring.flags import flags_of
from benchmark.scoring.published_clean import published
from tests.helpers.run_builder import Run, deterministic

ROWS = Path(__file__).resolve().parents[3] / "leaderboards" / "robustbench.csv"
STANDARD = published()[("cifar10", "Standard")]


def flag(right, n=400, *, bare=None, update=None, **fields):
    fields = {"model": "Standard", "dataset": "cifar10", "label": "none"} | fields
    bits = "1" * right + "0" * (n - right)
    sources = {} if bare is None else {"clean-bare:net": "1" * bare + "0" * (n - bare)}
    entry = Run(rows=deterministic(clean=bits), sources=sources, **fields).entry()
    if update:
        entry = entry.model_copy(update={"dataset": entry.dataset.model_copy(update=update)})
    (found,) = [flag for flag in flags_of(entry) if flag.id == "unlike-published"]
    return found


def test_the_numbers_are_those_of_the_leaderboards_own_file():
    with ROWS.open() as file:
        rows = list(csv.DictReader(file))
    names = {"linf": "", "l2": "@L2"}
    assert published() == {
        (row["dataset"], row["model"] + names[row["threat"].partition(":")[0]]): (
            float(row["clean"]) / 100
        )
        for row in rows
    }
    assert published()[("cifar10", "Standard@L2")] == STANDARD == 0.9478


def test_it_is_raised_outside_the_interval_and_not_inside():
    edge = 400 * (STANDARD - 3.2905 * sqrt(STANDARD * (1 - STANDARD) / 400))
    assert flag(round(400 * STANDARD)).verdict == "ok"
    assert flag(int(edge) + 1).verdict == "ok"
    assert flag(int(edge)).verdict == "raised"
    assert flag(400).verdict == "raised"
    assert flag(190, 200).verdict == "ok"


def test_it_looks_at_the_bare_classifier_and_not_at_the_defense():
    assert flag(40, label="toy", bare=round(400 * STANDARD)).verdict == "ok"
    assert flag(380, label="toy", bare=40).verdict == "raised"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"n": 199}, "199 images are too few"),
        ({"model": "digits-cnn"}, "no clean accuracy is published"),
        ({"model": "Standard-1a2b3c4d@Standard"}, "no clean accuracy is published"),
        ({"dataset": "npz-cifar10-1a2b3c4d"}, "no clean accuracy is published"),
        ({"update": {"only_classes": (1, 2)}}, "only images of some classes"),
        ({"label": "toy"}, "the bare classifier's clean accuracy is not known"),
    ],
)
def test_it_is_not_run_where_nothing_can_be_said(fields, why):
    found = flag(10, **fields)
    assert found.verdict == "not-run"
    assert why in found.detail


def test_another_order_of_the_images_is_no_reason():
    assert flag(10, update={"order": "robustbench"}).verdict == "raised"
