"""torchattacks' attacks (3.5.1), as `python -m tests.parity` runs them."""

from __future__ import annotations

from tests.parity.results import Attack, Budget
from tests.parity.victims import Handed


def attacks(victim: Handed, budget: Budget) -> dict[str, Attack]:
    """By name: gradient ones, AutoAttack's parts, and C&W.

    Raises:
        ImportError: torchattacks is not installed.
    """
    import torchattacks as shelf

    few, net, eps = budget.steps // 2, victim.gradients, budget.eps
    return {
        "pgd": shelf.PGD(net, eps=eps, alpha=eps / 10, steps=budget.steps),
        "apgd-ce": shelf.APGD(net, eps=eps, steps=budget.steps),
        "apgd-dlr": shelf.APGD(net, eps=eps, steps=budget.steps, loss="dlr"),
        "apgd-t": shelf.APGDT(net, eps=eps, steps=few, n_classes=budget.classes),
        "fab": shelf.FAB(net, eps=eps, steps=few, n_classes=budget.classes),
        "square": shelf.Square(victim.decisions, eps=eps, n_queries=budget.queries),
        "cw-l2": shelf.CW(net, c=1, steps=budget.steps),
    }
