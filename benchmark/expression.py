"""Expressions: what `--defense` and `--model` may say beyond a name, read by hand-written recursive descent.

    victim     = "mean" "(" victim { "," victim } ")" | chain [ ">" classifier ]
    chain      = stage { "+" stage }
    stage      = NAME [ "@" classifier { "&" classifier } ]
    classifier = "mean" "(" classifier { "," classifier } ")" | NAME

`hgd@a>b` is the purifier `hgd`, trained for the classifier `a`, before the classifier `b`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from benchmark.errors import BenchError, quoted

MEAN = "mean"
"""The one word that makes an ensemble: its members' logits are averaged."""
DEEPEST = 8
"""Ensembles within ensembles."""
MOST = 16
"""Purifiers in a row, members of an ensemble, and classifiers that one purifier is trained for."""
MOST_STAGES = 64
"""Purifiers of a whole expression."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One purifier of a chain, as it was typed.

    Args:
        name: A defense's name, or `module:Class`.
        trained: The classifiers that its weights were trained for, the defended one first; none where that is
            the classifier behind it.
    """

    name: str
    trained: tuple[Model, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}@{'&'.join(map(str, self.trained))}" if self.trained else self.name


@dataclass(frozen=True, slots=True)
class _Ensemble(Generic[T]):
    members: tuple[T, ...]

    def __str__(self) -> str:
        return f"{MEAN}({', '.join(map(str, self.members))})"


class Models(_Ensemble["Model"]):
    """An ensemble of classifiers: the mean of their logits."""


Model = str | Models
"""A classifier: a name, or an ensemble."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Purifiers in a row, before a classifier where one was typed."""

    stages: tuple[StageSpec, ...]
    model: Model | None = None

    def __str__(self) -> str:
        chain = "+".join(map(str, self.stages))
        return chain if self.model is None else f"{chain}>{self.model}"


class Mean(_Ensemble["Expression"]):
    """An ensemble of victims: the mean of their logits."""


Expression = Chain | Mean
"""What is evaluated."""


def stages_of(expression: Expression) -> list[StageSpec]:
    """All purifiers, in the order in which they were typed."""
    return [stage for chain in chains_of(expression) for stage in chain.stages]


def chains_of(expression: Expression) -> list[Chain]:
    """All chains, in the order in which they were typed."""
    if isinstance(expression, Chain):
        return [expression]
    return [chain for member in expression.members for chain in chains_of(member)]


def model_of(expression: Expression) -> Model | None:
    """The undefended counterpart: the same ensemble without purifiers; None where no classifier was typed."""
    if isinstance(expression, Chain):
        return expression.model
    return Models(tuple(model for member in expression.members if (model := model_of(member))))


def leaves_of(model: Model) -> list[str]:
    """The names of all classifiers inside, in order."""
    if isinstance(model, str):
        return [model]
    return [leaf for member in model.members for leaf in leaves_of(member)]


@lru_cache(maxsize=256)  # a request that is changed elsewhere says the same
def parse_defense(text: str) -> Expression:
    """Reads a name, a chain (`atop+jpeg`), or an expression (`mean(hgd>a, none>b)`).

    Raises:
        BenchError: It is none of these; one line says what was expected, and where.
    """
    reader = _Reader("defense", text)
    found = reader.victim(is_member=False)
    reader.end("+, > or the end")
    stages = len(stages_of(found))
    if stages > MOST_STAGES:
        raise BenchError(
            f"defense {quoted(text)}: expected at most {MOST_STAGES} purifiers in all; got {stages}"
        )
    return found


def is_expression(text: str) -> bool:
    """Whether a defense's text fixes the classifier: it is an ensemble, or has a `>`."""
    return _begins_mean(text) or ">" in text


def names_in(model: object) -> list[str]:
    """The names of all classifiers in a text; none where it is empty or none.

    Raises:
        BenchError: As `parse_model`.
    """
    return leaves_of(parse_model(model)) if isinstance(model, str) and model else []


def parse_model(text: str) -> Model:
    """Reads a classifier's name, or an ensemble such as `mean(a, b)`.

    Whatever does not begin with `mean(` is a name as it stands: a file's may hold anything.

    Raises:
        BenchError: It is an ensemble that cannot be read; one line says what was expected, and where.
    """
    if not _begins_mean(text):
        return text
    reader = _Reader("classifier", text)
    found = reader.classifier(",()")
    reader.end("the end")
    return found


def _begins_mean(text: str) -> bool:
    word, bracket, _ = text.partition("(")
    return bool(bracket) and word.strip() == MEAN


class _Reader:
    """A text and how far it has been read."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text
        self.at = 0
        self.depth = 0

    def victim(self, *, is_member: bool) -> Expression:
        if self._is_mean():
            return Mean(self._members(lambda: self.victim(is_member=True)))
        stages = self._several(self._stage, "+", "purifiers in a row")
        if self._takes(">"):
            return Chain(tuple(stages), self.classifier(",()>"))
        if is_member:
            raise self._refusal("> and the classifier of this member")
        return Chain(tuple(stages))

    def classifier(self, stop: str) -> Model:
        if self._is_mean():
            return Models(self._members(lambda: self.classifier(",()")))
        return self._name("a classifier's name", stop)

    def end(self, expected: str) -> None:
        self._skip()
        if self.at < len(self.text):
            raise self._refusal(expected)

    def _stage(self) -> StageSpec:
        name = self._name("a defense's name", ",()>+@&")
        if not self._takes("@"):
            return StageSpec(name)
        what = "classifiers that a purifier is trained for"
        trained = self._several(lambda: self.classifier(",()>+&"), "&", what)
        return StageSpec(name, tuple(trained))

    def _members(self, read: Callable[[], T]) -> tuple[T, ...]:
        """What stands between brackets, which are the next thing but `mean`."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._refusal(f"at most {DEEPEST} ensembles within each other")
        self.at = self.text.index("(", self.at) + 1
        members = self._several(read, ",", "members of an ensemble")
        if len(members) < 2:
            raise self._refusal("a comma and another member: an ensemble has at least two")
        if not self._takes(")"):
            raise self._refusal("a comma or a closing bracket")
        self.depth -= 1
        return tuple(members)

    def _several(self, read: Callable[[], T], mark: str, what: str) -> list[T]:
        """One, and another one behind each mark."""
        found = [read()]
        while self._takes(mark):
            if len(found) >= MOST:
                raise self._refusal(f"at most {MOST} {what}")
            found.append(read())
        return found

    def _is_mean(self) -> bool:
        self._skip()
        return _begins_mean(self.text[self.at :])

    def _name(self, expected: str, stop: str) -> str:
        self._skip()
        found = re.split(f"[{stop}]", self.text[self.at :], maxsplit=1)[0]
        if not found.strip():
            raise self._refusal(expected)
        self.at += len(found)
        return found.strip()

    def _takes(self, mark: str) -> bool:
        self._skip()
        if not self.text.startswith(mark, self.at):
            return False
        self.at += 1
        return True

    def _skip(self) -> None:
        rest = self.text[self.at :]
        self.at += len(rest) - len(rest.lstrip())

    def _refusal(self, expected: str) -> BenchError:
        rest = self.text[self.at : self.at + 12]
        came = f"came {rest!r}" if rest else "it ends there"
        example = "the chain atop+jpeg, or mean(atop>a, jpeg>b)"
        return BenchError(
            f"{self.kind} {quoted(self.text)}: expected {expected} at character {self.at + 1}, but {came}; "
            f"such as {'mean(a, b)' if self.kind == 'classifier' else example}"
        )
