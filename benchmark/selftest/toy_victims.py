"""Instruments: small purifiers and victims that behave in one known way, against which a search is held."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.victim import Around, GradientMode, StraightThrough, Victim
from benchmark.selftest.closed_forms import linear_layer

SEEN = 0.5
"""The share of pixels that one draw of `Masked` lets through."""


class Masked(Defense):
    """Lets a random half of the pixels through and turns the others grey; those have no gradient.

    A search that looks at n draws of its own sees a pixel with probability `1 - 2**-n`, and one that uses its
    draws again with probability 1/2, however often it looks.
    """

    name = "masked"
    stochastic = True
    gradient = Derivative.EXACT

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """The images with about half of their pixels at 1/2."""
        is_seen = draws.at("mask").uniform(tuple(x.shape[1:]), dtype=x.dtype) < SEEN
        return torch.where(is_seen, x, 0.5)


class Band(Around):
    """Misclassifies only while the mean pixel is near grey; its gradient points on and on to brighter.

    Class 0 is the right one; a search that starts amid the wrong answers is led out of them for good.

    Args:
        inner: What it pretends to be.
        width: How far from 1/2 the mean pixel may be.
        is_random: Whether it calls itself stochastic, which it is not.
    """

    stochastic = False

    def __init__(self, inner: Victim, *, width: float, is_random: bool = False) -> None:
        super().__init__(inner)
        self.width = width
        self.stochastic = is_random

    def logits(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """Logits of four classes `(b, 4)`, the last two far below."""
        del draws, mode
        level = x.flatten(1).mean(1)
        hit = ((level - 0.5).abs() < self.width).to(x.dtype)
        value = torch.stack([-hit, hit - 0.5, -9 + 0 * hit, -9 + 0 * hit], dim=1)
        slope = torch.stack([-level, level, 0 * level, 0 * level], dim=1)
        out: Tensor = StraightThrough.apply(slope, value)
        return out


@dataclass(kw_only=True, eq=False, repr=False)
class Coin(Defense):
    """Mirrors an image at grey with a known probability, by a coin of its own for each image and draw.

    On a linear task whose boundary passes through grey the mirrored image gets the other answer: whatever an
    attacker shows, the accuracy is `right`, and only one who chooses among outcomes can seem to lower it.

    Args:
        right: The probability that an image stays as it is.
    """

    name = "coin"
    stochastic = True
    gradient = Derivative.NONE

    right: float = 0.8

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """The images, or what is 1 minus them; a change of any pixel throws another coin."""
        coins = draws.at("coin").uniform((64,), dtype=torch.float64)
        level = x.detach().double().flatten(1).sum(1)
        which = ((level * 12.9898).sin() * 43758.5453).long() % 64  # it hangs on every pixel
        heads = coins.gather(1, which[:, None]) < self.right
        return torch.where(heads.view(-1, 1, 1, 1), x, 1 - x).detach()


class Crashing(Defense):
    """Breaks down as soon as a gradient is asked for, its own or its surrogate's."""

    name = "crashing"
    stochastic = False
    gradient = Derivative.EXACT

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """The images, for those who ask for no gradient."""
        del draws
        if torch.is_grad_enabled():
            raise RuntimeError("this purifier breaks down on purpose")
        return x * 1.0

    def surrogate(self, x: Tensor, *, draws: Draws) -> Tensor:
        """None."""
        del x, draws
        raise RuntimeError("this purifier breaks down on purpose")


class Roles(Around):
    """Says of each candidate what the role of its draws says, and remembers which draws it was asked at.

    Of an image whose first pixel is black it is wrong at every `select` draw and right at every `score` draw;
    of any other image the other way round. Class 0 is the right one.
    """

    stochastic = True

    def __init__(self, inner: Victim) -> None:
        super().__init__(inner)
        self.asked: dict[str, list[float]] = {}
        """The first random number of each row, by the role of its draws."""

    def logits(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """Logits of two classes `(b, 2)`."""
        del mode
        role = next((name for name in ("select", "score") if name in draws.path), "another")
        numbers = draws.uniform((1,), dtype=torch.float64).flatten()
        self.asked.setdefault(role, []).extend(numbers.tolist())
        is_right = (x[:, 0, 0, 0] == 0) == (role == "score")
        sign = 2.0 * is_right - 1.0
        return torch.stack([sign, -sign], dim=1)


class Counting(Around):
    """A victim that counts what it is asked, whoever asks it."""

    def __init__(self, inner: Victim) -> None:
        super().__init__(inner)
        self.forwards = 0
        """Rows of all passes, those through the bare classifiers too."""
        self.looks = 0
        """Rows of all looks at the auxiliary loss."""

    def logits(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """Those of the victim inside, `(b, k)`."""
        self.forwards += len(x)
        return self.inner.logits(x, draws=draws, mode=mode)

    def bare_logits(self, x: Tensor) -> Tensor:
        """Those of the victim inside, `(b, k)`."""
        self.forwards += len(x)
        return self.inner.bare_logits(x)

    def auxiliary_loss(self, x: Tensor, *, draws: Draws, mode: GradientMode) -> Tensor:
        """That of the victim inside, `(b,)`."""
        self.looks += len(x)
        return self.inner.auxiliary_loss(x, draws=draws, mode=mode)


def small_network(n: int, classes: int = 6, side: int = 4) -> tuple[Classifier, Tensor, Tensor]:
    """A small random float64 network on the CPU, n images `(n, 3, side, side)`, and its labels `(n,)`."""
    one = Draws.of(5, torch.zeros(1, dtype=torch.int64), "network")
    hidden, last = (
        linear_layer(one.at(name).normal(shape, dtype=torch.float64)[0] / shape[1] ** 0.5)
        for name, shape in (("w1", (24, 3 * side**2)), ("w2", (classes, 24)))
    )
    network = nn.Sequential(nn.Flatten(), hidden, nn.Tanh(), last)
    x = Draws.of(11, torch.arange(n), "points").uniform((3, side, side), dtype=torch.float64)
    classifier = Classifier(network, name="tanh", classes=classes, sha256="")
    return classifier, x, network(x).argmax(1)
