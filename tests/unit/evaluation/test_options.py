"""Options: a new one is a line of the command, a field of a request and a field of a task, in three files."""

from dataclasses import dataclass

import click
import pytest

import benchmark.cli.options
import benchmark.evaluation.prepare.prepare
from benchmark.cli.options import (
    defense_options,
    device_option,
    evaluation_options,
    model_option,
    requests_of,
)
from benchmark.evaluation.prepare.plan import make_plan
from benchmark.evaluation.prepare.prepare import prepare
from benchmark.evaluation.prepare.request import Request
from benchmark.expression import parse_defense
from benchmark.records.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperate(Request):
    """A request with a made-up option."""

    temperature: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TemperateTask(Task):
    """A task with it."""

    temperature: float = 1.0


@click.command()
@defense_options
@model_option(multiple=True)
@evaluation_options
@device_option
@click.option("--temperature", type=float, default=1.0)
def command(**options):
    """Of all the options of an evaluation, and the made-up one."""
    return requests_of(options)


def planned(words):
    """The jobs of a command line."""
    wanted = ["--defense", "none", "--protocol", "quick", "--samples", "2", "--device", "cpu"]
    (request,) = command.main([*wanted, *words], standalone_mode=False)
    rows, _ = make_plan(prepare(request))
    return [row.job for row in rows]


@pytest.fixture
def made_up(monkeypatch):
    monkeypatch.setattr(benchmark.cli.options, "Request", Temperate)
    monkeypatch.setattr(benchmark.evaluation.prepare.prepare, "Task", TemperateTask)


@pytest.mark.usefixtures("made_up")
def test_a_made_up_option_reaches_every_job_and_its_key():
    plain, warm = planned([]), planned(["--temperature", "2.5"])
    assert [job.task.temperature for job in warm] == [2.5] * len(warm)
    assert not {job.key for job in plain} & {job.key for job in warm}


def test_a_defense_is_read_once_from_the_command_to_the_plan():
    parse_defense.cache_clear()
    planned([])
    assert parse_defense.cache_info().misses == 1
