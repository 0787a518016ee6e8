"""AID-Purifier's discriminator: is this image clean, as seen at some places inside a frozen classifier?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.setting import Setting
from benchmark.engine.victims.taps import POSITIONS, Position
from benchmark.errors import BenchError
from benchmark.registry import unknown
from defenses.aid.presets import Preset

NETWORKS = ("code", "paper")


class Discriminator(nn.Module):
    """One branch for each tap, then a common head that ends in one logit.

    Each tap, averaged over the image, passes a branch of its own; the branches' outputs are joined. Hidden
    layers are linear, batch norm, ReLU, as in the authors' code; the paper's have no batch norm. The code has
    four branches, and shows zeros to the two that are not used; here there are only those that are.

    Args:
        channels: Of each tap.
        preset: Widths and numbers of layers.
        places: Of each tap in `POSITIONS`; kept among the weights, so that they are never put elsewhere.
        network: `code`, or `paper` for one without batch norm.
    """

    def __init__(
        self, channels: Sequence[int], preset: Preset, *, places: Sequence[int], network: str
    ) -> None:
        super().__init__()
        has_norm = network == "code"
        inside = (preset.width,) * preset.branch_layers
        self.branches = nn.ModuleList(_hidden((c, *inside), has_norm) for c in channels)
        joined = len(channels) * preset.width
        self.head = _hidden((joined, *preset.head), has_norm)
        self.last = nn.Linear(preset.head[-1], 1)
        nn.init.kaiming_normal_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.places: Tensor
        self.register_buffer("places", torch.tensor(list(places)))

    def forward(self, pooled: Sequence[Tensor]) -> Tensor:
        """Logits `(b,)`, high where images are taken for clean, of each tap's means `(b, channels)`."""
        found = [branch(tap) for branch, tap in zip(self.branches, pooled, strict=True)]
        logits: Tensor = self.last(self.head(torch.cat(found, dim=1)))
        return logits.squeeze(1)


class Eye:
    """Some places inside a classifier, each averaged over the image.

    Args:
        classifier: Frozen.
        names: Names of the places, out of `POSITIONS`.
        shape: `(c, h, w)` of an image.

    Raises:
        BenchError: A name is unknown or given twice, or there is none.
    """

    def __init__(
        self, classifier: Classifier, names: Sequence[str], shape: tuple[int, int, int]
    ) -> None:
        for name in names:
            if name not in POSITIONS:
                raise unknown("position among aid's taps", str(name), POSITIONS)
        if not names or len(set(names)) < len(names):
            raise BenchError(f"aid's taps are one or more different positions; got {list(names)}")
        found = classifier.positions(shape)
        self._classifier = classifier
        self.names = tuple(names)
        self.positions: list[Position] = [found[name] for name in names]

    @property
    def channels(self) -> list[int]:
        """Of each place."""
        return [position.channels for position in self.positions]

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Each place's means `(b, channels)` at images `(b, c, h, w)` in [0, 1]."""
        _, taps = self._classifier.features(x, [position.tap for position in self.positions])
        return [position.pooled(taps[position.tap]) for position in self.positions]


def discriminator_for(
    setting: Setting, preset: Preset, *, network: str
) -> tuple[Eye, Discriminator]:
    """The discriminator for a setting's classifier, with new weights, and its taps.

    Raises:
        BenchError: There is no classifier, or a tap or the kind of network is unknown.
    """
    if network not in NETWORKS:
        raise unknown("network of aid", network, NETWORKS)
    names = (preset.taps,) if isinstance(preset.taps, str) else preset.taps
    eye = Eye(setting.defended(), names, setting.shape)
    made = Discriminator(
        eye.channels, preset, places=[POSITIONS.index(name) for name in eye.names], network=network
    )
    return eye, made.to(setting.device, setting.dtype)


def refuse_other_taps(discriminator: Discriminator, wanted: Tensor) -> None:
    """Refuses weights that were trained at other taps than those wanted, which have the same shapes.

    Raises:
        BenchError: They were.
    """
    if torch.equal(discriminator.places, wanted):
        return
    trained, asked = (
        ", ".join(POSITIONS[i] for i in places.tolist() if 0 <= i < len(POSITIONS))
        for places in (discriminator.places, wanted)
    )
    raise BenchError(
        f"the weights were trained at the taps {trained}, not at {asked}; name those, or give the weights "
        f"trained for these"
    )


def _hidden(widths: Sequence[int], has_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        linear = nn.Linear(before, after)
        nn.init.kaiming_normal_(linear.weight)
        layers += [linear, *([nn.BatchNorm1d(after)] if has_norm else []), nn.ReLU()]
    return nn.Sequential(*layers)
