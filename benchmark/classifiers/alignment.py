"""Names of a network's tensors beside those of a checkpoint: which is which, whatever wrappers stood around."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

BOOKKEEPING = frozenset({"num_batches_tracked", "n_averaged", "total_ops", "total_params"})
"""Counters that decide no logit: of batch norm, of averaged weights (SWA, EMA), and of profilers."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """A network's names matched with a checkpoint's.

    Args:
        names: The checkpoint's name of each of the network's.
        missing: The network's names that the checkpoint lacks, sorted.
        surplus: The checkpoint's names that the network has no place for, sorted. Counters are in neither.
        inside: The part of the network that was matched, `model.`; empty for the whole.
        under: The part of the checkpoint that was matched.
        rivals: Other parts of the checkpoint that fit as well.
    """

    names: Mapping[str, str]
    missing: tuple[str, ...]
    surplus: tuple[str, ...]
    inside: str = ""
    under: str = ""
    rivals: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing and nothing is left over."""
        return not self.missing and not self.surplus


def align(wanted: Collection[str], given: Collection[str]) -> Alignment:
    """The alignment of two sets of names in which most of them agree.

    A prefix is taken off either side where the rest is equal (`module.`, `network.`, `1.`), whatever it is
    called; then words inside names that only one side has (`features.module.0`, `_orig_mod`). No list of known
    wrappers is needed, and each of the checkpoint's names is used once.

    Args:
        wanted: The network's names.
        given: The checkpoint's.
    """
    whole_wanted, whole_given = {n: n for n in wanted}, {n: n for n in given}
    best = _by_prefix(whole_wanted, whole_given)
    if best.is_whole:
        return best
    # on one side at a time, since else `conv` and `linear` would both go, and be the same
    inside, under = best.inside, best.under
    others = (
        _by_prefix(whole_wanted, _reduced(given, under, _words(wanted, inside))),
        _by_prefix(_reduced(wanted, inside, _words(given, under)), whole_given),
    )
    best = min((best, *others), key=lambda each: (not each.is_whole, len(each.missing)))
    if not best.is_whole and 2 * len(best.names) < len(wanted):  # so little may agree by chance
        return Alignment(names={}, missing=_left(wanted), surplus=_left(given))
    return best


def _words(names: Collection[str], prefix: str) -> set[str]:
    return {word for name in names for word in name.removeprefix(prefix).split(".")}


def _reduced(names: Collection[str], prefix: str, known: Collection[str]) -> dict[str, str]:
    """Names by what is left of them without a prefix and the words that only their side has.

    Those that would clash stay whole.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        *path, last = name.removeprefix(prefix).split(".")
        short = ".".join([*(word for word in path if word in known), last])
        found.setdefault(short, []).append(name)
    return {
        short if len(alike) == 1 else name: name for short, alike in found.items() for name in alike
    }


def _by_prefix(wanted: Mapping[str, str], given: Mapping[str, str]) -> Alignment:
    """The best alignment by one prefix on each side, of names by what stands for them."""
    votes = {inside: _votes(wanted, given, inside) for inside in _prefixes(wanted)}
    # the most names first; of equally many the outermost parts, so that the least is left over
    inside, under, most = max(
        ((inside, under, n) for inside, found in votes.items() for under, n in found.items()),
        key=lambda each: (each[2], -len(each[0]), -len(each[1])),
        default=("", "", 0),
    )
    names = {
        wanted[short]: given[under + short.removeprefix(inside)]
        for short in wanted
        if short.startswith(inside) and under + short.removeprefix(inside) in given
    }
    used = set(names.values())
    return Alignment(
        names=names,
        missing=_left(name for name in wanted.values() if name not in names),
        surplus=_left(name for name in given.values() if name not in used),
        inside=inside,
        under=under,
        rivals=tuple(p for p, n in votes.get(inside, {}).items() if n == most and p != under),
    )


def _votes(wanted: Mapping[str, str], given: Mapping[str, str], inside: str) -> Counter[str]:
    """How many of the names inside a part of the network are found under each prefix of the checkpoint."""
    rest = {name.removeprefix(inside) for name in wanted if name.startswith(inside)}
    found: Counter[str] = Counter()
    for name in given:
        found.update(under for under in _beginnings(name) if name.removeprefix(under) in rest)
    return found


def _prefixes(names: Collection[str]) -> list[str]:
    """Prefixes that hold at least half of the names, the empty one first."""
    counted = Counter(prefix for name in names for prefix in _beginnings(name))
    return [prefix for prefix, n in counted.items() if 2 * n >= len(names)] or [""]


def _beginnings(name: str) -> Iterator[str]:
    """All parts of a name that end at a dot, the empty one first."""
    yield ""
    at = name.find(".")
    while at >= 0:
        yield name[: at + 1]
        at = name.find(".", at + 1)


def _left(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names if name.rpartition(".")[2] not in BOOKKEEPING))
