"""AToP's training: losses computed by hand, what reaches which network, and the same bits again."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark.errors import BenchError
from benchmark.recipe import shifted
from benchmark.training.loop import train
from benchmark.training.record import TrainingOptions
from defenses.atop.presets import PRESETS
from defenses.atop.recipe import AToPRecipe, critic_hinge, generator_hinge
from defenses.atop.transforms import Views, transform_for
from tests.helpers.small_atop import Stripes, draws, images, setting

pytestmark = pytest.mark.slow

TINY = replace(PRESETS["digits"], width=4, critic=(4, 4, 4), sigma=0.25, ce_weight=0.1)


def test_the_hinge_losses_are_what_they_are_by_hand():
    real = torch.tensor([[2.0, 0.5], [-1.0, 1.0]])
    fake = torch.tensor([[-3.0, -0.5], [0.0, 2.0]])
    assert float(critic_hinge(real, fake)) == pytest.approx(
        (0 + 0.5 + 2 + 0) / 4 + (0.5 + 1 + 3) / 4
    )
    assert float(generator_hinge(fake)) == pytest.approx(1.5 / 4)


def test_images_are_moved_each_by_itself_over_black():
    x = images(64)
    moved = shifted(x, 1, draws=draws(64))
    wide = nn.functional.pad(x, (1, 1, 1, 1))
    places = [
        [
            (i, j)
            for i in range(3)
            for j in range(3)
            if torch.equal(wide[n, :, i : i + 8, j : j + 8], out)
        ]
        for n, out in enumerate(moved)
    ]
    assert all(len(found) == 1 for found in places)
    assert len({found[0] for found in places}) == 9
    one = torch.tensor([5])
    assert torch.equal(shifted(x[one], 1, draws=draws(64).take(one))[0], moved[5])
    assert shifted(x, 0, draws=draws(64)) is x


@pytest.fixture
def tiny(monkeypatch):
    """The digits preset made small, so that training takes a second."""
    monkeypatch.setattr("defenses.atop.presets.PRESETS", {"digits": TINY})
    return Stripes(folder=Path())


def built(tiny, shape=(1, 8, 8), **arguments) -> AToPRecipe:
    """A recipe with an attack that adds .1 instead of FGSM, so that x' is known."""
    recipe = AToPRecipe(batch_size=8, **arguments)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        recipe.build(setting(shape), {"fgsm": lambda _m, x, _y, _d: (x + 0.1).clamp(0, 1)})
    return recipe


@pytest.mark.parametrize(("step", "target"), [(0, "adversarial"), (5, "adversarial"), (5, "clean")])
def test_a_step_reports_the_losses_of_equation_9(tiny, step, target):
    recipe = built(tiny, steps=10, pretraining=5, target=target)
    generator, _ = recipe.modules()["generator"], recipe.modules()["critic"]
    stage, x, y, d = setting(), tiny.images("train", torch.arange(8)), torch.arange(8) % 2, draws(8)
    shown = (x + 0.1).clamp(0, 1) if step >= 5 else x
    views = transform_for(TINY, "rt2", 4).views(shown, draws=d.at("transform"))
    with torch.no_grad():
        x1, x2 = generator(views.images, views.keep)
    wanted = x if target == "clean" else shown
    losses = recipe.step(x, y, step=step, draws=d)
    assert losses["l1_coarse"] == pytest.approx(2 * float((x1 - wanted).abs().mean()), rel=1e-5)
    assert losses["l1_fine"] == pytest.approx(2 * float((x2 - wanted).abs().mean()), rel=1e-5)
    ce = nn.functional.cross_entropy(stage.defended()(x2), y)
    assert losses.get("ce") == (pytest.approx(float(ce), rel=1e-5) if step >= 5 else None)


def test_the_codes_gan_leaves_the_generator_alone_and_the_papers_does_not(tiny):
    x, y = tiny.images("train", torch.arange(8)), torch.arange(8) % 2
    after = {}
    for gan, weight in [("paper", 1.0), ("code", 1.0), ("code", 0.0)]:
        recipe = built(tiny, steps=4, pretraining=4, gan=gan)
        if not weight:
            recipe._generator_hinge = lambda x2, _views: 0 * x2.sum()
        recipe.step(x, y, step=0, draws=draws(8))
        after[gan, weight] = recipe.product()["fine.0.conv.weight"].clone()
    assert torch.equal(after["code", 1.0], after["code", 0.0])
    assert not torch.allclose(after["paper", 1.0], after["code", 0.0], atol=1e-7)


def test_the_gan_is_the_presets_and_where_it_is_said_that_one(tiny, monkeypatch):
    assert built(tiny)._preset.gan == "paper"
    monkeypatch.setattr("defenses.atop.presets.PRESETS", {"digits": replace(TINY, gan="code")})
    assert built(tiny)._preset.gan == "code"
    assert built(tiny, gan="paper")._preset.gan == "paper"
    assert {p.name for p in PRESETS.values() if p.gan == "code"} == {"28px", "28px-small"}


@pytest.mark.parametrize(("restarts", "updates"), [(True, 1), (False, 3)])
def test_fine_tuning_begins_without_the_moments_of_pre_training(
    tiny, monkeypatch, restarts, updates
):
    changed = replace(TINY, restarts=restarts)
    monkeypatch.setattr("defenses.atop.presets.PRESETS", {"digits": changed})
    recipe = built(tiny, steps=4, pretraining=2)
    x, y = tiny.images("train", torch.arange(8)), torch.arange(8) % 2
    for step in range(3):
        recipe.step(x, y, step=step, draws=draws(8))
    for adam in recipe.optimizers().values():
        assert {int(state["step"]) for state in adam.state.values()} == {updates}
    assert [p.name for p in PRESETS.values() if not p.restarts] == ["digits"]


def test_the_cross_entropy_reaches_the_generator_and_leaves_the_classifier(tiny):
    x, y = tiny.images("train", torch.arange(8)), torch.arange(8) % 2
    after = []
    for weight in (0.0, 10.0):
        recipe = built(tiny, steps=4, pretraining=0, ce_weight=weight)
        before = recipe._classifier.network[1].weight.clone()
        recipe.step(x, y, step=0, draws=draws(8))
        after.append(recipe.product()["fine.0.conv.weight"].clone())
        assert torch.equal(recipe._classifier.network[1].weight, before)
    assert not torch.allclose(after[0], after[1], atol=1e-7)


def test_the_cross_entropy_comes_in_when_it_is_told_to(tiny):
    recipe = built(tiny, steps=6, pretraining=2, ce_from=2)
    x, y = tiny.images("train", torch.arange(8)), torch.arange(8) % 2
    has_ce = ["ce" in recipe.step(x, y, step=step, draws=draws(8)) for step in range(6)]
    assert has_ce == [False] * 4 + [True] * 2


def test_only_the_discriminators_own_update_moves_its_spectral_norms(tiny):
    recipe = built(tiny, steps=4, pretraining=4)
    critic = recipe.modules()["critic"]
    x = tiny.images("train", torch.arange(8))
    views = Views(x, torch.ones(8, 1, 8, 8), 1)
    before = {name: buffer.clone() for name, buffer in critic.named_buffers()}
    recipe._generator_hinge(x, views)
    assert all(torch.equal(before[name], buffer) for name, buffer in critic.named_buffers())
    recipe._train_critic(x, x, views, 1e-3)
    assert not all(torch.equal(before[name], buffer) for name, buffer in critic.named_buffers())


@pytest.mark.parametrize(
    "wrong", [{"gan": "none"}, {"target": "x"}, {"pretraining": 7}, {"transform": "rt4"}]
)
def test_a_recipe_refuses_what_it_does_not_know(tiny, wrong):
    with pytest.raises(BenchError, match=next(iter(wrong))):
        built(tiny, steps=6, **({"pretraining": 2} | wrong))


@pytest.mark.parametrize("kind", ["rt1", "rt2", "rt3"])
def test_training_lowers_the_loss_and_gives_the_same_bits_again(tiny, kind, tmp_path):
    curves = []
    for name in ("once", "again"):
        seen = []
        recipe = AToPRecipe(
            transform=kind, steps=40, pretraining=20, batch_size=16, learning_rate=5e-3
        )
        train(
            recipe,
            setting(),
            tiny,
            out=tmp_path / f"{name}.safetensors",
            progress=lambda _i, _n, losses, seen=seen: seen.append(losses),
        )
        curves.append(seen)
    fine = [losses["l1_fine"] for losses in curves[0]]
    assert sum(fine[15:20]) < 0.8 * sum(fine[:5])
    assert curves[0] == curves[1]
    once, again = (tmp_path / f"{name}.safetensors" for name in ("once", "again"))
    assert once.read_bytes() == again.read_bytes()


def test_training_that_was_cut_in_two_ends_with_the_same_weights(tiny, tmp_path):
    def run(out: Path, stop_at: int | None) -> None:
        def stop(done: int, _n: int, _losses: dict[str, float]) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        recipe = AToPRecipe(steps=12, pretraining=4, batch_size=16)
        options = TrainingOptions(checkpoint_seconds=0)
        train(recipe, setting(), tiny, out=out, options=options, progress=stop)

    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    run(whole, None)
    with pytest.raises(KeyboardInterrupt):
        run(cut, 7)
    run(cut, None)
    assert whole.read_bytes() == cut.read_bytes()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_the_larger_presets_build_and_train(shape):
    recipe = AToPRecipe(steps=3, pretraining=1, batch_size=2)
    recipe.build(setting(shape), {"fgsm": lambda _m, x, _y, _d: x})
    x = images(2, shape[0], shape[1])
    before = recipe.product()["fine.0.conv.weight"].clone()
    losses = [recipe.step(x, torch.tensor([0, 1]), step=i, draws=draws(2)) for i in range(3)]
    assert all(math.isfinite(value) for step in losses for value in step.values())
    assert not torch.equal(before, recipe.product()["fine.0.conv.weight"])
