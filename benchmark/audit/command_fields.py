"""The command of an entry against its fields: what it says twice, it says alike."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from benchmark.errors import BenchError
from benchmark.evaluation.execute.kept_images import wanted_images
from benchmark.evaluation.prepare.reproduce import read_command
from benchmark.evaluation.prepare.request import arguments_by_stage, parse_arguments
from benchmark.expression import parse_defense, stages_of
from benchmark.plugins import DEFENSES
from benchmark.records.entry import Entry
from benchmark.records.job import MIXED

ORDER = (
    *("defense", "model", "dataset", "threat", "protocol", "samples", "seed"),
    *("order", "classes", "precision", "weights", "keep-images"),
)
"""Options in the order in which `bench run` writes them."""


def problems_of_command(entry: Entry) -> Iterator[str]:
    """What a command says that the fields do not."""
    try:
        options, pairs = read_command(entry.command)
        arguments = parse_arguments(pairs)
    except BenchError as error:
        yield f"command: {error}"
        return
    words = ["bench", "run"]
    for name in ORDER:
        words += [f"--{name}", options[name]] if name in options else []
    words += [word for pair in pairs for word in ("--defense-arg", pair)]
    if entry.command != shlex.join(words):
        yield f"command is not as bench run writes it: {shlex.join(words)[:200]!r}"
    for name, wanted in _wanted(entry, options).items():
        if options.get(name) != wanted:
            yield f"command: --{name} is {options.get(name)}, and the entry says {wanted}"
    kept, which = entry.kept_images, wanted_images(options.get("keep-images"), entry.protocol.name)
    if kept is not None and kept.which != which:
        yield f"command: it keeps {which or 'no'} images, and the entry kept {kept.which}"
    yield from _defense(entry, options.get("defense", ""), arguments)


def _wanted(entry: Entry, options: dict[str, str]) -> dict[str, str | None]:
    """What options must say; those that name a file or an object by another name are left out."""
    about = entry.dataset
    wanted: dict[str, str | None] = {
        "threat": entry.threat.text,
        "samples": str(about.n),
        "seed": str(entry.seed),
        "order": None if about.order == "nested" else about.order,
        "classes": ",".join(map(str, about.only_classes)) or None,
    }
    precision = options.get("precision", "float32")
    if precision != MIXED or entry.precision != "float32":  # where no attack mixes, all is float32
        wanted["precision"] = None if entry.precision == "float32" else entry.precision
    if not options.get("protocol", "").endswith((".yaml", ".yml")):
        wanted["protocol"] = entry.protocol.name
    if ":" not in options.get("dataset", ":"):
        wanted["dataset"] = about.name
    if ":" not in options.get("model", ":"):
        wanted["model"] = entry.classifier.name
    return wanted


def _defense(entry: Entry, text: str, arguments: dict[str, Any]) -> Iterator[str]:
    """The stages that an expression names are the entry's, and have the arguments that the command gives."""
    try:
        named = stages_of(parse_defense(text))
        given = arguments_by_stage(named, arguments)
    except BenchError as error:
        if text != entry.defense.label:  # an object from Python is called by its label
            yield f"command: --defense {text!r} cannot be read: {error}"
        return
    stages = entry.defense.stages
    if len(named) != len(stages):
        yield f"command: --defense names {len(named)} purifiers, and the entry has {len(stages)}"
        return
    for one, stage, own in zip(named, stages, given, strict=True):
        path = DEFENSES.path_of(one.name) if one.name in DEFENSES.names() else one.name
        if path != stage.plugin and one.name != stage.label:
            yield f"command: --defense names {path}, and the entry {stage.plugin}"
        for key, value in own.items():
            said = stage.arguments.get(key)
            if said != value:
                yield f"command: {key} of {stage.label} is {value}, and the entry says {said}"
