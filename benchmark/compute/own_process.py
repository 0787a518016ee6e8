"""A function call in a process of its own, which ends with its caller however that one ends."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

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


@dataclass(frozen=True, slots=True)
class _Arithmetic:
    """torch's settings of a process that decide rounding, speed or place; a new one does not inherit them."""

    threads: int
    determinism: int
    is_benchmarking: bool
    tf32: tuple[bool, bool]
    gpu: int | None
    """torch's current one; None while CUDA is not in use."""

    @classmethod
    def here(cls) -> _Arithmetic:
        return cls(
            torch.get_num_threads(),
            torch.get_deterministic_debug_mode(),
            torch.backends.cudnn.benchmark,
            (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
            torch.cuda.current_device() if _is_cuda_in_use() else None,
        )

    def apply(self) -> None:
        torch.set_num_threads(self.threads)
        torch.set_deterministic_debug_mode(self.determinism)
        torch.backends.cudnn.benchmark = self.is_benchmarking
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = self.tf32
        if self.gpu is not None:
            torch.cuda.set_device(self.gpu)


def _is_cuda_in_use() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


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
    paths = [path or str(Path.cwd()) for path in sys.path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    with temporary_folder() as folder:
        call = (_Arithmetic.here(), cloudpickle.dumps((function, argument)))
        put(folder / _CALL, pickle.dumps(call))
        with (folder / _COMPLAINT).open("wb") as complaint:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "benchmark.compute.own_process", str(folder)],
                env=environment,
                stdin=subprocess.PIPE,  # never written to: when we are gone, the child reads its end
                stdout=subprocess.DEVNULL,
                stderr=complaint,
                process_group=0,  # Ctrl-C is the caller's to answer
            )
            try:
                status = process.wait()
            finally:
                process.kill()
                process.wait()
                if process.stdin:
                    process.stdin.close()
        if status:
            last_words = (folder / _COMPLAINT).read_text(errors="replace")[-_TAIL:]
            raise RuntimeError(
                f"the process of {function.__module__}.{function.__qualname__} ended with status "
                f"{status}:\n{last_words}"
            )
        if not (folder / _ANSWER).is_file():
            raise RuntimeError(
                f"the process of {function.__module__}.{function.__qualname__} ended without an answer: "
                f"something in it called sys.exit(0) or os._exit(0)"
            )
        is_good, answer = pickle.loads((folder / _ANSWER).read_bytes())
    if not is_good:
        raise answer
    result: R = answer
    return result


def _end_with_caller(folder: Path) -> None:
    """Ends this process at once, and removes its folder, when its caller's end of stdin is gone."""
    leave = os._exit  # as it is before a plugin is imported

    def watch() -> None:
        os.read(0, 1)  # not sys.stdin: its lock would be held while the interpreter shuts down
        shutil.rmtree(folder, ignore_errors=True)
        leave(1)

    threading.Thread(target=watch, daemon=True).start()


def _answer(folder: Path) -> None:
    """The child's part: reads the call, makes it, writes the answer."""
    _end_with_caller(folder)
    arithmetic, packed = pickle.loads((folder / _CALL).read_bytes())
    arithmetic.apply()
    function, argument = pickle.loads(packed)
    try:
        answer = (True, function(argument))
    except BenchError as error:
        answer = (False, error)
    (folder / _ANSWER).write_bytes(cloudpickle.dumps(answer))


def _main() -> None:
    """Ends when the answer is written, whatever the function left running."""
    status: object = 1
    try:
        _answer(Path(sys.argv[1]))
        status = 0
    except SystemExit as error:  # a plugin's; the caller says that there is no answer
        status = error.code
    except BaseException:  # noqa: BLE001 (the caller quotes it)
        sys.excepthook(*sys.exc_info())
    leave(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    _main()
