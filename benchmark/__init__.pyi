"""What third parties import, `from benchmark import ...`: each name is imported when it is first used."""

from .attack import Attack, Passes
from .classifier import Classifier
from .classifiers.source import ClassifierSource
from .classifiers.training_recipe import ClassifierRecipe
from .dataset import Dataset
from .defense import Defense, Derivative
from .errors import BenchError, ContractBroken, WeightsMissing
from .fetching.manifest import plugin_weights
from .iterated import iterated
from .losses import capped_margin, cross_entropy, dlr, margin, targeted_dlr
from .protocol import (
    AttackRow,
    Column,
    Diagnosis,
    Protocol,
    SourceRow,
    load_protocol,
    protocol_names,
)
from .publishing.entry import Entry
from .publishing.entry_files import entry_paths, read_entry, write_entry
from .publishing.site.site import publish_site
from .purified import Purified
from .randomness import Draws
from .recipe import Crafted, Crafting, Length, Recipe, TrainingAttack
from .running.evaluation import evaluate
from .running.remade import Where, originals, remake
from .running.request import Request
from .running.run import Listener
from .search import Search, untargeted
from .setting import Setting
from .target import Ascent, Target
from .threat import Knowledge, NamedSet, Norm, Threat
from .victim import GradientMode, MeanLogits, Victim, Vote
from .weights import load_safetensors

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
