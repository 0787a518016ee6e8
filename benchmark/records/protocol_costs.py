"""What the protocols that ship cost, read from a file beside them, so that they are listed without torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from benchmark.errors import BenchError
from benchmark.files.schema import Strict
from benchmark.records.protocol_files import FOLDER

FILE = FOLDER / "costs.json"
"""Written by `python -m benchmark.estimate.write_costs`."""


class Spent(Strict):
    """What one victim's image costs at the most, over all jobs of a protocol."""

    jobs: int
    """Attacks on the victim, and sources, one for each gradient mode and surrogate."""
    forwards: int
    """Passes forward of the attacks; what a shard costs once is spread over its images."""
    backwards: int
    """Passes backward of the attacks."""
    auxiliary: int
    """Looks at the purifiers' auxiliary loss, with its gradient."""
    verdicts: int
    """Passes forward that choose each job's candidate, score it, and ask about it as its attack asked."""


class ProtocolCost(Strict):
    """A protocol's cost in a task of 10 classes, 3 x 32 x 32 images and two surrogates."""

    fixed: Spent
    """For a deterministic defense with an exact gradient."""
    random: Spent
    """For a stochastic one."""
    lacks: tuple[str, ...] = ()
    """Attacks, or arguments of theirs, that it names and that there are not; such rows are not counted."""
    unknown: tuple[str, ...] = ()
    """Rows whose attacks do not say what they cost, or that no job does; not counted either."""


COSTS = TypeAdapter(dict[str, ProtocolCost])
"""By the protocol's name."""


def read_costs(file: Path = FILE) -> dict[str, ProtocolCost]:
    """The costs of the protocols that ship.

    Raises:
        BenchError: The file is missing or damaged.
    """
    try:
        return COSTS.validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise BenchError(
            f"{file} is missing or damaged; install again, or write it with: "
            "python -m benchmark.estimate.write_costs"
        ) from error
