"""Protocols: named, versioned lists of attacks with their arguments, read from YAML."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from benchmark.engine.criterion import Criterion
from benchmark.engine.threat import Knowledge
from benchmark.errors import BenchError
from benchmark.expression import Model, Models, leaves_of, parse_model
from benchmark.records.identity import Asked
from benchmark.records.unranked import UNRANKED, Diagnosis, Paper

SEED, PRECISION = 0, "float32"
"""At which every protocol is ranked; entries at others stand on a board without a rank."""
BARE, SURROGATES = "bare", "surrogates"
"""What images for transfer are made on, where no classifier is named."""

LATER: dict[str, Any] = {"when": "always", "last": False, "finalists": 0}
"""Fields that came after protocols were published, with their defaults, at which no sha256 holds them."""


class Column(StrEnum):
    """The families of a leaderboard; each is measured on all images."""

    heading: str
    """On a board."""
    short: str
    """In a terminal."""
    said: str
    """In a sentence."""

    CLEAN = "clean", "clean", "clean"
    OBLIVIOUS = "oblivious", "oblivious", "obliv"
    AUTOATTACK = "autoattack", "AutoAttack (native)", "AA", "AutoAttack"
    ADAPTIVE = "adaptive", "BPDA+EOT (adaptive)", "adapt", "adaptive"
    AUXILIARY = "auxiliary", "auxiliary-aware", "aux"
    TRANSFER = "transfer", "transfer", "transf"
    BLACK_BOX = "black-box", "black-box (queries)", "query", "black-box"
    KNOWN_DRAW = "known-draw", "known draw", "known"

    def __new__(cls, value: str, heading: str, short: str, said: str = "") -> Column:
        """A member that is its value, as JSON has it."""
        made = str.__new__(cls, value)
        made._value_, made.heading, made.short, made.said = value, heading, short, said or heading
        return made

    @property
    def field(self) -> str:
        """Its name in `Entry.columns`."""
        return self.value.replace("-", "_")


FAMILIES = tuple(column for column in Column if column is not Column.CLEAN)
"""The columns of attacks, in the order in which they stand."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def made_on(text: str) -> Model:
    """What a source says that its images are made on.

    Raises:
        BenchError: It is neither of the two words, nor an ensemble.
    """
    if re.fullmatch(rf"mean\s*\(\s*{SURROGATES}\s*\)", text.strip()):
        return Models((SURROGATES,))  # one word, several members
    model = parse_model(text)
    if model in (BARE, SURROGATES) or isinstance(model, Models):
        return model
    raise BenchError(
        f"expected {BARE}, {SURROGATES} or an ensemble such as mean({BARE}, {SURROGATES}); got {text!r}"
    )


def _spelled(text: str) -> str:
    """The same, spaced as an expression is printed, so that no sha256 hangs on spaces."""
    try:
        return str(made_on(text))
    except BenchError as error:
        raise ValueError(str(error)) from error


class FewClasses(_Model):
    """What stands in where a task has too few classes for a row's own arguments, such as DLR's."""

    below: Annotated[int, Field(ge=3)]
    """On tasks with fewer classes than this."""
    arguments: Annotated[dict[str, Any], Field(min_length=1)]
    """They replace the row's own of the same names."""


class SourceRow(_Model):
    """Images made for transfer: full length, every image, on undefended classifiers."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    attack: str
    arguments: dict[str, Any] = {}
    against: Annotated[str, AfterValidator(_spelled)]
    """`bare`, the defended classifier itself without its purifier; `surrogates`, the dataset's, one job each;
    or one ensemble, `mean(...)`, of classifiers by name and of these two words, `surrogates` being all of them
    as members."""
    few_classes: FewClasses | None = None

    @property
    def sees_bare(self) -> bool:
        """Whether the defended classifier is what the images are made on, or a member of it."""
        return BARE in leaves_of(made_on(self.against))


class AttackRow(_Model):
    """One attack on the victim."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    column: Column
    knowledge: Knowledge
    attack: str
    arguments: dict[str, Any] = {}
    gradients: list[
        Literal["exact", "bpda", "recovered", "best", "measured", "confirmed", "guide"]
    ] = []
    """One job for each; `exact` is left out where the defense has no gradient, `best` is exact where there is
    one, bpda where there is none, and both where a stage's is one almost everywhere. The others go by what was
    measured (`benchmark.records.gradients.WISHES`). Empty: the attack uses none."""
    eot: Annotated[int, Field(ge=1)] = 1
    """Draws a gradient is averaged over; 1 on a deterministic victim whatever stands here."""
    victims: Literal["all", "stochastic", "deterministic"] = "all"
    counts: Literal["always", "deterministic", "never"] = "always"
    """Whether it enters the worst case always, only on a deterministic victim, or never."""
    when: Literal["always", "unconfirmed", "saturated"] = "always"
    """Whether it is met always, or only where no gradient of the victim is confirmed by measurement, or where
    besides its answers saturate."""
    last: bool = False
    """Whether it goes on from what all counting rows before it found, on images that these left standing."""
    sources: list[str] = []
    """Ids of the sources whose images it takes."""
    few_classes: FewClasses | None = None

    @property
    def knows_draw(self) -> bool:
        """Whether a random victim is attacked, and judged, at one draw an image that the attacker knows."""
        return self.knowledge is Knowledge.KNOWN_DRAW

    def counts_on(self, *, is_stochastic: bool) -> bool:
        """Whether it enters the worst case of such a victim."""
        return self.counts == "always" or (self.counts == "deterministic" and not is_stochastic)


R = TypeVar("R", SourceRow, AttackRow)


class Protocol(_Model):
    """A standard evaluation, or one as a paper made it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    version: Annotated[int, Field(ge=1)]
    summary: str
    samples: Annotated[int, Field(ge=1)] | None = None
    """How many images by default; None for the whole test split."""
    shard_size: Annotated[int, Field(ge=1)] = 64
    """Images in one shard: what is written at once, lost at most when killed, and given to one worker."""
    preliminary: bool = False
    criterion: Asked = Asked()
    sources: list[SourceRow] = []
    attacks: Annotated[list[AttackRow], Field(min_length=1)]
    paper: Paper | None = None
    """Where it repeats a paper's table; its rows are then preliminary: they are no standard evaluation."""
    diagnosis: Diagnosis | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Protocol:
        for problem in _problems(self):
            raise ValueError(problem)
        return self

    @property
    def rows(self) -> list[SourceRow | AttackRow]:
        """All rows, sources first."""
        return [*self.sources, *self.attacks]

    def for_classes(self, classes: int) -> Protocol:
        """The same for a task of so many classes: `few_classes` is put in place where it applies, or goes."""
        sources = [_for_classes(row, classes) for row in self.sources]
        attacks = [_for_classes(row, classes) for row in self.attacks]
        return self.model_copy(update={"sources": sources, "attacks": attacks})

    def asked(self) -> Criterion:
        """The criterion as the harness uses it."""
        return Criterion(**self.criterion.model_dump())

    def sha256(self) -> str:
        """Of its content, hex: two protocols of one name and version that differ are told apart.

        What is `UNRANKED` is left out, so that entries with a diagnosis are ranked with those from before, and
        what stands in for few classes counts only where it does (`for_classes`).
        """
        left_out: dict[str, Any] = dict.fromkeys(UNRANKED, True)
        left_out |= {key: {"__all__": {"few_classes"}} for key in ("sources", "attacks")}
        ranked = self.model_dump(mode="json", exclude=left_out)
        for part in (ranked, ranked["criterion"], *ranked["sources"], *ranked["attacks"]):
            for name in [name for name in part if name in LATER and part[name] == LATER[name]]:
                del part[name]
        content = json.dumps(ranked, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def content_sha256(self) -> str:
        """Of all that decides which jobs there are, the diagnosis included, hex; the summary is left out."""
        content = {key: value for key, value in self.content().items() if key != "summary"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def content(self) -> dict[str, Any]:
        """The protocol as plain JSON values, without its paper; `model_validate` reads it back."""
        return self.model_dump(mode="json", exclude={"paper"}, exclude_defaults=True)


def _problems(protocol: Protocol) -> Iterator[str]:
    """What no protocol may say; the first is told."""
    ids = [row.id for row in protocol.rows]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        yield f"the id {twice[0]!r} occurs more than once"
    sources, diagnosis = {row.id: row for row in protocol.sources}, protocol.diagnosis
    for row in protocol.attacks:
        missing = [source for source in row.sources if source not in sources]
        if missing:
            yield f"attack {row.id!r} names no source of this protocol: {missing[0]!r}"
    if not any(row.column is Column.CLEAN for row in protocol.attacks):
        yield "no attack has the column 'clean': clean accuracy would be missing"
    if diagnosis and diagnosis.of not in {r.id for r in protocol.attacks if not r.knows_draw}:
        yield f"diagnosis names no attack of this protocol at unknown draws: {diagnosis.of!r}"
    order = [row.last for row in protocol.attacks]
    if order != sorted(order):
        yield "rows that go on from all others (last: true) stand at the end"
    for row in protocol.attacks:
        if row.last and (row.sources or row.counts != "always"):
            yield f"attack {row.id!r} goes on from all others (last: true): no sources, and counts always"
        if problem := _problem_of_known_draw(row):
            yield problem
        used = [sources[i] for i in row.sources if sources[i].against not in (BARE, SURROGATES)]
        inside = [source.id for source in used if source.sees_bare]
        if inside and row.knowledge is Knowledge.TRANSFER:
            yield (
                f"attack {row.id!r} knows other classifiers alone (transfer), but its source {inside[0]!r} "
                f"is made on the defended one too; its knowledge is oblivious, or {BARE} is left out"
            )
    if protocol.paper is not None and not protocol.preliminary:
        yield (
            "a protocol that repeats a paper's table is preliminary: true; its worst case is the paper's "
            "alone"
        )


def _problem_of_known_draw(row: AttackRow) -> str:
    """What a row of a known draw must be, and is not; its verdict is none over unknown draws."""
    if not row.knows_draw and row.column is not Column.KNOWN_DRAW:
        return ""
    said = (row.column, row.knowledge, row.victims, row.counts, row.eot)
    wanted = (Column.KNOWN_DRAW, Knowledge.KNOWN_DRAW, "stochastic", "never", 1)
    if said == wanted:
        return ""
    return (
        f"attack {row.id!r} is of a known draw: expected column, knowledge, victims, counts and eot to be "
        f"{', '.join(map(str, wanted))}; got {', '.join(map(str, said))}"
    )


def _for_classes(row: R, classes: int) -> R:
    few = row.few_classes
    if few is None or classes >= few.below:
        return row.model_copy(update={"few_classes": None})
    return row.model_copy(update={"arguments": row.arguments | few.arguments})
