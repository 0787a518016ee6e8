"""Missing rows of a run: what could not be planned, and why; and images that are not the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmark.errors import BenchError
from benchmark.evaluated import Evaluated
from benchmark.publishing.derived import base_of
from benchmark.publishing.entry import Gap
from benchmark.publishing.measured import Measured


def skipped_rows(evaluated: Evaluated) -> Iterator[Gap]:
    """The rows that could not be planned; `derived.missing_rows` adds those that failed or that no job did."""
    columns = {row.id: row.column for row in evaluated.protocol.attacks}
    for name, missing in evaluated.skipped.items():
        yield Gap(
            row=name,
            column=columns.get(base_of(name)),
            why=missing.why,
            reason=missing.reason or "it could not be planned",
        )


def refuse_other_pixels(gathered: Sequence[Measured]) -> None:
    """Refuses rows that met different images at the same place.

    Raises:
        BenchError: Some did.
    """
    seen: dict[tuple[int, int], str] = {}
    for measured in gathered:
        for result in measured.finished:
            place = (result.start, result.stop)
            if seen.setdefault(place, result.pixels_sha256) != result.pixels_sha256:
                raise BenchError(
                    f"expected the same images in all rows, but images {place[0]} to {place[1]} of row "
                    f"{measured.row.id!r} are others: the dataset changed between runs; run it again "
                    f"into another runs folder"
                )
