"""A task so small that whole runs take a fraction of a second: random images, a linear classifier."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from benchmark.datasets.given import Given
from benchmark.engine.criterion import Criterion, Outcome, Rule
from benchmark.engine.threat import Knowledge, Norm, Threat
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.evaluation.prepare.request import Request
from benchmark.records.job import ClassifierId, Job, PluginId
from benchmark.records.protocol import Column, Protocol
from benchmark.records.protocol_files import parse_protocol
from benchmark.records.result import Result, ShardCost, Status
from benchmark.records.run import PlannedAttack
from benchmark.records.task import Task

PROTOCOL = b"""
name: tiny
version: 1
summary: every kind of job in a fraction of a second
samples: 12
shard_size: 4
criterion: {draws: 6, vote: 3, any_of: 2}
sources:
  - {id: made, attack: pgd, against: bare, arguments: {steps: 3, loss: margin, keep: max_margin}}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: oblivious, column: oblivious, knowledge: oblivious, attack: transfer, sources: [made]}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [exact, bpda], eot: 3,
     arguments: {steps: 3}}
  - {id: aware, column: auxiliary, knowledge: white-box, attack: auxiliary, gradients: [best], eot: 2,
     arguments: {variant: A2, steps: 2, lambdas: [1]}}
"""
SHAPE = (1, 4, 4)
CLASSES = 4


def protocol() -> Protocol:
    return parse_protocol(PROTOCOL, where="tiny")


def dataset(n: int = 12) -> Given:
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(n, *SHAPE, generator=generator) * 0.6 + 0.2
    labels = network()(images).argmax(1)
    labels[: n // 6] = (labels[: n // 6] + 1) % CLASSES  # some are misclassified when clean
    return Given(images=images, labels=labels, classes=CLASSES, title="tiny")


def network() -> nn.Module:
    generator = torch.Generator().manual_seed(6)
    layer = nn.Linear(16, CLASSES)
    layer.weight.data = torch.randn(CLASSES, 16, generator=generator)
    layer.bias.data = torch.zeros(CLASSES)
    return nn.Sequential(nn.Flatten(), layer)


class Noise(Defense):
    """Adds Gaussian noise, as a third party's plugin would."""

    name = "noise-under-test"
    stochastic = True
    gradient = Derivative.EXACT

    def __init__(self, *, sigma: float = 0.1) -> None:
        self.sigma = sigma

    def purify(self, x, *, draws):
        noise = draws.at("noise").normal(tuple(x.shape[1:]), dtype=x.dtype)
        return (x + self.sigma * noise).clamp(0, 1)


def request(runs: Path, **changes) -> Request:
    standard = {
        "defense": Noise(),
        "model": network(),
        "dataset": dataset(),
        "threat": "linf:0.1",
        "protocol": protocol(),
        "runs": runs,
        "device": "cpu",
        "workers": 1,
        "precision": "float64",
    }
    return Request(**{**standard, **changes})


def one_row() -> PlannedAttack:
    """One planned job."""
    return PlannedAttack(
        id="pgd",
        job=job(),
        column=Column.ADAPTIVE,
        knowledge=Knowledge.WHITE_BOX,
        counts=True,
    )


def job() -> Job:
    return Job(
        row="pgd",
        task=Task(
            dataset="tiny",
            classes=CLASSES,
            shape=SHAPE,
            threat=Threat(Norm.LINF, 0.1),
            precision="float64",
        ),
        defenses=(PluginId("tests.helpers.tiny_task:Noise", "noise-under-test", "{}", "00"),),
        classifier=ClassifierId("net", "22"),
        attack=PluginId("attacks.pgd:PGD", "pgd", "{}", "33"),
        gradient="exact",
        eot=1,
        is_source=False,
        criterion=Criterion(draws=2, vote=1, any_of=1),
        engine="44",
    )


def finished_shard() -> tuple[Job, Result, torch.Tensor]:
    """A job, a finished result of four images, and their images."""
    outcome = Outcome(rate=0.5, margin=0.1, bits="10")
    result = Result(
        job=job().key,
        start=0,
        stop=4,
        status=Status.OK,
        outcomes=dict.fromkeys(Rule, (outcome,) * 4),
        cost=ShardCost(forwards=8, backwards=4, seconds=0.5),
        trace=(1.0, 0.5),
        warnings=("a warning",),
        pixels_sha256="55",
    )
    return job(), result, torch.rand(4, 1, *SHAPE, generator=torch.Generator().manual_seed(0))
