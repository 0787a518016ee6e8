"""AToP on digits, a random purifier with real weights: nothing that must not matter matters."""

from __future__ import annotations

import pytest

from benchmark.errors import WeightsMissing
from benchmark.evaluation.execute.evaluate import evaluate
from benchmark.evaluation.execute.run import run
from benchmark.evaluation.prepare.request import Request
from benchmark.records.protocol_files import parse_protocol

pytestmark = pytest.mark.slow

PROTOCOL = parse_protocol(
    b"""
name: short
version: 1
summary: each kind of attack on a random purifier, in seconds
samples: 3
shard_size: 2
criterion: {draws: 6, vote: 3, any_of: 2}
sources:
  - {id: made, attack: pgd, against: bare, arguments: {steps: 5, loss: margin, keep: max_margin}}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: oblivious, column: oblivious, knowledge: oblivious, attack: transfer, sources: [made]}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [exact, bpda], eot: 3,
     arguments: {steps: 3}}
  - {id: apgd, column: adaptive, knowledge: white-box, attack: apgd, gradients: [best], eot: 2,
     arguments: {steps: 6}}
  - {id: aware, column: auxiliary, knowledge: white-box, attack: auxiliary, gradients: [best], eot: 2,
     arguments: {variant: A2, steps: 3, lambdas: [0, 1]}}
""",
    where="short",
)


def outcomes(folder, **changes):
    request = Request(
        **{
            "defense": "atop",
            "protocol": PROTOCOL,
            "precision": "float64",
            "device": "cpu",
            "workers": 1,
            "runs": folder,
            **changes,
        }
    )
    entry = run(request)
    return {attack.id: attack.outcomes for attack in entry.attacks}, entry.per_image.worst


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return outcomes(tmp_path_factory.mktemp("atop"))


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_the_batch_size_changes_no_outcome_of_a_random_network(reference, tmp_path, batch_size):
    assert outcomes(tmp_path, batch_size=batch_size) == reference


def test_two_workers_change_no_outcome_of_a_random_network(reference, tmp_path):
    assert outcomes(tmp_path, workers=2) == reference


def test_a_run_cut_in_two_changes_no_outcome_of_a_random_network(reference, tmp_path):
    outcomes(tmp_path, samples=2)
    assert outcomes(tmp_path) == reference


def test_a_chain_is_evaluated_under_its_joint_name(tmp_path):
    request = Request(
        defense="atop+jpeg", protocol=PROTOCOL, samples=2, workers=1, runs=tmp_path, device="cpu"
    )
    entry = run(request)
    assert entry.defense.label == "atop[digits]+jpeg"
    assert entry.defense.gradient == "none"
    adaptive = [attack for attack in entry.attacks if attack.column == "adaptive"]
    assert {attack.gradient for attack in adaptive} == {"bpda"}


def test_the_same_from_python(tmp_path):
    options = Request(
        defense="none", protocol=PROTOCOL, samples=2, workers=1, runs=tmp_path, device="cpu"
    )
    entry = evaluate("none", options=options)
    assert entry.dataset.n == 2
    assert entry.status == "complete"


def test_arguments_that_are_not_the_defaults_stand_in_the_published_name_once(tmp_path):
    changed = {"sigma": 0.2, "copies": 4, "preset": "digits"}
    request = Request(
        defense="atop", defense_args=changed, protocol=PROTOCOL, samples=1, workers=1, runs=tmp_path
    )
    assert run(request).defense.label == "atop[digits](sigma=0.2)"


def test_weights_of_another_training_are_asked_for_by_the_name_of_that_training(tmp_path):
    request = Request(
        defense="atop",
        defense_args={"transform": "rt3"},
        protocol=PROTOCOL,
        model="digits-mlp",
        samples=1,
        workers=1,
        runs=tmp_path,
    )
    with pytest.raises(WeightsMissing, match="bench train --defense atop"):
        run(request)
