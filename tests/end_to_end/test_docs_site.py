"""The documentation site: each page is listed once; the reference holds every command and public name."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import subprocess
import sys
from collections import Counter

import click
import pytest

import benchmark
from benchmark.cli.main import bench
from tests.helpers.doc_pages import PAGES, ROOT

pytestmark = pytest.mark.slow

API = (ROOT / "docs" / "api.md").read_text()
DIRECTIVE = re.compile(r"^\.\. auto(?:class|function|module):: (\S+)(?:\n   :members:(.*))?$", re.M)


@pytest.fixture(scope="module")
def conf():
    spec = importlib.util.spec_from_file_location("docs_conf", ROOT / "docs" / "conf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_exactly_one_table_of_contents(conf):
    index = ROOT / "docs" / "index.md"
    listed = conf.pages_of(index.read_text())
    counted = Counter(
        (index.parent / page).resolve() for pages in listed.values() for page in pages
    )
    boards = set(ROOT.glob("leaderboards/*/*/README.md"))  # conf.py lists them all
    assert set(counted) - boards == {*PAGES, ROOT / "CHANGELOG.md"} - {index}
    assert set(counted.values()) == {1}


def test_the_index_has_the_four_parts_and_none_is_empty(conf):
    listed = conf.pages_of((ROOT / "docs" / "index.md").read_text())
    assert list(listed)[:4] == ["Tutorial", "How-to", "Explanation", "Reference"]
    assert all(listed.values())


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The page of the command line as the site shows it, in plain text."""
    out = tmp_path_factory.mktemp("reference")
    words = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-b",
        "text",
        "-c",
        "docs",
        "-d",
        str(out / "trees"),
    ]
    words += ["-D", "root_doc=docs/cli", "-D", "include_patterns=docs/cli.md", ".", str(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    return (out / "docs" / "cli.txt").read_text()


def commands(group, name="bench"):
    """Every command below a group that `--help` lists, with all words of its name."""
    context = click.Context(group)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        if command.hidden:
            continue
        yield f"{name} {word}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {word}")


def test_every_command_is_in_the_reference_with_every_option(reference):
    found = dict(commands(bench))
    assert len(found) > 15
    for name, command in found.items():
        assert f"   {name} [OPTIONS]" in reference, name
        section = reference.partition(f"   {name} [OPTIONS]")[2]
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.opts[-1] in section, f"{name}: {parameter.opts}"


def public_names():
    """Every name that the reference of the Python interface shows, and the members that it names."""
    for path, members in DIRECTIVE.findall(API):
        yield path
        yield from (f"{path}.{name.strip()}" for name in members.split(",") if name.strip())


def looked_up(path):
    """The object of a dotted name."""
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            found = importlib.import_module(".".join(parts[:cut]))
            for name in parts[cut:]:
                found = getattr(found, name)
            return found
    raise AssertionError(path)


@pytest.mark.parametrize("path", sorted(public_names()))
def test_every_public_name_is_there_and_says_what_it_is(path):
    found = looked_up(path)
    said = found.__doc__
    assert said, path
    assert not said.startswith(f"{getattr(found, '__name__', '')}("), f"{path}: made by dataclass"
    if not isinstance(found, type) or ":members:" not in API.partition(path)[2].partition("..")[0]:
        return
    for name, member in vars(found).items():
        if not name.startswith("_") and callable(member):
            assert member.__doc__, f"{path}.{name}"


def test_whatever_the_package_offers_is_in_the_reference():
    shown = set(public_names())
    assert {f"benchmark.{name}" for name in benchmark.__all__} <= shown


def test_whatever_the_pages_import_is_in_the_reference():
    shown = set(public_names())
    imported = re.compile(r"^from (benchmark\.\S+) import (.+)$", re.M)
    for page in PAGES:
        for module, names in imported.findall(page.read_text()):
            for name in names.split(","):
                assert f"{module}.{name.strip()}" in shown, f"{page.name}: {module}.{name.strip()}"
