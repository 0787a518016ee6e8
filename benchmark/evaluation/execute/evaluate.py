"""The same as `bench run`, from Python."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from benchmark.datasets.given import Given
from benchmark.engine.dataset import Dataset
from benchmark.engine.threat import Threat
from benchmark.engine.victims.defense import Defense
from benchmark.errors import BenchError
from benchmark.evaluation.execute.run import Listener, run
from benchmark.evaluation.prepare.request import Request
from benchmark.records.entry import Entry


def evaluate(
    defense: str | Defense | None = None,
    model: str | nn.Module | None = None,
    *,
    dataset: str | Dataset | tuple[Tensor, Tensor] | None = None,
    threat: str | Threat | None = None,
    options: Request | None = None,
    identity: str | None = None,
    listener: Listener | None = None,
) -> Entry:
    """Evaluates a purifier in front of a classifier and returns the entry that a leaderboard would publish.

    Each setting has one place: what is given here is not given in `options` too, unless it is the same.

    Args:
        defense: A name, `module:Class`, a chain, or a prepared-by-nobody `Defense` object; None for that of
            `options`.
        model: A classifier's name, or any module from images in [0, 1] to logits; None for that of `options`,
            else the dataset's.
        dataset: A name, a `Dataset`, or `(images, labels)`; None for that of `options`, else the model's.
        threat: Such as `linf:8/255`; needed where images are handed over; None for that of `options`, else the
            model's or the dataset's.
        options: Everything else (`Request(defense=..., protocol="standard", samples=64, ...)`).
        identity: A text that tells the objects given here from others, where they hold what no hash sees; None
            for that of `options`.
        listener: Told of progress.

    Returns:
        The entry. Nothing is written but the shards under `options.runs`.

    Raises:
        BenchError: The request cannot be met as it stands, or `options` says otherwise than an argument.
    """
    given = {
        "defense": defense,
        "model": model,
        "dataset": dataset,
        "threat": threat,
        "identity": identity or None,
    }
    wanted = {name: _agreed(name, value, options) for name, value in given.items()}
    wanted["identity"] = wanted["identity"] or ""
    if wanted["defense"] is None:
        raise BenchError("evaluate needs a defense, such as evaluate('jpeg')")
    if isinstance(wanted["dataset"], tuple):
        wanted["dataset"] = _given(wanted["dataset"], wanted["threat"])
    request = replace(options, **wanted) if options else Request(**wanted)
    return run(request, listener)


def _agreed(name: str, given: Any, options: Request | None) -> Any:
    """A setting, from its argument or from the options.

    Raises:
        BenchError: Both have one, and they differ.
    """
    known = getattr(options, name, None)
    known = None if isinstance(known, str) and not known else known
    if given is None or known is None:
        return known if given is None else given
    texts = [str(each) if isinstance(each, str | Threat) else None for each in (given, known)]
    if given is known or (texts[0] is not None and texts[0] == texts[1]):
        return given
    first, second = (
        repr(type(each).__name__ if text is None else text)
        for each, text in zip((given, known), texts, strict=True)
    )
    raise BenchError(
        f"{name} is given twice: evaluate has {first}, and its options have {second}; give it once"
    )


def _given(pair: tuple[Tensor, Tensor], threat: object) -> Dataset:
    """Images and labels as a dataset.

    Raises:
        BenchError: They are not of that form, or nobody says what threat is meant.
    """
    if threat is None:
        raise BenchError("images handed over need a threat, such as threat='linf:8/255'")
    images, labels = pair
    classes = int(labels.max()) + 1 if len(labels) else 0
    dataset = Given(images=images, labels=labels, classes=max(2, classes), title="given")
    dataset.has_open_classes = True
    return dataset
