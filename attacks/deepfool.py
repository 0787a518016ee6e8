"""DeepFool: steps to the nearest boundary of a linearised victim, until the image is misclassified."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat

_NUDGE = 1e-4
"""Logits by which a step aims past the boundary, as in the authors' code: at it, a share of 0 would be 0."""
_TINY = 1e-12


@dataclass(kw_only=True, eq=False, repr=False)
class DeepFool(Attack):
    """The smallest change that fools (Moosavi-Dezfooli, Fawzi and Frossard, CVPR 2016, Algorithm 2, eqs. 8-12).

    Each step goes to the nearest, in the threat's norm, of the boundaries with the rival classes, all taken for
    linear; the sum of all steps, times `1 + overshoot`, is added to the image. An image ends where it is first
    misclassified, whether others leave early or not. The search knows no budget; what it found is moved into it
    at the end, and where that takes more than eps to fool, it does not.

    Args:
        steps: At the most.
        overshoot: See above.
        candidates: Rival classes: the highest other logits of the clean image; fewer where there are fewer
            other classes.
    """

    name = "deepfool"

    steps: int = 50
    overshoot: float = 0.02
    candidates: int = 10

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each, `(b, c, h, w)`."""
        self._require(
            self.steps >= 1 and self.candidates >= 1 and self.overshoot >= 0,
            "at least 1 step and candidate and an overshoot from 0 up",
            *("steps", "candidates", "overshoot"),
        )
        rivals = target.rivals(x, y, self._count(target.classes), draws=draws)
        x_adv, total = x.clone(), torch.zeros_like(x)
        which = torch.arange(len(x), device=x.device)
        for step in range(self.steps):
            logits, gaps, slopes = _linearised(
                target, x_adv[which], y[which], rivals[which], draws.at("eot", step).take(which)
            )
            stays = logits.argmax(1) == y[which]
            which = which[stays]
            target.mark(len(which) / max(1, len(x)))
            if not len(which):
                break
            total[which] += _to_the_nearest(gaps[stays], slopes[stays], threat)
            x_adv[which] = (x[which] + (1 + self.overshoot) * total[which]).clamp(0.0, 1.0)
        return threat.project(x, x_adv)

    def passes(self, *, classes: int, eot: int, **_: object) -> Passes:
        """A look at the clean image, and one for each rival at each iterate from which a step is made."""
        rows = self.steps * self._count(classes) * eot
        return Passes(forwards=rows + eot, backwards=rows)

    def _count(self, classes: int) -> int:
        return min(self.candidates, classes - 1)


def _linearised(
    target: Target, x: Tensor, y: Tensor, rivals: Tensor, draws: Draws
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits `(a, k)`, by how much each rival's lies below the true one `(a, m)`, and the slopes of that.

    Returns:
        The slopes are those of rival minus true logit, `(a, m, c, h, w)`.
    """
    a, m = rivals.shape
    rows = torch.arange(a, device=x.device).repeat_interleave(m)
    rival, true = rivals.flatten(), y[rows]

    def objective(shown: Tensor, which: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        logits = target.logits(shown, draws=draws)
        found = logits.gather(1, torch.stack((rival[which], true[which]), dim=1))
        return found[:, 0] - found[:, 1], logits

    ascent = target.ascend(x[rows], objective, draws=draws.take(rows))
    logits = ascent.logits.view(a, m, -1)[:, 0]
    return logits, -ascent.loss.view(a, m), ascent.gradient.view(a, m, *x.shape[1:])


def _to_the_nearest(gaps: Tensor, slopes: Tensor, threat: Threat) -> Tensor:
    """The shortest step `(a, c, h, w)` in the threat's norm that closes one of the gaps `(a, m)`."""
    order = 1 if threat.norm is Norm.LINF else 2  # the dual norm
    steepness = slopes.flatten(2).norm(p=order, dim=2).clamp_min(_TINY)
    nearest = (gaps / steepness).argmin(1)
    rows = torch.arange(len(gaps), device=gaps.device)
    length = (gaps[rows, nearest] + _NUDGE) / steepness[rows, nearest]
    step: Tensor = length.view(-1, 1, 1, 1) * threat.direction(slopes[rows, nearest])
    return step
