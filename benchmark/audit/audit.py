"""Audits: an entry's victim made again, asked again about its images, and attacked anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmark.audit.fresh_attacks import Again, attack_again, known_protocol
from benchmark.audit.replay import OnStep, Replay, replay
from benchmark.errors import BenchError
from benchmark.evaluation.execute.environment import environment
from benchmark.evaluation.execute.kept_images import Collected, unpacked
from benchmark.evaluation.execute.run import Listener
from benchmark.evaluation.prepare.reproduce import Where, remake, request_of
from benchmark.publishing.leaderboard.escaping import plain
from benchmark.records.audit import BY_LENGTH, Audit
from benchmark.records.entry import Entry
from benchmark.records.entry_files import kept_path, read_kept
from benchmark.scoring.audit_figures import claimed, content_sha256, positions_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an audit is to do.

    Args:
        images: The file of kept images; None for the one beside the entry.
        again: What is attacked anew; None for nothing.
        by: Who audits; one line.
    """

    images: Path | None = None
    again: Again | None = None
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What an audit found.

    Args:
        audit: As the entry keeps it.
        replay: Of each image.
        signs: Of each image that was attacked anew: 1 where it fell now, -1 where it stands now, else 0.
    """

    audit: Audit
    replay: Replay
    signs: Sequence[int] = ()

    def attacked(self, entry: Entry) -> Iterator[tuple[int, int, str, str]]:
        """Images that were attacked anew: position, sign, outcomes in the entry, outcomes now."""
        again = self.audit.again
        if again:
            positions = positions_of(again.seed, entry.dataset.n, again.images)
            before = claimed(entry, positions)
            yield from zip(positions, self.signs, before, again.outcomes, strict=True)


def audit(
    entry: Entry,
    path: Path,
    wanted: Wanted,
    where: Where,
    *,
    on_step: OnStep = lambda *_: None,
    listener: Callable[[], Listener | None] = lambda: None,
) -> Audited:
    """Makes an entry's victim again, asks it about the entry's images, and attacks some anew.

    Progress of the replay is told to `on_step`, that of the attacks to what `listener` makes.

    Raises:
        BenchError: The entry keeps no scores, its victim or its images are not to be had, or an attack failed.
    """
    by = plain(wanted.by)
    if len(by) > BY_LENGTH:
        raise BenchError(f"--by has at most {BY_LENGTH} characters; got {len(by)}")
    if entry.is_legacy or entry.worst is None:
        raise BenchError(
            f"this entry keeps no scores of its images (schema 1), or has no worst case; make it again first: "
            f"{entry.command}"
        )
    protocol = known_protocol(entry)
    collected = _collected(entry, path, wanted)
    ready = remake(entry, where)
    replayed = replay(ready, entry, collected, shard_size=protocol.shard_size, on_step=on_step)
    again, signs = None, list[int]()
    if wanted.again:
        request = request_of(entry, where)
        again, signs = attack_again(entry, wanted.again, request, listener())
    found = Audit(
        of=content_sha256(entry),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        by=by,
        versions=environment(ready.device),
        replayed=replayed.record(),
        again=again,
    )
    return Audited(audit=found, replay=replayed, signs=signs)


def _collected(entry: Entry, path: Path, wanted: Wanted) -> Collected | None:
    """The images that the entry's run kept; None where there are none, and attacking anew is asked for.

    Raises:
        BenchError: The entry names none, or the file is missing or another.
    """
    kept, place = entry.kept_images, wanted.images or kept_path(path)
    if wanted.again and wanted.images is None and not (kept and place.exists()):
        return None
    if kept is None:
        raise BenchError(
            "this entry kept no images to be asked about again: add --again K, which attacks K images anew, or "
            "make the entry again with --keep-images worst added to its command"
        )
    return unpacked(read_kept(place, kept), entry, kept)
