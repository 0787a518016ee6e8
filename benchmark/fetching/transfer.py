"""One attempt to bring the bytes of a URL into a file, gone on with where an earlier one broke off."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO
from urllib.parse import urlsplit, urlunsplit

import requests

CONNECT_SECONDS = 10.0
STALL_SECONDS = 30.0
"""How long a connection may take to be made, and how long it may then stay silent."""

_CHUNK = 1 << 18
_BRIEF = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be others a moment later."""

Report = Callable[[int, int | None], None]
"""Bytes so far, and bytes in all (None where nobody says)."""


class TransferFailed(Exception):
    """A transfer that came to nothing.

    Args:
        reason: In a few words, on one line.
        is_brief: Whether another attempt may do better.
        pause: How many seconds the other side asks to wait first.
    """

    def __init__(self, reason: str, *, is_brief: bool = False, pause: float = 0.0) -> None:
        super().__init__(" ".join(reason.split()))
        self.is_brief = is_brief
        self.pause = pause


class HttpTransfer:
    """A URL; called with an open file it writes the bytes that the file lacks.

    Args:
        url: `https://...` or `http://...`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._tag = ""

    def __call__(self, file: BinaryIO, report: Report) -> None:
        """Makes one attempt.

        Raises:
            TransferFailed: It broke off, the server refuses, or a web page came.
        """
        start = file.seek(0, 2) if self._tag else 0
        headers = {"Accept-Encoding": "identity"}  # so that Content-Length counts what arrives
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": self._tag}
        try:
            with requests.get(
                self.url,
                headers=headers,
                stream=True,
                timeout=(CONNECT_SECONDS, STALL_SECONDS),
            ) as response:
                _refuse(response, self.url)
                if start and response.status_code != 206:
                    start = 0
                file.seek(start)
                file.truncate()
                tag = response.headers.get("ETag", "")
                self._tag = "" if tag.startswith("W/") else tag
                _copy(response, file, report, start)
        except (requests.RequestException, ValueError) as error:
            raise _named(error, self.url) from error


def public(url: str) -> str:
    """A URL without the name and password that it may carry."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def is_web_page(head: bytes) -> bool:
    """Whether a file that begins like this is a web page."""
    return head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head"))


def _copy(response: requests.Response, file: BinaryIO, report: Report, start: int) -> None:
    is_packed = "Content-Encoding" in response.headers  # although it was asked not to
    length = "" if is_packed else response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None
    done = start
    report(done, total)
    for chunk in response.iter_content(_CHUNK):
        file.write(chunk)
        done += len(chunk)
        report(done, total)
    if total is not None and done != total:
        raise TransferFailed(f"truncated: {done} of {total} bytes came", is_brief=True)
    if not done:
        raise TransferFailed("an empty file came", is_brief=True)


def _refuse(response: requests.Response, url: str) -> None:
    if url.startswith("https:") and not response.url.startswith("https:"):
        raise TransferFailed(f"redirected from https to {public(response.url)!r}")
    status = response.status_code
    if status in (200, 206):
        if "text/html" in response.headers.get("Content-Type", "").lower():
            raise TransferFailed("a web page came instead of the file")
        return
    wait = response.headers.get("Retry-After", "")
    raise TransferFailed(
        f"the server answers {status} {response.reason}",
        is_brief=status in _BRIEF,
        pause=float(wait) if re.fullmatch(r"\d{1,4}", wait) else 0.0,
    )


def _named(error: Exception, url: str) -> TransferFailed:
    """What went wrong in a few words; requests itself tells the whole chain of its causes."""
    host = public(url).partition("://")[2].partition("/")[0]
    match error:
        case requests.exceptions.SSLError():
            return TransferFailed(f"the certificate of {host} is not trusted, or TLS failed")
        case requests.exceptions.ConnectTimeout():
            return TransferFailed(f"{host} does not answer", is_brief=True)
        case requests.exceptions.Timeout():
            return TransferFailed(f"{host} fell silent", is_brief=True)
        case requests.exceptions.ProxyError():
            return TransferFailed(f"the proxy on the way to {host} refuses", is_brief=True)
        case requests.exceptions.ConnectionError() if "timed out" in str(error):
            return TransferFailed(f"{host} fell silent", is_brief=True)
        case requests.exceptions.ConnectionError():
            return TransferFailed(f"{host} cannot be reached", is_brief=True)
        case requests.exceptions.ChunkedEncodingError():
            return TransferFailed(f"truncated: {host} broke off", is_brief=True)
        case requests.exceptions.TooManyRedirects():
            return TransferFailed(f"{host} redirects without end")
    return TransferFailed(f"{public(url)!r} is no URL that can be downloaded")
