"""Goals: the class to which a targeted attack drives each image, or the label from which any other does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.losses import Loss, cross_entropy
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.errors import BenchError

LEAST_LIKELY = "least-likely"
RANDOM = "random"
LABELS = ("true", "predicted")


@dataclass(frozen=True, slots=True)
class Goal:
    """A class for each image of a batch, and whether the image is driven towards it or away from it."""

    classes: Tensor
    """`(b,)`."""
    is_goal: bool

    def loss(self, loss: Loss = cross_entropy) -> Loss:
        """A loss of logits and these classes, to be raised: itself, or minus itself towards a goal."""
        if not self.is_goal:
            return loss
        return lambda logits, goals: -loss(logits, goals)


def goal_of(
    target: Target,
    x: Tensor,
    y: Tensor,
    *,
    target_class: int | str | None = None,
    labels: str = "true",
    draws: Draws,
) -> Goal:
    """Where each image is driven.

    Args:
        target: The victim, asked once for each EOT draw where the answer hangs on the clean image.
        x: Clean images `(b, c, h, w)`.
        y: True labels `(b,)`.
        target_class: A class for all images, where those that belong to it go to the class after it;
            `least-likely`, the wrong class of the lowest logit of the clean image (Kurakin, Goodfellow and
            Bengio, "Adversarial machine learning at scale", ICLR 2017); `random`, a wrong class drawn for each
            image; None, away from the image's label.
        labels: Which label that is: the `true` one, or the one `predicted` for the clean image.
        draws: Of the b images.
    """
    if target_class is None:
        if labels == "true":
            return Goal(y, is_goal=False)
        return Goal(target.mean_logits(x, draws=draws.at("goal")).argmax(1), is_goal=False)
    if target_class == LEAST_LIKELY:
        logits = target.mean_logits(x, draws=draws.at("goal"))
        goals = logits.scatter(1, y[:, None], float("inf")).argmin(1)
    elif target_class == RANDOM:
        goals = (y + 1 + draws.at("goal").integers(target.classes - 1)) % target.classes
    else:
        goals = torch.full_like(y, int(target_class))
        goals = torch.where(y == goals, (goals + 1) % target.classes, goals)
    return Goal(goals, is_goal=True)


def passes_of_aim(target_class: int | str | None, *, labels: str = "true", eot: int) -> int:
    """Passes forward that `goal_of` asks for one image."""
    needs_clean = target_class == LEAST_LIKELY or (target_class is None and labels != "true")
    return eot if needs_clean else 0


def classes_for_aim(target_class: object) -> int:
    """The fewest classes of a task that has such a target class."""
    is_class = isinstance(target_class, int) and not isinstance(target_class, bool)
    return max(2, int(str(target_class)) + 1) if is_class else 2


def refuse_aim(attack: str, target_class: object, *, labels: object = "true", classes: int) -> None:
    """Refuses a target class or a kind of label that there is not.

    Raises:
        BenchError: One of the two.
    """
    is_class = (
        isinstance(target_class, int)
        and not isinstance(target_class, bool)
        and target_class in range(classes)
    )
    if target_class is not None and target_class not in (LEAST_LIKELY, RANDOM) and not is_class:
        raise BenchError(
            f"attack {attack!r}: target_class is one of 0 to {classes - 1}, {LEAST_LIKELY!r}, {RANDOM!r} or "
            f"none; got {target_class!r}"
        )
    if labels not in LABELS:
        raise BenchError(f"attack {attack!r}: labels are {' or '.join(LABELS)}; got {labels!r}")
    if labels != "true" and target_class is not None:
        raise BenchError(
            f"attack {attack!r} drives away from labels or towards a target_class, not both; got labels "
            f"{labels!r} and target_class {target_class!r}"
        )
