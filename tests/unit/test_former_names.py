"""Modules under the names that they had before: the same objects, and a warning that says where they are."""

import importlib
import sys

import pytest
import torch

import benchmark
from benchmark.former_names import FORMER
from benchmark.plugins import DEFENSES


@pytest.fixture(autouse=True)
def unimported(monkeypatch):
    for name in FORMER:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    for name in FORMER:
        sys.modules.pop(name, None)
    vars(benchmark).pop("iterated", None)


@pytest.mark.parametrize("name", FORMER)
def test_a_former_name_gives_the_same_objects_with_a_warning(name):
    with pytest.warns(DeprecationWarning, match="former name") as said:
        former = importlib.import_module(name)
    assert f"{name} is {FORMER[name]} now" in str(said[-1].message)
    now = importlib.import_module(FORMER[name])
    public = [key for key in vars(now) if not key.startswith("_")]
    assert all(getattr(former, key) is getattr(now, key) for key in public)
    assert former.__file__ == now.__file__


def test_a_plugin_that_imports_by_a_former_name_is_had(tmp_path, monkeypatch):
    (tmp_path / "older.py").write_text(
        "from benchmark.defense import Defense, Derivative\n"
        "class Mine(Defense):\n"
        "    name, gradient = 'older', Derivative.EXACT\n"
        "    def purify(self, x, *, draws):\n"
        "        return x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.warns(DeprecationWarning, match=r"benchmark\.engine\.victims\.defense") as said:
        kind = DEFENSES.get("older:Mine")
    assert issubclass(kind, benchmark.Defense)
    assert said[0].filename == str(tmp_path / "older.py")


def test_the_function_that_a_former_name_hides_can_still_be_called():
    with pytest.warns(DeprecationWarning, match="checkpointed"):
        from benchmark.iterated import iterated
    start = torch.ones(1)
    given = benchmark.iterated(lambda x, step: 2 * x, start, steps=3)
    assert torch.equal(given, iterated(lambda x, step: 2 * x, start, steps=3))


def test_a_name_that_no_module_ever_had_is_still_unknown():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("benchmark.no_such_module")
