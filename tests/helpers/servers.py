"""A web server on this machine for tests of downloads; what it answers, a test decides."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Server:
    """Answers by path; keeps what it was asked."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """`(path, Range header)` of each request."""

    def count(self, path: str) -> int:
        return sum(found == path for found, _ in self.asked)


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port of 127.0.0.1."""
    served = Server("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            served.asked.append((path, self.headers.get("Range", "")))
            self.close_connection = True
            with contextlib.suppress(ConnectionError):
                served.answers.get(path, status(404))(self)

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.url = f"http://127.0.0.1:{httpd.server_port}"
    try:
        yield served
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def body(
    content: bytes,
    *,
    of: int | None = None,
    kind: str = "application/octet-stream",
    code: int = 200,
    **headers: str,
) -> Answer:
    """These bytes; `of` says how many it claims to send."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response_only(code)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content) if of is None else of))
        handler.send_header("Connection", "close")
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)

    return answer


def part(content: bytes, start: int, **headers: str) -> Answer:
    """The rest of these bytes, as an answer to a request for a range."""
    about = f"bytes {start}-{len(content) - 1}/{len(content)}"
    return body(content[start:], code=206, Content_Range=about, **headers)


def status(code: int, **headers: str) -> Answer:
    """An empty answer."""
    return body(b"", code=code, kind="text/plain", **headers)


def in_turn(*answers: Answer) -> Answer:
    """One after the other; the last one stays."""
    left = list(answers)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler)

    return answer


def stalled(content: bytes, *, of: int, until: threading.Event) -> Answer:
    """The beginning of a file, then silence."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        body(content, of=of)(handler)
        handler.wfile.flush()
        until.wait(20)

    return answer


def closed_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    import socket

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port
