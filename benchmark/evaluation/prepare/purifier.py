"""One purifier of a request, made ready: its weights held against their use, its label, its key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import Parameter
from typing import Final

from benchmark.compute.sandbox import sandboxed
from benchmark.engine.arguments import parameters_of
from benchmark.engine.victims.defense import Defense
from benchmark.engine.victims.setting import Setting
from benchmark.evaluation.prepare.plugin_ids import described, plugin_of, watched_for
from benchmark.evaluation.prepare.resolve import FoundStage
from benchmark.expression import StageSpec
from benchmark.files.known_hashes import file_sha256
from benchmark.files.weights import shipped_sha256
from benchmark.identity.content_names import known_by
from benchmark.identity.identity import Known, identity_of
from benchmark.plugins import DATASETS, DEFENSES, RECIPES
from benchmark.records.job import PluginId
from benchmark.records.provenance import IntendedUse, Provenance, provenance_of

PRESET: Final = "preset"
"""The argument that the variant of a defense may bear the name of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedDefense:
    """A purifier in its place.

    Args:
        typed: What the user called it.
        defense: Prepared.
        setting: What it was prepared with.
        plugin: The same as a key sees it.
        provenance: What its weights were trained for; None where it has none.
    """

    typed: StageSpec
    defense: Defense
    setting: Setting
    plugin: PluginId
    provenance: Provenance | None

    def notices(self) -> list[str]:
        """Lines for the user about weights that were trained for something else than what is evaluated."""
        differs = self.provenance.differs if self.provenance else ()
        said = {
            "alone": "was trained alone and stands behind another purifier here",
            "behind": "was trained behind other purifiers than here",
            "dataset": "was trained on another dataset",
            "arguments": "was trained with other arguments",
        }
        return [f"{self.plugin.label} {said[d]}; its entry says so" for d in differs if d in said]


def prepare_stage(
    found: FoundStage,
    setting: Setting,
    *,
    before: Sequence[PreparedDefense] = (),
    known: Known | None = None,
) -> PreparedDefense:
    """Prepares a purifier, and says what a key and an entry need to know of it.

    Args:
        found: Not yet prepared.
        setting: With the classifier behind it.
        before: The purifiers that stand before it.
        known: Whether it was given as an object, and what the user says of it; None for one by name.

    Raises:
        BenchError: Its weights were trained for something else than the user says, or it cannot be prepared.
    """
    defense, setting = found.defense, replace(setting, weights=found.weights)
    provenance = None
    if setting.weights is not None:
        provenance = provenance_of(setting.weights, _use(found, setting, before))
    what = f"defense {defense.name!r}"
    known = replace(known or Known(), arguments=list(defense.arguments().values()))
    identity = identity_of(defense, what=what, known=known)
    watching = watched_for(type(defense), defense.arguments(), weights=setting.weights)
    with watching, sandboxed(f"{what}: preparing it"):
        defense.prepare(setting)
    sha256 = file_sha256(setting.weights) if setting.weights else ""
    plugin = plugin_of(defense, label="", weights=sha256, identity=identity)
    content = _unnamed_content(defense, setting, found.trained, plugin)
    label = _label(defense, setting, found.trained, provenance, content)
    return PreparedDefense(
        typed=found.typed,
        defense=defense,
        setting=setting,
        plugin=replace(plugin, label=label),
        provenance=provenance,
    )


def _unnamed_content(
    defense: Defense, setting: Setting, trained: tuple[str, ...], plugin: PluginId
) -> list[str]:
    """The sha256s, hex, of what the defense's name does not say; none where it says all.

    Its source, unless it is registered under that name, and its weights, unless they are those that ship with
    it or that its manifest lists.
    """
    found = []
    if DEFENSES.paths().get(defense.name) != plugin.path:
        found.append(plugin.source)
    if plugin.weights:
        shipped = shipped_sha256(
            type(defense),
            label=defense.label(setting.shape),
            classifier="&".join(trained or (setting.defended().name,)),
            dataset=setting.dataset,
        )
        found += [plugin.weights] if plugin.weights != shipped else []
    return found


def _use(found: FoundStage, setting: Setting, before: Sequence[PreparedDefense]) -> IntendedUse:
    classifier, defense = setting.defended(), found.defense
    return IntendedUse(
        name=found.typed.name,
        label=defense.label(setting.shape),
        classifier=(classifier.name, classifier.sha256),
        trained=found.trained,
        dataset=setting.dataset,
        is_known=setting.dataset in DATASETS.names(),
        shape=setting.shape,
        arguments=defense.arguments(),
        behind="+".join(one.plugin.label for one in before if one.typed.name != "none"),
        defaults=lambda: parameters_of(RECIPES.get(defense.recipe)) if defense.recipe else {},
    )


def _label(
    defense: Defense,
    setting: Setting,
    trained: tuple[str, ...],
    provenance: Provenance | None,
    content: Sequence[str],
) -> str:
    """The published name, such as `atop[digits](transform=rt3)@digits-cnn`, or `mine-1a2b3c4d` by its content.

    In brackets stand the arguments that are not the defaults, but for a preset that the variant is called by,
    behind the @ the classifiers that it was trained for where they are not the one behind it.
    """
    defaults, variant = parameters_of(type(defense)), defense.variant(setting.shape)
    changed = [
        f"{name}={_said(value)}"
        for name, value in described(defense.arguments()).items()
        if value != _default(defaults[name])
        and not (name == PRESET and variant and value == variant)
    ]
    name = defense.label(setting.shape)
    label = known_by(name, *content) if content else name
    label += f"({', '.join(changed)})" if changed else ""
    is_same = trained in ((), (setting.defended().name,))
    if is_same and not (provenance and "classifier" in provenance.differs):
        return label
    return f"{label}@{'&'.join(trained)}"


def _default(value: object) -> object:
    return value if value is Parameter.empty else described({"": value})[""]


def _said(value: object) -> object:
    """An argument in a name: an object by its class and the beginning of its sha256."""
    if isinstance(value, dict) and set(value) == {"type", "sha256"}:
        return f"{value['type'].rpartition('.')[2].rpartition(':')[2]}#{value['sha256'][:8]}"
    return value
