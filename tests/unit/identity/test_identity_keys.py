"""Keys: whatever a user changes that may change a number asks for another key, and nothing else does."""

from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.errors import BenchError
from benchmark.identity.closure import closure_of
from defenses.hgd import hgd
from tests.helpers.keyed import forget, key_of

PLUGIN = '''
from benchmark.engine.victims.defense import Defense, Derivative
{imports}

class Mine(Defense):
    """A purifier."""

    name = "mine"
    stochastic = False
    gradient = Derivative.EXACT

    def __init__(self, *, file: str = "", files: list = []) -> None:
        self.file, self.files = file, files

    def prepare(self, setting):
        {prepare}

    def purify(self, x, *, draws):
        return x * {factor}

    {more}
'''


def plugin(imports="", prepare="pass", factor="1.0", more=""):
    return PLUGIN.format(imports=imports, prepare=prepare, factor=factor, more=more)


class Folder:
    """A folder of a user's modules."""

    def __init__(self, path):
        self.path = path

    def write(self, **files):
        for name, text in files.items():
            place = self.path.joinpath(*name.split("__", 3)).with_suffix(".py")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
            for parent in place.relative_to(self.path).parents:
                if parent.name:
                    (self.path / parent / "__init__.py").touch()

    def key(self, defense="mine:Mine", **options):
        tops = {each.stem for each in self.path.iterdir() if each.stem != "__pycache__"}
        forget(*tops)
        return key_of(defense, **options)


@pytest.fixture
def user(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [str(tmp_path), *__import__("sys").path])
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return Folder(tmp_path)


def test_comments_and_docstrings_of_a_plugin_change_nothing(user):
    user.write(mine=plugin())
    before = user.key()
    user.write(mine="# a note\n" + plugin().replace("A purifier.", "Another text."))
    assert user.key() == before


def test_a_plugins_own_source_changes_its_key(user):
    user.write(mine=plugin())
    before = user.key()
    user.write(mine=plugin(factor="0.5"))
    assert user.key() != before


HELPERS = {
    "beside": ("helper", "from helper import scale"),
    "of a package": ("pack__inner", "from pack.inner import scale"),
    "by a package's name": ("pack__inner", "import pack.inner as inner"),
    "by a star": ("pack__inner", "from pack.inner import *"),
    "in a function": ("helper", "def later():\n    from helper import scale"),
    "by a text": ("helper", "import importlib\nhelper = importlib.import_module('helper')"),
    "in a package called defenses": (
        "pack__defenses__tool",
        "from pack.defenses.tool import scale",
    ),
}


@pytest.mark.parametrize("how", HELPERS)
def test_a_helper_that_a_plugin_imports_changes_its_key(user, how):
    name, imports = HELPERS[how]
    user.write(mine=plugin(imports), **{name: "scale = 1.0"})
    before = user.key()
    user.write(**{name: "scale = 1.0  # unchanged"})
    assert user.key() == before
    user.write(**{name: "scale = 0.5"})
    assert user.key() != before


def test_a_plugin_of_a_package_called_defenses_is_followed_too(user):
    user.write(
        pack__defenses__mine=plugin("from .tool import scale"), pack__defenses__tool="scale = 1"
    )
    before = user.key("pack.defenses.mine:Mine")
    user.write(pack__defenses__tool="scale = 2")
    assert user.key("pack.defenses.mine:Mine") != before


@pytest.mark.parametrize(
    ("line", "is_reached"),
    [
        (
            "from benchmark import Draws, iterated",
            {"engine.victims.checkpointed": True, "publishing.site.build": False},
        ),
        (
            "from benchmark import Draws",
            {"engine.victims.checkpointed": False, "engine.randomness": True},
        ),
        ("import benchmark", {"engine.victims.checkpointed": True, "engine.randomness": True}),
    ],
)
def test_what_the_package_imports_on_first_use_is_followed_by_its_name(user, line, is_reached):
    user.write(mine=plugin(imports=line))
    forget("mine")
    reached = closure_of(["mine"]).files
    assert {name: f"benchmark.{name}" in reached for name in is_reached} == is_reached


def test_a_users_package_that_imports_on_first_use_is_followed_too(user):
    user.write(mine=plugin(imports="from lazy import half", factor="half()"))
    folder = user.path / "lazy"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "import lazy_loader\n"
        "__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)\n"
    )
    (folder / "__init__.pyi").write_text("from .numbers import half\n")
    keys = []
    for value in ("1.0", "1.0", "0.5"):
        (folder / "numbers.py").write_text(f"def half():\n    return {value}\n")
        keys.append(user.key())
    assert keys[0] == keys[1] != keys[2]


def test_what_a_plugin_may_import_by_computed_names_changes_its_key(user):
    lines = "from importlib import import_module\ntool = import_module('pack.' + 'tool')"
    user.write(pack__mine=plugin(lines), pack__tool="scale = 1")
    before = user.key("pack.mine:Mine")
    user.write(pack__tool="scale = 2")
    assert user.key("pack.mine:Mine") != before


READERS = {
    "open": "with open('{}', 'rb') as f: f.read()",
    "torch": "__import__('torch').load('{}')",
    "numpy": "__import__('numpy').load('{}')",
    "safetensors": "__import__('safetensors.torch').torch.load_file('{}')",
    "safe_open": "__import__('safetensors').safe_open('{}', framework='pt')",
    "torchvision": "__import__('torchvision.io').io.read_file('{}')",
    "text": "__import__('pathlib').Path('{}').read_text()",
}


def content(reader, value, path):
    if reader == "torch":
        torch.save({"a": torch.tensor(value)}, path)
    elif reader == "numpy":
        np.save(path, np.array(value))
        Path(f"{path}.npy").replace(path)
    elif reader.startswith("safe"):
        save_file({"a": torch.tensor(value)}, path)
    else:
        path.write_text(str(value))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The image decoding")
@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_is_read_while_a_plugin_is_prepared_changes_its_key(user, reader):
    file = user.path / "data.bin"
    user.write(mine=plugin(prepare=READERS[reader].format(file)))
    keys = []
    for value in (0.5, 0.5, 1.0):
        content(reader, value, file)
        keys.append(user.key())
    assert keys[0] == keys[1] != keys[2]


def test_a_file_that_is_read_with_the_first_images_changes_the_key(user):
    file = user.path / "data.txt"
    keys = []
    for value in ("1.0", "1.0", "0.5"):
        file.write_text(value)
        user.write(
            mine=plugin(factor=f"float(__import__('pathlib').Path({str(file)!r}).read_text())")
        )
        keys.append(user.key())
    assert keys[0] == keys[1] != keys[2]


def test_weights_of_an_earlier_use_are_in_no_later_key(user):
    shipped = next(Path(hgd.__file__).parent.glob("weights/hgd[[]digits]--*.safetensors"))
    copy = user.path / "elsewhere" / shipped.name
    copy.parent.mkdir()
    copy.write_bytes(shipped.read_bytes())
    before = key_of("hgd")
    assert key_of("hgd", weights=str(copy)) == before
    assert key_of("hgd") == before


@pytest.mark.parametrize("argument", ["file", "files"])
def test_a_file_or_folder_that_an_argument_names_changes_the_key(user, argument):
    folder = user.path / "checkpoints"
    folder.mkdir()
    user.write(mine=plugin())
    named = str(folder / "w.pt") if argument == "file" else [str(folder)]
    keys = []
    for value in ("1", "1", "2"):
        (folder / "w.pt").write_text(value)
        keys.append(user.key(defense_args={argument: named}))
    assert keys[0] == keys[1] != keys[2]


def test_what_wrap_returns_changes_the_key(user):
    victim = "from benchmark import MeanLogits\nclass Broken(MeanLogits):\n    weight = {}"
    more = "def wrap(self, purified):\n        from broken import Broken\n        return Broken([purified])"
    keys = []
    for weight in (1, 1, 2):
        user.write(mine=plugin(more=more), broken=victim.format(weight))
        keys.append(user.key())
    assert keys[0] == keys[1] != keys[2]


NET = """
from torch import nn


class Net(nn.Module):
    MEAN = {}

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        return self.layer(x.flatten(1) - self.MEAN)
"""


def test_a_mended_architecture_changes_the_key(user):
    user.write(net=NET.format(0.9))
    torch.manual_seed(0)
    save_file(nn.Module.state_dict(holder()), user.path / "net.safetensors")
    model = f"file:{user.path / 'net.safetensors'}@net:Net"
    keys = []
    for mean in ("0.9", "0.9  # a note", "0.0"):
        user.write(net=NET.format(mean))
        keys.append(user.key("none", model=model))
    assert keys[0] == keys[1] != keys[2]


def holder():
    network = nn.Module()
    network.layer = nn.Linear(64, 10)
    return network


SOURCE = """
from benchmark.classifiers.small import DigitsMLP
from net import Net


class Brought(DigitsMLP):
    name = "brought"
    {}

    def network(self):
        return Net()

    def weights(self, folder):
        from pathlib import Path
        return Path({!r})
"""


def test_a_classifier_plugins_source_changes_the_key(user):
    save_file(holder().state_dict(), user.path / "net.safetensors")
    keys = []
    for line, mean in (("a = 1", 0.9), ("a = 1", 0.9), ("a = 2", 0.9), ("a = 1", 0.8)):
        user.write(
            brought=SOURCE.format(line, str(user.path / "net.safetensors")), net=NET.format(mean)
        )
        keys.append(user.key("none", model="brought:Brought"))
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


DATASET = """
from benchmark.datasets.digits import Digits
from helper import scale


class Theirs(Digits):
    name = "theirs"
"""


def test_a_datasets_own_helper_changes_the_key(user):
    keys = []
    for scale in (1, 1, 2):
        user.write(theirs=DATASET, helper=f"scale = {scale}")
        keys.append(user.key("none", dataset="theirs:Theirs", model="file:" + net_file(user)))
    assert keys[0] == keys[1] != keys[2]


def net_file(user):
    path = user.path / "net.safetensors"
    if not path.exists():
        save_file(holder().state_dict(), path)
    user.write(net=NET.format(0.0))
    return f"{path}@net:Net"


def test_a_packages_new_version_changes_the_key(user):
    keys = []
    for version in ("1.0", "1.0", "1.1"):
        user.write(mine=plugin("import their_library"), their_library__core="x = 1")
        for old in user.path.glob("*.dist-info"):
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
        note = user.path / f"their_library-{version}.dist-info"
        note.mkdir()
        (note / "METADATA").write_text(f"Name: their-library\nVersion: {version}\n")
        (note / "RECORD").write_text("their_library/__init__.py,sha256=abc,0\n")
        keys.append(user.key())
    assert keys[0] == keys[1] != keys[2]


def test_a_packages_other_content_changes_the_key_and_its_scripts_do_not(user):
    user.write(mine=plugin("import their_library"), their_library__core="x = 1")
    note = user.path / "their_library-1.0.dist-info"
    note.mkdir()
    (note / "METADATA").write_text("Name: their-library\nVersion: 1.0\n")
    keys = []
    for content, script in (("a", "b"), ("a", "c"), ("d", "c")):
        lines = f"their_library/core.py,sha256={content},5\n../../bin/tool,sha256={script},9\n"
        (note / "RECORD").write_text(lines)
        keys.append(user.key())
    assert keys[0] == keys[1] != keys[2]


class Normalize(nn.Module):
    """As in many repositories: plain attributes, no buffers."""

    def __init__(self, mean):
        super().__init__()
        self.mean = mean

    def forward(self, x):
        return x - self.mean


def given(mean, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(Normalize(mean), nn.Flatten(), nn.Linear(64, 10))


def test_a_module_from_python_is_known_by_its_attributes_and_weights():
    keys = [key_of(model=given(*what)) for what in ((0.9,), (0.9,), (0.0,), (0.9, 1))]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


class Given(Defense):
    """Given from Python."""

    name = "given"
    stochastic = False
    gradient = Derivative.EXACT

    def __init__(self, *, part=None):
        self.part = part

    def prepare(self, setting):
        self._classifier = setting.classifier

    def purify(self, x, *, draws):
        return x


def test_a_defense_from_python_is_known_by_what_it_holds():
    keys = [key_of(Given(part=part)) for part in (torch.ones(2), torch.ones(2), torch.zeros(2))]
    assert keys[0] == keys[1] != keys[2]


def test_a_defense_from_python_has_its_key_again_after_it_was_evaluated():
    defense = Given()
    assert key_of(defense) != key_of(defense, model="digits-mlp")
    assert key_of(defense) == key_of(Given())


NOWHERE = """
from benchmark.engine.victims.defense import Defense, Derivative
class Cell(Defense):
    name, stochastic, gradient = "cell", False, Derivative.EXACT
    def purify(self, x, *, draws):
        return x
"""


def test_code_without_a_file_is_refused_and_identity_is_the_way_out():
    room = {"__name__": "__main__"}
    FunctionType(compile(NOWHERE, "<cell 1>", "exec"), room)()
    cell = room["Cell"]()
    with pytest.raises(BenchError, match="identity=") as caught:
        key_of(cell)
    assert "\n" not in str(caught.value)
    first, same, other = (key_of(cell, identity=text) for text in ("v1", "v1", "v2"))
    assert first == same != other
