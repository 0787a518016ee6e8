"""Ensembles of classifiers: named, known and computed by their members."""

from __future__ import annotations

import pytest
import torch

from benchmark.datasets.digits import Digits
from benchmark.errors import BenchError
from benchmark.evaluation.prepare.loading import load_classifier, load_task, published_name

NAME = "mean(digits-cnn, digits-mlp)"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return Digits(folder=tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def loaded(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")

    def load(name, **options):
        return load_classifier(name, dataset=digits, folder=folder, **options)

    return load


def test_its_logits_are_the_mean_of_its_members(loaded, digits):
    x = digits.images("test", torch.arange(4))
    expected = (loaded("digits-cnn")(x) + loaded("digits-mlp")(x)) / 2
    assert torch.allclose(loaded(NAME)(x), expected, atol=1e-6)


def test_an_ensemble_within_an_ensemble_weighs_as_one_member(loaded, digits):
    x = digits.images("test", torch.arange(4))
    found = loaded(f"mean(digits-conv,{NAME})")
    assert found.name == f"mean(digits-conv, {NAME})"
    assert torch.allclose(found(x), (loaded("digits-conv")(x) + loaded(NAME)(x)) / 2, atol=1e-6)


def test_other_members_or_another_order_are_another_ensemble(loaded):
    names = (NAME, "mean(digits-mlp, digits-cnn)", "mean(digits-cnn, digits-conv)")
    assert len({loaded(name).sha256 for name in names}) == 3


def test_it_is_frozen_and_moves_as_one(loaded):
    found = loaded(NAME, dtype=torch.float64)
    assert found.name == NAME
    assert not any(p.requires_grad for p in found.parameters())
    assert {p.dtype for p in found.parameters()} == {torch.float64}


def test_its_members_can_be_tapped(loaded, digits):
    found = loaded(NAME)
    tap = found.positions(digits.shape)["pooled"].tap
    x = digits.images("test", torch.arange(2))
    logits, taps = found.features(x, [tap])
    assert tap.startswith("members.1.")
    assert torch.equal(logits, found(x))
    assert len(taps[tap]) == 2


def test_the_dataset_of_an_ensemble_is_its_members(tmp_path):
    dataset, threat = load_task(None, "mean(mnist-cnn, mnist-mlp)", None, folder=tmp_path)
    assert (dataset.name, str(threat)) == ("mnist", dataset.threat)


def test_an_ensemble_of_zoo_models_is_attacked_as_they_are_if_they_agree(tmp_path):
    name = "mean(Standard@L2, Rebuffi2021Fixing_70_16_cutmix_extra@L2)"
    _, threat = load_task("cifar10", name, None, folder=tmp_path)
    assert str(threat) == "l2:0.5"
    assert published_name("Gowal2021", "cifar10") == "Gowal2021Improving_28_10_ddpm_100m"


def test_members_of_different_datasets_are_refused(loaded):
    with pytest.raises(BenchError, match="mnist-cnn' is for mnist, not for digits"):
        loaded("mean(digits-cnn, mnist-cnn)")


def test_members_that_want_images_prepared_differently_are_refused(tmp_path):
    with pytest.raises(BenchError, match="prepared differently"):
        load_task(
            "imagenet", "mean(Standard_R50, Liu2023Comprehensive_Swin-L)", None, folder=tmp_path
        )


def test_a_member_that_nobody_has_is_refused_with_what_is_near(tmp_path):
    with pytest.raises(BenchError, match="Did you mean 'digits-cnn'"):
        load_task("digits", "mean(digits-cn, digits-mlp)", None, folder=tmp_path)


def test_a_name_of_an_entry_is_found_without_making_a_network():
    assert published_name("digits-cnn", "digits") == "digits-cnn"
    assert published_name("net@digits-cnn", "digits") == "net@digits-cnn"
    with pytest.raises(BenchError, match="no classifier for digits is called 'nothing'"):
        published_name("nothing", "digits")
