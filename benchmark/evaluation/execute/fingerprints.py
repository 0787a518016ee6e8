"""The fingerprints of a run's victims, and which finished shards they let be trusted."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cached_property

from benchmark.contract.fingerprint import Fingerprint, Probe, difference, take
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError
from benchmark.evaluation.execute.environment import environment
from benchmark.evaluation.execute.pool import Workers
from benchmark.evaluation.execute.shard_queue import Shard
from benchmark.evaluation.execute.store import Store
from benchmark.evaluation.prepare.bench import Bench
from benchmark.records.job import ClassifierId, Job, PluginId
from benchmark.records.result import Result

log = logging.getLogger(__name__)

_Who = tuple[tuple[PluginId, ...], str, ClassifierId]
"""A victim as keys see it."""


class Fingerprints:
    """The fingerprints of a run's victims: each taken once, kept in the store, and held against earlier ones.

    Args:
        bench: What the run consists of.
        store: Where its shards are.
        shards: All of them.
        crew: Who does them: with the threads of one of its workers fingerprints are taken here.
    """

    def __init__(
        self, bench: Bench, store: Store, shards: Sequence[Shard], *, crew: Workers
    ) -> None:
        self._crew = crew
        self._bench = bench
        self._store = store
        self._modes: dict[_Who, set[GradientMode]] = defaultdict(set)
        for job in {shard.job.key: shard.job for shard in shards}.values():
            self._modes[_who(job)].add(GradientMode(job.gradient))
        self._taken: dict[_Who, tuple[str, Fingerprint]] = {}
        self._verdicts: dict[tuple[_Who, str], str] = {}
        self._set_aside: Counter[tuple[_Who, str]] = Counter()

    def of(self, shard: Shard) -> tuple[str, ...]:
        """Digests of those under which a shard is done here: of its victim, and of those that it needs."""
        return tuple(self._now(job)[0] for job in (shard.job, *shard.needs))

    def allow(self, shard: Shard, result: Result) -> bool:
        """Whether a finished shard may be used: nothing that it stands on is another than when it was made."""
        jobs = (shard.job, *shard.needs)
        if len(result.fingerprints) != len(jobs):
            self._set_aside[_who(shard.job), _UNKNOWN] += 1
            return False
        for job, digest in zip(jobs, result.fingerprints, strict=True):
            if verdict := self._verdict(job, digest):
                self._set_aside[_who(job), verdict] += 1
                return False
        return True

    def say(self) -> None:
        """One line for each victim that is another than it was: what differs, and how much is made again."""
        for ((defenses, _, classifier), why), n in self._set_aside.items():
            before = "+".join(plugin.label for plugin in defenses)
            name = f"{before} before {classifier.name}" if before else f"bare {classifier.name}"
            shards = "1 finished shard is" if n == 1 else f"{n} finished shards are"
            log.warning("%s: %s", name, why.format(shards=f"{shards} set aside and made again"))

    def _now(self, job: Job) -> tuple[str, Fingerprint]:
        who = _who(job)
        if who not in self._taken:
            modes = self._modes[who] or {GradientMode(job.gradient)}
            with self._crew.as_one_worker():
                here = environment(self._bench.device)
                found = take(self._bench.victim_of(job), self._probe, modes, here)
            self._taken[who] = self._store.keep_fingerprint(found.to_bytes()), found
        return self._taken[who]

    @cached_property
    def _probe(self) -> Probe:
        bench = self._bench
        return Probe.of(bench.dataset, bench.split, bench.device, bench.dtype)

    def _verdict(self, job: Job, digest: str) -> str:
        """Why a shard made under a fingerprint is not used, as a template; empty where it may be."""
        digest_now, now = self._now(job)
        if digest == digest_now:
            return ""
        known = _who(job), digest
        if known not in self._verdicts:
            self._verdicts[known] = self._compared(digest, now)
        return self._verdicts[known]

    def _compared(self, digest: str, now: Fingerprint) -> str:
        content = self._store.fingerprint(digest)
        if content is None:
            return _UNKNOWN
        try:
            found = difference(Fingerprint.from_bytes(content), now)
        except BenchError as error:
            log.warning("fingerprint %s: %s; it counts as not there", digest, error)
            return _UNKNOWN
        escaped = found.replace("{", "{{").replace("}", "}}")
        return f"{escaped}: {{shards}}; something that no hash sees has changed" if found else ""


_UNKNOWN = "there is no fingerprint to compare with: {shards}"


def _who(job: Job) -> _Who:
    return job.defenses, job.composition, job.classifier
