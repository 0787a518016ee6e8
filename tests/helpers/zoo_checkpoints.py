"""Checkpoints of true architectures of the zoo with random weights, in the form that RobustBench keeps."""

from __future__ import annotations

import torch
from torch import nn

from benchmark.classifiers.zoo import zoo_network
from benchmark.classifiers.zoo_names import ZooModel, resolve

ARCHITECTURES = {
    "WideResNet": ("cifar10", "Hendrycks2020AugMix_WRN@corruptions"),
    "DMPreActResNet (SiLU)": ("cifar10", "Gowal2021Improving_R18_ddpm_100m"),
    "PreActResNet": ("cifar10", "Wong2020Fast"),
    "PreActResNet, norm before pooling": ("cifar100", "Rice2020Overfitting"),
    "ResNet": ("cifar10", "Modas2021PRIMEResNet18@corruptions"),
    "ResNeXt": ("cifar100", "Hendrycks2020AugMix_ResNeXt@corruptions"),
    "XCiT, normalised": ("cifar10", "Debenedetti2022Light_XCiT-S12"),
    "ensemble": ("cifar10", "Chen2020Adversarial"),
    "torchvision ResNet, normalised": ("imagenet", "Salman2020Do_R18"),
    "torchvision's own weights": ("imagenet", "Standard_R50"),
    "XCiT": ("imagenet", "Debenedetti2022Light_XCiT-S12"),
    "DeiT, normalised": ("imagenet", "Tian2022Deeper_DeiT-S@corruptions"),
    "ViT with convolutions": ("imagenet", "Singh2023Revisiting_ViT-S-ConvStem"),
    "ConvNeXt": ("imagenet", "Singh2023Revisiting_ConvNeXt-T-ConvStem"),
    "Swin, normalised": ("imagenet", "Liu2023Comprehensive_Swin-B"),
}
"""The smallest of each family."""


def model_of(architecture: str) -> ZooModel:
    """The row of an architecture."""
    dataset, name = ARCHITECTURES[architecture]
    model = resolve(name, dataset)
    assert model is not None
    assert model.name == name
    return model


def network_of(model: ZooModel) -> nn.Module:
    """Its network with random weights, the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return zoo_network(model).eval()


def shape_of(model: ZooModel) -> tuple[int, int, int]:
    """Of one image."""
    return (3, 224, 224) if model.dataset == "imagenet" else (3, 32, 32)


def images_of(model: ZooModel, n: int = 1) -> torch.Tensor:
    """The same images each time."""
    return torch.rand(n, *shape_of(model), generator=torch.Generator().manual_seed(0))


def place(model: ZooModel, network: nn.Module, folder) -> None:
    """Writes a network's weights where the model's checkpoints belong."""
    members = list(network.models) if model.is_ensemble else [network]
    for file, member in zip(model.files(folder), members, strict=True):
        state = dict(member.state_dict())
        if model.timm or model.dataset == "imagenet":  # kept without the layer that normalises
            prefix = "model." if "normalize.mean" in state else ""
            state = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
        if model.is_ensemble:
            state = {"state_dict": {f"module.{name}": value for name, value in state.items()}}
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, file)
