"""Victims of a request, built from its expression: purifiers before classifiers, and ensembles of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from torch import nn

from benchmark.classifiers.ensemble import build_model, ensemble
from benchmark.compute.sandbox import sandboxed
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.setting import Setting
from benchmark.engine.victims.victim import MeanLogits, Victim
from benchmark.evaluation.prepare.purifier import PreparedDefense, prepare_stage
from benchmark.evaluation.prepare.resolve import FoundStage
from benchmark.expression import Chain, Expression, Model, parse_model
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


@dataclass(slots=True)
class Builder:
    """Builds the victim of one request.

    Args:
        setting: Without classifier and weights.
        load: Gives the classifier of a name, or of a module from Python.
        found: The purifiers in the order in which they were typed.
        stages: Those that are ready.
        known: What a key is told of purifiers that were given as objects; None for those by name.
    """

    setting: Setting
    load: Callable[[str | nn.Module], Classifier]
    found: Iterator[FoundStage]
    stages: list[PreparedDefense] = field(default_factory=list)
    known: Known | None = None

    def victim(self, expression: Expression, model: Model | nn.Module) -> Built:
        """What an expression stands for.

        Args:
            expression: As the user typed it.
            model: The classifier of a chain that names none.

        Raises:
            BenchError: Something of it cannot be loaded or prepared.
        """
        if isinstance(expression, Chain):
            return self._chain(expression, model)
        return self._member(expression)

    def _member(self, expression: Expression) -> Built:
        if isinstance(expression, Chain):
            first = len(self.stages)
            built = self._chain(expression, expression.model or "")
            numbers = "+".join(str(i) for i in range(first, len(self.stages)))
            return replace(
                built,
                label=f"{built.label}>{built.classifier.name}",
                composition=f"{numbers}>{built.classifier.name}",
            )
        members = [self._member(member) for member in expression.members]
        return Built(
            victim=MeanLogits([member.victim for member in members]),
            classifier=ensemble([member.classifier for member in members]),
            label=f"mean({', '.join(member.label for member in members)})",
            composition=f"mean({', '.join(member.composition for member in members)})",
        )

    def _chain(self, chain: Chain, model: Model | nn.Module) -> Built:
        wanted = model if chain.model is None else chain.model
        classifier = self._classifier(wanted)
        setting = replace(self.setting, classifier=classifier)
        staged: list[PreparedDefense] = []
        for _ in chain.stages:
            found = next(self.found)
            staged.append(prepare_stage(found, setting, before=staged, known=self.known))
        self.stages += staged
        victim: Victim = Purified([one.defense for one in staged], classifier)
        for one in staged:
            with sandboxed(f"defense {one.defense.name!r}: wrapping its victim"):
                victim = one.defense.wrap(victim)
        return Built(victim, classifier, "+".join(one.plugin.label for one in staged))

    def _classifier(self, model: Model | nn.Module) -> Classifier:
        if isinstance(model, nn.Module):
            return self.load(model)
        return build_model(parse_model(model) if isinstance(model, str) else model, self.load)
