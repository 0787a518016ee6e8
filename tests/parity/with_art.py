"""The Adversarial Robustness Toolbox's attacks (1.20.1), as `python -m tests.parity` runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.parity.results import Attack, Budget
from tests.parity.victims import Handed


def attacks(victim: Handed, budget: Budget) -> dict[str, Attack]:
    """By name: gradient, query and decision-based ones.

    Raises:
        ImportError: ART is not installed.
    """
    from art.attacks import evasion as shelf
    from art.estimators.classification import BlackBoxClassifierNeuralNetwork, PyTorchClassifier

    def estimator(module: nn.Module) -> PyTorchClassifier:
        return PyTorchClassifier(
            model=module,
            loss=nn.CrossEntropyLoss(),
            input_shape=budget.shape,
            nb_classes=budget.classes,
            clip_values=(0.0, 1.0),
            device_type="cpu",
        )

    model = estimator(victim.gradients)

    def labels_only(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return victim.decisions(torch.from_numpy(x).float()).numpy()  # it hands over float64

    closed = BlackBoxClassifierNeuralNetwork(
        labels_only, budget.shape, budget.classes, clip_values=(0.0, 1.0)
    )

    def run(attack: Any) -> Attack:
        def attacked(x: Tensor, y: Tensor) -> Tensor:
            return torch.from_numpy(attack.generate(x=x.numpy(), y=y.numpy()))

        return attacked

    steps = {"eps": budget.eps, "eps_step": budget.eps / 10, "max_iter": budget.steps}
    made = {
        "pgd": shelf.ProjectedGradientDescentPyTorch(
            model, num_random_init=1, verbose=False, **steps
        ),
        "apgd-ce": shelf.AutoProjectedGradientDescent(
            model, loss_type="cross_entropy", nb_random_init=1, verbose=False, **steps
        ),
        "apgd-dlr": shelf.AutoProjectedGradientDescent(
            model, loss_type="difference_logits_ratio", nb_random_init=1, verbose=False, **steps
        ),
        "square": shelf.SquareAttack(
            estimator(victim.decisions),
            eps=budget.eps,
            max_iter=budget.queries // 4,
            verbose=False,
        ),
        "cw-linf": shelf.CarliniLInfMethod(
            model, learning_rate=0.05, max_iter=budget.steps // 10, initial_const=0.1, verbose=False
        ),
        "hop-skip-jump": shelf.HopSkipJump(
            closed, norm=np.inf, max_iter=budget.queries // 200, max_eval=200, verbose=False
        ),
    }
    return {name: run(attack) for name, attack in made.items()}
