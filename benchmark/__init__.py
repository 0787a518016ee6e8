"""The harness: vocabulary, interfaces, running, keeping, publishing, the command line."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.evaluate import evaluate

__all__ = ["evaluate"]


def __getattr__(name: str) -> Any:
    """`benchmark.evaluate`, imported on use, so that `import benchmark` starts no torch."""
    if name == "evaluate":
        return import_module("benchmark.evaluate").evaluate
    raise AttributeError(f"module 'benchmark' has no attribute {name!r}")
