"""What weights were trained for: stated in their file or the record beside it, and held against their use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError
from safetensors import safe_open

from benchmark.errors import BenchError
from benchmark.files.known_hashes import file_sha256
from benchmark.files.parsing import DAMAGED
from benchmark.files.schema import Arguments, Strict

KEY: Final = "trained_for"
"""Under which it stands in the metadata of a safetensors file."""
LENGTH: Final = frozenset({"steps", "batch_size"})
"""Arguments of a recipe that say how long it trains; a defense may have others of these names."""
_LONGEST = 100_000
"""Characters of a statement that is read at all."""


class Behind(Strict):
    """A frozen classifier that a defense was trained for."""

    name: str
    sha256: str


class TrainedFor(Strict):
    """What `bench train` writes into the weights of a defense."""

    schema_version: Literal[1] = 1
    defense: str = ""
    """Its label, such as `atop[digits]`; empty where nobody said."""
    classifiers: tuple[Behind, ...] = ()
    """The defended one first."""
    dataset: str = ""
    shape: tuple[int, ...] = ()
    """`(c, h, w)` of an image."""
    threat: str = ""
    recipe: str = ""
    """`module:Class`."""
    arguments: Arguments = Field(default_factory=dict)
    """Of the recipe."""
    images: int | None = None
    """How many training images were used of those that its recipe wants; None for all."""
    seed: int | None = None
    behind: str = ""
    """Labels of the purifiers that stood before it, joined by `+`; empty where it was trained alone."""

    @property
    def names(self) -> tuple[str, ...]:
        """The classifiers' names."""
        return tuple(classifier.name for classifier in self.classifiers)


Difference = Literal["classifier", "dataset", "arguments", "alone", "behind"]


class Provenance(Strict):
    """What an entry says of a stage's training."""

    stated_by: Literal["weights", "record", "nothing"]
    """Where it was found: in the weights' own metadata, or in the training record beside them."""
    trained_for: TrainedFor | None = None
    differs: tuple[Difference, ...] = ()
    """In what it was evaluated on something else: another classifier, other images than a dataset known by
    name, other arguments, behind a purifier though it was trained alone, or behind another one."""
    unlike_recipe: Arguments = Field(default_factory=dict)
    """Arguments of its training that are not its recipe's own, such as fewer epochs; known of weights that
    state their training themselves."""

    @property
    def is_as_meant(self) -> bool:
        """Whether it was trained by its recipe as that stands, for what it was evaluated on."""
        return not self.differs and not self.unlike_recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class IntendedUse:
    """What weights are about to be used for.

    Args:
        name: What the user calls the defense.
        label: Its label.
        classifier: Name and sha256 of the one behind it.
        trained: Names of the classifiers that the user says it was trained for (`NAME@...`); none for the one
            behind it.
        dataset: The dataset's name.
        is_known: Whether that name is one of those listed, so that another one means other images.
        shape: `(c, h, w)` of an image.
        arguments: The defense's own.
        behind: Labels of the purifiers before it, joined by `+`.
        defaults: Gives those of its recipe's arguments; called where weights state their own training.
    """

    name: str
    label: str
    classifier: tuple[str, str]
    trained: tuple[str, ...]
    dataset: str
    is_known: bool
    shape: tuple[int, ...]
    arguments: Mapping[str, object]
    behind: str
    defaults: Callable[[], Mapping[str, object]] = dict


def provenance_of(path: Path, use: IntendedUse) -> Provenance:
    """What a weights file states, held against what it is used for.

    What is stated nowhere is not held against anything, and the entry says so.

    Raises:
        BenchError: It was trained for another defense, dataset, shape or classifier than the user says, or the
            statement is damaged.
    """
    stated_by, found = stated(path)
    if found is None:
        elsewhere = use.trained and use.trained != (use.classifier[0],)
        return Provenance(stated_by=stated_by, differs=("classifier",) if elsewhere else ())
    for misuse in _misused(found, use):
        raise BenchError(f"weights {str(path)!r} were trained for {misuse}")
    return Provenance(
        stated_by=stated_by,
        trained_for=found,
        differs=_differences(found, use),
        unlike_recipe=_unlike_recipe(found, use) if stated_by == "weights" else {},
    )


def stated(path: Path) -> tuple[Literal["weights", "record", "nothing"], TrainedFor | None]:
    """What a weights file was trained for, and who says so: its metadata first, the record beside it second.

    A record counts only where it names the sha256 of the file.

    Raises:
        BenchError: The file or its statement is damaged.
    """
    text = _metadata(path).get(KEY)
    if text is not None:
        return "weights", _parsed(text, f"weights {str(path)!r}")
    record = _record(path)
    if record is None:
        return "nothing", None
    if isinstance(record.get(KEY), dict):
        return "record", _parsed(json.dumps(record[KEY]), str(path.with_suffix(".json")))
    return "record", _of_old_record(record, str(path.with_suffix(".json")))


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except DAMAGED as error:
        raise BenchError(
            f"weights {str(path)!r} are no whole safetensors file ({error}); make or download them again"
        ) from error


def _record(path: Path) -> dict[str, Any] | None:
    """The training record beside a file; None where there is none that is about it."""
    try:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("weights_sha256") != file_sha256(path):
        return None
    return record


def _of_old_record(record: Mapping[str, Any], where: str) -> TrainedFor:
    """The statement of a record that was written before there were statements."""
    setting = record.get("setting")
    if not isinstance(setting, dict):
        raise BenchError(f"{where} is no training record; move it away, or train again")
    name = setting.get("classifier")
    values = {
        "classifiers": [{"name": name, "sha256": setting.get("classifier_sha256")}] if name else [],
        **{key: setting.get(key) for key in ("dataset", "shape", "threat")},
        **{key: record.get(key) for key in ("recipe", "arguments", "images", "seed")},
    }
    said = {key: value for key, value in values.items() if value is not None}
    return _parsed(json.dumps(said), where)


def _parsed(text: str, where: str) -> TrainedFor:
    try:
        if len(text) > _LONGEST:
            raise ValueError(f"it has {len(text)} characters")
        return TrainedFor.model_validate_json(text)
    except (ValidationError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise BenchError(
            f"{where}: what it was trained for cannot be read ({' '.join(reason.split())[:200]}); train again, "
            f"or take a version of purifybench that knows it"
        ) from error


def _misused(found: TrainedFor, use: IntendedUse) -> Iterator[str]:
    """What it was trained for and is not used for, and what to do."""
    dataset = use.dataset if use.is_known else found.dataset
    for what, trained, used in (
        ("the defense", found.defense, use.label),
        ("the dataset", found.dataset, dataset),
        ("images of shape", found.shape, use.shape),
    ):
        if trained and trained != used:
            yield (
                f"{what} {_said(trained)}, not for {_said(used)}; take others, or train: bench train "
                f"--defense {use.name}"
            )
    if not found.classifiers:
        return
    names, (name, sha256), own = (
        " and ".join(found.names),
        use.classifier,
        found.classifiers[0].sha256,
    )
    trained_for = f"{use.name}@{'&'.join(found.names)}"
    hint = f"write --defense {trained_for!r}"
    if use.trained:
        if use.trained != found.names:
            yield f"{names}, not for {' and '.join(use.trained)}; {hint}"
    elif found.names != (name,):
        yield (
            f"the classifier {names}, not for {name}; to evaluate them on {name} all the same, {hint}"
        )
    elif own != sha256:
        yield (
            f"another {name} (sha256 {own[:16]}...) than this one ({sha256[:16]}...); to evaluate them all the "
            f"same, {hint}"
        )


def other_arguments(found: TrainedFor, used: Mapping[str, object]) -> dict[str, object]:
    """The arguments of a training that the defense takes too and now has other values of."""
    shared = [name for name in found.arguments if name in used and name not in LENGTH]
    return {n: found.arguments[n] for n in shared if found.arguments[n] != _plain(used[n])}


def _unlike_recipe(found: TrainedFor, use: IntendedUse) -> dict[str, Any]:
    """What was given to its training; further classifiers stand in its statement as such.

    An argument that the defense takes too is its label's to tell, but for a length: that is the recipe's alone.
    """
    defaults = use.defaults()
    given = {
        name: value
        for name, value in found.arguments.items()
        if name in defaults and (name in LENGTH or name not in use.arguments) and value is not None
        if value != _plain(defaults[name])
        if not (name == "companions" and value == list(found.names[1:]))
    }
    return given if found.images is None else given | {"--images": found.images}


def _differences(found: TrainedFor, use: IntendedUse) -> tuple[Difference, ...]:
    known = {(classifier.name, classifier.sha256) for classifier in found.classifiers}
    holds: dict[Difference, bool] = {
        "classifier": bool(known) and use.classifier not in known,
        "dataset": bool(found.dataset) and found.dataset != use.dataset,
        "arguments": bool(other_arguments(found, use.arguments)),
        "alone": bool(use.behind) and not found.behind,
        "behind": bool(found.behind) and found.behind != use.behind,
    }
    return tuple(name for name, differs in holds.items() if differs)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _said(value: object) -> str:
    return " x ".join(map(str, value)) if isinstance(value, tuple) else repr(value)
