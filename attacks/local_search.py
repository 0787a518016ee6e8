"""Local search: a few pixels changed, found by asking what a change near the last ones does; outputs alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.losses import margin
from benchmark.engine.attacking.search import Search
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import NamedSet, Threat

CHANGES = ("cyclic", "extremes")
_PATIENCE = 20
"""Rounds without a new best after which a search that has spent its budget begins anew."""
_ROUNDS_TO_SPEND = 5
"""Rounds in which a budget is spent at the fastest: pixels chosen together do not know of each other."""


@dataclass(kw_only=True, eq=False, repr=False)
class LocalSearch(Attack):
    """LocSearchAdv of Narodytska and Kasiviswanathan, "Simple black-box adversarial attacks", CVPRW 2017.

    Every round asks for the true class's probability with one pixel changed, for each pixel of a neighbourhood;
    changes the `t` pixels of which it falls lowest; and goes on with their neighbourhoods. A change multiplies
    the pixel's channels by `r`, about the middle grey, and wraps what leaves [0, 1] around (the paper's Cyclic,
    with bounds of -1/2 and 1/2). The paper's k is 1: success is any wrong label.

    Two things differ. The paper asks with the pixel at p times its sign, which lies outside [0, 1] or changes
    nothing; here it is asked with the very change that it would get, and there is no p. And the threat's number
    of pixels is a budget: in one round at most a fifth of it is spent, but one pixel; a pixel already changed
    is changed again where that helps, or where all is spent and nothing does; and where twenty such rounds have
    led to no new best, the search begins anew at the clean image, with other random pixels.

    Args:
        rounds: At the most (the paper's R).
        r: See above; in (1, 2].
        d: How far a neighbourhood reaches from its pixel, along each axis.
        t: Pixels changed in one round.
        start: Share of the pixels, drawn at random, that are asked for in the first round.
        probes: Pixels asked for in one round at the most; of a greater neighbourhood some, drawn at random.
        change: `cyclic`, or `extremes`: each pixel is asked for in black and in white, and gets the better one.
    """

    name = "local-search"
    mixes = False
    norms = frozenset({NamedSet.PIXELS})

    rounds: int = 150
    r: float = 1.5
    d: int = 5
    t: int = 5
    start: float = 0.1
    probes: int = 128
    change: str = "cyclic"

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """The best image of each `(b, 1, c, h, w)`; of a random victim the last one too, `(b, 2, c, h, w)`."""
        self._refuse_arguments()
        search = Search(target, x, y, draws=draws, puts_success_first=not target.is_random)
        highest = x.new_full((len(x),), -torch.inf)
        walk = _Walk(x, self._random_pixels(search, 0), highest, torch.zeros_like(highest))
        for number in range(self.rounds + 1):
            gap, odds, stays = self._offer(search, walk.x_adv, number)
            walk, gap, odds = walk.of(stays), gap[stays], odds[stays]
            if not len(search.which) or number == self.rounds:
                break
            walk = self._begun_anew(search, walk, gap, threat.eps, number)
            walk = self._round(search, walk, odds, threat.eps, number)
        return torch.stack([search.best, walk.x_adv] if target.is_random else [search.best], dim=1)

    def passes(
        self, *, eot: int, stochastic: bool, shape: tuple[int, int, int], **_: object
    ) -> Passes:
        """The clean image, and for each round the pixels asked for and the image made of the answers."""
        asked = min(self.probes, shape[1] * shape[2]) * (2 if self.change == "extremes" else 1)
        rows = 1 + self.rounds * (asked + 1)
        return Passes(
            forwards=rows * eot, backwards=0, candidates=2 if stochastic or eot > 1 else 1
        )

    def _random_pixels(self, search: Search, number: int) -> Tensor:
        """The random pixels with which a search begins in a round, mask `(a, h * w)`."""
        x = search.x
        pixels = x.shape[2] * x.shape[3]
        order = search.draws("init", number).permutations(pixels)
        near = torch.zeros_like(order, dtype=torch.bool)
        return near.scatter_(1, order[:, : max(1, round(self.start * pixels))], value=True)

    def _begun_anew(
        self, search: Search, walk: _Walk, gap: Tensor, eps: float, number: int
    ) -> _Walk:
        """The walks with their new margins `(a,)`; those that are spent and rise no higher begin anew."""
        since = torch.where(gap > walk.highest, 0, walk.since + 1)
        is_stuck = (walk.left(search.x, eps) < 1) & (since >= _PATIENCE)
        fresh = self._random_pixels(search, number)
        return _Walk(
            torch.where(is_stuck.view(-1, 1, 1, 1), search.x, walk.x_adv),
            torch.where(is_stuck[:, None], fresh, walk.near),
            torch.where(is_stuck, -torch.inf, torch.maximum(gap, walk.highest)),
            torch.where(is_stuck, 0, since),
        )

    def _round(self, search: Search, walk: _Walk, odds: Tensor, eps: float, number: int) -> _Walk:
        """Changes the best pixels of images with log-odds `(a,)`; the images, and their new neighbourhoods."""
        a, c, h, w = walk.x_adv.shape
        changed, left = walk.changed(search.x), walk.left(search.x, eps)[:, None]
        near = torch.where(left < 1, changed, walk.near)
        key = search.draws("probe", number).permutations(h * w)
        pixels = torch.where(near, key, -1 - key).topk(min(self.probes, h * w), dim=1).indices
        is_asked = near.gather(1, pixels)
        chances, values = self._ask(search, walk.x_adv, (pixels, is_asked), number)
        order = chances.argsort(dim=1, stable=True)
        pixels, is_asked = pixels.gather(1, order), is_asked.gather(1, order)
        is_new = ~changed.gather(1, pixels) & is_asked
        helps = is_asked & (chances.gather(1, order) < odds[:, None])
        helps |= (left < 1) & ~helps.any(1, keepdim=True)  # the way on leads through what is worse
        pace = left.clamp_max(max(1, eps // _ROUNDS_TO_SPEND))
        allowed = is_asked & torch.where(is_new, is_new.cumsum(1) <= pace, helps)
        chosen = allowed & (allowed.cumsum(1) <= self.t)
        rows, columns = chosen.nonzero(as_tuple=True)
        at = pixels[rows, columns]
        flat = walk.x_adv.flatten(2).clone()
        flat[rows, :, at] = values[rows, order[rows, columns]]
        hit = torch.zeros_like(near)
        hit[rows, at] = True
        return _Walk(flat.view(a, c, h, w), self._around(hit, h, w), walk.highest, walk.since)

    def _ask(
        self, search: Search, x_adv: Tensor, asked: tuple[Tensor, Tensor], number: int
    ) -> tuple[Tensor, Tensor]:
        """Log-odds of the true class with one pixel changed: in the order of its probability, never saturated.

        Args:
            search: With the true labels of the a images.
            x_adv: Images `(a, c, h, w)`.
            asked: Pixels `(a, q)`, and which of them are to be asked for.
            number: Of the round.

        Returns:
            The lowest over the pixel's new values `(a, q)`, infinite where not asked for; and the value that
            gave it, `(a, q, c)`.
        """
        pixels, is_asked = asked
        (a, c), n = x_adv.shape[:2], search.target.batch_size
        now = x_adv.flatten(2).gather(2, pixels[:, None].expand(a, c, -1)).transpose(1, 2)
        options = self._options(now)  # (o, a, q, c)
        chances = now.new_full(options.shape[:3], torch.inf)
        draws = search.draws("eot", 0, 0, number)
        rows, columns = is_asked.nonzero(as_tuple=True)
        for option, values in enumerate(options):
            for row, column in zip(torch.split(rows, n), torch.split(columns, n), strict=True):
                shown = _with_pixel(x_adv[row], pixels[row, column], values[row, column])
                logits = search.target.mean_logits(shown, draws=draws.take(row))
                chances[option, row, column] = _log_odds(logits, search.y[row])
        lowest, which = chances.min(0)
        index = which[None, :, :, None].expand(1, *which.shape, c)
        return lowest, options.gather(0, index).squeeze(0)

    def _options(self, now: Tensor) -> Tensor:
        """New values `(o, a, q, c)` of pixels that now have the values `(a, q, c)`."""
        if self.change == "extremes":
            return torch.stack((torch.zeros_like(now), torch.ones_like(now)))
        grown = self.r * (now - 0.5)
        wrapped = grown - (grown > 0.5).to(now) + (grown < -0.5).to(now)
        return (wrapped + 0.5).clamp(0.0, 1.0).unsqueeze(0)

    def _around(self, hit: Tensor, h: int, w: int) -> Tensor:
        """The squares around pixels `(a, h * w)`, likewise."""
        grid = hit.view(-1, 1, h, w).float()
        reached = functional.max_pool2d(grid, 2 * self.d + 1, stride=1, padding=self.d)
        return reached.flatten(1) > 0

    def _offer(self, search: Search, x_adv: Tensor, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Asks for the images of a round; their margins, the log-odds of their true classes, and who stays."""
        logits = search.target.mean_logits(x_adv, draws=search.draws("eot", 0, 1, number))
        gap, odds = margin(logits, search.y), _log_odds(logits, search.y)
        return gap, odds, search.offer(x_adv, logits, gap)

    def _refuse_arguments(self) -> None:
        self._require_choice(change=CHANGES)
        is_one = min(self.rounds, self.d, self.t, self.probes) >= 1
        self._require(
            is_one and 1 < self.r <= 2 and 0 < self.start <= 1,
            "at least 1 of rounds, d, t and probes, an r in (1, 2] and a start in (0, 1]",
        )


@dataclass(frozen=True, slots=True)
class _Walk:
    """Images `(a, c, h, w)` on their way.

    Args:
        x_adv: As they are now.
        near: The pixels to be asked for, `(a, h * w)`.
        highest: The highest margin since they began, `(a,)`.
        since: Rounds since then, `(a,)`.
    """

    x_adv: Tensor
    near: Tensor
    highest: Tensor
    since: Tensor

    def of(self, stays: Tensor) -> _Walk:
        """Those images of which a mask `(a,)` says that they stay."""
        return _Walk(self.x_adv[stays], self.near[stays], self.highest[stays], self.since[stays])

    def changed(self, x: Tensor) -> Tensor:
        """Which pixels differ from the clean images, `(a, h * w)`."""
        return (self.x_adv != x).any(1).flatten(1)

    def left(self, x: Tensor, eps: float) -> Tensor:
        """How many more may be changed, `(a,)`."""
        return eps - self.changed(x).sum(1)


def _with_pixel(x: Tensor, at: Tensor, value: Tensor) -> Tensor:
    """Images `(n, c, h, w)` of which one pixel `(n,)` each has other values `(n, c)`."""
    flat = x.flatten(2).clone()
    flat[torch.arange(len(x), device=x.device), :, at] = value
    return flat.view_as(x)


def _log_odds(logits: Tensor, y: Tensor) -> Tensor:
    """Of the true class against all others, `(n,)`."""
    others = logits.scatter(1, y[:, None], -torch.inf).logsumexp(1)
    return logits.gather(1, y[:, None]).squeeze(1) - others
