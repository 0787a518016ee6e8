"""What a row of an entry may have spent, by its attack's own word, and what its trace may say."""

from __future__ import annotations

import math
from collections.abc import Iterator

from benchmark.engine.attacking.attack import Passes
from benchmark.evaluation.execute.shard import attack_of
from benchmark.records.diagnosis import DiagnosisRecord
from benchmark.records.entry import Entry
from benchmark.records.entry_parts import AttackRecord
from benchmark.records.job import MIXED, Job
from benchmark.records.protocol import Protocol

Record = AttackRecord | DiagnosisRecord
MOST_BYTES = 2**44
"""Memory of a device, far beyond any."""


def problems_of_spent(entry: Entry, protocol: Protocol, record: Record, job: Job) -> Iterator[str]:
    """Passes that no such attack makes, as its job is planned, and shares that are none of so many images."""
    passes = attack_of(job).passes(
        classes=entry.dataset.classes or 2,
        eot=job.eot,
        stochastic=entry.defense.stochastic and not (job.is_source or job.knows_draw),
        shape=entry.threat.input_shape,
    )
    n = record.images if isinstance(record, DiagnosisRecord) else entry.dataset.n
    if passes is not None and not record.error:
        shards = math.ceil(n / protocol.shard_size)
        yield from _passes(record, job, passes, passes.shared * shards / n)
    if isinstance(record, AttackRecord):
        yield from _trace(record, n, protocol.shard_size, passes)
    elif record.own is not None and (record.kind != "frozen" or not _is_share(record.own, n)):
        yield f"{record.id}: own is {record.own}, no share of {n} images at one draw"


def _passes(record: Record, job: Job, passes: Passes, shared: float) -> Iterator[str]:
    times = 2 if job.task.precision == MIXED else 1  # the search, and what survived it once more
    most = {"forwards": times * (passes.forwards + shared), "backwards": times * passes.backwards}
    for name, limit in most.items():
        said: float = getattr(record.cost, f"{name}_per_image")
        if said > limit + 1e-6 or (limit and not said and not job.is_last):
            yield f"{record.id}: cost.{name}_per_image is {said:g}; its attack makes up to {limit:g}"
    if (record.cost.peak_memory_bytes or 1) > MOST_BYTES:
        yield f"{record.id}: cost.peak_memory_bytes is more than any device has"


def _trace(record: AttackRecord, n: int, shard: int, passes: Passes | None) -> Iterator[str]:
    """A trace has shares of whole images, at most one for each pass; without a gradient none is zero."""
    if passes is not None and not passes.backwards and record.zero_gradients:
        yield f"{record.id}: zero_gradients is {record.zero_gradients}, and its attack takes no gradient"
    if passes is not None and len(record.trace) > 2 * passes.forwards + 2:
        yield f"{record.id}: a trace of {len(record.trace)} steps, of {passes.forwards} passes"
    whole, rest = divmod(n, shard)
    sizes = [i * shard + part for i in range(whole + 1) for part in {0, rest}]
    if record.trace and not any(
        size and all(_is_share(value, size) for value in record.trace) for size in sizes
    ):
        yield f"{record.id}: its trace has values that are no shares of {n} images"


def _is_share(value: float, n: int) -> bool:
    return abs(value * n - round(value * n)) <= 1e-6 * max(1, n)
