"""Mixed precision: bfloat16 may search, float32 judges, and what survived is attacked again in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.victim import Around, GradientMode, Victim


class InBfloat16(Around):
    """A float32 victim under autocast: matrix products and convolutions in bfloat16, its logits in float32.

    Args:
        inner: The victim, whose weights stay as they are.
    """

    def logits(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """Logits `(b, k)`, of the dtype of `x`."""
        with _autocast(x):
            return self.inner.logits(x, draws=draws, mode=mode).to(x.dtype)

    def bare_logits(self, x: Tensor) -> Tensor:
        """Mean logits `(b, k)` of the bare classifiers inside, of the dtype of `x`."""
        with _autocast(x):
            return self.inner.bare_logits(x).to(x.dtype)

    def auxiliary_loss(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """The loss `(b,)` of the victim inside, of the dtype of `x`."""
        with _autocast(x):
            return self.inner.auxiliary_loss(x, draws=draws, mode=mode).to(x.dtype)


def _autocast(x: Tensor) -> torch.autocast:
    return torch.autocast(x.device.type, dtype=torch.bfloat16)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackOutput:
    """What an attack made of b images, and what it spent.

    Args:
        candidates: Images `(b, m, c, h, w)`.
        forwards: Rows passed forward.
        backwards: Rows passed backward.
        gradients: Gradients taken, of means over EOT rows.
        zero_gradients: Those of them that were zero everywhere.
        trace: Share of images still classified rightly, step by step.
        warnings: What the attack complained about.
        is_followed: Whether some gradient led back through the whole victim.
    """

    candidates: Tensor
    forwards: int
    backwards: int
    gradients: int
    zero_gradients: int
    trace: tuple[float, ...]
    warnings: tuple[str, ...]
    is_followed: bool = False

    @classmethod
    def of(cls, candidates: Tensor, target: Target) -> AttackOutput:
        """Candidates, and what was counted while they were made."""
        return cls(
            candidates=candidates,
            forwards=target.forwards,
            backwards=target.backwards,
            gradients=target.gradients,
            zero_gradients=target.zero_gradients,
            is_followed=target.followed > 0,
            trace=tuple(target.trace),
            warnings=tuple(target.warnings),
        )

    def then(self, again: AttackOutput, which: Tensor) -> AttackOutput:
        """This and what was made afterwards of some of the images.

        Args:
            again: Of the k images attacked again; the others are misclassified.
            which: Their positions `(k,)`.

        Returns:
            Candidates of both; an image that was not attacked again has copies of its first one in their
            place, which enter no choice.
        """
        m = again.candidates.shape[1]
        more = self.candidates[:, :1].repeat(1, m, 1, 1, 1)
        more[which] = again.candidates
        share = len(which) / len(self.candidates)
        return AttackOutput(
            candidates=torch.cat((self.candidates, more), dim=1),
            forwards=self.forwards + again.forwards,
            backwards=self.backwards + again.backwards,
            gradients=self.gradients + again.gradients,
            zero_gradients=self.zero_gradients + again.zero_gradients,
            is_followed=self.is_followed or again.is_followed,
            trace=self.trace + tuple(share * correct for correct in again.trace),
            warnings=self.warnings + again.warnings,
        )


def search_then_confirm(
    attempt: Callable[[Victim, Tensor, str], AttackOutput],
    victim: Victim,
    b: int,
    *,
    survivors: Callable[[Tensor], Tensor],
) -> AttackOutput:
    """An attack in mixed precision.

    All images are attacked in bfloat16, at draws of that search's own. Float32 says which of them are beaten;
    the others are attacked again in float32, at the very draws of a run in float32. Hence whatever such a run
    finds is found here too, but for rounding. A random victim's image counts as beaten where the candidate
    that would be chosen is misclassified at every draw that chooses: no other could then be worse.

    Args:
        attempt: Attacks `(victim, positions (k,), place)`; the place names its draws, empty for float32's.
        victim: Who is attacked.
        b: How many images.
        survivors: Positions `(k,)` of the images that none of their candidates `(b, m, c, h, w)` beats.

    Returns:
        Candidates of both, and what both spent; the verdicts in between are not counted.
    """
    first = attempt(InBfloat16(victim), torch.arange(b), "bfloat16")
    left = survivors(first.candidates)
    return first.then(attempt(victim, left, ""), left) if len(left) else first
