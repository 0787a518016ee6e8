"""Images attacked anew: random ones of an entry, from a fresh seed, by all rows of its protocol that count."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.errors import BenchError
from benchmark.evaluation.execute.run import Listener, run
from benchmark.evaluation.prepare.request import Request
from benchmark.records.audit import AttackedAgain
from benchmark.records.entry import Entry
from benchmark.records.protocol import Protocol
from benchmark.records.unranked import UNRANKED
from benchmark.scoring.audit_figures import compared, positions_of
from benchmark.scoring.derived import protocol_of

NAME = "audit"
"""Of the protocol that an entry's counting rows make up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What is attacked anew.

    Args:
        images: How many.
        seed: Of the draws, and of which images are taken.
        runs: Where finished shards are kept: the same seed resumes there.
        workers: Processes; None for as many as suit the machine.
    """

    images: int
    seed: int
    runs: Path = Path("runs")
    workers: int | None = None


def fresh_seed(entry: Entry) -> int:
    """A seed out of the operating system's entropy that is not the entry's."""
    while (seed := secrets.randbelow(2**63)) == entry.seed:
        pass
    return seed


def attack_again(
    entry: Entry, again: Again, request: Request, listener: Listener | None = None
) -> tuple[AttackedAgain, list[int]]:
    """Attacks random images of an entry anew and compares each worst case with the entry's.

    The entry's victim was held against it by `remake`; the request is its own, as `request_of` gives it.

    Returns:
        What `compared` says.

    Raises:
        BenchError: There are not so many images, the seed is the entry's own, its protocol is not known, or an
            attack failed that the entry has.
    """
    n = entry.dataset.n
    if not 1 <= again.images <= n:
        raise BenchError(f"--again is from 1 to {n}, the entry's images; got {again.images}")
    if again.seed == entry.seed:
        raise BenchError(
            f"--seed {again.seed} is the entry's own, whose attacks would be repeated; give another"
        )
    attacked = replace(
        request,
        protocol=_counting(known_protocol(entry), is_stochastic=entry.defense.stochastic),
        samples=n,
        seed=again.seed,
        positions=positions_of(again.seed, n, again.images),
        runs=again.runs,
        workers=again.workers,
    )
    made = run(attacked, listener)
    known = {gap.row for gap in (*entry.gaps, *entry.not_applicable)}
    failed = [gap for gap in made.gaps if gap.row not in known]
    if failed:
        raise BenchError(
            f"attack {failed[0].row} failed on the images that were attacked anew: {failed[0].reason}; mend "
            f"that, and give the same command again with --seed {again.seed}"
        )
    return compared(entry, again.seed, made.per_image.worst)


def known_protocol(entry: Entry) -> Protocol:
    """The protocol of an entry.

    Raises:
        BenchError: It neither ships with the project, nor did, nor stands in the entry.
    """
    protocol = protocol_of(entry)
    if protocol is None:
        raise BenchError(
            f"protocol {entry.protocol.name!r} of this entry is not known here, so that nothing can be audited "
            f"(bench validate says more)"
        )
    return protocol


def _counting(protocol: Protocol, *, is_stochastic: bool) -> Protocol:
    """The rows that count for such a victim, with the sources that they need, and the clean ones.

    Its gradients are measured anew, and decide anew which rows it meets.
    """
    attacks = [row for row in protocol.attacks if row.counts_on(is_stochastic=is_stochastic)]
    needed = {source for row in attacks for source in row.sources}
    sources = [row for row in protocol.sources if row.id in needed]
    kept = {"name": NAME, "attacks": attacks, "sources": sources, "preliminary": True}
    return protocol.model_copy(update=kept | dict.fromkeys(UNRANKED))
