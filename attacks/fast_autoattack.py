"""What AutoAttack `standard` tries, with less work: the same attacks on the images that are still left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.external import (
    NORMS,
    TARGETS,
    AutoAttackCall,
    AutoAttackReport,
    CountedVictim,
    passes_of_fab,
    passes_of_square,
)
from benchmark.engine.attacking.own_process import call_alone
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.errors import BenchError
from benchmark.plugins import ATTACKS

TARGETED = "dlr-targeted"
_START = 0.8
"""Square's first share of changed pixels."""


@dataclass(kw_only=True, eq=False, repr=False)
class FastAutoAttack(Attack):
    """The four attacks of AutoAttack `standard` (Croce and Hein, ICML 2020), not AutoAttack itself.

    APGD on cross-entropy, APGD on targeted DLR (this project's, from which an image leaves as soon as it is
    misclassified), then pyautoattack's own FAB-T and Square, in a process of their own, on the survivors of all
    batches packed together. The parameters are AutoAttack's; starts and random squares are other ones, so that
    the two agree image by image up to chance. FAB's backward pass computes no gradient of a weight. For fixed
    victims only: leaving early would be no fair verdict on a random one. An image that survives comes back as
    APGD's best attempt, not as the clean image.

    Args:
        steps: Of each run of APGD and FAB.
        targets: Target classes of APGD and FAB; fewer where there are fewer other classes.
        queries: Of Square.
    """

    name = "fast-autoattack"
    min_classes = 4
    per_image = False
    mixes = False
    parts = ("apgd",)

    steps: int = 100
    targets: int = TARGETS
    queries: int = 5000

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each, `(b, c, h, w)`.

        Raises:
            BenchError: The victim is random, or an argument is below 1.
            RuntimeError: The process of FAB and Square died.
        """
        if target.victim.stochastic:
            raise BenchError(
                f"attack {self.name!r} is for deterministic victims; this one is random: take 'apgd' or 'pgd' "
                f"with EOT instead"
            )
        if min(self.steps, self.targets, self.queries) < 1:
            raise BenchError(
                f"attack {self.name!r} needs at least 1 step, target and query; got {self.arguments()}"
            )
        x_adv = x.clone()
        left = self._left(target, x_adv, y, torch.arange(len(x), device=x.device))
        for loss in ("ce", TARGETED):
            if len(left):
                x_adv[left] = self._climb(target, x[left], y[left], threat, draws.take(left), loss)
                left = self._left(target, x_adv, y, left)
        if len(left):
            own = draws.at(self.name)
            order = AutoAttackCall.of(target, x[left], y[left], threat=threat, draws=own)
            found = call_alone(self._finish, order)
            found.count_in(target)
            x_adv[left[found.fooled]] = found.x_adv[found.fooled]
            left = left[~found.fooled]
        target.mark(len(left) / max(1, len(x)))
        return x_adv

    def passes(
        self, *, classes: int, eot: int, stochastic: bool, shape: tuple[int, int, int]
    ) -> Passes:
        """Its four attacks, and the predictions in between; none where it refuses the victim."""
        if stochastic:
            return Passes(forwards=0, backwards=0)
        targets = min(self.targets, classes - 1)
        climbs = [
            self._apgd(loss).passes(classes=classes, eot=eot, stochastic=False, shape=shape)
            for loss in ("ce", TARGETED)
        ]
        fab = passes_of_fab(steps=self.steps, targets=targets)
        square = passes_of_square(queries=self.queries)
        parts = [part for part in (*climbs, fab, square) if part is not None]
        return Passes(
            forwards=1 + sum(part.forwards + 1 for part in parts),
            backwards=sum(part.backwards for part in parts),
        )

    def _apgd(self, loss: str) -> Attack:
        arguments: dict[str, Any] = {"loss": loss, "steps": self.steps, "targets": self.targets}
        return ATTACKS.get("apgd")(**arguments)

    def _climb(
        self, target: Target, x: Tensor, y: Tensor, threat: Threat, draws: Draws, loss: str
    ) -> Tensor:
        """APGD's best images `(a, c, h, w)`; who is misclassified leaves at once."""
        inner = target.within(target.victim, leaves_early=True)
        x_adv = self._apgd(loss)(inner, x, y, threat=threat, draws=draws.at(loss))
        target.count(inner)
        return x_adv[:, 0]

    def _left(self, target: Target, x_adv: Tensor, y: Tensor, among: Tensor) -> Tensor:
        """Those of some images that are still classified rightly, by position."""
        logits = target.predict(x_adv[among], draws=Draws.of(0, among, self.name))
        return among[logits.argmax(1) == y[among]]

    def _finish(self, order: AutoAttackCall) -> AutoAttackReport:
        """What the process of its own does: FAB-T, then Square on those that it left."""
        victim, n = CountedVictim(order), min(self.targets, order.classes - 1)
        both = {
            "norm": NORMS[order.threat.norm],
            "eps": order.threat.eps,
            "seed": order.seed,
            "device": order.x.device,
        }
        fab = _Fab(
            victim, n_restarts=1, n_iter=self.steps, targeted=True, n_target_classes=n, **both
        )
        square = SquareAttack(
            victim, n_queries=self.queries, p_init=_START, resc_schedule=False, **both
        )
        x, x_adv = order.x.float(), order.x.float()
        fooled = torch.zeros_like(order.y, dtype=torch.bool)
        for perturb in (fab.perturb, square.perturb):
            left = (~fooled).nonzero().flatten()
            for part in torch.split(left, order.batch_size) if len(left) else ():
                found = perturb(x[part], order.y[part])
                with torch.no_grad():
                    wrong = victim(found).argmax(1) != order.y[part]
                x_adv[part[wrong]], fooled[part] = found[wrong], wrong
        return victim.report(x_adv, fooled)


class _Fab(FABAttack_PT):  # type: ignore[misc]
    """FAB with upstream's steps; its backward pass reaches the images alone, not the weights."""

    def get_diff_logits_grads_batch_targeted(
        self, imgs: Tensor, la: Tensor, la_target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logit differences `(b, 1)` and their gradients `(b, 1, c, h, w)`."""
        leaf = imgs.clone().requires_grad_()
        with torch.enable_grad():
            logits = self.predict(leaf)
            gap = (logits.gather(1, la_target[:, None]) - logits.gather(1, la[:, None])).squeeze(1)
            (gradient,) = torch.autograd.grad(gap.sum(), leaf)
        return gap.detach().unsqueeze(1), gradient.unsqueeze(1)
