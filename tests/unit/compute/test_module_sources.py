"""Modules read without importing them say what importing them would."""

import sys

import pytest

from benchmark.compute.module_sources import (
    arguments_in,
    classes_in,
    constant_in,
    is_missing,
    lacks_name,
)
from benchmark.engine.arguments import parameters_of
from benchmark.plugins import ATTACKS, DEFENSES
from benchmark.registry import imported

OURS = {**DEFENSES.paths(), **ATTACKS.paths()}


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module of the given text; gives its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(text: str, name: str = "read_only") -> str:
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return name

    yield write
    assert not {"read_only", "packed"} & set(sys.modules)  # nothing was imported


@pytest.mark.parametrize("path", OURS.values(), ids=OURS)
def test_the_arguments_of_each_plugin_are_those_of_its_constructor(path):
    found = arguments_in(*path.split(":"))
    assert found == tuple(parameters_of(imported(path, what="plugin")))


@pytest.mark.parametrize("path", DEFENSES.paths().values(), ids=DEFENSES.paths())
def test_the_recipe_of_each_defense_is_the_one_that_its_class_names(path):
    assert constant_in(*path.split(":"), "recipe") == imported(path, what="defense").recipe


@pytest.mark.parametrize(
    "text",
    [
        "class Mine(Base):\n    def __init__(self, **rest): pass",
        "class Mine(Base, Other):\n    def __init__(self, *, a): pass",
        "@dataclass\nclass Mine(Base):\n    a: int",
        "class Mine(Base, metaclass=M):\n    def __init__(self, *, a): pass",
        "class Mine(Somebody): pass",
        "class Mine(Mine): pass",
        "Mine = make()",
    ],
)
def test_a_class_whose_text_does_not_say_its_arguments_leaves_them_open(module, text):
    assert arguments_in(module(text), "Mine") is None


def test_the_fields_of_a_dataclass_are_its_arguments_with_those_of_its_bases(module):
    text = """
@dataclass(kw_only=True)
class Base(Defense):
    a: int
    b: ClassVar[int] = 0

class Between(Base):
    unused: int

@dataclass(kw_only=True, eq=False)
class Mine(Between):
    c: float = 1.0
    a: float = 2.0
"""
    name = module(text)
    assert arguments_in(name, "Mine") == ("a", "c")
    assert arguments_in(name, "Between") == ("a",)
    there = module("from " + name + " import Base\nclass Yours(Base): pass", "other_module")
    assert arguments_in(there, "Yours") == ("a",)
    for line in ("a: int = field(init=False)", "a: int = field(default=3)"):
        assert arguments_in(module(f"@dataclass\nclass Odd(Defense):\n    {line}"), "Odd") is None
    assert (
        arguments_in(module("@dataclass(init=False)\nclass Odd(Defense):\n    a: int"), "Odd")
        is None
    )


def test_a_name_that_a_module_may_get_when_it_runs_is_not_said_to_be_lacking(module):
    assert lacks_name(module("class Mine: pass"), "Yours")
    assert not lacks_name(module("class Mine: pass"), "Mine")
    for text in ("from a import *", "def __getattr__(name): ...", "globals()[name] = 1"):
        assert not lacks_name(module(text), "Yours")


def test_a_module_is_missing_only_where_that_is_sure(module):
    assert is_missing("nowhere_at_all")
    assert not is_missing(module("", "packed.inside"))
    assert is_missing("packed.outside")
    module("__path__.append('elsewhere')", "packed.__init__")
    assert not is_missing("packed.outside")


def test_a_file_that_changed_is_read_again(module):
    name = module("class One: pass")
    assert classes_in(name) == ["One"]
    module("class Two: pass\nclass Three(Two): pass")
    assert classes_in(name) == ["Two", "Three"]
    assert classes_in(name, are_derived=True) == ["Three"]
