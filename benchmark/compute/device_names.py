"""Names of devices, read without starting torch: `auto`, `cpu`, `cuda`, `cuda:1`."""

from __future__ import annotations

import re

from benchmark.errors import BenchError, did_you_mean, near, quoted

KINDS = ("auto", "cpu", "cuda")


def device_parts(text: str) -> tuple[str, int | None]:
    """The kind of a device, and its number where it has one.

    Raises:
        BenchError: It is not of that form.
    """
    found = re.fullmatch(r"(auto|cpu|cuda)|cuda:([0-9]{1,4})", text)
    if found is None:
        kind, colon, number = text.partition(":")
        wanted = "cuda" if kind.lower() == "gpu" else kind
        names = [name + (colon + number) * (name == "cuda") for name in near(wanted, KINDS)]
        raise BenchError(
            f"device {quoted(text)} is not understood: expected auto, cpu, cuda or cuda:0."
            f"{did_you_mean(name for name in names if name != text)}"
        )
    return found[1] or "cuda", int(found[2]) if found[2] else None
