"""Victims of a request, built from its expression: purifiers before classifiers, and ensembles of these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from torch import nn

from benchmark.classifiers.ensemble import build_model, ensemble
from benchmark.compute.sandbox import sandboxed
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.setting import Setting
from benchmark.engine.victims.victim import MeanLogits, Unaware, Victim
from benchmark.evaluation.prepare.purifier import PreparedDefense, prepare_stage
from benchmark.evaluation.prepare.request import Request
from benchmark.evaluation.prepare.resolve import FoundStage
from benchmark.expression import Chain, Expression, parse_model
from benchmark.identity.identity import Known


@dataclass(frozen=True, slots=True)
class Built:
    """A victim with its undefended counterpart.

    Args:
        victim: What is attacked.
        classifier: The same without purifiers.
        label: The published name, without the classifier where that is one.
        composition: How an ensemble is put together, with purifiers by their number; empty for a chain.
    """

    victim: Victim
    classifier: Classifier
    label: str
    composition: str = ""


Load = Callable[[str | nn.Module], Classifier]
"""Gives the classifier of a name, each once, or of a module from Python."""


def build_victim(
    request: Request,
    base: str | nn.Module,
    setting: Setting,
    load: Load,
    stages: Iterable[FoundStage],
) -> tuple[Built, list[PreparedDefense]]:
    """The victim of a request, and its purifiers, made ready.

    A chain that names no classifier stands before the base; stages come in the order in which they were typed.

    Raises:
        BenchError: Something of it cannot be loaded or prepared.
    """
    known = Known(is_given=not isinstance(request.defense, str), said=request.identity)
    builder = _Builder(setting, load, iter(stages), known)
    return builder.victim(request.expression, base), builder.stages


@dataclass(slots=True)
class _Builder:
    setting: Setting
    load: Load
    found: Iterator[FoundStage]
    known: Known
    stages: list[PreparedDefense] = field(default_factory=list)

    def victim(self, expression: Expression, model: str | nn.Module) -> Built:
        if isinstance(expression, Chain):
            return self._chain(expression, model)
        members = [self._member(member) for member in expression.members]
        return Built(
            victim=MeanLogits([member.victim for member in members]),
            classifier=ensemble([member.classifier for member in members]),
            label=f"mean({', '.join(member.label for member in members)})",
            composition=f"mean({', '.join(member.composition for member in members)})",
        )

    def _member(self, expression: Expression) -> Built:
        first, built = len(self.stages), self.victim(expression, "")
        if not isinstance(expression, Chain):
            return built
        name, numbers = built.classifier.name, "+".join(map(str, range(first, len(self.stages))))
        return replace(built, label=f"{built.label}>{name}", composition=f"{numbers}>{name}")

    def _chain(self, chain: Chain, model: str | nn.Module) -> Built:
        wanted = chain.model or model
        if isinstance(wanted, nn.Module):
            classifier = self.load(wanted)
        else:
            classifier = build_model(parse_model(wanted), self.load)
        setting = replace(self.setting, classifier=classifier)
        staged: list[PreparedDefense] = []
        for _ in chain.stages:
            found = next(self.found)
            staged.append(prepare_stage(found, setting, before=staged, known=self.known))
        self.stages += staged
        plain = Purified([one.defense for one in staged], classifier)
        victim: Victim = plain
        for one in staged:
            with sandboxed(f"defense {one.defense.name!r}: wrapping its victim"):
                victim = one.defense.wrap(victim)
        victim = victim if victim is plain else Unaware(victim)
        return Built(victim, classifier, "+".join(one.plugin.label for one in staged))
