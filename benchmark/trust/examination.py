"""Examinations: what a purifier does, measured on a few images while it is evaluated, instead of believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmark.containment import contained
from benchmark.defense import Defense, Derivative
from benchmark.errors import BenchError
from benchmark.evaluated import Measurement
from benchmark.randomness import Draws
from benchmark.setting import Setting
from benchmark.trust.checks import MOST, TOLERANCE
from benchmark.trust.subject import Subject, autograd_of, spread
from benchmark.victim import GradientMode, Victim

WIDE_ROWS = 512
"""Rows of the wide batch: as many as a verdict's pass has, since what hangs on the batch may do so in a wide
one alone."""
WIDE_PIXELS = 2**22
"""Pixel values of the wide batch at the most (32 MiB in float64), so that large images do not take all
memory."""
KEPT = 0.5
"""How much less of a perturbation a purifier may leave on evaluation images than on fresh ones, relative to the
latter. Both come from one distribution, so that an honest purifier leaves the same but for which images they
are (the shipped ones differ by 0.13 at the most, on 16 images of digits); one that has learnt by heart leaves
next to nothing."""
KEPT_MIRRORED = 0.99
"""The same where the fresh images are the evaluation images upside down, since there is no training split: an
honest purifier may well do worse on these, but not a hundred times."""
RESTORED = 1e-4
"""The share of a perturbation below which fresh images count as restored, too: then no image tells anything."""
SAME = 1e-6
"""Logits no farther apart than this, relative to the largest, are the same."""
CONSTANT = 0.999
"""The share of different images with the same logits above which the output is constant: all of them."""


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """What is examined.

    Args:
        victim: The defended classifier.
        stages: Its purifiers with what each was prepared with.
        images: The first evaluation images `(b, c, h, w)` in [0, 1], at least two.
        fresh: As many training images; None where there are none.
        seed: Of all draws.
    """

    victim: Victim
    stages: Sequence[tuple[Defense, Setting]]
    images: Tensor
    fresh: Tensor | None
    seed: int

    def subjects(self) -> list[Subject]:
        """Each purifier by itself."""
        return [Subject(defense, at, self.images, self.seed) for defense, at in self.stages]


def examine(exhibit: Exhibit) -> tuple[Measurement, ...]:
    """Measures everything; what a purifier trips over is a measurement without a value.

    Where there are several purifiers, the worst of them is told.
    """
    kinds: dict[str, Callable[[Exhibit], Measurement]] = {
        "gradient": _gradient,
        "memory": _memory,
        "batch": _batch,
        "constant": _constant,
    }
    return tuple(_measured(name, kind, exhibit) for name, kind in kinds.items())


def _measured(name: str, kind: Callable[[Exhibit], Measurement], exhibit: Exhibit) -> Measurement:
    try:
        with contained(f"measuring {name!r}"):
            return kind(exhibit)
    except BenchError as error:
        return Measurement(id=name, value=None, threshold=None, detail=str(error))


def _gradient(exhibit: Exhibit) -> Measurement:
    """The share of points that contradict what is declared, against central differences in float64.

    Declared exact: any point at which autograd is not the derivative; almost everywhere: more than one in ten
    (`MOST`); none: nine in ten at which it is, since then the attacks go without a gradient that there is. A
    gradient of 0 everywhere contradicts at every point.
    """
    found = []
    for subject in exhibit.subjects():
        declared = subject.defense.gradient
        agrees, is_flat = autograd_of(subject.double)
        share = 0.0 if agrees is None or is_flat else agrees
        value = share if declared is Derivative.NONE else 1.0 - share
        threshold = {Derivative.EXACT: 0.0, Derivative.NONE: MOST}.get(
            declared, round(1.0 - MOST, 9)
        )
        detail = (
            f"{subject.defense.name} declares {declared}; autograd is the derivative at {share:.1%} of "
            f"the points"
        )
        found.append(Measurement(id="gradient", value=value, threshold=threshold, detail=detail))
    return _worst("gradient", found)


def _memory(exhibit: Exhibit) -> Measurement:
    """How much less of random noise a purifier leaves on evaluation images than on fresh ones, relatively."""
    is_mirrored = exhibit.fresh is None
    fresh = exhibit.images.flip(-2) if exhibit.fresh is None else exhibit.fresh
    threshold = KEPT_MIRRORED if is_mirrored else KEPT
    kind = "the same upside down" if is_mirrored else "training images"
    found = []
    for subject in exhibit.subjects():
        own = _left(subject, exhibit.images, "own")
        other = _left(subject, fresh, "fresh")
        value = 0.0 if other <= RESTORED else 1.0 - own / other
        detail = (
            f"{subject.defense.name} leaves {own:.1%} of random noise on evaluation images, {other:.1%} on "
            f"{kind} (relative difference)"
        )
        found.append(Measurement(id="memory", value=value, threshold=threshold, detail=detail))
    return _worst("memory", found)


def _left(subject: Subject, images: Tensor, place: str) -> float:
    """The share of random signs of eps, in mean absolute value, that is left on images after purification."""
    x = images.to(subject.setting.device, subject.setting.dtype)
    draws = replace(
        subject.draws.at("memory", place),
        images=torch.arange(len(x), device=x.device),
        rows=torch.zeros(len(x), dtype=torch.int64, device=x.device),
    )
    threat = subject.setting.threat
    shape = tuple(x.shape[1:])
    signs = (2 * draws.at("signs").integers(2, shape) - 1).to(x.dtype)
    x_adv = threat.project(x, x + threat.eps * threat.direction(signs))
    out = subject.purify(x_adv, draws)
    return float((out - x).abs().mean() / (x_adv - x).abs().mean().clamp_min(1e-12))


def _batch(exhibit: Exhibit) -> Measurement:
    """The greatest difference of an image's outputs, in float64, over ways of batching it, a wide one too."""
    found = []
    for subject in exhibit.subjects():
        twin = subject.double
        value = max(spread(twin), _wide_spread(twin))
        detail = f"{subject.defense.name}: a pixel of the same image differs by {value:.3g}"
        found.append(Measurement(id="batch", value=value, threshold=TOLERANCE, detail=detail))
    return _worst("batch", found)


def _wide_spread(twin: Subject) -> float:
    """The greatest difference between the outputs in the images' own batch and in a wide one."""
    x, draws = twin.images, twin.draws
    b = len(x)
    rows = max(2 * b, min(WIDE_ROWS, WIDE_PIXELS // x[0].numel()))
    padding = torch.arange(rows - b, device=x.device)
    wide = replace(
        draws,
        images=torch.cat((draws.images, b + padding)),
        rows=torch.cat((draws.rows, torch.zeros_like(padding))),
    )
    out = twin.purify(torch.cat((x, 1 - x[padding % b])), wide)[:b]
    return float((out - twin.purify()).abs().max())


def _constant(exhibit: Exhibit) -> Measurement:
    """The share of different images that have the logits of the first, at one draw for all."""
    x = exhibit.images
    shown = torch.cat((x, torch.zeros_like(x[:1]), torch.ones_like(x[:1]), 1 - x[:1]))
    images = torch.zeros(len(shown), dtype=torch.int64, device=x.device)
    draws = Draws.of(exhibit.seed, images, "constant")
    with torch.no_grad():
        logits = exhibit.victim.logits(shown, draws=draws, mode=GradientMode.EXACT)
    apart = (logits - logits[:1]).abs().amax(1)
    share = float((apart <= SAME * logits.abs().max()).double().mean())
    detail = f"{share:.1%} of {len(shown)} different images have the same logits"
    return Measurement(id="constant", value=share, threshold=CONSTANT, detail=detail)


def _worst(name: str, found: Sequence[Measurement]) -> Measurement:
    """The one farthest above its threshold; without any purifier nothing can be wrong."""
    if not found:
        return Measurement(id=name, value=0.0, threshold=0.0, detail="there is no purifier")
    return max(found, key=lambda each: (each.value or 0.0) - (each.threshold or 0.0))
