"""The README: its commands are there once, its example of a purifier keeps its contract and is evaluated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark.cli import main

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def test_there_is_exactly_one_run_and_one_test_command():
    for name in ("run", "test"):
        blocks = re.findall(rf"<!-- {name} -->\n```bash\n(.+)\n```", README)
        assert len(blocks) == 1
        assert "\n" not in blocks[0]


@pytest.fixture
def example(tmp_path, monkeypatch):
    code = re.search(r"```python\n# my_pkg.py\n(.*?)```", README, re.DOTALL)
    assert code is not None
    (tmp_path / "my_pkg.py").write_text(code.group(1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "my_pkg:Blur"


def test_the_example_keeps_the_contract(example, capsys):
    assert main(["check", example]) == 0
    assert "16 passed, 0 failed" in capsys.readouterr().out


@pytest.mark.slow
def test_the_example_is_evaluated_in_worker_processes(example, capsys):
    assert main(["run", "--defense", example, "--samples", "4", "--workers", "2"]) == 0
    assert "blur" in capsys.readouterr().out


def test_no_placeholder_is_left():
    assert "@@" not in README
