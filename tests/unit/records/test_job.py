"""Jobs: the key covers all that decides a result, and nothing else."""

from dataclasses import fields, replace

import pytest

from benchmark.engine.criterion import Criterion
from benchmark.engine.threat import Norm, Threat
from benchmark.errors import BenchError
from benchmark.records.job import IDENTITY_FIELDS, RUNTIME_FIELDS, Frozen, Job, Plugin, canonical

JOB = Job(
    row="pgd",
    defenses=(Plugin("a:B", "b", "{}", "00", "11"),),
    classifier=Frozen("net", "22"),
    dataset="digits",
    split="test",
    threat=Threat(Norm.LINF, 0.15),
    attack=Plugin("attacks.pgd:PGD", "pgd", '{"steps":20}', "33"),
    gradient="exact",
    eot=10,
    is_source=False,
    criterion=Criterion(),
    precision="float32",
    seed=0,
    engine="44",
)
OTHER = {
    "defenses": (),
    "classifier": Frozen("net", "23"),
    "dataset": "mnist",
    "split": "train",
    "order": "robustbench",
    "only_classes": (7, 8),
    "composition": "mean(0>a, 1>b)",
    "preparation": "Crop288",
    "threat": Threat(Norm.L2, 0.15),
    "attack": Plugin("attacks.pgd:PGD", "pgd", '{"steps":20}', "34"),
    "gradient": "bpda",
    "eot": 1,
    "is_source": True,
    "criterion": Criterion(draws=21),
    "precision": "float64",
    "seed": 1,
    "fixed_batch": 64,
    "is_uncut": True,
    "needs": ("x",),
    "engine": "45",
    "victim": "46",
    "images": "47",
    "said": "mine, second try",
    "key_version": 0,
}


def test_every_field_of_a_job_is_classified():
    assert {f.name for f in fields(Job)} == IDENTITY_FIELDS | RUNTIME_FIELDS
    assert not IDENTITY_FIELDS & RUNTIME_FIELDS


@pytest.mark.parametrize("name", sorted(IDENTITY_FIELDS))
def test_every_identity_field_changes_the_key(name):
    assert replace(JOB, **{name: OTHER[name]}).key != JOB.key


@pytest.mark.parametrize("name", ["label", "source", "weights", "harness", "content"])
def test_every_part_of_a_plugin_changes_the_key(name):
    attack = replace(JOB.attack, **{name: "another"})
    assert replace(JOB, attack=attack).key != JOB.key


def test_what_computes_with_the_weights_changes_the_key():
    assert replace(JOB, classifier=Frozen("net", "22", "source")).key != JOB.key


def test_what_decides_nothing_does_not_change_the_key():
    assert replace(JOB, row="another").key == JOB.key


def test_the_key_is_pinned():
    # A change here makes every stored shard worthless: raise KEY_VERSION and say so in the changelog.
    assert JOB.key == "d51bff026f0c171e9685b5c2fe570903f497258042d9ca3f132256da5cecff8f"


def test_an_argument_that_json_cannot_say_is_refused_in_one_line():
    with pytest.raises(BenchError, match="cannot enter a job's key"):
        canonical({"f": object()})
