"""Packed files: whole and inside their folder, or one line before memory or the disk is full."""

import gzip
import io
import struct
import tarfile
import warnings
import zipfile
import zlib

import numpy as np
import pytest
import torch

from benchmark.classifiers.state import load_state
from benchmark.datasets.folder import read_image
from benchmark.datasets.npz import NpzDataset
from benchmark.datasets.unpacking import unpack
from benchmark.errors import BenchError
from benchmark.files import expansion

FILES = {"set/a.txt": b"first", "set/deep/b.txt": b"second" * 1000, "c": b""}


@pytest.fixture
def tight(monkeypatch):
    """Small limits, so that small bombs do."""
    monkeypatch.setattr(expansion, "_ALWAYS", 1_000_000)
    monkeypatch.setattr(expansion, "MEMBERS", 50)


def tarred(*members, mode="w:gz", form=tarfile.PAX_FORMAT) -> bytes:
    """A tar archive of `(TarInfo or name, content)`."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode, format=form) as tar:
        for about, data in members:
            if isinstance(about, str):
                about = tarfile.TarInfo(about)
            about.size = about.size or len(data)
            tar.addfile(about, io.BytesIO(data))
    return content.getvalue()


def zipped(*members, how=zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", how) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return content.getvalue()


def kind(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    about = tarfile.TarInfo(name)
    about.type, about.linkname = kind, target
    return about


def zip_link() -> zipfile.ZipInfo:
    about = zipfile.ZipInfo("link")
    about.external_attr = 0o120777 << 16
    return about


def refused(tmp_path, content: bytes, name: str = "set.tgz") -> str:
    """The one line that an archive is refused with; nothing is outside the folder."""
    inside = tmp_path / "inside"
    inside.mkdir()
    file = inside / name
    file.write_bytes(content)
    with pytest.raises(BenchError) as caught:
        unpack(file, inside / "aside")
    line = str(caught.value)
    assert "\n" not in line
    assert str(file) in line
    assert list(tmp_path.iterdir()) == [inside]
    left = [path for path in (inside / "aside").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in left) <= 1_000_000
    return line


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("set.tgz", tarred(*FILES.items())),
        ("set.tar", tarred(*FILES.items(), mode="w")),
        ("set.tar", tarred(*FILES.items(), mode="w", form=tarfile.USTAR_FORMAT)),
        ("set.tar.xz", tarred(*FILES.items(), mode="w:xz")),
        ("set.tar.bz2", tarred(*FILES.items(), mode="w:bz2")),
        ("set.zip", zipped(*FILES.items())),
    ],
)
def test_an_archive_is_unpacked_whole(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    unpack(tmp_path / name, tmp_path / "aside")
    found = {
        path.relative_to(tmp_path / "aside").as_posix(): path.read_bytes()
        for path in (tmp_path / "aside").rglob("*")
        if path.is_file()
    }
    assert found == FILES


@pytest.mark.parametrize(
    ("name", "content", "unpacked"),
    [
        (
            "images-idx3-ubyte.gz",
            gzip.compress(b"pixels", mtime=0),
            {"images-idx3-ubyte": b"pixels"},
        ),
        ("train.mat", b"as it is", {"train.mat": b"as it is"}),
        ("odd.mat", gzip.compress(b"x", mtime=0), {"odd.mat": gzip.compress(b"x", mtime=0)}),
    ],
)
def test_a_single_file_is_unpacked_or_taken_as_it_is(tmp_path, name, content, unpacked):
    (tmp_path / name).write_bytes(content)
    unpack(tmp_path / name, tmp_path / "aside")
    assert {path.name: path.read_bytes() for path in (tmp_path / "aside").iterdir()} == unpacked


ZEROS = bytes(5_000_000)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("set.tgz", tarred(("zeros", ZEROS))),
        ("set.tar.xz", tarred(("zeros", ZEROS), mode="w:xz")),
        ("set.tar.bz2", tarred(("zeros", ZEROS), mode="w:bz2")),
        ("set.zip", zipped(("zeros", ZEROS))),
        ("set.zip", zipped(*[(f"{i}", ZEROS[:400_000]) for i in range(9)])),
        ("set.gz", gzip.compress(ZEROS, mtime=0)),
        ("set.tgz", tarred((tarfile.TarInfo("x" * 3_000_000), b""))),
    ],
)
@pytest.mark.usefixtures("tight")
def test_a_bomb_is_refused_before_it_has_expanded(tmp_path, name, content):
    assert "expands to more than 1000000 bytes" in refused(tmp_path, content, name)


@pytest.mark.usefixtures("tight")
def test_more_members_than_any_archive_has_are_refused(tmp_path):
    members = [(f"{i}", b"") for i in range(51)]
    assert "more than 50 members" in refused(tmp_path, tarred(*members))


def test_what_the_user_says_about_size_is_what_counts(tmp_path, monkeypatch):
    (tmp_path / "set.zip").write_bytes(zipped(("zeros", ZEROS)))
    monkeypatch.setattr(expansion, "_ALWAYS", 1_000_000)
    monkeypatch.setenv("BENCH_MAX_GB", "0.006")
    unpack(tmp_path / "set.zip", tmp_path / "aside")
    monkeypatch.setenv("BENCH_MAX_GB", "0.004")
    with pytest.raises(BenchError, match="expands to more than 4000000 bytes"):
        unpack(tmp_path / "set.zip", tmp_path / "aside")


def test_a_header_that_asks_for_more_memory_than_a_header_needs_is_refused(tmp_path):
    about = kind("name", tarfile.GNUTYPE_LONGNAME)
    about.size = 1 << 30
    head = about.tobuf(tarfile.GNU_FORMAT)
    assert "more memory than a header needs" in refused(tmp_path, head + bytes(10_000), "set.tar")


@pytest.mark.parametrize(
    "content",
    [
        tarred(("../outside", b"x")),
        tarred(("a/../../outside", b"x")),
        tarred((kind("link", tarfile.SYMTYPE, "/etc"), b"")),
        tarred((kind("link", tarfile.SYMTYPE, "a"), b"")),
        tarred(("a", b"x"), (kind("hard", tarfile.LNKTYPE, "a"), b"")),
        tarred((kind("pipe", tarfile.FIFOTYPE), b"")),
        tarred((kind("device", tarfile.CHRTYPE), b"")),
        zipped(("../outside", b"x")),
        zipped(("/outside", b"x")),
        zipped(("a\\..\\..\\outside", b"x")),
        zipped((zip_link(), b"/etc")),
        tarred(*FILES.items())[:-40],
        zipped(*FILES.items())[:-40],
        gzip.compress(b"no tar", mtime=0)[:-6],
        b"PK\3\4",
    ],
    ids=range(15),
)
def test_what_is_no_plain_file_inside_or_is_damaged_is_refused(tmp_path, content):
    assert "cannot be unpacked" in refused(tmp_path, content, "set.gz")


def overlapping(content: bytes, times: int) -> bytes:
    """A zip archive whose one member is listed many times."""
    end = content.rindex(b"PK\5\6")
    start = struct.unpack("<I", content[end + 16 : end + 20])[0]
    entry = content[start:end]
    tail = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, times, times, len(entry) * times, start, 0)
    return content[:start] + entry * times + tail


@pytest.mark.usefixtures("tight")
def test_a_checkpoint_that_is_a_bomb_is_refused_before_torch_opens_it(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "load", None)
    monkeypatch.setattr(expansion, "MEMBERS", 1000)
    path = tmp_path / "net.pt"
    for content in (
        zipped(("net/data.pkl", ZEROS)),
        overlapping(zipped(("net/data.pkl", ZEROS[:50_000]), how=zipfile.ZIP_STORED), 500),
    ):
        path.write_bytes(content)
        with pytest.raises(BenchError, match="expands to more than") as caught:
            load_state(path)
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("tight")
def test_a_checkpoint_of_zeros_as_torch_writes_it_is_none(tmp_path):
    torch.save({"weight": torch.zeros(1_000_000)}, tmp_path / "net.pt")
    assert load_state(tmp_path / "net.pt")["weight"].shape == (1_000_000,)


@pytest.mark.usefixtures("tight")
def test_arrays_that_are_a_bomb_are_refused(tmp_path):
    path = tmp_path / "set.npz"
    np.savez_compressed(path, images=np.zeros((2000, 28, 28), np.uint8), labels=np.zeros(2000, int))
    with pytest.raises(BenchError, match="expands to more than"):
        NpzDataset(folder=tmp_path, file=path)


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_picture_that_is_a_bomb_is_refused_without_a_warning(tmp_path, side):
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path = tmp_path / "big.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b""))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BenchError, match=r"big.png.*decompression bomb") as caught:
            read_image(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_only_looks_like_a_picture_is_not_run(tmp_path):
    path = tmp_path / "script.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(BenchError, match="missing or damaged"):
        read_image(path)
