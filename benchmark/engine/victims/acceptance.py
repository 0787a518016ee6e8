"""Classifiers held to what is asked of them, before a run: whatever breaks it is one line that names it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import torch
from torch import Tensor

from benchmark.compute.object_state import belongings, differing
from benchmark.compute.sandbox import misfit, sandboxed, seed_all
from benchmark.engine.dataset import Dataset
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.logits import logits_in
from benchmark.errors import ContractBroken

EXACT = 1e-6
"""How far logits may lie apart, relative to their range, where an image is asked about again in the same place
of a batch of the same size: rounding has no reason to differ."""
ROUNDED = 0.02
"""The same where the size of the batch is another, or gradients are wanted: as much as half precision inside a
network rounds."""
WIDE_ROWS = 512
"""Rows of the widest batch that it is shown: as many as a verdict's pass has."""
WIDE_PIXELS = 2**22
"""Pixel values of that batch at the most, so that large images do not take all memory."""


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a classifier or a victim answers, as it was measured.

    Args:
        random: How it is random although nothing declares it; empty where it is not.
        crowd: How its answer for an image hangs on the batch; empty where it does not.
    """

    random: str = ""
    crowd: str = ""

    @classmethod
    def of(cls, found: Iterable[Conduct]) -> Conduct:
        """Of several together: the first reason of each kind."""
        every = list(found)
        return cls(
            next((each.random for each in every if each.random), ""),
            next((each.crowd for each in every if each.crowd), ""),
        )


def wide_rows(x: Tensor) -> int:
    """Rows of the widest batch of images like `x`, `(b, c, h, w)`."""
    return max(2 * len(x), min(WIDE_ROWS, WIDE_PIXELS // max(1, x[0].numel())))


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
    return sandboxed(what, told)


def accept(classifier: Classifier, x: Tensor, dataset: Dataset) -> None:
    """Refuses a classifier whose logits hang on anything but the image, or from which no gradient leads back.

    Args:
        classifier: On its device, with its dtype, numerics fixed.
        x: Images `(b, c, h, w)`, two are enough.
        dataset: Where they come from.

    Raises:
        BenchError: It is not what a classifier has to be.
    """
    found = conduct_of(classifier, x, dataset)
    for said in (found.random, found.crowd):
        if said:
            raise ContractBroken(said)


def conduct_of(classifier: Classifier, x: Tensor, dataset: Dataset) -> Conduct:
    """How a classifier answers; one that no run could measure is refused.

    One that is random by the global generators can be measured as a random one, one that looks at its batch in
    batches of a fixed size. Refused is one that learns while it is asked, that no seed repeats, that answers
    otherwise where gradients are wanted, or from which none leads back. Of an ensemble each member is shown the
    images. The arguments are those of `accept`.

    Raises:
        BenchError: It cannot be measured.
    """
    pair = 0.1 + 0.6 * torch.cat((x, 1 - x))[:2]  # so that others can be darker and brighter
    found = []
    for each in _leaves(classifier):
        what = f"classifier {each.name!r}"
        with shown(what, pair, dataset):
            found.append(_Examined(each, what, pair).examine())
    return Conduct.of(found)


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

    def examine(self) -> Conduct:
        """Asks everything, the cheapest first."""
        self.first = self._asked(self.pair)
        if not bool(self.first.isfinite().all()):
            refuse(
                self.what,
                "returned logits that are not finite",
                "let them be finite numbers (-1e4 instead of -inf), and look for divisions by 0",
            )
        random = self._repeats()
        crowd = self._looks_at_one(is_random=bool(random))
        self._has_gradient(is_random=bool(random))
        return Conduct(random, crowd)

    def _repeats(self) -> str:
        """How it is random by the global generators; empty where it repeats itself."""
        before = belongings(self.classifier.network, is_kept=_is_weight)
        again = self._asked(self.pair, seed=2)
        moved = differing(before, belongings(self.classifier.network, is_kept=_is_weight))
        if moved:
            refuse(
                self.what,
                f"changes while it is used: it writes to its {moved[0]}",
                "freeze it; nothing may be adapted or counted while it is evaluated",
            )
        if self._apart(again, self.first) <= EXACT:
            return ""
        if self._apart(again, self._asked(self.pair, seed=2)) <= EXACT:
            return (
                f"{self.what} is random: the same images get other logits when the generators are seeded anew; "
                f"switch off what draws (dropout in eval mode), or make it a defense, which draws from `draws`"
            )
        refuse(
            self.what,
            "does not repeat itself: the same images get other logits when it is asked again",
            "let it keep no state between calls, and draw no random numbers",
        )

    def _looks_at_one(self, *, is_random: bool) -> str:
        """How it looks at its batch; empty where it does not. Of a random one, only beside another image."""
        one, other = self.pair[:1], torch.zeros_like(self.pair[:1])
        other[..., other.shape[-1] // 2 :] = 1  # half black, half white
        batches = [(torch.cat((one, other)), EXACT)]
        if not is_random:  # its numbers go by the size of the batch
            many = one.repeat(wide_rows(self.pair), 1, 1, 1)
            many[1:] = 1 - many[1:]
            batches += [(one, ROUNDED), (many, ROUNDED)]
        apart = [self._apart(self._asked(x)[:1], self.first[:1]) <= most for x, most in batches]
        if all(apart):  # written so that NaN fails too
            return ""
        return (
            f"{self.what} does not look at each image alone: an image's logits change with what else is in "
            "the batch; let batch norm use its running statistics, and take no mean, maximum or scale over the "
            "batch"
        )

    def _has_gradient(self, *, is_random: bool) -> None:
        x = self.pair.clone().requires_grad_()
        logits, gradient = self._asked(x, is_graph=True), None
        if logits.requires_grad:
            (gradient,) = torch.autograd.grad(logits.sum(), x, allow_unused=True)
        if gradient is None:
            refuse(
                self.what,
                "returned logits from which no gradient leads to the images, so that no attack could follow it",
                "leave out no_grad, inference_mode, detach and argmax",
            )
        if not is_random and not self._apart(logits.detach(), self.first) <= ROUNDED:
            refuse(
                self.what,
                "gives other logits where gradients are wanted than where they are not",
                "let it not ask for the gradient mode, nor change its input in place",
            )

    def _asked(self, x: Tensor, seed: int = 1, *, is_graph: bool = False) -> Tensor:
        seed_all(seed)
        with torch.set_grad_enabled(is_graph):
            logits: Tensor = self.classifier(x)
        return logits

    def _apart(self, one: Tensor, other: Tensor) -> float:
        """The greatest difference, relative to the range of all logits."""
        span = float(self.first.max() - self.first.min())
        return float((one - other).abs().max()) / max(span, 1e-12)


def refuse(what: str, found: str, mend: str) -> NoReturn:
    """Refuses a classifier or a victim, in one line.

    Raises:
        ContractBroken: Always.
    """
    raise ContractBroken(f"{what} {found}; {mend}")


def _is_weight(value: object) -> bool:
    """Whether something is more than a count, which may move."""
    return isinstance(value, Tensor) and value.is_floating_point()
