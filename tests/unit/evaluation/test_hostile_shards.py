"""Hostile and damaged shards: nothing in them is executed, and each is noticed and made again."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch

from benchmark.errors import BenchError
from benchmark.evaluation.execute.run import run
from benchmark.evaluation.execute.store import Store
from benchmark.records.entry import without_timing
from tests.helpers.malicious_plugins import as_pickle, as_zip
from tests.helpers.tiny_task import finished_shard, request


def signed(payload: bytes) -> bytes:
    return f"{hashlib.sha256(payload).hexdigest()}\n".encode() + payload


def header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    entry = run(request(folder, defense="none"))
    return without_timing(entry), folder


def hostile_shards(tmp_path):
    """Bytes of shards whose hash is right, and which are no shards all the same."""
    _, result, images = finished_shard()
    record = result.to_json()
    kept = {"images": images}

    def shard(record: object, tensors=kept) -> bytes:
        return signed(safetensors.torch.save(tensors, {"result": json.dumps(record)}))

    return {
        "empty": b"",
        "no payload": signed(b""),
        "a pickle": signed(as_pickle(tmp_path / "sentinel")),
        "a checkpoint": signed(as_zip(tmp_path / "sentinel")),
        "no hash": as_pickle(tmp_path / "sentinel"),
        "a header without end": signed((2**63).to_bytes(8, "little") + b"{}"),
        "a deep header": signed(header(b"[" * 100_000)),
        "no metadata": signed(safetensors.torch.save(kept)),
        "a list": shard([1, 2]),
        "a future schema": shard({**record, "schema": 99}),
        "no job": shard({k: v for k, v in record.items() if k != "job"}),
        "odd outcomes": shard({**record, "outcomes": [1]}),
        "another job's": shard(record),
        "no images": shard(record, {"other": images}),
    }


def test_hostile_and_damaged_shards_are_made_again_and_run_nothing(reference, tmp_path, caplog):
    expected, _ = reference
    run(request(tmp_path / "runs", defense="none"))
    made = sorted((tmp_path / "runs").rglob("*.shard"))
    contents = {path: path.read_bytes() for path in made}
    bad = list(hostile_shards(tmp_path).values())
    for place, path in enumerate(made):
        path.write_bytes(bad[place % len(bad)])
    assert without_timing(run(request(tmp_path / "runs", defense="none"))) == expected
    assert {path: len(path.read_bytes()) > 200 for path in made} == dict.fromkeys(made, True)
    assert not (tmp_path / "sentinel").exists()
    assert "made again" in caplog.text
    swapped = made[0], made[-1]
    swapped[0].write_bytes(contents[swapped[1]])  # whole, and another job's
    assert without_timing(run(request(tmp_path / "runs", defense="none"))) == expected


@pytest.mark.parametrize("kind", sorted(hostile_shards(Path())))
def test_each_hostile_shard_is_noticed(tmp_path, kind):
    store, (job, result, _) = Store(tmp_path / "runs"), finished_shard()
    other = replace(job, eot=2)
    path = store.path(other, result.start, result.stop)
    path.parent.mkdir(parents=True)
    path.write_bytes(hostile_shards(tmp_path)[kind])
    assert store.load(other, result.start, result.stop) is None
    assert not (tmp_path / "sentinel").exists()


def test_a_shard_cut_at_any_length_is_noticed(tmp_path):
    store, (job, result, images) = Store(tmp_path), finished_shard()
    store.save(job, result, images)
    path = store.path(job, result.start, result.stop)
    content = path.read_bytes()
    for length in {*range(0, len(content), 37), 63, 64, 65, 66, 72, 73, len(content) - 1}:
        path.write_bytes(content[:length])
        assert store.load(job, result.start, result.stop) is None, length


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{}"])
def test_a_damaged_job_description_is_mended_by_the_next_shard(tmp_path, content):
    store, (job, result, images) = Store(tmp_path), finished_shard()
    store.save(job, result, images)
    about = store.path(job, 0, 1).with_name("job.json")
    whole = about.read_bytes()
    about.write_bytes(content)
    store.save(job, result, images)
    assert about.read_bytes() == whole


def test_a_folder_in_a_shards_place_is_one_line(tmp_path):
    store, (job, result, _) = Store(tmp_path), finished_shard()
    store.path(job, result.start, result.stop).mkdir(parents=True)
    with pytest.raises(BenchError, match="move it away"):
        store.load(job, result.start, result.stop)
