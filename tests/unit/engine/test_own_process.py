"""Calls in a process of their own: each as clean as a new process, whatever was called before."""

import os
import signal
from pathlib import Path

import pytest

from benchmark.engine.attacking.own_process import _Template, call_alone
from tests.helpers.child_processes import is_running, within


def leave_traces(value):
    import pyautoattack
    import torch

    before = (os.environ.get("TRACE"), hasattr(pyautoattack, "trace"), torch.get_num_threads())
    os.environ["TRACE"], pyautoattack.trace = value, value
    torch.set_num_threads(7)
    torch.manual_seed(7)
    os.chdir("/")
    return before, os.getpid(), os.getppid()


def test_nothing_that_a_call_changes_is_there_in_the_next():
    first, second = call_alone(leave_traces, "1"), call_alone(leave_traces, "2")
    assert first[0] == second[0] == (None, False, 1)
    assert first[1] != second[1]
    assert first[2] == second[2] != os.getpid()  # forks of one process


def surroundings(names):
    return [os.environ.get(name) for name in names], str(Path.cwd())


def test_a_call_sees_the_variables_and_the_folder_of_its_caller(tmp_path, monkeypatch):
    names = ("MINE", "OMP_WAIT_POLICY")
    assert call_alone(surroundings, names) == ([None, None], str(Path.cwd()))
    before = _Template.current.process.pid
    monkeypatch.setenv("MINE", "here")
    monkeypatch.chdir(tmp_path)
    assert call_alone(surroundings, names) == (["here", None], str(tmp_path))
    assert _Template.current.process.pid == before
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")  # OpenMP reads it as it is loaded
    assert call_alone(surroundings, names) == (["here", "passive"], str(tmp_path))
    assert _Template.current.process.pid != before
    assert within(10, lambda: not is_running(before))


def kill(pid):
    os.kill(pid or os.getppid(), signal.SIGKILL)


@pytest.mark.parametrize("how", ["between calls", "during one"])
def test_where_the_waiting_process_was_killed_the_next_call_gets_another(how):
    call_alone(surroundings, ())
    if how == "between calls":
        kill(_Template.current.process.pid)
    else:
        with pytest.raises(RuntimeError, match="ended with status -9"):
            call_alone(kill, 0)
    assert call_alone(surroundings, ())[0] == []
