"""A function call in a process of its own, which ends with its caller however that one ends.

A process that has imported torch and pyautoattack and done nothing else waits for calls, and each call is a
fork of it: as clean as a new process, without the seconds that one needs to start. CUDA begins in the forks.
"""

from __future__ import annotations

import atexit
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import cloudpickle
import torch

from benchmark.compute.memory import free_memory
from benchmark.compute.process_exit import leave
from benchmark.errors import BenchError
from benchmark.files.temporary import put, temporary_folder

A = TypeVar("A")
R = TypeVar("R")

_CALL, _ANSWER, _COMPLAINT = "call.pickle", "answer.pickle", "stderr.txt"
_TAIL = 4000
"""How many characters of a dead process's last words are shown."""
_READ_EARLY = (
    *("ATEN", "CUBLAS", "CUDA", "CUDNN", "DNNL", "GOMP", "KMP", "LD_", "MALLOC", "MKL", "NVIDIA"),
    *("OMP", "ONEDNN", "OPENBLAS", "PYTHON", "PYTORCH", "TORCH"),
)
"""How variables of the environment begin that Python or a library reads once, as it is loaded."""


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What a fork takes over from its caller: also torch's settings that decide rounding, speed or place."""

    environment: dict[str, str]
    paths: list[str]
    folder: str
    threads: int
    determinism: int
    is_benchmarking: bool
    tf32: tuple[bool, bool]
    gpu: int | None
    """torch's current one; None while CUDA is not in use."""

    @classmethod
    def here(cls) -> _Surroundings:
        folder = str(Path.cwd())
        is_cuda_in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        return cls(
            dict(os.environ),
            [path or folder for path in sys.path],
            folder,
            torch.get_num_threads(),
            torch.get_deterministic_debug_mode(),
            torch.backends.cudnn.benchmark,
            (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
            torch.cuda.current_device() if is_cuda_in_use else None,
        )

    def apply(self) -> None:
        os.environ.clear()
        os.environ.update(self.environment)
        sys.path[:] = self.paths
        os.chdir(self.folder)
        torch.set_num_threads(self.threads)
        torch.set_deterministic_debug_mode(self.determinism)
        torch.backends.cudnn.benchmark = self.is_benchmarking
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = self.tf32
        if self.gpu is not None:
            torch.cuda.set_device(self.gpu)

    def read_early(self) -> dict[str, str]:
        """The variables that a process which runs already no longer reads."""
        return {k: v for k, v in self.environment.items() if k.startswith(_READ_EARLY)}


class _Template:
    """The process whose forks answer calls.

    Args:
        surroundings: Of its caller.
        complaint: A file for its last words, should it not start.
    """

    current: _Template | None = None
    """This process's, or one of the process that it was forked from."""
    in_use = threading.Lock()

    def __init__(self, surroundings: _Surroundings, complaint: int) -> None:
        self.owner = os.getpid()
        self.read_early = surroundings.read_early()
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
                env=surroundings.environment | {"PYTHONPATH": os.pathsep.join(surroundings.paths)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaint,
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C is the caller's to answer
            )
        atexit.register(self.end)

    @classmethod
    def of(cls, surroundings: _Surroundings, complaint: int) -> _Template:
        """The one that runs; a new one where it is another process's, or its libraries read other variables."""
        found = cls.current
        if found is not None and found.owner == os.getpid():
            if found.process.poll() is None and found.read_early == surroundings.read_early():
                return found
            found.end()
        cls.current = cls(surroundings, complaint)
        return cls.current

    def answer(self, folder: Path, complaint: int) -> int:
        """Has the call in a folder made; gives the exit status of the fork that made it."""
        watched, ours = os.pipe()  # never written to: when we are gone, the fork reads its end
        try:
            socket.send_fds(self.socket, [os.fsencode(folder)], [watched, complaint])
            said = self.socket.recv(64)
        except OSError:  # it has died
            said = b""
        except BaseException:
            self.end()
            raise
        finally:
            os.close(watched)
            os.close(ours)
        if said:
            return int(said)
        self.end()
        return self.process.returncode

    def end(self) -> None:
        """Ends it, and the fork that it waits for."""
        atexit.unregister(self.end)
        self.socket.close()
        if self.owner == os.getpid() and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def call_alone(function: Callable[[A], R], argument: A) -> R:
    """`function(argument)` in a new process, so that nothing global of ours is touched.

    Function, argument and result travel by cloudpickle: classes of `__main__` travel whole, and no
    `if __name__ == "__main__"` is needed. What the process prints is dropped. Tensors on a GPU are
    copied there, so that what travels takes its memory twice; what torch has cached here is freed first.

    Raises:
        BenchError: The function raised it.
        RuntimeError: The process ended in any other way than by returning; its last words are quoted.
    """
    free_memory()
    surroundings = _Surroundings.here()
    process = f"the process of {function.__module__}.{function.__qualname__}"
    with temporary_folder() as folder, _Template.in_use:
        call = (surroundings, cloudpickle.dumps((function, argument)))
        put(folder / _CALL, pickle.dumps(call))
        with (folder / _COMPLAINT).open("wb") as complaint:
            template = _Template.of(surroundings, complaint.fileno())
            status = template.answer(folder, complaint.fileno())
        if status:
            last_words = (folder / _COMPLAINT).read_text(errors="replace")[-_TAIL:]
            raise RuntimeError(f"{process} ended with status {status}:\n{last_words}")
        if not (folder / _ANSWER).is_file():
            raise RuntimeError(
                f"{process} ended without an answer: something in it called sys.exit(0) or os._exit(0)"
            )
        is_good, answer = pickle.loads((folder / _ANSWER).read_bytes())
    if not is_good:
        raise answer
    result: R = answer
    return result


def _end_with_caller(watched: int, folder: Path) -> None:
    """Ends this process at once, and removes its folder, when its caller's end of a pipe is gone."""
    leave = os._exit  # as it is before a plugin is imported

    def watch() -> None:
        os.read(watched, 1)
        shutil.rmtree(folder, ignore_errors=True)
        leave(1)

    threading.Thread(target=watch, daemon=True).start()


def _answer(folder: Path) -> None:
    """The fork's part: reads the call, makes it, writes the answer."""
    surroundings, packed = pickle.loads((folder / _CALL).read_bytes())
    surroundings.apply()
    function, argument = pickle.loads(packed)
    try:
        answer = (True, function(argument))
    except BenchError as error:
        answer = (False, error)
    (folder / _ANSWER).write_bytes(cloudpickle.dumps(answer))


def _forked(folder: Path, watched: int, complaint: int) -> NoReturn:
    """Ends when the answer is written, whatever the function left running."""
    status: object = 1
    try:
        os.dup2(complaint, 2)
        _end_with_caller(watched, folder)
        _answer(folder)
        status = 0
    except SystemExit as error:  # a plugin's; the caller says that there is no answer
        status = error.code
    except BaseException:  # noqa: BLE001 (the caller quotes it)
        sys.excepthook(*sys.exc_info())
    leave(status if isinstance(status, int) else int(status is not None))


def _wait_for_calls(calls: socket.socket) -> None:
    """The template's part: a fork for each call, until the caller is gone."""
    import pyautoattack  # noqa: F401 (so that no fork needs to)

    while True:
        message, handles, _, _ = socket.recv_fds(calls, 4096, 2)
        if not message:
            return
        with warnings.catch_warnings(action="ignore"):  # threads of libraries stand still here
            child = os.fork()
        if not child:
            calls.close()
            _forked(Path(os.fsdecode(message)), *handles)
        for handle in handles:
            os.close(handle)
        _, status = os.waitpid(child, 0)
        calls.sendall(str(os.waitstatus_to_exitcode(status)).encode())


if __name__ == "__main__":
    _wait_for_calls(socket.socket(fileno=int(sys.argv[1])))
