"""Whole runs on a GPU: the entries of the CPU, workers, mixed precision, training, a process of its own."""

from __future__ import annotations

import pytest
import torch

from attacks.autoattack import AutoAttack
from benchmark.classifiers.training_recipe import ClassifierRecipe
from benchmark.compute.determinism import fix_numerics
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.setting import Setting
from benchmark.evaluation.execute.run import run
from benchmark.evaluation.prepare.loading import load_dataset
from benchmark.evaluation.prepare.request import Request
from benchmark.plugins import DEFENSES
from benchmark.records.protocol import Column
from benchmark.selftest.check import check_request
from benchmark.training.loop import train
from benchmark.training.record import TrainingOptions
from tests.helpers.tiny_task import Noise, request
from tests.helpers.toy_plugins import Same, image_draws, nonlinear_target

DEVICE = "cuda"
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.filterwarnings("ignore:.*does not have a deterministic implementation"),
]

SYSTEMS = ("aid", "atop", "hgd", "advae", "add")


def outcomes(entry, *, but=()):
    """Everything about images in an entry, but for some columns."""
    return {row.id: row.outcomes for row in entry.attacks if row.column not in but}


@pytest.mark.slow
@pytest.mark.parametrize("defense", ["none", "gaussian", "jpeg", *SYSTEMS])
def test_a_quick_run_on_digits_agrees_with_the_cpu_to_the_image(tmp_path, defense):
    def evaluate(device):
        asked = Request(
            defense=defense,
            dataset="digits",
            samples=10,
            precision="float64",
            device=device,
            workers=1,
            runs=tmp_path / device,
        )
        return run(asked)

    here, there = evaluate("cpu"), evaluate(DEVICE)
    assert there.status == "complete"
    assert there.environment["device"] == DEVICE
    but = (Column.AUTOATTACK,)  # it computes in float32
    assert outcomes(there, but=but) == outcomes(here, but=but)
    assert there.cost.forwards_per_image > 0
    assert there.cost.peak_memory_bytes
    assert here.cost.peak_memory_bytes is None


def test_the_batch_size_and_a_number_change_nothing(tmp_path):
    whole = run(request(tmp_path / "whole", device=DEVICE))
    assert outcomes(run(request(tmp_path / "cut", device=DEVICE, batch_size=5))) == outcomes(whole)
    assert outcomes(run(request(tmp_path / "named", device=f"{DEVICE}:0"))) == outcomes(whole)
    assert outcomes(run(request(tmp_path / "cpu", device="cpu"))) == outcomes(whole)


def test_a_run_goes_on_from_shards_that_another_device_made(tmp_path):
    here = run(request(tmp_path, device="cpu", samples=8))
    there = run(request(tmp_path, device=DEVICE))
    assert there.status == "complete"
    for row, before in zip(there.attacks, here.attacks, strict=True):
        assert row.outcomes[:8] == before.outcomes


def test_two_workers_change_nothing(tmp_path):
    alone = run(request(tmp_path / "one", device=DEVICE))
    two = run(request(tmp_path / "two", device=DEVICE, workers=2))
    assert two.status == "complete"
    assert outcomes(two) == outcomes(alone)


def test_a_mixed_run_finds_what_float32_finds(tmp_path):
    def evaluate(precision):
        asked = request(tmp_path, device=DEVICE, precision=precision, defense="none")
        return run(asked)

    mixed, plain = evaluate("mixed"), evaluate("float32")
    assert mixed.precision == "mixed"
    missed = [
        (row.id, i)
        for row, other in zip(mixed.attacks, plain.attacks, strict=True)
        for i, (ours, theirs) in enumerate(zip(row.outcomes, other.outcomes, strict=True))
        if ours > theirs
    ]
    assert len(missed) <= 1, "rounding may differ with the batch, and hardly ever matters"


def test_autoattacks_own_process_computes_on_the_gpu_and_leaves_its_generator_alone():
    fix_numerics()
    target, x, y = nonlinear_target(Same())
    target.victim.to(DEVICE)
    state = torch.cuda.get_rng_state()
    x, y, draws = x[:4].to(DEVICE), y[:4].to(DEVICE), image_draws(4).to(DEVICE)
    images = AutoAttack()(target, x, y, threat=Threat(Norm.LINF, 0.3), draws=draws)
    assert images.device == x.device
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert target.backwards > 0
    assert not any("deterministic" in warning for warning in target.warnings)
    logits = target.victim.logits(images[:, 0], draws=draws, mode="exact")
    assert bool((logits.argmax(1) != y).any())


@pytest.mark.parametrize("defense", DEFENSES.names())
def test_every_defense_keeps_its_contract_on_a_gpu(defense):
    outcomes = check_request(Request(defense=defense, dataset="digits", device=DEVICE))
    assert [outcome for outcome in outcomes if not outcome.passed] == []


def test_a_third_partys_defense_keeps_its_contract_on_a_gpu(tmp_path):
    asked = request(tmp_path, defense=Noise(), device=DEVICE, precision="float32")
    assert all(outcome.passed for outcome in check_request(asked))


def test_training_repeats_itself_bit_for_bit_also_after_an_interruption(tmp_path):
    dataset = load_dataset("digits", folder=tmp_path)
    setting = Setting(
        dataset="digits",
        shape=dataset.shape,
        classes=dataset.classes,
        threat=Threat.parse(dataset.threat),
        device=torch.device(DEVICE),
    )

    def fit(name, stop_at=None):
        def stop(done, _n, _losses):
            if done == stop_at:
                raise KeyboardInterrupt

        recipe = ClassifierRecipe(classifier="digits-cnn", steps=30, batch_size=32)
        options = TrainingOptions(checkpoint_seconds=0)
        out = tmp_path / f"{name}.safetensors"
        return train(recipe, setting, dataset, out=out, options=options, progress=stop)

    once, again = fit("once"), fit("again")
    with pytest.raises(KeyboardInterrupt):
        fit("cut", stop_at=11)
    cut = fit("cut")
    assert once.read_bytes() == again.read_bytes() == cut.read_bytes()
