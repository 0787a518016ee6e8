"""The wheel and the sdist: all that is needed and nothing else; what is installed from them works elsewhere."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("benchmark", "attacks", "defenses")
SHIPPED = {
    ".csv",
    ".txt",
    ".py",
    ".pyi",
    ".yaml",
    ".safetensors",
    ".npz",
    ".json",
    ".typed",
    ".html",
    ".css",
    ".js",
    ".svg",
}
BUILD = (
    "import sys; from setuptools import build_meta; folder = sys.argv[1]; "
    "build_meta.build_sdist(folder); build_meta.build_wheel(folder)"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """A wheel and an sdist, built from a copy in which nothing lies that a build or a test left."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    unwanted = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info", "*.part*", ".*")
    for name in (*PACKAGES, "tests", "docs", "leaderboards"):
        shutil.copytree(ROOT / name, source / name, ignore=unwanted)
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy(path, source)
    dist = folder / "dist"
    dist.mkdir()
    subprocess.run(
        [sys.executable, "-c", BUILD, str(dist)], cwd=source, check=True, capture_output=True
    )
    return next(dist.glob("*.whl")), next(dist.glob("*.tar.gz"))


def packaged() -> set[str]:
    """Every file of the packages in this checkout, as a wheel names it."""
    return {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in SHIPPED and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_packages_whole_and_nothing_else(built):
    names = zipfile.ZipFile(built[0]).namelist()
    info = {name for name in names if ".dist-info/" in name}
    assert set(names) - info == packaged()
    assert {"py.typed", "quick.yaml", "digits-cnn.safetensors"} <= {Path(n).name for n in names}
    assert any(name.endswith("licenses/LICENSE") for name in info)


def test_the_wheel_says_what_it_needs_and_which_command_it_brings(built):
    archive = zipfile.ZipFile(built[0])
    (metadata,) = [name for name in archive.namelist() if name.endswith("METADATA")]
    said = email.message_from_bytes(archive.read(metadata))
    assert said["Requires-Python"] == ">=3.11"
    assert said["License-Expression"] == "MIT"
    needed = {line.split(";")[0] for line in said.get_all("Requires-Dist") if "extra" not in line}
    unbounded = {line for line in needed if ">=" not in line and "==" not in line}
    assert unbounded == set(), "a dependency without a lowest version is one that nobody has tried"
    (points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    assert "bench = benchmark.__main__:main" in archive.read(points).decode()


def test_the_sdist_holds_all_that_the_wheel_is_made_of(built):
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert packaged() <= names
    assert {"pyproject.toml", "README.md", "LICENSE"} <= names
    junk = {n for n in names if "__pycache__" in n or n.endswith((".pyc", ".shard", ".part"))}
    assert junk == set()


@pytest.fixture(scope="module")
def elsewhere(built, tmp_path_factory):
    """Runs `bench` from the unpacked wheel in an empty folder, away from this checkout."""
    installed = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(built[0]).extractall(installed)
    folder = tmp_path_factory.mktemp("elsewhere")
    code = f"import sys; sys.path.insert(0, {str(installed)!r}); "

    def bench(*words):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                code + "from benchmark.__main__ import main; sys.exit(main())",
                *words,
            ],
            cwd=folder,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return bench


def test_the_installed_command_finds_its_plugins_and_protocols_away_from_the_repository(elsewhere):
    assert "atop" in elsewhere("list", "defenses")
    assert "standard" in elsewhere("list", "protocols")
    assert elsewhere("--version").startswith("bench, version")


def test_the_installed_command_publishes_a_site_with_its_templates_and_its_looks(elsewhere):
    assert "Written: site/index.html" in elsewhere("publish", str(ROOT / "leaderboards"))
