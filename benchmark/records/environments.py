"""Environments of an entry: all versions and hardware that its shards were made with, and what they share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

from pydantic import Field

from benchmark.files.schema import Strict, Words
from benchmark.records.result import Result, Status

Many = Annotated[int, Field(ge=1)]


class MadeWith(Strict):
    """One environment, and how much was computed in it."""

    facts: Words
    """Versions and hardware, by name, as the process that computed found them."""
    shards: Many
    images: Many
    """Of these shards; an image counts once for each job that it is part of."""


def made_with(results: Iterable[Result]) -> tuple[MadeWith, ...]:
    """All environments of finished shards, those of most shards first."""
    found: dict[tuple[tuple[str, str], ...], list[int]] = {}  # images of each shard
    for result in results:
        if result.status is Status.OK and result.environment:
            facts = tuple(sorted(result.environment.items()))
            found.setdefault(facts, []).append(result.stop - result.start)
    return tuple(
        MadeWith(facts=dict(facts), shards=len(images), images=sum(images))
        for facts, images in sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    )


def shared(environments: Sequence[MadeWith]) -> dict[str, str]:
    """The facts that all of them state, and state alike."""
    first, *others = [each.facts for each in environments] or [{}]
    return {
        name: text
        for name, text in first.items()
        if all(facts.get(name) == text for facts in others)
    }


def told_apart(environments: Sequence[MadeWith]) -> Iterator[tuple[str, str]]:
    """Where there are several: for each how much was made in it, and what it has of its own."""
    common = shared(environments)
    for i, each in enumerate(environments if len(environments) > 1 else (), 1):
        own = [f"{name} {text}" for name, text in each.facts.items() if name not in common]
        yield f"environment {i} of {len(environments)}", "; ".join([f"{each.shards} shards", *own])
