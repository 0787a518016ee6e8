"""Weights put into a network, which refuses those of another one."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from benchmark.errors import BenchError
from benchmark.setting import Setting
from benchmark.weights import load_safetensors

Network = TypeVar("Network", bound=nn.Module)


def with_weights(network: Network, setting: Setting, *, name: str, label: str) -> Network:
    """The network on the setting's device, with the setting's weights, frozen and in eval mode.

    Args:
        network: As it was built.
        setting: With the weights file.
        name: What the user calls the defense.
        label: What it is published as.

    Raises:
        BenchError: The weights are missing, or those of another network.
    """
    if setting.weights is None:
        raise BenchError(
            f"{label} has no weights for {setting.dataset}; train them with: "
            f"bench train --defense {name} --dataset {setting.dataset}"
        )
    network = network.to(setting.device, setting.dtype)
    state = load_safetensors(setting.weights, setting.device, setting.dtype)
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    for key in sorted(shapes.keys() | wanted.keys()):
        if shapes.get(key) != wanted.get(key):
            raise BenchError(
                f"weights {str(setting.weights)!r} are another network's: {key} is {shapes.get(key)} where "
                f"this preset of {name} has {wanted.get(key)}; give the weights trained for it"
            )
    network.load_state_dict(state)
    return network.requires_grad_(False).eval()
