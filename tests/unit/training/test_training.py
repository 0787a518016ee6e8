"""Training: reproducible to the bit, with an honest record and attacks by name."""

import json
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from benchmark.engine.attacking.attack import Attack
from benchmark.engine.randomness import Draws
from benchmark.errors import BenchError
from benchmark.files.known_hashes import file_sha256
from benchmark.plugins import ATTACKS
from benchmark.training.attacks import training_attack
from benchmark.training.checkpoint import Curves
from benchmark.training.loop import batch_indices, train
from benchmark.training.record import TrainingOptions
from tests.helpers.small_training import SETTING, THREAT, Bars, Small


class Signs(Attack):
    """Adds eps times the sign of the gradient, or what its argument says."""

    name = "signs"

    def __init__(self, *, share: float = 1.0) -> None:
        self.share = share

    def perturb(self, target, x, y, *, threat, draws):
        def objective(rows, which, at):
            logits = target.logits(rows, draws=at)
            return nn.functional.cross_entropy(logits, y[which], reduction="none"), logits

        ascent = target.ascend(x, objective, draws=draws)
        return (x + self.share * threat.eps * ascent.gradient.sign()).clamp(0, 1)


@pytest.fixture
def bars(tmp_path):
    return Bars(folder=tmp_path)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(bars, tmp_path):
    outs = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for out, seed in zip(outs, (3, 3, 4), strict=True):
        torch.manual_seed(hash(out.name) % 1000)  # the global generator must not matter
        train(Small(), SETTING, bars, out=out, options=TrainingOptions(seed=seed))
    first, again, other = (file_sha256(out) for out in outs)
    assert first == again
    assert first != other


def test_training_leaves_global_generator_and_switches_as_they_were(bars, tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    switches = [
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    ]
    try:
        for only_warns in (True, False):
            torch.use_deterministic_algorithms(True, warn_only=only_warns)
            train(Small(steps=3), SETTING, bars, out=tmp_path / "w.safetensors")
            assert torch.equal(torch.get_rng_state(), before)
            assert torch.are_deterministic_algorithms_enabled()
            assert torch.is_deterministic_algorithms_warn_only_enabled() == only_warns
        torch.use_deterministic_algorithms(False)
        train(Small(steps=3), SETTING, bars, out=tmp_path / "w.safetensors")
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(switches[0], warn_only=switches[1])


def test_memory_that_runs_out_in_training_is_one_line_that_names_a_smaller_batch(bars, tmp_path):
    class Greedy(Small):
        def step(self, x, y, *, step, draws):
            torch.empty(1 << 50)
            return {}

    with pytest.raises(BenchError, match="batch_size=8") as caught:
        train(Greedy(steps=3), SETTING, bars, out=tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)


def test_the_loss_falls_and_the_network_learns(bars, tmp_path):
    out = train(Small(steps=120), SETTING, bars, out=tmp_path / "w.safetensors")
    losses = [
        loss for _, loss in json.loads(out.with_suffix(".json").read_text())["losses"]["loss"]
    ]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    recipe = Small()
    recipe.build(SETTING, {})
    recipe.net.load_state_dict(load_file(out))
    x, y = bars.images("test", torch.arange(70)), bars.labels("test")
    assert (recipe.net.eval()(x).argmax(1) == y).float().mean() > 0.95


def test_the_record_says_how_the_weights_came_to_be(bars, tmp_path):
    command = "bench train --classifier small"
    options = TrainingOptions(seed=7, command=command)
    out = train(Small(steps=5), SETTING, bars, out=tmp_path / "w.safetensors", options=options)
    record = json.loads(out.with_suffix(".json").read_text())
    assert (record["command"], record["seed"], record["steps"]) == (command, 7, 5)
    assert record["arguments"] == {"steps": 5, "batch_size": 16, "rate": 1e-2, "pause": 0.0}
    assert record["setting"]["threat"] == "linf:0.1"
    assert record["weights_sha256"] == file_sha256(out)
    assert record["peak_memory_bytes"] > 1_000_000


def test_a_curve_keeps_few_points_and_loses_no_loss():
    curves = Curves(1003)
    for step in range(1003):
        curves.add(step, {"loss": float(step)} | ({"late": 1.0} if step > 900 else {}))
    points = curves.points["loss"]
    assert len(points) <= 201
    assert points[-1][0] == 1002
    assert points[0] == [5, 2.5]  # the mean of steps 0 to 5
    assert all(loss == 1.0 for _, loss in curves.points["late"])


def test_every_image_is_seen_once_an_epoch_in_an_order_of_its_own():
    epochs = [
        torch.cat([batch_indices(64, 16, seed=1, step=4 * epoch + i) for i in range(4)])
        for epoch in range(2)
    ]
    assert all(torch.equal(e.sort().values, torch.arange(64)) for e in epochs)
    assert not torch.equal(*epochs)
    assert len(batch_indices(10, 16, seed=1, step=3)) == 10


def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_no_weights(bars, tmp_path):
    class Diverging(Small):
        def step(self, x, y, *, step, draws):
            return {"loss": float("nan") if step == 3 else 1.0}

    with pytest.raises(BenchError, match="diverged: loss is nan at step 3"):
        train(Diverging(), SETTING, bars, out=tmp_path / "w.safetensors")
    assert not (tmp_path / "w.safetensors").exists()


def test_no_steps_and_an_unwritable_folder_are_refused_at_once(bars, tmp_path):
    with pytest.raises(BenchError, match="at least one step"):
        train(Small(steps=0), SETTING, bars, out=tmp_path / "w.safetensors")
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="can be written"):
        train(Small(), SETTING, bars, out=tmp_path / "file" / "w.safetensors")


@pytest.fixture
def signs(monkeypatch):
    monkeypatch.setitem(sys.modules, "signs_attack", sys.modules[__name__])
    monkeypatch.setitem(ATTACKS._own, "signs", "signs_attack:Signs")


@pytest.mark.parametrize(("text", "size"), [("signs", 0.1), ("signs(share=0.5)", 0.05)])
def test_a_recipe_gets_its_attacks_by_name_inside_the_threat(signs, text, size):
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    module.train()
    x = torch.full((3, 1, 4, 4), 0.5)
    y = torch.tensor([0, 1, 2])
    x_adv = training_attack(text, SETTING)(module, x, y, Draws.of(0, torch.arange(3)))
    assert THREAT.size(x, x_adv).tolist() == pytest.approx([size] * 3)
    loss = nn.functional.cross_entropy
    assert loss(module(x_adv), y) > loss(module(x), y)
    assert module.training
    assert module[1].weight.grad is None
    assert not x_adv.requires_grad


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sings", "Did you mean 'signs'"),
        ("signs(pace=1)", "cannot be made"),
        ("signs(0.5)", "by name"),
        ("signs(share=open('x'))", "cannot be made"),
    ],
)
def test_a_wrong_training_attack_is_one_clear_line(signs, text, message):
    with pytest.raises(BenchError, match=message):
        training_attack(text, SETTING)
