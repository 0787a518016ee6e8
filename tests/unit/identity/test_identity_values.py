"""Objects from Python as a key sees them: equal ones alike in any process, others apart, the rest refused."""

import collections
import dataclasses
import enum
import functools
import importlib
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.errors import BenchError
from benchmark.identity.identity import Known, identity_of
from tests.helpers.keyed import forget, said_by


def of(value, **known):
    return identity_of(value, what="it", known=Known(is_given=True, **known)).sha256()


def filled(value, dtype=torch.float32):
    layer = nn.Conv2d(1, 1, 1, bias=False).to(dtype)
    layer.weight.data.fill_(value)
    return layer


def scaled(value):
    return lambda x: x * value


@dataclasses.dataclass
class Pair:
    one: object
    two: object = 1


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Hooked(nn.Module):
    def __init__(self, hook):
        super().__init__()
        self.register_forward_hook(hook)


def first(*_):
    return 1


def second(*_):
    return 2


def one_line():
    return [lambda x: x + 1, lambda x: x - 1]


PAIRS = {
    "a number": (lambda: 1, lambda: 1.0),
    "a truth": (lambda: 1, lambda: True),
    "a module's weights": (lambda: filled(0.5), lambda: filled(1.0)),
    "a module's precision": (lambda: filled(0.5), lambda: filled(0.5, torch.bfloat16)),
    "a module's order": (
        lambda: nn.Sequential(nn.ReLU(), nn.Tanh()),
        lambda: nn.Sequential(nn.Tanh(), nn.ReLU()),
    ),
    "a module's arguments": (lambda: nn.LeakyReLU(0.1), lambda: nn.LeakyReLU(0.2)),
    "a module's mode": (lambda: nn.Dropout().eval(), lambda: nn.Dropout()),
    "a hook": (lambda: Hooked(first), lambda: Hooked(second)),
    "a tensor": (lambda: torch.ones(2), lambda: torch.zeros(2)),
    "a tensor's shape": (lambda: torch.ones(2, 1), lambda: torch.ones(1, 2)),
    "an array": (lambda: np.ones(2), lambda: np.ones(2, dtype="float32")),
    "a scalar of numpy": (lambda: np.float64(1), lambda: np.float64(2)),
    "a list": (lambda: [1, [2.0]], lambda: [1, [3.0]]),
    "a mapping": (lambda: {"a": {1}}, lambda: {"a": {2}}),
    "a set": (lambda: {"a", "b", "c"}, lambda: {"a", "b", "d"}),
    "a deque": (lambda: collections.deque([1]), lambda: collections.deque([2])),
    "a data class": (lambda: Pair(1), lambda: Pair(2)),
    "slots": (lambda: Slotted(1), lambda: Slotted(2)),
    "an enumeration": (lambda: Color.RED, lambda: Color.BLUE),
    "a closure": (lambda: scaled(1), lambda: scaled(2)),
    "a lambda": (lambda: one_line()[0], lambda: one_line()[1]),
    "a partial": (lambda: functools.partial(scaled, 1), lambda: functools.partial(scaled, 2)),
    "a function": (lambda: first, lambda: second),
    "a method": (lambda: Pair(1).__repr__, lambda: Pair(2).__repr__),
    "a builtin": (lambda: torch.relu, lambda: torch.tanh),
    "a type": (lambda: torch.float32, lambda: torch.float64),
    "a generator": (lambda: np.random.default_rng(0), lambda: np.random.default_rng(1)),
    "a generator of torch": (
        lambda: torch.Generator().manual_seed(0),
        lambda: torch.Generator().manual_seed(1),
    ),
    "an infinity": (lambda: float("inf"), lambda: float("nan")),
}


@pytest.mark.parametrize("what", PAIRS)
def test_equal_objects_are_known_as_one_and_others_apart(what):
    make, other = PAIRS[what]
    assert of(make()) == of(make())
    assert of(make()) != of(other())


def test_a_path_is_known_by_its_content_and_not_by_its_place(tmp_path):
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).write_text(text)
    assert of(tmp_path / "a") == of(tmp_path / "b") != of(tmp_path / "c")
    assert of(Path("nowhere/a")) != of(Path("nowhere/b"))


def test_an_object_that_holds_itself_is_no_trouble():
    rings = []
    for value in (1, 1, 2):
        ring = [value]
        ring.append(ring)
        rings.append(of(ring))
    assert rings[0] == rings[1] != rings[2]


def test_an_attribute_set_from_outside_counts():
    layer = filled(1)
    before = of(layer)
    layer.scale = 0.5
    assert of(layer) != before


@pytest.mark.parametrize("value", [threading.Lock(), (i for i in range(3))])
def test_what_cannot_be_looked_into_is_refused_by_its_place_in_one_line(value):
    with pytest.raises(BenchError, match=r"it cannot be told .* tool\.0 is .* identity=") as caught:
        of({"tool": [value]})
    assert "\n" not in str(caught.value)
    first, same, other = (of({"tool": [value]}, said=text) for text in ("v1", "v1", "v2"))
    assert first == same != other


MODULE = """
import functools
import torch
from torch import nn
import their_other
SCALE = 1
SHIFT = 1
W = torch.ones(2)
def inner(x):
    return x + SHIFT
class Net(nn.Module):
    FACTOR = 1
    def forward(self, x):
        return inner(x) * SCALE * W + their_other.LIMIT
    @property
    def size(self):
        return self.FACTOR
@torch.no_grad()
def decorated(x):
    return x * SCALE
"""
CHANGES = {
    "a global": ("their_net", "SCALE", 2),
    "a global of a function that is called": ("their_net", "SHIFT", 2),
    "a tensor": ("their_net", "W", torch.zeros(2)),
    "a function": ("their_net", "inner", first),
    "a global of another module": ("their_other", "LIMIT", 2),
    "an attribute of the class": ("their_net.Net", "FACTOR", 2),
    "a method": ("their_net.Net", "forward", first),
}


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "their_net.py").write_text(MODULE)
    (tmp_path / "their_other.py").write_text("LIMIT = 1\nUNUSED = 1")
    forget("their_net", "their_other")
    return importlib.import_module("their_net")


@pytest.mark.parametrize("what", CHANGES)
def test_what_the_code_of_an_object_takes_from_around_it_counts(net, monkeypatch, what):
    before = of(net.Net())
    place, name, value = CHANGES[what]
    monkeypatch.setattr(f"{place}.{name}", value)
    assert of(net.Net()) != before


def test_what_it_does_not_take_counts_nothing(net, monkeypatch):
    before = of(net.Net())
    monkeypatch.setattr("their_other.UNUSED", threading.Lock())
    assert of(net.Net()) == before


def test_a_decorated_function_is_known_by_the_one_inside(net, monkeypatch):
    before = of(net.decorated)
    monkeypatch.setattr("their_net.SCALE", 2)
    assert of(net.decorated) != before


SCRIPT = """
import sys
from benchmark.identity.identity import Known, identity_of
SCALE = float(sys.argv[1])
WORDS = {f"word {i}" for i in range(50)}
class Mine:
    def __init__(self):
        self.words, self.f = WORDS, lambda x: x * SCALE
print(identity_of(Mine(), what="it", known=Known(is_given=True)).sha256())
"""


@pytest.mark.slow
def test_a_script_gives_the_same_in_any_process_and_folder_until_a_value_changes(tmp_path):
    found = []
    for i, (scale, seed) in enumerate([(1, "1"), (1, "2"), (2, "2")]):
        script = tmp_path / f"{i}" / "script.py"
        script.parent.mkdir()
        script.write_text(SCRIPT)
        found.append(said_by(script, scale, PYTHONHASHSEED=seed))
    assert found[0] == found[1] != found[2]
