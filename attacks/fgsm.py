"""FGSM: one step of the whole budget along the gradient."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.engine.attacking.gradient_steps import GradientSteps


@dataclass(kw_only=True, eq=False, repr=False)
class FGSM(GradientSteps):
    """One step of eps (Goodfellow, Shlens and Szegedy, "Explaining and harnessing", ICLR 2015, section 4).

    In l2 the step goes along the unit gradient. The gradient is the mean over the target's EOT draws.

    Args:
        loss: `ce`, `margin`, `dlr` or `pm`.
        random_start: Whether it starts from a random point of the budget (Wong, Rice and Kolter, "Fast is
            better than free", ICLR 2020) instead of the image.
    """

    name = "fgsm"

    loss: str = "ce"
    random_start: bool = False
