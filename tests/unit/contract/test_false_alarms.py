"""False alarms: no purifier that ships is refuted, on any seed, on digits and where MNIST is there."""

from __future__ import annotations

import os

import pytest

from benchmark.contract.measurements import examine
from benchmark.engine.dataset import indices_of
from benchmark.evaluation.execute.measure import EXAMINED, exhibit_of
from benchmark.evaluation.prepare.prepare import prepare
from benchmark.evaluation.prepare.probing import probe
from benchmark.evaluation.prepare.request import Request

PLAIN = ("none", "jpeg", "gaussian")
TRAINED = ("aid", "atop", "hgd", "advae", "add")


def alarms(defense, dataset, seed):
    """The measurements above their thresholds or without a value, on images of the seed's own."""
    ready = prepare(Request(defense=defense, dataset=dataset, protocol="quick", seed=seed))
    ready = probe(ready)
    every = indices_of(ready.dataset, "test", "nested")
    chosen = tuple(every[seed * EXAMINED : (seed + 1) * EXAMINED])
    found = (*ready.examination, *examine(exhibit_of(ready, chosen, every)))
    assert len(found) == 10
    assert not ready.is_uncut
    return [each for each in found if each.value is None or each.value > each.threshold]


@pytest.mark.parametrize("defense", [*PLAIN, "hgd", "advae", "add"])
def test_none_on_digits(defense):
    assert alarms(defense, "digits", 0) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("defense", [*PLAIN, *TRAINED])
def test_none_on_digits_on_five_seeds(defense, seed):
    assert alarms(defense, "digits", seed) == []


@pytest.mark.slow
@pytest.mark.skipif("BENCH_DATA" not in os.environ, reason="the real MNIST is not here")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("defense", PLAIN)  # no weights for MNIST ship
def test_none_on_mnist_on_five_seeds(defense, seed):
    assert alarms(defense, "mnist", seed) == []
