"""Commands under a paper's protocol: what they leave open is the paper's task, and what they name is theirs."""

from pathlib import Path

import pytest

from benchmark.cli.options import requests_of
from benchmark.evaluation.prepare.paper_defaults import defenses_of, tasks_of
from benchmark.evaluation.prepare.request import Request
from benchmark.records.protocol_files import load_protocol, parse_protocol, protocol_names

PROTOCOLS = {name: load_protocol(name) for name in protocol_names()}
PAPERS = {name: protocol.paper for name, protocol in PROTOCOLS.items() if protocol.paper}
TABLE = b"""
name: theirs-table1
version: 1
summary: a table
preliminary: true
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
paper: {defenses: [aid, 'aid@mnist-a>mnist-b'], table: Table 1, title: its numbers, dataset: mnist,
  models: [mnist-x, mnist-a], threats: ['linf:0.3', 'l2:2'], note: nothing is missing}
"""


def table(**changes):
    return parse_protocol(TABLE, where="table").model_copy(update=changes)


def asked(protocol, *, defenses=(), models=(), dataset=None, threat=None):
    wanted = [
        Request(defense=defense, dataset=dataset, threat=threat)
        for defense in defenses_of(protocol, defenses)
    ]
    return tasks_of(protocol, wanted, models)


def tasks(**given):
    found = asked(table(), **given)
    return [(task.defense, task.model, task.dataset, task.threat) for task in found]


def test_a_command_that_names_nothing_gets_the_papers_task_beside_no_defense():
    assert tasks() == [
        (defense, model, "mnist", threat)
        for threat in ("linf:0.3", "l2:2")
        for defense, model in (
            ("none", "mnist-x"),
            ("aid", "mnist-x"),
            ("none", "mnist-a"),
            ("aid", "mnist-a"),
            ("aid@mnist-a>mnist-b", None),
        )
    ]


def test_the_command_wins_over_the_paper():
    assert tasks(defenses=["hgd"], models=["mnist-d"], threat="linf:0.1") == [
        ("hgd", "mnist-d", "mnist", "linf:0.1")
    ]
    assert tasks(defenses=["hgd"], dataset="mnist", threat="l2:1") == [
        ("hgd", "mnist-x", "mnist", "l2:1"),
        ("hgd", "mnist-a", "mnist", "l2:1"),
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"dataset": "digits"},
        {"models": ["digits-cnn"]},
        {"models": ["mean(digits-cnn, digits-mlp)"]},
        {"models": ["Standard"]},
        {"dataset": "npz:mine.npz", "models": ["file:a@b"]},
    ],
)
def test_on_another_dataset_nothing_of_the_task_is_the_papers(given):
    model, dataset = given.get("models", [None])[0], given.get("dataset")
    assert tasks(defenses=["aid"], **given) == [("aid", model, dataset, None)]


def test_an_expression_that_fixes_its_classifiers_decides_like_a_model():
    assert tasks(defenses=["aid>digits-cnn"]) == [("aid>digits-cnn", None, None, None)]
    assert [task[1:3] for task in tasks(defenses=["aid>mnist-b"])] == [(None, "mnist")] * 2


def test_a_classifier_that_several_datasets_have_is_taken_for_the_papers():
    paper = table().paper.model_copy(update={"dataset": "imagenet", "models": []})
    (task, _) = asked(table(paper=paper), defenses=["hgd"], models=["Engstrom2019Robustness"])
    assert (task.dataset, task.threat) == ("imagenet", "linf:0.3")


def test_without_a_paper_a_command_means_what_it_always_did():
    found = asked(PROTOCOLS["quick"], models=["a", "b"])
    assert [(task.model, task.defense) for task in found] == [
        ("a", "none"),
        ("a", "atop"),
        ("b", "none"),
        ("b", "atop"),
    ]
    assert {(task.dataset, task.threat) for task in found} == {(None, None)}


@pytest.mark.parametrize("name", PAPERS)
def test_the_command_line_takes_the_task_of_every_paper(name):
    shared = dict.fromkeys(
        ("data", "samples", "device", "batch_size", "workers", "weights", "part"), None
    )
    given = {"seed": 0, "runs": Path("runs"), "precision": "float32", "order": "nested"}
    options = {"defenses": (), "models": (), "dataset": None, "threat": None, "defense_args": ()}
    requests = requests_of(
        {**shared, **given, **options, "device": "cpu", "only_classes": (), "protocol": name}
    )
    paper = PAPERS[name]
    assert {request.dataset for request in requests} == {paper.dataset}
    assert [r.threat for r in requests if r.defense == "none"][:1] == paper.threats[:1]
    assert {r.defense for r in requests} == {"none", *paper.defenses}
    assert len(requests) == (
        (1 + len(paper.defenses)) * max(1, len(paper.models)) * len(paper.threats)
    )
