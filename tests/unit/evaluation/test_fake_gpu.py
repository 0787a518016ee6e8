"""Device mistakes, found where there is no GPU: everything on a pretended one, which mixes with no other."""

from __future__ import annotations

import sys

import pytest
import torch

import attacks.autoattack
from attacks.autoattack import AutoAttack
from benchmark.classifiers.training_recipe import ClassifierRecipe
from benchmark.engine.attacking import queries
from benchmark.engine.criterion import Criterion
from benchmark.engine.judging.verdict import judge
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import EXAMPLES, NamedSet, Norm, Threat
from benchmark.engine.victims.setting import Setting
from benchmark.evaluation.execute.run import run
from benchmark.evaluation.prepare.loading import load_dataset
from benchmark.evaluation.prepare.request import Request
from benchmark.plugins import ATTACKS, DEFENSES
from benchmark.selftest.check import check_request
from benchmark.training.fit import Fit, fit_defense
from benchmark.training.loop import train
from tests.helpers.fake_gpu import GPU, OnGpu, pretended_gpu
from tests.helpers.tiny_task import Noise as TinyNoise
from tests.helpers.tiny_task import request
from tests.helpers.toy_plugins import Noise, Same, image_draws, nonlinear_target

pytestmark = pytest.mark.slow

SHORT = {
    "pgd": {"steps": 3, "restarts": 2},
    "apgd": {"steps": 3, "loss": "dlr-targeted", "targets": 2},
    "auxiliary": {"steps": 2, "lambdas": [0, 1]},
    "cw": {"steps": 3, "binary_search_steps": 2},
    "cw-linf": {"rounds": 2, "steps": 3, "target_class": "random"},
    "ddn": {"steps": 5},
    "mim": {"steps": 4, "target_class": "least-likely"},
    "deepfool": {"steps": 3},
    "rotation-translation": {"rotations": 3, "shifts": 2},
    "wasserstein": {"steps": 3},
    "rp2": {"steps": 3, "restarts": 2, "views": 2},
    "local-search": {"rounds": 3},
    "nes": {"queries": 24, "directions": 2, "draws": 2},
    "square": {"queries": 12, "draws": 2},
    "hopskipjump": {"queries": 160, "first": 5, "draws": 2},
    "boundary": {"steps": 10, "draws": 2},
    "substitute": {"rounds": 2, "epochs": 1},
}
LINF = Threat(Norm.LINF, 0.05)
FEW = 5
"""Images: what is pretended costs by the operation, and attacks make some for each image."""
ALONE = ("autoattack", "fast-autoattack")  # in processes of their own, where nothing is pretended


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(queries, "TRIES", 5)  # what is pretended is slow
    with pretended_gpu(monkeypatch) as asked:
        yield asked


@pytest.mark.usefixtures("gpu")
def test_the_pretended_gpu_refuses_what_a_real_one_does():
    here, there = torch.rand(4, 3), torch.rand(4, 3).to("cuda")
    rows = torch.arange(2, device="cuda")
    assert (there.device, there[rows].device, (there + 1).device) == (GPU, GPU, GPU)
    assert there[torch.arange(2)].device == GPU, "indices may lie on the CPU"
    assert there.cpu().device.type == torch.tensor(1.0).device.type == "cpu"
    for mixed in (
        lambda: here + there,
        lambda: here[rows],
        lambda: torch.cat((here, there)),
        lambda: torch.where(there > 0, there, here),
        lambda: there.gather(1, torch.zeros(4, 1, dtype=torch.int64)),
    ):
        with pytest.raises(RuntimeError, match=r"same device|cannot be indexed"):
            mixed()
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()


@pytest.mark.parametrize(
    ("defense", "precision"),
    [("none", "float64"), ("jpeg", "float64"), (TinyNoise(), "float64"), ("none", "mixed")],
    ids=["none", "jpeg", "noise", "mixed"],
)
def test_a_whole_run_makes_no_device_mistake_and_finds_what_the_cpu_finds(
    tmp_path, monkeypatch, defense, precision
):
    here = run(request(tmp_path / "cpu", defense=defense, precision=precision))
    with pretended_gpu(monkeypatch) as asked:
        there = run(request(tmp_path / "gpu", defense=defense, precision=precision, device="cuda"))
    assert there.status == "complete", there.gaps
    assert [row.id for row in there.attacks] == [row.id for row in here.attacks]
    if precision == "float64":  # autocast is CUDA's own, and pretended it does nothing
        assert there.per_image == here.per_image
        assert [row.outcomes for row in there.attacks] == [row.outcomes for row in here.attacks]
    assert "synchronize" in asked, "seconds are those of finished work"
    assert there.cost.peak_memory_bytes == 2**20
    assert here.cost.peak_memory_bytes is None


@pytest.mark.parametrize("defense", [Same(), Noise()], ids=["fixed", "random"])
@pytest.mark.parametrize("name", [name for name in ATTACKS.names() if name not in ALONE])
def test_no_attack_and_no_verdict_makes_a_device_mistake(gpu, name, defense):
    del gpu
    target, x, y = nonlinear_target(defense, eot=2 if defense.stochastic else 1, batch_size=8)
    target.victim.to("cuda")
    x, y = x[:FEW], y[:FEW]
    x, y, draws = x.to("cuda"), y.to("cuda"), image_draws(FEW).to("cuda")
    target.sources = (x + 0.04).clamp(0, 1).unsqueeze(1)
    target.seeds = x[:3]
    attack = ATTACKS.get(name)(**SHORT.get(name, {}))
    threats = [LINF, Threat(Norm.L2, 0.5)]
    threats += [Threat.parse(text) for kind, text in EXAMPLES.items() if kind in NamedSet]
    for threat in [threat for threat in threats if threat.norm in attack.norms]:
        target.sources = x.unsqueeze(1)
        if threat.norm in Norm:
            target.sources = threat.project(x, x + 0.01).unsqueeze(1)
        candidates = attack(target, x, y, threat=threat, draws=draws)
        criterion = Criterion(draws=4, vote=3, any_of=2)
        outcomes, chosen = judge(target.victim, candidates, y, draws=draws, criterion=criterion)
        assert isinstance(candidates, OnGpu)
        assert isinstance(chosen, OnGpu)
        assert len(outcomes) == 3


@pytest.mark.usefixtures("gpu")
def test_draws_are_made_where_their_indices_are():
    draws = Draws.of(3, torch.arange(4), "here").repeat(2).to("cuda")
    made = (
        draws.words(5),
        draws.uniform((2, 2)),
        draws.normal((3,)),
        draws.integers(7, (2,)),
        draws.permutations(6),
        draws.take(torch.arange(2)).normal((1,)),
    )
    assert all(isinstance(tensor, OnGpu) for tensor in made)
    assert {generator.device.type for generator in draws.generators()} == {"cpu"}


FEWER_STEPS = {"aid": {"steps": 2}}
"""Every operation on a pretended GPU passes through Python."""


@pytest.mark.parametrize("defense", DEFENSES.names())
def test_no_defense_of_ours_makes_a_device_mistake(monkeypatch, defense):
    with pretended_gpu(monkeypatch):
        outcomes = check_request(
            Request(
                defense=defense,
                defense_args=FEWER_STEPS.get(defense, {}),
                dataset="digits",
                device="cuda",
            )
        )
    assert [outcome for outcome in outcomes if not outcome.passed] == []


def test_training_makes_no_device_mistake(tmp_path, monkeypatch):
    dataset = load_dataset("digits", folder=tmp_path)
    setting = Setting(
        dataset="digits",
        shape=dataset.shape,
        classes=dataset.classes,
        threat=Threat.parse(dataset.threat),
        device=GPU,
    )
    recipe = ClassifierRecipe(classifier="digits-cnn", steps=3, batch_size=8)
    with pretended_gpu(monkeypatch):
        train(recipe, setting, dataset, out=tmp_path / "w.safetensors")
        assert all(isinstance(p, OnGpu) for p in recipe.network.parameters())


@pytest.mark.parametrize(
    ("defense", "arguments"),
    [
        ("aid", {"steps": 2, "batch_size": 8}),
        ("atop", {"steps": 2, "pretraining": 1, "batch_size": 8}),
        ("atop-mae", {"steps": 2, "pretraining": 1, "batch_size": 8}),
        ("trust-no-pixel", {"steps": 2, "batch_size": 8}),
        ("hgd", {"steps": 2, "batch_size": 8, "images": 16, "companions": ["digits-mlp"]}),
        (
            "advae",
            {"epochs": 1, "batch_size": 64, "attack": "pgd(steps=1)", "validation_share": 0.9},
        ),
        ("add", {"steps": 2, "batch_size": 8, "images": 16}),
    ],
)
def test_training_a_defense_makes_no_device_mistake(tmp_path, monkeypatch, defense, arguments):
    asked = Request(defense=defense, dataset="digits", device="cuda")
    with pretended_gpu(monkeypatch):
        fit_defense(Fit(request=asked, recipe_args=arguments, out=tmp_path / "w.safetensors"))
    assert (tmp_path / "w.safetensors").is_file()


def test_autoattack_meets_no_tensor_of_the_cpu(gpu, monkeypatch):
    del gpu
    monkeypatch.setattr(attacks.autoattack, "call_alone", lambda function, order: function(order))
    target, x, y = nonlinear_target(Same())
    target.victim.to("cuda")
    x, y, draws = x[:4].to("cuda"), y[:4].to("cuda"), image_draws(4).to("cuda")
    trace = sys.gettrace()
    with torch.random.fork_rng(devices=[]):
        images = AutoAttack()(target, x, y, threat=Threat(Norm.LINF, 0.5), draws=draws)
    sys.settrace(trace)
    assert isinstance(images, OnGpu)
    assert target.backwards > 0


def test_a_planted_device_mistake_is_found(gpu):
    del gpu
    target, x, y = nonlinear_target(Noise(), eot=2)
    target.victim.to("cuda")
    x, y = x.to("cuda"), y.to("cuda")
    draws = image_draws(len(x))  # left on the CPU
    with pytest.raises(RuntimeError, match=r"same device|cannot be indexed"):
        ATTACKS.get("pgd")(steps=1)(target, x, y, threat=Threat(Norm.LINF, 0.05), draws=draws)
