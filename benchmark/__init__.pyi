"""What third parties import, `from benchmark import ...`: each name is imported when it is first used."""

from .classifiers.base import ClassifierSource
from .classifiers.training_recipe import ClassifierRecipe
from .engine.attacking.attack import Attack, Passes
from .engine.attacking.losses import capped_margin, cross_entropy, dlr, margin, targeted_dlr
from .engine.attacking.search import Search, untargeted
from .engine.attacking.target import Ascent, Target
from .engine.dataset import Dataset
from .engine.randomness import Draws
from .engine.threat import Knowledge, NamedSet, Norm, Threat
from .engine.victims.checkpointed import iterated
from .engine.victims.classifier import Classifier
from .engine.victims.defense import Defense, Derivative
from .engine.victims.purified import Purified
from .engine.victims.setting import Setting
from .engine.victims.victim import GradientMode, MeanLogits, Victim, Vote
from .errors import BenchError, ContractBroken, WeightsMissing
from .evaluation.execute.evaluate import evaluate
from .evaluation.execute.run import Listener
from .evaluation.prepare.reproduce import Where, originals, remake
from .evaluation.prepare.request import Request
from .files.manifest import plugin_weights
from .files.weights import load_safetensors
from .publishing.site.build import publish_site
from .recipe import Crafted, Crafting, Length, Recipe, TrainingAttack
from .records.entry import Entry
from .records.entry_files import entry_paths, read_entry, write_entry
from .records.protocol import AttackRow, Column, Protocol, SourceRow
from .records.protocol_files import load_protocol, protocol_names
from .records.unranked import Diagnosis

__all__ = [
    "Ascent",
    "Attack",
    "AttackRow",
    "BenchError",
    "Classifier",
    "ClassifierRecipe",
    "ClassifierSource",
    "Column",
    "ContractBroken",
    "Crafted",
    "Crafting",
    "Dataset",
    "Defense",
    "Derivative",
    "Diagnosis",
    "Draws",
    "Entry",
    "GradientMode",
    "Knowledge",
    "Length",
    "Listener",
    "MeanLogits",
    "NamedSet",
    "Norm",
    "Passes",
    "Protocol",
    "Purified",
    "Recipe",
    "Request",
    "Search",
    "Setting",
    "SourceRow",
    "Target",
    "Threat",
    "TrainingAttack",
    "Victim",
    "Vote",
    "WeightsMissing",
    "Where",
    "capped_margin",
    "cross_entropy",
    "dlr",
    "entry_paths",
    "evaluate",
    "iterated",
    "load_protocol",
    "load_safetensors",
    "margin",
    "originals",
    "plugin_weights",
    "protocol_names",
    "publish_site",
    "read_entry",
    "remake",
    "targeted_dlr",
    "untargeted",
    "write_entry",
]
