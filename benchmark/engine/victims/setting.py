"""Where a plugin stands: the task, the frozen classifier, the device and the weights it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmark.engine.threat import Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.errors import BenchError


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a defense or a recipe is told before its work begins.

    Args:
        dataset: The dataset's name.
        shape: `(c, h, w)` of one image.
        classes: Number of classes.
        threat: The threat under which it will be evaluated.
        device: Where its tensors belong.
        dtype: Of its weights and images.
        classifier: The frozen classifier; None only while a classifier itself is being trained.
        weights: The defense's own weights file, where one was found.
        companions: Further frozen classifiers of the same task by name, where a recipe asks for them.
    """

    dataset: str
    shape: tuple[int, int, int]
    classes: int
    threat: Threat
    device: torch.device
    dtype: torch.dtype = torch.float32
    classifier: Classifier | None = None
    weights: Path | None = None
    companions: Mapping[str, Classifier] = field(default_factory=dict)

    def defended(self) -> Classifier:
        """The classifier, where a plugin cannot do without one.

        Raises:
            BenchError: There is none.
        """
        if self.classifier is None:
            raise BenchError("this needs a classifier to defend; name one with --model")
        return self.classifier
