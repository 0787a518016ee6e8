"""The user's own code behind a network: part of what a classifier is, beside its weights."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from benchmark.compute.own_packages import OWN
from benchmark.identity.closure import closure_of, is_harness

_KNOWN = OWN | {"robustbench", "timm", "torch", "torchvision"}
"""Packages whose networks are told by their names."""


def code_sha256(network: nn.Module, *further: str) -> str:
    """The sha256, hex, of the modules that a network's classes come from; empty where all are known packages'.

    Args:
        network: The network; the classes of all its parts count.
        further: Names of other modules, such as that of the callable which made it.
    """
    return modules_sha256({type(part).__module__ for part in network.modules()} | set(further))


def modules_sha256(names: Iterable[str]) -> str:
    """The sha256, hex, of modules by name and of what they import; empty where none is the user's."""
    found = closure_of(name for name in names if name.partition(".")[0] not in _KNOWN)
    return "" if all(map(is_harness, found.files)) else found.sha256(of_harness=False)
