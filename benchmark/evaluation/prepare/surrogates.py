"""Transfer sources: undefended classifiers on which a protocol makes images, alone and as ensembles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmark.classifiers.catalog import preparation_of
from benchmark.classifiers.ensemble import ensemble
from benchmark.engine.dataset import Dataset
from benchmark.engine.victims.acceptance import refuse_misfit
from benchmark.engine.victims.classifier import Classifier
from benchmark.errors import BenchError
from benchmark.expression import Model, Models, leaves_of, parse_model
from benchmark.records.protocol import BARE, SURROGATES, Protocol, made_on


@dataclass(frozen=True, slots=True)
class TransferSources:
    """What a protocol makes images on, beside or together with the defended classifier, loaded by name."""

    dataset: Dataset
    protocol: Protocol
    defended: Classifier
    load: Callable[[str], Classifier]

    def surrogates(self) -> dict[str, Classifier]:
        """The dataset's, strangers among them, where the protocol makes images on them; not the defended one.

        Nor members of a defended ensemble, unless there would be none: an attacker who owns a member is no
        stranger, but a transfer attack is never left out.
        """
        if not any(SURROGATES in leaves_of(model) for model in self._made_on().values()):
            return {}
        known = (*self.dataset.surrogates, *self.dataset.strangers)
        names = [name for name in known if name != self.defended.name]
        inside = leaves_of(parse_model(self.defended.name))
        strangers = [name for name in names if name not in inside]
        return {name: self.load(name) for name in strangers or names}

    def ensembles(self) -> dict[str, Classifier]:
        """Those that the protocol names, by its expression; not one that is left without a second member.

        Raises:
            BenchError: A member is nobody's name, is for another task, stands there twice, or is the defended
                classifier (or of its ensemble) without being called `bare`.
        """
        surrogates = self.surrogates()
        found: dict[str, Classifier] = {}
        for text, model in self._made_on().items():
            if isinstance(model, str) or (SURROGATES in leaves_of(model) and not surrogates):
                continue
            members = self._members(text, model, surrogates)
            if len(members) > 1:
                found[text] = ensemble(members)
        return found

    def _made_on(self) -> Mapping[str, Model]:
        return {row.against: made_on(row.against) for row in self.protocol.sources}

    def _members(
        self, text: str, model: Models, surrogates: Mapping[str, Classifier]
    ) -> list[Classifier]:
        """The members of an ensemble, of which `surrogates` are several and a mean is one."""
        members: list[Classifier] = []
        for member in model.members:
            if isinstance(member, Models):
                members.append(ensemble(self._members(text, member, surrogates)))
            elif member == SURROGATES:
                members.extend(surrogates.values())
            else:
                members.append(self.defended if member == BARE else self._named(text, member))
        names = [member.name for member in members]
        if len(set(names)) < len(names):
            raise BenchError(
                f"{self._where(text)} has a member twice ({', '.join(names)}); name each once, and none of the "
                f"surrogates beside {SURROGATES!r}"
            )
        for one in members:
            refuse_misfit(one, self.dataset, f"{self._where(text)}: member {one.name!r}")
        return members

    def _named(self, text: str, name: str) -> Classifier:
        preparation = preparation_of(name, self.dataset.name)
        if preparation and preparation != self.dataset.preparation:
            raise BenchError(
                f"{self._where(text)}: member {name!r} wants images prepared as {preparation!r}, the defended "
                f"classifier as {self.dataset.preparation!r}; put those together that want the same"
            )
        found = self.load(name)
        if found.name in (self.defended.name, *leaves_of(parse_model(self.defended.name))):
            raise BenchError(
                f"{self._where(text)} names the defended classifier {name!r}, which is no stranger; write "
                f"{BARE!r} where it is meant, or take another"
            )
        return found

    def _where(self, text: str) -> str:
        return f"protocol {self.protocol.name!r}: the ensemble {text!r}"
