"""What this project's own classifiers share: weights that ship, or that their user trains, and one recipe."""

from __future__ import annotations

from pathlib import Path

from benchmark.classifiers.base import ClassifierSource
from benchmark.classifiers.training_recipe import AdversarialRecipe, ClassifierRecipe
from benchmark.errors import BenchError
from benchmark.files.manifest import plugin_weights
from benchmark.recipe import Recipe


class OwnSource(ClassifierSource):
    """A classifier of ten classes; the numbers that follow are those of its recipe."""

    classes = 10
    steps: int
    rate = 3e-3
    weight_decay = 1e-2
    shift = 1
    is_mirrored = False
    out = "FILE"
    """What a message about lacking weights calls the file that the user trains; empty for the name."""

    def weights(self, folder: Path) -> Path:
        """The shipped file, as the manifest lists it; else the one that `bench train` wrote."""
        del folder
        found = plugin_weights(OwnSource, "classifier", label=self.name, dataset=self.dataset)
        own = self.trained_file()
        if found is None and own is not None and own.is_file():
            found = own
        if found is None:
            raise BenchError(f"classifier {self.name!r} {self._lacking()}")
        return found

    def _lacking(self) -> str:
        train = f"bench train --classifier {self.name} --dataset {self.dataset}"
        if not self.ships:
            return f"has no weights here; train it with: {train}"
        file = f"{self.out or self.name}.safetensors"
        return (
            f"lacks the weights that ship with it; install again, or train it ({train} --out {file}) and "
            f"name it as file:{file}@{self.name}"
        )

    def recipe(self, *, is_adversarial: bool) -> Recipe:
        """Cross-entropy on shifted images, attacked ones where asked."""
        natural = ClassifierRecipe(
            classifier=self.name,
            steps=self.steps,
            rate=self.rate,
            weight_decay=self.weight_decay,
            shift=self.shift,
            is_mirrored=self.is_mirrored,
        )
        return AdversarialRecipe(inner=natural) if is_adversarial else natural
