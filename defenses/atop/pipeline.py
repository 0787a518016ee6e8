"""A purifier in the midst of its training, and its classifier, as one module that an attack can be made on."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.classifier import Classifier

Purify = Callable[[Tensor, Draws], Tensor]
"""`(x, draws) -> x_hat`."""


class Pipeline(nn.Module):
    """Images to logits through a random purifier, at fresh draws for each call.

    Args:
        purify: The purifier as it stands.
        classifier: The frozen classifier behind it.
        draws: Of the images of the one batch that is attacked.
        eot: Over how many draws logits are averaged.
    """

    def __init__(self, purify: Purify, classifier: Classifier, draws: Draws, *, eot: int) -> None:
        super().__init__()
        self.purify = purify
        self.classifier = classifier
        self.draws = draws
        self.eot = eot
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        """Mean logits `(b, k)` of images `(b, c, h, w)`."""
        draws = self.draws.at("call", self.calls).repeat(self.eot)
        self.calls += 1
        logits: Tensor = self.classifier(self.purify(x.repeat_interleave(self.eot, 0), draws))
        return logits.view(len(x), self.eot, -1).mean(1)
