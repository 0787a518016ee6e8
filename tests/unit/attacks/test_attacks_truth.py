"""Attacks against truth: problems whose robustness has a closed form."""

import math

import pytest
import torch

from attacks.apgd import APGD
from attacks.auxiliary import AuxiliaryAware
from attacks.deepfool import DeepFool
from attacks.fgsm import FGSM
from attacks.ifgsm import IFGSM
from attacks.mim import MIM
from attacks.pgd import PGD
from benchmark.engine.threat import Norm
from benchmark.engine.victims.victim import GradientMode
from benchmark.selftest.closed_forms import LinearTask, linear_failures
from tests.helpers.toy_plugins import Nervous, Noise, Quantised, Same, image_draws, linear_target

TASK = LinearTask.make(n=8)
VICTIMS = {  # purifiers, gradient mode, whether images leave early
    "bare": ((), GradientMode.EXACT, True),
    "identity, exact": ((Same(),), GradientMode.EXACT, False),
    "identity, bpda": ((Same(),), GradientMode.BPDA, True),
    "quantised, bpda": ((Quantised(),), GradientMode.BPDA, False),
    "nervous, exact": ((Nervous(),), GradientMode.EXACT, True),
}
PGD_STEPS = {"steps": 14, "step_size": 0.25}
LAMBDAS = (0.0, 1.0, 10.0)
ATTACKS = {
    "fgsm": FGSM(),
    "fgsm dlr": FGSM(loss="dlr"),
    "pgd ce": PGD(**PGD_STEPS),
    "pgd margin": PGD(**PGD_STEPS, loss="margin", restarts=2),
    "pgd dlr": PGD(**PGD_STEPS, loss="dlr"),
    "pgd last": PGD(**PGD_STEPS, keep="last"),
    "pgd max_margin": PGD(**PGD_STEPS, keep="max_margin"),
    "pgd no spare step": PGD(steps=10, step_size=0.1, random_start=False),
    "apgd ce": APGD(steps=20),
    "apgd dlr": APGD(steps=20, loss="dlr"),
    "apgd targeted": APGD(steps=20, loss="dlr-targeted", targets=3),
    "apgd margin": APGD(steps=20, loss="margin", restarts=2),
    "auxiliary A1": AuxiliaryAware(**PGD_STEPS, variant="A1", lambdas=LAMBDAS),
    "auxiliary A2": AuxiliaryAware(**PGD_STEPS, variant="A2", lambdas=LAMBDAS),
    "projection A1": AuxiliaryAware(**PGD_STEPS, variant="A1", projection=True),
    "deepfool": DeepFool(steps=3),
    "ifgsm": IFGSM(),
    "ifgsm towards 0": IFGSM(steps=2, target_class=0),
    "mim": MIM(steps=12),
    "mim last": MIM(steps=12, keep="last"),
    "pgd C&W": PGD(**PGD_STEPS, loss="margin", confidence=0.0),
    "projection A2": AuxiliaryAware(**PGD_STEPS, variant="A2", projection=True),
}


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_succeeds_just_above_the_exact_margin_and_never_just_below(attack, victim, norm):
    defenses, mode, leaves_early = VICTIMS[victim]
    target = linear_target(TASK, *defenses, mode=mode, leaves_early=leaves_early)
    assert linear_failures(ATTACKS[attack], TASK, target, norm) == []


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("factor", [0.9, 1.05])
@pytest.mark.parametrize(
    "attack",
    [
        PGD(steps=30, step_size=0.25),
        PGD(steps=30, step_size=0.25, loss="margin", keep="last"),
        APGD(steps=40),
        APGD(steps=40, loss="dlr"),
        MIM(steps=20),
    ],
    ids=lambda attack: f"{attack.name} {getattr(attack, 'loss', '')}",
)
def test_behind_gaussian_noise_each_image_reaches_the_closed_form_of_the_worst_point(
    attack, factor, norm
):
    sigma, redraws = 0.04, 200
    threat = TASK.threat(norm, factor)
    target = linear_target(TASK, Noise(sigma=sigma), eot=16)
    n = len(TASK.x)
    x_adv = attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(n))
    exact = float(TASK.gaussian_accuracy(TASK.worst_room(threat), sigma))
    reached = TASK.gaussian_accuracy(TASK.room(x_adv), sigma)  # (n, m)
    assert (reached > exact - 1e-9).all()
    assert float((reached.amin(1) - exact).max()) < 0.02  # the best of noisy means is not the best
    rows = image_draws(n, "score").repeat(redraws)
    chosen = x_adv[torch.arange(n), reached.argmin(1)]
    logits = target.predict(chosen.repeat_interleave(redraws, 0), draws=rows)
    share = (logits.argmax(1) == TASK.y.repeat_interleave(redraws)).double().mean()
    four_sigmas = 4 * math.sqrt(exact * (1 - exact) / (n * redraws))
    assert abs(float(share) - exact) < four_sigmas + 0.02
