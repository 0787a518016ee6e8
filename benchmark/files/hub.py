"""Files of the Hugging Face Hub, through its own library and its own cache."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tqdm.auto import tqdm

from benchmark.errors import BenchError
from benchmark.files.downloads import Report, is_offline, listener
from benchmark.files.known_hashes import file_sha256
from benchmark.files.limits import WEIGHTS, Limits, TransferFailed, watched
from benchmark.files.paths import HUB_FORM, HubFile

_HTTP_ERROR: type[Exception] = HfHubHTTPError.__mro__[1]
"""The base of what the library's HTTP client raises, whichever client this version of it uses."""


def fetch_hub(wanted: HubFile) -> tuple[Path, HubFile]:
    """A file of the Hub in the library's cache, downloaded where it is absent or has changed.

    `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and `HF_HUB_CACHE` mean what they mean to the library.

    Returns:
        The file, and its name with the commit it is from.

    Raises:
        BenchError: It is not there, cannot be had, or is not what the Hub says it is.
    """
    try:
        with _quiet():
            limits, since = WEIGHTS.in_force(), time.monotonic()
            work = partial(_found, wanted, limits, listener.get())
            file, path = watched(work, partial(limits.refuse_time, since))
    except TransferFailed as error:
        raise BenchError(
            f"{str(wanted)!r} was not downloaded ({error}), or name a file on this disk"
        ) from error
    except (_HTTP_ERROR, OSError, ValueError, RuntimeError, EntryNotFoundError) as error:
        raise _refused(wanted, error) from error
    _refuse_damaged(path)
    commit = path.parents[file.count("/")].name  # snapshots/COMMIT/FILE
    return path, HubFile(wanted.repo, commit, file)


def _found(wanted: HubFile, limits: Limits, told: Report | None) -> tuple[str, Path]:
    """The file's path in its repository, and where it lies here."""
    file = wanted.file or _only(wanted)
    found = hf_hub_download(
        wanted.repo,
        file,
        revision=wanted.revision or None,
        endpoint=_endpoint(),
        local_files_only=is_offline(),
        tqdm_class=_bar(f"{wanted.repo}/{file}", limits, told),
    )
    return file, Path(found)


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT") or constants.ENDPOINT


def _only(wanted: HubFile) -> str:
    files = [name for name in _listed(wanted) if name.endswith(".safetensors")]
    if len(files) == 1:
        return files[0]
    named = HubFile(wanted.repo, wanted.revision, files[0] if files else "FILE")
    raise BenchError(
        f"{str(wanted)!r} has {len(files) or 'no'} .safetensors files"
        f"{': ' if files else ''}{', '.join(files[:9])}; name one, such as {named}"
    )


def _listed(wanted: HubFile) -> list[str]:
    """The files of a repository; those in the cache where the Hub must not or cannot be asked."""
    api = HfApi(endpoint=_endpoint())
    revision = wanted.revision or None
    if not is_offline():
        try:
            return list(api.list_repo_files(wanted.repo, revision=revision))
        except (RepositoryNotFoundError, RevisionNotFoundError):
            raise
        except _HTTP_ERROR:
            pass  # the cache may have it
    kept = Path(snapshot_download(wanted.repo, revision=revision, local_files_only=True))
    return sorted(path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file())


def _refused(wanted: HubFile, error: Exception) -> BenchError:
    """One line for what the library raises, whose own messages are pages."""
    match error:
        case GatedRepoError():
            reason = "is gated: ask for access on its page, and give your token as HF_TOKEN"
        case RepositoryNotFoundError():
            reason = (
                "is no repository that can be seen; check its name, or give a token as HF_TOKEN"
            )
        case RevisionNotFoundError():
            reason = f"has no revision {wanted.revision!r}; name a branch, a tag or a commit of it"
        case LocalEntryNotFoundError() if is_offline():
            reason = (
                f"is not in {constants.HF_HUB_CACHE!r}, and offline mode (--offline, BENCH_OFFLINE, "
                f"HF_HUB_OFFLINE) allows no download; put there what `hf download {wanted.repo}` caches where "
                f"there is a network, or name a file on this disk"
            )
        # older versions trip over their closed client
        case LocalEntryNotFoundError() | RuntimeError():
            reason = (
                f"is not in {constants.HF_HUB_CACHE!r}, and the Hub at {_endpoint()} cannot be reached; try "
                f"again, or name a file on this disk"
            )
        case EntryNotFoundError():
            reason = f"has no file {wanted.file!r}; bench takes its .safetensors files"
        case HFValidationError():
            reason = f"is not understood: expected {HUB_FORM}"
        case _:
            told = (str(error).strip() or type(error).__name__).split("\n")[0]
            reason = f"cannot be downloaded ({told[:200]}); try again, or name a file on this disk"
    return BenchError(f"{str(wanted)!r} {reason}")


def _refuse_damaged(path: Path) -> None:
    """Compares a file with its sha256, which is its name among the cache's blobs where the Hub gives one."""
    blob = path.resolve()
    if not re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return
    found = file_sha256(blob)
    if found != blob.name:
        raise BenchError(
            f"{str(blob)!r} is damaged: its sha256 is {found}; delete it, and it will be downloaded again"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's warnings: what matters of them is in an error."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _bar(what: str, limits: Limits, told: Report | None) -> Any:
    """A progress bar that prints nothing, tells the listener instead, and ends a download that is too large."""

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **options | {"disable": True})
            self.n = options.get("initial") or 0
            self.total = options.get("total")
            limits.refuse_size(int(self.total or 0))

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            limits.refuse_size(int(self.n))
            if told is not None:
                told(what, int(self.n), self.total and int(self.total))
            return None

    return Bar
