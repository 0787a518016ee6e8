"""Downloads: whole and checked under the final name, or nothing but one clear line."""

import errno
import gzip
import hashlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from benchmark.errors import BenchError
from benchmark.files import downloads
from benchmark.files import http as transfer
from benchmark.files.downloads import fetch, is_offline, reported_to
from tests.helpers.child_processes import hear_interrupts, within
from tests.helpers.servers import body, closed_port, in_turn, serving, stalled, status

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSES", (0.01, 0.01, 0.01))
    for name in ("BENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with serving() as served:
        yield served


def refused(url, target, **options):
    """The one line of a download that fails and leaves nothing behind."""
    with pytest.raises(BenchError) as caught:
        fetch(url, target, what="the weights of 'net'", **options)
    line = str(caught.value)
    assert "\n" not in line
    assert target.name in line
    assert str(target.parent) in line
    assert url in line
    assert list(target.parent.iterdir()) == []
    return line


def test_a_file_arrives_whole_and_tells_how_far_it_is(server, tmp_path):
    server.answers["/net.pt"] = body(CONTENT)
    seen = []
    with reported_to(lambda *told: seen.append(told)):
        target = tmp_path / "models" / "net.pt"
        fetch(f"{server.url}/net.pt", target, what="net", sha256=SHA256.upper())
    assert target.read_bytes() == CONTENT
    assert seen[0] == ("net", 0, len(CONTENT))
    assert seen[-1] == ("net", len(CONTENT), len(CONTENT))
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("answer", "reason", "asked"),
    [
        (body(b"<!DOCTYPE html><p>Quota exceeded"), "web page", 1),
        (body(b"sign in first", kind="text/html; charset=utf-8"), "web page", 1),
        (body(CONTENT, of=len(CONTENT) + 1), "truncated", 4),
        (body(b""), "empty", 4),
        (body(CONTENT[1:]), "sha256", 1),
        (status(404), "404", 1),
        (status(503), "503", 4),
        (status(429, Retry_After="3600"), "429", 1),
        (status(302, Location="/net.pt"), "redirects without end", 31),
    ],
)
def test_what_is_not_the_file_is_one_line_and_leaves_nothing(
    server, tmp_path, answer, reason, asked
):
    server.answers["/net.pt"] = answer
    assert reason in refused(f"{server.url}/net.pt", tmp_path / "net.pt", sha256=SHA256)
    assert server.count("/net.pt") == asked


def test_a_server_that_recovers_is_asked_again(server, tmp_path):
    server.answers["/net.pt"] = in_turn(status(503), status(503), body(CONTENT))
    fetch(f"{server.url}/net.pt", tmp_path / "net.pt", what="net", sha256=SHA256)
    assert server.count("/net.pt") == 3


def test_a_server_that_falls_silent_is_left(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "STALL_SECONDS", 0.2)
    monkeypatch.setattr(downloads, "PAUSES", (0.01,))
    over = threading.Event()
    server.answers["/net.pt"] = stalled(CONTENT[:999], of=len(CONTENT), until=over)
    assert "fell silent" in refused(f"{server.url}/net.pt", tmp_path / "net.pt")
    over.set()


def test_a_host_that_cannot_be_reached_is_named(server, tmp_path):
    url = f"http://127.0.0.1:{closed_port()}/net.pt"
    assert "127.0.0.1" in refused(url, tmp_path / "net.pt").split("cannot be reached")[0]


def test_offline_nothing_is_asked(server, tmp_path, monkeypatch):
    assert not is_offline()
    for name in ("BENCH_OFFLINE", "HF_HUB_OFFLINE"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "1")
            assert is_offline()
            assert "offline mode" in refused(f"{server.url}/net.pt", tmp_path / "net.pt")
    assert server.asked == []


def test_a_redirect_is_followed(server, tmp_path):
    server.answers["/net.pt"] = status(302, Location="/elsewhere?token=1")
    server.answers["/elsewhere"] = body(CONTENT)
    fetch(f"{server.url}/net.pt", tmp_path / "net.pt", what="net", sha256=SHA256)
    assert server.count("/elsewhere") == 1


def test_what_accept_refuses_gets_no_name(server, tmp_path):
    server.answers["/net.pt"] = body(CONTENT)

    def accept(part):
        assert part.read_bytes() == CONTENT
        raise BenchError(f"{part.name} holds no weights; delete it")

    line = refused(f"{server.url}/net.pt", tmp_path / "net.pt", accept=accept)
    assert "(net.pt holds no weights" in line
    assert ".part" not in line


def test_a_file_that_was_there_stays_where_a_new_one_cannot_be_had(server, tmp_path):
    (tmp_path / "net.pt").write_bytes(b"old")
    with pytest.raises(BenchError, match="404"):
        fetch(f"{server.url}/net.pt", tmp_path / "net.pt", what="net")
    assert (tmp_path / "net.pt").read_bytes() == b"old"


def test_a_name_and_a_password_in_a_url_are_not_printed(server, tmp_path):
    url = f"{server.url}/net.pt".replace("://", "://me:secret@")
    with pytest.raises(BenchError, match="404") as caught:
        fetch(url, tmp_path / "net.pt", what="net")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/net.pt", "https://", "net.pt", "http://[::1/x"])
def test_what_is_no_url_is_one_line(server, tmp_path, url):
    refused(url, tmp_path / "net.pt")


def test_a_folder_that_cannot_be_made_is_one_line(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="could not be written") as caught:
        fetch(f"{server.url}/net.pt", tmp_path / "file" / "net.pt", what="net")
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_one_line_and_leaves_nothing(server, tmp_path, monkeypatch):
    server.answers["/net.pt"] = body(CONTENT)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("benchmark.files.downloads.os.fsync", full)
    with pytest.raises(BenchError, match="No space left on device"):
        fetch(f"{server.url}/net.pt", tmp_path / "net.pt", what="net")
    assert list(tmp_path.iterdir()) == []


FETCH = """
import sys
from pathlib import Path
from benchmark.files.downloads import fetch
fetch(sys.argv[1], Path(sys.argv[2]), what="net")
"""


def start(server, target):
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, f"{server.url}/net.pt", str(target)],
        preexec_fn=hear_interrupts,
        stderr=subprocess.DEVNULL,
    )


def test_a_download_that_is_interrupted_leaves_nothing_at_all(server, tmp_path):
    over = threading.Event()
    server.answers["/net.pt"] = stalled(CONTENT[:300_000], of=len(CONTENT), until=over)
    child = start(server, tmp_path / "net.pt")
    try:
        assert within(20, lambda: any(part.stat().st_size for part in tmp_path.glob(".*.part")))
        child.send_signal(signal.SIGINT)
        assert child.wait(20) != 0
    finally:
        child.kill()
        over.set()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_comes_packed_is_whole_all_the_same(server, tmp_path):
    server.answers["/net.pt"] = body(gzip.compress(CONTENT), Content_Encoding="gzip")
    fetch(f"{server.url}/net.pt", tmp_path / "net.pt", what="net", sha256=SHA256)


def test_a_download_that_is_killed_leaves_nothing_under_the_final_name(server, tmp_path):
    over = threading.Event()
    server.answers["/net.pt"] = in_turn(
        stalled(CONTENT[: len(CONTENT) // 2], of=len(CONTENT), until=over), body(CONTENT)
    )
    child = start(server, tmp_path / "net.pt")
    try:
        assert within(20, lambda: any(part.stat().st_size for part in tmp_path.glob(".*.part")))
    finally:
        child.kill()
        child.wait()
        over.set()
    assert {path.suffix for path in tmp_path.iterdir()} == {".part", ".lock"}
    fetch(f"{server.url}/net.pt", tmp_path / "net.pt", what="net", sha256=SHA256)
    assert list(tmp_path.iterdir()) == [tmp_path / "net.pt"]


def test_processes_that_want_one_file_at_once_download_it_once(server, tmp_path):
    over = threading.Event()

    def slow(handler):
        over.wait(20)
        body(CONTENT)(handler)

    server.answers["/net.pt"] = slow
    children = [start(server, tmp_path / "net.pt") for _ in range(2)]
    assert within(20, lambda: server.asked)
    time.sleep(0.3)
    over.set()
    assert [child.wait(20) for child in children] == [0, 0]
    assert (tmp_path / "net.pt").read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [tmp_path / "net.pt"]
