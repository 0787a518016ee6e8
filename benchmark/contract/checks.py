"""The contract of a defense as runnable checks: what `bench check DEFENSE` runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmark.compute.sandbox import generators_kept, one_line, seed_all
from benchmark.contract.batch_layouts import spread
from benchmark.contract.probe import (
    Subject,
    differentiated,
    generator_states,
    rebuilt,
)
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.setting import Setting
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError

TOLERANCE = 1e-9
"""How far two float64 outputs for one image may lie apart when only its batch differs."""
MOST = 0.9
"""The share of points at which a gradient that is declared "almost everywhere" must agree."""


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What one check found: its name, whether it passed, and one line with what was measured."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's answer, before it is given the check's name."""

    passed: bool
    detail: str


Check = Callable[[Subject], Finding]


def run_checks(
    defense: Defense, setting: Setting, images: Tensor, *, seed: int = 0
) -> list[CheckOutcome]:
    """Runs every check; what a check trips over is its outcome, so that all of them are heard.

    Args:
        defense: Prepared with `setting`.
        setting: In float32, with a classifier.
        images: `(b, c, h, w)` in [0, 1]; a handful is enough.
        seed: Of all draws.

    Raises:
        BenchError: There are fewer than two images, or no classifier.
    """
    setting.defended()
    if len(images) < 2:
        raise BenchError(f"a check needs at least 2 images to compare; got {len(images)}")
    subject = Subject(defense, setting, images, seed)
    return [outcome_of(check.__name__, partial(check, subject)) for check in CHECKS]


def outcome_of(name: str, find: Callable[[], Finding]) -> CheckOutcome:
    """What a check finds under its name; whatever it trips over is what it found."""
    try:
        finding = find()
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a plugin's failure is the outcome)
        finding = Finding(False, one_line(error))
    return CheckOutcome(name, finding.passed, finding.detail)


def returns_images(subject: Subject) -> Finding:
    """Shape, dtype, range, no NaN: on the images, on black, white and noise, and on a single one."""
    x = subject.images
    noise = subject.draws.at("uniform").uniform(tuple(x.shape[1:]), dtype=x.dtype)
    outs = [subject.purify(each) for each in (x, torch.zeros_like(x), torch.ones_like(x), noise)]
    outs.append(subject.purify(x[:1], subject.draws.take(torch.tensor([0]))))
    low, high = min(float(o.min()) for o in outs), max(float(o.max()) for o in outs)
    return Finding(True, f"{x.dtype}, {tuple(x.shape[1:])}, values from {low:.3g} to {high:.3g}")


def leaves_its_input(subject: Subject) -> Finding:
    """The images that it is shown are, bit for bit, what they were."""
    x = subject.images.clone()
    subject.purify(x)
    worst = float((x - subject.images).abs().max())
    return Finding(torch.equal(x, subject.images), f"input changed by {worst:.3g}")


def repeats_itself(subject: Subject) -> Finding:
    """The same draws give the same output, bit for bit, also after other images and other draws."""
    first = subject.purify()
    subject.purify(1 - subject.images, subject.other)
    worst = float((subject.purify() - first).abs().max())
    return Finding(worst == 0, f"same draws, outputs differ by {worst:.3g}")


def tells_whether_it_is_stochastic(subject: Subject) -> Finding:
    """Other draws change the output exactly where the class says that they may."""
    change = (subject.purify(draws=subject.other) - subject.purify()).abs().flatten(1)
    share, declared = float((change.amax(1) > 0).double().mean()), subject.defense.stochastic
    return Finding(
        (share > 0) == declared,
        f"declared {'stochastic' if declared else 'deterministic'}; other draws change {share:.0%} of the "
        f"images, a pixel by {float(change.mean()):.3g} on average",
    )


def has_the_gradient_it_declares(subject: Subject) -> Finding:
    """Autograd against central differences, in float64, at frozen draws and points off the clamps."""
    declared = subject.defense.gradient
    slope = subject.finest.autograd()
    if not slope.reaches:
        passed = declared is Derivative.NONE
        return Finding(passed, f"declared {declared}; autograd reaches the input at no point")
    detail = f"declared {declared}; autograd is the derivative at {slope.agrees:.1%} of the points"
    if declared is Derivative.NONE:
        return Finding(slope.is_flat or slope.agrees < MOST, detail)
    if slope.is_flat:
        return Finding(False, f"declared {declared}, but it is 0 everywhere: declare none")
    is_exact = declared is Derivative.EXACT and not slope.is_coarse
    return Finding(slope.agrees >= (1.0 if is_exact else MOST), detail)


def is_checkpointable(subject: Subject) -> Finding:
    """Computing the forward pass again for the backward pass leads to the same gradient."""
    twin = subject.double
    victims = [twin.victim(is_checkpointed=each) for each in (False, True)]
    asked = [partial(each.purify, draws=twin.draws, mode=GradientMode.EXACT) for each in victims]
    plain, again = (differentiated(each, twin.images)[1] for each in asked)
    if plain is None or again is None:
        return Finding(plain is again, "there is no gradient to compare")
    worst = float((plain - again).abs().max())
    return Finding(worst <= TOLERANCE, f"gradients differ by {worst:.3g}")


def has_a_surrogate_with_a_gradient(subject: Subject) -> Finding:
    """BPDA puts out what the purifier does, with a gradient that is finite and not zero."""
    surrogate = partial(subject.victim().purify, draws=subject.draws, mode=GradientMode.BPDA)
    out, gradient = differentiated(surrogate, subject.images)
    if gradient is None:
        return Finding(False, "the surrogate's output has no gradient")
    gap = float((out - subject.purify()).abs().max())
    passed = bool(gradient.isfinite().all() and gradient.any()) and gap == 0
    return Finding(
        passed, f"mean |gradient| {float(gradient.abs().mean()):.3g}; output differs by {gap:.3g}"
    )


def treats_each_image_alone(subject: Subject) -> Finding:
    """An image comes out the same alone, permuted, padded, repeated, and where its gradient is wanted."""
    apart, where = spread(subject.double)
    worst, rounding = (float(each.max()) for each in (apart, spread(subject)[0]))
    return Finding(
        worst <= TOLERANCE,
        f"outputs differ by {worst:.3g} in float64{f' {where}' if worst else ''}, by {rounding:.3g} in "
        f"{subject.images.dtype}",
    )


def ignores_train_mode(subject: Subject) -> Finding:
    """`.train()` on the victim changes no logit: attack libraries switch modes."""
    victim = subject.defense.wrap(subject.victim())
    with torch.no_grad():
        shown = [
            victim.train(mode).logits(subject.images, draws=subject.draws, mode=GradientMode.EXACT)
            for mode in (False, True, False)
        ]
    worst = max(float((each - shown[0]).abs().max()) for each in shown)
    return Finding(worst == 0, f"logits differ by {worst:.3g}")


def uses_no_global_generator(subject: Subject) -> Finding:
    """It neither moves nor hears the global generators of torch, numpy and Python."""
    return of_global_generators(subject.purify)


def of_global_generators(make: Callable[[], Tensor]) -> Finding:
    """Whether what makes images leaves the global generators alone, and makes the same at every seed."""
    outs = []
    with generators_kept():
        for seed in (1, 2):
            seed_all(seed)
            before = generator_states()
            outs.append(make())
            if generator_states() != before:
                return Finding(False, "it draws from, or seeds, a global generator; use draws")
    worst = float((outs[0] - outs[1]).abs().max())
    return Finding(worst == 0, f"states untouched; seeding them changes outputs by {worst:.3g}")


def has_an_auxiliary_loss(subject: Subject) -> Finding:
    """One finite number an image, the same in any batch, whose gradient reaches the input."""
    twin = subject.double
    auxiliary = partial(twin.victim().auxiliary_loss, mode=GradientMode.EXACT)
    loss, gradient = differentiated(partial(auxiliary, draws=twin.draws), twin.images)
    if loss.shape != (len(twin.images),) or not bool(loss.isfinite().all()):
        return Finding(
            False, f"expected {len(twin.images)} finite numbers, got {tuple(loss.shape)}: {loss}"
        )
    if gradient is None:
        return Finding(False, "its gradient does not reach the input")
    one = torch.tensor([len(loss) - 1])
    alone = auxiliary(twin.images[one], draws=twin.draws.take(one))
    worst = float((alone - loss[one]).detach().abs().max())
    passed = bool(gradient.isfinite().all()) and worst <= TOLERANCE
    size = float(gradient.abs().sum((1, 2, 3)).mean())
    return Finding(
        passed,
        f"mean {float(loss.mean()):.3g}, |gradient|_1 {size:.3g}, alone {worst:.3g} apart",
    )


def is_its_arguments(subject: Subject) -> Finding:
    """Rebuilt from its arguments, it is the same defense; they can be written into a job's key."""
    arguments = subject.defense.arguments()
    twin = rebuilt(subject.defense, subject.setting)
    text = json.dumps(arguments, allow_nan=False)
    if twin.arguments() != arguments:
        return Finding(False, f"rebuilt from {text}, it says {twin.arguments()}")
    again = Subject(twin, subject.setting, subject.images, subject.draws.seed).purify()
    worst = float((again - subject.purify()).abs().max())
    return Finding(worst == 0, f"{text}; rebuilt, outputs differ by {worst:.3g}")


def works_with_and_without_gradients(subject: Subject) -> Finding:
    """A caller under `no_grad` gets the values that a caller with gradients gets, without a graph."""
    x = subject.images.clone().requires_grad_()
    with torch.enable_grad():
        graph = subject.victim().purify(x, draws=subject.draws, mode=GradientMode.EXACT)
    out = subject.purify(x)
    worst = float((graph.detach() - out).abs().max())
    return Finding(not out.requires_grad and worst <= 1e-6, f"outputs differ by {worst:.3g}")


CHECKS: tuple[Check, ...] = (
    returns_images,
    leaves_its_input,
    repeats_itself,
    tells_whether_it_is_stochastic,
    has_the_gradient_it_declares,
    is_checkpointable,
    has_a_surrogate_with_a_gradient,
    treats_each_image_alone,
    ignores_train_mode,
    uses_no_global_generator,
    has_an_auxiliary_loss,
    is_its_arguments,
    works_with_and_without_gradients,
)
