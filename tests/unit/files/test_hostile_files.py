"""Hostile and damaged files: nothing in them is executed, and each is one line or made again."""

from __future__ import annotations

import io
import json
import pickle
import random
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch

from benchmark.classifiers.state import load_state
from benchmark.classifiers.zoo import load_zoo
from benchmark.classifiers.zoo_names import resolve
from benchmark.cli import main
from benchmark.datasets.npz import NpzDataset
from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.publish import entry_path, publish_folder
from benchmark.records.entry_files import read_entry, write_entry
from tests.helpers.malicious_plugins import (
    as_legacy,
    as_npz,
    as_npz_of_pickles,
    as_pickle,
    as_zip,
    mini,
    one_line,
)
from tests.helpers.sample_entries import toy

FORMS = [as_pickle, as_zip, as_legacy, as_npz, as_npz_of_pickles]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "words",
    [
        ["--model", "file:FILE@digits-cnn"],
        ["--dataset", "npz:FILE"],
        ["--defense", "atop", "--weights", "FILE"],
        ["--protocol", "FILE"],
    ],
)
def test_a_malicious_file_named_on_the_command_line_runs_nothing(
    tmp_path, monkeypatch, capfd, form, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_bytes(form(tmp_path / "sentinel"))
    chosen = [word.replace("FILE", "bad.yaml") for word in words]
    if "--defense" not in words:
        chosen += ["--defense", "none"]
    assert main(["run", *chosen]) == 2
    assert "bad.yaml" in one_line(capfd.readouterr().err)
    assert not (tmp_path / "sentinel").exists()


def test_the_bomb_is_live(tmp_path):
    pickle.loads(as_pickle(tmp_path / "sentinel"))
    assert (tmp_path / "sentinel").exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_malicious_zoo_checkpoint_runs_nothing(tmp_path, form):
    model = resolve("Standard", "cifar10")
    assert model is not None
    (file,) = model.files(tmp_path)
    file.parent.mkdir(parents=True)
    file.write_bytes(form(tmp_path / "sentinel"))
    with pytest.raises(BenchError, match=file.name):
        load_zoo(model, folder=tmp_path, device="cpu", dtype=torch.float32)
    assert not (tmp_path / "sentinel").exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_malicious_training_checkpoint_runs_nothing(tmp_path, monkeypatch, capfd, form):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.safetensors.part-checkpoint").write_bytes(form(tmp_path / "sentinel"))
    assert main(["train", "--classifier", "digits-mlp", "--out", "w.safetensors"]) == 2
    assert "w.safetensors.part-checkpoint" in one_line(capfd.readouterr().err)
    assert not (tmp_path / "sentinel").exists()


BAD_ENTRIES = {
    "empty": b"",
    "cut": b'{"schema_version": 1, "status": "comp',
    "not utf-8": b"\xff\xfe{}",
    "a future schema": b'{"schema_version": 3, "status": "complete"}',
    "a true schema": b'{"schema_version": true}',
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "NaN": b'{"schema_version": NaN}',
    "an overflow": b'{"schema_version": 1e999}',
    "a huge integer": b'{"schema_version": ' + b"9" * 5_000 + b"}",
    "a lone surrogate": b'{"schema_version": 1, "status": "\\ud800"}',
    "a pickle": pickle.dumps({"schema_version": 1}),
    "markup as key": b'{"schema_version": 1, "<script>|x": 1}',
}


@pytest.mark.parametrize("kind", BAD_ENTRIES)
def test_a_damaged_or_foreign_entry_is_one_line_and_stops_no_page(tmp_path, kind):
    good = toy("good")
    path = entry_path(tmp_path, good)
    write_entry(good, path)
    bad = path.with_name("a <b>|bad.json")
    bad.write_bytes(BAD_ENTRIES[kind])
    with pytest.raises(BenchError) as caught:
        read_entry(bad)
    assert "\n" not in str(caught.value)
    assert "bad.json" in str(caught.value)
    published = publish_folder(path.parent)
    assert [entry.defense.label for entry in published.entries] == ["good"]
    assert len(published.damaged) == 1
    assert "&lt;b&gt;&#124;bad.json" in published.page.read_text()


def test_an_entry_with_a_forged_rate_is_refused(tmp_path):
    path = tmp_path / "forged.json"
    write_entry(toy("forged"), path)
    values = json.loads(path.read_text())
    values["worst"]["single"] = {"value": 1.0, "low": 0.9, "high": 1.0}
    path.write_text(json.dumps(values))
    with pytest.raises(BenchError, match="is not the mean of its outcomes"):
        read_entry(path)


def test_damage_everywhere_in_a_finished_run_ends_in_the_same_page(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    words = [*mini(tmp_path), "--defense", "none", "--workers", "1"]
    assert main(words) == 0
    expected = capfd.readouterr().out
    for path in [*tmp_path.rglob("runs/**/*"), *tmp_path.rglob("results/**/*")]:
        if path.is_file():
            path.write_bytes(b'{"')
    assert main(words) == 0
    assert without_seconds(capfd.readouterr().out) == without_seconds(expected)


def without_seconds(table):
    """What stands before the interval, in words: seconds come after it, and decide the columns' width."""
    return [line.split("(")[0].split() for line in table.splitlines()]


def changed(content: bytes, seed: int) -> bytes:
    """The bytes with a few of them changed, and now and then cut."""
    rng = random.Random(seed)
    out = bytearray(content)
    for _ in range(rng.choice([1, 2, 5])):
        out[rng.randrange(len(out))] = rng.choice(b"(){}[]'\"<>|0123456789, :\x00\xff\\abO.")
    return bytes(out[: rng.randrange(1, len(out)) if rng.random() < 0.2 else len(out)])


def zip_of(header: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("images.npy", header)
        archive.writestr("labels.npy", header)
    return content.getvalue()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle", "npz", "npy", "safetensors"])
def test_bytes_changed_at_random_are_read_or_refused_in_one_line(tmp_path, kind):
    tensors = {"a": torch.ones(3), "b": torch.arange(2)}
    zipped, legacy, arrays, array = (io.BytesIO() for _ in range(4))
    torch.save(tensors, zipped)
    torch.save(tensors, legacy, _use_new_zipfile_serialization=False)
    np.savez(arrays, images=np.zeros((2, 3, 3), np.uint8), labels=np.arange(2))
    np.save(array, np.zeros((2, 3, 3), np.uint8))
    content = {
        "zip": zipped.getvalue(),
        "legacy": legacy.getvalue(),
        "pickle": pickle.dumps({"a": 1, "b": [2.5, "x"]}),
        "npz": arrays.getvalue(),
        "npy": array.getvalue(),
        "safetensors": safetensors.torch.save(tensors),
    }[kind]
    path = tmp_path / "file"
    refused = 0
    for seed in range(300):
        bad = changed(content, seed)
        path.write_bytes(zip_of(bad) if kind == "npy" else bad)
        try:
            if kind in ("npz", "npy"):
                NpzDataset(folder=tmp_path, file=path)
            else:
                load_state(path)
        except BenchError as error:
            refused += "\n" not in str(error)
    assert refused > 20


@pytest.mark.parametrize("shape", ["99999999999999,", "9999999999999999999999,", "-1,"])
def test_an_array_that_promises_more_than_there_is_is_one_line(tmp_path, shape):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({shape}), }}".ljust(117) + "\n"
    header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    (tmp_path / "file").write_bytes(zip_of(header))
    with pytest.raises(BenchError, match="cannot be read"):
        NpzDataset(folder=tmp_path, file=tmp_path / "file")
