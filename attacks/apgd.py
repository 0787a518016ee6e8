"""Auto-PGD: PGD with momentum that halves its own step size and returns to its best point."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.losses import LOSSES, classes_for, refuse_loss, targeted_dlr
from benchmark.engine.attacking.search import Search, untargeted
from benchmark.engine.attacking.target import Ascent, Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat

TARGETED = "dlr-targeted"
KNOWN_LOSSES = ("ce", "dlr", TARGETED, "margin", "pm")
_TINY = 1e-12


@dataclass(slots=True)
class _Course:
    """Where a run stands, for the a images still attacked; every field's first dimension is a."""

    x_adv: Tensor
    x_old: Tensor
    """The iterate before `x_adv`, for the momentum."""
    gradient: Tensor
    x_best: Tensor
    gradient_best: Tensor
    loss_best: Tensor
    looks: Tensor
    """How many estimates the incumbent's loss is the mean of, `(a,)`."""
    step_size: Tensor
    loss_checked: Tensor
    """The best loss at the last checkpoint, `(a,)`."""
    was_reduced: Tensor
    """Whether the last checkpoint halved the step size, `(a,)`."""
    history: Tensor
    """The loss of each iterate but the first, `(a, steps)`."""

    def take(self, stays: Tensor) -> _Course:
        """That of some of the images."""
        return _Course(*(getattr(self, field.name)[stays] for field in fields(self)))


@dataclass(kw_only=True, eq=False, repr=False)
class APGD(Attack):
    """Auto-PGD (Croce and Hein, "Reliable evaluation of adversarial robustness", ICML 2020, Algorithm 1).

    For a deterministic victim each image gets the misclassified iterate of highest margin, else that of highest
    loss, over all restarts and targets. For a random one the loss is the mean over the target's EOT draws; the
    incumbent is measured again at every checkpoint with draws of its own, because the highest of many noisy
    means is too high, and each restart and target gives its iterate of best mean loss as a candidate.

    Args:
        loss: `ce`, `dlr`, `margin`, `pm`, or `dlr-targeted` (once for each target class).
        steps: Steps of each run; 100 in AutoAttack.
        restarts: How often it starts anew, for each target class.
        targets: Target classes of the targeted loss: the highest other logits of the clean image; fewer where
            there are fewer other classes.
        rho: The share of steps that must raise the loss between two checkpoints (condition 1).
        momentum: Alpha of the update, the weight of the new direction.
    """

    name = "apgd"

    loss: str = "ce"
    steps: int = 100
    restarts: int = 1
    targets: int = 9
    rho: float = 0.75
    momentum: float = 0.75

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each `(b, 1, c, h, w)`, or a candidate of each run `(b, m, c, h, w)`."""
        refuse_loss(self.name, self.loss, known=KNOWN_LOSSES, classes=target.classes)
        self._require(
            min(self.steps, self.restarts, self.targets) >= 1,
            "at least 1 step, restart and target",
            *("steps", "restarts", "targets"),
        )
        search = Search(target, x, y, draws=draws, puts_success_first=not target.is_random)
        goals: list[Tensor | None] = [None]
        if self.loss == TARGETED:
            n = min(self.targets, target.classes - 1)
            goals = list(target.rivals(x, y, n, draws=draws).T)
        candidates: list[Tensor] = []
        for number, goal in enumerate(goals):
            for restart in range(self.restarts):
                if not len(search.which):
                    break
                best = _Run(self, search, threat, goal, (restart, number)).climb()
                if target.is_random:
                    candidates.append(best)
        return torch.stack(candidates, dim=1) if target.is_random else search.best.unsqueeze(1)

    def least_classes(self, **_: object) -> int:
        """Those that its loss is defined with."""
        return classes_for(self.loss)

    def passes(self, *, classes: int, eot: int, stochastic: bool, **_: object) -> Passes:
        """A look at the start, at each iterate, and at a random victim's incumbent at each checkpoint."""
        is_random = stochastic or eot > 1
        goals = min(self.targets, classes - 1) if self.loss == TARGETED else 1
        looks = 1 + self.steps + (len(_checkpoints(self.steps)) if is_random else 0)
        runs, ranking = self.restarts * goals, eot if self.loss == TARGETED else 0
        rows = runs * looks * eot
        candidates = runs if is_random else 1
        return Passes(forwards=rows + ranking, backwards=rows, candidates=candidates)


@dataclass(slots=True)
class _Run:
    """One run from one start towards one goal."""

    attack: APGD
    search: Search
    threat: Threat
    goal: Tensor | None
    """The target class of each image of the batch `(b,)`, or None for an untargeted loss."""
    place: tuple[int, int]
    """Restart and number of the goal, which name its draws."""

    def climb(self) -> Tensor:
        """Runs Algorithm 1; returns the iterates of best loss of those that stayed to the end."""
        steps, search = self.attack.steps, self.search
        course = self._begin(_start(search, self.threat, *self.place))
        windows = _checkpoints(steps)
        for step in range(steps):
            if not len(search.which):
                break
            x_next = self._next(course, a=self.attack.momentum if step else 1.0)
            course.x_old, course.x_adv = course.x_adv, x_next
            course = self._measure(course, step)
            if step in windows:
                self._check(course, step, windows[step])
        return course.x_best

    def _begin(self, x_adv: Tensor) -> _Course:
        ascent = self._look(x_adv, 0)
        loss, flat = ascent.loss, torch.ones_like(ascent.loss)
        course = _Course(
            x_adv=x_adv,
            x_old=x_adv,
            gradient=ascent.gradient,
            x_best=x_adv.clone(),
            gradient_best=ascent.gradient.clone(),
            loss_best=loss.clone(),
            looks=flat,
            step_size=(2.0 * self.threat.eps * flat).view(-1, 1, 1, 1),
            loss_checked=loss.clone(),
            was_reduced=flat.bool(),
            history=loss.new_zeros(len(loss), self.attack.steps),
        )
        return course.take(self.search.consider(x_adv, ascent))

    def _next(self, course: _Course, *, a: float) -> Tensor:
        """The next iterate: a projected step, then momentum, projected again (Algorithm 1, lines 7 and 8)."""
        x, x_adv = self.search.x, course.x_adv
        z = x_adv + course.step_size * _direction(course.gradient, self.threat)
        z = _into_budget(x, z, self.threat)
        z = x_adv + (z - x_adv) * a + (x_adv - course.x_old) * (1 - a)
        return _into_budget(x, z, self.threat)

    def _measure(self, course: _Course, step: int) -> _Course:
        """Looks at the new iterate, updates the incumbent, and lets fooled images leave."""
        ascent = self._look(course.x_adv, step + 1)
        course.gradient = ascent.gradient
        course.history[:, step] = ascent.loss
        better = ascent.loss > course.loss_best
        course.x_best[better] = course.x_adv[better]
        course.gradient_best[better] = ascent.gradient[better]
        course.loss_best[better] = ascent.loss[better]
        course.looks[better] = 1.0
        return course.take(self.search.consider(course.x_adv, ascent))

    def _check(self, course: _Course, step: int, window: int) -> None:
        """A checkpoint: halves the step size and returns to the incumbent where conditions 1 or 2 hold."""
        if not self.search.puts_success_first:
            self._look_again(course, step)
        # Before the first iterate stands 0, not the start's loss, as in the authors' code.
        at = torch.arange(step, step - window, -1, device=course.history.device)
        rises = (course.history[:, at] > course.history[:, at - 1]).sum(1)
        stalled = rises <= self.attack.rho * window
        stalled |= ~course.was_reduced & (course.loss_checked >= course.loss_best)
        course.was_reduced, course.loss_checked = stalled, course.loss_best.clone()
        course.step_size[stalled] /= 2.0
        course.x_adv = torch.where(_wide(stalled), course.x_best, course.x_adv)
        course.gradient = torch.where(_wide(stalled), course.gradient_best, course.gradient)

    def _look_again(self, course: _Course, step: int) -> None:
        """Takes another estimate of the incumbent's loss and gradient into their means."""
        ascent = self._look(course.x_best, step + 1, "again")
        weight = 1.0 / (course.looks + 1.0)
        course.looks += 1.0
        course.loss_best += weight * (ascent.loss - course.loss_best)
        course.gradient_best += _wide(weight) * (ascent.gradient - course.gradient_best)

    def _look(self, x_adv: Tensor, *names: str | int) -> Ascent:
        search = self.search
        if self.goal is None:
            objective = untargeted(search.target, search.y, LOSSES[self.attack.loss])
        else:
            both = torch.stack((search.y, self.goal[search.which]), dim=1)
            objective = untargeted(search.target, both, _towards)
        return search.look(x_adv, objective, *self.place, *names)


def _checkpoints(steps: int) -> dict[int, int]:
    """The steps after which a run checks its progress, and how many steps each check looks back on."""
    window, shrink, shortest = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
    windows: dict[int, int] = {}
    step = window - 1
    while step < steps:
        windows[step] = window
        window = max(window - shrink, shortest)
        step += window
    return windows


def _towards(logits: Tensor, both: Tensor) -> Tensor:
    """Targeted DLR of true labels and goals `(r, 2)`."""
    return targeted_dlr(logits, both[:, 0], both[:, 1])


def _start(search: Search, threat: Threat, restart: int, goal: int) -> Tensor:
    """A random point on the budget's boundary, inside [0, 1], as the authors' code starts."""
    x = search.x
    at = search.draws("init", restart, goal)
    shape = tuple(x.shape[1:])
    if threat.norm is Norm.LINF:
        δ = 2 * at.uniform(shape, dtype=x.dtype) - 1
        δ = δ / _wide(δ.flatten(1).abs().amax(1) + _TINY)
    else:
        δ = _direction(at.normal(shape, dtype=x.dtype), threat)
    return (x + threat.eps * δ).clamp(0.0, 1.0)


def _direction(gradient: Tensor, threat: Threat) -> Tensor:
    return gradient.sign() if threat.norm is Norm.LINF else gradient / (_length(gradient) + _TINY)


def _into_budget(x: Tensor, z: Tensor, threat: Threat) -> Tensor:
    """`z` moved into the budget and [0, 1], rounded as in the authors' code."""
    if threat.norm is Norm.LINF:
        z = torch.minimum(torch.maximum(z, x - threat.eps), x + threat.eps)
    else:
        length = _length(z - x)
        z = x + (z - x) / (length + _TINY) * length.clamp_max(threat.eps)
    return z.clamp(0.0, 1.0)


def _length(v: Tensor) -> Tensor:
    return _wide((v**2).flatten(1).sum(1).sqrt())


def _wide(per_image: Tensor) -> Tensor:
    return per_image.view(-1, 1, 1, 1)
