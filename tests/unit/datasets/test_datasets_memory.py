"""Loading by index: a shard opens its own files, nothing is decoded for nothing, memory stays flat."""

import os
from pathlib import Path

import pytest
import torch

from benchmark.datasets import folder as folders
from benchmark.datasets.folder import read_image
from benchmark.datasets.given import Given
from benchmark.datasets.imagenet import ImageNet
from benchmark.evaluation.execute.run import Listener, run
from tests.helpers.image_folders import imagenet_wnids, put_imagenet
from tests.helpers.tiny_task import dataset as tiny_dataset
from tests.helpers.tiny_task import request


def many(tmp_path, n) -> ImageNet:
    """ImageNet with n images, which are links to eight files."""
    wnids = imagenet_wnids()
    val = put_imagenet(tmp_path, [f"{wnids[i]}/ILSVRC2012_val_{i:08d}.JPEG" for i in range(8)])
    seeds = sorted(val.rglob("*.JPEG"))
    for i in range(8, n):
        link = val / wnids[i % 1000] / f"ILSVRC2012_val_{i:08d}.JPEG"
        link.parent.mkdir(exist_ok=True)
        os.link(seeds[i % 8], link)
    return ImageNet(folder=tmp_path)


def test_a_shard_opens_its_own_files_and_no_other(tmp_path, monkeypatch):
    dataset = many(tmp_path, 64)
    opened = []

    def noted(path, mode):
        opened.append(path.name)
        return read_image(path, mode=mode)

    monkeypatch.setattr(folders, "read_image", noted)
    order = dataset.order("test")
    assert opened == []
    wanted = order[:5]
    dataset.images("test", wanted)
    listing = dataset.listing("test")
    assert opened == [Path(listing.paths[int(i)]).name for i in wanted]


def test_the_folder_is_listed_once(tmp_path, monkeypatch):
    dataset = many(tmp_path, 16)
    dataset.labels("test")
    monkeypatch.setattr(folders.os, "scandir", None)
    assert len(dataset.labels("test")) == 16
    assert dataset.images("test", torch.tensor([3])).shape == (1, 3, 224, 224)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc to read memory from")
def test_memory_stays_flat_over_many_images(tmp_path):
    """600 images of 602 kB each are 361 MB; what stays in memory is a shard."""
    dataset = many(tmp_path, 600)
    order = dataset.order("test")

    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    seen = []
    for start in range(0, 600, 20):
        assert dataset.images("test", order[start : start + 20]).shape == (20, 3, 224, 224)
        seen.append(resident())
    assert max(seen[5:]) - seen[4] < 20 * 2**20


class Counting(Given):
    """Counts how often it is asked for images; a copy of it counts on."""

    asked: list[int]

    def images(self, split, indices):
        self.asked.append(len(indices))
        return super().images(split, indices)


@pytest.fixture
def counting():
    tiny = tiny_dataset()
    made = Counting(images=tiny._images, labels=tiny._labels, classes=tiny.classes, title=tiny.name)
    made.asked = []  # of this one and its copies: what a class holds is part of its identity
    return made


def test_images_are_decoded_for_a_job_and_not_once_more_before_a_run(counting, tmp_path):
    cached = []
    listener = Listener(on_done=lambda task, result, was: cached.append(was))
    run(request(tmp_path, dataset=counting), listener)
    named, probed, measured, fingerprint, examined, searched = 1, 1, 1, 1, 1, 1
    assert not any(cached)
    before = named + probed + measured + fingerprint + examined + searched
    assert len(counting.asked) == before + len(cached)


def test_what_is_done_is_compared_with_each_shards_images_once(counting, tmp_path):
    run(request(tmp_path, dataset=counting))
    counting.asked.clear()
    cached = []
    listener = Listener(on_done=lambda task, result, was: cached.append(was))
    run(request(tmp_path, dataset=counting), listener)
    probed, measured, fingerprint, shards = 1, 1, 1, 3
    assert all(cached)
    assert len(cached) > shards
    assert len(counting.asked) == probed + measured + fingerprint + shards
