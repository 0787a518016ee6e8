"""Classifiers out of networks that were handed over from Python."""

from __future__ import annotations

import copy

import torch
from torch import nn

from benchmark.classifiers.catalog import CLASSIFIERS, home_of
from benchmark.classifiers.code import code_sha256
from benchmark.compute.sandbox import sandboxed
from benchmark.engine.dataset import Dataset
from benchmark.engine.victims.acceptance import refuse_misfit
from benchmark.engine.victims.classifier import Classifier
from benchmark.errors import BenchError
from benchmark.expression import leaves_of, parse_model
from benchmark.identity.content_names import known_by
from benchmark.identity.identity import Identity, Known, identity_of


def wrap_module(
    network: nn.Module,
    *,
    dataset: Dataset,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    said: str = "",
) -> Classifier:
    """A frozen classifier out of any module from images in [0, 1] to logits; a copy, the original stays.

    It is named after its class, and known by all that the module holds: its types, attributes and weights.

    Args:
        network: The module.
        dataset: The task.
        device: Where the copy is put.
        dtype: Of its weights.
        said: The user's word for what of it cannot be known; empty for none.

    Raises:
        BenchError: Something in it cannot be told from what would give other logits.
    """
    kind = type(network).__name__
    what = f"classifier {kind!r}"
    if isinstance(network, torch.jit.ScriptModule):
        raise BenchError(
            f"{what} is a TorchScript program, which cannot be sent to worker processes; give the network that "
            f"it was made from"
        )
    known = Known(is_given=True, said=said)
    if isinstance(network, Classifier):
        if not network.source:
            identity = identity_of(network.network, what=what, known=known)
            network.source, network.harness = identity.own(), identity.harness
        network.name = module_name(network)
        return network.to(device=device, dtype=dtype)
    twin, found = _copied(network, known)
    code = code_sha256(network)
    name = known_by(kind, found.values, code)
    classifier = Classifier(
        twin,
        name=name,
        classes=dataset.classes,
        sha256=found.values,
        code=code,
        source=found.own(),
        harness=found.harness,
    ).to(device=device, dtype=dtype)
    refuse_misfit(classifier, dataset)
    return classifier


def module_name(network: nn.Module, said: str = "") -> str:
    """What an entry calls a network from Python: its class with a hash; a classifier by its own name.

    A classifier's name stays as it is where it is a registered one, RobustBench's, a file's or an ensemble's.

    Args:
        network: The module.
        said: The user's word for what of it cannot be known; empty for none.

    Raises:
        BenchError: As `wrap_module`.
    """
    if not isinstance(network, Classifier):
        known = Known(is_given=True, said=said)
        return known_by(
            type(network).__name__, _copied(network, known)[1].values, code_sha256(network)
        )
    names = leaves_of(parse_model(network.name))
    is_known = all("@" in name or home_of(name) or name in CLASSIFIERS.paths() for name in names)
    return network.name if is_known else known_by(network.name, network.sha256)


def _copied(network: nn.Module, known: Known) -> tuple[nn.Module, Identity]:
    """A copy of a network that nobody trains, and what decides its logits."""
    what = f"classifier {type(network).__name__!r}"
    _refuse_quantised(network)
    with sandboxed(f"{what}: copying it"):
        twin = copy.deepcopy(network).requires_grad_(False).eval()
    return twin, identity_of(twin, what=what, known=known)


def _refuse_quantised(network: nn.Module) -> None:
    for name, tensor in sorted(network.state_dict().items()):
        if not isinstance(tensor, torch.Tensor):
            raise BenchError(
                f"classifier {type(network).__name__!r} keeps a {type(tensor).__name__} as {name} among its "
                f"weights, as quantised networks do; give it with tensors alone, in floating point"
            )
