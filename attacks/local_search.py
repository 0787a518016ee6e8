"""Local search: a few pixels changed, found by asking what a change near the last ones does; outputs alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.attack import Attack, Passes
from benchmark.errors import BenchError
from benchmark.losses import margin
from benchmark.randomness import Draws
from benchmark.search import Search
from benchmark.target import Target
from benchmark.threat import NamedSet, Threat

CHANGES = ("cyclic", "extremes")


class LocalSearch(Attack):
    """LocSearchAdv of Narodytska and Kasiviswanathan, "Simple black-box adversarial attacks", CVPRW 2017.

    Every round asks for the true class's probability with one pixel changed, for each pixel of a neighbourhood;
    changes the `t` pixels of which it falls lowest; and goes on with their neighbourhoods. A change multiplies
    the pixel's channels by `r`, about the middle grey, and wraps what leaves [0, 1] around (the paper's Cyclic,
    with bounds of -1/2 and 1/2). The paper's k is 1: success is any wrong label.

    Two things differ. The paper asks with the pixel at p times its sign, which lies outside [0, 1] or changes
    nothing; here it is asked with the very change that it would get, and there is no p. And the threat's number
    of pixels is a budget: where it is spent, only pixels already changed are changed again.

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
    summary = "a few pixels, by outputs alone (Narodytska and Kasiviswanathan 2017)"

    def __init__(
        self,
        *,
        rounds: int = 150,
        r: float = 1.5,
        d: int = 5,
        t: int = 5,
        start: float = 0.1,
        probes: int = 128,
        change: str = "cyclic",
    ) -> None:
        self.rounds = rounds
        self.r = r
        self.d = d
        self.t = t
        self.start = start
        self.probes = probes
        self.change = change

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """The best image of each `(b, 1, c, h, w)`; of a random victim the last one too, `(b, 2, c, h, w)`."""
        self._refuse_arguments()
        is_random = target.victim.stochastic or target.eot > 1
        search = Search(target, x, y, draws=draws, puts_success_first=not is_random)
        x_adv = x.clone()
        near = self._first(search)
        stays = self._offer(search, x_adv, 0)
        for number in range(1, self.rounds + 1):
            x_adv, near = x_adv[stays], near[stays]
            if not len(search.which):
                break
            x_adv, near = self._round(search, x_adv, near, (threat.eps, number))
            stays = self._offer(search, x_adv, number)
        return torch.stack([search.best, x_adv] if is_random else [search.best], dim=1)

    def passes(
        self, *, classes: int, eot: int, stochastic: bool, shape: tuple[int, int, int]
    ) -> Passes:
        """The clean image, and for each round the pixels asked for and the image made of the answers."""
        del classes
        asked = min(self.probes, shape[1] * shape[2]) * (2 if self.change == "extremes" else 1)
        rows = 1 + self.rounds * (asked + 1)
        return Passes(
            forwards=rows * eot, backwards=0, candidates=2 if stochastic or eot > 1 else 1
        )

    def _first(self, search: Search) -> Tensor:
        """The random pixels of the first round, mask `(a, h * w)`."""
        x = search.x
        pixels = x.shape[2] * x.shape[3]
        order = search.draws("init").permutations(pixels)
        near = torch.zeros_like(order, dtype=torch.bool)
        return near.scatter_(1, order[:, : max(1, round(self.start * pixels))], value=True)

    def _round(
        self, search: Search, x_adv: Tensor, near: Tensor, budget_and_number: tuple[float, int]
    ) -> tuple[Tensor, Tensor]:
        """Changes the best pixels of neighbourhoods `(a, h * w)`; the images, and their new neighbourhoods."""
        eps, number = budget_and_number
        a, c, h, w = x_adv.shape
        changed = (x_adv != search.x).any(1).flatten(1)
        left = eps - changed.sum(1, keepdim=True)
        spent = left < 1
        near = torch.where(spent, near & changed, near)
        near = torch.where(spent & ~near.any(1, keepdim=True), changed, near)
        key = search.draws("probe", number).permutations(h * w)
        pixels = torch.where(near, key, -1 - key).topk(min(self.probes, h * w), dim=1).indices
        is_asked = near.gather(1, pixels)
        chances, values = self._ask(search, x_adv, (pixels, is_asked), number)
        order = chances.argsort(dim=1, stable=True)
        pixels, is_asked = pixels.gather(1, order), is_asked.gather(1, order)
        is_new = ~changed.gather(1, pixels) & is_asked
        allowed = is_asked & (~is_new | (is_new.cumsum(1) <= left))
        chosen = allowed & (allowed.cumsum(1) <= self.t)
        rows, columns = chosen.nonzero(as_tuple=True)
        at = pixels[rows, columns]
        flat = x_adv.flatten(2).clone()
        flat[rows, :, at] = values[rows, order[rows, columns]]
        hit = torch.zeros_like(near)
        hit[rows, at] = True
        return flat.view(a, c, h, w), self._around(hit, h, w)

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
        a, c = x_adv.shape[:2]
        now = (
            x_adv.flatten(2).gather(2, pixels[:, None].expand(a, c, -1)).transpose(1, 2)
        )  # (a, q, c)
        options = self._options(now)  # (o, a, q, c)
        chances = now.new_full(options.shape[:3], torch.inf)
        draws = search.draws("eot", 0, 0, number)
        rows, columns = is_asked.nonzero(as_tuple=True)
        for option, values in enumerate(options):
            for part in torch.split(
                torch.arange(len(rows), device=rows.device), search.target.batch_size
            ):
                row, column = rows[part], columns[part]
                shown = _with_pixel(x_adv[row], pixels[row, column], values[row, column])
                logits = _mean_logits(search.target, shown, draws.take(row))
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

    def _offer(self, search: Search, x_adv: Tensor, number: int) -> Tensor:
        """Asks for the images of a round; who stays."""
        logits = _mean_logits(search.target, x_adv, search.draws("eot", 0, 1, number))
        return search.offer(x_adv, logits, margin(logits, search.y))

    def _refuse_arguments(self) -> None:
        if self.change not in CHANGES:
            raise BenchError(
                f"attack {self.name!r}: change is one of {', '.join(CHANGES)}; got {self.change!r}"
            )
        if min(self.rounds, self.d, self.t, self.probes) < 1 or not (
            1 < self.r <= 2 and 0 < self.start <= 1
        ):
            raise BenchError(
                f"attack {self.name!r} needs at least 1 of rounds, d, t and probes, an r in (1, 2] and a start "
                f"in (0, 1]; got {self.arguments()}"
            )


def _with_pixel(x: Tensor, at: Tensor, value: Tensor) -> Tensor:
    """Images `(n, c, h, w)` of which one pixel `(n,)` each has other values `(n, c)`."""
    flat = x.flatten(2).clone()
    flat[torch.arange(len(x), device=x.device), :, at] = value
    return flat.view_as(x)


def _log_odds(logits: Tensor, y: Tensor) -> Tensor:
    """Of the true class against all others, `(n,)`."""
    others = logits.scatter(1, y[:, None], -torch.inf).logsumexp(1)
    return logits.gather(1, y[:, None]).squeeze(1) - others


def _mean_logits(target: Target, x: Tensor, draws: Draws) -> Tensor:
    """Logits `(n, k)` of images `(n, c, h, w)`, averaged over EOT rows."""
    rows = draws.repeat(target.eot)
    logits = target.predict(x.repeat_interleave(target.eot, 0), draws=rows)
    return logits.view(len(x), target.eot, -1).mean(1)
