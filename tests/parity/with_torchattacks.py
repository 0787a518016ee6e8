"""torchattacks' attacks (3.5.1), as `python -m tests.parity` runs them."""

from __future__ import annotations

from torch import nn

from tests.parity.results import Attack, Budget


def attacks(victim: nn.Module, budget: Budget) -> dict[str, Attack]:
    """By name: gradient ones, AutoAttack's parts, and C&W.

    Raises:
        ImportError: torchattacks is not installed.
    """
    import torchattacks as shelf

    few = budget.steps // 2
    return {
        "pgd": shelf.PGD(victim, eps=budget.eps, alpha=budget.eps / 10, steps=budget.steps),
        "apgd-ce": shelf.APGD(victim, eps=budget.eps, steps=budget.steps, eot_iter=budget.eot),
        "apgd-dlr": shelf.APGD(
            victim, eps=budget.eps, steps=budget.steps, loss="dlr", eot_iter=budget.eot
        ),
        "apgd-t": shelf.APGDT(
            victim, eps=budget.eps, steps=few, n_classes=budget.classes, eot_iter=budget.eot
        ),
        "fab": shelf.FAB(victim, eps=budget.eps, steps=few, n_classes=budget.classes),
        "square": shelf.Square(victim, eps=budget.eps, n_queries=budget.queries),
        "cw-l2": shelf.CW(victim, c=1, steps=budget.steps),
    }
