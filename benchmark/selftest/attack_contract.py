"""The contract of an attack as runnable checks: what `bench check ATTACK` runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmark.compute.determinism import choose_device, fix_numerics
from benchmark.compute.object_state import belongings, differing
from benchmark.compute.sandbox import generators_kept, sandboxed, settings_kept
from benchmark.contract.checks import CheckOutcome, Finding, of_global_generators, outcome_of
from benchmark.contract.probe import generator_states
from benchmark.engine.arguments import refuse_arguments
from benchmark.engine.attacking.target import Target
from benchmark.engine.threat import EXAMPLES, Threat
from benchmark.engine.victims.purified import Purified
from benchmark.errors import BenchError, ContractBroken
from benchmark.plugins import ATTACKS
from benchmark.selftest.attack_probe import IMAGES, SIDE, AttackSubject
from benchmark.selftest.toy_victims import Counting, small_network

TOLERANCE = 1e-6
"""How far two images may lie apart when only the batch differs: all is computed in float64."""


def returns_images_in_its_budget(subject: AttackSubject) -> Finding:
    """Shape, range, budget, no NaN: on the images, on black, on white, on one alone, where all are wrong."""
    said = []
    for threat in subject.threats:
        x_adv, _ = subject.whole(threat, is_random=False)
        for x in (torch.zeros_like(subject.x), torch.ones_like(subject.x)):
            subject.made(threat, x=x)
        subject.made(threat, which=torch.tensor([0], device=subject.x.device))
        target, wrong = subject.target(subject.x), (subject.y + 1) % subject.classifier.classes
        subject.attack(target, subject.x, wrong, threat=threat, draws=subject.draws)
        used = ""
        if threat.is_read_off:
            sizes = threat.size(subject.x.repeat_interleave(x_adv.shape[1], 0), x_adv.flatten(0, 1))
            used = f", {float(sizes.max()) / threat.eps:.0%} of the budget"
        said.append(f"{threat}: {x_adv.shape[1]} for each{used}")
    return Finding(True, "; ".join(said))


def works_on_a_random_victim(subject: AttackSubject) -> Finding:
    """It attacks behind Gaussian noise with EOT, or refuses that in one line."""
    counts: list[str] = []
    for threat in subject.threats:
        said = _refusal(partial(subject.whole, threat, is_random=True))
        if said:
            return Finding("\n" not in said, f"refused: {said}")
        counts.append(str(subject.whole(threat, is_random=True)[0].shape[1]))
    return Finding(True, f"{', '.join(counts)} candidates an image")


def leaves_its_input(subject: AttackSubject) -> Finding:
    """Images, labels, sources and the attacker's own images are, bit for bit, what they were."""
    for threat in subject.threats:
        x, y, target = subject.x.clone(), subject.y.clone(), subject.target(subject.x)
        given = {"images": x, "labels": y, "sources": target.sources, "seeds": target.seeds}
        before = belongings(given)
        subject.attack(target, x, y, threat=threat, draws=subject.draws)
        changed = differing(before, belongings(given))
        if changed:
            return Finding(
                False, f"under {threat} it changes its {', '.join(changed)}; start from x.clone()"
            )
    return Finding(True, "images, labels, sources and seeds are what they were")


def repeats_itself(subject: AttackSubject) -> Finding:
    """The same draws give the same images, bit for bit, also after other draws."""
    for threat, is_random in subject.situations:
        first, _ = subject.whole(threat, is_random=is_random)
        subject.made(threat, draws=subject.other, is_random=is_random)
        gap = _apart(subject.made(threat, is_random=is_random), first)
        if gap:
            return Finding(
                False, f"under {threat} the same draws give images that differ by {gap:.3g}"
            )
    return Finding(True, "the same draws, the same images")


def treats_each_image_alone(subject: AttackSubject) -> Finding:
    """Where it says so (`per_image`), an image comes out the same alone, in any order and in smaller passes."""
    if not subject.attack.per_image:
        return Finding(True, "declared: the batch is part of its result (per_image = False)")
    every, worst = torch.arange(IMAGES, device=subject.x.device), 0.0
    for threat, is_random in subject.situations:
        whole, _ = subject.whole(threat, is_random=is_random)
        for which, size in ((every.flip(0), 2), (every[3:4], 256)):
            alone = subject.made(threat, which=which, is_random=is_random, batch_size=size)
            worst = max(worst, _apart(alone, whole[which]))
    mend = (
        "" if worst <= TOLERANCE else "; draw for each image (draws), or declare per_image = False"
    )
    return Finding(worst <= TOLERANCE, f"images differ by {worst:.3g}{mend}")


def costs_no_more_than_it_says(subject: AttackSubject) -> Finding:
    """Every pass goes through the target, which counts it, and there are no more of them than `passes` says."""
    said = "passes says nothing: bench estimate cannot tell hours"
    for threat, is_random in subject.situations:
        x_adv, target = subject.whole(threat, is_random=is_random)
        victim = target.victim
        if isinstance(victim, Counting) and victim.forwards > target.forwards:
            uncounted = victim.forwards - target.forwards
            return Finding(
                False, f"{uncounted} passes are not counted; ask the target, not target.victim"
            )
        c, h, w = subject.x.shape[1:]
        most = subject.attack.passes(
            classes=target.classes, eot=target.eot, stochastic=is_random, shape=(c, h, w)
        )
        if most is None:
            continue
        shared = most.shared / IMAGES
        asked = (target.forwards / IMAGES, target.backwards / IMAGES, x_adv.shape[1])
        allowed = (most.forwards + shared, most.backwards, most.candidates)
        said = f"{asked[0]:g} passes forward and {asked[1]:g} backward, {asked[2]} images for each"
        said += f"; it says {allowed[0]:g}, {allowed[1]:g} and {allowed[2]}"
        if any(one > other for one, other in zip(asked, allowed, strict=True)):
            return Finding(False, f"under {threat} it makes {said}")
    return Finding(True, said)


def leaves_all_as_it_was(subject: AttackSubject) -> Finding:
    """Victim, classifier, torch's settings, global generators and the attack itself are what they were."""
    for threat, is_random in subject.situations:
        target = subject.target(subject.x, is_random=is_random)
        before = _state(subject, target)
        subject.made(threat, target)
        changed = differing(before, _state(subject, target))
        if changed:
            return Finding(False, f"under {threat} it changes {', '.join(changed[:3])}")
    return Finding(True, "victim, settings, generators and its own attributes")


def uses_no_global_generator(subject: AttackSubject) -> Finding:
    """It neither moves nor hears the global generators of torch, numpy and Python."""
    for is_random in sorted({is_random for _, is_random in subject.situations}):
        found = of_global_generators(partial(subject.made, subject.threats[0], is_random=is_random))
        if not found.passed:
            break
    return found


def refuses_in_one_line(subject: AttackSubject) -> Finding:
    """Threats that it does not name are refused; a task with 2 classes is attacked, or refused; in one line."""
    others = [text for kind, text in EXAMPLES.items() if kind not in subject.attack.norms]
    for text in others:
        target = subject.target(subject.x)
        said = _refusal(partial(subject.made, Threat.parse(text), target))
        if not said or "\n" in said or target.forwards:
            return Finding(False, f"under {text}: {said or 'it is not refused'}")
    two_classes, target = small_network(IMAGES, 2, SIDE)[0], subject.target(subject.x)
    target.victim, target.classes = Purified([], two_classes.to(subject.x.device)), 2
    given = (target, subject.x, subject.y % 2)
    attempt = partial(subject.attack, *given, threat=subject.threats[0], draws=subject.draws)
    said = _refusal(attempt)
    two = f"refused: {said}" if said else "attacked"
    return Finding("\n" not in said, f"{len(others)} other threats; a task of 2 classes is {two}")


def is_its_arguments(subject: AttackSubject) -> Finding:
    """Rebuilt from its arguments, it is the same attack; they can be written into a job's key."""
    arguments = subject.attack.arguments()
    text = json.dumps(arguments, allow_nan=False)
    twin = type(subject.attack)(**arguments)
    if vars(twin) != arguments or twin.arguments() != arguments:
        return Finding(
            False, f"rebuilt from {text}, it holds {vars(twin)}; store the arguments, no more"
        )
    threat = subject.threats[0]
    x_adv = twin(
        subject.target(subject.x), subject.x, subject.y, threat=threat, draws=subject.draws
    )
    gap = _apart(x_adv, subject.whole(threat, is_random=False)[0])
    return Finding(gap == 0, f"{text}; rebuilt, images differ by {gap:.3g}")


ATTACK_CHECKS: tuple[Callable[[AttackSubject], Finding], ...] = (
    returns_images_in_its_budget,
    works_on_a_random_victim,
    leaves_its_input,
    repeats_itself,
    treats_each_image_alone,
    costs_no_more_than_it_says,
    leaves_all_as_it_was,
    uses_no_global_generator,
    refuses_in_one_line,
    is_its_arguments,
)


def check_attack(
    name: str, arguments: Mapping[str, Any], *, seed: int = 0, device: str = "cpu"
) -> list[CheckOutcome]:
    """Runs every check of an attack's contract on a small network.

    Args:
        name: On the shelf, or `module:Class`.
        arguments: Of its constructor.
        seed: Of all draws.
        device: Such as `auto`.

    Raises:
        BenchError: There is no such attack, argument or device, or it cannot be made.
    """
    fix_numerics()
    kind = ATTACKS.get(name)
    what = f"attack {getattr(kind, 'name', name)!r}"
    refuse_arguments(arguments, kind, what=what)
    with sandboxed(f"{what}: making it"):
        subject = AttackSubject(kind(**arguments), seed=seed, device=str(choose_device(device)))
    return run_attack_checks(subject)


def run_attack_checks(subject: AttackSubject) -> list[CheckOutcome]:
    """Every check; what one trips over is its outcome, so that all of them are heard."""
    outcomes = []
    for check in ATTACK_CHECKS:
        with settings_kept(), generators_kept():
            outcomes.append(outcome_of(check.__name__, partial(check, subject)))
    return outcomes


def _apart(one: Tensor, other: Tensor) -> float:
    """The greatest difference of two batches of candidates; infinite where their shapes differ."""
    return float((one - other).abs().max()) if one.shape == other.shape else float("inf")


def _refusal(attempt: Callable[[], object]) -> str:
    """What an attempt is refused with; empty where it is not."""
    try:
        attempt()
    except ContractBroken:
        raise
    except BenchError as error:
        return str(error)
    return ""


def _state(subject: AttackSubject, target: Target) -> dict[str, int]:
    """Checksums of all that an attack must leave alone."""
    parameters = dict(subject.classifier.named_parameters())
    flags = {name: (p.requires_grad, p.grad is None) for name, p in parameters.items()}
    modes = {name: module.training for name, module in subject.classifier.named_modules()}
    process = {
        "the default dtype": str(torch.get_default_dtype()),
        "whether gradients are on": torch.is_grad_enabled(),
        "the number of threads": torch.get_num_threads(),
        "the global generators": [str(state) for state in generator_states()],
    }
    held = {"victim": target.victim, "flags": flags, "modes": modes, "process": process}
    counted = ("victim.forwards", "victim.looks")
    found = belongings({**held, "attack": subject.attack})
    return {path: value for path, value in found.items() if path not in counted}
