"""ADD-Defense's training: what each step minimises, on which images, and the same bits again."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark.engine.threat import Threat
from benchmark.errors import BenchError
from benchmark.recipe import Length
from benchmark.training.loop import train
from benchmark.training.record import TrainingOptions
from defenses.add import losses as add_losses
from defenses.add.network import to_network
from defenses.add.presets import PENALTY, preset_for
from defenses.add.recipe import ADDRecipe, ADDSRecipe
from tests.helpers.small_add import KNOWN, TINY, draws, images, setting, stripes

MOVES = {"known-1": 0.1, "known-2": -0.1}


class Moved:
    """A static set in which the first attack makes images lighter and the second darker."""

    def images(self, name, indices):
        return (stripes().images("train", indices) + MOVES[name]).clamp(0, 1)


@pytest.fixture
def tiny(monkeypatch):
    """The digits preset made small, so that training takes a second."""
    monkeypatch.setattr("defenses.add.presets.PRESETS", (TINY,))
    return stripes()


def built(**arguments) -> ADDRecipe:
    recipe = ADDRecipe(known=KNOWN, **arguments)
    recipe.receive(Moved())
    with torch.random.fork_rng():
        torch.manual_seed(1)
        recipe.build(setting(), {})
    return recipe


def one_step(recipe: ADDRecipe, step: int = 0) -> dict[str, float]:
    return recipe.step(
        stripes().images("train", torch.arange(8)), torch.arange(8) % 2, step=step, draws=draws(8)
    )


@pytest.mark.parametrize("choices", ["paper", "arn"])
def test_a_step_reports_the_losses_of_equations_2_to_7(tiny, choices):
    recipe, is_bce = built(choices=choices), choices == "arn"
    before = copy.deepcopy(recipe.modules())
    found = one_step(recipe)
    after = recipe.modules()
    x, y, names = stripes().images("train", torch.arange(8)), torch.arange(8) % 2, tuple(MOVES)
    with torch.no_grad():
        shown = torch.cat([x, *(Moved().images(name, torch.arange(8)) for name in names)])
        mean, log_variance = before["encoder"](to_network(shown))
        noise = draws(8).at("latent").normal((3, TINY.latent)).transpose(0, 1).reshape(24, -1)
        z = mean + (log_variance / 2).exp() * noise
        made = before["generator"](z)
        expected = {
            "discriminator_domain": add_losses.domain_loss(before["domain"](z), 3, is_bce=is_bce),
            "mmd": add_losses.mean_discrepancy(z, 3, (1.0, 5.0, 10.0)),
            "prior": add_losses.prior_divergence(mean, log_variance).mean(),
            "domain": add_losses.confusion_loss(after["domain"](z), is_bce=is_bce),
            "label": nn.functional.cross_entropy(before["head"](z), y.repeat(3)),
            "adversarial": add_losses.passing_loss(after["image"](made)),
            "mse": add_losses.restoration_loss(made, to_network(x), 3),
        }
        plain = add_losses.real_or_fake(before["image"](to_network(x)), before["image"](made))
    for name, value in expected.items():
        assert found[name] == pytest.approx(float(value), rel=1e-5), name
    extra = found["discriminator_image"] - float(plain)
    assert (extra > 0.5 * PENALTY) if is_bce else (abs(extra) < 1e-5)


@pytest.mark.parametrize("choices", ["paper", "arn"])
def test_the_auto_encoder_descends_the_weighted_sum_of_its_losses(tiny, choices):
    """At a small rate the sum falls by the first order of what the step moved."""
    recipe = built(choices=choices, learning_rate=1e-6)
    for network in ("domain", "image"):
        recipe.optimizers()[network].step = lambda *_a, **_k: None
    before = {n: p.detach().clone() for n, p in recipe.modules()["encoder"].named_parameters()}
    weights = vars(recipe)["_weights"]
    parts = [one_step(recipe) for _ in range(2)]
    names = ("mmd", "prior", "domain", "label", "adversarial", "mse")
    sums = [sum(getattr(weights, name) * found[name] for name in names) for found in parts]
    moved = [
        float((p.detach() - before[n]).abs().max())
        for n, p in recipe.modules()["encoder"].named_parameters()
    ]
    assert sums[1] < sums[0]
    assert 0 < max(moved) < 1e-5


@pytest.mark.parametrize(
    ("weight", "untouched"), [("mse", "generator"), ("label", "head"), ("adversarial", "generator")]
)
def test_a_network_whose_losses_weigh_nothing_stays_as_it_was(tiny, weight, untouched):
    other = {"mse": "adversarial", "adversarial": "mse"}.get(weight)
    alone = {weight: 0.0} | ({other: 0.0} if other else {})
    for given, stays in ((alone, True), ({weight: 1.0}, False)):
        recipe = built(**given)
        before = [p.detach().clone() for p in recipe.modules()[untouched].parameters()]
        one_step(recipe)
        after = list(recipe.modules()[untouched].parameters())
        is_same = all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        assert is_same is stays


def test_the_discriminators_move_by_their_own_losses_alone(tiny):
    moved = []
    for weights in ({}, {"mse": 0.0, "domain": 50.0, "adversarial": 50.0}):
        recipe = built(**weights)
        one_step(recipe)
        moved.append(
            [
                p.detach().clone()
                for n in ("domain", "image")
                for p in recipe.modules()[n].parameters()
            ]
        )
    assert all(torch.equal(a, b) for a, b in zip(*moved, strict=True))


@pytest.mark.parametrize("choices", ["paper", "arn"])
def test_a_step_in_bfloat16_reports_nearly_the_same_losses(tiny, choices):
    full = one_step(built(choices=choices))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = one_step(built(choices=choices))
    assert rough == pytest.approx(full, rel=0.1, abs=0.02)


def test_training_may_be_held_to_the_first_images():
    labels = torch.arange(7)
    assert ADDRecipe().select(labels).tolist() == list(range(7))
    assert ADDRecipe(images=3).select(labels).tolist() == [0, 1, 2]


def test_the_classifier_is_not_touched(tiny):
    stage = setting()
    before = copy.deepcopy(stage.defended().state_dict())
    recipe = ADDRecipe(known=KNOWN)
    recipe.receive(Moved())
    recipe.build(stage, {})
    one_step(recipe)
    assert all(torch.equal(before[n], t) for n, t in stage.defended().state_dict().items())


def test_rates_fall_after_a_quarter_and_a_half_of_the_steps(tiny):
    recipe = built(steps=8, learning_rate=1.0)
    seen = []
    for step in (0, 1, 2, 3, 4, 7):
        recipe._schedule(step)
        seen.append(tuple(o.param_groups[0]["lr"] for o in recipe.optimizers().values()))
    assert (
        seen
        == [(1, 1, 1)] * 2
        + [pytest.approx((0.1, 0.5, 0.5))] * 2
        + [pytest.approx((0.01, 0.25, 0.25))] * 2
    )


def test_rates_fall_where_they_are_told_to():
    recipe = built(steps=10, learning_rate=1.0, drops=[0.8])
    rates = []
    for step in (7, 8):
        recipe._schedule(step)
        rates.append(recipe.optimizers()["autoencoder"].param_groups[0]["lr"])
    assert rates == [1.0, pytest.approx(0.1)]


def test_known_attacks_have_the_datasets_budget_or_their_own():
    sets = ADDRecipe(known=["fgsm()", "pgd(steps=3) in l2:0.5"]).craftings(setting(dataset="svhn"))
    assert [(s.name, s.attack, str(s.threats[0])) for s in sets] == [
        ("known-1", "fgsm()", "linf:0.025"),
        ("known-2", "pgd(steps=3)", "l2:0.5"),
    ]
    assert not any(s.is_8bit or s.against for s in sets)
    other = ADDRecipe().craftings(setting(threat=Threat.parse("l2:1")))
    assert {str(s.threats[0]) for s in other} == {"l2:1"}


def test_the_papers_known_attacks_are_pgd_untargeted_and_targeted():
    untargeted, targeted = ADDRecipe().craftings(setting(dataset="mnist"))
    for crafting in (untargeted, targeted):
        assert "steps=40, step_size=0.01, step_unit='pixel'" in crafting.attack
        assert str(crafting.threats[0]) == "linf:0.15"
    assert "target_class" not in untargeted.attack
    assert "target_class=3" in targeted.attack


def test_the_s_variant_knows_spatial_attacks_in_which_any_image_is_allowed():
    recipe = ADDSRecipe(preset="digits")
    sets = recipe.craftings(setting())
    assert [s.attack.partition("(")[0] for s in sets] == ["stadv", "stadv"]
    assert {str(s.threats[0]) for s in sets} == {"linf:255/255"}
    recipe.build(setting(), {})
    assert recipe._weights.prior == 1e-5
    ours = ADDSRecipe(prior=0.5)
    ours.build(setting(), {})
    assert ours._weights.prior == 0.5


def test_its_length_is_the_presets_and_a_batch_is_never_more_than_there_is():
    assert ADDRecipe().length(setting((3, 32, 32)), 50_000) == Length(20_000, 300)
    assert ADDRecipe(steps=7).length(setting((3, 32, 32)), 100) == Length(7, 100)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"choices": "both"}, "choices of add"),
        ({"preset": "half"}, "preset of add"),
        ({"known": []}, "known"),
        ({"known": "pgd"}, "list"),
        ({"known": ["pgd() in linf:2"]}, "at most 1"),
        ({"bandwidths": []}, "bandwidths"),
        ({"bandwidths": [0.0]}, "bandwidths"),
        ({"mse": -1.0}, "mse"),
        ({"images": 0}, "images"),
        ({"drops": [0.0]}, "drops"),
    ],
)
def test_a_recipe_refuses_what_it_does_not_know(tiny, wrong, message):
    recipe = ADDRecipe(**({"known": KNOWN} | wrong))
    with pytest.raises(BenchError, match=message) as caught:
        recipe.build(setting(), {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("choices", ["paper", "arn"])
def test_training_lowers_the_loss_and_gives_the_same_bits_again(tiny, choices, tmp_path):
    curves = []
    for name in ("once", "again"):
        seen = []
        train(
            ADDRecipe(known=KNOWN, choices=choices, steps=40),
            setting(),
            tiny,
            out=tmp_path / f"{name}.safetensors",
            progress=lambda _i, _n, found, seen=seen: seen.append(found),
        )
        curves.append([found for found in seen if found])  # crafting reports no losses
    mse = [found["mse"] for found in curves[0]]
    assert sum(mse[-5:]) < 0.5 * sum(mse[:5])
    assert curves[0] == curves[1]
    once, again = (tmp_path / f"{name}.safetensors" for name in ("once", "again"))
    assert once.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("choices", ["paper", "arn"])
def test_training_that_was_cut_in_two_ends_with_the_same_weights(tiny, choices, tmp_path):
    def run(out: Path, stop_at: int | None) -> None:
        def stop(done: int, _n: int, found: dict[str, float]) -> None:
            if found and done == stop_at:
                raise KeyboardInterrupt

        recipe = ADDRecipe(known=KNOWN, choices=choices, steps=8)
        options = TrainingOptions(checkpoint_seconds=0)
        train(recipe, setting(), tiny, out=out, options=options, progress=stop)

    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    run(whole, None)
    with pytest.raises(KeyboardInterrupt):
        run(cut, 5)
    assert not cut.exists()
    run(cut, None)
    assert whole.read_bytes() == cut.read_bytes()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_the_quarter_sized_presets_make_a_step(shape):
    preset = replace(preset_for("quarter", shape), batch_size=2)
    recipe = ADDRecipe(preset="quarter", known=["fgsm()"])

    class Same:
        def images(self, name, indices):
            return images(2, shape[0], shape[1])

    recipe.receive(Same())
    recipe.build(setting(shape), {})
    found = recipe.step(images(2, shape[0], shape[1]), torch.tensor([0, 1]), step=0, draws=draws(2))
    assert all(value == value for value in found.values())
    assert recipe.product()["encoder.mean.weight"].shape[0] == preset.latent == 512
