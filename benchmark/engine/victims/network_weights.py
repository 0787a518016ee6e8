"""Purifiers' networks with their weights: another network's are refused, what is loaded is frozen."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn

from benchmark.engine.victims.defense import Defense
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.files.weights import load_safetensors

Network = TypeVar("Network", bound=nn.Module)


def weights_of(setting: Setting, defense: Defense) -> dict[str, Tensor]:
    """The tensors of the setting's weights file, by name, on its device.

    Raises:
        BenchError: There is no file, or it is damaged.
    """
    if setting.weights is None:
        raise BenchError(
            f"{defense.label(setting.shape)} has no weights for {setting.dataset}; train them with: "
            f"bench train --defense {defense.name} --dataset {setting.dataset}"
        )
    return load_safetensors(setting.weights, setting.device, setting.dtype)


def with_weights(network: Network, setting: Setting, defense: Defense) -> Network:
    """A plugin's network on the setting's device, with the setting's weights, frozen and in eval mode.

    Args:
        network: As it was built.
        setting: With the weights file.
        defense: Whose network it is.

    Raises:
        BenchError: The weights are missing, damaged, or those of another network.
    """
    state = weights_of(setting, defense)
    network = network.to(setting.device, setting.dtype)
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    for key in sorted(shapes.keys() | wanted.keys()):
        if shapes.get(key) != wanted.get(key):
            raise BenchError(
                f"weights {str(setting.weights)!r} are another network's: {key} is {shapes.get(key)} where "
                f"{defense.label(setting.shape)} has {wanted.get(key)} here; give the weights trained for it"
            )
    network.load_state_dict(state)
    return network.requires_grad_(False).eval()
