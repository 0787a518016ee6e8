"""Imports by text: whatever is wrong is one line that names it and what to do."""

import sys

import pytest

from benchmark.errors import BenchError
from benchmark.plugins import DATASETS, DEFENSES
from benchmark.registry import imported

PURIFIER = """
from benchmark.engine.victims.defense import Defense, Derivative

class Mine(Defense):
    name, stochastic, gradient = "mine", False, Derivative.EXACT
    def __init__(self, *, size):
        self.size = size
    def purify(self, x, *, draws):
        return x

class Beside: pass
made = Mine(size=1)
"""
FILES = {
    "my_purifier.py": PURIFIER,
    "boxed/my_purifier.py": PURIFIER,
    "boxed/__init__.py": "",
    "lacking.py": "import torch\nimport no_such_library\nclass Mine: pass",
    "lacks_part.py": "from benchmark.engine.victims.defense import Nothing\nclass Mine: pass",
    "circle_a.py": "import circle_b\nclass Mine: pass",
    "circle_b.py": "from circle_a import Mine",
    "unread.py": "class Mine(:",
    "loud.py": "class Mine: pass\nraise ValueError('boom')",
    "uses_attacks.py": "import attacks.my_own\nclass Mine: pass",
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder of somebody's files, on the path and current."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in FILES:
        sys.modules.pop(name.partition(".")[0].replace("/", "."), None)
    sys.modules.pop("boxed.my_purifier", None)
    sys.modules.pop("boxed", None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("my_purifier.py", "for a file write my_purifier:Mine"),
        ("./my_purifier.py", "for a file write my_purifier:Mine"),
        ("my_purifier.py:Mine", "for a file write my_purifier:Mine"),
        ("boxed/my_purifier.py", "for a file write boxed.my_purifier:Mine"),
        ("boxed/my_purifier.py:Mine", "for a file write boxed.my_purifier:Mine"),
        ("/elsewhere/pure.py", "for a file write pure:Class, in the folder /elsewhere"),
        ("my_purifier", "write my_purifier:Mine"),
        ("boxed.my_purifier", "write boxed.my_purifier:Mine"),
        ("my_purifier.Mine", "write my_purifier:Mine, with a colon"),
        ("my_purifer:Mine", "Did you mean 'my_purifier:Mine'?"),
        ("my_purifier:Mien", "Did you mean 'my_purifier:Mine'?"),
        ("my_purifier:Beside", r"must be a subclass.*Did you mean 'my_purifier:Mine'?"),
        ("my_purifier:made", "is an object, not a class.*Did you mean 'my_purifier:Mine'?"),
        ("nowhere_at_all:Mine", "no module is called 'nowhere_at_all'"),
        ("boxed.nowhere:Mine", "no module is called 'boxed.nowhere'"),
        ("lacking:Mine", r"needs the module 'no_such_library', which is not .*lacking.py, line 2"),
        ("lacks_part:Mine", r"cannot import name 'Nothing'.*lacks_part.py, line 1"),
        ("circle_a:Mine", r"circular import.*circle_b.py, line 1"),
        ("unread:Mine", r"invalid syntax, .*unread.py, line 1"),
        ("loud:Mine", "importing defense 'loud:Mine' failed: ValueError: boom"),
        ("attacks.pgd:Mine", "module 'attacks.pgd' has no 'Mine'"),
        ("my-purifier:Mine", "expected module:Class"),
        ("my_purifier:", "expected module:Class"),
        (":Mine", "expected module:Class"),
        ("a::b", "expected module:Class"),
    ],
)
def test_a_plugin_that_cannot_be_had_is_refused_in_one_line(name, expected):
    with pytest.raises(BenchError, match=f"(?s){expected}") as caught:
        DEFENSES.get(name)
    assert "\n" not in str(caught.value)


def test_a_plugin_that_can_be_had_is_had():
    assert DEFENSES.get("my_purifier:Mine") is sys.modules["my_purifier"].Mine
    assert DEFENSES.get("boxed.my_purifier:Mine").__module__ == "boxed.my_purifier"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("images.npz", "for a file write npz:images.npz"),
        ("NPZ:images.npz", "Did you mean 'npz:images.npz'?"),
        ("nzp:images.npz", "Did you mean 'npz:images.npz'?"),
    ],
)
def test_a_file_in_the_place_of_a_dataset_is_told_its_form(name, expected):
    with pytest.raises(BenchError, match=expected):
        DATASETS.get(name)


def test_somebodys_own_attacks_are_named_where_a_plugin_wants_them(here):
    (here / "attacks").mkdir()
    (here / "attacks" / "my_own.py").write_text("")
    for name in ("uses_attacks:Mine", "attacks.my_own:Mine"):
        with pytest.raises(BenchError, match=f"give {here}/attacks another name"):
            imported(name, what="defense")


def test_attacks_that_were_imported_before_this_project_are_named(here, monkeypatch):
    (here / "attacks.py").write_text("")
    theirs = type(sys)("attacks")
    theirs.__file__ = str(here / "attacks.py")
    monkeypatch.setitem(sys.modules, "attacks", theirs)
    with pytest.raises(BenchError, match=r"attacks\.py was imported first"):
        imported("attacks.pgd:PGD", what="attack")


def test_a_module_whose_import_is_forbidden_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "forbidden_module", None)
    with pytest.raises(BenchError, match="forbidden_module") as caught:
        imported("forbidden_module:Thing", what="defense")
    assert "\n" not in str(caught.value)
