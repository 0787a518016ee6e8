"""Ensembles of classifiers, `mean(a, b)`: one frozen classifier whose logits are the mean of its members'."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmark.engine.victims.classifier import Classifier
from benchmark.expression import Model, Models


class MeanOf(nn.Module):
    """The mean of several networks' logits."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Mean logits `(b, k)` of images `(b, c, h, w)`."""
        return torch.stack([member(x) for member in self.members]).mean(0)


def ensemble(members: Sequence[Classifier]) -> Classifier:
    """A frozen classifier of at least two, known by its members' names and sha256s, in order.

    Its taps are its members' (`members.0.network...`); of its positions all but `logits` lie in the last one.
    """
    digest, source, harness = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    for member in members:
        digest.update(f"{member.name}\0{member.sha256}\0{member.code}".encode())
        source.update(f"{member.source}\0".encode())
        harness.update(f"{member.harness}\0".encode())
    return Classifier(
        MeanOf(members),
        name=str(Models(tuple(member.name for member in members))),
        classes=members[0].classes,
        sha256=digest.hexdigest(),
        source=source.hexdigest(),
        harness=harness.hexdigest(),
    )


def build_model(model: Model, load: Callable[[str], Classifier]) -> Classifier:
    """The classifier that an expression stands for, a name or an ensemble; `load` gives that of a name."""
    if isinstance(model, str):
        return load(model)
    return ensemble([build_model(member, load) for member in model.members])
