"""HGD's training: losses computed by hand, what is trained and what is frozen, and the same bits again."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from benchmark.errors import BenchError
from benchmark.training import adversarial_sets as crafting_module
from benchmark.training.loop import train
from benchmark.training.record import TrainingOptions
from defenses.hgd.network import denoised, noise_of
from defenses.hgd.presets import PRESETS
from defenses.hgd.recipe import HGDRecipe
from tests.helpers.small_hgd import TINY, Shifted, Stripes, classifier, draws, images, setting

pytestmark = pytest.mark.slow


@pytest.fixture
def tiny(monkeypatch):
    """The digits preset made small, so that training takes a second."""
    monkeypatch.setattr("defenses.hgd.presets.PRESETS", {"digits": TINY})
    crafting_module._opened.cache_clear()
    return Stripes(folder=Path())


def built(data, *, dataset: str = "made-up", companions=("b", "c"), **arguments) -> HGDRecipe:
    """A recipe whose static set holds the images plus .05."""
    recipe = HGDRecipe(**{"steps": 10, "batch_size": 8, **arguments})
    stage = setting(dataset=dataset, companions=companions)
    recipe.length(stage, 64)
    recipe.receive(Shifted(data.images("train", torch.arange(64))))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        recipe.build(stage, {})
    return recipe


def batch(data) -> tuple[torch.Tensor, torch.Tensor]:
    return data.images("train", torch.arange(8)), torch.arange(8) % 2


def by_hand(loss: str, x: torch.Tensor, x_hat: torch.Tensor, y: torch.Tensor) -> float:
    network = classifier().network
    if loss == "pgd":
        return float(2 * (x_hat - x).abs().sum() / x.numel())
    if loss == "fgd":
        a, b = network[0](x_hat), network[0](x)
        return float((a - b).abs().sum() / (8 * 6 * 8 * 8))
    if loss == "lgd":
        return float((network(x_hat) - network(x)).abs().sum() / 80)
    log_p = network(x_hat) - network(x_hat).logsumexp(1, keepdim=True)
    return -float(log_p[torch.arange(8), y].mean())


@pytest.mark.parametrize("loss", ["lgd", "fgd", "pgd", "cgd"])
def test_a_step_reports_the_papers_loss(tiny, loss):
    recipe = built(tiny, loss=loss)
    x, y = batch(tiny)
    denoiser = recipe.modules()["network"]
    with torch.no_grad():
        x_hat = denoised(x + 0.05, noise_of(denoiser.train(), x + 0.05))
        found = recipe_loss(recipe, x, y)
        assert found[loss] == pytest.approx(by_hand(loss, x, x_hat, y), rel=1e-5)
        assert found["noise"] == pytest.approx(2 * float((x_hat - x - 0.05).abs().mean()), rel=1e-4)


def recipe_loss(recipe: HGDRecipe, x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
    with torch.enable_grad():
        return recipe.step(x, y, step=0, draws=draws(8))


@pytest.mark.parametrize("loss", ["lgd", "fgd", "pgd", "cgd"])
def test_only_cgd_looks_at_labels(tiny, loss):
    x, y = batch(tiny)
    after = []
    for labels in (y, 1 - y):
        recipe = built(tiny, loss=loss)
        recipe.step(x, labels, step=0, draws=draws(8))
        after.append(recipe.product()["last.weight"].clone())
    assert torch.equal(*after) == (loss != "cgd")


@pytest.mark.parametrize("loss", ["lgd", "fgd", "cgd"])
def test_the_classifier_stays_as_it_is_and_the_denoisers_statistics_move(tiny, loss):
    recipe = built(tiny, loss=loss)
    frozen = recipe._guidance.classifier
    before = {name: tensor.clone() for name, tensor in frozen.state_dict().items()}
    weights = {name: tensor.clone() for name, tensor in recipe.product().items()}
    recipe.step(*batch(tiny), step=0, draws=draws(8))
    assert all(torch.equal(before[name], tensor) for name, tensor in frozen.state_dict().items())
    assert not any(p.grad is not None for p in frozen.parameters())
    after = recipe.product()
    assert not torch.equal(weights["encoder.0.1.running_mean"], after["encoder.0.1.running_mean"])
    assert not torch.equal(weights["last.weight"], after["last.weight"])


def test_each_image_gets_one_attack_of_its_own_and_all_attacks_come_up(tiny):
    recipe = built(tiny)
    x, y = tiny.images("train", torch.arange(64)), torch.arange(64) % 2
    recipe.step(x, y, step=0, draws=draws(64))
    asked = recipe._crafted.asked
    assert len(asked) == 7
    assert sorted(i for _, indices in asked for i in indices) == list(range(64))
    one = recipe._adversarial(x[5:6], draws(64).at("attack").take(torch.tensor([5])))
    (name, indices) = asked[-1]
    assert indices == [5]
    assert 5 in dict(asked[:7])[name]
    assert torch.equal(one, x[5:6] + 0.05)


@pytest.mark.parametrize(
    ("dataset", "flip", "expected"),
    [
        ("digits", None, False),
        ("mnist", None, False),
        ("svhn", None, False),
        ("cifar10", None, True),
        ("imagenet", None, True),
        ("digits", True, True),
        ("cifar10", False, False),
    ],
)
def test_images_are_mirrored_only_where_that_is_natural(tiny, dataset, flip, expected):
    recipe = built(tiny, dataset=dataset, flip=flip)
    shown = []
    recipe.modules()["network"].register_forward_pre_hook(
        lambda _m, inputs: shown.append((inputs[0] + 1) / 2 - 0.05)
    )
    x, y = tiny.images("train", torch.arange(64)), torch.arange(64) % 2
    recipe.step(x, y, step=0, draws=draws(64))
    same = (shown[0] - x).abs().flatten(1).amax(1) < 1e-6
    mirrored = (shown[0] - x.flip(3)).abs().flatten(1).amax(1) < 1e-6
    assert bool((same | mirrored).all())
    assert (16 < int(mirrored.sum()) < 48) if expected else bool(same.all())


def test_the_clean_image_is_mirrored_with_its_adversarial_one(tiny):
    recipe = built(tiny, loss="pgd", flip=True)
    torch.nn.init.zeros_(recipe.modules()["network"].last.weight)
    x, y = tiny.images("train", torch.arange(64)), torch.arange(64) % 2
    assert recipe.step(x, y, step=0, draws=draws(64))["pgd"] == pytest.approx(2 * 0.05, rel=1e-4)


def test_the_rate_falls_to_a_tenth_where_it_is_told_to(tiny):
    recipe = built(tiny, learning_rate=0.01, drops=[0.6, 0.9])
    x, y = tiny.images("train", torch.arange(8)), torch.arange(8) % 2
    rates = []
    for step in range(10):
        recipe.step(x, y, step=step, draws=draws(8))
        rates.append(recipe.optimizers()["optimizer"].param_groups[0]["lr"])
    assert rates == pytest.approx([1e-2] * 6 + [1e-3] * 3 + [1e-4])


def test_an_epoch_is_every_image_under_every_attack():
    large = setting((3, 224, 224), companions=("b", "c"))
    length = HGDRecipe().length(large, 30_000)
    assert (length.steps, length.batch_size) == (20 * 210_000 // 60, 60)  # the paper's 210K
    assert HGDRecipe(epochs=100, batch_size=32).length(large, 30_000).steps == 656_250
    digits = setting(companions=("b", "c"))
    assert HGDRecipe().length(digits, 1297).steps == PRESETS["digits"].epochs * 1297 * 7 // 60
    assert HGDRecipe(steps=5).length(digits, 1297).steps == 5


def test_images_are_chosen_evenly_over_the_classes_that_are_wanted():
    labels = torch.arange(1000) % 10
    labels[990:] = 3
    chosen = HGDRecipe(images=100).select(labels)
    assert labels[chosen].bincount(minlength=10).tolist() == [10] * 10
    assert torch.equal(chosen, chosen.unique())
    assert not torch.equal(chosen, torch.arange(100))
    some = HGDRecipe(classes=[3, 7]).select(labels)
    assert set(labels[some].tolist()) == {3, 7}
    assert len(some) == int(((labels == 3) | (labels == 7)).sum())
    assert len(HGDRecipe(images=0).select(labels)) == len(HGDRecipe().select(labels)) == 1000
    assert len(HGDRecipe(images=30, classes=[3, 7]).select(labels)) == 30
    with pytest.raises(BenchError, match=r"labels from 0 to 9 .* got 10, 'a'"):
        HGDRecipe(classes=[3, 10, "a"]).select(labels)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"loss": "mse"}, "loss of hgd"),
        ({"network": "unet"}, "network of hgd"),
        ({"preset": "28px-small"}, "28x28"),
        ({"epochs": 0}, "epochs"),
        ({"images": -1}, "images"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"drops": [1.5]}, "drops"),
        ({"eps": "mine"}, "eps of hgd"),
    ],
)
def test_a_recipe_refuses_what_it_does_not_know(wrong, message):
    with pytest.raises(BenchError, match=message) as caught:
        HGDRecipe(**wrong).length(setting(), 64)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("loss", ["lgd", "fgd", "pgd", "cgd"])
def test_training_lowers_the_loss_and_gives_the_same_bits_again(tiny, loss, tmp_path):
    curves = []
    outs = [tmp_path / f"{name}.safetensors" for name in ("once", "again")]
    for out in outs:
        seen: list[float] = []
        recipe = HGDRecipe(loss=loss, steps=60, batch_size=16, learning_rate=5e-3)

        def note(_done, _of, losses, seen=seen):
            if losses:
                seen.append(losses[loss])

        train(recipe, setting(companions=("b",)), tiny, out=out, progress=note)
        curves.append(seen)
    share = {"cgd": 0.97}.get(loss, 0.8)  # of an untrained classifier little can be had
    assert sum(curves[0][-5:]) < share * sum(curves[0][:5])
    assert curves[0] == curves[1]
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_training_that_was_cut_in_two_ends_with_the_same_weights(tiny, tmp_path):
    def run(out: Path, stop_at: int | None) -> None:
        def stop(done: int, _n: int, losses: dict[str, float]) -> None:
            if losses and done == stop_at:
                raise KeyboardInterrupt

        recipe = HGDRecipe(steps=12, batch_size=16, flip=True)
        options = TrainingOptions(checkpoint_seconds=0)
        train(recipe, setting(companions=("b",)), tiny, out=out, options=options, progress=stop)

    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    run(whole, None)
    with pytest.raises(KeyboardInterrupt):
        run(cut, 8)  # after the rate's first drop
    run(cut, None)
    assert whole.read_bytes() == cut.read_bytes()


@pytest.mark.parametrize("network", ["dunet", "dae"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_the_larger_presets_build_and_train(shape, network):
    stage = setting(shape, companions=("b",))
    recipe = HGDRecipe(steps=2, batch_size=2, network=network, loss="fgd")
    recipe.length(stage, 4)
    recipe.receive(Shifted(images(2, shape[0], shape[1])))
    recipe.build(stage, {})
    before = recipe.product()["last.weight"].clone()
    for step in range(2):
        losses = recipe.step(
            images(2, shape[0], shape[1]), torch.tensor([0, 1]), step=step, draws=draws(2)
        )
        assert all(functional.relu(torch.tensor(v)) == v for v in losses.values())
    assert not torch.equal(before, recipe.product()["last.weight"])
