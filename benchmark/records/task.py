"""Tasks: which images are classified, under which threat and how exactly; no torch."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.engine.threat import Threat


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """All that the jobs of a run have in common beside the victim; every field of it decides results.

    A field that a request has too (`precision`) is filled from it, by its name, when the request is prepared.

    Args:
        dataset: Its name; the pixels' own hash stands in each shard.
        classes: How many it has.
        shape: `(c, h, w)` of an image at the classifier's input.
        threat: The budget.
        split: `train` or `test`.
        order: Of which order of the dataset the images are the first: `nested` or `robustbench`.
        only_classes: The classes whose images that order was cut down to; none for all.
        preparation: How the dataset's files became images; empty where there is but one way.
        source: sha256 of the source of the dataset, hex.
        precision: `float32`, `float64`, or `mixed`: searched in bfloat16, then in float32.
        seed: Decides every draw.
        identity: The user's word for what no hash sees; empty for none.
    """

    dataset: str
    classes: int
    shape: tuple[int, int, int]
    threat: Threat
    split: str = "test"
    order: str = "nested"
    only_classes: tuple[int, ...] = ()
    preparation: str = ""
    source: str = ""
    precision: str = "float32"
    seed: int = 0
    identity: str = ""
