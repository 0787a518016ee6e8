"""The masked auto-encoder as a purifier: its sizes, what it may see, and how it is trained."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark.errors import BenchError
from benchmark.files.weights import save_safetensors
from benchmark.recipe import one_cycle
from benchmark.training.loop import train
from benchmark.training.record import TrainingOptions
from defenses.atop.mae import AToPMAE, Hiding
from defenses.atop.mae_network import Block, MaskedAutoencoder, sines
from defenses.atop.mae_presets import PRESETS, preset_for
from defenses.atop.mae_recipe import MAERecipe
from tests.helpers.small_atop import Stripes, draws, images, setting

TINY = replace(PRESETS["digits"], width=16, depth=1, decoder_width=8, heads=2, decoder_heads=2)


@pytest.fixture
def tiny(monkeypatch):
    """The digits preset made small, so that training takes a second."""
    monkeypatch.setattr("defenses.atop.mae_presets.PRESETS", {"digits": TINY})
    return Stripes(folder=Path())


def network(preset=TINY, channels=1) -> MaskedAutoencoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MaskedAutoencoder(channels, preset)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_papers_network_is_vit_b_16_with_a_decoder_of_8_blocks_of_512():
    with torch.device("meta"):
        paper = MaskedAutoencoder(3, PRESETS["paper"])
        out = paper(torch.rand(1, 3, 224, 224), torch.zeros(1, 49, dtype=torch.int64))
    assert out.shape == (1, 3, 224, 224)
    assert [count(block) for block in paper.blocks] == [7_087_872] * 12
    assert [count(block) for block in paper.decoder_blocks] == [3_152_384] * 8
    fixed = (
        paper.positions.numel() + 768 + paper.decoder_positions.numel() + 512
    )  # class tokens' too
    assert (
        count(paper) + fixed == 111_907_840
    )  # what MAE's own counts, its positions being parameters


@pytest.mark.parametrize(
    ("shape", "label"),
    [
        ((1, 8, 8), "atop-mae[digits]"),
        ((1, 28, 28), "atop-mae[28px]"),
        ((3, 32, 32), "atop-mae[32px]"),
        ((3, 224, 224), "atop-mae"),
    ],
)
def test_the_shape_chooses_preset_and_label(shape, label):
    assert AToPMAE().label(shape) == label
    preset = preset_for("auto", shape)
    with torch.device("meta"):
        shown = torch.zeros(1, 2, dtype=torch.int64)
        assert MaskedAutoencoder(shape[0], preset)(torch.rand(1, *shape), shown).shape[1:] == shape


def test_what_the_weights_were_trained_for_stands_in_the_label():
    assert AToPMAE(tuned=False).label((1, 8, 8)) == "atop-mae[digits-pretrained]"
    assert AToPMAE(upscale=224).label((3, 32, 32)) == "atop-mae[at224px]"


def test_the_small_networks_weights_stay_under_what_may_ship():
    assert 4 * count(MaskedAutoencoder(1, PRESETS["digits"])) < 1_100_000


def test_a_quarter_of_the_patches_is_shown_at_the_papers_size():
    noisy, shown = Hiding(196, 0.75, 0.25)(images(3, 3, 16), draws=draws(3))
    assert shown.shape == (3, 49)
    assert all(len(set(row.tolist())) == 49 for row in shown)
    assert len({tuple(row.tolist()) for row in shown}) == 3
    noise = draws(3).at("noise").normal((3, 16, 16))
    assert torch.equal(noisy, images(3, 3, 16) + 0.25 * noise)


def test_hidden_patches_are_not_seen_and_all_are_painted():
    x, shown = images(2), torch.tensor([[0, 5], [3, 15]])
    net = network()
    seen = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    for i, row in enumerate(shown.tolist()):
        for at in row:
            r, c = 2 * (at // 4), 2 * (at % 4)
            seen[i, :, r : r + 2, c : c + 2] = True
    other = torch.where(seen, x, 1 - x)
    assert torch.equal(net(x, shown), net(other, shown))
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(leaf, shown).square().sum(), leaf)
    assert (gradient[seen] != 0).all()
    assert (gradient[~seen] == 0).all()


def test_the_order_in_which_patches_are_shown_does_not_matter():
    x = images(2).double()
    net = network().double()
    one, two = torch.tensor([[0, 5, 9]] * 2), torch.tensor([[9, 0, 5]] * 2)
    assert torch.allclose(net(x, one), net(x, two), atol=1e-12)


def test_a_patch_is_painted_where_it_belongs():
    net = network()
    with torch.no_grad():
        net.decoder_pixels.weight.zero_()
        net.decoder_pixels.bias.copy_(torch.tensor([-1.0, 0.0, 1.0, 2.0]))
    out = net(images(1), torch.tensor([[0]]))
    patch = (torch.tensor([[-1.0, 0.0], [1.0, 2.0]]).tanh() + 1) / 2
    assert torch.allclose(out[0, 0], patch.repeat(4, 4), atol=1e-6)


def test_a_block_attends_as_torchs_own():
    block = Block(8, 2)
    theirs = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(block.qkv.weight)
        theirs.in_proj_bias.copy_(block.qkv.bias)
        theirs.out_proj.load_state_dict(block.proj.state_dict())
        x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
        normed = block.norm1(x)
        after = x + theirs(normed, normed, normed)[0]
        expected = after + block.fc2(nn.functional.gelu(block.fc1(block.norm2(after))))
        assert torch.allclose(block(x), expected, atol=1e-5)


def test_positions_are_sines_and_cosines_of_column_and_row():
    table = sines(3, 8)
    row, column = 2, 1
    slow = 10000**-0.5
    angles = [column, column * slow], [row, row * slow]
    expected = [f(a) for part in angles for f in (math.sin, math.cos) for a in part]
    assert table[3 * row + column].tolist() == pytest.approx(expected)
    assert len({tuple(line) for line in table.tolist()}) == 9


def built(**arguments) -> MAERecipe:
    recipe = MAERecipe(batch_size=8, **arguments)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        recipe.build(setting(), {"fgsm": lambda _m, x, _y, _d: (x + 0.1).clamp(0, 1)})
    return recipe


@pytest.mark.parametrize("step", [0, 5])
def test_a_step_reports_the_losses_over_all_patches(tiny, step):
    recipe = built(steps=10, pretraining=5)
    x, y, d = tiny.images("train", torch.arange(8)), torch.arange(8) % 2, draws(8)
    wanted = (x + 0.1).clamp(0, 1) if step >= 5 else x
    hiding = Hiding(16, TINY.ratio, TINY.sigma)
    with torch.no_grad():
        painted = recipe.modules()["network"](*hiding(wanted, draws=d.at("transform")))
        ce = nn.functional.cross_entropy(setting().defended()(painted), y)
    losses = recipe.step(x, y, step=step, draws=d)
    mse = ((2 * painted - 1) - (2 * wanted - 1)).square().mean()
    assert losses["mse"] == pytest.approx(float(mse), rel=1e-5)
    assert losses.get("ce") == (pytest.approx(float(ce), rel=1e-5) if step >= 5 else None)


def test_the_learning_rate_rises_and_falls():
    rates = [one_cycle(step, 100, 1.0, rise=5) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5] == 1
    assert rates[52] == pytest.approx(0.5, abs=0.02)
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 0.001


def test_pretraining_alone_asks_for_no_attack_and_has_no_cross_entropy(tiny):
    recipe = MAERecipe(tuned=False, steps=3, batch_size=8)
    assert recipe.attacks_for(setting()) == ()
    recipe.build(setting(), {})
    x, y = tiny.images("train", torch.arange(8)), torch.arange(8) % 2
    assert [set(recipe.step(x, y, step=i, draws=draws(8))) for i in range(3)] == [{"mse"}] * 3


def test_training_lowers_the_loss_and_goes_on_to_the_same_bits_after_a_kill(tiny, tmp_path):
    def run(out: Path, stop_at: int | None) -> list[float]:
        seen = []

        def stop(done: int, _n: int, losses: dict[str, float]) -> None:
            seen.append(losses["mse"])
            if done == stop_at:
                raise KeyboardInterrupt

        recipe = MAERecipe(steps=60, pretraining=50, batch_size=16, learning_rate=1e-2)
        options = TrainingOptions(checkpoint_seconds=0)
        train(recipe, setting(), tiny, out=out, options=options, progress=stop)
        return seen

    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    losses = run(whole, None)
    assert sum(losses[45:50]) < 0.5 * sum(losses[:5])
    with pytest.raises(KeyboardInterrupt):
        run(cut, 53)
    run(cut, None)
    assert whole.read_bytes() == cut.read_bytes()


def prepared(tmp_path: Path, **arguments) -> AToPMAE:
    path = tmp_path / "w.safetensors"
    save_safetensors(dict(network().state_dict()), path)
    defense = AToPMAE(**arguments)
    defense.prepare(setting(weights=path))
    return defense


def test_purifying_is_hiding_then_painting(tiny, tmp_path):
    defense = prepared(tmp_path, sigma=0.3, ratio=0.5)
    noisy, shown = Hiding(16, 0.5, 0.3)(images(), draws=draws(5))
    with torch.no_grad():
        assert torch.equal(defense(images(), draws=draws(5)), network()(noisy, shown))


def test_the_auxiliary_loss_is_how_far_an_image_is_from_what_is_painted(tiny, tmp_path):
    defense = prepared(tmp_path, sigma=0.0, ratio=0.0)
    x = images()
    painted = defense(x, draws=draws(5))
    loss = defense.auxiliary_loss(x, draws=draws(5))
    assert torch.allclose(loss, (painted - x).abs().mean((1, 2, 3)))
    defense._network = lambda image, _shown: image
    assert torch.equal(defense.auxiliary_loss(x, draws=draws(5)), torch.zeros(5))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sigma": -1.0}, "sigma"),
        ({"ratio": 1.0}, "ratio"),
        ({"preset": "digit"}, "Did you mean 'digits'"),
        ({"preset": "32px"}, "8x8"),
        ({"upscale": 4}, "upscale"),
        ({"upscale": 100}, "100x100"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(wrong, message):
    with pytest.raises(BenchError, match=message):
        AToPMAE(**wrong).prepare(setting())
    with pytest.raises(BenchError, match=message):
        MAERecipe(**wrong).build(setting(), {"fgsm": lambda _m, x, _y, _d: x})


def test_missing_weights_and_weights_of_another_network_are_one_line(tmp_path):
    with pytest.raises(BenchError, match="bench train --defense atop-mae"):
        AToPMAE().prepare(setting())
    with pytest.raises(BenchError, match="another network"):
        prepared(tmp_path)
