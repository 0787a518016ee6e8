"""The attack that teaches a network of its own by the victim's labels, and attacks that one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.queries import majority_labels
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from benchmark.errors import BenchError
from benchmark.plugins import ATTACKS

_ON_IT: dict[str, dict[str, Any]] = {
    "fgsm": {},
    "pgd": {"steps": 40, "loss": "margin", "keep": "max_margin"},
}
"""The attacks on the substitute, with their arguments; of full length: their images are for another victim."""
_BATCH, _RATE = 128, 1e-3
"""Of Adam."""


@dataclass(kw_only=True, eq=False, repr=False)
class Substitute(Attack):
    """A substitute network by Jacobian-based augmentation (Papernot et al., AsiaCCS 2017, algorithm 1).

    The attacker has `seeds` images of his own and asks the victim for their labels. In each round the
    substitute is trained on what is labelled so far; then each image gets a twin, `step` along the sign of the
    gradient of its label's logit, and the twins are labelled too. The sign of the step turns every `period`
    rounds (Papernot, McDaniel and Goodfellow, "Transferability in machine learning", 2016). Six rounds take 150
    * 2^5 = 4,800 labels. Then each image is attacked on the substitute, inside the budget. AdvAE's Table 3 has
    these numbers.

    Teaching does not hang on the images attacked: each batch of a run is attacked on the same substitute,
    taught anew, and its labels are counted each time. The substitute's own passes are not the victim's and do
    not count.

    Args:
        rounds: Of training; before each but the first the images double.
        step: Lambda, in pixel units of [0, 1].
        period: Rounds after which lambda turns its sign.
        epochs: Of Adam in each round.
        attack: On the substitute: `pgd` (40 steps) or `fgsm`.
        draws: Labels of a random victim for one image, of which the most frequent counts.
    """

    name = "substitute"
    mixes = False
    seeds = 150
    parts = ("pgd", "fgsm")

    rounds: int = 6
    step: float = 0.1
    period: int = 3
    epochs: int = 10
    attack: str = "pgd"
    draws: int = 1

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each, `(b, c, h, w)`.

        Raises:
            BenchError: An argument is out of range, or the attacker was given no images.
        """
        self._refuse_arguments()
        classifier = self._taught(target, draws)
        there = Target(
            Purified([], classifier), classes=target.classes, batch_size=target.batch_size
        )
        attack = ATTACKS.get(self.attack)(**_ON_IT[self.attack])
        return attack(there, x, y, threat=threat, draws=draws.at("on the substitute"))[:, 0]

    def passes(self, *, stochastic: bool, **_: object) -> Passes:
        """Nothing for an image; the labels, for each batch."""
        k = self.draws if stochastic else 1
        return Passes(forwards=0, backwards=0, shared=k * self.seeds * 2 ** (self.rounds - 1))

    def _taught(self, target: Target, draws: Draws) -> Classifier:
        """The substitute, the same for all batches of a run.

        Whatever is random here hangs on the run's seed and on the place, not on the images attacked.
        """
        x = target.seeds
        if x is None:
            raise BenchError(
                f"attack {self.name!r} expected images of the attacker's own, got none: a run hands them over"
            )
        one = Draws.of(draws.seed, torch.zeros(1, dtype=torch.int64, device=x.device), *draws.path)
        network = _network(x[0], target.classes, one.at("weights").to("cpu"))
        network = network.to(device=x.device, dtype=x.dtype)
        adam = torch.optim.Adam(network.parameters(), lr=_RATE)
        labels = x.new_zeros(0, dtype=torch.int64)
        for number in range(self.rounds):
            if number:
                λ = self.step * (-1) ** ((number - 1) // self.period)
                x = torch.cat((x, _twins(network, x, labels, λ)))
            rows = torch.arange(len(labels), len(x), device=x.device)
            asked = Draws.of(draws.seed, rows, *draws.path, "label")
            labels = torch.cat((labels, majority_labels(target, x[rows], asked, k=self.draws)))
            for epoch in range(self.epochs):
                order = one.at("order", number, epoch).permutations(len(x))[0]
                _learn(network, adam, x[order], labels[order])
        return Classifier(network, name="substitute", classes=target.classes, sha256="")

    def _refuse_arguments(self) -> None:
        if self.attack not in _ON_IT:
            raise BenchError(
                f"attack {self.name!r} knows {', '.join(_ON_IT)} on its substitute; got {self.attack!r}"
            )
        self._require(
            min(self.rounds, self.period, self.epochs, self.draws) >= 1 and self.step > 0,
            "at least 1 round, period, epoch and draw and a step above 0",
        )


def _learn(network: nn.Module, adam: torch.optim.Adam, x: Tensor, labels: Tensor) -> None:
    """One epoch on images `(n, c, h, w)` in this order."""
    for part in torch.split(torch.arange(len(x), device=x.device), _BATCH):
        with torch.enable_grad():
            loss = cross_entropy(network(x[part]), labels[part])
            adam.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        adam.step()


def _twins(network: nn.Module, x: Tensor, labels: Tensor, λ: float) -> Tensor:
    """Images `(n, c, h, w)`, each λ along the sign of the gradient of its label's logit."""
    twins = x.clone()
    for part in torch.split(torch.arange(len(x), device=x.device), _BATCH):
        leaf = x[part].requires_grad_()
        with torch.enable_grad():
            logits = network(leaf).gather(1, labels[part, None])
            (gradient,) = torch.autograd.grad(logits.sum(), leaf)
        twins[part] += λ * gradient.sign()
    return twins.clamp(0.0, 1.0)


def _network(like: Tensor, classes: int, draws: Draws) -> nn.Module:
    """A small convolutional network for images of any size, its first weights drawn here (He et al., 2015).

    Its features are averaged to about 4 x 4, so that it stays small on large images.

    Args:
        like: One image `(c, h, w)`.
        classes: k.
        draws: One row, on the CPU.
    """
    c, h, w = like.shape
    windows = [max(1, math.ceil(side / 2) // 4) for side in (h, w)]
    places = [math.ceil(side / 2) // window for side, window in zip((h, w), windows, strict=True)]
    with torch.random.fork_rng(devices=[]):  # first weights, made only to be replaced
        network = nn.Sequential(
            nn.Conv2d(c, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AvgPool2d((windows[0], windows[1])),
            nn.Flatten(),
            nn.Linear(64 * math.prod(places), 128),
            nn.ReLU(),
            nn.Linear(128, classes),
        )
    for name, parameter in network.named_parameters():
        values = torch.zeros_like(parameter)
        if parameter.ndim > 1:
            values = draws.at(name).normal(tuple(parameter.shape), dtype=parameter.dtype)[0]
            values *= (2 / values[0].numel()) ** 0.5
        parameter.data = values
    return network
