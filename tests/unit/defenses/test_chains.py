"""Chains of the published systems: straight-through by stage, each auxiliary loss at its own input."""

import pytest
import torch

from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import GradientMode
from benchmark.plugins import DEFENSES
from tests.helpers.shipped_weights import images, plain_setting, setting

BPDA, EXACT = GradientMode.BPDA, GradientMode.EXACT
CHAINS = [("atop", "aid"), ("hgd", "aid"), ("advae", "hgd"), ("add", "atop")]


@pytest.fixture
def shown():
    few = torch.arange(3)
    x, _, draws = images()
    return x[few], draws.take(few)


def victim(names):
    stages = []
    for name in names:
        stage = DEFENSES.get(name)()
        stage.prepare(setting(name))
        stages.append(stage)
    return Purified(stages, plain_setting().defended())


@pytest.mark.parametrize("names", CHAINS, ids="+".join)
def test_each_stage_is_given_what_the_one_before_put_out(shown, names):
    x, draws = shown
    chain = victim(names)
    first, second = chain.defenses
    with torch.no_grad():
        x1 = first(x, draws=draws.at("stage", 0))
        expected = second(x1, draws=draws.at("stage", 1))
        for mode in (EXACT, BPDA):
            assert torch.equal(chain.purify(x, draws=draws, mode=mode), expected)


@pytest.mark.parametrize("names", CHAINS, ids="+".join)
def test_the_backward_pass_of_bpda_takes_each_surrogate_at_what_its_stage_was_given(shown, names):
    x, draws = shown
    chain = victim(names)
    first, second = chain.defenses
    cotangent = draws.at("cotangent").normal(tuple(x.shape[1:]))
    leaf = x.clone().requires_grad_()
    out = chain.purify(leaf, draws=draws, mode=BPDA)
    (found,) = torch.autograd.grad((cotangent * out).sum(), leaf)

    with torch.no_grad():
        x1 = first(x, draws=draws.at("stage", 0))
    x1.requires_grad_()
    through_second = second.surrogate(x1, draws=draws.at("stage", 1))
    (middle,) = torch.autograd.grad((cotangent * through_second).sum(), x1)
    leaf = x.clone().requires_grad_()
    through_first = first.surrogate(leaf, draws=draws.at("stage", 0))
    (expected,) = torch.autograd.grad((middle * through_first).sum(), leaf)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("names", CHAINS, ids="+".join)
def test_the_auxiliary_loss_is_the_sum_over_the_stages_each_at_its_own_input(shown, names):
    x, draws = shown
    chain = victim(names)
    first, second = chain.defenses
    with torch.no_grad():
        x1 = first(x, draws=draws.at("stage", 0))
        expected = first.auxiliary_loss(x, draws=draws.at("stage", 0)) + second.auxiliary_loss(
            x1, draws=draws.at("stage", 1)
        )
        found = chain.auxiliary_loss(x, draws=draws, mode=EXACT)
    torch.testing.assert_close(found, expected)
    assert bool((found > 0).all())
