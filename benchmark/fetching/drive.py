"""Google Drive, where the RobustBench zoo keeps its checkpoints: gdown, held to the promises of downloads."""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import gdown
import requests
from gdown.exceptions import FileURLRetrievalError

from benchmark.fetching.downloads import Accept, Origin, deliver
from benchmark.fetching.transfer import Report, TransferFailed

SILENCE_SECONDS = 60.0
"""How long Google Drive may send nothing; gdown itself would wait for ever."""


def fetch_drive(
    drive_id: str, target: Path, *, what: str, sha256: str = "", accept: Accept | None = None
) -> None:
    """Downloads a file that Google Drive shares; promises and errors are those of `fetch_url`.

    Args:
        drive_id: The file's id.
        target: Where it belongs.
        what: What it is, for messages and progress.
        sha256: What it must have, hex; empty where nobody knows.
        accept: Looks at the whole file before it gets its name.

    Raises:
        BenchError: Offline mode is on, the file cannot be had, or it is not what was wanted.
    """
    hint = f"from https://drive.google.com/uc?id={drive_id} (Google Drive id {drive_id})"
    origin = Origin(hint, lambda file, report: _transfer(drive_id, file, report))
    deliver(origin, target, what=what, sha256=sha256, accept=accept)


class _Sink:
    """The file that gdown writes to; it counts, and can be closed to a thread that was left behind."""

    def __init__(self, file: BinaryIO, report: Report) -> None:
        self.done = 0
        self._file = file
        self._report = report
        self._lock = threading.Lock()
        self._is_open = True

    def write(self, chunk: bytes) -> int:
        with self._lock:
            if not self._is_open:
                raise TransferFailed("given up")
            written = self._file.write(chunk)
            self.done += written
            self._report(self.done, None)
        return written

    def close(self) -> None:
        with self._lock:
            self._is_open = False


def _transfer(drive_id: str, file: BinaryIO, report: Report) -> None:
    """One attempt, from the beginning, in a thread that is left behind where Google Drive falls silent."""
    file.seek(0)
    file.truncate()
    sink = _Sink(file, report)
    failure: list[BaseException] = []

    def work() -> None:
        try:
            gdown.download(id=drive_id, output=sink, quiet=True, use_cookies=False)
        except BaseException as error:  # noqa: BLE001 (the thread that waits raises it)
            failure.append(error)

    thread = threading.Thread(target=work, name="gdown", daemon=True)
    with warnings.catch_warnings(), contextlib.closing(sink):
        warnings.simplefilter("ignore", DeprecationWarning)  # gdown's, about Beautiful Soup
        thread.start()
        _wait(thread, sink)
    if failure:
        raise _named(failure[0]) from failure[0]
    if not sink.done:
        raise TransferFailed("an empty file came", is_brief=True)


def _wait(thread: threading.Thread, sink: _Sink) -> None:
    seen, since = 0, time.monotonic()
    while True:
        thread.join(0.1)
        if not thread.is_alive():
            return
        if sink.done != seen:
            seen, since = sink.done, time.monotonic()
        elif time.monotonic() - since > SILENCE_SECONDS:
            raise TransferFailed("Google Drive fell silent", is_brief=True)


def _named(error: BaseException) -> BaseException:
    match error:
        case FileURLRetrievalError():  # its message is a page long; what Google said is its context
            said: Any = error.__context__ or error
            return TransferFailed(f"Google Drive refuses: {str(said).strip().rstrip('.')}")
        case requests.exceptions.ChunkedEncodingError():
            return TransferFailed("truncated: Google Drive broke off", is_brief=True)
        case requests.exceptions.SSLError():
            return TransferFailed("the certificate of drive.google.com is not trusted")
        case requests.RequestException() | ConnectionError() | TimeoutError():
            return TransferFailed("Google Drive cannot be reached", is_brief=True)
        case KeyError() | AttributeError() | TypeError() | ValueError():
            return TransferFailed("Google Drive answered what gdown does not understand")
    return error
