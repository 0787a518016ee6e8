"""Results on disk: one file a shard, named by its job's key, checked by hash when read."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from pydantic_core import from_json
from torch import Tensor

from benchmark.errors import BenchError
from benchmark.files.atomic import write_whole
from benchmark.files.parsing import DAMAGED
from benchmark.records.job import Job
from benchmark.records.result import Result, Status

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of finished shards.

    A shard's file is the sha256 of what follows it (64 hex digits and a newline), then a safetensors file
    that holds the kept images and, as metadata, the result. Beside them lie the fingerprints of what they were
    made with, each in a file of its sha256.

    Args:
        folder: Made when first written to.
    """

    folder: Path

    def path(self, job: Job, start: int, stop: int) -> Path:
        """Where a shard's file is."""
        return self.folder / f"{job.key[:2]}/{job.key}/{start:06d}-{stop:06d}.shard"

    def save(self, job: Job, result: Result, images: Tensor) -> None:
        """Writes a finished shard, whole or not at all.

        Args:
            job: The job.
            result: Finished; a failed one is not kept, so that it is tried again.
            images: What is kept of its images: all candidates of a source, else those chosen under each rule.

        Raises:
            BenchError: It cannot be written.
        """
        if result.status is not Status.OK:
            raise ValueError("a failed result is not kept: it would never be tried again")
        path = self.path(job, result.start, result.stop)
        text = f"{json.dumps(asdict(job), indent=2, sort_keys=True)}\n".encode()
        _put(path.with_name("job.json"), text)
        payload = safetensors.torch.save(
            {"images": images.detach().cpu().contiguous()}, {"result": json.dumps(result.to_json())}
        )
        digest = hashlib.sha256(payload).hexdigest()
        write_whole(path, f"{digest}\n".encode() + payload)

    def holds(self, job: Job, start: int, stop: int) -> bool:
        """Whether a finished shard's file is there, whole or damaged."""
        return self.path(job, start, stop).is_file()

    def load(self, job: Job, start: int, stop: int) -> Result | None:
        """A finished shard's result; None where there is none, or a damaged one (which is logged)."""
        found = self._read(job, start, stop)
        return found[0] if found else None

    def images(self, job: Job, start: int, stop: int) -> Tensor:
        """The images that a finished shard kept.

        Raises:
            BenchError: There is no such shard.
        """
        found = self._read(job, start, stop)
        if found is None:
            raise BenchError(
                f"expected a finished shard at {self.path(job, start, stop)}; run the same command again "
                f"to make it"
            )
        return found[1]

    def keep_fingerprint(self, content: bytes) -> str:
        """Puts a fingerprint beside the shards, under the sha256 that names it; gives that, hex.

        Raises:
            BenchError: It cannot be written.
        """
        digest = hashlib.sha256(content).hexdigest()
        _put(self._fingerprint(digest), content)
        return digest

    def fingerprint(self, digest: str) -> bytes | None:
        """The fingerprint of a sha256; None where there is none, or a damaged one (which is logged)."""
        if not re.fullmatch("[0-9a-f]{64}", digest):  # it stands in a file from who knows where
            return None
        path = self._fingerprint(digest)
        content = _bytes_of(path)
        if content is not None and hashlib.sha256(content).hexdigest() != digest:
            log.warning("%s is damaged (its hash does not match); it counts as not there", path)
            return None
        return content

    def _fingerprint(self, digest: str) -> Path:
        return self.folder / "fingerprints" / f"{digest}.safetensors"

    def _read(self, job: Job, start: int, stop: int) -> tuple[Result, Tensor] | None:
        path = self.path(job, start, stop)
        content = _bytes_of(path)
        if content is None:
            return None
        try:
            result, images = _unpacked(content, where=str(path))
            if (result.job, result.start, result.stop) != (job.key, start, stop):
                raise BenchError(f"{path} is another job's shard")
        except BenchError as error:
            log.warning("%s; it is made again", error)
            return None
        return result, images


def _put(path: Path, content: bytes) -> None:
    if _bytes_of(path) != content:  # not there, or damaged
        write_whole(path, content)


def _bytes_of(path: Path) -> bytes | None:
    """The content of a file; None where there is none.

    Raises:
        BenchError: It is there and cannot be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror or error}; move it away") from error


def _unpacked(content: bytes, *, where: str) -> tuple[Result, Tensor]:
    """Result and images out of a shard's file; its hash says that it is whole, not who wrote it.

    Raises:
        BenchError: It is not what `Store.save` writes.
    """
    digest, payload = content[:64], content[65:]
    if hashlib.sha256(payload).hexdigest().encode() != digest:
        raise BenchError(f"{where} is damaged (its hash does not match)")
    try:
        size = int.from_bytes(payload[:8], "little")
        record = _parsed(_parsed(payload[8 : 8 + size])["__metadata__"]["result"])
        images = safetensors.torch.load(payload)["images"]
    except DAMAGED as error:
        raise BenchError(f"{where} is no shard of purifybench ({type(error).__name__})") from error
    if not isinstance(record, dict):
        raise BenchError(f"{where} is no shard of purifybench (its record is no mapping)")
    return Result.from_json(record, where=where), images


def _parsed(text: bytes | str) -> Any:
    """JSON read, several times as fast as by Python's own reader.

    Raises:
        ValueError: It is none.
        RecursionError: It is too deep.
    """
    try:
        return from_json(text)
    except ValueError:  # a lone surrogate too, which may stand in a plugin's warning
        return json.loads(text)
