"""The speed benchmarks run; how fast they are is printed by `python -m tests.speed`, and asserted nowhere."""

import sys

import pytest
import torch

import attacks.autoattack
import attacks.fast_autoattack
from tests.speed.__main__ import BENCHMARKS, main
from tests.speed.timing import Comparison, Sizes, compare


@pytest.fixture
def quickly(monkeypatch, tmp_path):
    """One folder for what is trained, and no process for AutoAttack; its marks on this one are wiped off."""
    monkeypatch.setenv("BENCH_SPEED", str(tmp_path))
    for module in (attacks.autoattack, attacks.fast_autoattack):
        monkeypatch.setattr(module, "call_alone", lambda function, order: function(order))
    trace, threads = sys.gettrace(), torch.get_num_threads()
    with torch.random.fork_rng():
        yield
    sys.settrace(trace)
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_runs_and_prints_rows_of_a_table(name, capsys):
    assert main([name, "--tiny"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(rows) >= 3
    assert {row.count("|") for row in rows} == {6}


def test_a_ratio_is_taken_pair_by_pair():
    found = Comparison("it", {"old": [2.0, 4.0, 10.0], "new": [1.0, 1.0, 10.0]}, ["3/3 equal"])
    assert found.row() == "| it | new : old | 0.50 (0.25–1.00) | 1 s : 4 s | 3/3 equal |"


def test_variants_take_turns_after_a_run_that_does_not_count():
    calls = []
    variants = {name: lambda name=name: calls.append(name) for name in "ab"}
    assert len(compare("it", variants, Sizes(repeats=2)).seconds["a"]) == 2
    assert "".join(calls) == "ababba"


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["lops"])
    assert caught.value.code == 2
    assert "there are loops, apgd" in capsys.readouterr().err
