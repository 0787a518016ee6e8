"""Devices: who computes where, with stand-ins for several GPUs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import benchmark.evaluation.execute.planned
import benchmark.evaluation.execute.pool
import benchmark.evaluation.prepare.prepare
from benchmark.compute.determinism import (
    choose_device,
    cores,
    default_workers,
    device_of,
    devices_like,
    fix_numerics,
    peak_memory,
    settle,
)
from benchmark.engine.attacking.own_process import call_alone
from benchmark.engine.randomness import Draws, known_of
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.errors import BenchError
from benchmark.evaluation.execute.pool import Workers, claim_number, unpacked
from benchmark.evaluation.execute.run import run
from benchmark.evaluation.prepare.prepare import bench_of, bench_on, portable, prepare
from benchmark.records.entry import without_timing
from benchmark.records.protocol_files import parse_protocol
from tests.helpers.tiny_task import Noise, request

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")


@pytest.fixture
def three_gpus(monkeypatch):
    """torch says that there are three; which one was made current is kept."""
    current = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    return current


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("auto", ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda", ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda:1", ["cuda:1"]),
        ("cpu", ["cpu"]),
    ],
)
@pytest.mark.usefixtures("three_gpus")
def test_workers_are_spread_over_all_gpus_unless_one_was_named(asked, expected):
    devices = devices_like(choose_device(asked), 3)
    assert [str(device) for device in devices] == expected
    assert default_workers(devices) == (cores() if asked == "cpu" else len(expected))


def test_workers_take_turns():
    devices = devices_like(torch.device("cuda"), 3)
    assert [device_of(worker, devices).index for worker in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    assert device_of(5, (CPU,)) == CPU


def test_a_gpu_that_was_named_becomes_the_current_one(three_gpus):
    assert str(choose_device("cuda:2")) == "cuda:2"
    assert [str(device) for device in three_gpus] == ["cuda:2"]
    choose_device("cuda")
    choose_device("cpu")
    assert len(three_gpus) == 1


@pytest.mark.usefixtures("three_gpus")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(BenchError, match="torch sees 3 CUDA device"):
        choose_device("cuda:3")


def test_threads_of_all_workers_together_are_no_more_than_the_cores(monkeypatch):
    monkeypatch.setattr(benchmark.evaluation.execute.pool, "cores", lambda: 8)
    assert [Workers(workers=n).threads for n in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]


def test_a_cpu_has_always_done_its_work_and_measures_no_gpu_memory():
    settle(CPU)
    assert peak_memory(CPU) == 0


class Keeps(Defense):
    """A purifier that keeps its setting's device, and a tensor there that no `to(device)` reaches."""

    name = "keeps"
    stochastic = False
    gradient = Derivative.EXACT

    def __init__(self, *, shift: float = 0.01) -> None:
        self.shift = shift

    def prepare(self, setting):
        self.device = setting.device
        self.tensors = [torch.full(setting.shape, self.shift, device=setting.device)]

    def purify(self, x, *, draws):
        return (x + self.tensors[0].to(x.dtype)).clamp(0, 1)


class Caching(nn.Module):
    """A network that, as some of the zoo do, keeps a mean on the device of the first images it meets."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 4)
        self.mean = None
        draws = Draws.of(1, torch.zeros(1, dtype=torch.int64))
        with torch.no_grad():
            self.layer.weight.copy_(draws.normal((4, 16))[0])
            self.layer.bias.zero_()

    def forward(self, x):
        if self.mean is None:
            self.mean = torch.full_like(x[:1], 0.1)
        return self.layer((x - self.mean).flatten(1))


def test_a_bench_on_another_device_has_everything_there_and_the_first_stays_as_it_is(
    tmp_path, monkeypatch
):
    asked = request(tmp_path, defense=Keeps(), model=Caching())
    here = bench_of(prepare(asked))
    monkeypatch.setattr(benchmark.evaluation.prepare.prepare, "choose_device", torch.device)
    there = bench_on(asked, torch.device("meta"))
    assert there.device.type == "meta"
    assert {p.device.type for p in there.victim.parameters()} == {"meta"}
    assert {p.device.type for c in there.classifiers.values() for p in c.parameters()} == {"meta"}
    (defense,) = there.victim.defenses
    assert (defense.device.type, defense.tensors[0].device.type) == ("meta", "meta")
    (before,) = here.victim.defenses
    assert type(before) is Keeps
    assert (before.device, before.tensors[0].device) == (CPU, CPU)
    assert {p.device for p in here.victim.parameters()} == {CPU}
    assert (there.order, there.dtype) == (here.order, here.dtype)
    assert (there.batch_size, here.batch_size) == (2048, 512)
    x, y, indices = there.images(0, 4)
    assert {x.device.type, y.device.type, indices.device.type} == {"meta"}


def test_what_is_sent_to_a_worker_was_prepared_nowhere(tmp_path):
    asked = request(tmp_path, defense=Keeps(shift=0.02))
    prepare(asked)
    sent = portable(asked).defense
    assert sent is not asked.defense
    assert sent.arguments() == {"shift": 0.02}
    assert not hasattr(sent, "tensors")


def test_a_crew_on_several_devices_builds_and_one_on_the_cpu_copies(tmp_path):
    bench = bench_of(prepare(request(tmp_path)))

    def bench_named(device):
        return f"a bench on {device}"

    two = Workers(
        workers=3,
        devices=devices_like(torch.device("cuda"), 2),
        bench_on=bench_named,
    )
    built = [unpacked(two.packed(bench), worker) for worker in range(3)]
    assert built == ["a bench on cuda:0", "a bench on cuda:1", "a bench on cuda:0"]
    copy = unpacked(Workers(workers=3, bench_on=bench_named).packed(bench), 1)
    assert (copy.order, copy.device) == (bench.order, CPU)


def test_two_workers_on_devices_of_their_own_change_nothing(tmp_path, monkeypatch):
    asked = {"defense": Keeps(), "model": Caching()}
    alone = run(request(tmp_path / "one", **asked))
    monkeypatch.setattr(
        benchmark.evaluation.execute.planned, "devices_like", lambda device, count: (CPU, CPU)
    )
    two = run(request(tmp_path / "two", workers=2, **asked))
    assert without_timing(two) == without_timing(alone)


def test_every_worker_has_a_number_of_its_own_and_leaves_it_to_its_successor(tmp_path, monkeypatch):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"0\n"
        assert claim_number(tmp_path, 2) == 1
        monkeypatch.setattr(benchmark.evaluation.execute.pool, "_PATIENCE", 1)
        assert claim_number(tmp_path, 2) in (0, 1), "a third one shares a device"
        holder.kill()
        holder.wait()
        assert claim_number(tmp_path, 2) == 0
    finally:
        holder.kill()
        holder.communicate()


HOLDING = """
import sys
from pathlib import Path
from benchmark.evaluation.execute.pool import claim_number
print(claim_number(Path(sys.argv[1]), 2), flush=True)
sys.stdin.read()
"""


class Deadly(Noise):
    """Kills its process when it is attacked, at one image."""

    name = "deadly"

    def purify(self, x, *, draws):
        if x.requires_grad and bool((known_of(draws).images == 3).any()):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().purify(x, draws=draws)


def test_a_worker_that_dies_is_a_named_gap_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(
        benchmark.evaluation.execute.planned, "devices_like", lambda device, count: (CPU, CPU)
    )
    asked = {"protocol": parse_protocol(SHORT, where="short"), "samples": 8}
    entry = run(request(tmp_path, defense=Deadly(), workers=2, **asked))
    (gap,) = entry.gaps
    assert gap.row == "pgd"
    died = "failed: its worker process died"
    assert gap.reason.count("failed:") == gap.reason.count(died) == 1, "the other shard is whole"
    assert {row.id: row.status for row in entry.attacks} == {"clean": "ok", "pgd": "gap"}


SHORT = b"""
name: short
version: 1
summary: one attack on two shards
shard_size: 4
criterion: {draws: 2, vote: 1, any_of: 1}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [exact],
     arguments: {steps: 1}}
"""


def arithmetic(_):
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.get_num_threads(),
    )


def test_a_process_of_its_own_computes_as_its_caller_does_and_only_warns_where_that_does():
    before = arithmetic(None)
    try:
        fix_numerics(threads=1)
        assert call_alone(arithmetic, None) == (True, True, 1)
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.set_num_threads(before[2])
