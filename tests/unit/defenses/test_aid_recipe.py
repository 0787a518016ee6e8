"""AID-Purifier's training: its loss by hand, what it mixes, and the same bits again."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark.engine.dataset import Dataset
from benchmark.engine.threat import Threat
from benchmark.errors import BenchError
from benchmark.recipe import mirrored, shifted
from benchmark.training.attacks import made_attack
from benchmark.training.loop import train
from benchmark.training.record import TrainingOptions
from defenses.aid.recipe import AIDRecipe, mixed
from tests.helpers.small_aid import draws, images, seeded, setting


def brighter(_module, x, _y, _draws, *, threat):
    """In place of an attack: every pixel a third of the budget brighter, so that x_adv is known."""
    return (x + threat.eps / 3).clamp(0, 1)


def built(stage=None, **arguments) -> AIDRecipe:
    recipe = AIDRecipe(preset="digits", **arguments)
    stage = stage or setting()
    attacks = dict.fromkeys(recipe.attacks_for(stage), brighter)
    seeded(lambda: recipe.build(stage, attacks), 1)
    return recipe


def test_mixing_is_what_it_is_by_hand():
    x, x_adv = torch.tensor([0.2, 0.9, 0.5]), torch.tensor([0.3, 1.0, 0.5])
    x, x_adv = (z.view(3, 1, 1, 1) for z in (x, x_adv))
    found = mixed(x, x_adv, torch.tensor([0.25, 0.5, 0.0]), gamma=2.0)
    by_hand = [0.25 * 0.2 + 0.75 * 0.4, 0.5 * 0.9 + 0.5 * 1.0, 0.5]
    torch.testing.assert_close(found.flatten(), torch.tensor(by_hand))


@pytest.mark.parametrize(
    ("target", "gamma", "is_hard"),
    [
        ("avmixup", 1.5, False),
        ("vertex", 1.5, True),
        ("mixup", 1.0, False),
        ("adversarial", 1.0, True),
    ],
)
def test_a_step_reports_the_cross_entropy_with_the_share_that_is_clean(target, gamma, is_hard):
    recipe = built(target=target)
    x, y, d = images(8), torch.arange(8), draws(8)
    λ = d.at("mix").uniform(())
    λ = (λ > 0.5).float() if is_hard else λ
    shown = mixed(x, (x + 0.05).clamp(0, 1), λ, gamma=gamma)
    with torch.no_grad():
        network = recipe.modules()["network"].train()
        p = network(recipe._eye(shown)).double().sigmoid()
    expected = -(λ * p.log() + (1 - λ) * (1 - p).log()).mean()
    losses = recipe.step(x, y, step=0, draws=d)
    assert losses["bce"] == pytest.approx(float(expected), rel=1e-4)
    assert losses["accuracy"] == pytest.approx(float(((p > 0.5) == (λ > 0.5)).float().mean()))


def test_labels_of_unmixed_targets_are_clean_and_not_about_equally_often():
    λ = draws(2000).at("mix").uniform(()).round()
    assert set(λ.tolist()) == {0.0, 1.0}
    assert abs(float(λ.mean()) - 0.5) < 4.5 * 0.5 / 2000**0.5


def test_only_the_discriminator_is_updated():
    recipe = built()
    frozen = {n: t.clone() for n, t in recipe._classifier.state_dict().items()}
    before = {n: t.clone() for n, t in recipe.product().items()}
    recipe.step(images(8), torch.arange(8), step=0, draws=draws(8))
    assert all(torch.equal(frozen[n], t) for n, t in recipe._classifier.state_dict().items())
    moved = [n for n, t in recipe.product().items() if not torch.equal(before[n], t)]
    assert set(before) - set(moved) == {"places"}


def test_the_first_update_is_that_of_sgd_with_weight_decay():
    recipe = built(network="paper")
    weight = recipe.modules()["network"].last.weight
    before = weight.detach().clone()
    recipe.step(images(8), torch.arange(8), step=0, draws=draws(8))
    step = 0.01 * (weight.grad + 2e-4 * before)
    torch.testing.assert_close(weight.detach(), before - step, rtol=0, atol=1e-7)
    assert recipe.optimizers()["optimizer"].defaults["momentum"] == 0.9


@pytest.mark.parametrize(
    ("arguments", "text", "threat"),
    [
        ({}, "pgd(steps=10, step_size=0.0375, step_unit='pixel', keep='last')", "linf:0.15"),
        (
            {"train_eps": 0.1, "train_step": 0.01, "attack_steps": 3},
            "pgd(steps=3, step_size=0.01, step_unit='pixel', keep='last')",
            "linf:0.1",
        ),
        ({"attack": "deepfool", "attack_steps": 20}, "deepfool(steps=20)", "linf:0.15"),
        (
            {"attack": "cw", "attack_steps": 20},
            "cw(steps=20, binary_search_steps=1, initial_const=0.01)",
            "l2:1.2",
        ),
    ],
    ids=["pgd", "pgd, as told", "deepfool", "cw"],
)
def test_the_training_attack_and_its_budget_are_what_was_asked_for(arguments, text, threat):
    recipe = built(**arguments)
    assert recipe.attacks_for(setting()) == (text,)
    assert made_attack(text).arguments()["steps"] == arguments.get("attack_steps", 10)
    seen = []
    recipe._attack = lambda _m, x, _y, _d, *, threat: seen.append(threat) or x
    recipe.step(images(8), torch.arange(8), step=0, draws=draws(8))
    assert seen[0].norm == Threat.parse(threat).norm
    assert seen[0].eps == pytest.approx(Threat.parse(threat).eps)


def test_an_epoch_is_as_many_steps_as_there_are_whole_batches():
    length = AIDRecipe().length(setting(dataset="cifar10"), 50_000)
    assert (length.steps, length.batch_size) == (390, 128)
    assert AIDRecipe(epochs=3, batch_size=10).length(setting(), 55).steps == 15
    assert AIDRecipe(steps=7).length(setting(), 55).steps == 7
    assert AIDRecipe().length(setting(dataset="digits"), 1297).steps == 60 * 10


def test_images_are_moved_and_mirrored_each_by_itself_where_the_preset_says_so():
    x, d = images(64), draws(64)
    wide = nn.functional.pad(x, (4,) * 4)
    for n, out in enumerate(shifted(x, 4, draws=d)):
        windows = wide[n].unfold(1, 8, 1).unfold(2, 8, 1)[0]  # (9, 9, 8, 8)
        assert int((windows == out[0]).all(-1).all(-1).sum()) == 1
    turned = mirrored(x, draws=d)
    is_turned = (turned == x.flip(3)).flatten(1).all(1)
    assert ((turned == x).flatten(1).all(1) ^ is_turned).all()
    assert 16 < int(is_turned.sum()) < 48
    one = torch.tensor([5])
    assert torch.equal(
        mirrored(shifted(x, 4, draws=d), draws=d)[5],
        mirrored(shifted(x[one], 4, draws=d.take(one)), draws=d.take(one))[0],
    )
    assert shifted(x, 0, draws=d) is x


@pytest.mark.parametrize(
    ("dataset", "arguments", "expected"),
    [
        ("cifar10", {}, (4, True)),
        ("cifar10", {"augment": False}, (0, False)),
        ("tiny_imagenet", {}, (0, True)),
        ("svhn", {}, (0, False)),
        ("digits", {}, (0, False)),
    ],
)
def test_each_dataset_is_augmented_as_its_authors_do(dataset, arguments, expected):
    stage = setting((3, 32, 32), dataset=dataset)
    recipe = AIDRecipe(**arguments)
    recipe.build(stage, dict.fromkeys(recipe.attacks_for(stage), brighter))
    assert (recipe._shift, recipe._flips) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": "clean"},
        {"attack": "fgsm"},
        {"gamma": 0.0},
        {"train_eps": 0.0},
        {"network": "x"},
        {"taps": ["x"]},
        {"preset": "x"},
    ],
    ids=str,
)
def test_a_recipe_refuses_what_it_does_not_know(wrong):
    recipe = AIDRecipe(**{"preset": "digits"} | wrong)
    with pytest.raises(BenchError, match=next(iter(wrong))) as caught:
        recipe.build(setting(), dict.fromkeys(recipe.attacks_for(setting()), brighter))
    assert "\n" not in str(caught.value)


class Stripes(Dataset):
    """Images whose left or right half is light: two classes, 64 images."""

    name = "digits"
    shape = (1, 8, 8)
    classes = 10
    threat = "linf:0.15"
    model = ""

    def labels(self, split):
        return torch.arange(64) % 2

    def images(self, split, indices):
        x = 0.2 + 0.1 * torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(3))
        x[::2, :, :, :4] += 0.6
        x[1::2, :, :, 4:] += 0.6
        return x[indices]


def fit(out: Path, stop_at: int | None = None, **arguments) -> list[dict[str, float]]:
    seen: list[dict[str, float]] = []

    def watch(done: int, _n: int, losses: dict[str, float]) -> None:
        seen.append(losses)
        if done == stop_at:
            raise KeyboardInterrupt

    train(
        AIDRecipe(batch_size=16, **arguments),
        setting(),
        Stripes(folder=Path()),
        out=out,
        options=TrainingOptions(checkpoint_seconds=0),
        progress=watch,
    )
    return seen


@pytest.mark.parametrize(
    "arguments",
    [
        {"steps": 30, "attack_steps": 3},
        {"steps": 30, "attack_steps": 1, "target": "adversarial", "taps": ["1/3"]},
    ],
    ids=["avmixup", "adversarial, one tap"],
)
def test_training_lowers_the_loss_and_gives_the_same_bits_again(tmp_path, arguments):
    curves = [fit(tmp_path / f"{name}.safetensors", **arguments) for name in ("once", "again")]
    bce = [losses["bce"] for losses in curves[0]]
    assert all(math.isfinite(value) for value in bce)
    assert sum(bce[-5:]) < 0.9 * sum(bce[:5])
    assert curves[0] == curves[1]
    once, again = (tmp_path / f"{name}.safetensors" for name in ("once", "again"))
    assert once.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("attack", ["pgd", "cw", "deepfool"])
def test_training_that_was_cut_in_two_ends_with_the_same_weights(tmp_path, attack):
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    arguments = {"steps": 9, "attack": attack, "attack_steps": 2}
    fit(whole, **arguments)
    with pytest.raises(KeyboardInterrupt):
        fit(cut, stop_at=5, **arguments)
    fit(cut, **arguments)
    assert whole.read_bytes() == cut.read_bytes()


@pytest.mark.parametrize(
    ("dataset", "shape"),
    [("mnist", (1, 28, 28)), ("svhn", (3, 32, 32)), ("tiny_imagenet", (3, 64, 64))],
)
def test_the_papers_sizes_build_and_train(dataset, shape):
    stage = setting(shape, dataset=dataset)
    recipe = AIDRecipe()
    seeded(lambda: recipe.build(stage, dict.fromkeys(recipe.attacks_for(stage), brighter)))
    x = images(2, shape)
    before = recipe.product()["last.weight"].clone()
    losses = [recipe.step(x, torch.tensor([0, 1]), step=i, draws=draws(2)) for i in range(2)]
    assert all(math.isfinite(value) for step in losses for value in step.values())
    assert not torch.equal(before, recipe.product()["last.weight"])
