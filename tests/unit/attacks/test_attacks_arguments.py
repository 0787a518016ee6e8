"""Arguments of attacks: the defaults that a name stands for, and the limits of values that are taken."""

import inspect

import pytest

from attacks.apgd import APGD
from attacks.auxiliary import AuxiliaryAware
from attacks.boundary import Boundary
from attacks.cw import CW
from attacks.cw_linf import CWLinf
from attacks.ddn import DDN
from attacks.deepfool import DeepFool
from attacks.frozen_draw import FrozenDraw
from attacks.hopskipjump import HopSkipJump
from attacks.ifgsm import IFGSM
from attacks.local_search import LocalSearch
from attacks.mim import MIM
from attacks.pgd import PGD
from attacks.random_points import RandomPoints
from attacks.rotation_translation import RotationTranslation
from attacks.rp2 import RP2
from attacks.square import Square
from attacks.stadv import StAdv
from attacks.substitute import Substitute
from attacks.wasserstein import Wasserstein
from benchmark.engine.threat import Norm, Threat
from benchmark.errors import BenchError
from benchmark.plugins import ATTACKS
from benchmark.selftest.closed_forms import LinearTask
from tests.helpers.toy_plugins import image_draws, linear_target

TASK = LinearTask.make(n=2, classes=4, shape=(1, 6, 6))
AIM = {"target_class": None}
SCALES = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
DEFAULTS = {
    "apgd": {
        "loss": "ce",
        "steps": 100,
        "restarts": 1,
        "targets": 9,
        "rho": 0.75,
        "momentum": 0.75,
    },
    "autoattack": {"version": "auto"},
    "auxiliary": {"variant": "A2", "lambdas": SCALES, "steps": 40, "step_size": 0.1, "cap": 10.0}
    | {"projection": False, "random_start": True, "form": "balanced"},
    "boundary": {"steps": 5000, "sideways": 0.01, "towards": 0.01, "factor": 1.5, "draws": 5},
    "clean": {},
    "cw": {"steps": 200, "binary_search_steps": 9, "initial_const": 0.001, "step_size": 0.01}
    | {"confidence": 0.0, **AIM},
    "cw-linf": {"rounds": 15, "steps": 100, "initial_const": 0.01, "step_size": 0.05}
    | {"confidence": 0.0, **AIM},
    "ddn": {"steps": 100, "gamma": 0.05, "init_eps": 1.0, "levels": 0, **AIM},
    "deepfool": {"steps": 50, "overshoot": 0.02, "candidates": 10},
    "fast-autoattack": {"steps": 100, "targets": 9, "queries": 5000},
    "fgsm": {"loss": "ce", "random_start": False},
    "frozen-draw": {"steps": 40, "step_size": 0.1},
    "hopskipjump": {"queries": 5000, "first": 100, "draws": 5},
    "ifgsm": {"steps": 4, "labels": "true", **AIM},
    "nes": {"queries": 5000, "directions": 32, "draws": 4, "reach": 0.1, "step_size": 0.125}
    | {"momentum": 0.75, "guided": True},
    "local-search": {"rounds": 150, "r": 1.5, "d": 5, "t": 5, "start": 0.1, "probes": 128}
    | {"change": "cyclic"},
    "mim": {"steps": 10, "step_size": 0.1, "step_unit": "eps", "decay": 1.0, "keep": "best", **AIM},
    "noise": {},
    "pgd": {"steps": 40, "step_size": 0.1, "step_unit": "eps", "loss": "ce", "restarts": 1}
    | {"random_start": True, "keep": "best", **AIM, "labels": "true", "confidence": None},
    "random-points": {"points": 10},
    "rotation-translation": {"search": "grid", "rotations": 31, "shifts": 5, "k": 10}
    | {"candidates": 3},
    "rp2": {"steps": 100, "step_size": 0.1, "l2_weight": 0.02, "loss": "margin", "restarts": 1}
    | {"placement": "sensitive", "views": 1, "brightness": 0.2, "shift": 1, **AIM},
    "square": {"queries": 5000, "start": 0.8, "draws": 20, "rescales": True},
    "stadv": {"steps": 20, "bound": None, "step_size": 0.2, "smoothness": 0.05}
    | {"random_start": True, **AIM},
    "substitute": {
        "rounds": 6,
        "step": 0.1,
        "period": 3,
        "epochs": 10,
        "attack": "pgd",
        "draws": 1,
    },
    "transfer": {},
    "wasserstein": {"steps": 300, "window": 5, "loss": "ce"},
}
"""What a protocol's row and a published command mean where they leave an argument out."""


def test_a_name_alone_stands_for_the_same_attack_as_ever():
    found = {name: inspect.signature(ATTACKS.get(name)).parameters for name in ATTACKS.names()}
    assert {
        name: {key: one.default for key, one in taken.items()} for name, taken in found.items()
    } == DEFAULTS


SETS = {LocalSearch: "pixels:2", RP2: "sticker:0.2", RotationTranslation: "spatial:1"} | {
    StAdv: "stadv:0.05",
    Wasserstein: "wasserstein:0.1",
    CW: "l2:0.5",
    DDN: "l2:0.5",
}
TINY = 1e-3
LEAST = [
    (APGD, {"steps": 1, "restarts": 1}, {"steps": 0, "restarts": 0, "targets": 0}),
    (
        AuxiliaryAware,
        {"steps": 1, "lambdas": (0.0,)},
        {"steps": 0, "lambdas": (-TINY,)},
    ),
    (
        Boundary,
        {"steps": 1, "draws": 1, "sideways": TINY, "towards": TINY, "factor": 1 + TINY},
        {"steps": 0, "draws": 0, "sideways": 0.0, "towards": 0.0, "factor": 1.0},
    ),
    (
        CW,
        {"steps": 1, "binary_search_steps": 1, "initial_const": TINY, "step_size": TINY},
        {"steps": 0, "binary_search_steps": 0, "initial_const": 0.0, "step_size": 0.0}
        | {"confidence": -TINY},
    ),
    (
        CWLinf,
        {"steps": 1, "rounds": 1, "initial_const": TINY, "step_size": TINY},
        {"steps": 0, "rounds": 0, "initial_const": 0.0, "step_size": 0.0, "confidence": -TINY},
    ),
    (
        DDN,
        {"steps": 1, "gamma": TINY, "init_eps": TINY, "levels": 2},
        {"steps": 0, "gamma": 0.0, "init_eps": 0.0, "levels": 1},
    ),
    (DDN, {"steps": 1, "gamma": 1 - TINY}, {"gamma": 1.0, "levels": -1}),
    (
        DeepFool,
        {"steps": 1, "candidates": 1, "overshoot": 0.0},
        {"steps": 0, "candidates": 0, "overshoot": -TINY},
    ),
    (HopSkipJump, {"queries": 72, "first": 1, "draws": 1}, {"queries": 71, "first": 0, "draws": 0}),
    (IFGSM, {"steps": 1}, {"steps": 0}),
    (
        LocalSearch,
        {"rounds": 1, "d": 1, "t": 1, "probes": 1, "r": 2.0, "start": 1.0},
        {"rounds": 0, "d": 0, "t": 0, "probes": 0, "r": 2 + TINY, "start": 1 + TINY},
    ),
    (LocalSearch, {"rounds": 1, "r": 1 + TINY, "start": TINY}, {"r": 1.0, "start": 0.0}),
    (
        MIM,
        {"steps": 1, "step_size": TINY, "decay": 0.0},
        {"steps": 0, "step_size": 0.0, "decay": -TINY},
    ),
    (
        PGD,
        {"steps": 1, "restarts": 1, "step_size": TINY},
        {"steps": 0, "restarts": 0, "step_size": 0.0},
    ),
    (FrozenDraw, {"steps": 1, "step_size": TINY}, {"steps": 0, "step_size": 0.0}),
    (RandomPoints, {"points": 1}, {"points": 0}),
    (
        RotationTranslation,
        {"rotations": 1, "shifts": 1, "k": 1, "candidates": 1},
        {"rotations": 0, "shifts": 0, "k": 0, "candidates": 0},
    ),
    (
        RP2,
        {"steps": 1, "restarts": 1, "views": 2, "step_size": TINY, "l2_weight": 0.0, "shift": 0}
        | {"brightness": 0.0, "target_class": 0},
        {"steps": 0, "restarts": 0, "views": 0, "step_size": 0.0, "l2_weight": -TINY, "shift": -1}
        | {"brightness": -TINY, "target_class": -1},
    ),
    (
        RP2,
        {"steps": 1, "brightness": 1 - TINY, "target_class": 3},
        {"brightness": 1.0, "target_class": 4},
    ),
    (
        Square,
        {"queries": 2, "start": 1.0, "draws": 1},
        {"queries": 1, "start": 1 + TINY, "draws": 0},
    ),
    (Square, {"queries": 2, "start": TINY}, {"start": 0.0}),
    (
        StAdv,
        {"steps": 1, "step_size": TINY, "smoothness": 0.0, "bound": 0.05, "target_class": 3},
        {
            "steps": 0,
            "step_size": 0.0,
            "smoothness": -TINY,
            "bound": 0.05 + TINY,
            "target_class": 4,
        },
    ),
    (StAdv, {"steps": 1, "bound": TINY, "target_class": 0}, {"bound": 0.0, "target_class": -1}),
    (Wasserstein, {"steps": 1, "window": 3}, {"steps": 0, "window": 1}),
    (Wasserstein, {"steps": 1, "window": 5}, {"window": 4}),
]


def shown(kind, arguments):
    threat = Threat.parse(SETS[kind]) if kind in SETS else Threat(Norm.LINF, 0.05)
    target = linear_target(TASK)
    return kind(**arguments)(target, TASK.x, TASK.y, threat=threat, draws=image_draws(2))


@pytest.mark.parametrize(
    ("kind", "arguments", "beyond"), LEAST, ids=lambda value: getattr(value, "name", "")
)
def test_an_argument_is_taken_up_to_its_limit_and_refused_beyond_it(kind, arguments, beyond):
    assert len(shown(kind, arguments)) == 2
    for name, value in beyond.items():
        with pytest.raises(BenchError, match="attack '"):
            shown(kind, {**arguments, name: value})


SUBSTITUTE = {"rounds": 1, "period": 1, "epochs": 1, "draws": 1, "step": TINY}


def test_a_substitute_is_taught_at_least_one_round_and_epoch():
    for name, value in {**dict.fromkeys(SUBSTITUTE, 0), "step": 0.0}.items():
        with pytest.raises(BenchError, match="'substitute'"):
            shown(Substitute, {**SUBSTITUTE, name: value})
    images = LinearTask.make(n=8, classes=4, shape=(1, 6, 6)).x
    target = linear_target(TASK, seeds=images)
    found = Substitute(**SUBSTITUTE)(
        target, TASK.x, TASK.y, threat=Threat(Norm.LINF, 0.05), draws=image_draws(2)
    )
    assert len(found) == 2
