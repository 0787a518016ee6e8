"""Google Drive: gdown itself against a server that stands for it, and what else that may answer."""

import threading

import pytest
import requests

from benchmark.errors import BenchError
from benchmark.files import downloads, limits
from benchmark.files.downloads import fetch, reported_to
from benchmark.files.google_drive import drive_origin
from tests.helpers.servers import body, in_turn, serving, stalled, status

CONTENT = bytes(range(256)) * 4000
QUOTA = (
    b"<html><title>Google Drive - Quota exceeded</title>\n"
    b'<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p>'
)
CONFIRM = (
    b'<html><form id="download-form" action="https://drive.google.com/big" method="get">'
    b'<input type="hidden" name="confirm" value="t"></form></html>'
)


@pytest.fixture
def server(monkeypatch):
    """Answers in the place of drive.google.com."""
    monkeypatch.setattr(downloads, "PAUSES", (0.01, 0.01))
    monkeypatch.delenv("BENCH_OFFLINE", raising=False)
    get = requests.Session.get
    with serving() as served:
        monkeypatch.setattr(
            requests.Session,
            "get",
            lambda self, url, **options: get(
                self, url.replace("https://drive.google.com", served.url), **options
            ),
        )
        yield served


def shared(content, **options):
    return body(content, Content_Disposition='attachment; filename="theirs.pt"', **options)


def test_a_file_that_is_shared_arrives_and_tells_how_far_it_is(server, tmp_path, capfd):
    server.answers["/uc"] = shared(CONTENT)
    seen = []
    with reported_to(lambda *told: seen.append(told)):
        fetch(drive_origin("an-id"), tmp_path / "net.pt", what="net")
    assert (tmp_path / "net.pt").read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [tmp_path / "net.pt"]
    assert seen[-1] == ("net", len(CONTENT), None)
    assert capfd.readouterr() == ("", "")


def test_a_large_file_that_wants_a_confirmation_is_confirmed(server, tmp_path):
    server.answers |= {"/uc": body(CONFIRM, kind="text/html"), "/big": shared(CONTENT)}
    fetch(drive_origin("an-id"), tmp_path / "net.pt", what="net")
    assert (tmp_path / "net.pt").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answer", "reason", "asked"),
    [
        (body(QUOTA, kind="text/html"), "Too many users have viewed", 1),
        (body(b"<html>Sign in</html>", kind="text/html"), "Cannot retrieve the public link", 1),
        (shared(b"<!DOCTYPE html><p>no"), "web page", 1),
        (shared(CONTENT, of=len(CONTENT) + 1), "truncated", 3),
        (shared(b""), "empty", 3),
        (shared(b"other"), "sha256", 1),
        (status(404), "Google Drive refuses", 1),
    ],
)
def test_what_is_not_the_file_is_one_line_that_says_how_to_get_it(
    server, tmp_path, answer, reason, asked
):
    server.answers["/uc"] = answer
    with pytest.raises(BenchError, match="could not be downloaded") as caught:
        fetch(
            drive_origin("an-id"),
            tmp_path / "net.pt",
            what="the checkpoint of 'Net'",
            sha256="0" * 64,
        )
    line = str(caught.value)
    assert reason in line
    assert "\n" not in line
    assert all(word in line for word in ("net.pt", "uc?id=an-id", str(tmp_path)))
    assert list(tmp_path.iterdir()) == []
    assert server.count("/uc") == asked


def test_a_connection_that_fails_is_tried_again_from_the_beginning(server, tmp_path):
    server.answers["/uc"] = in_turn(shared(CONTENT[:700_000], of=len(CONTENT)), shared(CONTENT))
    fetch(drive_origin("an-id"), tmp_path / "net.pt", what="net")
    assert (tmp_path / "net.pt").read_bytes() == CONTENT


def test_a_drive_that_falls_silent_is_left(server, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(downloads, "PAUSES", ())
    over = threading.Event()
    server.answers["/uc"] = stalled(b"", of=10, until=over)
    with pytest.raises(BenchError, match="fell silent"):
        fetch(drive_origin("an-id"), tmp_path / "net.pt", what="net")
    over.set()
    assert list(tmp_path.iterdir()) == []


def test_a_drive_that_cannot_be_reached_is_named(server, tmp_path, monkeypatch):
    def refused(session, url, **options):
        raise requests.ConnectionError("no route to host")

    monkeypatch.setattr(requests.Session, "get", refused)
    with pytest.raises(BenchError, match="Google Drive cannot be reached"):
        fetch(drive_origin("an-id"), tmp_path / "net.pt", what="net")


def test_offline_the_drive_is_not_asked(server, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    with pytest.raises(BenchError, match=r"offline mode .*uc.id=an-id"):
        fetch(drive_origin("an-id"), tmp_path / "net.pt", what="net")
    assert server.asked == []
