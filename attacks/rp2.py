"""RP2: one sticker on the image, placed where the victim is sensitive, and painted by Adam."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.engine.attacking.adam import Adam
from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.losses import LOSSES, classes_for, cross_entropy, refuse_loss
from benchmark.engine.attacking.perturbations import warped
from benchmark.engine.attacking.search import Search
from benchmark.engine.attacking.target import Ascent, Target
from benchmark.engine.attacking.targeted import Goal, classes_for_aim, goal_of
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import NamedSet, Threat
from benchmark.errors import BenchError

PLACEMENTS = ("sensitive", "centre", "random")
_TINY = 1e-8


@dataclass(kw_only=True, eq=False, repr=False)
class RP2(Attack):
    """Eykholt et al., "Robust physical-world attacks on deep learning visual classification", CVPR 2018, Eq. 3.

    A mask is fixed first, then the colours under it are found by Adam, on the mean loss over views of the image
    less a weight times the length of the change. Here the mask is one upright rectangle of the area that the
    threat allows; there is no printer, and so no term for colours that it cannot print.

    The paper finds its mask by a first search with an l1 penalty. Here `sensitive` is, of all rectangles of
    that area (strips included), the one in which black and white pixels raise the loss most to first order.

    A view is what a camera would see of the whole image, sticker included: brighter or darker, and shifted by
    whole pixels, the border repeated. The first view is always the image itself, by which it is judged.

    Args:
        steps: Of Adam.
        step_size: Its learning rate, in pixel units of [0, 1].
        l2_weight: Of the l2 length of the change, against the loss.
        loss: `ce`, `margin`, `dlr` or `pm`.
        placement: `sensitive`, `centre` or `random`.
        restarts: How often a sticker is made; all but the first are at random places.
        views: Over how many views the loss is averaged; 1 is the image alone.
        brightness: By how much a view is brighter or darker at the most, as a share.
        shift: By how many pixels a view is shifted at the most, along each axis.
        target_class: A class to which all images are driven, by loss `ce`; those that belong to it go to the
            class after it. None drives each away from its true label. Success is still any wrong label.
    """

    name = "rp2"
    norms = frozenset({NamedSet.STICKER})

    steps: int = 100
    step_size: float = 0.1
    l2_weight: float = 0.02
    loss: str = "margin"
    placement: str = "sensitive"
    restarts: int = 1
    views: int = 1
    brightness: float = 0.2
    shift: int = 1
    target_class: int | None = None

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """The best image of each restart, and of a random victim each's last one too, `(b, m, c, h, w)`."""
        self._refuse_arguments(target.classes)
        sides = rectangles(threat.eps, (x.shape[2], x.shape[3]))
        if not sides:
            raise BenchError(
                f"attack {self.name!r}: {threat} is less than one pixel of an image of {x.shape[2]} x "
                f"{x.shape[3]}; name a greater share"
            )
        aim = goal_of(target, x, y, target_class=self.target_class, draws=draws)
        candidates, search = [], None
        for restart in range(self.restarts):
            first = not target.is_random
            search = Search(target, x, y, draws=draws, puts_success_first=first, follows=search)
            last = self._paint(search, aim, sides, restart)
            candidates += [search.best, last] if target.is_random else [search.best]
        return torch.stack(candidates, dim=1)

    def least_classes(self, **_: object) -> int:
        """Those that its loss is defined with, its target class among them."""
        return max(classes_for(self.loss), classes_for_aim(self.target_class))

    def passes(self, *, eot: int, stochastic: bool, **_: object) -> Passes:
        """A look at every view of every image, and at the clean one where that says where to place it."""
        rows = self.restarts * (self.steps + 1) * self.views + (self.placement == "sensitive")
        kept = 2 if stochastic or eot > 1 else 1
        return Passes(forwards=rows * eot, backwards=rows * eot, candidates=kept * self.restarts)

    def _paint(
        self, search: Search, aim: Goal, sides: list[tuple[int, int]], restart: int
    ) -> Tensor:
        """One sticker on each image still attacked; the last images `(a, c, h, w)` of those who stayed."""
        if not len(search.which):
            return search.x
        is_painted = self._mask(search, aim, sides, restart) > 0
        x_adv, adam = search.x, Adam(search.best)
        for step in range(self.steps + 1):
            ascent = self._look(search, aim, x_adv, self.views, restart, 0, step)
            stays = search.consider(x_adv, ascent)
            if step == self.steps or not len(search.which):
                break
            x_adv, is_painted = x_adv[stays], is_painted[stays]
            δ = x_adv - search.x
            length = δ.flatten(1).norm(dim=1).clamp_min(_TINY).view(-1, 1, 1, 1)
            gradient = ascent.gradient[stays] - self.l2_weight * δ / length
            mean, root = adam.moments(search.which, gradient)
            painted = (x_adv + self.step_size * (mean / root)).clamp(0.0, 1.0)
            x_adv = torch.where(is_painted, painted, x_adv)
        return x_adv

    def _look(self, search: Search, aim: Goal, x_adv: Tensor, n: int, *place: int | str) -> Ascent:
        """Loss and gradient of images `(a, c, h, w)`, averaged over n views; the logits are the image's own."""
        a = len(x_adv)
        draws = search.draws("eot", *place)
        if n > 1:
            draws = draws.repeat(n)
        light, flow = self._views(search, draws, n)
        goals = aim.classes[search.which].repeat_interleave(n)
        loss = aim.loss(LOSSES[self.loss] if self.target_class is None else cross_entropy)

        def objective(rows: Tensor, which: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
            seen = rows
            if n > 1:
                h, w = rows.shape[2:]
                seen = warped(rows, flow[which].expand(-1, -1, h, w))
                seen = (seen * light[which]).clamp(0.0, 1.0)
            logits = search.target.logits(seen, draws=draws)
            return loss(logits, goals[which]), logits

        ascent = search.target.ascend(x_adv.repeat_interleave(n, 0), objective, draws=draws)
        return Ascent(
            ascent.loss.view(a, n).mean(1),
            ascent.gradient.view(a, n, *x_adv.shape[1:]).mean(1),
            ascent.logits.view(a, n, -1)[:, 0],
        )

    def _views(self, search: Search, draws: Draws, n: int) -> tuple[Tensor, Tensor]:
        """Brightness `(a * n, 1, 1, 1)` and flow `(a * n, 2, 1, 1)` of the views; the first changes nothing."""
        x = search.x
        at = draws.at("view")
        is_other = (torch.arange(len(draws), device=x.device) % n > 0).view(-1, 1, 1, 1).to(x)
        unit = 2 * at.at("light").uniform((1, 1, 1), dtype=x.dtype) - 1
        steps = at.at("shift").integers(2 * self.shift + 1, (2, 1, 1)).to(x) - self.shift
        h, w = x.shape[2:]
        per_pixel = torch.tensor([2 / w, 2 / h], dtype=x.dtype, device=x.device).view(2, 1, 1)
        return 1 + is_other * self.brightness * unit, is_other * steps * per_pixel

    def _mask(
        self, search: Search, aim: Goal, sides: list[tuple[int, int]], restart: int
    ) -> Tensor:
        """Where the sticker of each image still attacked lies, `(a, 1, h, w)`, 0 or 1."""
        x = search.x
        h, w = x.shape[2:]
        if self.placement == "sensitive" and restart == 0:
            g = self._look(search, aim, x, 1, "place").gradient
            gain = torch.maximum(g * (1 - x), -g * x).sum(1)  # (a, h, w)
            return best_rectangle(gain, sides).unsqueeze(1)
        a, b = min(sides, key=lambda side: abs(side[0] / h - side[1] / w))
        top, left = torch.full_like(search.y, (h - a) // 2), torch.full_like(search.y, (w - b) // 2)
        if self.placement == "random" or restart:
            at = search.draws("init", restart)
            top, left = at.at("top").integers(h - a + 1), at.at("left").integers(w - b + 1)
        return _rectangle(x, (top, left), (a, b)).unsqueeze(1)

    def _refuse_arguments(self, classes: int) -> None:
        refuse_loss(self.name, self.loss, known=tuple(LOSSES), classes=classes)
        self._require_choice(placement=PLACEMENTS)
        if self.target_class is not None and self.target_class not in range(classes):
            raise BenchError(
                f"attack {self.name!r}: target_class is one of 0 to {classes - 1}; got {self.target_class!r}"
            )
        is_fit = self.step_size > 0 and self.l2_weight >= 0 and self.shift >= 0
        self._require(
            min(self.steps, self.restarts, self.views) >= 1 and is_fit and 0 <= self.brightness < 1,
            "at least 1 step, restart and view, a step_size above 0, an l2_weight and a shift from 0 up and a "
            "brightness in [0, 1)",
        )


def rectangles(share: float, image: tuple[int, int]) -> list[tuple[int, int]]:
    """Height and width of the largest upright rectangles that cover at most a share of an image."""
    h, w = image
    area = math.floor(share * h * w + 1e-9)
    sides = [(a, min(w, area // a)) for a in range(1, h + 1) if area >= a]
    return [
        side for i, side in enumerate(sides) if i + 1 == len(sides) or sides[i + 1][1] < side[1]
    ]


def best_rectangle(gain: Tensor, sides: list[tuple[int, int]]) -> Tensor:
    """The rectangle over which gains `(a, h, w)` have the greatest sum, as a mask `(a, h, w)` of 0 and 1."""
    n, _, w = gain.shape
    total = torch.nn.functional.pad(gain.cumsum(1).cumsum(2), (1, 0, 1, 0))  # (a, h + 1, w + 1)
    best = gain.new_full((n,), -torch.inf)
    mask = torch.zeros_like(gain)
    for a, b in sides:
        inside = total[:, a:, b:] - total[:, :-a, b:] - total[:, a:, :-b] + total[:, :-a, :-b]
        value, at = inside.flatten(1).max(1)
        corner = at // (w - b + 1), at % (w - b + 1)
        is_better = (value > best).view(-1, 1, 1)
        mask = torch.where(is_better, _rectangle(gain.unsqueeze(1), corner, (a, b)), mask)
        best = torch.maximum(best, value)
    return mask


def _rectangle(x: Tensor, corner: tuple[Tensor, Tensor], sides: tuple[int, int]) -> Tensor:
    """Masks `(n, h, w)` of rectangles with their upper left corners `(n,)` each in images `(n, c, h, w)`."""
    h, w = x.shape[2:]
    row, column = torch.arange(h, device=x.device), torch.arange(w, device=x.device)
    top, left = (at.view(-1, 1) for at in corner)
    is_row = (row >= top) & (row < top + sides[0])  # (n, h)
    is_column = (column >= left) & (column < left + sides[1])
    return (is_row[:, :, None] & is_column[:, None, :]).to(x.dtype)
