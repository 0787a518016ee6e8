"""What `from benchmark import ...` offers: what the pages teach, imported on first use alone.

That it is typed, mypy says of `tests/typed`.
"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

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
def test_torch_is_imported_when_a_name_is_used():
    code = """
import sys, benchmark
assert "torch" not in sys.modules
for _ in range(2):
    assert benchmark.evaluate.__name__ == "evaluate"
    assert benchmark.Request(defense="none").defense == "none"
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
