"""Examinations: each liar is measured above its threshold, the honest are not, a crash is no measurement."""

import pytest
import torch

from benchmark.classifier import Classifier
from benchmark.purified import Purified
from benchmark.setting import Setting
from benchmark.threat import Norm, Threat
from benchmark.trust import examination
from benchmark.trust.examination import Exhibit, examine
from tests import toys
from tests.dishonest import Backwards, Blind, ByHeart, Crash, Crowded, Halves, Modest, Wall
from tests.tiny import CLASSES, SHAPE, network

MEASURED = {"gradient", "memory", "batch", "constant"}


def images(n, seed):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed)) * 0.6 + 0.2


OWN, FRESH = images(8, 1), images(8, 3)
KNOWN = OWN.flatten(1).tolist()


def exhibit(*defenses, fresh=FRESH, norm=Norm.LINF, **changes):
    classifier = Classifier(network(), name="net", classes=CLASSES, sha256="")
    setting = Setting(
        dataset="tiny",
        shape=SHAPE,
        classes=CLASSES,
        threat=Threat(norm, 0.1),
        device=torch.device("cpu"),
        classifier=classifier,
    )
    given = {"images": OWN, "fresh": fresh, "seed": 0} | changes
    stages = [(defense, setting) for defense in defenses]
    return Exhibit(victim=Purified(defenses, classifier), stages=stages, **given)


def bad(*defenses, **changes):
    """The measurements above their thresholds."""
    found = examine(exhibit(*defenses, **changes))
    assert {each.id for each in found} == MEASURED
    return {each.id for each in found if each.value > each.threshold}


@pytest.mark.parametrize(
    ("liar", "expected"),
    [
        (Blind(), {"gradient"}),
        (Backwards(), {"gradient"}),
        (Modest(), {"gradient"}),
        (ByHeart(known=KNOWN), {"memory"}),
        (ByHeart(known=KNOWN, near=0.12), {"memory"}),
        (Crowded(), {"batch"}),
        (Crowded(most=511), {"batch"}),
        (Wall(), {"constant"}),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else "",
)
def test_a_liar_is_measured_above_the_threshold_that_is_meant_for_it(liar, expected):
    assert bad(liar) == expected


@pytest.mark.parametrize(
    "honest",
    [Halves(), toys.Same(), toys.Noise(), toys.Quantised(), toys.Nervous()],
    ids=lambda defense: defense.name,
)
@pytest.mark.parametrize("norm", Norm)
def test_the_honest_are_measured_below_every_threshold(honest, norm):
    assert bad(honest, norm=norm) == set()


def test_in_a_chain_one_liar_is_enough_and_is_named():
    found = {each.id: each for each in examine(exhibit(Halves(), Blind(), Halves()))}
    assert found["gradient"].value == 1.0
    assert "blind" in found["gradient"].detail


def test_without_a_purifier_nothing_is_wrong():
    assert bad() == set()


def test_without_training_images_what_is_known_by_heart_is_held_against_itself_upside_down():
    assert bad(ByHeart(known=KNOWN), fresh=None) == {"memory"}
    assert bad(Halves(), fresh=None) == set()


def test_a_purifier_that_restores_every_image_is_not_said_to_know_some_by_heart():
    both = KNOWN + FRESH.flatten(1).tolist()
    assert bad(ByHeart(known=both)) == set()


def test_one_that_knows_half_of_the_images_by_heart_is_at_the_threshold_and_with_more_above():
    left = {}
    for n in (3, 6):
        found = {each.id: each for each in examine(exhibit(ByHeart(known=KNOWN[:n], near=0.12)))}
        left[n] = found["memory"].value
    assert left[3] < examination.KEPT < left[6]


def test_what_crashes_while_it_is_measured_has_no_value_and_says_why():
    found = {each.id: each for each in examine(exhibit(Crash()))}
    assert found["gradient"].value is None
    assert "only float32" in found["gradient"].detail
    assert found["memory"].value is not None


def test_large_images_meet_a_wide_batch_of_fewer_rows(monkeypatch):
    monkeypatch.setattr(examination, "WIDE_PIXELS", 40 * 16)
    assert bad(Crowded(most=64)) == set()
    assert bad(Crowded(most=32)) == {"batch"}


def test_a_measurement_hangs_on_nothing_but_what_is_measured():
    assert examine(exhibit(toys.Noise())) == examine(exhibit(toys.Noise()))
