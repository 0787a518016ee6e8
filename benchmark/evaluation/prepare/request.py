"""Requests: what a user asks to have evaluated, as one value, and its options read from text."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from benchmark.compute.sandbox import sandboxed
from benchmark.engine.arguments import parameters_of, refuse_arguments
from benchmark.engine.threat import Threat
from benchmark.errors import BenchError, near
from benchmark.evaluation.prepare.slices import Slice
from benchmark.expression import Chain, Expression, StageSpec, model_of, parse_defense, stages_of
from benchmark.files.parsing import read_yaml
from benchmark.plugins import DEFENSES
from benchmark.records.job import MIXED
from benchmark.records.protocol import PRECISION, SEED, Protocol

if TYPE_CHECKING:
    from torch import nn

    from benchmark.engine.dataset import Dataset, Order
    from benchmark.engine.victims.defense import Defense

PRECISIONS = ("float32", "float64", MIXED)
KeepImages = Literal["worst", "all", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One defense on one classifier, under one protocol; every default follows from the dataset.

    Args:
        defense: A name, `module:Class`, a chain (`atop+jpeg`), one trained for another classifier
            (`atop@digits-cnn`), an expression that fixes the classifiers too (`mean(atop>a, none>b)`), or a
            defense object.
        defense_args: Arguments of its constructor; in a chain or an expression `name.argument`.
        model: A classifier's name, `file:PATH`, an ensemble (`mean(a, b)`), or a module from [0, 1] images to
            logits; None for the dataset's own, and with an expression.
        dataset: A name, `npz:FILE`, `folder:PATH`, or a dataset object; None for the model's, else `digits`.
        data: Where datasets and downloaded classifiers are; None for `BENCH_DATA`, else a cache folder.
        threat: Such as `linf:8/255`; None for the model's, else the dataset's.
        protocol: A name, a YAML file, or a protocol.
        samples: How many images; None for the protocol's number.
        order: Of which order of the dataset they are the first: `nested`, balanced over classes, or
            `robustbench`, whose first n are RobustBench's.
        only_classes: Images of these classes alone are evaluated, still among all classes; none for all.
        slice: The part of them that this run works on, without an entry (`run_slice`); None for all.
        seed: Decides every draw.
        device: `auto`, `cpu`, `cuda` or `cuda:0`.
        batch_size: Rows in one forward pass at the most; None for what suits the device.
        workers: Processes; None for one a core on the CPU, and one a GPU. On several GPUs (`auto`, `cuda`) they
            take turns; `cuda:1` keeps all on that one.
        precision: `float32`, `float64`, or `mixed`: bfloat16 searches, float32 judges and attacks again what
            survived.
        runs: Where finished shards are kept.
        weights: The defense's weights: a path, `https://...[#sha256=...]` or `hf:org/name[@revision][/file]`;
            None for those that are found.
        identity: What the user says of objects from Python of which no source is to be had: a text that changes
            whenever they do. It is part of every key, and the entry shows it.
        keep_images: Adversarial images that stay beside the entry for `bench audit`: `worst`, those that count
            under each rule; `all`, of every attack; `none`. None leaves it to the protocol.
        positions: Of the images in that order that alone are evaluated, as an audit draws them; none for all.
        expression: What `defense` says, read.

    Raises:
        BenchError: A value is out of its range, or the defense cannot be read, or names its classifiers and
            comes with another.
    """

    defense: str | Defense
    defense_args: Mapping[str, Any] = field(default_factory=dict)
    model: str | nn.Module | None = None
    dataset: str | Dataset | None = None
    data: Path | None = None
    threat: str | Threat | None = None
    protocol: str | Protocol = "quick"
    samples: int | None = None
    order: Order = "nested"
    only_classes: tuple[int, ...] = ()
    slice: Slice | None = None
    seed: int = SEED
    device: str = "auto"
    batch_size: int | None = None
    workers: int | None = None
    precision: str = PRECISION
    runs: Path = Path("runs")
    weights: Path | str | None = None
    identity: str = ""
    keep_images: KeepImages | None = None
    positions: tuple[int, ...] = ()
    expression: Expression = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("samples", "batch_size", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BenchError(f"{name} is at least 1; got {value}")
        if self.order not in ("nested", "robustbench"):
            raise BenchError(f"order is nested or robustbench; got {self.order!r}")
        if any(label < 0 for label in self.only_classes):
            raise BenchError(f"classes are whole numbers from 0; got {self.only_classes}")
        if self.precision not in PRECISIONS:
            raise BenchError(f"precision is {', '.join(PRECISIONS)}; got {self.precision!r}")
        if self.keep_images not in (None, *get_args(KeepImages)):
            raise BenchError(f"keep_images is worst, all or none; got {self.keep_images!r}")
        object.__setattr__(self, "only_classes", tuple(sorted(set(self.only_classes))))
        if not 0 <= self.seed < 2**63:
            raise BenchError(f"a seed is a whole number from 0; got {self.seed}")
        given = self.defense
        read = parse_defense(given) if isinstance(given, str) else Chain((StageSpec(given.name),))
        object.__setattr__(self, "expression", read)
        if self.model is not None and model_of(self.expression) is not None:
            raise BenchError(
                f"defense {self.defense!r} names its classifiers itself; leave out --model {self.model!r}"
            )

    @property
    def classifier(self) -> str | nn.Module | None:
        """The classifier that is named, by the expression or beside it; None for the dataset's own."""
        model = model_of(self.expression)
        return self.model if model is None else str(model)


def make_defenses(request: Request) -> list[Defense]:
    """The purifiers of a request, in the order in which they were typed, not yet prepared.

    Raises:
        BenchError: A name, or an argument, that there is not.
    """
    if not isinstance(request.defense, str):
        if request.defense_args:
            raise BenchError(
                "a defense object already has its arguments; give defense_args with a name"
            )
        return [copy.copy(request.defense)]  # what is prepared here is not the user's own object
    stages = stages_of(request.expression)
    kinds = [DEFENSES.get(stage.name) for stage in stages]
    given = arguments_by_stage(stages, request.defense_args)
    from benchmark.evaluation.prepare.plugin_ids import watched_for  # with torch, as the classes

    made: list[Defense] = []
    for kind, arguments in zip(kinds, given, strict=True):
        what = f"defense {kind.name!r}"
        refuse_arguments(arguments, kind, what=what)
        with watched_for(kind, parameters_of(kind) | arguments), sandboxed(f"{what}: making it"):
            made.append(kind(**arguments))
    return made


def parse_arguments(pairs: Sequence[str]) -> dict[str, Any]:
    """Reads `key=value` options; a value is what YAML makes of it (`4`, `.25`, `true`, `rt2`).

    Raises:
        BenchError: One is not of that form, is given twice, or its value is no plain one.
    """
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not key or not equals:
            raise BenchError(f"argument {pair!r}: expected key=value, such as sigma=0.1")
        if key in arguments:
            raise BenchError(f"argument {key!r} is given twice: {arguments[key]!r} and {text!r}")
        value = read_yaml(text, where=f"argument {key!r}")
        if isinstance(value, dict):
            raise BenchError(
                f"argument {pair!r}: a value is a number, a word, true, false or a list"
            )
        arguments[key] = value
    return arguments


def with_arguments(requests: Sequence[Request], arguments: Mapping[str, Any]) -> list[Request]:
    """Requests with the arguments of their defenses: of one alone all, else those under the name of a stage.

    `hgd.loss` is for every defense that has a stage called `hgd`; a single purifier takes it as `loss`.

    Raises:
        BenchError: One belongs to no defense.
    """
    if len(requests) == 1:
        return [replace(requests[0], defense_args=arguments)]
    stages = [stages_of(request.expression) for request in requests]
    names = ", ".join(str(request.defense) for request in requests)
    wanted = "with several defenses write NAME.ARGUMENT", f"the defenses are {names}"
    given = _shared_out(arguments, stages, wanted)
    return [
        replace(one, defense_args=own if len(part) > 1 else _unnamed(own))
        for one, own, part in zip(requests, given, stages, strict=True)
    ]


def arguments_by_stage(
    stages: Sequence[StageSpec], arguments: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The arguments of each stage: of one alone all, else those under its name or under its whole text.

    `hgd.loss` is for every stage called `hgd`, `hgd@a.loss` for those typed `hgd@a` alone.

    Raises:
        BenchError: One belongs to no stage.
    """
    if len(stages) == 1:
        return [dict(arguments)]
    names = ", ".join(dict.fromkeys(map(str, stages)))
    wanted = "in a chain or an expression write STAGE.ARGUMENT", f"the stages are {names}"
    return [_unnamed(own) for own in _shared_out(arguments, [[one] for one in stages], wanted)]


def _shared_out(
    arguments: Mapping[str, Any], parts: Sequence[Sequence[StageSpec]], wanted: tuple[str, str]
) -> list[dict[str, Any]]:
    """For each part the arguments under the name of a stage of it, the more precise behind the others."""
    given: list[dict[str, Any]] = [{} for _ in parts]
    for key in sorted(arguments, key=lambda key: "@" in key):
        name, _, argument = key.rpartition(".")
        known = [{text for stage in part for text in (stage.name, str(stage))} for part in parts]
        meant = [own for own, names in zip(given, known, strict=True) if name and name in names]
        if not meant:
            typed = [str(stage) for part in parts for stage in part]
            likely = next(iter(near(name, typed)), typed[-1])
            raise BenchError(
                f"defense argument {key!r}: {wanted[0]}, such as {likely}.{argument}; {wanted[1]}"
            )
        for own in meant:
            own[key] = arguments[key]
    return given


def _unnamed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {key.rpartition(".")[2]: value for key, value in arguments.items()}
