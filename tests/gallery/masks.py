"""Masks: ways of writing down one denoiser (HGD's, on digits) so that attacks see less of it than there is."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.checkpointed import iterated
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.setting import Setting
from defenses.hgd.hgd import HGD

WEIGHTS = "weights/hgd[digits]--digits-cnn--digits.safetensors"


class Mask(Defense):
    """One of the gallery; `open` is the same without the mask, for an attack by hand."""

    stochastic: ClassVar[bool] = False
    gradient: ClassVar[Derivative] = Derivative.NONE

    def prepare(self, setting: Setting) -> None:
        """Loads the shipped denoiser."""
        self._core = HGD()
        self._core.prepare(replace(setting, weights=files("defenses.hgd") / WEIGHTS))

    def core(self, x: Tensor) -> Tensor:
        """The denoiser, differentiable."""
        return self._core.purify(x, draws=Draws.of(0, torch.arange(len(x))))

    def hidden(self, x: Tensor) -> Tensor:
        """What the mask makes of images, without noise."""
        return self.core(x.detach())

    def opened(self, x: Tensor) -> Tensor:
        """The same with its gradient."""
        return self.core(x)

    def noise(self, x: Tensor, draws: Draws) -> Tensor:
        """What is drawn beforehand; nothing where it is deterministic."""
        return x

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Noise, then the mask."""
        return self.hidden(self.noise(x, draws))

    def open(self, x: Tensor, *, draws: Draws) -> Tensor:
        """Noise, then what is behind the mask."""
        return self.opened(self.noise(x, draws))


class Opened(Defense):
    """A mask without its mask."""

    name = "opened"
    stochastic = False
    gradient = Derivative.EXACT

    def __init__(self, *, mask: Mask) -> None:
        self.mask = mask
        self.stochastic = mask.stochastic  # type: ignore[misc]

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        return self.mask.open(x, draws=draws)


def _of(
    name: str,
    hidden: Callable[..., Tensor],
    opened: Callable[..., Tensor] | None = None,
    **fields: Any,
) -> type[Mask]:
    body = {"name": name, "hidden": hidden, **({"opened": opened} if opened else {}), **fields}
    return type(f"Mask_{name.replace('-', '_')}", (Mask,), body)


def _noisy(self: Mask, x: Tensor, draws: Draws) -> Tensor:
    return (x + 0.05 * draws.at("noise").normal(tuple(x.shape[1:]), dtype=x.dtype)).clamp(0, 1)


def _hash_noise(self: Mask, x: Tensor, draws: Draws) -> Tensor:
    """Noise that looks fixed and is another one for each image, however near."""
    rows = [
        np.frombuffer(hashlib.sha256(image.detach().numpy().tobytes()).digest(), np.uint32)
        for image in x
    ]
    seeds = [int(row[0]) for row in rows]
    found = [
        torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds
    ]
    return (x + 0.05 * torch.stack(found).to(x.dtype)).clamp(0, 1)


def _no_grad(self: Mask, x: Tensor) -> Tensor:
    with torch.no_grad():
        return self.core(x)


def _inference(self: Mask, x: Tensor) -> Tensor:
    with torch.inference_mode():
        y = self.core(x)
    return y.clone()


class _Zero(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, core: Callable[[Tensor], Tensor]) -> Tensor:
        return core(x)

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[Tensor, None]:
        return torch.zeros_like(g[0]), None


class _Negative(_Zero):
    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[Tensor, None]:
        return -g[0], None


def _thread(self: Mask, x: Tensor) -> Tensor:
    found: list[Tensor] = []
    worker = threading.Thread(target=lambda: found.append(self.core(x.detach() * 1.0).detach()))
    worker.start()
    worker.join()
    return found[0]


def _numpy_median(x: Tensor) -> Tensor:
    """A 3 x 3 median by numpy."""
    padded = np.pad(x.detach().numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return torch.from_numpy(np.median(windows, axis=(-2, -1)).astype(np.float32)).to(x.dtype)


def _median(x: Tensor) -> Tensor:
    windows = F.pad(x, (1, 1, 1, 1), mode="replicate").unfold(2, 3, 1).unfold(3, 3, 1)
    return windows.flatten(-2).median(-1).values


def _bytes(self: Mask, x: Tensor) -> Tensor:
    return self.core((x * 255).round().to(torch.uint8).to(x.dtype) / 255)


def _levels(self: Mask, x: Tensor) -> Tensor:
    return self.core((x * 7).round() / 7)


def _buckets(self: Mask, x: Tensor) -> Tensor:
    edges = torch.linspace(0, 1, 17)[1:-1].to(x.dtype)
    return self.core(torch.bucketize(x.detach(), edges).to(x.dtype) / 15)


def _look_up(self: Mask, x: Tensor) -> Tensor:
    table = torch.linspace(0, 1, 256).to(x.dtype) ** 1.2
    return self.core(table[(x * 255).long()])


def _codes(self: Mask, x: Tensor) -> Tensor:
    """Each pixel its nearest of nine greys, by argmin."""
    codes = torch.linspace(0, 1, 9).to(x.dtype)
    return self.core(codes[(x.detach()[..., None] - codes).abs().argmin(-1)])


def _cancelled(self: Mask, x: Tensor) -> Tensor:
    """Digits lost in float32: about a sixteenth of the range."""
    return self.core((x.float() + 1e6 - 1e6).clamp(0, 1).to(x.dtype))


def _steep(self: Mask, x: Tensor) -> Tensor:
    """Black and white by a step so steep that its slope is zero nearly everywhere."""
    return self.core(torch.sigmoid(1e3 * (x - 0.5)))


def _shut(self: Mask, x: Tensor) -> Tensor:
    return self.core(((x - 0.5) * 1e4).clamp(0, 1))


def _detached_steps(self: Mask, x: Tensor) -> Tensor:
    return iterated(lambda y, k: (y + 0.5 * (self.core(y.detach()) - y)).detach(), x, 3)


def _steps(self: Mask, x: Tensor) -> Tensor:
    for _ in range(3):
        x = x + 0.5 * (self.core(x) - x)
    return x


def _script(self: Mask, x: Tensor) -> Tensor:
    return self.core(torch.jit.trace(lambda y: y.detach() * 1.0, x, check_trace=False)(x))


def _tiny(self: Mask, x: Tensor) -> Tensor:
    """A gradient of 1e-40, which float32 has no digits for."""
    return self.core(x.detach()) + 1e-40 * (x - x.detach())


def _straight(self: Mask, x: Tensor) -> Tensor:
    """The author's own straight-through, of a denoiser."""
    return x + (self.core(x) - x).detach()


def _by_mode(self: Mask, x: Tensor) -> Tensor:
    """Another purifier where somebody wants a gradient."""
    return self.core(x.flip(-1)) if x.requires_grad else self.core(x)


def _global_noise(self: Mask, x: Tensor) -> Tensor:
    return self.core((x + 0.05 * torch.randn_like(x)).clamp(0, 1).detach())


def _crowd(self: Mask, x: Tensor) -> Tensor:
    """Brightness by the mean of the batch."""
    return self.core((x - x.mean() + 0.3).clamp(0, 1).detach())


def _runs(self: Mask, x: Tensor) -> Tensor:
    """Turned round where the same image stands twice in a run, as in attacks by EOT."""
    same = torch.zeros(len(x), dtype=torch.bool)
    same[1:] = ((x[1:] - x[:-1]).abs().flatten(1).amax(1) < 1e-3) & (len(x) > 2)
    return torch.where(same.view(-1, 1, 1, 1), self.core(x.flip(-1)), self.core(x)).detach()


class _Backwards(Mask):
    """A surrogate that is turned round."""

    name = "turned-surrogate"

    def surrogate(self, x: Tensor, *, draws: Draws) -> Tensor:
        return x.flip(-1)


class _Indexed(Mask):
    """Looks up which image asks."""

    name = "reads-index"

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        return self.core(x.detach()) if bool((draws.images >= 0).all()) else x


class _Role(Mask):
    """Is another one when it is judged."""

    name = "reads-role"

    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:
        return self.core(x.detach()) if "score" in draws.path else x


class _Drifts(Mask):
    """Counts its calls, and drifts."""

    name = "counts-calls"
    calls = 0

    def hidden(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.core((x + 1e-4 * (self.calls % 7)).clamp(0, 1).detach())


def _flips(self: Mask, x: Tensor, draws: Draws) -> Tensor:
    """Shifted by a pixel to a side that is drawn."""
    side = draws.at("side").integers(3) - 1
    return torch.stack([image.roll(int(s), -1) for image, s in zip(x, side, strict=True)])


def _masked(self: Mask, x: Tensor, draws: Draws) -> Tensor:
    """A tenth of the pixels become grey."""
    hole = draws.at("hole").uniform(tuple(x.shape[1:])) < 0.1
    return torch.where(hole, torch.full_like(x, 0.5), x)


def _zero(kind: type[_Zero]) -> Callable[[Mask, Tensor], Tensor]:
    return lambda self, x: kind.apply(x, self.core)


def _behind(step: Callable[[Tensor], Tensor]) -> Callable[[Mask, Tensor], Tensor]:
    """What an attack by hand follows: the denoiser, straight through a step before it."""
    return lambda self, x: self.core(x + (step(x) - x).detach())


_RANDOM: dict[str, Any] = {"stochastic": True, "noise": _noisy}
_STEP = {
    "bytes": lambda x: (x * 255).round() / 255,
    "levels": lambda x: (x * 7).round() / 7,
    "buckets": lambda x: (
        torch.bucketize(x.detach(), torch.linspace(0, 1, 17)[1:-1].to(x.dtype)).to(x.dtype) / 15
    ),
    "codes": lambda x: (x * 8).round() / 8,
    "cancelled": lambda x: (x.float() + 1e6 - 1e6).clamp(0, 1).to(x.dtype),
    "steep": lambda x: torch.sigmoid(1e3 * (x - 0.5)),
    "shut": lambda x: ((x - 0.5) * 1e4).clamp(0, 1),
}
_EXACT = {"gradient": Derivative.EXACT}
_ALMOST = {"gradient": Derivative.ALMOST_EVERYWHERE}

MASKS: dict[str, type[Mask]] = {
    mask.name: mask
    for mask in (
        _of("noise-then-detached", Mask.hidden, **_RANDOM),
        _of("detached", Mask.hidden),
        _of("no-grad", _no_grad),
        _of("noise-then-no-grad", _no_grad, **_RANDOM),
        _of("inference-mode", _inference),
        _of("data", lambda self, x: self.core(x.data)),
        _of("traced", _script),
        _of("thread", _thread),
        _of("numpy-median", lambda self, x: _numpy_median(x), lambda self, x: _median(x)),
        _of(
            "denoised-numpy-median",
            lambda self, x: self.core(_numpy_median(x)),
            lambda self, x: self.core(_median(x)),
        ),
        _of("bytes", _bytes, _behind(_STEP["bytes"])),
        _of("levels", _levels, _behind(_STEP["levels"])),
        _of("buckets", _buckets, _behind(_STEP["buckets"])),
        _of("look-up", _look_up, lambda self, x: self.core(x.clamp_min(1e-6) ** 1.2)),
        _of("codes", _codes, _behind(_STEP["codes"])),
        _of("cancelled", _cancelled, _behind(_STEP["cancelled"]), **_EXACT),
        _of("steep", _steep, _behind(_STEP["steep"]), **_ALMOST),
        _of("shut", _shut, _behind(_STEP["shut"]), **_ALMOST),
        _of("detached-steps", _detached_steps, _steps),
        _of("zero-backward", _zero(_Zero), **_EXACT),
        _of("negative-backward", _zero(_Negative), **_ALMOST),
        _of("vanishing-gradient", _tiny, **_ALMOST),
        _of("own-straight-through", _straight, **_ALMOST),
        _of("shifted-then-detached", Mask.hidden, stochastic=True, noise=_flips),
        _of("holes-then-detached", Mask.hidden, stochastic=True, noise=_masked),
        _of("hash-noise", Mask.hidden, noise=_hash_noise),
        _of("by-gradient-mode", _by_mode, **_ALMOST),
        _of("global-noise", _global_noise),
        _of("batch-mean", _crowd),
        _of("runs", _runs, stochastic=True, noise=_noisy),
        _Backwards,
        _Indexed,
        _Role,
        _Drifts,
    )
}
"""Innocent ones first."""
