"""Weights that a user names: a path, `https://...[#sha256=...]`, or `hf:org/name[@revision][/file]`."""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from benchmark.errors import BenchError
from benchmark.files.downloads import Accept, fetch
from benchmark.files.http import public
from benchmark.files.hub_names import HubFile
from benchmark.files.known_hashes import file_sha256, hold_to_record, record, recorded_sha256
from benchmark.files.paths import FORM, existing, is_remote
from benchmark.files.user_folders import weights_folder

_LOCAL = ("localhost", "127.0.0.1", "::1")


def local_file(text: str | Path, *, what: str, accept: Accept | None = None) -> Path:
    """The file that a user named, on this disk; what is not, is downloaded into a cache once.

    Args:
        text: A path, `https://...`, with `#sha256=HEX` where its hash is known, or `hf:org/name`, with
            `@revision` (else `main`) and `/file` (else the only .safetensors file).
        what: What it is, for messages and progress.
        accept: Looks at a downloaded file before it enters the cache.

    Raises:
        BenchError: It is not there, cannot be had, has changed, or the text is not understood.
    """
    text = str(text)
    if text.startswith("hf:"):
        return hub_file(text)[0]
    if is_remote(text):
        return _url(text, what, accept)
    return existing(text)


def pinned(text: str | Path) -> str:
    """The same text, so that it names the same bytes for ever: a commit for the Hub, a sha256 for a URL.

    A path is given as it is, a URL without the name and password that it may carry. What is named has been
    fetched before.
    """
    text = str(text)
    if text.startswith("hf:"):
        return hub_file(text)[1]
    if not is_remote(text):
        return text
    url, sha256 = _parsed(text)
    return f"{public(url)}#sha256={sha256 or file_sha256(_place(url, sha256))}"


def refuse_other_form(text: str) -> None:
    """Refuses what is neither a URL nor a file of the Hub, without asking either.

    Raises:
        BenchError: It is not of that form.
    """
    if text.startswith("hf:"):
        HubFile.parse(text)
    else:
        _parsed(text)


def cache_place(key: str, name: str) -> Path:
    """Where a download is kept: under its sha256, or that of its URL where nobody knows its own."""
    return weights_folder() / "downloads" / key[:16] / name


@functools.lru_cache
def hub_file(text: str) -> tuple[Path, str]:
    """A file of the Hub, and its name with the commit.

    Asked once, so that a run and its entry mean the same commit, whatever happens to a branch meanwhile.
    """
    from benchmark.files.hub import fetch_hub

    path, found = fetch_hub(HubFile.parse(text))
    return path, str(found)


def _url(text: str, what: str, accept: Accept | None) -> Path:
    url, sha256 = _parsed(text)
    place, unpinned = _place(url, sha256), _place(url, "")
    if sha256 and not place.is_file() and unpinned.is_file():
        place = unpinned if file_sha256(unpinned) == sha256 else place
    if not place.is_file():
        known = sha256 or recorded_sha256(place)
        fetch(url, place, what=what, sha256=known, accept=accept)
    found = file_sha256(place)
    if sha256 and found != sha256:
        raise BenchError(
            f"{str(place)!r} is damaged: its sha256 is {found}, and should be {sha256}; delete it, and it "
            f"will be downloaded again"
        )
    hold_to_record(place, found)
    record(place, found)
    return place


def _parsed(text: str) -> tuple[str, str]:
    """The URL, and the sha256 that its fragment gives, hex."""
    url, _, fragment = text.partition("#")
    key, _, sha256 = fragment.partition("=")
    if fragment and not (key == "sha256" and re.fullmatch(r"[0-9a-fA-F]{64}", sha256)):
        raise BenchError(f"{public(text)!r}: expected #sha256= and 64 hex digits at its end")
    try:
        scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
    except ValueError:
        scheme, host = "", ""
    if not host or not (scheme == "https" or (scheme == "http" and host in _LOCAL)):
        raise BenchError(
            f"{public(text)!r} is not understood: expected {FORM} (http:// only on this machine)"
        )
    return url, sha256.lower()


def _place(url: str, sha256: str) -> Path:
    name = re.sub(r"[^\w.\[\]+=-]", "-", unquote(urlsplit(url).path.rpartition("/")[2]))
    key = sha256 or hashlib.sha256(public(url).encode()).hexdigest()
    return cache_place(key, name.lstrip(".")[-128:] or "weights")
