"""The pages of docs/: their examples are run as they stand, and what they link to is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from benchmark.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")])
FILES = re.compile(r"```(?:python|yaml)\n# (\S+\.(?:py|yaml))\n(.*?)```", re.DOTALL)
RUNS = re.compile(r"<!-- runs -->\n```bash\n(.*?)```", re.DOTALL)
LINKS = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_finds_it(page):
    for link in LINKS.findall(page.read_text()):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link


@pytest.mark.parametrize(
    "page", [page for page in PAGES if RUNS.search(page.read_text())], ids=lambda page: page.name
)
def test_the_examples_of_a_page_run(page, tmp_path, monkeypatch):
    text = page.read_text()
    for name, content in FILES.findall(text):
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    commands = [
        shlex.split(line, comments=True)
        for block in RUNS.findall(text)
        for line in block.splitlines()
    ]
    assert commands
    for words in commands:
        assert words[0] == "bench"
        assert main(words[1:]) == 0, shlex.join(words)
