"""Archives of datasets: downloaded, checked by sha256, and unpacked into a folder, whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from filelock import FileLock

from benchmark.downloads import fetch_url
from benchmark.errors import BenchError


@dataclass(frozen=True, slots=True)
class Archive:
    """A packed dataset.

    Args:
        url: Where it is published; its last part is the file's name.
        sha256: Of the file, hex.
        unpacked: The one folder that it holds.
        what: What it is, for messages.
    """

    url: str
    sha256: str
    unpacked: str
    what: str

    def folder(self, data: Path) -> Path:
        """The unpacked folder in the data folder; downloads and unpacks it where it is missing.

        An archive that already lies in the data folder is taken, and stays; a downloaded one is removed.

        Raises:
            BenchError: It cannot be had, is damaged, or cannot be unpacked.
        """
        place = data / self.unpacked
        if place.is_dir():
            return place
        file = data / self.url.rpartition("/")[2]
        try:
            data.mkdir(parents=True, exist_ok=True)
            with _alone(data / f".{self.unpacked}.lock"):
                if not place.is_dir():  # else another process brought it meanwhile
                    self._bring(file, place)
        except OSError as error:
            raise BenchError(
                f"{self.what} cannot be unpacked to {str(place)!r} ({error.strerror or error}); choose a "
                f"folder that can be written, with room on its disk"
            ) from error
        return place

    def _bring(self, file: Path, place: Path) -> None:
        is_mine = not file.is_file()
        if is_mine:
            fetch_url(self.url, file, what=self.what, sha256=self.sha256)
        else:
            self._refuse_other(file)
        aside = Path(
            tempfile.mkdtemp(dir=place.parent, prefix=f".{self.unpacked}.", suffix=".part")
        )
        try:
            self._unpack(file, aside)
            (aside / self.unpacked).replace(place)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        if is_mine:
            file.unlink()

    def _refuse_other(self, file: Path) -> None:
        with file.open("rb") as opened:
            found = file_digest(opened, "sha256").hexdigest()
        if found != self.sha256:
            raise BenchError(
                f"{str(file)!r} is damaged or another file: its sha256 is {found}, and should be "
                f"{self.sha256}; delete it, and get it again from {self.url}"
            )

    def _unpack(self, file: Path, aside: Path) -> None:
        try:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as packed:
                    packed.extractall(aside)
            else:
                with tarfile.open(file) as tar:
                    tar.extractall(aside, filter="data")
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise BenchError(f"{str(file)!r} cannot be unpacked ({error}); get it again") from error
        if not (aside / self.unpacked).is_dir():
            raise BenchError(f"{str(file)!r} holds no folder {self.unpacked!r}; get it again")


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(NotImplementedError):  # a file system without locks
            stack.enter_context(FileLock(lock))
        yield
