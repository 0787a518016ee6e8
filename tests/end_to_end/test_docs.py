"""The pages: each block of code is run, held, or marked with why it cannot run; each link leads somewhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest
import yaml

import benchmark.evaluation.execute.evaluate
from benchmark.errors import BenchError
from benchmark.evaluation.execute.run import run
from benchmark.files.manifest import Manifest
from benchmark.files.parsing import read_model
from benchmark.records.protocol import Protocol
from benchmark.records.protocol_files import parse_protocol
from tests.helpers.doc_commands import give, hold_protocol, hold_request, parse
from tests.helpers.doc_pages import (
    OUTPUTS,
    PAGES,
    ROOT,
    SHELLS,
    Block,
    anchors_of,
    blocks_of,
    links_of,
)

DIRECTIVES = frozenset({"{eval-rst}"})
"""Fences that the documentation site fills from the code."""
NOT_RUN = {
    ("CONTRIBUTING.md", "clones and installs; .ci/run does the same on a fresh clone"),
}
"""All blocks that are neither run nor held, with why."""
MARKED = {("README.md", "run"), ("README.md", "test")}
"""Blocks that README.md is read by: `.ci/run` gives the test command as it stands."""
SMALL = """
name: small
version: 1
summary: a step or two
samples: 2
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [best], arguments: {steps: 2}}
"""
LINKING = sorted({*PAGES, *ROOT.glob("*.md")})


def named(page):
    return page.name


@pytest.mark.parametrize("page", LINKING, ids=named)
def test_every_link_finds_its_file_and_its_anchor(page):
    for link in links_of(page):
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target), f"{link}: no heading makes this anchor"


def test_an_anchor_that_is_not_there_is_missed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One\n\n## What `bench run` does, twice\n\n## One\n\nsee [it](#one-2)\n")
    assert anchors_of(page) == {"one", "what-bench-run-does-twice", "one-1"}
    assert links_of(page) == ["#one-2"]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder to work in as a reader does: with the leaderboards, and his own files importable."""
    for name in ("leaderboards", "benchmark/classifiers/weights"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "leaderboards" / "digits", tmp_path / "results" / "digits")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(900)  # the tutorial has two whole evaluations: a minute on an idle core
@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_of_a_page_is_run_or_held(page, desk, monkeypatch):
    blocks = blocks_of(page)
    for block in blocks:
        if block.name:
            (desk / block.name).write_text(block.text)
    for block in blocks:
        try:
            see_to(block, monkeypatch)
        except (AssertionError, BenchError, SystemExit) as error:
            pytest.fail(f"{block.where}: {error}\n{block.text}")


def see_to(block: Block, monkeypatch):
    """Runs or holds a block, by its language."""
    if block.reason:
        return
    if block.language in SHELLS:
        for words in block.commands():
            give(words, is_run=block.mark == "runs", monkeypatch=monkeypatch)
    elif block.language == "python":
        run_python(block, monkeypatch)
    elif block.language == "yaml":
        hold_yaml(block, monkeypatch)
    elif block.language == "json":
        json.loads(block.text)
    else:
        assert block.language in OUTPUTS | DIRECTIVES, f"no one knows the language {block.language}"


def run_python(block: Block, monkeypatch):
    """Executes a block; what it evaluates is looked up as it stands, and then evaluated on two images."""

    def on_two_images(request, listener):
        hold_request(request)
        small = parse_protocol(SMALL.encode(), where="small")
        return run(
            type(request)(
                defense=request.defense,
                model=request.model,
                dataset=request.dataset,
                threat=request.threat,
                protocol=small,
                workers=1,
            ),
            listener,
        )

    with monkeypatch.context() as patch, warnings.catch_warnings():
        patch.setattr(benchmark.evaluation.execute.evaluate, "run", on_two_images)
        warnings.simplefilter("ignore")  # other people's libraries may
        exec(compile(block.text, block.where, "exec"), {"__name__": block.name or "page"})


def hold_yaml(block: Block, monkeypatch):
    """Reads a file with what the project reads it with; a part of a protocol within a small one."""
    content = yaml.safe_load(block.text)
    if isinstance(content, list) or "attacks" not in content:
        content = hold_part(block, content, monkeypatch)
        if content is None:
            return
    hold_protocol(read_model(yaml.safe_dump(content).encode(), Protocol, where=block.where))


def hold_part(block: Block, content, monkeypatch):
    """A protocol out of a part of one; None for what is no protocol, and held here."""
    small = yaml.safe_load(SMALL)
    if isinstance(content, list):
        return small | {"attacks": small["attacks"] + content}
    if "jobs" in content:
        hold_workflow(block, content, monkeypatch)
        return None
    if "weights" in content:
        read_model(block.text.encode(), Manifest, where=block.where)
        return None
    return small | content


def hold_workflow(block: Block, workflow, monkeypatch):
    """A workflow of GitHub's: its jobs have steps, whose commands are held."""
    assert {"jobs", True} <= set(workflow), "YAML reads the word `on` as true"
    for job in workflow["jobs"].values():
        assert job["runs-on"]
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            shown = Block(block.page, block.line, "bash", step.get("run", ""), "", "")
            for words in shown.commands():
                give(words, is_run=False, monkeypatch=monkeypatch)


def test_the_blocks_that_cannot_run_are_few_and_known():
    marked = {(b.page.name, b.reason) for page in PAGES for b in blocks_of(page) if b.reason}
    assert marked == NOT_RUN


def test_marks_stand_where_they_are_read():
    found = {(b.page.name, b.mark) for page in PAGES for b in blocks_of(page) if b.mark}
    assert {(page, mark) for page, mark in found if mark in ("run", "test")} == MARKED
    for page in PAGES:
        marks = [line for line in page.read_text().splitlines() if line.startswith("<!-- ")]
        assert len(marks) == sum(bool(block.mark) for block in blocks_of(page)), page.name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bench run --defense nois", "status"),
        ("bench run --no-such-option", "status"),
        ("bench run --defense jpeg --defense-arg qality=3", "status"),
        ("bench run --defense atop --model digits-nope", "status"),
        ("bench run --protocol nowhere.yaml", "status"),
        ("bench train --defense hgd --recipe-arg stps=3", "status"),
        ("bench table leaderboards --format html", "status"),
        ("bench fly", "status"),
        ("python -m tests.nowhere", "no module"),
        ("rm -rf everything", "no program"),
    ],
)
def test_a_command_that_does_not_work_is_found(text, said, desk, monkeypatch):
    block = Block(Path("page.md"), 1, "bash", f"{text}\n", "", "")
    with pytest.raises((AssertionError, pytest.fail.Exception)) as caught:
        see_to(block, monkeypatch)
    assert said in str(caught.value) or said == "status"


def test_a_language_that_nobody_holds_is_found(monkeypatch):
    with pytest.raises(AssertionError, match="rust"):
        see_to(Block(Path("page.md"), 1, "rust", "fn main() {}", "", ""), monkeypatch)


WRITES = frozenset({"results", "runs", "into", "out"})
"""Options that name what a command writes."""


def written_by(words):
    """What a `bench` command writes, as its options and their defaults say it; a challenge writes its entry."""
    context = parse(words)
    values = context.params
    found = [Path(values[name]) for name in WRITES if values.get(name)]
    if context.command.name == "challenge" and not values["dry_run"]:
        found.append(values["entry"])
    if context.command.name == "claims":
        return []
    return found


def test_no_command_of_a_page_writes_where_git_tracks_files():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    tracked = {Path(line).parts[0] for line in listed.stdout.splitlines()}
    commands = [
        (block.where, words[1:])
        for page in PAGES
        for block in blocks_of(page)
        if block.language in SHELLS
        for words in block.commands()
        if words[0].endswith("bench")
    ]
    assert len(commands) > 100
    for where, words in commands:
        filled = [word.replace("$SLURM_ARRAY_TASK_ID", "1") for word in words]
        for path in written_by(filled):
            assert path.parts[0] not in tracked, f"{where}: bench {' '.join(words)} writes {path}"
