"""The end of a process: its status and its output are right whatever a plugin left running."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from benchmark.compute.address_space import refuse_rationed
from benchmark.engine.attacking.own_process import call_alone
from benchmark.errors import BenchError
from tests.helpers.child_processes import within

LEAVE = """
import atexit, multiprocessing, os, sys, threading, time
from benchmark.compute.process_exit import leave
from benchmark.compute import process_exit as leaving
leaving.PATIENCE_SECONDS = 0.5
{before}
sys.stdout.write("result")
leave({status})
"""
KEEPERS = {
    "a thread": "threading.Thread(target=time.sleep, args=(99,)).start()",
    "a thread that prints": "threading.Thread(target=lambda: [time.sleep(1), print('late')]).start()",
    "a child": "multiprocessing.get_context('fork').Process(target=time.sleep, args=(99,)).start()",
    "a handler that hangs": "atexit.register(time.sleep, 99)",
    "a handler that fails": "atexit.register(lambda: 1 / 0)",
    "a handler that exits": "atexit.register(sys.exit, 7)",
    "another exit": "os._exit = None",
}


def left(before: str = "", status: int = 0, **options) -> tuple[subprocess.CompletedProcess, float]:
    since = time.monotonic()
    words = [sys.executable, "-c", LEAVE.format(before=before, status=status)]
    if "stdout" not in options:
        options |= {"capture_output": True}
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(words, env=buffered, timeout=60, check=False, **options)
    return done, time.monotonic() - since


@pytest.mark.parametrize("keeper", KEEPERS)
def test_nothing_that_a_plugin_left_running_keeps_a_process(keeper):
    done, seconds = left(KEEPERS[keeper], status=3)
    assert (done.returncode, done.stdout) == (3, b"result")
    assert seconds < 30


def test_output_that_cannot_be_written_is_no_success():
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done, _ = left(stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"the output cannot be written" in done.stderr


def test_a_reader_that_has_seen_enough_is_no_failure():
    reading, writing = os.pipe()
    os.close(reading)
    done, _ = left(stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def one_more(number: int) -> int:
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return number + 1


def test_nor_does_it_keep_a_call_in_a_process_of_its_own():
    assert call_alone(one_more, 1) == 2


HEAR = """
import signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)  # whoever runs the tests may ignore some (nohup)
from benchmark.compute.interrupts import hear_interrupts, interrupted_status
from benchmark.files.temporary import temporary_folder
hear_interrupts()
try:
    with temporary_folder() as folder:
        print(folder, flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    {answer}
    sys.exit(interrupted_status())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("answer", ["pass", "time.sleep(60)"])
def test_the_first_signal_is_answered_and_a_later_one_ends_at_once(number, answer, tmp_path):
    words = [sys.executable, "-c", HEAR.format(answer=answer)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=-3) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(bytes(tmp_path))
        for _ in range(3):  # as `timeout` and schedulers send them: one
            process.send_signal(number)
        if answer != "pass":
            assert within(10, lambda: not list(tmp_path.iterdir()))
            time.sleep(1.2)
            assert process.poll() is None
            process.send_signal(number)
        assert process.wait(30) == 128 + number
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "is_ration"),
    [
        (MemoryError(), True),
        (RuntimeError("can't start new thread"), True),
        (ImportError("libx.so: failed to map segment from shared object"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), False),
        (RuntimeError("boom"), False),
    ],
)
def test_a_ration_of_memory_that_is_used_up_is_one_line_and_other_failures_are_not(
    error, is_ration, monkeypatch
):
    raised = ValueError("on the way")
    raised.__cause__ = error
    refuse_rationed(raised)  # no limit, no ration
    monkeypatch.setattr("resource.getrlimit", lambda kind: (5 * 10**9, -1))
    if not is_ration:
        return refuse_rationed(raised)
    with pytest.raises(BenchError, match=r"allows 5 GB of addresses \(ulimit -v\)") as caught:
        refuse_rationed(raised)
    assert "\n" not in str(caught.value)
    return None
