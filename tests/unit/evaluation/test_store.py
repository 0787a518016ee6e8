"""The store: a shard is whole or not there, and a damaged one is noticed."""

import logging

import pytest
import torch

from benchmark.errors import BenchError
from benchmark.evaluation.execute.shard_queue import shards_of
from benchmark.evaluation.execute.store import Store
from benchmark.records.result import Result, Status
from tests.helpers.tiny_task import finished_shard


@pytest.fixture
def shard(tmp_path):
    store = Store(tmp_path / "runs")
    job, result, images = finished_shard()
    store.save(job, result, images)
    return store, job, result, images


def test_a_shard_comes_back_as_it_was(shard):
    store, job, result, images = shard
    assert store.load(job, result.start, result.stop) == result
    assert torch.equal(store.images(job, result.start, result.stop), images)


def test_a_shard_that_is_not_there_is_none_and_its_images_are_one_clear_line(shard):
    store, job, result, _ = shard
    assert store.load(job, result.stop, result.stop + 1) is None
    with pytest.raises(BenchError, match="expected a finished shard"):
        store.images(job, result.stop, result.stop + 1)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.999])
def test_one_flipped_bit_anywhere_is_noticed(shard, place, caplog):
    store, job, result, _ = shard
    path = store.path(job, result.start, result.stop)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(bytes(content))
    with caplog.at_level(logging.WARNING):
        assert store.load(job, result.start, result.stop) is None
    assert "damaged" in caplog.text


@pytest.mark.parametrize("length", [0, 1, 64, 65, 200])
def test_a_truncated_shard_is_noticed(shard, length):
    store, job, result, _ = shard
    path = store.path(job, result.start, result.stop)
    path.write_bytes(path.read_bytes()[:length])
    assert store.load(job, result.start, result.stop) is None


def test_a_record_of_another_schema_is_made_again(shard, monkeypatch, caplog):
    store, job, result, images = shard
    monkeypatch.setattr("benchmark.records.result.SCHEMA", 99)
    store.save(job, result, images)
    monkeypatch.undo()
    with caplog.at_level(logging.WARNING):
        assert store.load(job, result.start, result.stop) is None
    assert "schema" in caplog.text


def test_a_failed_result_is_never_kept(shard):
    store, job, _, images = shard
    failed = Result(job=job.key, start=0, stop=4, status=Status.FAILED, error="boom")
    with pytest.raises(ValueError, match="never be tried again"):
        store.save(job, failed, images)


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    job, result, images = finished_shard()
    with pytest.raises(BenchError, match="cannot write"):
        Store(tmp_path / "file" / "runs").save(job, result, images)


def test_nothing_but_whole_files_is_left_when_the_disk_is_full(tmp_path, monkeypatch):
    job, result, images = finished_shard()

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("benchmark.files.atomic.os.fsync", full)
    with pytest.raises(BenchError, match="No space left"):
        Store(tmp_path).save(job, result, images)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_shards_have_fixed_boundaries_so_that_more_samples_reuse_what_is_done():
    from tests.helpers.tiny_task import one_row

    few = [(t.start, t.stop) for t in shards_of([one_row()], 8, 4)]
    more = [(t.start, t.stop) for t in shards_of([one_row()], 14, 4)]
    assert few == [(0, 4), (4, 8)]
    assert more[:2] == few
    assert more[2:] == [(8, 12), (12, 14)]
