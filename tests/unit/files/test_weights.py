"""Weights files: found in the stated order, refused in one line, written whole."""

import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

from benchmark.classifiers.state import load_state
from benchmark.errors import BenchError
from benchmark.files.known_hashes import file_sha256
from benchmark.files.manifest import NAME
from benchmark.files.weights import (
    default_weights_path,
    file_name,
    find_weights,
    finds_unnamed,
    load_safetensors,
    save_safetensors,
)

NAMES = {"label": "atop[digits]", "classifier": "digits-cnn", "dataset": "digits"}
FILE = "atop[digits]--digits-cnn--digits.safetensors"


@pytest.fixture
def defense_class(tmp_path, monkeypatch):
    """A class whose module lies in a folder of its own, where weights may ship."""
    module = ModuleType("shipped_defense")
    module.__file__ = str(tmp_path / "plugin" / "defense.py")
    monkeypatch.setitem(sys.modules, "shipped_defense", module)
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "user"))
    return type("Shipped", (), {"__module__": "shipped_defense"})


def put(path: Path, value: float = 1.0) -> Path:
    save_safetensors({"w": torch.full((2,), value)}, path)
    return path


def test_weights_are_the_named_file_else_the_shipped_else_the_users(defense_class, tmp_path):
    assert find_weights(defense_class, **NAMES) is None
    own = put(default_weights_path(**NAMES))
    assert own == tmp_path / "user" / FILE
    assert find_weights(defense_class, **NAMES) == own
    shipped = put(tmp_path / "plugin" / "weights" / FILE)
    assert find_weights(defense_class, **NAMES) == shipped
    named = put(tmp_path / "named.safetensors")
    assert find_weights(defense_class, **NAMES, explicit=named) == named
    with pytest.raises(BenchError, match="no weights file"):
        find_weights(defense_class, **NAMES, explicit=tmp_path / "missing.safetensors")


def test_weights_need_no_naming_where_they_are_the_ones_that_are_found(defense_class, tmp_path):
    own = default_weights_path(**NAMES)
    assert not finds_unnamed(own, defense_class, **NAMES)
    put(own)
    elsewhere = put(tmp_path / "named.safetensors")
    assert finds_unnamed(own, defense_class, **NAMES)
    assert not finds_unnamed(elsewhere, defense_class, **NAMES)
    shipped = put(tmp_path / "plugin" / "weights" / FILE)
    assert not finds_unnamed(own, defense_class, **NAMES)
    assert finds_unnamed(shipped, defense_class, **NAMES)


def test_weights_of_a_listed_name_are_named_and_nothing_is_fetched(defense_class, tmp_path):
    own = put(default_weights_path(**NAMES))
    entry = {
        "kind": "defense",
        **NAMES,
        "file": "w.safetensors",
        "urls": ["https://example.invalid/w.safetensors"],
        "sha256": "0" * 64,
        "bytes": 8,
        "licence": "MIT",
        "source": "nobody",
    }
    manifest = tmp_path / "plugin" / "weights" / NAME
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"schema_version": 1, "weights": [entry]}))
    assert not finds_unnamed(own, defense_class, **NAMES)


def test_without_a_chosen_folder_weights_go_to_the_platforms_cache(monkeypatch):
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)
    assert default_weights_path(**NAMES).parts[-3:] == ("purifybench", "weights", FILE)


@pytest.mark.parametrize(
    "name", ["file:/a/b.pt@x", "../../etc", "a\\b", "", ".", "n\0l", "x" * 300]
)
def test_no_name_leaves_the_folder(name):
    made = file_name(label="l", classifier=name, dataset="d")
    assert Path(made).name == made
    assert "\\" not in made
    assert "\0" not in made
    assert len(made) < 255


def test_names_that_differ_only_in_separators_do_not_share_a_file():
    names = {file_name(label="l", classifier=c, dataset="d") for c in ("a/b", "a-b", "a:b")}
    assert len(names) == 3


def test_tensors_come_back_cast_but_counters_keep_their_type(tmp_path):
    path = tmp_path / "w.safetensors"
    save_safetensors({"w": torch.tensor([0.5, 1.0]), "n": torch.tensor(3)}, path)
    found = load_safetensors(path, "cpu", torch.float64)
    assert found["w"].dtype == torch.float64
    assert found["n"].dtype == torch.int64
    assert found["w"].tolist() == [0.5, 1.0]


@pytest.mark.parametrize("kind", ["missing", "empty", "html", "pickle", "truncated", "noise"])
def test_what_is_no_whole_safetensors_file_is_one_clear_line(tmp_path, kind):
    path = tmp_path / "w.safetensors"
    if kind == "pickle":
        torch.save({"w": torch.ones(3)}, path)
    elif kind == "truncated":
        save_file({"w": torch.ones(300)}, path)
        path.write_bytes(path.read_bytes()[:400])
    elif kind != "missing":
        path.write_bytes({"empty": b"", "html": b"\n<!DOCTYPE html><p>", "noise": b"0" * 99}[kind])
    with pytest.raises(BenchError) as caught:
        load_safetensors(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = put(tmp_path / "w.safetensors")
    before = file_sha256(path)

    def interrupted(_handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmark.files.atomic.os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put(path, 2.0)
    assert file_sha256(path) == before
    assert os.listdir(tmp_path) == ["w.safetensors"]  # noqa: PTH208


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="can be written"):
        put(tmp_path / "file" / "w.safetensors")


@pytest.mark.parametrize("beginning", [b"\x80", b"PK"])
def test_a_header_as_long_as_a_pickle_begins_is_still_safetensors(tmp_path, beginning):
    path = tmp_path / "w.safetensors"
    wanted = int.from_bytes(beginning.ljust(8, b"\0"), "little")
    while wanted % 8:  # a header is filled up to a multiple of 8 bytes
        wanted += 1 << 16
    header = b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path.write_bytes(wanted.to_bytes(8, "little") + header.ljust(wanted) + b"\0\0\x80\x3f")
    assert path.read_bytes().startswith(beginning)
    assert load_safetensors(path)["x"].tolist() == [1.0]
    assert load_state(path)["x"].tolist() == [1.0]
