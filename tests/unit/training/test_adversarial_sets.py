"""Static adversarial sets: inside their budgets, made once, resumable, known by what decides them."""

import pytest
import torch
from torch import nn

from benchmark.classifiers.ensemble import MeanOf
from benchmark.engine.dataset import Dataset
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.recipe import Crafting, Length, Recipe
from benchmark.training import adversarial_sets as crafting_module
from benchmark.training.adversarial_sets import craft
from benchmark.training.loop import train
from benchmark.training.record import TrainingOptions

SHAPE = (1, 4, 4)
SMALL, LARGE = Threat.parse("linf:4/255"), Threat.parse("linf:16/255")


class Bars(Dataset):
    """4x4 images whose bright row is their label."""

    name, shape, classes, threat, model = "bars", SHAPE, 4, "linf:0.1", ""

    def labels(self, split):
        return torch.arange(70) % 4

    def images(self, split, indices):
        noise = Draws.of(0, indices, split).uniform(SHAPE) * 0.3
        noise[torch.arange(len(indices)), 0, self.labels(split)[indices]] += 0.5
        return noise


def linear(name, sign=1.0):
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4, bias=False))
    with torch.no_grad():
        network[1].weight.zero_()
        for label in range(4):
            network[1].weight[label, 4 * label : 4 * label + 4] = sign
    return Classifier(network, name=name, classes=4, sha256=f"sha-{name}-{sign}")


def setting(**changes):
    fields = {
        "dataset": "bars",
        "shape": SHAPE,
        "classes": 4,
        "threat": SMALL,
        "device": torch.device("cpu"),
        "classifier": linear("first"),
        "companions": {"second": linear("second", -1.0)},
    }
    return Setting(**{**fields, **changes})


class Crafting1(Recipe):
    """Trains one number on what it is handed; half of the images are used."""

    steps, batch_size = 3, 4

    def __init__(self, *, craftings=()):
        self.made = tuple(craftings)

    def craftings(self, setting):
        return self.made

    def receive(self, crafted):
        self.crafted = crafted

    def select(self, labels):
        return (labels < 2).nonzero().flatten()

    def build(self, setting, attacks):
        self.number = nn.Linear(1, 1)
        self.adam = torch.optim.Adam(self.number.parameters())
        self.seen = []

    def modules(self):
        return {"number": self.number}

    def optimizers(self):
        return {"adam": self.adam}

    def step(self, x, y, *, step, draws):
        assert bool((y < 2).all())
        x_adv = self.crafted.images("one", draws.images)
        self.seen.append(float((x_adv - x).abs().max()))
        return {"loss": 0.0}

    def product(self):
        return dict(self.number.state_dict())


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_STATIC", str(tmp_path / "static"))
    monkeypatch.setattr(crafting_module, "CHUNK", 8)
    crafting_module._opened.cache_clear()
    return tmp_path / "static"


ONE = Crafting(name="one", attack="fgsm", threats=(SMALL,))


def made(*craftings, at=None, seed=0):
    return craft(Crafting1(craftings=craftings), at or setting(), Bars(folder=None), seed=seed)


def test_fgsm_of_a_linear_classifier_is_the_one_that_is_known():
    indices = torch.tensor([0, 1, 4, 5])
    x = Bars(folder=None).images("train", indices)
    y = torch.tensor([0, 1, 0, 1])
    found = made(ONE).images("one", indices)
    down = torch.zeros_like(x, dtype=torch.bool)
    down[torch.arange(4), 0, y] = True
    expected = torch.where(down, x - 4 / 255, x + 4 / 255).clamp(0, 1)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_each_image_is_made_inside_the_budget_that_is_drawn_for_it():
    crafted = made(Crafting(name="one", attack="fgsm", threats=(SMALL, LARGE), is_8bit=True))
    indices = Crafting1().select(Bars(folder=None).labels("train"))
    x = Bars(folder=None).images("train", indices)
    size = (crafted.images("one", indices) - x).abs().flatten(1).amax(1) * 255
    is_small, is_large = (size - 4).abs() <= 0.51, (size - 16).abs() <= 0.51
    assert bool((is_small | is_large).all())
    assert 0.2 < is_small.double().mean() < 0.8


def test_an_ensemble_is_attacked_by_its_mean_logits():
    both = Crafting(name="one", attack="fgsm", threats=(SMALL,), against=("first", "second"))
    indices = torch.tensor([0, 1])
    x = Bars(folder=None).images("train", indices)
    assert torch.equal(made(both).images("one", indices), x)  # the two cancel out: no gradient
    torch.testing.assert_close(MeanOf([linear("a"), linear("b", 3.0)])(x), 2 * linear("c")(x))


def test_predicted_labels_are_those_of_the_attacked_classifier():
    upside_down = setting(classifier=linear("first", -1.0))
    indices = torch.tensor([0])
    x = Bars(folder=None).images("train", indices)
    by_truth = made(ONE, at=upside_down).images("one", indices)
    predicted = Crafting(name="one", attack="fgsm", threats=(SMALL,), labels="predicted")
    by_prediction = made(predicted, at=upside_down).images("one", indices)
    assert float((by_truth - x)[0, 0, 0].mean()) > 0  # moves the true row where its logit falls
    assert not torch.equal(by_truth, by_prediction)


def test_what_is_there_is_not_made_again(folder):
    made(ONE)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors")}
    assert len(before) == 5  # 36 images in files of 8
    made(ONE)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors")} == before


def test_a_file_that_has_gone_or_changed_is_made_anew_to_the_same_bytes(folder):
    made(ONE)
    first, second, *_ = sorted(folder.rglob("*.safetensors"))
    content = first.read_bytes(), second.read_bytes()
    first.unlink()
    second.write_bytes(content[1][:-1] + b"\x01")
    made(ONE)
    assert (first.read_bytes(), second.read_bytes()) == content


def test_everything_that_decides_the_images_decides_the_folder(folder):
    made(ONE)
    made(ONE, seed=1)
    made(ONE, at=setting(classifier=linear("first", 2.0)))
    made(Crafting(name="one", attack="fgsm", threats=(LARGE,)))
    made(Crafting(name="one", attack="pgd(steps=2)", threats=(SMALL,)))
    assert len(list(folder.iterdir())) == 5


def test_a_companion_that_was_not_asked_for_is_named():
    with pytest.raises(BenchError, match=r"made on third, which is none of first, second"):
        made(Crafting(name="one", attack="fgsm", threats=(SMALL,), against=("third",)))


def test_an_image_that_was_not_attacked_is_refused():
    with pytest.raises(BenchError, match="does not hold all"):
        made(ONE).images("one", torch.tensor([2]))


def test_training_hands_the_set_to_its_recipe_and_records_its_key(tmp_path, folder):
    recipe = Crafting1(craftings=(ONE,))
    out = tmp_path / "w.safetensors"
    train(recipe, setting(), Bars(folder=None), out=out)
    assert recipe.seen == pytest.approx([4 / 255] * 3, abs=1e-6)
    (key,) = folder.iterdir()
    assert key.name in out.with_suffix(".json").read_text()


class Stops(Crafting1):
    """Stops after its second step; its length hangs on the images."""

    def length(self, setting, images):
        return Length(steps=images, batch_size=2)

    def is_done(self):
        return len(self.seen) == 2


def test_a_recipe_says_how_long_it_trains_and_when_it_is_done(tmp_path):
    recipe = Stops(craftings=(ONE,))
    out = tmp_path / "w.safetensors"
    train(recipe, setting(), Bars(folder=None), out=out)
    record = out.with_suffix(".json").read_text()
    assert '"steps": 36' in record
    assert '"steps_done": 2' in record


class Precise(Stops):
    """Notes the dtype in which a convolution computes."""

    def step(self, x, y, *, step, draws):
        self.dtypes = nn.Conv2d(1, 1, 1)(x).dtype, self.number.weight.dtype
        self.seen.append(0.0)
        return {"loss": 0.0}


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("mixed", torch.bfloat16)]
)
def test_mixed_precision_computes_in_bfloat16_and_keeps_float32_weights(tmp_path, precision, dtype):
    recipe = Precise()
    train(
        recipe,
        setting(),
        Bars(folder=None),
        out=tmp_path / "w.safetensors",
        options=TrainingOptions(precision=precision),
    )
    assert recipe.dtypes == (dtype, torch.float32)


def test_another_precision_is_refused():
    with pytest.raises(BenchError, match=r"float32 or mixed; got 'half'"):
        TrainingOptions(precision="half")


def test_static_sets_are_reported_before_the_steps_and_only_where_they_are_made(tmp_path):
    for expected in ([(i, 5, True) for i in range(1, 6)], []):
        seen = []
        train(
            Crafting1(craftings=[ONE]),
            setting(),
            Bars(folder=None),
            out=tmp_path / "w.safetensors",
            progress=lambda done, total, losses, seen=seen: seen.append(
                (done, total, losses is None)
            ),
        )
        assert seen == [*expected, (1, 3, False), (2, 3, False), (3, 3, False)]
