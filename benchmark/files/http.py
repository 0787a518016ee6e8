"""One attempt to bring the bytes of a URL into a file, gone on with where an earlier one broke off."""

from __future__ import annotations

import re
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import requests

from benchmark.files.limits import Sink, TransferFailed

CONNECT_SECONDS = 10.0
STALL_SECONDS = 30.0
"""How long a connection may take to be made, and how long it may then stay silent."""

_CHUNK = 1 << 16
_BRIEF = frozenset({408, 416, 425, 429, 500, 502, 503, 504})
"""Statuses that may be others a moment later; 416 of a file that has become shorter."""
_STEADY = timedelta(minutes=1)
"""How long a file must have stood unchanged for its date to name it (a date counts in seconds)."""


class _Version(NamedTuple):
    """Which of the files that a URL may have named an answer is of."""

    name: str = ""
    """A strong ETag, or a date of change; empty where there is neither, so that nothing goes on there."""
    total: int | None = None
    """Bytes of the whole file; None where nobody says."""


class HttpTransfer:
    """A URL; called with a sink it writes the bytes that the file lacks.

    The rest of a file is taken only where the server says that it is the rest of the very same one: of the
    same strong ETag or date, beginning where the file ends, and of the same length in all. What is anything
    else is begun anew.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._begun = _Version()

    def __call__(self, sink: Sink) -> None:
        """Makes one attempt.

        Raises:
            TransferFailed: It broke off, the server refuses, or a web page came.
        """
        begun = self._begun
        start = sink.done if begun.name else 0
        headers = {"Accept-Encoding": "identity"}  # so that Content-Length counts what arrives
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": begun.name}
        timeout = (CONNECT_SECONDS, STALL_SECONDS)
        try:
            with requests.get(self.url, headers=headers, stream=True, timeout=timeout) as response:
                if response.status_code in (206, 416):
                    self._begun = _Version()  # unless it proves to be the same
                _refuse(response, self.url)
                if response.status_code == 206:
                    _refuse_another(response, begun, start)
                else:
                    start = 0
                version = _version(response)
                sink.begin(start, version.total)
                self._begun = version
                _copy(response, sink, version.total)
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


def _version(response: requests.Response) -> _Version:
    if "Content-Encoding" in response.headers:  # although it was asked not to
        return _Version()
    if response.status_code == 206:
        total = response.headers["Content-Range"].rpartition("/")[2]
    else:
        total = response.headers.get("Content-Length", "")
    return _Version(_version_name(response), int(total) if total.isdecimal() else None)


def _version_name(response: requests.Response) -> str:
    tag = response.headers.get("ETag")
    if tag is not None:
        return tag if re.fullmatch(r'"[^"]*"', tag) else ""  # a weak one names files that are alike
    changed, now = response.headers.get("Last-Modified", ""), response.headers.get("Date", "")
    try:
        is_steady = parsedate_to_datetime(now) - parsedate_to_datetime(changed) >= _STEADY
    except (TypeError, ValueError, OverflowError):
        return ""
    return changed if is_steady else ""


def _refuse_another(response: requests.Response, begun: _Version, start: int) -> None:
    """Refuses a part that is not the rest of the file that was begun."""
    part = re.fullmatch(
        r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", "").strip()
    )
    if start and part and "Content-Encoding" not in response.headers:
        first, last, total = map(int, part.groups())
        is_rest = first == start and last + 1 == total and begun.total in (None, total)
        if is_rest and _version_name(response) == begun.name:
            return
    raise TransferFailed("a part of another file came, or one not asked for", is_brief=True)


def _copy(response: requests.Response, sink: Sink, total: int | None) -> None:
    for chunk in response.iter_content(_CHUNK):
        sink.write(chunk)
    if total is not None and sink.done != total:
        raise TransferFailed(f"truncated: {sink.done} of {total} bytes came", is_brief=True)
    if not sink.done:
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
