"""Downloads: whole and checked under the final name, or nothing but one clear line."""

import hashlib
import threading

import pytest

from benchmark import downloads, transfer
from benchmark.downloads import fetch_url, is_offline, reported_to
from benchmark.errors import BenchError
from tests.servers import body, closed_port, in_turn, serving, stalled, status

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
        fetch_url(url, target, what="the weights of 'net'", **options)
    line = str(caught.value)
    assert "\n" not in line
    assert target.name in line
    assert str(target.parent) in line
    assert url in line
    assert not [path for path in target.parent.iterdir() if not path.name.endswith(".lock")]
    return line


def test_a_file_arrives_whole_and_tells_how_far_it_is(server, tmp_path):
    server.answers["/net.pt"] = body(CONTENT)
    seen = []
    with reported_to(lambda *told: seen.append(told)):
        target = tmp_path / "models" / "net.pt"
        fetch_url(f"{server.url}/net.pt", target, what="net", sha256=SHA256.upper())
    assert target.read_bytes() == CONTENT
    assert seen[0] == ("net", 0, len(CONTENT))
    assert seen[-1] == ("net", len(CONTENT), len(CONTENT))
    assert sorted({path.name for path in target.parent.iterdir()} - {".net.pt.lock"}) == ["net.pt"]


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
    fetch_url(f"{server.url}/net.pt", tmp_path / "net.pt", what="net", sha256=SHA256)
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
