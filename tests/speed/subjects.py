"""What is attacked: a naturally and an adversarially trained classifier, with images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import torch
from torch import Tensor

from benchmark.classifiers.training_recipe import AdversarialRecipe, ClassifierRecipe
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.setting import Setting
from benchmark.engine.victims.victim import Victim
from benchmark.evaluation.prepare.loading import data_folder, load_classifier, load_dataset
from benchmark.training.loop import train
from benchmark.training.record import TrainingOptions
from tests.speed.timing import Sizes

DEFAULTS = {"digits": "digits-cnn", "cifar10": "standard-r18"}


@dataclass(frozen=True)
class Subject:
    """A victim with its images `(b, c, h, w)`, labels `(b,)`, threat and draws."""

    name: str
    victim: Victim
    x: Tensor
    y: Tensor
    threat: Threat
    draws: Draws

    def target(self, **options: object) -> Target:
        """The victim as an attack sees it."""
        return Target(self.victim, classes=10, **{"batch_size": 512, **options})  # type: ignore[arg-type]

    def stands(self, x_adv: Tensor) -> Tensor:
        """Which images are classified rightly, `(b,)`."""
        with torch.no_grad():
            return self.victim(x_adv).argmax(1) == self.y


def natural(sizes: Sizes) -> Subject:
    """The dataset's own classifier, naturally trained."""
    name = DEFAULTS[sizes.dataset]
    return subject(f"{name}, natural", load(name, sizes), sizes)


def both(sizes: Sizes) -> Iterator[Subject]:
    """The natural one, then an adversarially trained one of the same network (digits only)."""
    yield natural(sizes)
    if sizes.dataset == "digits":
        file = adversarial_weights(sizes)
        classifier = load(f"file:{file}@digits-cnn", sizes)
        yield subject("digits-cnn, adversarial", classifier, sizes)


def subject(name: str, classifier: Classifier, sizes: Sizes) -> Subject:
    """A bare classifier with the first images of its dataset."""
    dataset = load_dataset(sizes.dataset, folder=data_folder())
    indices = dataset.order("test")[: sizes.images]
    return Subject(
        name=name,
        victim=Purified([], classifier),
        x=dataset.images("test", indices),
        y=dataset.labels("test")[indices],
        threat=Threat.parse(dataset.threat),
        draws=Draws.of(0, indices),
    )


def load(name: str, sizes: Sizes) -> Classifier:
    """A classifier for the dataset."""
    dataset = load_dataset(sizes.dataset, folder=data_folder())
    return load_classifier(name, dataset=dataset, folder=data_folder())


def adversarial_weights(sizes: Sizes) -> Path:
    """Those that `bench train --classifier digits-cnn --adversarial` makes: made once, then kept."""
    folder = Path(
        os.environ.get("BENCH_SPEED", platformdirs.user_cache_path("purifybench") / "speed")
    )
    file = folder / f"digits-cnn-at-{sizes.training or 'whole'}.safetensors"
    if file.is_file():
        return file
    dataset = load_dataset("digits", folder=data_folder())
    natural = ClassifierRecipe(classifier="digits-cnn", steps=sizes.training or 1200)
    setting = Setting(
        dataset="digits",
        shape=dataset.shape,
        classes=10,
        threat=Threat.parse(dataset.threat),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    recipe = AdversarialRecipe(inner=natural)
    return train(recipe, setting, dataset, out=file, options=TrainingOptions(seed=0))
