"""The auxiliary-aware attack: what its lambda, projection and variants do to a purifier's own loss."""

from itertools import pairwise

import pytest
import torch

from attacks.auxiliary import AuxiliaryAware
from benchmark.engine.attacking.search import Search
from benchmark.engine.threat import Norm, Threat
from benchmark.errors import BenchError
from benchmark.selftest.closed_forms import LinearTask
from tests.helpers.toy_plugins import Nervous, Quantised, Same, image_draws, linear_target

LINF = Threat.parse("linf:0.04")
TASK = LinearTask.make(n=4)


def auxiliary(defense, threat=LINF, **options):
    target = linear_target(TASK, defense)
    attack = AuxiliaryAware(steps=10, step_size=0.2, **options)
    return attack(target, TASK.x, TASK.y, threat=threat, draws=image_draws(4)), target


@pytest.mark.parametrize("variant", ["A1", "A2"])
def test_lambda_does_not_hang_on_the_scale_of_the_auxiliary_loss(variant):
    first, _ = auxiliary(Nervous(scale=1.0), variant=variant)
    other, _ = auxiliary(Nervous(scale=1024.0), variant=variant)
    assert torch.equal(first, other)


def test_a_greater_lambda_keeps_the_purifier_calmer():
    defense = Nervous(grey=0.1)
    x_adv, target = auxiliary(defense, threat=TASK.threat(Norm.L2, 1.4), lambdas=(0.0, 0.3, 3.0))
    losses = [
        float(target.auxiliary_loss(x_adv[:, i], draws=image_draws(4)).mean()) for i in range(3)
    ]
    assert losses[0] > losses[1] > losses[2]


def test_the_projection_calms_the_purifier_and_still_fools():
    threat = TASK.threat(Norm.L2, 2.0)
    plain, target = auxiliary(Nervous(grey=0.1), threat=threat, lambdas=(0.0,), cap=0.5)
    calm, _ = auxiliary(Nervous(grey=0.1), threat=threat, projection=True, cap=0.5)
    assert (TASK.room(calm) < 0).all()
    before, after = (
        target.auxiliary_loss(images[:, 0], draws=image_draws(4)).mean() for images in (plain, calm)
    )
    assert after < before


def test_above_the_cap_the_projection_keeps_the_calmest_image_however_small_the_loss(monkeypatch):
    """All images are far above the cap; their auxiliary losses are below 1."""
    kept = []
    offer = Search.offer

    def watched(self, x_adv, logits, value):
        kept.append(value)
        return offer(self, x_adv, logits, value)

    monkeypatch.setattr(Search, "offer", watched)
    auxiliary(Nervous(scale=1e-3), projection=True, cap=-20.0)
    assert kept[0].unique().numel() == len(kept[0])


def test_without_an_auxiliary_gradient_the_term_is_dropped():
    x_adv, target = auxiliary(Same(), lambdas=(0.0, 10.0))
    assert torch.equal(x_adv[:, 0], x_adv[:, 1])
    assert target.zero_gradients == 0


def test_a1_does_not_see_the_purifier_and_a2_does():
    same = {v: auxiliary(Same(), variant=v, lambdas=(0.0,))[0] for v in ("A1", "A2")}
    other = {v: auxiliary(Quantised(), variant=v, lambdas=(0.0,))[0] for v in ("A1", "A2")}
    assert torch.equal(same["A1"], other["A1"])
    assert not torch.equal(same["A2"], other["A2"])


@pytest.mark.parametrize("variant", ["A1", "A2"])
def test_the_raw_form_is_cross_entropy_minus_lambda_times_the_auxiliary_loss(variant, monkeypatch):
    """Equation 1 by hand, at each iterate, and the step that its gradient by hand makes of it."""
    kept = []
    offer = Search.offer

    def watched(self, x_adv, logits, value):
        kept.append((x_adv.clone(), value))
        return offer(self, x_adv, logits, value)

    monkeypatch.setattr(Search, "offer", watched)
    grey, scale, weight = 0.3, 5.0, 0.7
    options = {"form": "raw", "lambdas": (weight,), "random_start": False, "cap": -20.0}
    auxiliary(Nervous(grey=grey, scale=scale), variant=variant, **options)
    assert len(kept) == 11
    y = TASK.y.tolist()
    for (x_adv, value), (x_next, _) in pairwise(kept):
        leaf = x_adv.clone().requires_grad_()
        shares = TASK.classifier(leaf).softmax(1)
        cross_entropy = -torch.stack([shares[i, y[i]].log() for i in range(4)])
        wanted = cross_entropy - weight * scale * (leaf - grey).square().flatten(1).sum(1)
        torch.testing.assert_close(value, wanted.detach(), rtol=1e-12, atol=1e-12)
        (slope,) = torch.autograd.grad(cross_entropy.sum(), leaf)
        slope = slope - 2 * weight * scale * (x_adv - grey)
        assert torch.equal(x_next, LINF.project(TASK.x, x_adv + 0.2 * LINF.eps * slope.sign()))


def test_the_raw_forms_lambda_hangs_on_the_scale_of_the_auxiliary_loss():
    """That is why the other is balanced: there is no one lambda for all purifiers."""
    options = {"form": "raw", "lambdas": (0.01,)}
    first, _ = auxiliary(Nervous(scale=1.0), **options)
    other, _ = auxiliary(Nervous(scale=1024.0), **options)
    assert not torch.equal(first, other)


def test_the_balanced_form_is_the_default_bit_for_bit():
    plain, _ = auxiliary(Nervous(grey=0.1))
    named, _ = auxiliary(Nervous(grey=0.1), form="balanced")
    assert torch.equal(plain, named)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "printed"}, "form is one of balanced, raw; got 'printed'"),
        ({"variant": "A3"}, "variant is one of A1, A2; got 'A3'"),
        ({"form": "raw", "projection": True}, "no lambda with projection, and so no form 'raw'"),
    ],
)
def test_a_form_or_variant_that_there_is_not_is_refused_in_one_line(options, said):
    with pytest.raises(BenchError, match=said) as caught:
        auxiliary(Nervous(), **options)
    assert "\n" not in str(caught.value)
