"""The bookkeeping of a big run: what it does for its shards besides computing them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch

from benchmark.engine.criterion import Outcome, Rule
from benchmark.engine.dataset import pixels_sha256
from benchmark.evaluation.execute import pool
from benchmark.evaluation.execute.fingerprints import Fingerprints
from benchmark.evaluation.execute.pool import Workers
from benchmark.evaluation.execute.scheduler import run_shards
from benchmark.evaluation.execute.shard_queue import Shard, shards_of
from benchmark.evaluation.execute.store import Store
from benchmark.evaluation.prepare.bench import Bench
from benchmark.evaluation.prepare.plan import make_plan
from benchmark.evaluation.prepare.prepare import bench_of, prepare
from benchmark.records.protocol_files import load_protocol
from benchmark.records.result import Result, ShardCost, Status
from tests.helpers import tiny_task as tiny
from tests.speed.timing import Comparison, Sizes, compare

SHARD = 64
OUTCOMES = tuple(Outcome(1.0, i / 7, "1") for i in range(SHARD))


def bookkeeping(sizes: Sizes) -> Iterator[Comparison]:
    """(g) a run of n shards against one of a tenth, with nothing computed: begun anew, and found finished."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [_Run(Path(folder) / str(n), n) for n in (sizes.shards // 10, sizes.shards)]
        anew = {f"{len(run.shards())} shards": run.schedule for run in runs}
        title = f"shards of {SHARD} images, no victim: planned, looked for, scheduled on 2 workers"
        yield compare(title, anew, sizes)
        for run in runs:
            run.fill()
        found = {f"{len(run.shards())} shards": run.find for run in runs}
        yield compare(f"shards of {SHARD} images: planned, found in a full store", found, sizes)


class _Run:
    """The protocol `standard` on a tiny shard, in about so many shards.

    Args:
        folder: Where its shards would be.
        shards: How many they are.
    """

    def __init__(self, folder: Path, shards: int) -> None:
        whole = load_protocol("standard")
        protocol = whole.model_copy(
            update={"diagnosis": None, "samples": None, "shard_size": SHARD}
        )
        request = tiny.request(folder, defense="none", protocol=protocol)
        rows, _ = make_plan(prepare(request))
        images = SHARD * max(1, shards // len(rows))
        self.ready = prepare(
            tiny.request(folder, dataset=tiny.dataset(images), defense="none", protocol=protocol)
        )
        self.bench = bench_of(self.ready)

    def shards(self) -> list[Shard]:
        """All of its shards, planned anew."""
        rows, _ = make_plan(self.ready)
        return shards_of(rows, len(self.ready.order), SHARD)

    def schedule(self, folder: str = "none") -> None:
        """What it does where no shard is there."""
        with patch.object(pool, "ProcessPoolExecutor", _Pool):
            self._run(Store(self.ready.request.runs / folder))

    def find(self) -> None:
        """What it does where every shard is there."""
        self._run(Store(self.ready.request.runs))

    def fill(self) -> None:
        """Puts every shard into its store."""
        store = Store(self.ready.request.runs)
        pixels = {}
        with patch("os.fsync"):
            fingerprints = Fingerprints(self.bench, store, self.shards(), crew=Workers(workers=2))
            for shard in self.shards():
                at = (shard.start, shard.stop)
                pixels[at] = pixels.get(at) or _pixels(self.bench, *at)
                result = replace(_result(shard, pixels[at]), fingerprints=fingerprints.of(shard))
                store.save(shard.job, result, torch.zeros(SHARD, 1, *tiny.SHAPE))

    def _run(self, store: Store) -> None:
        crew = Workers(workers=2)
        run_shards(self.bench, self.shards(), store, crew=crew, on_done=lambda *_: None)


class _Pool:
    """Workers that find every shard done."""

    def __init__(self, **options: object) -> None: ...

    def submit(
        self, compute: object, blob: str, workers: int, shard: Shard, store: Store
    ) -> Future[tuple[Result, None]]:
        done: Future[tuple[Result, None]] = Future()
        done.set_result((_result(shard, ""), None))
        return done

    def shutdown(self, **options: object) -> None: ...


def _pixels(bench: Bench, start: int, stop: int) -> str:
    x, y, _ = bench.images(start, stop)
    return pixels_sha256(x, y.tolist())


def _result(shard: Shard, pixels: str) -> Result:
    """A finished shard's."""
    return Result(
        job=shard.job.key,
        start=shard.start,
        stop=shard.stop,
        status=Status.OK,
        outcomes=dict.fromkeys(Rule, OUTCOMES[: shard.stop - shard.start]),
        cost=ShardCost(forwards=1, seconds=0.5),
        trace=(0.5,) * 100,
        pixels_sha256=pixels,
    )
