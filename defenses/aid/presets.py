"""AID-Purifier's hyper-parameters, one set for each dataset that its authors used, and some more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.engine.threat import Norm, Threat
from benchmark.errors import BenchError
from benchmark.registry import unknown
from defenses.presets import AUTO

_WIDTH = 1024
"""The paper's."""
_LARGE = (224, 256, 299, 384)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What hangs on the dataset; every length is in pixel units of [0, 1].

    Args:
        name: As `preset` names it.
        datasets: For which `auto` takes it.
        sides: Heights and widths of images for which `auto` takes it, where no preset names the dataset.
        taps: Positions in the classifier at which the discriminator looks.
        width: Width of a branch's layers.
        branch_layers: Layers of a branch (the code's `bcd`, plus one).
        head: Widths of the hidden layers behind the branches (one fewer than the code's `acd`).
        eps: Radius of purification; None is the eps of the threat.
        steps: K, the steps of purification.
        train_eps: Budget of the training attack; None is the eps of the threat.
        train_step: Its step; None is a fourth of `train_eps`.
        gamma: How much farther than the adversarial image the AVmixup vertex lies.
        shift: By how many pixels at the most training images are moved, each way.
        flips: Whether half of them are mirrored.
        epochs: How often each training image is seen.
        learning_rate: Of SGD.
    """

    name: str
    datasets: tuple[str, ...] = ()
    sides: tuple[int, ...] = ()
    taps: Sequence[str] = ("stem", "2/3")
    width: int = _WIDTH
    branch_layers: int = 2
    head: tuple[int, ...] = (1024, 512)
    eps: float | None = None
    steps: int = 10
    train_eps: float | None = None
    train_step: float | None = None
    gamma: float = 1.5
    shift: int = 0
    flips: bool = False
    epochs: int = 1
    learning_rate: float = 0.01

    @property
    def variant(self) -> str:
        """What stands in a label, `aid[digits]`; empty for networks of the paper's own widths."""
        return self.name if self.width < _WIDTH else ""

    def radius(self, threat: Threat) -> float:
        """The radius of purification: `eps`, else the threat's.

        Raises:
            BenchError: It is out of range, or the threat measures by another norm.
        """
        return _length("eps", self.eps, threat)

    def budget(self, threat: Threat) -> float:
        """The training attack's linf budget, found likewise from `train_eps`.

        Raises:
            BenchError: It is out of range, or the threat measures by another norm.
        """
        return _length("train_eps", self.train_eps, threat)


def _of(dataset: str, eps: int, train_eps: int, train_step: int, **more: Any) -> Preset:
    """The preset of a dataset, its lengths given in units of 1/255."""
    lengths = {"eps": eps / 255, "train_eps": train_eps / 255, "train_step": train_step / 255}
    return Preset(**{"name": dataset, "datasets": (dataset,)} | lengths | more)


PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        _of("svhn", 12, 12, 2, taps=("stem", "3/3"), branch_layers=1, head=(1024,), gamma=2.0),
        _of("cifar10", 8, 8, 1, shift=4, flips=True),
        _of("cifar100", 16, 8, 2, shift=4, flips=True),
        _of("tiny_imagenet", 8, 16, 1, taps=("1/3", "2/3"), flips=True),
        _of("imagenet", 4, 4, 1, datasets=("imagenet", "imagenette"), sides=_LARGE, flips=True),
        Preset(name="28px", datasets=("mnist", "fashion_mnist"), sides=(28,)),
        Preset(
            name="digits",
            datasets=("digits",),
            sides=(8,),
            width=128,
            head=(128, 64),
            eps=0.15,
            train_eps=0.15,
            epochs=60,
        ),
        Preset(name="general"),
    )
}


def preset_for(name: str, shape: tuple[int, int, int], dataset: str = "") -> Preset:
    """The preset of a name, or with `auto` the dataset's, else the one for such images, else `general`.

    Raises:
        BenchError: Nothing has that name.
    """
    if name != AUTO:
        if name not in PRESETS:
            raise unknown("preset of aid", name, (AUTO, *PRESETS))
        return PRESETS[name]
    named = [p for p in PRESETS.values() if dataset in p.datasets]
    sized = [p for p in PRESETS.values() if shape[1] == shape[2] and shape[1] in p.sides]
    return (named or sized or [PRESETS["general"]])[0]


def _length(what: str, found: float | None, threat: Threat) -> float:
    if found is None:
        if threat.norm is not Norm.LINF:
            raise BenchError(
                f"aid's {what} is that of an linf threat here, and the threat is {threat}; say it: "
                f"{what}=0.1, in pixel units of [0, 1]"
            )
        found = threat.eps
    if not 0 < found <= 1:
        raise BenchError(f"aid's {what} is above 0 and at most 1; got {found!r}")
    return found
