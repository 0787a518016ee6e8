"""`python -m tests.pinned`: writes tests/pinned.json anew, what each attack finds on one small problem.

The problem is a float64 network of 48 pixels and 6 classes, behind no purifier, a random one, and one with an
auxiliary loss. What is kept are projections of changes on a fixed direction, and counts, so that another
decision anywhere in an attack is seen; whether a decision is right, tests of known truths say.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple
from pathlib import Path

import pytest
import torch

from attacks import autoattack, fast_autoattack
from benchmark.engine.attacking.attack import Attack
from benchmark.engine.attacking.external import AutoAttackCall, AutoAttackReport
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.defense import Defense
from benchmark.errors import BenchError
from benchmark.plugins import ATTACKS
from tests.helpers.toy_plugins import Nervous, Noise, image_draws, nonlinear_target

FILE = Path(__file__).with_name("pinned.json")
IMAGES = 8
DIGITS = 9
LP = ("linf:0.1", "l2:0.5")
NEEDS = {"transfer": "sources", "substitute": "seeds"}
VICTIMS: dict[str, tuple[tuple[Defense, ...], dict]] = {
    "bare": ((), {}),
    "early": ((), {"leaves_early": True}),
    "noise": ((Noise(sigma=0.1),), {"eot": 2}),
    "nervous": ((Nervous(),), {}),
}
"""Purifiers, and how the victim is asked."""
WIDE = ("square", "rp2", "local-search", "stadv", "wasserstein", "rotation-translation")
"""Attacks for which an image's shape matters: they get the same pixels as 2 x 4 x 6."""
CASES: dict[str, tuple[tuple[str, ...], tuple[dict, ...]]] = {
    "clean": (LP[:1], ({},)),
    "noise": (LP, ({},)),
    "random-points": (LP, ({"points": 3},)),
    "transfer": (LP, ({},)),
    "fgsm": (LP, ({}, {"loss": "dlr", "random_start": True}, {"loss": "margin"})),
    "ifgsm": (
        LP,
        ({"steps": 3}, {"steps": 2, "labels": "predicted"}, {"target_class": "least-likely"}),
    ),
    "mim": (
        LP,
        (
            {"steps": 4},
            {"steps": 3, "decay": 0.5, "keep": "last", "step_size": 0.3},
            {"steps": 2, "target_class": 2},
            {"steps": 2, "step_size": 0.01, "step_unit": "pixel"},
        ),
    ),
    "pgd": (
        LP,
        (
            {"steps": 4, "step_size": 0.3},
            {"steps": 3, "loss": "margin", "keep": "max_margin", "restarts": 2},
            {"steps": 3, "loss": "dlr", "keep": "last", "random_start": False},
            {"steps": 2, "target_class": "least-likely"},
            {"steps": 5, "loss": "margin", "confidence": 0.3},
            {"steps": 4, "loss": "pm", "step_size": 0.3},
            {"steps": 2, "labels": "predicted", "step_size": 0.01, "step_unit": "pixel"},
        ),
    ),
    "apgd": (
        LP,
        (
            {"steps": 12},
            {"steps": 9, "loss": "dlr", "restarts": 2},
            {"steps": 7, "loss": "dlr-targeted", "targets": 2},
            {"steps": 25, "rho": 0.6, "momentum": 0.5},
            {"steps": 9, "loss": "pm"},
        ),
    ),
    "auxiliary": (
        LP,
        (
            {"steps": 3, "lambdas": [0, 0.5, 2]},
            {"steps": 3, "variant": "A1", "lambdas": [1]},
            {"steps": 3, "projection": True, "lambdas": [1], "random_start": False},
            {"steps": 3, "cap": 0.5, "lambdas": [1]},
            {"steps": 3, "form": "raw", "lambdas": [0, 2]},
        ),
    ),
    "cw": (
        LP[1:],
        (
            {"steps": 12, "binary_search_steps": 4, "initial_const": 0.1, "step_size": 0.05},
            {"steps": 10, "binary_search_steps": 3, "confidence": 0.1, "target_class": 1},
        ),
    ),
    "cw-linf": (
        LP[:1],
        (
            {"rounds": 4, "steps": 12},
            {"rounds": 3, "steps": 8, "confidence": 0.05, "target_class": 1},
        ),
    ),
    "ddn": (
        LP[1:],
        (
            {"steps": 12},
            {"steps": 9, "levels": 256, "init_eps": 0.5, "gamma": 0.1},
            {"steps": 6, "target_class": 3},
        ),
    ),
    "deepfool": (LP, ({"steps": 4}, {"steps": 3, "overshoot": 0.1, "candidates": 2})),
    "square": (
        LP,
        (
            {"queries": 60},
            {"queries": 45, "rescales": False, "start": 0.3},
            {"queries": 60, "draws": 3},
        ),
    ),
    "nes": (
        LP,
        (
            {"queries": 80, "directions": 4},
            {"queries": 200, "directions": 3, "guided": False, "draws": 2},
        ),
    ),
    "hopskipjump": (LP, ({"queries": 450, "first": 10}, {"queries": 420, "first": 5, "draws": 2})),
    "boundary": (
        LP[1:],
        (
            {"steps": 70},
            {"steps": 40, "sideways": 0.05, "towards": 0.03, "factor": 1.2, "draws": 2},
        ),
    ),
    "frozen-draw": (LP, ({"steps": 4},)),
    "stadv": (
        ("stadv:0.3",),
        (
            {"steps": 4},
            {"steps": 3, "smoothness": 0.5, "random_start": False},
            {"steps": 3, "target_class": 2, "step_size": 0.1},
        ),
    ),
    "wasserstein": (
        ("wasserstein:0.3",),
        ({"steps": 6, "window": 3}, {"steps": 4, "window": 5, "loss": "margin"}),
    ),
    "rotation-translation": (
        ("spatial:0.9", "spatial:3"),
        (
            {"rotations": 5, "shifts": 3},
            {"search": "random", "k": 4, "candidates": 2},
        ),
    ),
    "rp2": (
        ("sticker:0.25",),
        (
            {"steps": 4},
            {"steps": 3, "placement": "random", "restarts": 2, "loss": "ce"},
            {"steps": 3, "placement": "centre", "loss": "dlr", "step_size": 0.3},
            {"steps": 3, "views": 2, "l2_weight": 0.5, "target_class": 1},
        ),
    ),
    "local-search": (
        ("pixels:6",),
        (
            {"rounds": 4, "probes": 8},
            {"rounds": 3, "probes": 6, "t": 2, "d": 1, "r": 1.2, "start": 0.3},
        ),
    ),
    "substitute": (LP, ({"rounds": 2, "epochs": 2},)),
}
"""The threats and arguments of an attack's cases."""


def names() -> list[str]:
    """Each case as `ATTACK|THREAT|ARGUMENTS|VICTIM`."""
    return [
        f"{attack}|{threat}|{json.dumps(arguments)}|{victim}"
        for attack, (threats, given) in CASES.items()
        for threat in threats
        for arguments in given
        for victim in VICTIMS
        if victim != "nervous" or attack == "auxiliary"
    ]


def found(case: str) -> list[float]:
    """What an attack finds in a case: where the images went and how far, what it asked, and its trace."""
    name, text, arguments, victim = case.split("|")
    threat, attack = Threat.parse(text), ATTACKS.get(name)(**json.loads(arguments))
    defenses, options = VICTIMS[victim]
    if name in NEEDS:
        options = {**options, NEEDS[name]: _given(NEEDS[name], threat)}
    target, x, y = nonlinear_target(*defenses, **options)
    x, y = x[:IMAGES], y[:IMAGES]
    x = x.view(-1, 2, 4, 6) if name in WIDE else x
    x_adv = attack(target, x, y, threat=threat, draws=image_draws(IMAGES))
    change = (x_adv - x[:, None]).flatten()
    trace = torch.tensor([*target.trace, len(target.trace)], dtype=torch.float64)
    asked = (target.forwards, target.backwards, target.gradients, target.zero_gradients)
    return [_along(change), _along(change.abs()), _along(trace), *map(float, asked)]


def orders() -> dict[str, list[float]]:
    """What AutoAttack's process and that of the fast one are told, and what becomes of their answers."""
    return {name: _ordered(name) for name in ("autoattack", "fast-autoattack")}


def _ordered(name: str) -> list[float]:
    module = {"autoattack": autoattack, "fast-autoattack": fast_autoattack}[name]
    target, x, y = nonlinear_target(batch_size=5)
    rows = target.room.rows
    x, y, told = x[:IMAGES], y[:IMAGES], []

    def answered(_evaluate: object, order: AutoAttackCall) -> object:
        told.append(order)
        about = {
            "x_adv": (order.x + 0.01).clamp(0, 1),
            "rows": order.target.room.rows // 2,
            "forwards": 7,
            "backwards": 3,
        }
        if module is autoattack:
            fooled = torch.arange(len(order.x)) < 6
            return AutoAttackReport(fooled=fooled, warnings=("w",), **about)
        return AutoAttackReport(fooled=torch.arange(len(order.x)) < 1, **about)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "call_alone", answered)
        attack = ATTACKS.get(name)(
            **({"steps": 5, "targets": 2} if module is fast_autoattack else {})
        )
        x_adv = attack(target, x, y, threat=Threat.parse(LP[0]), draws=image_draws(IMAGES))
    (order,) = told
    asked = (target.forwards, target.backwards, target.gradients, target.room.rows, *target.trace)
    told_of = order.target
    about = (order.seed, told_of.batch_size, rows, told_of.classes, len(order.x))
    return [_along((x_adv - x[:, None]).flatten()), *map(float, (*about, *asked))]


def costs() -> dict[str, str]:
    """The hash of what each attack says that it costs, over numbers of classes, draws and shapes."""
    given = {name: arguments for name, (_, arguments) in CASES.items()}
    given["autoattack"] = tuple({"version": each} for each in ("auto", "standard", "plus", "rand"))
    given["fast-autoattack"] = ({}, {"steps": 7, "targets": 3, "queries": 90})
    tasks = [
        (classes, eot, shape)
        for classes in (2, 3, 4, 6, 12)
        for eot in (1, 3)
        for shape in ((1, 5, 4), (3, 32, 32))
    ]
    return {
        f"{name}|{json.dumps(one)}|{stochastic}": _sha256(
            [_cost(ATTACKS.get(name)(**one), *task, stochastic=stochastic) for task in tasks]
        )
        for name, arguments in given.items()
        for one in ({}, *arguments)
        for stochastic in (False, True)
    }


def _cost(attack: Attack, classes: int, eot: int, shape: tuple, *, stochastic: bool) -> list | str:
    try:
        least = attack.least_classes(stochastic=stochastic)
        cost = attack.passes(classes=classes, eot=eot, stochastic=stochastic, shape=shape)
    except BenchError as error:
        return type(error).__name__
    return [least, *(() if cost is None else map(int, astuple(cost)))]


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _along(values: torch.Tensor) -> float:
    """Their projection on a direction of their length, which is always the same."""
    direction = _one("direction").normal((len(values),), dtype=torch.float64)[0]
    return round(float(values.double() @ direction), DIGITS)


def _one(name: str) -> Draws:
    return Draws.of(7, torch.zeros(1, dtype=torch.int64), name)


def _given(what: str, threat: Threat) -> torch.Tensor:
    """Images of the attacker's own, or those of two other attacks."""
    _, x, _ = nonlinear_target()
    if what == "seeds":
        return x[IMAGES:20]
    signs = image_draws(23, "made").normal((2, 3, 4, 4), dtype=torch.float64).sign()
    return (x[:, None] + threat.eps * signs * 0.1).clamp(0, 1)[:IMAGES]


def main() -> None:
    """Writes the file."""
    lines = [f"{json.dumps(case)}: {json.dumps(found(case))}" for case in names()]
    lines += [f"{json.dumps(case)}: {json.dumps(v)}" for case, v in (orders() | costs()).items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
