"""Commands of the pages, held without their long work: parsed, planned, every name and value looked up.

A `bench` command that trains, evaluates or times is given as it stands, and does all that it does before it
begins to compute: options, names, arguments, protocols, weights. Where the computing would begin it ends.
Weights that it would have trained are there afterwards as empty files, so that a later command finds them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from packaging.requirements import Requirement

import benchmark.classifiers.file
import benchmark.estimate.estimate
import benchmark.evaluation.execute.run
import benchmark.evaluation.prepare.resolve
import benchmark.selftest.check
import benchmark.selftest.suite
import benchmark.training.fit
from benchmark.cli import main
from benchmark.cli.main import bench
from benchmark.engine.arguments import refuse_arguments
from benchmark.engine.dataset import Dataset
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.defense import Defense
from benchmark.evaluation.prepare.loading import published_name
from benchmark.evaluation.prepare.request import Request
from benchmark.evaluation.prepare.resolve import resolve
from benchmark.expression import parse_model
from benchmark.files.locations import is_remote, refuse_other_form
from benchmark.files.weights import find_weights
from benchmark.plugins import ATTACKS
from benchmark.records.protocol import Protocol
from benchmark.records.protocol_files import load_protocol
from tests.helpers.doc_pages import ROOT

QUICK = frozenset({"list", "claims", "table", "validate", "publish", "plot"})
"""Commands that are run wherever they stand: they take a moment and no network."""
PARSED = frozenset({"compare", "challenge", "audit", "manifest", "baselines"})
"""Commands on files that only their reader has: their options and values are parsed."""
READERS = re.compile(r"(?<=file:)[\w.-]+(?=@)|(?<=--weights )[\w.-]+(?= |$)")
"""Weights of the reader's own, a file of the current folder."""
MADE = ("transfer",)
"""What a row of a protocol may name that is no attack."""


def give(words: Sequence[str], *, is_run: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs or holds one command of a page, in the current folder.

    Args:
        words: The command.
        is_run: Whether its block is marked to run as it stands.
        monkeypatch: Ends commands before their long work.
    """
    program, *rest = [words[0].removeprefix(".venv/bin/"), *words[1:]]
    if program == "bench":
        if is_run or rest[0] in QUICK:
            assert main(_on_few_images(rest)) == 0
        elif rest[0] in PARSED:
            parse(rest)
        else:
            for name in READERS.findall(" ".join(rest)):
                Path(name).touch()
            with monkeypatch.context() as patch:
                end_before_the_work(patch)
                assert main(rest) == 0
        return
    assert not is_run, f"{program}: only bench commands are run from a page"
    holders = {
        "python": _hold_python,
        "python3": _hold_python,
        "pip": _hold_pip,
        "sh": _hold_script,
    }
    if program == ".":
        assert rest == [".venv/bin/activate"]
    elif program in ("export", "unset"):
        _set(program, rest[0], monkeypatch)
    elif program in holders:
        holders[program](rest)
    elif program != "pytest":
        pytest.fail(f"{program!r} is no program that a page's commands are held for")


def _on_few_images(words: list[str]) -> list[str]:
    """A command on two images, however many it names."""
    at = words.index("--samples") + 1 if "--samples" in words else 0
    return [*words[:at], str(min(2, int(words[at]))), *words[at + 1 :]] if at else words


def parse(words: Sequence[str]) -> click.Context:
    """Parses a `bench` command down to its last option, and calls nothing; returns its values."""
    command: click.Command = bench
    name, rest = "bench", list(words)
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, f"{name} has no command {rest[0]!r}"
        command, name, rest = found, f"{name} {rest[0]}", rest[1:]
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            parameter.type.exists = False  # the reader's own file
    with command.make_context(
        name, rest
    ) as context:  # what an option changes until the command ends is undone
        return context


def end_before_the_work(patch: pytest.MonkeyPatch) -> None:
    """Lets `bench run`, `train`, `estimate`, `check` and `selftest` end where their computing would begin."""
    patch.setenv("BENCH_OFFLINE", "1")
    patch.setattr(benchmark.evaluation.execute.run, "run_shown", _planned)
    patch.setattr(benchmark.evaluation.execute.run, "run_slice", _planned)
    patch.setattr(benchmark.estimate.estimate, "estimate", _planned)
    patch.setattr(benchmark.selftest.check, "check_request", _planned)
    patch.setattr(benchmark.selftest.suite, "selftest", _ended)
    patch.setattr(benchmark.classifiers.file, "local_file", _on_disk)
    patch.setattr(benchmark.evaluation.prepare.resolve, "find_weights", _found)
    patch.setattr(benchmark.training.fit, "choose_device", _cpu)
    patch.setattr(benchmark.training.fit, "load_classifier", _stand_in)
    patch.setattr(benchmark.training.fit, "_accept", _accepted)
    patch.setattr(benchmark.training.fit, "train", _trained)


def hold_request(request: Request) -> None:
    """Looks up everything that a request names."""
    resolve(request)
    wanted = request.protocol
    hold_protocol(load_protocol(wanted) if isinstance(wanted, str) else wanted)


def hold_protocol(protocol: Protocol) -> None:
    """Looks up a protocol's attacks, and holds their arguments to what they take."""
    for row in (*protocol.sources, *protocol.attacks):
        if row.attack not in MADE:
            refuse_arguments(row.arguments, ATTACKS.get(row.attack), what=f"row {row.id!r}")


def _planned(request: Request, *_: Any) -> None:
    hold_request(request)
    raise click.exceptions.Exit(0)


def _ended(*_: Any, **__: Any) -> None:
    raise click.exceptions.Exit(0)


def _cpu(_: str) -> torch.device:
    """What is held computes nothing, so that a page's GPU need not be there."""
    return torch.device("cpu")


def _on_disk(text: str, **_: Any) -> Path:
    """An empty file where one would lie, downloaded or not; a text that names none is refused."""
    if is_remote(text):
        refuse_other_form(text)
    path = Path(text.partition("#")[0].rpartition("/")[2])
    path.touch()
    return path


def _found(kind: type[Defense], *, explicit: Path | str | None, **names: str) -> Path | None:
    """Weights as ever; those that would be downloaded, an empty file."""
    if explicit is not None and is_remote(str(explicit)):
        return _on_disk(str(explicit))
    return find_weights(kind, explicit=explicit, **names)


def _stand_in(name: str, *, dataset: Dataset, **_: Any) -> Classifier:
    """A classifier of the name that would be loaded; a name that nobody has is refused."""
    return Classifier(
        torch.nn.Sequential(
            torch.nn.AdaptiveAvgPool2d(4),
            torch.nn.Flatten(),
            torch.nn.Linear(16 * dataset.shape[0], dataset.classes),
        ),
        name=published_name(parse_model(name), dataset.name),
        classes=dataset.classes,
        sha256="0" * 64,
    )


def _accepted(*_: Any) -> None:
    """A stand-in is a classifier; the images that show it may not be here."""


def _trained(*_: Any, out: Path, **__: Any) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.touch()
    return out


def _set(program: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets a variable, or gives it back the value that it has in the tests: never the user's own folders."""
    name, _, value = text.partition("=")
    if program == "export":
        monkeypatch.setenv(f"BEFORE_{name}", os.environ.get(name, ""))
        monkeypatch.setenv(name, value)
    else:
        monkeypatch.setenv(name, os.environ[f"BEFORE_{name}"])


def _hold_python(words: list[str]) -> None:
    """A module with its arguments, where it says what it takes; or a script that the page has shown."""
    if words[0] != "-m":
        assert Path(words[0]).is_file(), f"no file {words[0]}"
        return
    _, name, *rest = words
    assert importlib.util.find_spec(name) is not None, f"no module {name}"
    if name.startswith(("tests.", "benchmark.")):
        module = importlib.import_module(name)
        if hasattr(module, "__path__"):  # a package: what `python -m` runs is in it
            module = importlib.import_module(f"{name}.__main__")
        command = getattr(module, "main", None)
        if isinstance(command, click.Command):
            command.make_context(name, rest)
        elif hasattr(module, "parsed"):
            module.parsed(rest)
        else:
            assert not rest, f"{name} says nothing of the arguments that it takes"


def _hold_pip(words: list[str]) -> None:
    """Packages that pip can read, or folders that are there, with extras that they have."""
    assert words[0] == "install"
    given = [word for word in words[1:] if not word.startswith("-")]
    for word in given:
        if word.startswith("."):
            folder, _, extra = word.rstrip("]").partition("[")
            project = (ROOT / folder / "pyproject.toml").read_text()
            assert not extra or re.search(rf"^{extra} = \[", project, re.MULTILINE)
        else:
            Requirement(word)


def _hold_script(words: list[str]) -> None:
    """A script that the project hands out."""
    assert list((ROOT / "docs").rglob(words[0])), f"no script {words[0]}"
