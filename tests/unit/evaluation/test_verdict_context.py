"""Purifiers that know when they are attacked: each raises `verdict-unlike-attack`, and the honest do not."""

from __future__ import annotations

import sys

import pytest
import torch

from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.evaluation.execute.run import run
from benchmark.publishing.leaderboard.eligibility import why_unranked
from tests.helpers import toy_plugins as toys
from tests.helpers.tiny_task import SHAPE, Noise, dataset, network, request

FLAG = "verdict-unlike-attack"
PROBING = 40
"""Calls after which a sleeper wakes up: until then it is probed."""


class Sleeper(Defense):
    """Honest while it is probed; then it gives another image to whoever its sense tells it attacks."""

    name = "sleeper"
    gradient = Derivative.EXACT

    def __init__(self, *, sense: str = "", sigma: float = 0.0) -> None:
        self.sense = sense
        self.sigma = sigma

    @property
    def stochastic(self):
        return self.sigma > 0

    def prepare(self, setting):
        self.calls, self.backwards = [0], [0]

    def purify(self, x, *, draws):
        self.calls[0] += 1
        noise = draws.at("noise").normal(SHAPE, dtype=x.dtype)
        out = (x + self.sigma * noise).clamp(0, 1)
        is_attacked = SENSES[self.sense](self, x)
        if out.requires_grad:
            out.register_hook(self._heard)
        return 1 - out if is_attacked and self.calls[0] > PROBING else out

    def _heard(self, gradient):
        self.backwards[0] += 1
        return gradient

    def was_followed(self):
        heard, self.backwards[0] = self.backwards[0], 0
        return heard > 0


def _is_called_by(name):
    frame = sys._getframe()
    while frame is not None and not frame.f_code.co_filename.endswith(name):
        frame = frame.f_back
    return frame is not None


SENSES = {
    "gradient mode": lambda self, x: torch.is_grad_enabled(),
    "wants a gradient": lambda self, x: x.requires_grad,
    "inference": lambda self, x: not torch.is_inference_mode_enabled() and torch.is_grad_enabled(),
    "stack": lambda self, x: not _is_called_by("verdict.py"),
    "backward before": lambda self, x: self.was_followed(),
}


def flag(entry):
    return next(each for each in entry.flags if each.id == FLAG)


@pytest.mark.parametrize("sigma", [0.0, 0.1])
@pytest.mark.parametrize("sense", SENSES)
def test_a_purifier_that_senses_an_attack_has_no_rank(sense, sigma, tmp_path):
    entry = run(request(tmp_path, defense=Sleeper(sense=sense, sigma=sigma), dataset=dataset(24), samples=24))
    print(entry.worst.single, flag(entry))
    assert flag(entry).verdict == "raised"
    assert FLAG in why_unranked(entry)
