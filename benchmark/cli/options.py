"""Options that several commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from benchmark.cli.types import Number, Word
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.names import refuse_protocol, refuse_unknown
from benchmark.evaluation.prepare.paper_defaults import defenses_of, tasks_of
from benchmark.evaluation.prepare.request import (
    PRECISIONS,
    Request,
    parse_arguments,
    with_arguments,
)
from benchmark.records.protocol_files import load_protocol, protocol_names

Decorator = Callable[[Any], Any]

MOST = 10**9
"""Images, and rows of one pass."""
MOST_PROCESSES = 4096
"""Processes, and threads of one."""


def folder_option(flag: str, default: str, help_text: str, metavar: str | None = None) -> Decorator:
    """A folder, such as `--runs`, which is below this one unless it is said where."""
    kind = click.Path(path_type=Path)
    return click.option(
        flag, type=kind, default=Path(default), show_default=True, metavar=metavar, help=help_text
    )


def file_option(flag: str, help_text: str, metavar: str = "FILE") -> Decorator:
    """A file or a folder, such as `--out`; None where none is named."""
    return click.option(flag, type=click.Path(path_type=Path), metavar=metavar, help=help_text)


def number_option(flag: str, help_text: str, most: int = MOST, metavar: str = "N") -> Decorator:
    """A number of something, such as `--samples`; None where none is given."""
    return click.option(flag, type=Number(1, most), metavar=metavar, help=help_text)


def word_option(flag: str, words: Sequence[str], help_text: str) -> Decorator:
    """One of a few words, such as `--order`; the first where none is given."""
    return click.option(flag, type=Word(words), default=words[0], show_default=True, help=help_text)


def json_option(what: str = "a JSON array") -> Decorator:
    """`--json`, whose value is `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what}.")


def arguments_option(flag: str, help_text: str) -> Decorator:
    """An option given once for each argument, such as `--defense-arg`, whose values are `defense_args`."""
    name = f"{flag.strip('-').replace('-', '_')}s"
    return click.option(flag, name, multiple=True, metavar="KEY=VALUE", help=help_text)


def together(*options: Decorator) -> Decorator:
    """Several options as one; they stand in the help in this order."""
    return lambda function: functools.reduce(lambda made, each: each(made), options[::-1], function)


def model_option(*, multiple: bool) -> Decorator:
    """`--model`, once or several times."""
    return click.option(
        "--model",
        "models" if multiple else "model",
        multiple=multiple,
        metavar="NAME",
        help="The frozen classifier: a name (bench list models), a RobustBench name or a short one "
        "(Gowal2021), file:PATH@ARCHITECTURE, with a URL or hf:org/name in the place of PATH, or an "
        "ensemble: 'mean(digits-cnn, digits-mlp)'. "
        "Default: the dataset's own.",
    )


weights_option = click.option(
    "--weights",
    metavar="FILE|URL|hf:ORG/NAME",
    help="The defense's weights (safetensors): a path, https://...[#sha256=...], or "
    "hf:org/name[@revision][/file]. Default: those shipped, listed or trained.",
)
device_option = click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]"
)


def _go_offline(context: click.Context, _option: click.Parameter, is_asked: bool) -> None:
    """Forbids downloads to this process and its children until the command is over."""
    for name in ("BENCH_OFFLINE", "HF_HUB_OFFLINE") if is_asked else ():
        before = os.environ.get(name)
        os.environ[name] = "1"
        context.call_on_close(functools.partial(_restore, name, before))


def _restore(name: str, value: str | None) -> None:
    os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value


offline_option = click.option(
    "--offline",
    is_flag=True,
    expose_value=False,
    callback=_go_offline,
    help="Download nothing; say what is missing and where it belongs. Also: BENCH_OFFLINE=1.",
)
data_option = file_option(
    "--data",
    "Where datasets and classifiers are. Default: $BENCH_DATA, else a cache folder.",
    "DIR",
)
remake_options = together(
    data_option, offline_option, weights_option, device_option, json_option("a JSON object")
)
"""Where an entry's victim is made again, and how its report is printed."""
task_options = together(
    click.option(
        "--dataset",
        metavar="NAME",
        help="bench list datasets, module:Class, npz:FILE, or folder:PATH. Default: the model's, "
        "else digits.",
    ),
    data_option,
    offline_option,
    click.option(
        "--threat",
        metavar="NORM:EPS",
        help="Such as linf:8/255 or l2:0.5, in pixel units of [0, 1], or a set such as stadv:0.05. "
        "Default: the model's, else the dataset's.",
    ),
    click.option(
        "--seed",
        type=Number(0, 2**63 - 1),
        default=0,
        show_default=True,
        help="Decides every draw.",
    ),
)
"""What is classified, and where its files are."""


def _class_numbers(value: str) -> tuple[int, ...]:
    parts = value.split(",")
    if not all(part.isdecimal() and part.isascii() and len(part) < 6 for part in parts):
        raise BenchError(f"--classes {value!r}: expected numbers with commas, such as 7,8,9")
    return tuple(sorted({int(part) for part in parts}))


evaluation_options = together(
    task_options,
    click.option(
        "--protocol",
        default="quick",
        show_default=True,
        metavar="NAME|FILE.yaml",
        help="bench list protocols. A paper's (aid-table8) says dataset, model and threat too, where "
        "the command does not.",
    ),
    number_option(
        "--samples", "The first N images of the test split. Default: the protocol's number."
    ),
    word_option(
        "--order",
        ["nested", "robustbench"],
        "In which order they are the first: one balanced over classes, or RobustBench's own.",
    ),
    click.option(
        "--classes",
        "only_classes",
        type=_class_numbers,
        metavar="I,J,...",
        help="Evaluate only images of these classes, such as 7,8,9; still classified among all.",
    ),
    number_option(
        "--batch-size",
        "Rows in one forward pass at the most; changes memory and time only.",
        metavar="ROWS",
    ),
    number_option(
        "--workers",
        "Worker processes, which take turns on all GPUs. Default: one a core, or one a GPU.",
        MOST_PROCESSES,
    ),
    word_option(
        "--precision",
        PRECISIONS,
        "mixed: bfloat16 searches, float32 judges, and attacks again what survived.",
    ),
    folder_option("--runs", "runs", "Where finished shards are kept."),
)
"""What is evaluated, how much of it, how, and where finished work is kept."""


defense_options = together(
    click.option(
        "--defense",
        "defenses",
        multiple=True,
        metavar="NAME",
        help="A name (bench list defenses), module:Class, none, a chain such as atop+jpeg, NAME@MODEL "
        "for weights trained for another classifier, or 'mean(atop>MODEL, none>MODEL)'. May be given "
        "again. Default: none and atop; of a paper's protocol none and the paper's.",
    ),
    arguments_option(
        "--defense-arg",
        "An argument of the defense; with several defenses, in a chain or in an expression NAME.KEY=VALUE.",
    ),
    weights_option,
)
"""Which defenses are evaluated."""


run_options = together(defense_options, model_option(multiple=True), evaluation_options)
"""All that decides what `bench run` evaluates."""


def request_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given and that a request takes as they stand: not the defense and its arguments."""
    names = {each.name for each in fields(Request)} - {"defense", "defense_args"}
    return {name: value for name, value in options.items() if name in names and value is not None}


def requests_of(options: Mapping[str, Any]) -> list[Request]:
    """One request for each classifier and defense of a command line, and each threat of a paper's protocol.

    Raises:
        BenchError: A name is nobody's, an argument belongs to none of several defenses, or weights of one are
            given for several.
    """
    protocol = load_protocol(options["protocol"])
    defenses = defenses_of(protocol, options["defenses"])
    if options["weights"] and len(defenses) > 1:
        raise BenchError("--weights goes with exactly one --defense; run the command once for each")
    wanted = [Request(defense=defense, **request_options(options)) for defense in defenses]
    wanted = with_arguments(wanted, parse_arguments(options["defense_args"]))
    requests = tasks_of(protocol, wanted, options["models"])
    if options["protocol"] not in protocol_names():
        refuse_protocol(protocol)
    for request in requests:
        refuse_unknown(request)
    return requests
