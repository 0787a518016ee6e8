"""Examinations: each liar is measured above its threshold, the honest are not, a crash is no measurement."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch

from benchmark.contract import measurements as examination
from benchmark.contract.measurements import Sample, examine
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.setting import Setting
from benchmark.engine.victims.victim import StraightThrough, Victim
from tests.helpers import toy_plugins as toys
from tests.helpers.flagged_defenses import (
    Backwards,
    Blind,
    ByHeart,
    Crash,
    Crowded,
    Halfway,
    Halves,
    Modest,
    Wall,
)
from tests.helpers.tiny_task import CLASSES, SHAPE, network

MEASURED = {"gradient", "slope", "surrogate", "memory", "shifted", "nearest", "batch", "constant"}


def images(n, seed):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed)) * 0.6 + 0.2


OWN, FRESH = images(8, 1), images(8, 3)
KNOWN = OWN.flatten(1).tolist()
BOTH = KNOWN + FRESH.flatten(1).tolist()


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
    given = {"images": OWN, "fresh": fresh, "seed": 0, "known": lambda: [OWN[:5], OWN[5:]]}
    stages = [(defense, setting) for defense in defenses]

    def made(dtype, wrap=lambda victim: victim):
        return wrap(Purified(defenses, copy.deepcopy(classifier).to(dtype)))

    given |= {"made": made, "victim": made(torch.float32)} | changes
    return Sample(stages=stages, **given)


def bad(*defenses, **changes):
    """The measurements above their thresholds."""
    found = examine(exhibit(*defenses, **changes))
    assert {each.id for each in found} == MEASURED
    return {each.id for each in found if each.value > each.threshold}


class Hidden(Defense):
    """Honest in what it declares, and turned round where its surrogate is not."""

    name = "hidden"
    stochastic = False
    gradient = Derivative.NONE

    def purify(self, x, *, draws):
        with torch.no_grad():
            return x.flip(-1)


class Guarded(Defense):
    """Its dropout is on where nobody wants a gradient."""

    name = "guarded"
    stochastic = True
    gradient = Derivative.EXACT

    def purify(self, x, *, draws):
        kept = draws.at("kept").uniform(tuple(x.shape[1:]), dtype=x.dtype) > 0.1
        return x if torch.is_grad_enabled() else x * kept


def test_what_a_purifier_does_to_whoever_wants_its_gradient_is_said():
    (found,) = (each for each in examine(exhibit(Guarded())) if each.id == "batch")
    assert "differs by 0.7" in found.detail
    assert found.detail.endswith("where its gradient is wanted (exact)")


@pytest.mark.parametrize(
    ("liar", "expected"),
    [
        (Blind(), {"gradient", "slope", "surrogate"}),
        (Backwards(), {"gradient", "slope", "surrogate"}),
        (Modest(), {"gradient"}),
        (ByHeart(known=KNOWN), {"memory", "shifted", "nearest"}),
        (ByHeart(known=KNOWN, near=0.12), {"memory", "shifted", "nearest"}),
        (ByHeart(known=BOTH), {"shifted", "nearest"}),
        (ByHeart(known=BOTH, near=0.12), {"shifted", "nearest", "surrogate"}),
        (Halfway(known=BOTH), {"nearest"}),
        (Halfway(known=BOTH, share=0.1), {"nearest"}),
        (Crowded(most=8), {"batch"}),
        (Wall(), {"constant"}),
        (Hidden(), {"surrogate"}),
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


@pytest.mark.parametrize("text", ["pixels:3", "stadv:0.05"])
def test_under_a_threat_that_is_no_ball_everything_is_measured_too(text):
    sample = exhibit(Halves())
    (defense, setting), *_ = sample.stages
    setting = replace(setting, threat=Threat.parse(text))
    found = examine(replace(sample, stages=[(defense, setting)]))
    assert all(each.value is not None for each in found), found


class Coarse(Defense):
    """Honest: halves the contrast in a precision of its own; `seen` times its gradient is told."""

    name = "coarse"
    stochastic = False
    gradient = Derivative.EXACT

    def __init__(self, *, dtype, seen=1.0, is_strict=False):
        self.dtype, self.seen, self.is_strict = dtype, seen, is_strict

    def purify(self, x, *, draws):
        if self.is_strict and x.dtype != self.dtype:
            raise RuntimeError("another precision")
        out = (0.5 * x.to(self.dtype) + 0.25).to(x.dtype)
        return self.seen * out + (1 - self.seen) * out.detach()


def test_in_a_chain_one_liar_is_enough_and_is_named():
    found = {each.id: each for each in examine(exhibit(Halves(), Blind(), Halves()))}
    assert found["gradient"].value == 1.0
    assert "blind" in found["gradient"].detail


def test_without_a_purifier_nothing_is_wrong():
    assert bad() == set()


def test_without_training_images_what_is_known_by_heart_is_held_against_itself_upside_down():
    assert "memory" in bad(ByHeart(known=KNOWN), fresh=None)
    assert bad(Halves(), fresh=None) == set()


def test_one_that_goes_to_the_nearest_training_image_knows_no_evaluation_image():
    assert bad(ByHeart(known=FRESH.flatten(1).tolist())) <= {"surrogate"}  # it chooses, detached


def test_one_that_knows_half_of_the_images_by_heart_is_at_the_threshold_and_with_more_above():
    left = {}
    for n in (3, 6):
        found = {each.id: each for each in examine(exhibit(ByHeart(known=KNOWN[:n], near=0.12)))}
        left[n] = found["memory"].value
    assert left[3] < examination.KEPT < left[6]


def test_what_crashes_while_it_is_measured_has_no_value_and_says_why():
    class Broken(toys.Same):
        def purify(self, x, *, draws):
            if bool((x.flatten(1).amin(1) < 0.12).any()):
                raise RuntimeError("it broke")
            return x * 1.0

    found = {each.id: each for each in examine(exhibit(Broken()))}
    assert found["memory"].value is None
    assert "it broke" in found["memory"].detail
    assert found["nearest"].value is not None


@pytest.mark.parametrize("inside", [torch.float32, torch.float16, torch.bfloat16])
def test_one_that_computes_in_less_than_float64_is_measured_more_coarsely_and_is_honest(inside):
    assert bad(Coarse(dtype=inside)) == set()
    assert "coarsely" in examine(exhibit(Coarse(dtype=inside)))[0].detail
    assert bad(Coarse(dtype=inside, seen=0.5)) == {"gradient", "slope"}


def test_one_that_cannot_be_had_in_float64_is_measured_in_float32():
    assert bad(Crash()) == set()
    assert bad(Coarse(dtype=torch.float32, is_strict=True)) == set()
    assert bad(Coarse(dtype=torch.float32, is_strict=True, seen=0.5)) == {"gradient", "slope"}


class Bent(Victim):
    """A victim whose gradient is not its own."""

    stochastic = False
    classifiers = ()

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def logits(self, x, *, draws, mode):
        true = self.inner.logits(x, draws=draws, mode=mode)
        return StraightThrough.apply(-true, true.detach())

    def auxiliary_loss(self, x, *, draws, mode):
        return self.inner.auxiliary_loss(x, draws=draws, mode=mode)


def test_a_wrapper_that_changes_the_gradient_is_measured_though_its_purifier_is_honest():
    made = partial(exhibit(Halves()).made, wrap=Bent)
    assert bad(Halves(), made=made, victim=made(torch.float32)) == {"slope"}
    assert bad(toys.Quantised(), made=made, victim=made(torch.float32)) == set()


def test_a_measurement_hangs_on_nothing_but_what_is_measured():
    assert examine(exhibit(toys.Noise())) == examine(exhibit(toys.Noise()))
