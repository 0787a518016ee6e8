"""IFGSM: k signed steps of eps / k from the image itself."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.engine.attacking.gradient_steps import GradientSteps


@dataclass(kw_only=True, eq=False, repr=False)
class IFGSM(GradientSteps):
    """Iterated FGSM, or BIM (Kurakin, Goodfellow and Bengio, "Adversarial examples in the physical world").

    (ICLR workshop 2017, section 2.2, and 2.3 for `target_class="least-likely"`.) Each of the k steps is eps / k
    long, as Liao et al. make HGD's images, so that the last one may reach the budget's rim. The last image
    counts, misclassified or not. In l2 the steps go along the unit gradient. The gradient is the mean over the
    target's EOT draws.

    Args:
        steps: k.
        labels: Away from the `true` label, or from the one `predicted` for the clean image, as HGD's authors
            do so that no label leaks into a training set; success is a wrong label all the same.
        target_class: A class to which all images are driven, those that belong to it to the class after it;
            `least-likely` or `random`, a wrong class for each image; None, away from the label. Success is
            still any wrong label.
    """

    name = "ifgsm"

    steps: int = 4
    labels: str = "true"
    target_class: int | str | None = None

    def _length(self, eps: float) -> float:
        return eps / self.steps

    def _refuse_arguments(self) -> None:
        self._require(self.steps >= 1, "at least 1 step", "steps")
