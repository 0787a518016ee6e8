"""Single edits of entries: each leaf of each entry changed in each way, and whether validation notices.

    python -m tests.edits            # a table, by kind of leaf and kind of edit
    python -m tests.edits 200        # of so many edits of each entry

After each edit the hashes that an entry has of its own content are made anew: no checksum notices anything.
"""

from __future__ import annotations

import copy
import hashlib
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from benchmark.audit.replan import all_problems_of
from benchmark.records.entry import Entry
from benchmark.records.protocol import Protocol
from benchmark.records.protocol_files import load_protocol
from tests.helpers.planned import Plan

DERIVED = re.compile(
    r"status|gaps\.\d+\.(row|column|why|reason)|preliminary|protocol\.(version|samples)"
    r"|criterion\..*|stand_ins.*|dataset\.n|threat\.text|(clean|worst)\..*|columns\..*|undefended\..*"
    r"|flags.*|cost\..*|(attacks|sources)\.\d+\.(rates|outcomes|margins|status).*"
    r"|diagnosis\.\d+\.(rate|outcomes.*)|eps_curve.*|per_image\.(clean|worst|chosen|choices).*"
    r"|challenges\.\d+\.(images|chosen|lowered_by|worst_before.*|worst_after.*)|attacks|gaps|clean|worst|worst_class.*"
)
"""Places of leaves that follow from others; a list that follows counts with its items."""
OWN = load_protocol("ci").model_copy(update={"name": "mine", "summary": "of my own"})


def plans() -> dict[str, Plan]:
    """Runs whose entries are edited, by what they have that others have not."""
    return {
        "deterministic": Plan(),
        "random": Plan(defense="gaussian"),
        "with a gap": Plan(failed=frozenset({"fgsm"})),
        "challenged": Plan(is_challenged=True),
        "random, challenged": Plan(defense="gaussian", is_challenged=True, n=4, protocol="ci"),
        "own protocol": Plan(protocol=own_protocol(), n=3),
    }


def own_protocol() -> Protocol:
    """A protocol that does not ship."""
    return OWN


@dataclass(frozen=True)
class Edit:
    """One edit.

    Args:
        place: Where, as `attacks.3.scores.single.rates.0`.
        kind: How.
        values: The entry's values after it.
    """

    place: str
    kind: str
    values: dict[str, Any]

    @property
    def is_derived(self) -> bool:
        """Whether what was changed follows from the rest."""
        return bool(DERIVED.fullmatch(self.place))

    @property
    def leaf(self) -> str:
        """The place without its positions."""
        return re.sub(r"\.\d+", "[]", self.place)


def edits(entry: Entry) -> Iterator[Edit]:
    """Every single edit of an entry; of a long list of numbers or words the first, the middle and the last."""
    values = entry.model_dump(mode="json")
    for path, value in leaves(values):
        for kind, other in changed(value):
            made = put(values, path, other)
            yield Edit(".".join(map(str, path)), kind, sealed(made))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """All places that hold no mapping, with what they hold."""
    if isinstance(value, dict):
        for key in value:
            yield from leaves(value[key], (*path, key))
        return
    if path:
        yield path, value
    if isinstance(value, list):
        is_plain = not any(isinstance(item, dict | list) for item in value)
        few = sorted({0, len(value) // 2, len(value) - 1}) if is_plain else range(len(value))
        for i in few if value else ():
            yield from leaves(value[i], (*path, i))


def changed(value: Any) -> Iterator[tuple[str, Any]]:
    """What may stand in a leaf's place, by kind of edit."""
    if value is not None:
        yield "null", None
    if isinstance(value, bool):
        yield "bit flipped", not value
    elif isinstance(value, int):
        yield from (("number nudged", value + 1), ("number zeroed", 0))
    elif isinstance(value, float):
        yield from (("number nudged", value + 0.01), ("number nudged", value * 0.99))
        yield "number zeroed", 0.0
    elif isinstance(value, str):
        yield from _texts(value)
    elif isinstance(value, list):
        yield from _lists(value)
    else:
        yield from (("not null", 0.5), ("not null", 1), ("not null", "x"), ("not null", []))


def _texts(value: str) -> Iterator[tuple[str, str]]:
    if value and not set(value) - {"0", "1"}:
        yield "bit flipped", ("1" if value[0] == "0" else "0") + value[1:]
        yield "bit flipped", value[:-1] + ("1" if value[-1] == "0" else "0")
        return
    yield "string changed", f"{value}x"
    if re.fullmatch(r"[0-9a-f]{64}", value):
        yield "hash changed", hashlib.sha256(value.encode()).hexdigest()


def _lists(value: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    if value:
        yield "item dropped", value[1:]
        yield "item dropped", value[:-1]
        yield "item added", [*value, copy.deepcopy(value[-1])]
    if len(value) > 1:
        yield "items swapped", [value[1], value[0], *value[2:]]


def put(values: Any, path: tuple[Any, ...], other: Any) -> Any:
    """The values with another one at a place."""
    made = copy.copy(values)
    made[path[0]] = other if len(path) == 1 else put(values[path[0]], path[1:], other)
    return made


def sealed(values: dict[str, Any]) -> dict[str, Any]:
    """The same with the hash of its indices made anew, where there are any."""
    indices, about = values["per_image"]["indices"], values["dataset"]
    if not isinstance(indices, list):
        return values
    content = hashlib.sha256(",".join(map(str, indices)).encode()).hexdigest()
    return values | {"dataset": about | {"indices_sha256": content}}


def is_noticed(values: dict[str, Any]) -> bool:
    """Whether an entry of these values is refused when read, or has a problem."""
    try:
        entry = Entry.model_validate_json(json.dumps(values))
    except ValidationError:
        return True
    return bool(all_problems_of(entry))


def sampled(entry: Entry, n: int | None, seed: int = 0) -> list[Edit]:
    """So many edits of an entry that change something, by chance; all where n is None."""
    values = entry.model_dump(mode="json")
    found = [edit for edit in edits(entry) if edit.values != values]
    return found if n is None or n >= len(found) else random.Random(seed).sample(found, n)


def table(n: int | None) -> str:
    """How many edits are noticed, by kind of edit and, of measured leaves, by leaf."""
    kinds: Counter[tuple[str, str, bool]] = Counter()
    missed: Counter[str] = Counter()
    for plan in plans().values():
        for edit in sampled(plan.entry(), n):
            noticed = is_noticed(edit.values)
            kinds["derived" if edit.is_derived else "measured", edit.kind, noticed] += 1
            if not noticed:
                missed[
                    f"{'derived' if edit.is_derived else 'measured'} {edit.leaf}: {edit.kind}"
                ] += 1
    lines = []
    for what, kind in sorted({(what, kind) for what, kind, _ in kinds}):
        there, gone = kinds[what, kind, True], kinds[what, kind, False]
        share = 100 * there / (there + gone)
        lines.append(f"{what:9} {kind:15} {there:6} of {there + gone:6} noticed ({share:5.1f} %)")
    for what in ("derived", "measured"):
        there = sum(count for (w, _, noticed), count in kinds.items() if w == what and noticed)
        total = sum(count for (w, _, _), count in kinds.items() if w == what)
        lines.append(f"{what:9} {'all':15} {there:6} of {total:6} noticed")
    lines += ["", "not noticed:", *(f"{count:6} {leaf}" for leaf, count in missed.most_common())]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(int(sys.argv[1]) if sys.argv[1:] else None))
