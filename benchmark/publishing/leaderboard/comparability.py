"""Comparability: whether two entries met the same evaluation, and which rows neither of them has; no torch."""

from __future__ import annotations

from benchmark.errors import BenchError
from benchmark.identity.content_names import without_content
from benchmark.records.entry import Entry, Gap


def title(entry: Entry) -> str:
    """An entry's row in words."""
    return (
        f"{entry.name}, {entry.dataset.name}, {entry.threat.text}, "
        f"{entry.protocol.name}, {entry.dataset.n} images"
    )


def refuse_others(base: Entry, candidate: Entry) -> None:
    """Refuses two entries that did not meet the same evaluation; most telling difference first.

    Raises:
        BenchError: They differ; one line says in what.
    """
    theirs_by_name = _evaluation(candidate)
    for what, ours in _evaluation(base).items():
        theirs = theirs_by_name[what]
        if ours != theirs:
            said = "" if isinstance(ours, tuple) else f": {ours} and {theirs}"
            raise BenchError(
                f"base and candidate cannot be compared: they are of another {what}{said}; evaluate both with "
                f"the same options"
            )


def _evaluation(entry: Entry) -> dict[str, object]:
    """What two entries must have alike, the most telling first."""
    dataset, protocol, classifier = entry.dataset, entry.protocol, entry.classifier
    return {
        "dataset": dataset.name,
        "split": dataset.split,
        "threat": entry.threat.text,
        "image shape": entry.threat.input_shape,
        "protocol": f"{protocol.name} version {protocol.version}",
        "protocol content": protocol.sha256[:16],
        "classifier": classifier.name,
        "classifier weights": classifier.sha256[:16],
        "source of the classifier": classifier.source_sha256,
        "order of images": dataset.order,
        "number of images": dataset.n,
        "set of images": entry.per_image.indices,
        "labels": entry.per_image.labels,
        "preparation of images": dataset.preparation,
        "pixels": dataset.pixels_sha256[:16],
    }


def missing_on_both(base: Entry, candidate: Entry) -> tuple[Gap, ...]:
    """The rows that neither entry has, for the same listed reason, which lies in the task: they decide nothing.

    Raises:
        BenchError: A side lacks anything else: a row that failed, or one that the other side has.
    """
    for name, entry, other in (("base", base, candidate), ("candidate", candidate, base)):
        begun = {row.id for row in entry.attacks if row.status == "gap"}
        theirs = {(gap.row, gap.why) for gap in _missing(other)}
        found = [
            gap
            for gap in _missing(entry)
            if gap.row in begun
            or not (gap.why.is_unavailable or gap.why.is_not_applicable)  # it lies in the task
            or (gap.row, gap.why) not in theirs
        ]
        if found or entry.worst is None:
            gaps = [f"{gap.row}: {gap.reason}" for gap in (*found, *entry.gaps)]
            raise BenchError(
                f"the {name} ({title(entry)}) has a gap, and what is missing is not withstood: "
                f"{(gaps or ['no worst case'])[0]}; mend it and run its command again"
            )
    return _missing(base)


def refuse_fewer_attacks(base: Entry, candidate: Entry) -> None:
    """Refuses a candidate that was spared what counts for the base, though both are one row of a board.

    Two defenses may be compared whatever each declares: the protocol then has other rows for them. A change of
    one defense that declares a strong attack away would look like a gain.

    Raises:
        BenchError: It was.
    """
    spared = [name for name in _counting(base) if name not in _counting(candidate)]
    if spared and without_content(base.defense.label) == without_content(candidate.defense.label):
        raise BenchError(
            f"the candidate ({title(candidate)}) was spared what counts for the base: {', '.join(spared)}; it "
            f"declares another gradient or randomness, or met no challenge; look at both and decide by hand"
        )


def _missing(entry: Entry) -> tuple[Gap, ...]:
    return (*entry.gaps, *entry.not_applicable)


def _counting(entry: Entry) -> list[str]:
    rows = [row.id for row in entry.attacks if row.counts]
    return rows + [f"the challenge {one.sha256[:12]}" for one in entry.challenges]
