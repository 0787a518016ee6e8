"""NES: a gradient out of answers alone, guided by whatever gradient there is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.losses import margin
from benchmark.engine.attacking.queries import Oracle
from benchmark.engine.attacking.search import untargeted
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat


@dataclass(kw_only=True, eq=False, repr=False)
class NES(Attack):
    """Natural evolution strategies, for victims whose gradient nobody can vouch for.

    (Ilyas et al., "Black-box adversarial attacks with limited queries and information", ICML 2018, section
    2.1.) A step asks for the margin at points around the image in random directions, both ways, makes the
    slopes into a gradient, and follows its momentum. All points of an image meet the same draws (common random
    numbers: Glasserman and Yao, 1992), so that noise cancels in their differences. The directions are
    orthonormal, which makes the estimate the projection of the gradient on them; guided, one of them is the
    gradient of the row's own mode, as far as there is one (after Cheng et al., "Improving black-box adversarial
    attacks with a transfer-based prior", NeurIPS 2019, section 3.3): with few directions of many it is what
    tells most. Of a fixed victim an image leaves, where it may, once it is misclassified; of a random one the
    best image and the last one are candidates.

    Args:
        queries: Answers of the victim for an image, at the most.
        directions: Random directions of a step, besides the guide.
        draws: Answers of a random victim to one question.
        reach: How far the points lie away, as a share of eps: in linf the root mean square over the pixels.
        step_size: Length of one step, as a share of eps.
        momentum: What the direction keeps of the one before.
        guided: Whether the row's gradient is one of the directions; it costs a look a step.
    """

    name = "nes"
    mixes = False

    queries: int = 5000
    directions: int = 32
    draws: int = 4
    reach: float = 0.1
    step_size: float = 0.125
    momentum: float = 0.75
    guided: bool = True

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """The best image of each, `(b, 1, c, h, w)`; of a random victim the last one too, `(b, 2, c, h, w)`.

        Raises:
            BenchError: An argument is out of range, or the queries pay for no step.
        """
        oracle = Oracle(target, y, k=self.draws)
        is_random = target.victim.stochastic
        steps = self._steps(stochastic=is_random)
        last, velocity = x.clone(), torch.zeros_like(x)
        best, value = x.clone(), torch.full_like(x[:, 0, 0, 0], float("-inf"))
        which = torch.arange(len(x), device=x.device)
        for step in range(steps):
            at = draws.at("eot", step)
            found = oracle.margins(last[which], which, at.take(which))
            better = found > value[which]
            best[which[better]], value[which[better]] = last[which[better]], found[better]
            target.mark(float((value <= 0).double().mean()))
            if target.leaves_early:
                which = which[found <= 0]
            if not len(which):
                break
            here = last[which]
            slopes = self._gradient(oracle, here, which, draws.at("step", step), at, threat)
            size = slopes.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-30)
            velocity[which] = self.momentum * velocity[which] + slopes / size
            moved = here + self.step_size * threat.eps * threat.direction(velocity[which])
            last[which] = threat.project(x[which], moved)
        return torch.stack([best, last] if is_random else [best], dim=1)

    def passes(self, *, stochastic: bool, eot: int, **_: object) -> Passes:
        """All its whole steps: the iterate, two points a direction; a guide is a look at the row's EOT."""
        steps, k = self._steps(stochastic=stochastic), self.draws if stochastic else 1
        looks = steps * eot * self.guided
        return Passes(
            forwards=steps * self._asked * k + looks,
            backwards=looks,
            candidates=2 if stochastic else 1,
        )

    @property
    def _asked(self) -> int:
        """Questions of a step."""
        return 1 + 2 * (self.directions + self.guided)

    def _steps(self, *, stochastic: bool) -> int:
        least = self._asked * (self.draws if stochastic else 1)
        self._require(
            self.directions >= 1 and self.draws >= 1 and self.queries >= least
            and self.reach > 0 and self.step_size > 0 and 0 <= self.momentum < 1,
            f"at least 1 direction and 1 draw, a reach and a step_size above 0, a momentum in [0, 1) and "
            f"{least} queries for one step",
        )  # fmt: skip
        return self.queries // least

    def _gradient(
        self, oracle: Oracle, x: Tensor, which: Tensor, draws: Draws, at: Draws, threat: Threat
    ) -> Tensor:
        """The projection of the margin's gradient on the directions, `(a, c, h, w)`."""
        basis = self._directions(oracle, x, which, draws)  # (a, k, c, h, w)
        a, k = basis.shape[:2]
        length = (
            self.reach * threat.eps * math.sqrt(x[0].numel() if threat.norm is Norm.LINF else 1)
        )
        points = torch.cat((x[:, None] + length * basis, x[:, None] - length * basis), 1).clamp(
            0, 1
        )
        rows = which.repeat_interleave(2 * k)
        found = oracle.margins(points.flatten(0, 1), rows, at.take(rows)).view(a, 2, k)
        slopes = (found[:, 0] - found[:, 1]) / (2 * length)
        return (slopes[:, :, None, None, None] * basis).sum(1)

    def _directions(self, oracle: Oracle, x: Tensor, which: Tensor, draws: Draws) -> Tensor:
        """Orthonormal directions of each image, the guide first, `(a, k, c, h, w)`."""
        shape, k = tuple(x.shape[1:]), min(self.directions + self.guided, x[0].numel())
        basis = draws.at("directions").take(which).normal((k, *shape), dtype=torch.float64)
        if self.guided:
            objective = untargeted(oracle.target, oracle.y[which], margin)
            look = oracle.target.ascend(x, objective, draws=draws.at("guide").take(which))
            has_guide = look.gradient.flatten(1).abs().amax(1) > 0
            basis[has_guide, 0] = look.gradient[has_guide].double()
        flat, _ = torch.linalg.qr(basis.flatten(2).mT)  # (a, d, k)
        found: Tensor = flat.mT.reshape(len(x), k, *shape).to(x.dtype)
        return found
