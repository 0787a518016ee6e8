"""Victims: what is attacked, a small tree from [0, 1] images to logits, with its gradient mode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import Self

import torch
from torch import Tensor, nn

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.classifier import Classifier


class GradientMode(StrEnum):
    """How an attack's backward pass goes through the purifier."""

    EXACT = "exact"
    """Through the purifier itself."""
    BPDA = "bpda"
    """Forward through the purifier, backward through its surrogate."""
    RECOVERED = "recovered"
    """Forward through the purifier, backward through the operations that it is made of (`recovered`)."""


class Victim(nn.Module, ABC):
    """A plain module from images `(b, c, h, w)` in [0, 1] to logits `(b, k)`.

    It stays in eval mode whatever is asked of it, because attack libraries switch modes. Called as a module,
    without draws, it takes fresh noise by (seed, call, row).
    """

    def __init__(self, *, mode: GradientMode = GradientMode.EXACT, seed: int = 0) -> None:
        super().__init__()
        self.mode = mode
        self.seed = seed
        self._calls = 0
        super().train(False)

    @property
    @abstractmethod
    def stochastic(self) -> bool:
        """Whether the same image may get other logits with other draws."""

    @property
    @abstractmethod
    def classifiers(self) -> list[Classifier]:
        """The bare classifiers inside, which an oblivious attacker sees."""

    @abstractmethod
    def logits(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """Logits `(b, k)` at given draws, differentiable in `x` as the mode says."""

    @abstractmethod
    def auxiliary_loss(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """How strongly the purifiers inside want to change each image, `(b,)`, summed over them."""

    def bare_logits(self, x: Tensor) -> Tensor:
        """Mean logits `(b, k)` of the bare classifiers inside: what an oblivious attacker sees."""
        return torch.stack([classifier(x) for classifier in self.classifiers]).mean(0)

    def forward(self, x: Tensor) -> Tensor:
        """Logits at fresh draws, for an attack library that knows nothing of draws."""
        rows = torch.arange(len(x), device=x.device)
        draws = Draws.of(self.seed, rows, "fresh", self._calls)
        self._calls += 1
        return self.logits(x, draws=draws, mode=self.mode)

    def train(self, mode: bool = True) -> Self:
        """Does nothing: a victim stays in eval mode."""
        del mode
        return self


class StraightThrough(torch.autograd.Function):
    """The value of one tensor with the gradient of another: BPDA without rounding in the forward pass."""

    @staticmethod
    def forward(ctx: object, surrogate: Tensor, value: Tensor) -> Tensor:  # noqa: ARG004
        """`value`, unchanged."""
        return value.view_as(value)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004
        """All of the gradient to the surrogate."""
        return gradients[0], None


class Around(Victim):
    """A victim around another, which is as that one is but for what a subclass changes."""

    def __init__(self, inner: Victim, *, mode: GradientMode | None = None) -> None:
        super().__init__(mode=mode or inner.mode)
        self.inner = inner

    @property
    def stochastic(self) -> bool:
        """Whether the victim inside is."""
        return self.inner.stochastic

    @property
    def classifiers(self) -> list[Classifier]:
        """Those of the victim inside."""
        return self.inner.classifiers

    def logits(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """Those of the victim inside, `(b, k)`."""
        return self.inner.logits(x, draws=draws, mode=mode)

    def bare_logits(self, x: Tensor) -> Tensor:
        """Those of the victim inside, `(b, k)`."""
        return self.inner.bare_logits(x)

    def auxiliary_loss(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """That of the victim inside, `(b,)`."""
        return self.inner.auxiliary_loss(x, draws=draws, mode=mode)


class AsStochastic(Around):
    """A victim that was measured to be random and does not say so: asked as often as a random one."""

    stochastic = True


class KnownDraw(Around):
    """A victim that meets each image with one and the same draw, wherever and whenever it is asked.

    The draw of an image hangs on the seed, the image and the place alone. Whoever knows these knows the draw,
    and to him a random purifier is one function of the image. (The Deterministic White-box setting of Liu et
    al., "Towards understanding the robustness of diffusion-based purification: a stochastic perspective", ICLR
    2025.)

    Args:
        inner: The victim.
        path: The place at which its draws are made.
    """

    stochastic = False

    def __init__(self, inner: Victim, path: tuple[str | int, ...]) -> None:
        super().__init__(inner)
        self.path = path

    def logits(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """Logits `(b, k)` at the one draw of each row's image."""
        return self.inner.logits(x, draws=self._known(draws), mode=mode)

    def auxiliary_loss(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """The loss `(b,)` at the one draw of each row's image."""
        return self.inner.auxiliary_loss(x, draws=self._known(draws), mode=mode)

    def _known(self, draws: Draws) -> Draws:
        return Draws(draws.seed, draws.images, torch.zeros_like(draws.rows), self.path)


class Unaware(Around):
    """A victim that a plugin wraps, whose draws tell it no more than a purifier's do about who asks."""

    def logits(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """Those of the victim inside, `(b, k)`."""
        return self.inner.logits(x, draws=draws.opaque(), mode=mode)

    def auxiliary_loss(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """That of the victim inside, `(b,)`."""
        return self.inner.auxiliary_loss(x, draws=draws.opaque(), mode=mode)


class MeanLogits(Victim):
    """The mean of several victims' logits (HGD's ensembles: Liao et al., CVPR 2018, Table 9)."""

    def __init__(
        self, members: Sequence[Victim], *, mode: GradientMode = GradientMode.EXACT
    ) -> None:
        super().__init__(mode=mode)
        self.members = nn.ModuleList(members)
        self._members = list(members)

    @property
    def stochastic(self) -> bool:
        """Whether any member is."""
        return any(member.stochastic for member in self._members)

    @property
    def classifiers(self) -> list[Classifier]:
        """Those of all members."""
        return [classifier for member in self._members for classifier in member.classifiers]

    def logits(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """Mean logits `(b, k)`; each member draws under its own name."""
        outputs = [
            member.logits(x, draws=draws.at("member", i), mode=mode)
            for i, member in enumerate(self._members)
        ]
        return torch.stack(outputs).mean(0)

    def bare_logits(self, x: Tensor) -> Tensor:
        """The mean of what an oblivious attacker sees of each member, `(b, k)`, as `logits` weighs them."""
        return torch.stack([member.bare_logits(x) for member in self._members]).mean(0)

    def auxiliary_loss(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """The sum of the members' losses, `(b,)`."""
        losses = [
            member.auxiliary_loss(x, draws=draws.at("member", i), mode=mode)
            for i, member in enumerate(self._members)
        ]
        return torch.stack(losses).sum(0)


class Vote(Around):
    """A victim asked k times: the logarithm of the share of votes of each class.

    The backward pass is that of the mean of the k softmaxes, since a vote has no gradient.
    """

    def __init__(self, inner: Victim, k: int, *, mode: GradientMode = GradientMode.EXACT) -> None:
        super().__init__(inner, mode=mode)
        self.k = k

    def logits(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """Logarithms of vote shares, smoothed by 1e-3, `(b, k)`."""
        rows = self.inner.logits(
            x.repeat_interleave(self.k, 0), draws=draws.repeat(self.k), mode=mode
        )  # (b * k, classes)
        shape = (len(x), self.k, rows.shape[1])
        soft = (rows.softmax(1).view(shape).mean(1) + 1e-3).log()
        votes = nn.functional.one_hot(rows.argmax(1), rows.shape[1]).to(rows.dtype)
        hard = (votes.view(shape).mean(1) + 1e-3).log()
        out: Tensor = StraightThrough.apply(soft, hard.detach())
        return out

    def auxiliary_loss(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """The mean over the k rows, `(b,)`."""
        rows = self.inner.auxiliary_loss(
            x.repeat_interleave(self.k, 0), draws=draws.repeat(self.k), mode=mode
        )
        return rows.view(len(x), self.k).mean(1)
