"""The canonical form of source, and the imports that are read from it."""

import pytest

from benchmark.identity.closure import closure_of
from benchmark.identity.source import Import, canonical_sha256, parsed, source_of

TEXT = '''"""A module."""
import a.b as c


@c.decorated(1, *[2], x=-0.5, **{"y": 1e400, **{}})
class Kind(c.Base, metaclass=c.Meta):
    """A class."""

    size: int = 0x10

    def method(self, a, /, b: int = 1, *, d=None, **rest) -> str:
        """A method."""
        text = f"{a!r:>{b}} and {{b}} " "more" f"{d=}" rf"\\d{rest}" ""
        with open(a) as first, open(b):
            x = [i async for i in b if i] or (yield)
        try:
            del x[1:2, ...]
        except (OSError, ValueError) as error:
            raise c.Error("\\u00e9\\U0001fae8") from error
        match a:
            case {"k": [1, *_], **others} | c.Kind(z=b"\\x00"):
                return lambda *, q=1j: (q := others)
        return not a < b <= 3 and text
'''


def sha256(text):
    return canonical_sha256(parsed(text.encode()))


def test_the_form_is_the_same_under_every_version_of_python():
    # read under Python 3.11, 3.12 and 3.13; a change here makes every stored shard worthless: raise KEY_VERSION
    assert sha256(TEXT) == "4d3aad19610659dff273d42509f7a08185bb2bce8f0c8260a7466ec345e9432b"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', '"""Another text\nof two lines."""'),
        ('    """A class."""\n\n', ""),
        ("size: int = 0x10", "size: int = 16  # bytes"),
        ("import a.b as c\n", "import a.b as c\n\n\n# a note\n"),
        ("(OSError, ValueError)", "(\n            OSError,\n            ValueError,\n        )"),
    ],
)
def test_prose_and_layout_change_nothing(old, new):
    assert old in TEXT
    assert sha256(TEXT.replace(old, new, 1)) == sha256(TEXT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-0.5", "0.5"),
        ("1e400", "1e300"),
        ("a < b", "a <= b"),
        ("not a", "a"),
        ("d=None", "d=True"),
        ("b: int = 1", "b: int = 1.0"),
        ("b: int = 1", "b: int = True"),
        ("a, /, b", "a, b"),
        ("b'\\x00'", "b'\\x01'"),
        ("{a!r:>{b}}", "{a!s:>{b}}"),
        ("{{b}}", "{b}"),
        ("as first", "as second"),
        ("1:2, ...", "1:, ..."),
        ("async for", "for"),
        ("| c.Kind", "| c.Kinds"),
        ("return not", "yield not"),
        ("00e9", "00e8"),
    ],
)
def test_anything_else_changes_it(old, new):
    text = TEXT.replace('b"\\x00"', "b'\\x00'")
    assert old in text
    assert sha256(text.replace(old, new, 1)) != sha256(text)


def test_the_order_of_imports_stays_in():
    assert sha256("import a\nimport b") != sha256("import b\nimport a")


def test_a_long_sum_is_read():
    assert sha256(" + ".join(["1"] * 900)) != sha256(" + ".join(["1"] * 899))


IMPORTS = """
from typing import TYPE_CHECKING
import one.two as three, four
from .five import six
from .. import seven
from eight import *
if TYPE_CHECKING:
    import nine
else:
    import ten
def f():
    from eleven import twelve
try:
    import thirteen
except ImportError:
    import fourteen
"""


def test_every_import_is_found_but_those_for_type_checkers(tmp_path):
    file = tmp_path / "m.py"
    file.write_text(IMPORTS)
    found = [f"{each.module}:{each.name}" for each in source_of(file).imports]
    assert found == [
        "typing:TYPE_CHECKING",
        "one.two:",
        "four:",
        ".five:six",
        "..:seven",
        "eight:*",
        "ten:",
        "eleven:twelve",
        "thirteen:",
        "fourteen:",
    ]
    assert Import("nine") not in source_of(file).imports


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(files):
        for name, text in files.items():
            place = tmp_path / f"{name}.py"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    return write


def test_relative_imports_packages_and_stars_are_followed_without_importing(package):
    package(
        {
            "closed/__init__": "",
            "closed/a": "from . import b\nfrom .inner import *\nraise SystemExit",
            "closed/b": "from ..closed import c as d",
            "closed/c": "import closed.inner.y",
            "closed/inner/__init__": "__all__ = ['x']",
            "closed/inner/x": "",
            "closed/inner/y": "",
            "closed/inner/z": "",
        }
    )
    names = {name.removeprefix("closed.") for name in closure_of(["closed.a"]).files}
    assert names == {"closed", "a", "b", "c", "inner", "inner.x", "inner.y"}


def test_a_module_that_is_missing_is_no_trouble(package):
    package({"lonely": "import nowhere.at_all\nfrom . import nothing"})
    assert set(closure_of(["lonely"]).files) == {"lonely"}
