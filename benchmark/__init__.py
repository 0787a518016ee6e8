"""The harness: vocabulary, interfaces, running, keeping, publishing, the command line."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmark.own_packages import put_first

if TYPE_CHECKING:
    from benchmark.running.evaluation import evaluate
    from benchmark.running.request import Request

__all__ = ["Request", "evaluate"]

_HOMES = {"Request": "benchmark.running.request", "evaluate": "benchmark.running.evaluation"}

put_first()


def __getattr__(name: str) -> Any:
    """`benchmark.evaluate` and `benchmark.Request`, imported on use: `import benchmark` starts no torch."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'benchmark' has no attribute {name!r}")
