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

    Args:
        steps: Steps of each restart.
        step_size: Length of one step, in `step_unit`.
        step_unit: `eps` (a share of the budget) or `pixel` (in units of [0, 1]).
        loss: `ce`, `margin` or `dlr`.
        restarts: How often it starts anew; a deterministic victim's images keep the best of all restarts, a
            random one's get the candidates of each.
        random_start: Whether it starts from a random point of the budget instead of the image.
        keep: `best`: for a deterministic victim the misclassified iterate of highest margin, else that of
            highest loss, and images may leave once they are misclassified; for a random one two candidates,
            the last iterate and that of best mean loss. `last`: the last iterate, after exactly `steps`
            gradients. `max_margin`: the iterate whose mean logits have the highest margin, of full length;
            for images made for transfer.
        target_class: A class to which all images are driven, by lowering its cross-entropy; those that belong
            to it go to the class after it. `least-likely` or `random`: a wrong class for each image. None
            drives each away from its label. Success is still any wrong label.
        labels: Away from the `true` label, or from the one `predicted` for the clean image, as some papers'
            code does; success is a wrong label all the same.
        confidence: Kappa, in logit units, for loss `margin` alone: the margin is raised no further than this,
            so that the loss is Carlini and Wagner's f6, and the attack what papers call C&W under an linf
            budget (Madry et al., section 5). None raises it without end.
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
