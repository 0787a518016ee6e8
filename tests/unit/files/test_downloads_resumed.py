"""Downloads that break off, drip or swell: no file is made of two, and none is larger or later than allowed."""

import gzip
import time

import pytest

from benchmark.errors import BenchError
from benchmark.files import downloads
from benchmark.files.downloads import fetch
from benchmark.files.limits import Limits
from tests.helpers.servers import body, in_turn, part, serving, status

CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSES", (0.01, 0.01, 0.01))
    for name in ("BENCH_OFFLINE", "HF_HUB_OFFLINE", "BENCH_MAX_GB", "BENCH_MAX_HOURS"):
        monkeypatch.delenv(name, raising=False)
    with serving() as served:
        yield served


def refused(url, target, **options):
    """The one line of a download that fails and leaves nothing behind."""
    with pytest.raises(BenchError) as caught:
        fetch(url, target, what="net", **options)
    line = str(caught.value)
    assert "\n" not in line
    assert list(target.parent.iterdir()) == []
    return line


def test_a_transfer_that_broke_off_goes_on_where_it_was(server, tmp_path):
    def rest(handler):
        start = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        assert handler.headers["If-Range"] == '"v1"'
        part(CONTENT, start, ETag='"v1"')(handler)

    server.answers["/net.pt"] = in_turn(
        body(CONTENT[:600_000], of=len(CONTENT), ETag='"v1"'), status(503), rest
    )
    fetch(f"{server.url}/net.pt", tmp_path / "net.pt", what="net")
    assert (tmp_path / "net.pt").read_bytes() == CONTENT
    ranges = [asked for _, asked in server.asked]
    assert ranges == ["", "bytes=589824-", "bytes=589824-"]  # whole chunks of 64 KiB are kept


OTHER = bytes(reversed(CONTENT))
KEPT = 589_824
"""Bytes of a broken transfer that are kept."""
BROKEN_OFF = body(OTHER[:600_000], of=len(CONTENT), ETag='"v1"')


@pytest.mark.parametrize(
    "answer",
    [
        part(CONTENT, KEPT, ETag='"v2"'),
        part(CONTENT, KEPT, ETag='W/"v1"'),
        part(CONTENT, KEPT),
        part(CONTENT, KEPT - 1, ETag='"v1"'),
        part(CONTENT, 0, ETag='"v1"'),
        part(CONTENT + b"x", KEPT, ETag='"v1"'),
        part(CONTENT, KEPT, ETag='"v1"', Content_Encoding="gzip"),
        body(CONTENT[KEPT:], code=206, ETag='"v1"'),
        body(CONTENT[KEPT:], code=206, ETag='"v1"', Content_Range=f"bytes {KEPT}-{KEPT + 9}/*"),
        status(416, ETag='"v1"', Content_Range="bytes */9"),
        status(416),
    ],
)
def test_a_part_of_another_file_is_never_joined_to_what_is_there(server, tmp_path, answer):
    server.answers["/net.pt"] = in_turn(BROKEN_OFF, answer, body(CONTENT, ETag='"v2"'))
    fetch(f"{server.url}/net.pt", tmp_path / "net.pt", what="net")
    assert (tmp_path / "net.pt").read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == ["", f"bytes={KEPT}-", ""]


MONDAY, LATER = "Mon, 02 Nov 2026 10:00:00 GMT", "Mon, 02 Nov 2026 10:00:30 GMT"
TUESDAY = "Tue, 03 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"ETag": 'W/"v1"'},
        {"ETag": "v1"},
        {"ETag": 'W/"v1"', "Last_Modified": MONDAY, "Date": TUESDAY},
        {"Last_Modified": MONDAY},
        {"Last_Modified": MONDAY, "Date": LATER},
        {"Last_Modified": "yesterday", "Date": TUESDAY},
        {"ETag": '"v1"', "Content_Encoding": "identity"},
    ],
)
def test_without_a_sure_name_of_the_file_a_transfer_begins_anew(server, tmp_path, names):
    server.answers["/net.pt"] = in_turn(
        body(OTHER[:600_000], of=len(CONTENT), **names), body(CONTENT, **names)
    )
    fetch(f"{server.url}/net.pt", tmp_path / "net.pt", what="net")
    assert (tmp_path / "net.pt").read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == ["", ""]


@pytest.mark.parametrize("date", [MONDAY, TUESDAY])
def test_a_date_of_change_long_past_names_a_file_as_well(server, tmp_path, date):
    server.answers["/net.pt"] = in_turn(
        body(CONTENT[:600_000], of=len(CONTENT), Last_Modified=MONDAY, Date=TUESDAY),
        part(CONTENT, KEPT, Last_Modified=date, Date=TUESDAY),
        body(CONTENT),
    )
    fetch(f"{server.url}/net.pt", tmp_path / "net.pt", what="net")
    assert (tmp_path / "net.pt").read_bytes() == CONTENT
    assert len(server.asked) == (2 if date == MONDAY else 3)


def test_a_part_that_nobody_asked_for_is_no_file(server, tmp_path):
    server.answers["/net.pt"] = part(CONTENT, 0, ETag='"v1"')
    assert "not asked for" in refused(f"{server.url}/net.pt", tmp_path / "net.pt")


def dripping(head: bytes):
    """A byte now and then, for ever."""

    def answer(handler):
        handler.wfile.write(head)
        for _ in range(400):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)

    return answer


LIMITS = Limits(size=500_000, seconds=1.0)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (body(CONTENT), "larger than the limit of 0.0005 GB; BENCH_MAX_GB"),
        (body(gzip.compress(bytes(10**7)), Content_Encoding="gzip"), "larger than the limit"),
        (dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n"), "BENCH_MAX_HOURS"),
        (dripping(b"HTTP/1.1 200 OK\r\nX: "), "longer than the limit"),
    ],
)
def test_a_file_too_large_or_too_slow_is_given_up(server, tmp_path, answer, reason):
    server.answers["/net.pt"] = answer
    since = time.monotonic()
    assert reason in refused(f"{server.url}/net.pt", tmp_path / "net.pt", limits=LIMITS)
    assert time.monotonic() - since < 10
    assert server.count("/net.pt") == 1


def test_a_length_that_nobody_gave_does_not_lift_the_limit(server, tmp_path):
    def endless(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            handler.wfile.write(CONTENT)

    server.answers["/net.pt"] = endless
    assert "larger than" in refused(f"{server.url}/net.pt", tmp_path / "net.pt", limits=LIMITS)


def test_limits_are_the_users_to_set(server, tmp_path, monkeypatch):
    server.answers["/net.pt"] = body(CONTENT)
    monkeypatch.setenv("BENCH_MAX_GB", "0.0001")
    assert "0.0001 GB" in refused(f"{server.url}/net.pt", tmp_path / "net.pt")
    monkeypatch.setenv("BENCH_MAX_GB", "1")
    fetch(f"{server.url}/net.pt", tmp_path / "net.pt", what="net", limits=LIMITS)
    monkeypatch.setenv("BENCH_MAX_HOURS", "-1")
    with pytest.raises(BenchError, match="BENCH_MAX_HOURS is '-1'; give a number above 0"):
        fetch(f"{server.url}/net.pt", tmp_path / "net.pt", what="net")


def test_a_file_that_changed_meanwhile_is_begun_anew(server, tmp_path):
    server.answers["/net.pt"] = in_turn(
        body(b"x" * 600_000, of=len(CONTENT), ETag='"v1"'), body(CONTENT, ETag='"v2"')
    )
    fetch(f"{server.url}/net.pt", tmp_path / "net.pt", what="net")
    assert server.count("/net.pt") == 2
