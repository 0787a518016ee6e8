"""MIM: signed steps along a momentum of normalised gradients."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.engine.attacking.gradient_steps import GradientSteps


@dataclass(kw_only=True, eq=False, repr=False)
class MIM(GradientSteps):
    """Momentum iterative FGSM (Dong et al., "Boosting adversarial attacks with momentum", CVPR 2018).

    Algorithm 1: g <- decay * g + grad / |grad|_1 (equation 6), and a step along sign(g) (equation 7), or in l2
    along g / |g|_2, from the image itself. The gradient is the mean over the target's EOT draws.

    Args:
        steps: At most; Dong et al. take 10.
        step_size: Length of one step, in `step_unit`; Dong et al. take eps over the number of steps.
        step_unit: `eps` (a share of the budget) or `pixel` (in units of [0, 1]).
        decay: Mu, the weight of the gradients before; 0 leaves an iterated FGSM.
        keep: `last`: the last iterate, as published. `best`: for a deterministic victim the misclassified
            iterate of highest margin, else that of highest loss, and images may leave once they are
            misclassified; for a random one two candidates, the last iterate and that of best mean loss.
        target_class: A class to which all images are driven, those that belong to it to the class after it;
            `least-likely` or `random`, a wrong class for each image; None, away from the true label. Success is
            still any wrong label.
    """

    name = "mim"

    steps: int = 10
    step_size: float = 0.1
    step_unit: str = "eps"
    decay: float = 1.0
    keep: str = "best"
    target_class: int | str | None = None

    def _refuse_arguments(self) -> None:
        self._require(
            self.steps >= 1 and self.step_size > 0 and self.decay >= 0,
            "at least 1 step, a step_size above 0 and a decay from 0 up",
            *("steps", "step_size", "decay"),
        )
