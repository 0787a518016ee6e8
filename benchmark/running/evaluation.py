"""The same as `bench run`, from Python."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from benchmark.dataset import Dataset
from benchmark.datasets.given import Given
from benchmark.defense import Defense
from benchmark.errors import BenchError
from benchmark.publishing.entry import Entry
from benchmark.running.request import Request
from benchmark.running.run import Listener, run
from benchmark.threat import Threat


def evaluate(
    defense: str | Defense,
    model: str | nn.Module | None = None,
    *,
    dataset: str | Dataset | tuple[Tensor, Tensor] | None = None,
    threat: str | Threat | None = None,
    options: Request | None = None,
    identity: str | None = None,
    listener: Listener | None = None,
) -> Entry:
    """Evaluates a purifier in front of a classifier and returns the entry that a leaderboard would publish.

    Args:
        defense: A name, `module:Class`, a chain, or a prepared-by-nobody `Defense` object.
        model: A classifier's name, or any module from images in [0, 1] to logits; None for the dataset's.
        dataset: A name, a `Dataset`, or `(images, labels)`.
        threat: Such as `linf:8/255`; needed where images are handed over.
        options: Everything else (`Request(defense=..., protocol="standard", samples=64, ...)`); its
            defense, model, dataset and threat are replaced by those given here.
        identity: A text that tells the objects given here from others, where they hold what no hash sees;
            None for that of `options`.
        listener: Told of progress.

    Returns:
        The entry. Nothing is written but the shards under `options.runs`.

    Raises:
        BenchError: The request cannot be met as it stands.
    """
    if isinstance(dataset, tuple):
        if threat is None:
            raise BenchError("images handed over need a threat, such as threat='linf:8/255'")
        images, labels = dataset
        classes = int(labels.max()) + 1 if len(labels) else 0
        dataset = Given(images=images, labels=labels, classes=max(2, classes), title="given")
        dataset.has_open_classes = True
    request = replace(
        options or Request(defense=defense),
        defense=defense,
        model=model,
        dataset=dataset,
        threat=threat,
    )
    if identity is not None:
        request = replace(request, identity=identity)
    return run(request, listener)
