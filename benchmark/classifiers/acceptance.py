"""Classifiers held to what is asked of them, before a run: whatever breaks it is one line that names it."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager
from functools import partial
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.classifier import Classifier
from benchmark.containment import contained, misfit
from benchmark.dataset import Dataset
from benchmark.errors import ContractBroken
from benchmark.logits import logits_in

EXACT = 1e-6
"""How far logits may lie apart, relative to their range, where an image is asked about again in the same place
of a batch of the same size: rounding has no reason to differ."""
ROUNDED = 0.02
"""The same where the size of the batch is another, or gradients are wanted: as much as half precision inside a
network rounds."""


def refuse_misfit(classifier: Classifier, dataset: Dataset, what: str = "") -> None:
    """Refuses a classifier that does not take a dataset's images, or gives other logits than one a class.

    Where the dataset leaves open how many classes there are, the network has the last word.

    Args:
        classifier: On its device, with its dtype.
        dataset: The task.
        what: What the message calls it; its name by default.

    Raises:
        BenchError: It does not fit.
    """
    weights = (each for each in classifier.parameters() if each.is_floating_point())
    like: Tensor = next(weights, torch.zeros(()))
    x = torch.zeros(1, *dataset.shape, device=like.device, dtype=like.dtype)
    with shown(what or f"classifier {classifier.name!r}", x, dataset), torch.no_grad():
        if dataset.has_open_classes:
            logits = logits_in(classifier.network(x.clone()))
            classifier.classes = max(dataset.classes, 0 if logits is None else logits.numel())
        try:
            classifier(x)
        except ContractBroken as error:
            begun = f"{what}: " if what else ""
            raise ContractBroken(f"{begun}{error}{dataset.why_so_many_classes()}") from error


def shown(what: str, x: Tensor, dataset: Dataset) -> AbstractContextManager[None]:
    """Makes one line of whatever is raised inside, while images `(b, c, h, w)` of a dataset are shown.

    Raises:
        BenchError: What a plugin raised, with its cause.
    """
    told = partial(misfit, shape=tuple(x.shape[1:]), dtype=str(x.dtype), dataset=dataset.name)
    return contained(what, told)


def accept(classifier: Classifier, x: Tensor, dataset: Dataset) -> None:
    """Refuses a classifier whose logits hang on anything but the image, or from which no gradient leads back.

    A victim's randomness is its defense's, from draws; one that is random by itself, learns while it is asked,
    or looks at the whole batch has no accuracy that a run could measure. Of an ensemble each member is shown
    the images.

    Args:
        classifier: On its device, with its dtype, numerics fixed.
        x: Images `(b, c, h, w)`, two are enough.
        dataset: Where they come from.

    Raises:
        BenchError: It is not what a classifier has to be.
    """
    pair = 0.1 + 0.6 * torch.cat((x, 1 - x))[:2]  # so that others can be darker and brighter
    for each in _leaves(classifier):
        what = f"classifier {each.name!r}"
        with shown(what, pair, dataset):
            _Examined(each, what, pair).examine()


def _leaves(classifier: Classifier) -> list[Classifier]:
    """The classifiers of an ensemble; itself where it is none."""
    found = [each for each in classifier.modules() if isinstance(each, Classifier)]
    return [each for each in found if sum(isinstance(m, Classifier) for m in each.modules()) == 1]


class _Examined:
    """A classifier that is shown two images, in several ways."""

    def __init__(self, classifier: Classifier, what: str, pair: Tensor) -> None:
        self.classifier = classifier
        self.what = what
        self.pair = pair
        self.range = 0.0

    def examine(self) -> None:
        """Asks everything, the cheapest first."""
        first = self._asked(self.pair, seed=1)
        if not bool(first.isfinite().all()):
            self._refuse(
                "returned logits that are not finite",
                "let them be finite numbers (-1e4 instead of -inf), and look for divisions by 0",
            )
        self.range = float(first.max() - first.min())
        self._repeats(first)
        self._looks_at_one(first)
        self._has_gradient(first)

    def _repeats(self, first: Tensor) -> None:
        before = _versions(self.classifier.network)
        again = self._asked(self.pair, seed=2)
        moved = [
            name for name, n in _versions(self.classifier.network).items() if n != before.get(name)
        ]
        if moved:
            self._refuse(
                f"changes while it is used: it writes to its {moved[0]}",
                "freeze it; nothing may be adapted or counted while it is evaluated",
            )
        if self._apart(first, again) <= EXACT:
            return
        if self._apart(again, self._asked(self.pair, seed=2)) <= EXACT:
            self._refuse(
                "is random: the same images get other logits when the generators are seeded anew",
                "switch off what draws (dropout in eval mode), or make it a defense, which draws from `draws`",
            )
        self._refuse(
            "does not repeat itself: the same images get other logits when it is asked again",
            "let it keep no state between calls, and draw no random numbers",
        )

    def _looks_at_one(self, first: Tensor) -> None:
        one, other = self.pair[:1], torch.zeros_like(self.pair[:1])
        other[..., other.shape[-1] // 2 :] = 1  # half black, half white
        beside, alone = self._asked(torch.cat((one, other))), self._asked(one)
        if not (
            self._apart(beside[:1], first[:1]) <= EXACT
            and self._apart(alone, first[:1]) <= ROUNDED  # written so that NaN fails too
        ):
            self._refuse(
                "does not look at each image alone: an image's logits change with what else is in the batch",
                "let batch norm use its running statistics, and take no mean, maximum or scale over the batch",
            )

    def _has_gradient(self, first: Tensor) -> None:
        x = self.pair.clone().requires_grad_()
        with torch.enable_grad():
            logits = self.classifier(x)
        gradient = None
        if logits.requires_grad:
            (gradient,) = torch.autograd.grad(logits.sum(), x, allow_unused=True)
        if gradient is None:
            self._refuse(
                "returned logits from which no gradient leads to the images, so that no attack could follow it",
                "leave out no_grad, inference_mode, detach and argmax",
            )
        if not self._apart(logits.detach(), first) <= ROUNDED:
            self._refuse(
                "gives other logits where gradients are wanted than where they are not",
                "let it not ask for the gradient mode, nor change its input in place",
            )

    def _asked(self, x: Tensor, seed: int = 1) -> Tensor:
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        with torch.no_grad():
            logits: Tensor = self.classifier(x)
        return logits

    def _apart(self, one: Tensor, other: Tensor) -> float:
        """The greatest difference, relative to the range of all logits."""
        return float((one - other).abs().max()) / max(self.range, 1e-12)

    def _refuse(self, found: str, mend: str) -> NoReturn:
        raise ContractBroken(f"{self.what} {found}; {mend}")


def _versions(network: nn.Module) -> dict[str, int]:
    """How often each weight and buffer was written to in its place."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return {name: tensor._version for name, tensor in tensors if tensor.is_floating_point()}
