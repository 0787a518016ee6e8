"""Jobs: the key covers all that decides a result, and nothing else."""

from dataclasses import fields, replace

import pytest

from benchmark.engine.criterion import Criterion
from benchmark.engine.threat import Norm, Threat
from benchmark.errors import BenchError
from benchmark.records.job import RUNTIME_FIELDS, ClassifierId, Job, PluginId, canonical
from benchmark.records.task import Task

JOB = Job(
    row="pgd",
    task=Task(dataset="digits", classes=10, shape=(1, 8, 8), threat=Threat(Norm.LINF, 0.15)),
    defenses=(PluginId("a:B", "b", "{}", "00", "11"),),
    classifier=ClassifierId("net", "22"),
    attack=PluginId("attacks.pgd:PGD", "pgd", '{"steps":20}', "33"),
    gradient="exact",
    eot=10,
    is_source=False,
    criterion=Criterion(),
    engine="44",
)
OTHER = {
    "defenses": (),
    "classifier": ClassifierId("net", "23"),
    "composition": "mean(0>a, 1>b)",
    "attack": PluginId("attacks.pgd:PGD", "pgd", '{"steps":20}', "34"),
    "gradient": "bpda",
    "eot": 1,
    "is_source": True,
    "criterion": Criterion(draws=21),
    "fixed_batch": 64,
    "is_uncut": True,
    "knows_draw": True,
    "needs": ("x",),
    "is_last": True,
    "engine": "45",
    "victim": "46",
    "key_version": 0,
}
OTHER_TASK = {
    "dataset": "mnist",
    "classes": 9,
    "shape": (1, 8, 9),
    "threat": Threat(Norm.L2, 0.15),
    "split": "train",
    "order": "robustbench",
    "only_classes": (7, 8),
    "preparation": "Crop288",
    "source": "47",
    "precision": "float64",
    "seed": 1,
    "identity": "mine, second try",
}


def test_every_field_of_a_job_is_classified():
    assert {f.name for f in fields(Job)} == {*OTHER, "task"} | RUNTIME_FIELDS
    assert not OTHER.keys() & RUNTIME_FIELDS


@pytest.mark.parametrize("name", sorted(OTHER))
def test_every_field_that_decides_a_result_changes_the_key(name):
    assert replace(JOB, **{name: OTHER[name]}).key != JOB.key


@pytest.mark.parametrize("name", sorted(field.name for field in fields(Task)))
def test_every_field_of_a_task_changes_the_key(name):
    assert replace(JOB, task=replace(JOB.task, **{name: OTHER_TASK[name]})).key != JOB.key


@pytest.mark.parametrize("name", ["label", "source", "weights", "harness", "content"])
def test_every_part_of_a_plugin_changes_the_key(name):
    attack = replace(JOB.attack, **{name: "another"})
    assert replace(JOB, attack=attack).key != JOB.key


def test_what_computes_with_the_weights_changes_the_key():
    assert replace(JOB, classifier=ClassifierId("net", "22", "source")).key != JOB.key


def test_what_decides_nothing_does_not_change_the_key():
    assert replace(JOB, row="another").key == JOB.key


def test_the_key_is_pinned():
    # A change here makes every stored shard worthless: raise KEY_VERSION and say so in the changelog.
    assert JOB.key == "7167985798775a8ef77ab437f615b6d5bebe76c65d68d713822927571659bbdd"


def test_an_argument_that_json_cannot_say_is_refused_in_one_line():
    with pytest.raises(BenchError, match="cannot enter a job's key"):
        canonical({"f": object()})
