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

SEED, PRECISION = 0, "float32"
"""At which every protocol is ranked; entries at others stand on a board without a rank."""
BARE, SURROGATES = "bare", "surrogates"
"""What images for transfer are made on, where no classifier is named."""

UNRANKED = frozenset({"diagnosis", "paper"})
"""Blocks of a protocol from which no ranked number comes: with them or without, rows may be compared."""

LATER: dict[str, Any] = {"finalists": 0}
"""Fields that came after protocols were published, with their defaults, with which they are in no sha256."""


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
    gradients: list[Literal["exact", "bpda", "recovered", "best"]] = []
    """One job for each; `exact` is left out where the defense has no gradient, `best` is exact where there is
    one, bpda where there is none, and both where a stage's is one almost everywhere. Empty: the attack uses
    none."""
    eot: Annotated[int, Field(ge=1)] = 1
    """Draws a gradient is averaged over; 1 on a deterministic victim whatever stands here."""
    victims: Literal["all", "stochastic", "deterministic"] = "all"
    counts: Literal["always", "deterministic"] = "always"
    """Whether it enters the worst case always, or only on a deterministic victim."""
    sources: list[str] = []
    """Ids of the sources whose images it takes."""
    few_classes: FewClasses | None = None


R = TypeVar("R", SourceRow, AttackRow)
Words = Annotated[str, Field(min_length=1)]
ThreatText = Annotated[str, Field(pattern=r"^[a-z0-9-]+:[0-9./e-]+$")]


class Paper(_Model):
    """The table of a paper that a protocol measures as the paper did, and the task that it was measured on.

    `bench run` takes what its command leaves open from here (`benchmark.evaluation.prepare.paper_defaults`); no
    result hangs on it.
    """

    defenses: Annotated[list[Words], Field(min_length=1)]
    """As `--defense` takes them."""
    table: Words
    """Its number: `Table 8`."""
    title: Words
    """What the table is, and of which paper."""
    dataset: Words
    models: list[Words] = []
    """As `--model` takes them; none where the paper's classifiers cannot be had and none stands in for them."""
    threats: Annotated[list[ThreatText], Field(min_length=1)]
    """As `--threat` takes them; `Threat.parse` has the last word when they are run."""
    note: Words
    """What differs from the paper, and what of the table cannot be had."""


class Diagnosis(_Model):
    """What tests the evaluation itself: variations of one attack, which enter no column and no worst case."""

    of: str
    """Id of the attack row that is varied."""
    images: Annotated[int, Field(ge=2)] = 20
    """The first so many images, or all where there are fewer: that keeps it cheap."""
    doubled: list[Literal["steps", "eot"]] = ["steps", "eot"]
    """What is doubled, one thing at a time; draws (`eot`) only where the victim is random."""
    curve: list[Annotated[float, Field(gt=0)]] = []
    """Budgets of the eps curve, in multiples of the threat's eps, as far as the budget that turns every image
    into grey; that one is always the last point. Empty: no curve."""
    points: Annotated[int, Field(ge=0)] = 0
    """Random points of the budget shown to the victim; 0 for none."""
    frozen: bool = False
    """Whether a random victim is attacked, and judged, at one fixed draw an image."""
    examined: Annotated[int, Field(ge=0)] = 0
    """Images on which purifiers' declarations are measured (`benchmark.contract.measurements`); 0 for none."""


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

    def attacks_on(self, *, is_stochastic: bool) -> list[AttackRow]:
        """The rows that are meant for such a victim."""
        kind = "stochastic" if is_stochastic else "deterministic"
        return [row for row in self.attacks if row.victims in ("all", kind)]

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
    if diagnosis and diagnosis.of not in {row.id for row in protocol.attacks}:
        yield f"diagnosis names no attack of this protocol: {diagnosis.of!r}"
    for row in protocol.attacks:
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


def _for_classes(row: R, classes: int) -> R:
    few = row.few_classes
    if few is None or classes >= few.below:
        return row.model_copy(update={"few_classes": None})
    return row.model_copy(update={"arguments": row.arguments | few.arguments})
