"""Publishing: where an entry belongs, and the page of each folder, made from all entries that lie in it."""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import BenchError
from benchmark.files.atomic import write_whole
from benchmark.publishing.leaderboard import baselines
from benchmark.publishing.leaderboard.board_text import to_markdown
from benchmark.publishing.leaderboard.data_file import read_lines
from benchmark.publishing.leaderboard.escaping import file_name, short_hash
from benchmark.publishing.leaderboard.same_content import content_of, has_content_of
from benchmark.records.entry import Entry
from benchmark.records.entry_boundary import rendered
from benchmark.records.entry_files import read_entry
from benchmark.records.protocol import PRECISION, SEED

PAGE = "README.md"
UNREADABLE = "not an entry that this version can read"


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing a folder did.

    Args:
        page: The page that was written.
        entries: Those on it.
        damaged: One line for each file that could not be read; the page names them too.
    """

    page: Path
    entries: tuple[Entry, ...]
    damaged: tuple[str, ...]


def entry_path(leaderboards: Path, entry: Entry) -> Path:
    """Where an entry belongs: `<dataset>/<threat>/<defense>--<model>.json`, with names safe for a file.

    What would make it another row stands behind the model: the protocol unless it is `standard`, the number of
    images where it is not the protocol's own, their order where it is not this project's, their classes where
    they are not all. Where that file already holds other content (another source, weights or arguments of the
    defense, other weights of the classifier, other images, another content of the protocol), a short hash
    follows. So an entry replaces its own earlier run, wherever in the folder that is, and nothing else.

    Raises:
        BenchError: A file of that name and hash holds other content.
    """
    folder = leaderboards.joinpath(*folder_names(entry))
    stem = entry_stem(entry)
    said = short_hash(content_of(entry) + entry.dataset.pixels_sha256)
    plain, hashed = folder / f"{stem}.json", folder / f"{stem}--{said}.json"
    others = folder.glob(f"{glob.escape(stem)}--{'[0-9a-f]' * 8}.json")
    taken = {path: found for path in (plain, *sorted(others)) if (found := _held(path))}
    for path, found in taken.items():
        if has_content_of(found, entry):
            return path
    if plain in taken and hashed in taken:
        raise BenchError(
            f"{hashed} holds other content than the hash in its name says; move it away, and give the command "
            f"again"
        )
    return hashed if plain in taken else plain


def folder_names(entry: Entry) -> tuple[str, str]:
    """The folders of an entry's dataset and of its threat."""
    threat = entry.threat.text.replace(":", "-").replace("/", "-")
    return file_name(entry.dataset.name), file_name(threat)


def entry_stem(entry: Entry) -> str:
    """The name of an entry's file without its ending, as far as the entry alone says it."""
    parts = [file_name(entry.defense.label), file_name(entry.classifier.name)]
    if entry.protocol.name != "standard":
        parts.append(file_name(entry.protocol.name))
    if entry.protocol.samples not in (None, entry.dataset.n):
        parts.append(f"n{entry.dataset.n}")
    if entry.dataset.order != "nested":
        parts.append(entry.dataset.order)
    if entry.seed != SEED:
        parts.append(f"seed{entry.seed}")
    if entry.precision != PRECISION:
        parts.append(file_name(entry.precision))
    if entry.dataset.only_classes:
        parts.append(file_name(f"classes-{'-'.join(map(str, entry.dataset.only_classes))}"))
    return "--".join(parts)


def publish_folder(folder: Path) -> Published:
    """Writes a folder's page from every entry (`*.json`) in it.

    A damaged entry does not stop the others: the page is written, names it, and it stands in what is returned.
    Where another run puts an entry into the folder meanwhile, the page is written again, so that whoever writes
    it last has seen every entry.

    Raises:
        BenchError: There is no such folder, no entry in it, or the page cannot be written.
    """
    if not folder.is_dir():
        raise BenchError(f"expected a folder of entries at {folder}; there is none")
    while True:
        seen = _stamps(folder)
        published = _publish_once(folder)
        if _stamps(folder) == seen:
            return published


def read_entries(paths: Iterable[Path]) -> tuple[dict[Path, Entry], dict[Path, str]]:
    """The entries in these files; of each that cannot be read, why."""
    entries, damaged = {}, {}
    for path in paths:
        try:
            entries[path] = read_entry(path)
        except BenchError as error:
            damaged[path] = str(error)
    return entries, damaged


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """What tells one state of a folder's entries from another: inode and time of each file."""
    found = {}
    for path in folder.glob("*.json"):
        with contextlib.suppress(FileNotFoundError):
            about = path.stat()
            found[path.name] = (about.st_ino, about.st_mtime_ns)
    return found


def _publish_once(folder: Path) -> Published:
    read, damaged = read_entries(sorted(folder.glob("*.json")))
    if not read and not damaged:
        raise BenchError(
            f"expected entries (*.json) in {folder}, found none; `bench run` writes them"
        )
    title = f"{folder.resolve().parent.name}, {folder.resolve().name}"
    page = folder / PAGE
    text, lost = rendered(
        read,
        lambda shown, lost: to_markdown(
            shown, title, [f"{path.name}: {UNREADABLE}" for path in (*damaged, *lost)]
        ),
    )
    damaged |= lost
    entries = [entry for path, entry in read.items() if path not in lost]
    known = read_lines(
        folder.resolve().parents[1] / baselines.FILE, baselines.Baseline, may_lack=True
    )
    reference = baselines.to_markdown(baselines.baselines_of(entries, known))
    write_whole(page, (f"{text}\n{reference}\n" if reference else text).encode())
    return Published(page, tuple(entries), tuple(damaged.values()))


def _held(path: Path) -> Entry | None:
    """The entry in a file; a damaged one is nobody's, and is mended by being written again."""
    try:
        return read_entry(path) if path.is_file() else None
    except BenchError:
        return None
