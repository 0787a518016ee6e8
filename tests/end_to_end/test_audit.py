"""`bench audit` as a person uses it: an entry that a run made, asked again and attacked anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.records.entry_files import kept_path, read_entry

pytestmark = pytest.mark.slow

PROTOCOL = """
name: short
version: 1
summary: enough steps to find what there is in front of an undefended classifier
samples: 10
shard_size: 5
criterion: {draws: 8, vote: 4, any_of: 4}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [best],
     arguments: {steps: 40, step_size: 0.25, loss: margin}}
"""
BOARDS = Path("results/digits/linf-0.15")


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    """A folder with an entry whose run kept its images."""
    folder = tmp_path_factory.mktemp("boards")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("short.yaml").write_text(PROTOCOL)
        words = ["run", "--defense", "none", "--protocol", "short.yaml", "--keep-images", "worst"]
        assert main([*words, "--workers", "1", "--device", "cpu"]) == 0
    return folder


@pytest.fixture
def entry(boards, tmp_path, monkeypatch):
    """The entry's file, in a copy of that folder."""
    shutil.copytree(boards, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (path,) = BOARDS.glob("none--*.json")
    return path


def audit(entry: Path, *words: str) -> int:
    return main(["audit", str(entry), "--device", "cpu", *words])


def test_an_honest_entry_is_confirmed_both_ways_written_marked_and_adopted_where_that_is_said(
    entry, capsys
):
    words = ("--again", "4", "--seed", "7", "--by", "Ada", "--json")
    assert audit(entry, *words, "--write") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["replayed"] == {
        "kept": "worst",
        "confirmed": 10,
        "within_rounding": 0,
        "contradicted": 0,
    }
    assert found["again"]["agreed"] + found["again"]["stood"] == 4
    assert "✓ none on digits-cnn: audited" in (BOARDS / "README.md").read_text()
    assert main(["validate", str(entry)]) == 0
    for more, is_kept in (([], False), (["--audited"], True)):
        assert main(["adopt", str(entry), "--into", "boards", *more]) == 0
        adopted = Path("boards/digits/linf-0.15") / entry.name
        assert (read_entry(adopted).audit is not None) is is_kept
        assert kept_path(adopted).read_bytes() == kept_path(entry).read_bytes()


def test_a_fresh_seed_is_said_so_that_an_audit_can_be_resumed(entry, capsys):
    assert audit(entry, "--again", "1") in (0, 1)
    assert "from --seed" in capsys.readouterr().err


def test_another_file_in_the_place_of_the_kept_images_is_status_2(entry, capsys):
    content = kept_path(entry).read_bytes()
    kept_path(entry).write_bytes(content[:-1] + b"?")
    assert audit(entry) == 2
    assert "is not the file of kept images that the entry names" in capsys.readouterr().err
    assert main(["validate", str(entry)]) == 2
    Path("mine.npz").write_bytes(content)
    assert audit(entry, "--images", "mine.npz") == 0


def test_another_classifier_is_status_2_in_one_line(entry, capsys):
    values = json.loads(entry.read_text())
    values["classifier"]["sha256"] = "0" * 64
    entry.write_text(json.dumps(values))
    assert audit(entry) == 2
    assert (
        "the classifier 'digits-cnn' is to have the sha256 000000000000" in capsys.readouterr().err
    )


def test_without_kept_images_an_audit_needs_images_attacked_anew(entry, capsys):
    kept_path(entry).unlink()
    assert audit(entry) == 2
    assert "expected the kept images of the entry at" in capsys.readouterr().err
    assert audit(entry, "--again", "2", "--seed", "7") == 0
    assert "of the clean images alone" in capsys.readouterr().out
