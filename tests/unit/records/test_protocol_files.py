"""Published protocols: every version that ever shipped is kept, and entries of any of them find theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.records.protocol import Protocol
from benchmark.records.protocol_files import (
    ARCHIVE,
    PUBLISHED,
    load_protocol,
    protocol_names,
    published,
    versions,
)

LINES = [line.split() for line in PUBLISHED.read_text().splitlines()]
BOARDS = Path(__file__).resolve().parents[3] / "leaderboards"


def test_every_published_version_is_kept_to_the_letter():
    for name, version, sha256, content in LINES:
        found = published(name, sha256, content=content)
        assert found is not None, (name, sha256)
        assert found.version == int(version)


@pytest.mark.parametrize("name", protocol_names())
def test_what_ships_now_is_published(name):
    now = load_protocol(name)
    line = [name, str(now.version), now.sha256(), now.content_sha256()]
    assert line in LINES, (
        f"add to {PUBLISHED}: {' '.join(line)}; and keep the former text in {ARCHIVE}"
    )


def test_every_file_of_the_archive_is_a_version_that_was_published():
    for path in ARCHIVE.glob("*.yaml"):
        name = path.name.partition("-v")[0]
        assert any(path.stem.split("-v")[1].split("-")[1] in one.sha256() for one in versions(name))
        assert path.stem.startswith(f"{name}-v")


def test_every_committed_entry_names_a_published_protocol():
    named = {
        (about["name"], about["sha256"])
        for path in BOARDS.glob("*/*/*.json")
        for about in [json.loads(path.read_text())["protocol"]]
    }
    assert named
    assert [name for name, sha256 in named if published(name, sha256) is None] == []


def test_a_task_of_few_classes_finds_its_version():
    few = load_protocol("standard").for_classes(2)
    assert few.sha256() != load_protocol("standard").sha256()
    assert published("standard", few.sha256(), classes=2) == few
    assert published("standard", few.sha256(), classes=10) is None
    assert published("nobodys", few.sha256()) is None


@pytest.mark.parametrize("name", ["quick", "standard", "aid-table8"])
def test_a_protocol_comes_back_from_its_content(name):
    own = load_protocol(name)
    again = Protocol.model_validate(json.loads(json.dumps(own.content())))
    assert (again.sha256(), again.content_sha256()) == (own.sha256(), own.content_sha256())


def test_a_diagnosis_is_no_part_of_what_is_ranked_and_one_of_the_content():
    own = load_protocol("quick")
    other = own.model_copy(update={"diagnosis": None})
    assert other.sha256() == own.sha256()
    assert other.content_sha256() != own.content_sha256()
    prose = own.model_copy(update={"summary": "in other words"})
    assert prose.content_sha256() == own.content_sha256()
