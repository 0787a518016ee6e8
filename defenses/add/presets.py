"""Sizes of ADD-Defense's networks by resolution, and what its paper and its successor choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchmark.errors import BenchError
from benchmark.registry import unknown
from defenses.presets import PAPER, Sized, chosen

CHOICES = (PAPER, "arn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset(Sized):
    """What is scaled with the resolution.

    Args:
        widths: Channels that the encoder's layers put out, the latent's last.
        kernels: Their kernels, each of stride 2 and padding 1; the generator has them in the other order.
        critic: Widths of the image discriminator's convolutions, each of which halves the resolution.
        hidden: Width of the image discriminator's and of the class head's hidden layer.
        domain: Widths of the domain discriminator's hidden layers.
        steps: How long it trains, unless told otherwise.
        batch_size: Clean images in a step; each known attack adds as many.
        learning_rate: Of Adam.
    """

    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    critic: tuple[int, ...] = (32, 64, 128, 256)
    hidden: int = 512
    domain: tuple[int, ...] = (1024, 256, 64)
    steps: int = 20_000
    batch_size: int = 300
    learning_rate: float = 1e-4

    @property
    def latent(self) -> int:
        """Coordinates of z."""
        return self.widths[-1]


_WIDTHS = (128, 256, 512, 1024, 2048)
_KERNELS_224 = (4, 4, 4, 4, 4, 5, 5)  # 224, 112, 56, 28, 14, 7, 3, 1
_LARGE = (32, 64, 128, 256, 256, 256)

_WHOLE = (
    Preset(name=PAPER, side=28, widths=_WIDTHS, kernels=(4, 2, 4, 4, 4)),  # 28, 14, 8, 4, 2, 1
    Preset(name=PAPER, side=32, widths=_WIDTHS, kernels=(4,) * 5),
    Preset(name="64px", side=64, widths=(64, *_WIDTHS), kernels=(4,) * 6),
    Preset(name="224px", side=224, widths=(32, 64, *_WIDTHS), kernels=_KERNELS_224, critic=_LARGE),
    Preset(name="256px", side=256, widths=(16, 32, 64, *_WIDTHS), kernels=(4,) * 8, critic=_LARGE),
)

PRESETS: tuple[Preset, ...] = (
    Preset(
        name="digits",
        side=8,
        widths=(32, 64, 96),
        kernels=(4, 4, 4),
        critic=(32, 64),
        hidden=64,
        domain=(64, 32),
        steps=1500,
        batch_size=64,
        learning_rate=1e-3,
    ),
    *_WHOLE,
    *(replace(p, name="quarter", widths=tuple(w // 4 for w in p.widths)) for p in _WHOLE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each loss counts.

    Args:
        mmd: Of L_mmd between the domains' latents.
        prior: Of L_g; lambda 1.
        domain: Of L_p, for the encoder; lambda 2.
        label: Of L_c; lambda 3.
        adversarial: Of L_adv.
        mse: Of L_mse; theta.
    """

    mmd: float = 1.0
    prior: float = 1e-4
    domain: float = 1.0
    label: float = 1e-3
    adversarial: float = 1.0
    mse: float = 1e3


_CIFAR10 = Weights(prior=1e-6, domain=1e-1, label=1e-3, mse=1e1)
_ARN = Weights(mmd=0, prior=1e-6, domain=0.5, label=0, adversarial=0.01, mse=200)
_LIKE_CIFAR10 = ("cifar10", "cifar100", "tiny_imagenet", "imagenette", "imagenet")
_KNOWN_EPS = {"mnist": 0.15, "fashion_mnist": 0.15, "cifar10": 0.03, "svhn": 0.025}
PENALTY = 30.0
"""ARN's weight of the gradient penalty on the image discriminator."""


def weights_for(dataset: str, choices: str, given: Mapping[str, float | None]) -> Weights:
    """The losses' weights on a dataset: those of the paper or of ARN, but for what is given.

    Raises:
        BenchError: A weight is below 0.
    """
    papers = _CIFAR10 if dataset in _LIKE_CIFAR10 else Weights()
    usual = _ARN if choices == "arn" else papers
    chosen = {name: value for name, value in given.items() if value is not None}
    for name, value in chosen.items():
        if not value >= 0:
            raise BenchError(f"add's weight {name} is a number from 0 up; got {value!r}")
    return replace(usual, **chosen)


def known_eps(dataset: str, otherwise: float) -> float:
    """The linf budget of the known attacks: the paper's on its datasets, in pixel units of [0, 1]."""
    return _KNOWN_EPS.get(dataset, otherwise)


def refuse_choices(choices: str) -> None:
    """Refuses choices that there are not.

    Raises:
        BenchError: They are none of `CHOICES`.
    """
    if choices not in CHOICES:
        raise unknown("choices of add", choices, CHOICES)


def preset_for(name: str, shape: tuple[int, int, int]) -> Preset:
    """The preset of a name, or with `auto` the first made for images `(c, h, w)` of a shape; see `chosen`."""
    return chosen("add", PRESETS, name, shape, channels=(1, 3))
