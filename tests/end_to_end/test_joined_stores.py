"""Two machines' stores joined: other threads and other convolution kernels set no finished shard aside."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.evaluation.execute.run import Listener, run, run_slice
from benchmark.evaluation.prepare.request import Request
from benchmark.evaluation.prepare.slices import Slice
from benchmark.records.protocol_files import parse_protocol

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
VICTIMS = ("none", "jpeg", "gaussian", "aid", "atop", "hgd", "advae", "add")
PROTOCOL = b"""
name: joined
version: 1
summary: a job of each kind, on few images
samples: 2
shard_size: 1
criterion: {draws: 1, vote: 1, any_of: 1}
sources:
  - {id: made, attack: pgd, against: bare, arguments: {steps: 1, loss: margin, keep: max_margin}}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: oblivious, column: oblivious, knowledge: oblivious, attack: transfer, sources: [made]}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [exact, bpda],
     arguments: {steps: 1}}
"""
MACHINES = {
    "own kernels, 1 thread": ({"OMP_NUM_THREADS": "1"}, ""),
    "no oneDNN, 2 threads": (
        {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive", "ATEN_CPU_CAPABILITY": "default"},
        "torch.backends.mkldnn.set_flags(False)",
    ),
    "old oneDNN, 1 thread": ({"OMP_NUM_THREADS": "1", "ONEDNN_MAX_CPU_ISA": "SSE41"}, ""),
}
"""Machines by what computes in them: variables, and what their process does first."""
SLICE = """
import sys, torch
{first}
from tests.end_to_end.test_joined_stores import VICTIMS, slice_of
for defense in VICTIMS:
    slice_of(sys.argv[1], defense, int(sys.argv[2]))
"""


def asked(folder, defense, **changes):
    return Request(
        defense=defense,
        dataset="digits",
        protocol=parse_protocol(PROTOCOL, where="joined"),
        runs=Path(folder),
        device="cpu",
        workers=1,
        **changes,
    )


def slice_of(folder, defense, k):
    run_slice(asked(folder, defense, slice=Slice(k, 2)))


def compute(folder, machine, k):
    variables, first = MACHINES[machine]
    words = [sys.executable, "-c", SLICE.format(first=first), str(folder), str(k)]
    subprocess.run(words, check=True, cwd=ROOT, env={**os.environ, **variables}, timeout=900)


@pytest.fixture(scope="module")
def first_half(tmp_path_factory):
    """The store of one machine that has done its half."""
    folder = tmp_path_factory.mktemp("stores") / "first"
    compute(folder, next(iter(MACHINES)), 1)
    return folder


@pytest.mark.parametrize("other", list(MACHINES)[1:])
def test_stores_of_two_machines_are_joined_without_a_false_alarm(
    tmp_path, caplog, first_half, other
):
    here, there = tmp_path / "here", tmp_path / "there"
    compute(there, other, 2)
    shutil.copytree(first_half, here)
    shutil.copytree(there, here, dirs_exist_ok=True)
    for defense in VICTIMS:
        computed = []
        listener = Listener(on_done=lambda _t, _r, was_done, seen=computed: seen.append(was_done))
        with caplog.at_level(logging.WARNING):
            entry = run(asked(here, defense), listener)
        assert all(computed), defense
        assert len(entry.environments) == 2, defense
        assert entry.status == "complete", defense
    assert "set aside" not in caplog.text
