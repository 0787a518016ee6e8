"""Victims that know when they are attacked raise `verdict-unlike-attack`; honest ones, and chance, do not."""

from __future__ import annotations

import random
import sys
from functools import cache
from types import SimpleNamespace

import pytest
import torch

from attacks.pgd import PGD
from attacks.square import Square
from attacks.transfer import Transfer
from benchmark.engine.criterion import Criterion, Outcome, Rule
from benchmark.engine.judging.attack_batch import AttackBatch
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import GradientMode, Vote
from benchmark.evaluation.execute.run import run
from benchmark.publishing.leaderboard.eligibility import why_unranked
from benchmark.records.entry_parts import AttackRecord
from benchmark.records.scores import Scores
from benchmark.scoring.context_flag import ALARMS, verdict_unlike_attack
from tests.helpers import toy_plugins as toys
from tests.helpers.tiny_task import CLASSES, SHAPE, Noise, dataset, network, request
from tests.helpers.toy_plugins import image_draws

IMAGES = 48
GIVEN = dataset(IMAGES)
CRITERION = Criterion(draws=8, vote=4, any_of=4)


class Sleeper(Defense):
    """Honest until it wakes up; then whoever its sense takes for an attacker gets another image."""

    name = "sleeper"
    gradient = Derivative.EXACT

    def __init__(self, *, sense: str = "", sigma: float = 0.1, sleeps: int = 0) -> None:
        self.sense = sense
        self.sigma = sigma
        self.sleeps = sleeps

    @property
    def stochastic(self):
        return self.sigma > 0

    def prepare(self, setting):
        self.heard, self.calls = [], []

    def purify(self, x, *, draws):
        self.calls.append(0)
        noise = draws.at("noise").normal(SHAPE, dtype=x.dtype)
        out = (x + self.sigma * noise).clamp(0, 1)
        is_attacked = SENSES[self.sense](self, x, draws) and len(self.calls) > self.sleeps
        if out.requires_grad:
            out.register_hook(self.heard.append)
        return 1 - out if is_attacked else out

    def was_followed(self):
        heard = bool(self.heard)
        self.heard.clear()
        return heard


def called_by(name):
    frame = sys._getframe()
    while frame is not None and not frame.f_code.co_filename.endswith(name):
        frame = frame.f_back
    return frame is not None


@cache
def verdicts_numbers():
    """What a purifier that knows seed and images can reckon: the first numbers of all draws of the verdict."""
    asked = [image_draws(IMAGES).at(role).repeat(CRITERION.draws) for role in ("select", "score")]
    return {
        number
        for draws in asked
        for number in draws.at("stage", 0, "noise").uniform((1,)).flatten().tolist()
    }


SENSES = {
    "gradient mode": lambda self, x, draws: torch.is_grad_enabled(),
    "image that wants a gradient": lambda self, x, draws: x.requires_grad,
    "stack": lambda self, x, draws: not called_by("verdict.py"),
    "backward pass before": lambda self, x, draws: self.was_followed(),
    "numbers of the verdict": lambda self, x, draws: bool(
        set(draws.at("noise").uniform((1,)).flatten().tolist()) - verdicts_numbers()
    ),
    "rows": lambda self, x, draws: len(x) < IMAGES * CRITERION.draws,
    "repeated rows": lambda self, x, draws: len(x.unique(dim=0)) < len(x) - IMAGES,
    "neighbours alike": lambda self, x, draws: len(x) > 1 and torch.equal(x[0], x[1]),
}


def finding(defense, *, attack=None, wrap=lambda victim: victim, **changes):
    """What the flag says of one attack on a defense."""
    classifier = Classifier(network(), name="net", classes=CLASSES, sha256="")
    defense.prepare(SimpleNamespace(dtype=torch.float32))
    victim = wrap(Purified([defense], classifier))
    eot = 4 if defense.stochastic else 1
    batch = AttackBatch(
        victim=victim,
        attack=attack or PGD(steps=3),
        threat=Threat(Norm.LINF, 0.1),
        x=GIVEN.images("test", torch.arange(IMAGES)),
        y=GIVEN.labels("test"),
        draws=image_draws(IMAGES),
        classes=CLASSES,
        eot=eot,
        criterion=CRITERION,
        **changes,
    )
    judged = batch.run()
    return flagged(judged.outcomes, judged.context, eot, is_random=defense.stochastic)


def flagged(outcomes, context, eot, *, is_random, rows=1):
    row = AttackRecord.model_construct(
        id="pgd", counts=True, context=context, eot=eot, scores=Scores.of(outcomes)
    )
    about = SimpleNamespace(stochastic=is_random)
    return verdict_unlike_attack(SimpleNamespace(attacks=[row] * rows, defense=about))


@pytest.mark.parametrize("sense", list(SENSES)[:6])
def test_a_purifier_that_senses_an_attack_raises_it(sense):
    found = finding(Sleeper(sense=sense))
    assert found.is_raised
    assert found.value > 2 * found.threshold


@pytest.mark.parametrize("sense", list(SENSES)[:3])
def test_so_does_a_deterministic_one(sense):
    assert finding(Sleeper(sense=sense, sigma=0.0)).is_raised


@pytest.mark.parametrize("sense", list(SENSES)[6:])
def test_repetition_and_order_of_rows_tell_it_nothing(sense):
    """An attack's rows are laid out as a verdict's are, and its images are as often right in both."""
    assert not finding(Sleeper(sense=sense)).is_raised


@pytest.mark.parametrize("mode", GradientMode)
@pytest.mark.parametrize(
    "honest",
    [Noise(), Noise(sigma=0.4), toys.Same(), toys.Quantised(), toys.Nervous()],
    ids=lambda each: each.name,
)
def test_the_honest_do_not(honest, mode):
    assert not finding(honest, mode=mode).is_raised


@pytest.mark.parametrize("is_mixed", [False, True])
def test_neither_does_a_vote_nor_mixed_precision(is_mixed):
    assert not finding(Noise(), wrap=lambda inner: Vote(inner, 3), is_mixed=is_mixed).is_raised


def test_queries_are_asked_again_as_queries_and_images_of_others_not_at_all():
    square = Square(queries=20, draws=2)
    assert not finding(Sleeper(sense="gradient mode"), attack=square).is_raised
    assert finding(Sleeper(sense="stack"), attack=square).is_raised
    x = GIVEN.images("test", torch.arange(IMAGES))
    assert isinstance(finding(Noise(), attack=Transfer(), sources=x.unsqueeze(1)), str)


def chance(generator, n, draws, eot):
    """An honest victim's answers: each image has one rate, in the attack as in the verdict."""
    bits, context = [], []
    for _ in range(n):
        rate = generator.choice((0.0, 0.02, 0.3, 0.5, 0.9, 0.99, 1.0))
        right = [generator.random() < rate for _ in range(draws + eot)]
        bits.append(Outcome(0.5, 1.0, "".join(map(str, map(int, right[:draws])))))
        context.append(sum(right[draws:]))
    return dict.fromkeys(Rule, tuple(bits)), tuple(context)


@pytest.mark.parametrize(("n", "draws", "eot"), [(16, 20, 10), (40, 6, 1)])
def test_chance_raises_it_in_no_more_than_one_row_of_741(n, draws, eot):
    generator, tried = random.Random(n), 1000
    rows = [chance(generator, n, draws, eot) for _ in range(tried)]
    raised = sum(flagged(*row, eot, is_random=True).is_raised for row in rows)
    assert raised <= tried * ALARMS + 3 * (tried * ALARMS) ** 0.5
    flips = flagged(*rows[0], eot, is_random=True, rows=40)
    assert flips.threshold > 4 > flagged(*rows[0], eot, is_random=True).threshold > 3


def one_answer(right, margins):
    found = tuple(Outcome(r, m, str(r)) for r, m in zip(right, margins, strict=True))
    return dict.fromkeys(Rule, found)


def test_a_deterministic_victims_flips_count_unless_rounding_decides_them():
    """Ten of fifty images are right while attacked and wrong in the verdict; of three it may be rounding."""
    right = [0] * 10 + [1] * 40
    far = one_answer(right, [-1.0] * 10 + [2.0] * 40)
    near = one_answer(right, [-1e-4] * 10 + [2.0] * 40)
    few = one_answer([0] * 3 + [1] * 47, [-1.0] * 3 + [2.0] * 47)
    assert flagged(far, (1,) * 50, 1, is_random=False).is_raised
    assert not flagged(near, (1,) * 50, 1, is_random=False).is_raised
    assert not flagged(few, (1,) * 50, 1, is_random=False).is_raised


def test_an_entry_whose_purifier_senses_an_attack_has_no_rank(tmp_path):
    """It sleeps until the run has looked at it."""
    defense = Sleeper(sense="gradient mode", sleeps=40)
    entry = run(request(tmp_path, defense=defense))
    found = {flag.id: flag for flag in entry.flags}["verdict-unlike-attack"]
    assert found.verdict == "raised"
    assert "verdict-unlike-attack" in why_unranked(entry)
    asked = {row.id: len(row.context) for row in entry.attacks}
    assert asked["pgd:exact"] == 12
    assert asked["clean"] == asked["oblivious"] == 0
