"""What guides HGD: the representation of an image at which a denoised one must look like the clean one."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.setting import Setting
from defenses.hgd.presets import Guide


@dataclass(frozen=True, slots=True)
class Guidance:
    """A classifier seen at one place, `f_l` (Liao et al., CVPR 2018, Eqs. 4 to 6).

    Args:
        guide: Which loss.
        classifier: Whose representation counts; frozen, its gradient reaches the image.
        tap: Its last map before pooling, as `Classifier.features` names it.
    """

    guide: Guide
    classifier: Classifier
    tap: str

    def representation(self, x: Tensor) -> Tensor:
        """`f_l(x)`, `(b, ...)`, of images `(b, c, h, w)` in [0, 1]; of CGD the logits.

        Pixels are scaled to [-1, 1], as the paper's classifier takes them.
        """
        if self.guide is Guide.PGD:
            return 2 * x - 1
        if self.guide is Guide.FGD:
            return self.classifier.features(x, [self.tap])[1][self.tap]
        logits: Tensor = self.classifier(x)
        return logits

    def loss(self, denoised: Tensor, wanted: Tensor, y: Tensor) -> Tensor:
        """What a denoiser minimises: `mean |f_l(x_hat) - f_l(x)|`, or for CGD the cross-entropy.

        Args:
            denoised: `f_l(x_hat)`.
            wanted: `f_l(x)` of the clean images.
            y: True labels `(b,)`, which CGD alone looks at.

        Returns:
            The mean over all that is compared, `()`.
        """
        if self.guide is Guide.CGD:
            return functional.cross_entropy(denoised.float(), y)
        return distance(denoised, wanted).mean()


def guidance_of(guide: Guide, setting: Setting) -> Guidance:
    """The guidance by the defended classifier.

    Raises:
        BenchError: There is none, it does not take the images, or it has no map.
    """
    classifier = setting.defended()
    tap = classifier.positions(setting.shape)["map"].tap if guide is Guide.FGD else ""
    return Guidance(guide, classifier, tap)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """The mean absolute difference of each row, `(b,)`, in float32 at least."""
    if a.dtype.itemsize < 4:
        a = a.float()
    return (a - b).abs().flatten(1).mean(1)
