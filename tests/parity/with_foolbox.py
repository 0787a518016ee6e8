"""foolbox's attacks (3.3.4), as `python -m tests.parity` runs them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.parity.results import Attack, Budget


def attacks(victim: nn.Module, budget: Budget) -> dict[str, Attack]:
    """By name: gradient, minimum-norm and decision-based ones.

    Raises:
        ImportError: foolbox is not installed.
    """
    import foolbox
    from foolbox import attacks as shelf

    model = foolbox.PyTorchModel(victim, bounds=(0, 1), device=torch.device("cpu"))

    def run(attack: object) -> Attack:
        def attacked(x: Tensor, y: Tensor) -> Tensor:
            _, clipped, _ = attack(model, x, y, epsilons=budget.eps)  # type: ignore[operator]
            return clipped

        return attacked

    few = budget.steps // 2
    start = shelf.LinearSearchBlendedUniformNoiseAttack(steps=50)
    made = {
        "pgd": shelf.LinfPGD(steps=budget.steps, rel_stepsize=0.1),
        "adam-pgd": shelf.LinfAdamPGD(steps=budget.steps),
        "deepfool": shelf.LinfDeepFoolAttack(steps=few),
        "cw-l2": shelf.L2CarliniWagnerAttack(
            binary_search_steps=4, steps=budget.steps, initial_const=0.1
        ),
        "hop-skip-jump": shelf.HopSkipJumpAttack(
            init_attack=start,
            steps=budget.queries // 200,
            max_gradient_eval_steps=200,
            constraint="linf",
        ),
        "noise": shelf.LinfRepeatedAdditiveUniformNoiseAttack(repeats=budget.queries // 10),
    }
    return {name: run(attack) for name, attack in made.items()}
