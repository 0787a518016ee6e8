"""Sheets: the very pixels, the same bytes each time, written before their entry; no other file is one."""

from __future__ import annotations

import hashlib
import io
import os
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.errors import BenchError
from benchmark.publishing import sheets
from benchmark.publishing.entry_files import read_entry, write_entry
from benchmark.publishing.sheets import (
    header,
    png,
    read_sheet,
    sheet_path,
    write_shown,
    wrong_in,
)
from benchmark.running.pictures import about_grey, eight_bits, sheet_of
from tests.pictured import pictured


def tiles(rows=2, columns=3, c=3, h=5, w=7):
    """Noise, a flat picture, and slopes in both directions: each filter is the best somewhere."""
    generator = torch.Generator().manual_seed(3)
    made = torch.randint(0, 256, (rows, columns, c, h, w), dtype=torch.uint8, generator=generator)
    made[0, 0] = 7
    made[0, 1] = torch.arange(w, dtype=torch.uint8) * 9
    made[-1, -1] = torch.arange(h, dtype=torch.uint8)[:, None] * 11 + torch.arange(w) * 5
    return made


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("gap", [0, 2])
def test_a_sheet_holds_the_very_pixels_where_they_belong_and_nothing_between(c, gap):
    given = tiles(c=c)
    image = Image.open(io.BytesIO(sheet_of(given, gap)))
    assert image.mode == {1: "LA", 3: "RGBA"}[c]
    pixels = np.asarray(image).copy()  # (h, w, c + 1)
    assert pixels.shape == (2 * 5 + gap, 3 * 7 + 2 * gap, c + 1)
    for i in range(2):
        for j in range(3):
            top, left = i * (5 + gap), j * (7 + gap)
            tile = pixels[top : top + 5, left : left + 7]
            assert (tile[..., :c] == given[i, j].permute(1, 2, 0).numpy()).all()
            assert (tile[..., c] == 255).all()
            tile[...] = 0
    assert not pixels.any()


def test_the_same_pixels_give_the_same_bytes_and_other_pixels_others():
    given = tiles()
    assert sheet_of(given, 1) == sheet_of(given.clone(), 1)
    other = given.clone()
    other[1, 1, 0, 0, 0] += 1
    assert sheet_of(other, 1) != sheet_of(given, 1)


def test_a_smooth_picture_is_packed_tighter_than_its_plain_rows():
    slope = (torch.arange(64)[:, None] * 2 + torch.arange(64)).to(torch.uint8)
    sheet = sheet_of(slope.expand(1, 1, 3, 64, 64), 0)
    plain = np.asarray(Image.open(io.BytesIO(sheet))).tobytes()
    assert len(sheet) < len(zlib.compress(plain, 9)) / 2


def test_pixels_are_rounded_and_changes_lie_about_a_middle_grey():
    x = torch.tensor([0.0, 0.5 / 255 + 1e-6, 0.999, 1.0])
    assert eight_bits(x).tolist() == [0, 1, 255, 255]
    change = torch.tensor([0.0, 0.1, -0.1, 0.9, -0.9], dtype=torch.float64)
    assert about_grey(change, 2).tolist() == pytest.approx([0.5, 0.7, 0.3, 1.0, 0.0])


def written(folder, sheet=True):
    entry, content = pictured()
    path = folder / "toy--net.json"
    write_entry(entry, path)
    if sheet:
        sheet_path(path).write_bytes(content)
    return entry, content, path


def test_the_sheet_beside_an_entry_is_read(tmp_path):
    entry, content, path = written(tmp_path)
    assert read_sheet(path, entry) == content
    assert read_sheet(path, entry.model_copy(update={"examples": None})) is None


def as_named(entry, content):
    """The entry, had it named this file."""
    digest = hashlib.sha256(content).hexdigest()
    return entry.examples.model_copy(update={"sha256": digest})


def made_of(content, width=None, tail=b"", filters=b"\0", ended=b"", extra=()):
    """A PNG like the sheet, but for what is asked for."""
    width = width or 44
    row = filters + bytes(width * 2)
    packed = zlib.compress(row * 26 + tail)
    chunks = {b"IHDR": header(width, 26, 1), **dict(extra), b"IDAT": packed, b"IEND": ended}
    return png(chunks)


def test_a_plain_png_of_the_right_size_is_taken():
    entry, content = pictured()
    made = made_of(content)
    assert wrong_in(made, as_named(entry, made), channels=1) == ""


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda good: b"", "no PNG"),
        (lambda good: b"<svg onload=alert(1)></svg>", "no PNG"),
        (lambda good: good[:-1], "no PNG"),
        (lambda good: good + b"<script>", "no PNG"),
        (lambda good: good[:60] + bytes([good[60] ^ 1]) + good[61:], "no PNG"),
        (lambda good: made_of(good, extra=[(b"tEXt", b"Comment\0hello")]), "no PNG"),
        (lambda good: made_of(good, extra=[(b"iCCP", b"x\0\0" + bytes(9))]), "no PNG"),
        (lambda good: made_of(good, ended=b"more"), "not the size"),
        (lambda good: made_of(good, width=43), "not the size"),
        (lambda good: made_of(good, tail=b"x"), "cannot be read"),
        (lambda good: made_of(good, tail=bytes(50_000_000)), "cannot be read"),
        (lambda good: made_of(good, filters=b"\x05"), "cannot be read"),
        (lambda good: png({b"IHDR": header(44, 26, 1), b"IDAT": b"x", b"IEND": b""}), "be read"),
        (lambda good: png({b"IHDR": header(44, 26, 3), b"IDAT": b"x", b"IEND": b""}), "the size"),
        (lambda good: png({b"IHDR": header(2**31 - 1, 2**31 - 1, 1), b"IDAT": b"", b"IEND": b""}), "size"),
        (lambda good: good + bytes(sheets.LARGEST), "more than"),
    ],
)  # fmt: skip
def test_no_other_file_is_taken_for_a_sheet_even_where_its_hash_is_named(make, reason):
    entry, content = pictured()
    made = make(content)
    assert reason in wrong_in(made, as_named(entry, made), channels=1)


def test_another_file_than_the_named_one_is_no_sheet():
    entry, content = pictured()
    made = made_of(content)
    assert wrong_in(made, entry.examples, channels=1) == "its sha256 is another"
    assert "5 channels" in wrong_in(content, entry.examples, channels=5)


def test_a_sheet_of_more_pixels_than_a_page_needs_is_refused_before_it_is_unpacked():
    entry, content = pictured()
    wide = as_named(entry, content).model_copy(update={"tile": (1024, 1024)})
    assert "too many" in wrong_in(content, wide, channels=3)


def test_a_missing_sheet_a_folder_and_a_pipe_are_named_and_nothing_waits(tmp_path):
    entry, _, path = written(tmp_path, sheet=False)
    beside = sheet_path(path)
    for make in (lambda: None, beside.mkdir, lambda: os.mkfifo(beside)):
        make()
        with pytest.raises(BenchError, match=r"toy--net\.png is missing.*run the entry's command"):
            read_sheet(path, entry)
        if beside.is_dir():
            beside.rmdir()


def test_an_entry_is_written_after_its_sheet(tmp_path, monkeypatch):
    entry, content = pictured()
    path = tmp_path / "toy--net.json"

    def killed(*words):
        raise KeyboardInterrupt

    monkeypatch.setattr(sheets, "write_entry", killed)
    with pytest.raises(KeyboardInterrupt):
        write_shown(entry, content, path)
    assert not path.exists()
    monkeypatch.undo()
    write_shown(entry, content, path)
    assert read_entry(path) == entry
    assert read_sheet(path, entry) == content


def test_a_new_entry_without_pictures_leaves_none_of_the_old_ones(tmp_path):
    entry, _, path = written(tmp_path)
    write_shown(entry.model_copy(update={"examples": None}), None, path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert read_entry(path).examples is None
