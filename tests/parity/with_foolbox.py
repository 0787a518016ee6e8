"""foolbox's attacks (3.3.4), as `python -m tests.parity` runs them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.parity.results import Attack, Budget
from tests.parity.victims import Handed


def attacks(victim: Handed, budget: Budget) -> dict[str, Attack]:
    """By name: gradient, minimum-norm and decision-based ones.

    Raises:
        ImportError: foolbox is not installed.
    """
    import foolbox
    from foolbox import attacks as shelf

    follows, decides = (
        foolbox.PyTorchModel(module, bounds=(0, 1), device=torch.device("cpu"))
        for module in (victim.gradients, victim.decisions)
    )

    def run(attack: Any, model: Any = follows) -> Attack:
        def attacked(x: Tensor, y: Tensor) -> Tensor:
            _, clipped, _ = attack(model, x, y, epsilons=budget.eps)
            return clipped

        return attacked

    cw = shelf.L2CarliniWagnerAttack(binary_search_steps=4, steps=budget.steps, initial_const=0.1)
    hop_skip_jump = shelf.HopSkipJumpAttack(
        init_attack=shelf.LinearSearchBlendedUniformNoiseAttack(steps=50),
        steps=budget.queries // 200,
        max_gradient_eval_steps=200,
        constraint="linf",
    )
    noise = shelf.LinfRepeatedAdditiveUniformNoiseAttack(repeats=budget.queries // 10)
    return {
        "pgd": run(shelf.LinfPGD(steps=budget.steps, rel_stepsize=0.1)),
        "adam-pgd": run(shelf.LinfAdamPGD(steps=budget.steps)),
        "deepfool": run(shelf.LinfDeepFoolAttack(steps=budget.steps // 2)),
        "cw-l2": run(cw),
        "hop-skip-jump": run(hop_skip_jump, decides),
        "noise": run(noise, decides),
    }
