"""What all tests share: one thread each, the real data where it is, no CUDA where there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # the suite runs in as many processes as there are cores
os.environ.setdefault("OMP_NUM_THREADS", "1")  # so do the processes that tests start
os.fsync = lambda _file: None  # no test cuts the power


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)  # long ones first
    if torch.cuda.is_available():
        return
    for item in items:
        if "cuda" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real datasets."""
    folder = os.environ.get("BENCH_DATA")
    if not folder:
        pytest.skip("BENCH_DATA names no folder of real datasets")
    return Path(folder)


@pytest.fixture(autouse=True)
def no_folders_of_the_user(tmp_path_factory, monkeypatch):
    """Trained weights and caches of whoever runs the tests neither help nor suffer."""
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path_factory.mktemp("weights")))
    monkeypatch.setenv("BENCH_STATIC", str(tmp_path_factory.mktemp("static")))
