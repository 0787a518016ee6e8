"""A purifier in the midst of its training, and its classifier, as one module that an attack can be made on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from benchmark.engine.randomness import Draws
from benchmark.engine.victims.classifier import Classifier
from benchmark.errors import BenchError
from benchmark.recipe import TrainingAttack

THROUGH = ("classifier", "pipeline")

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


class Crafter:
    """Makes the adversarial images of a fine-tuning.

    Args:
        attacks: As a recipe is handed them.
        attack: Which of them, by the text that named it.
        through: `classifier`, the bare one as in the paper, or `pipeline`, the purifier as it stands included.
        eot: Over how many draws the latter's logits are averaged.
        classifier: The frozen classifier.
    """

    def __init__(
        self,
        attacks: Mapping[str, TrainingAttack],
        *,
        attack: str,
        through: str,
        eot: int,
        classifier: Classifier,
    ) -> None:
        refuse_choice("through", through, THROUGH)
        if eot < 1:
            raise BenchError(f"atop's eot is a number of draws from 1 up; got {eot!r}")
        self.attack = attacks[attack]
        self.through = through
        self.eot = eot
        self.classifier = classifier

    def __call__(self, purify: Purify, x: Tensor, y: Tensor, draws: Draws) -> Tensor:
        """Adversarial images `(b, c, h, w)`, detached."""
        if self.through == "classifier":
            return self.attack(self.classifier, x, y, draws)
        whole = Pipeline(purify, self.classifier, draws.at("pipeline"), eot=self.eot)
        return self.attack(whole, x, y, draws)


def refuse_choice(what: str, value: str, known: Sequence[str]) -> None:
    """Refuses an argument that is none of a few words.

    Raises:
        BenchError: It is none of them.
    """
    if value not in known:
        raise BenchError(f"atop's {what} is one of {', '.join(known)}; got {value!r}")
