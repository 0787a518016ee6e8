"""Somebody's files in the current folder hide neither this project's packages nor a library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.compute.own_packages import ROOT, current_folder_last, forget_order

LIBRARIES = ("cloudpickle", "loky", "yaml", "click", "torch", "numpy")


@pytest.fixture
def theirs(tmp_path, monkeypatch) -> Path:
    """The current folder, full of files that end the process that imports one."""
    for name in (*LIBRARIES, "attacks", "defenses"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(f'{__file__} was imported')")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def python(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


PLACES = """
import importlib.util
import benchmark
import attacks, defenses
print(attacks.__file__, defenses.__file__, importlib.util.find_spec("attacks.pgd").origin)
"""


def test_own_packages_are_the_installed_files_whatever_comes_first_on_the_path(theirs):
    done = python("-c", PLACES, PYTHONPATH=f"{theirs}{os.pathsep}{ROOT}")
    assert done.stdout.split() == [
        str(ROOT / "attacks" / "__init__.py"),
        str(ROOT / "defenses" / "__init__.py"),
        str(ROOT / "attacks" / "pgd.py"),
    ], done.stderr


def test_python_m_benchmark_takes_no_library_from_the_current_folder(theirs):
    done = python("-m", "benchmark", "run", "--defense", "apot", PYTHONPATH=str(ROOT))
    assert done.returncode == 2
    assert done.stderr.startswith("bench: no defense is called 'apot'. Did you mean 'atop'?")


POOL = """
import os
from loky import ProcessPoolExecutor
from benchmark.compute.own_packages import add_current_folder, current_folder_last, forget_order
from benchmark.compute.module_sources import source_file

add_current_folder()
pool = ProcessPoolExecutor(1, initializer=forget_order)
with current_folder_last():
    found = pool.submit(source_file, "attacks.pgd")
print(found.result(), pool.submit(os.environ.get, "PYTHONSAFEPATH").result())
pool.shutdown(kill_workers=True)
"""


def test_worker_processes_take_nothing_from_the_current_folder(theirs):
    done = python("-P", "-c", POOL, PYTHONPATH=str(ROOT))
    assert done.stdout.split() == [str(ROOT / "attacks" / "pgd.py"), "None"], done.stderr


@pytest.mark.parametrize("before", [None, "1"])
def test_what_the_user_asks_of_python_stays_as_it_is(before, monkeypatch):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    if before:
        monkeypatch.setenv("PYTHONSAFEPATH", before)
    with current_folder_last():
        assert os.environ["PYTHONSAFEPATH"]
    forget_order()
    assert os.environ.get("PYTHONSAFEPATH") == before
