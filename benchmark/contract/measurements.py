"""Examinations: what a purifier does, measured on a few images while it is evaluated, instead of believed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial

import torch
from torch import Tensor

from benchmark.compute.sandbox import sandboxed
from benchmark.contract.ask import MOVED
from benchmark.contract.batch_layouts import spread
from benchmark.contract.checks import MOST, TOLERANCE
from benchmark.contract.gradients import measured
from benchmark.contract.probe import NOBODYS, Subject, ball_of
from benchmark.contract.sample import Sample
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.acceptance import ROUNDED
from benchmark.engine.victims.defense import Derivative, weakest_gradient
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError
from benchmark.records.gradients import MeasuredGradients
from benchmark.records.protocol_rows import BEST
from benchmark.records.run import DefenseMeasurement

KEPT = 0.5
"""How much less of a perturbation a purifier may leave on evaluation images than on fresh ones, relative to the
latter. Both come from one distribution, so that an honest purifier leaves the same but for which images they
are (the shipped ones differ by 0.13 at the most, on 16 images of digits); one that has learnt by heart leaves
next to nothing."""
KEPT_MIRRORED = 0.99
"""The same where the fresh images are the evaluation images upside down, since there is no training split: an
honest purifier may well do worse on these, but not a hundred times."""
SHIFTED = 0.7
"""The same where the fresh images are the evaluation images shifted by a pixel, to the side that is
cleaned best: the shipped purifiers leave between 0.30 more and 0.39 less on digits, where a pixel is an eighth
of an image; one that knows its images gives all of them back, and no shifted one."""
STRAIGHT = 0.98
"""The cosine between what a purifier changes of a shifted image and the way from there to an evaluation image,
above which it went to that image: 1 for one that knows the images, however little of the way it goes; no higher
than 0.90 for the shipped ones, on digits, where a way has only 64 pixels."""
RESTORED = 1e-4
"""The share of a perturbation below which fresh images count as restored, too: then no image tells anything."""
UNMOVED = 1e-6
"""A change of an image no longer than this, in the l2 norm, is none."""
ALLOWED = round(1.0 - MOST, 9)
"""The share of points at which a gradient may contradict, where it is declared almost everywhere."""
SAME = 1e-6
"""Logits no farther apart than this, relative to the largest, are the same."""
CONSTANT = 0.999
"""The share of different images with the same logits above which the output is constant: all of them."""

MISLED = 0.06
"""How much more of the answers a recovered gradient may tell than those that attacks follow, as cosines: 0.028
at the most for the shipped purifiers (AID, five seeds; 0 for the others), on digits; 0.16 to 0.5 where `detach`
and the like hide a denoiser behind the identity."""

Found = tuple[float, float, str]
"""What was measured of a purifier or of the victim, its threshold, and what an entry says of it."""


def examine(sample: Sample) -> tuple[DefenseMeasurement, ...]:
    """Measures everything; what a purifier trips over is a measurement without a value.

    Where there are several purifiers, the worst of them is told.
    """
    gradients = cache(lambda: sample.gradients or measured(sample))
    kinds: dict[str, Callable[[Sample], Iterable[Found]]] = {
        "gradient": _gradient,
        "slope": partial(_slope, gradients=gradients),
        "surrogate": partial(_surrogate, gradients=gradients),
        "memory": _memory,
        "shifted": _shifted,
        "nearest": _nearest,
        "batch": _batch,
        "constant": _constant,
    }
    return tuple(_measured(name, kind, sample) for name, kind in kinds.items())


def _measured(
    name: str, kind: Callable[[Sample], Iterable[Found]], sample: Sample
) -> DefenseMeasurement:
    try:
        with sandboxed(f"measuring {name!r}"):
            found = list(kind(sample))
    except BenchError as error:
        return DefenseMeasurement(id=name, value=None, threshold=None, detail=str(error))
    value, threshold, detail = max(
        found, key=lambda each: each[0] - each[1], default=(0.0, 0.0, "there is no purifier")
    )
    return DefenseMeasurement(id=name, value=value, threshold=threshold, detail=detail)


def _gradient(sample: Sample) -> Iterator[Found]:
    """The share of points that contradict what is declared, against central differences in float64.

    Declared exact: any point at which autograd is not the derivative; almost everywhere: more than one in ten
    (`MOST`); none: nine in ten at which it is, since then the attacks go without a gradient that there is. A
    gradient of 0 everywhere contradicts at every point.
    """
    for subject in sample.subjects():
        declared = subject.defense.gradient
        slope = subject.finest.autograd()
        share = 0.0 if slope.is_flat else slope.agrees
        threshold = {Derivative.EXACT: 0.0, Derivative.NONE: MOST}.get(declared, ALLOWED)
        if declared is Derivative.EXACT and slope.is_coarse:
            threshold = ALLOWED
        coarsely = ", told coarsely: it computes in less than float64" if slope.is_coarse else ""
        yield (
            share if declared is Derivative.NONE else 1.0 - share,
            threshold,
            f"{subject.defense.name} declares {declared}; autograd is the derivative at {share:.1%} of "
            f"the points{coarsely}",
        )


def _slope(sample: Sample, gradients: Callable[[], MeasuredGradients]) -> Iterator[Found]:
    """The share of points at which the logits of the whole victim, as wrapped, have another derivative.

    Kinks of the classifier are nobody's declaration: one point in ten may differ. Where a purifier declares no
    gradient the attacks do without, and there is nothing to be held to.
    """
    declared = [defense.gradient for defense, _ in sample.stages]
    if Derivative.NONE in declared:
        yield 0.0, ALLOWED, "a purifier declares no gradient: none is followed"
        return
    exact = gradients().modes[0]
    share = exact.slopes or 0.0
    said = f"autograd is the derivative of the victim's logits at {share:.1%} of the points"
    yield 1.0 - share, ALLOWED, f"{said}: {exact.error}" if exact.error else said


def _surrogate(sample: Sample, gradients: Callable[[], MeasuredGradients]) -> Iterator[Found]:
    """How much better a recovered gradient tells the victim's answers than those that attacks follow."""
    if not sample.stages:
        return
    found = {each.mode: each.cosine for each in gradients().modes}
    declared = weakest_gradient(defense for defense, _ in sample.stages)
    used = [mode for mode in found if mode in (sample.followed or BEST[declared])]
    more = found["recovered"] - max(found[mode] for mode in used)
    said = ", ".join(f"{mode} {cosine:.2f}" for mode, cosine in found.items())
    said = f"cosine of gradients to what the victim answers: {said}; followed: {', '.join(used)}"
    yield max(0.0, more), MISLED, said


def _memory(sample: Sample) -> Iterator[Found]:
    """How much less of random noise a purifier leaves on evaluation images than on fresh ones, relatively."""
    if sample.fresh is None:
        return _kept(sample, [sample.images.flip(-2)], KEPT_MIRRORED, "the same upside down")
    return _kept(sample, [sample.fresh], KEPT, "training images")


def _shifted(sample: Sample) -> Iterator[Found]:
    """The same, against the evaluation images shifted by a pixel: also where all of a dataset is restored."""
    return _kept(sample, shifts(sample.images), SHIFTED, "the same shifted by a pixel")


def shifts(images: Tensor) -> list[Tensor]:
    """Images `(b, c, h, w)` shifted by a pixel to each of four sides, what leaves coming in again."""
    sides = ((0, 1), (0, -1), (1, 0), (-1, 0))
    return [images.roll(side, (-2, -1)) for side in sides]


def _kept(sample: Sample, others: Sequence[Tensor], threshold: float, kind: str) -> Iterator[Found]:
    """How much less noise is left on evaluation images than on those of the others that are cleaned best."""
    for subject in sample.subjects():
        own = _left(subject, sample.images, "own")
        other = min(_left(subject, each, "fresh") for each in others)
        yield (
            0.0 if other <= RESTORED else 1.0 - own / other,
            threshold,
            f"{subject.defense.name} leaves {own:.1%} of random noise on evaluation images, {other:.1%} on "
            f"{kind} (relative difference)",
        )


def _nearest(sample: Sample) -> Iterator[Found]:
    """How straight a purifier moves evaluation images that were shifted by a pixel to some evaluation image.

    The cosine between what it changes and the way to that image, the greatest of all. It sees one that mixes an
    image it knows into its output, and one that knows every image of a dataset.
    """
    for subject in sample.subjects():
        shown = torch.cat(shifts(sample.images)).to(subject.images)
        at = Subject(subject.defense, subject.setting, shown, sample.seed)
        straight = _straightness(shown, at.purify() - shown, sample.known())
        yield (
            straight,
            STRAIGHT,
            f"{subject.defense.name} moves shifted images to evaluation images with a cosine of "
            f"{straight:.3f} at the most",
        )


def _straightness(x: Tensor, change: Tensor, known: Iterable[Tensor]) -> float:
    """The greatest cosine between changes of images `(b, c, h, w)` and the ways to known ones; at least 0."""
    start, step = x.flatten(1).double(), change.flatten(1).double()
    length, most = step.norm(dim=1), 0.0
    if not bool((length > UNMOVED).any()):
        return 0.0
    start, step, length = (each[length > UNMOVED] for each in (start, step, length))
    for some in known:
        ends = some.flatten(1).to(start)
        along = step @ ends.T - (step * start).sum(1, keepdim=True)  # (b, n)
        way = torch.cdist(start, ends).clamp_min(UNMOVED)
        most = max(most, float((along / (way * length[:, None])).max()))
    return min(1.0, most)


def _left(subject: Subject, images: Tensor, place: str) -> float:
    """The share of random signs of eps, in mean absolute value, that is left on images after purification."""
    x = images.to(subject.setting.device, subject.setting.dtype)
    nobodys = NOBODYS + torch.arange(len(x), device=x.device)
    draws = Draws.of(subject.draws.seed, nobodys, *subject.draws.path, "memory", place)
    threat = ball_of(subject.setting.threat)
    shape = tuple(x.shape[1:])
    signs = (2 * draws.at("signs").integers(2, shape) - 1).to(x.dtype)
    x_adv = threat.project(x, x + threat.eps * threat.direction(signs))
    out = subject.purify(x_adv, draws)
    return float((out - x).abs().mean() / (x_adv - x).abs().mean().clamp_min(1e-12))


def _batch(sample: Sample) -> Iterator[Found]:
    """The greatest difference of an image's outputs over ways of asking for it, in float64.

    Where that is not to be had, the share of images that move by more than `ROUNDED`, of which some may: steps
    by the sign of a gradient make much of rounding.
    """
    for subject in sample.subjects():
        (apart, where), name = spread(subject.finest), subject.defense.name
        most, share = float(apart.max()), float((apart > ROUNDED).double().mean())
        if subject.finest.images.dtype == torch.float64:
            way = f" {where}" if most else ""
            yield most, TOLERANCE, f"{name}: a pixel of the same image differs by {most:.3g}{way}"
        else:
            yield share, MOVED, f"{name}: in float32, {share:.1%} of the images differ"


def _constant(sample: Sample) -> Iterator[Found]:
    """The share of different images that have the logits of the first, at one draw for all."""
    x = sample.images
    shown = torch.cat((x, torch.zeros_like(x[:1]), torch.ones_like(x[:1]), 1 - x[:1]))
    images = torch.zeros(len(shown), dtype=torch.int64, device=x.device)
    draws = Draws.of(sample.seed, images, "constant")
    with torch.no_grad():
        logits = sample.victim.logits(shown, draws=draws, mode=GradientMode.EXACT)
    apart = (logits - logits[:1]).abs().amax(1)
    share = float((apart <= SAME * logits.abs().max()).double().mean())
    said = f"{share:.1%} of {len(shown)} different images have the same logits"
    yield share, CONSTANT, said
