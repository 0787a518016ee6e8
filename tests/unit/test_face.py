"""What `from benchmark import ...` offers: what the pages teach, typed, and imported on first use alone."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from mypy import api

import benchmark
from tests.helpers.doc_pages import PAGES, ROOT, blocks_of

OFFERED = benchmark.__all__


def test_every_name_can_be_had_and_is_listed():
    assert set(OFFERED) <= set(dir(benchmark))
    for name in OFFERED:
        assert getattr(benchmark, name).__name__ == name
    with pytest.raises(AttributeError, match="Defence"):
        _ = benchmark.Defence


def test_a_function_is_not_hidden_by_the_module_of_its_name():
    from benchmark.engine.victims.checkpointed import iterated

    assert benchmark.iterated is iterated


def test_the_reference_shows_all_of_it_and_nothing_else():
    shown = re.findall(r"auto\w+:: benchmark\.([\w.]+)$", (ROOT / "docs/api.md").read_text(), re.M)
    assert sorted(shown) == sorted(OFFERED)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_import_from_benchmark_alone(page):
    taught = [
        line
        for block in blocks_of(page)
        for line in block.text.splitlines()
        if re.match(r"\s*(from|import) benchmark\b", line)
    ]
    assert [
        line for line in taught if not re.match(r"from benchmark import|import benchmark$", line)
    ] == []


@pytest.mark.slow
def test_it_is_typed_for_whoever_checks_a_plugin(tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from torch import Tensor\n"
        "from benchmark import Defense, Derivative, Draws\n\n"
        "class Mine(Defense):\n"
        '    name = "mine"\n'
        "    gradient = Derivative.EXACT\n\n"
        "    def purify(self, x: Tensor, *, draws: Draws) -> Tensor:\n"
        "        reveal_type(Derivative.EXACT)\n"
        "        return x\n"
    )
    options = ["--strict", "--follow-imports=silent", "--ignore-missing-imports"]
    said, _, status = api.run([*options, "--cache-dir", str(tmp_path), str(plugin)])
    assert status == 0, said
    assert "benchmark.engine.victims.defense.Derivative" in said


@pytest.mark.slow
def test_torch_is_imported_when_a_name_is_used():
    code = """
import sys, benchmark
assert "torch" not in sys.modules
for _ in range(2):
    assert benchmark.evaluate.__name__ == "evaluate"
    assert benchmark.Request(defense="none").defense == "none"
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
