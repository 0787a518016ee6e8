"""ADD-Defense's purifier: what it computes, what its auxiliary losses say, and which weights it takes."""

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark.errors import BenchError
from benchmark.files.weights import load_safetensors, save_safetensors
from defenses.add.add import ADD, ADDS
from defenses.add.network import DomainDiscriminator, Encoder, Generator, from_network, to_network
from defenses.add.presets import PRESETS
from tests.helpers.small_add import TINY, draws, images, setting

DIGITS = PRESETS[0]


def networks(preset=DIGITS, domains: int = 3) -> nn.ModuleDict:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = {
            "encoder": Encoder(preset, has_norm=True),
            "generator": Generator(preset, has_norm=True),
            "domain": DomainDiscriminator(preset, domains),
        }
    return nn.ModuleDict(made).eval()


def weights(folder: Path, preset=DIGITS, domains: int = 3) -> Path:
    path = folder / "w.safetensors"
    save_safetensors(dict(networks(preset, domains).state_dict()), path)
    return path


def prepared(folder: Path, **arguments) -> ADD:
    defense = ADD(**arguments)
    defense.prepare(setting(weights=weights(folder)))
    return defense


def test_purifying_is_generating_from_the_mean_latent(tmp_path):
    nets, x = networks(), images()
    with torch.no_grad():
        mean, _ = nets["encoder"](to_network(x))
        expected = from_network(nets["generator"](mean), 1)
        purified = prepared(tmp_path)(x, draws=draws(5))
    assert torch.equal(purified, expected)
    assert torch.equal(prepared(tmp_path)(x, draws=draws(5, start=70)), purified)


def test_the_s_variant_is_the_same_purifier_under_its_own_name(tmp_path):
    spatial = ADDS()
    spatial.prepare(setting(weights=weights(tmp_path)))
    assert torch.equal(
        spatial(images(), draws=draws(5)), prepared(tmp_path)(images(), draws=draws(5))
    )
    assert spatial.label((1, 8, 8)) == "add-s[digits]"
    assert ADDS.recipe != ADD.recipe


def test_the_reconstruction_loss_is_nothing_where_nothing_changes_and_grows_with_the_change(
    tmp_path,
):
    defense, d = prepared(tmp_path), draws(5)
    x = images()
    mended = defense(x, draws=d)
    for share in (0.0, 0.25, 0.5, 1.0):
        defense.purify = lambda x, *, draws, share=share: x + share * (mended - x)
        loss = defense.auxiliary_loss(x, draws=d)
        assert torch.allclose(loss, share * (mended - x).abs().flatten(1).mean(1), atol=1e-6)
        assert loss.shape == (5,)
    assert float((mended - x).abs().mean()) > 0.05


class Fixed(nn.Module):
    """An encoder or a discriminator that puts out what it was made with."""

    def __init__(self, *out: torch.Tensor) -> None:
        super().__init__()
        self.out = out

    def forward(self, _):
        return self.out if len(self.out) > 1 else self.out[0]


def test_the_domain_loss_is_the_cross_entropy_with_clean_and_beta_times_the_divergence(tmp_path):
    defense = prepared(tmp_path, auxiliary="domain", beta=0.5)
    mean = torch.zeros(2, DIGITS.latent)
    mean[1, 0] = 2.0
    defense._encoder = Fixed(mean, torch.zeros_like(mean))
    defense._domain = Fixed(torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]).log())
    by_hand = torch.tensor([0.5, 0.25]).log().neg() + 0.5 * torch.tensor([0.0, 2.0])
    assert torch.allclose(defense.auxiliary_loss(images(2), draws=draws(2)), by_hand)


@pytest.mark.parametrize("auxiliary", ["reconstruction", "domain"])
def test_an_auxiliary_loss_has_a_gradient_in_the_image(tmp_path, auxiliary):
    defense = prepared(tmp_path, auxiliary=auxiliary)
    x = images().requires_grad_()
    (gradient,) = torch.autograd.grad(defense.auxiliary_loss(x, draws=draws(5)).sum(), x)
    assert (gradient.flatten(1).abs().amax(1) > 0).all()


def test_as_many_domains_as_the_weights_know_are_taken(tmp_path):
    defense = ADD()
    defense.prepare(setting(weights=weights(tmp_path, domains=6)))
    assert defense._domain(torch.zeros(1, DIGITS.latent)).shape == (1, 6)


def test_what_is_kept_after_training_is_what_is_loaded(tmp_path):
    names = set(load_safetensors(weights(tmp_path)))
    assert {name.partition(".")[0] for name in names} == {"encoder", "generator", "domain"}


def test_missing_weights_are_one_line_with_the_command_that_makes_them():
    with pytest.raises(BenchError, match="bench train --defense add "):
        ADD().prepare(setting())
    with pytest.raises(BenchError, match="bench train --defense add-s "):
        ADDS().prepare(setting())


def test_weights_of_another_network_are_refused_by_the_first_name_that_differs(tmp_path):
    with pytest.raises(BenchError, match=r"another network's: domain\.0") as caught:
        ADD().prepare(setting(weights=weights(tmp_path, TINY)))
    assert "\n" not in str(caught.value)
    with pytest.raises(BenchError, match=r"encoder\.trunk\.0\.bias is None where .* has \(32,\)"):
        prepared(tmp_path, norm=False)
    save_safetensors({"layer": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(BenchError, match="another network's"):
        ADD().prepare(setting(weights=tmp_path / "other.safetensors"))


@pytest.mark.parametrize(
    "wrong",
    [{"choices": "both"}, {"auxiliary": "mse"}, {"beta": -1.0}, {"preset": "half"}],
    ids=str,
)
def test_wrong_arguments_are_refused_in_one_line(tmp_path, wrong):
    with pytest.raises(BenchError, match=next(iter(wrong))) as caught:
        prepared(tmp_path, **wrong)
    assert "\n" not in str(caught.value)
