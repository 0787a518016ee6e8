"""PGD: many small projected steps along the gradient, averaged over draws where the victim is random."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.engine.attacking.gradient_steps import GradientSteps
from benchmark.errors import BenchError


@dataclass(kw_only=True, eq=False, repr=False)
class PGD(GradientSteps):
    """Projected gradient descent (Madry et al., "Towards deep learning models", ICLR 2018, section 2.1).

    With `steps=200, step_size=0.007, step_unit="pixel", random_start=False, keep="last"` and 20 EOT draws it is
    the attack of Lee and Kim, "Robust evaluation of diffusion-based adversarial purification" (ICCV 2023) at
    linf 8/255.

    The arguments are those that `GradientSteps` explains, but for a `decay`.
    """

    name = "pgd"
    keeps = (*GradientSteps.keeps, "max_margin")

    steps: int = 40
    step_size: float = 0.1
    step_unit: str = "eps"
    loss: str = "ce"
    restarts: int = 1
    random_start: bool = True
    keep: str = "best"
    target_class: int | str | None = None
    labels: str = "true"
    confidence: float | None = None

    def _refuse_arguments(self) -> None:
        if self.target_class is not None and self.loss != "ce":
            raise BenchError(
                f"attack {self.name!r} drives images to a target_class by loss 'ce' alone; got loss "
                f"{self.loss!r}"
            )
        cap: object = self.confidence  # which no default's kind has checked
        is_cap = isinstance(cap, int | float) and cap >= 0
        if cap is not None and not (self.loss == "margin" and is_cap):
            raise BenchError(
                f"attack {self.name!r} takes a confidence from 0 up with loss 'margin' alone; got confidence "
                f"{cap!r} with loss {self.loss!r}"
            )
        self._require(
            self.steps >= 1 and self.restarts >= 1 and self.step_size > 0,
            "at least 1 step, 1 restart and a step_size above 0",
            *("steps", "restarts", "step_size"),
        )
