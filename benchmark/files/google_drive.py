"""Google Drive, where the RobustBench zoo keeps its checkpoints: gdown, held to the promises of downloads."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import gdown
import requests
from gdown.exceptions import FileURLRetrievalError

from benchmark.files.downloads import Origin
from benchmark.files.limits import Sink, TransferFailed


def drive_origin(drive_id: str) -> Origin:
    """A file that Google Drive shares under an id, as `fetch` takes it."""
    hint = f"from https://drive.google.com/uc?id={drive_id} (Google Drive id {drive_id})"
    return Origin(hint, partial(_transfer, drive_id))


def _transfer(drive_id: str, sink: Sink) -> None:
    """One attempt, from the beginning; gdown itself would wait for ever."""
    sink.begin(0, None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # gdown's, about Beautiful Soup
            gdown.download(id=drive_id, output=sink, quiet=True, use_cookies=False)
    except Exception as error:
        raise _named(error) from error
    if not sink.done:
        raise TransferFailed("an empty file came", is_brief=True)


def _named(error: Exception) -> Exception:
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
