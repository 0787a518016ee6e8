"""HGD's static set: which attacks, on which networks, inside which budgets; and that it is made once."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from benchmark.errors import BenchError
from benchmark.training import adversarial_sets as crafting_module
from benchmark.training.adversarial_sets import craft
from benchmark.training.loop import train
from defenses.hgd.recipe import HGDRecipe
from defenses.hgd.static import budgets, craftings
from tests.helpers.small_hgd import TINY, Stripes, setting


def made(*companions: str, also: tuple[str, ...] = ()) -> dict[str, tuple[str, tuple[str, ...]]]:
    stage = setting(companions=companions)
    return {c.name: (c.attack, c.against) for c in craftings(stage, eps=None, also=also)}


def test_three_networks_make_the_papers_seven_attacks():
    every = ("conv", "b", "c")
    assert made("b", "c") == {
        "fgsm>conv": ("fgsm", ("conv",)),
        "fgsm>b": ("fgsm", ("b",)),
        "fgsm>c": ("fgsm", ("c",)),
        "fgsm>all": ("fgsm", every),
        "ifgsm2>all": ("pgd(steps=2, step_size=0.5, random_start=False, keep='last')", every),
        "ifgsm4>all": ("pgd(steps=4, step_size=0.25, random_start=False, keep='last')", every),
        "ifgsm8>all": ("pgd(steps=8, step_size=0.125, random_start=False, keep='last')", every),
    }


def test_fewer_networks_make_fewer_and_more_are_attacked_together():
    assert list(made()) == ["fgsm>conv", "ifgsm2>all", "ifgsm4>all", "ifgsm8>all"]
    assert len(made("b")) == 6
    more = made("b", "c", "d")
    assert len(more) == 7
    assert more["fgsm>all"][1] == ("conv", "b", "c", "d")


def test_the_nips_variants_images_come_in_on_demand():
    more = made("b", also=("clean", "noise"))
    assert list(more)[-2:] == ["clean>all", "noise>all"]


def test_no_label_leaks_and_pixels_are_bytes():
    for crafting in craftings(setting(companions=("b",)), eps=None, also=("noise",)):
        assert crafting.labels == "predicted"
        assert crafting.is_8bit


@pytest.mark.parametrize(
    ("shape", "threat", "eps", "expected"),
    [
        ((3, 224, 224), "linf:4/255", None, [Fraction(i, 255) for i in range(1, 17)]),
        ((3, 32, 32), "linf:8/255", None, [Fraction(i, 255) for i in range(1, 9)]),
        ((1, 8, 8), "linf:0.16", None, [Fraction(i, 100) for i in range(1, 17)]),
        ((3, 32, 32), "l2:0.5", None, [Fraction(i, 32) for i in range(1, 17)]),
        ((1, 8, 8), "linf:0.15", "paper", [Fraction(i, 255) for i in range(1, 17)]),
        ((1, 8, 8), "linf:0.15", "code", [Fraction(i, 255) for i in range(1, 16)]),
        ((3, 32, 32), "linf:8/255", [16], [Fraction(16, 255)]),
    ],
)
def test_budgets_are_the_papers_or_go_by_the_images(shape, threat, eps, expected):
    found = [t.eps for t in budgets(setting(shape, threat=threat), eps)]
    assert found == pytest.approx([float(e) for e in expected])


@pytest.mark.parametrize(
    ("eps", "threat", "message"),
    [
        ("papers", "linf:0.1", "Did you mean 'paper'"),
        ([0], "linf:0.1", "whole numbers"),
        ([0.1], "linf:0.1", "whole numbers"),
        ([], "linf:0.1", "whole numbers"),
        ("paper", "l2:0.5", "take 'threat'"),
    ],
)
def test_other_budgets_are_refused_in_one_line(eps, threat, message):
    with pytest.raises(BenchError, match=message) as caught:
        budgets(setting(threat=threat), eps)
    assert "\n" not in str(caught.value)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("defenses.hgd.presets.PRESETS", {"digits": TINY})
    monkeypatch.setenv("BENCH_STATIC", str(tmp_path / "static"))
    crafting_module._opened.cache_clear()
    return tmp_path / "static"


def test_images_lie_inside_the_budget_and_hang_on_no_label(folder):
    stage = setting(companions=("b", "c"))
    data = Stripes(folder=Path())
    crafted = craft(HGDRecipe(also=["clean", "noise"]), stage, data, seed=0)
    assert crafted is not None
    indices = torch.arange(64)
    x = data.images("train", indices)
    for name in crafted.folders:
        x_adv = crafted.images(name, indices)
        levels = 255 * x_adv
        torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
        size = (x_adv - x).abs().flatten(1).amax(1)
        assert float(size.max()) <= 0.15 + 0.5 / 255
        if name == "clean>all":
            assert float(size.max()) <= 0.5 / 255 + 1e-6
        else:
            assert len({round(16 * float(s) / 0.15) for s in size}) > 6  # many budgets
    same = crafted.images("fgsm>conv", indices) == crafted.images("fgsm>b", indices)
    assert not bool(same.all())


def test_another_loss_finds_the_set_made(folder, tmp_path, monkeypatch):
    stage = setting(companions=("b",))
    data = Stripes(folder=Path())

    def trained(loss: str) -> None:
        recipe = HGDRecipe(loss=loss, steps=1, batch_size=8)
        train(recipe, stage, data, out=tmp_path / f"{loss}.safetensors")

    trained("lgd")
    files = {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors")}
    assert len({p.parent for p in files}) == 6

    def refuse(*_: object) -> None:
        raise AssertionError("an image was attacked again")

    monkeypatch.setattr(crafting_module._Maker, "make", refuse)
    for loss in ("fgd", "pgd", "cgd"):
        trained(loss)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors")} == files


def test_the_images_of_some_classes_are_a_set_of_their_own(folder):
    stage, data = setting(), Stripes(folder=Path())
    all_of_them = craft(HGDRecipe(), stage, data, seed=0)
    some = craft(HGDRecipe(classes=[1]), stage, data, seed=0)
    assert all_of_them is not None
    assert some is not None
    assert set(all_of_them.keys.values()).isdisjoint(some.keys.values())
    assert some.images("fgsm>conv", torch.tensor([1, 63])).shape == (2, 1, 8, 8)
    with pytest.raises(BenchError, match="does not hold all"):
        some.images("fgsm>conv", torch.tensor([0]))
