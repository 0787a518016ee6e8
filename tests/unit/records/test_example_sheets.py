"""Sheets: the very pixels, the same bytes each time, written before their entry; no other file is one."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.errors import BenchError
from benchmark.evaluation.execute.examples import about_grey, eight_bits, sheet_of
from benchmark.records import entry_files as beside
from benchmark.records import example_sheets as sheets
from benchmark.records.entry_files import read_entry, write_entry, write_shown
from benchmark.records.example_sheets import read_sheet, sheet_path
from benchmark.records.examples import Examples
from tests.helpers.entry_with_examples import pictured


def tiles(rows=2, columns=3, c=3, h=5, w=7):
    """Noise, a flat picture, and slopes in both directions."""
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


def chunk(name, data):
    whole = name + data
    return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))


def made_of(size=(44, 26), colours=4, packed=None, *extra):
    """A PNG like the sheet, of zeros, but for what is asked for."""
    head = struct.pack(">IIBBBBB", *size, 8, colours, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(44 * 2)) * 26) if packed is None else packed
    chunks = [(b"IHDR", head), *extra, (b"IDAT", rows), (b"IEND", b"")]
    return sheets.HEAD[:8] + b"".join(chunk(*each) for each in chunks)


def read(folder, made, **fields):
    """What is read of a file that an entry names by its hash."""
    entry, _, path = written(folder, sheet=False)
    sheet_path(path).write_bytes(made)
    named = {**as_named(entry, made).model_dump(), **fields}
    return read_sheet(path, entry.model_copy(update={"examples": Examples(**named)}))


def test_a_plain_png_of_the_right_size_is_taken(tmp_path):
    image = Image.open(io.BytesIO(read(tmp_path, made_of())))
    assert (image.mode, image.size, set(image.tobytes())) == ("LA", (44, 26), {0})


@pytest.mark.parametrize(
    "made",
    [
        made_of() + b"<script>alert(1)</script>",
        made_of((44, 26), 4, None, (b"tEXt", b"Comment\0<script>")),
        made_of((44, 26), 4, None, (b"iCCP", b"x\0\0" + zlib.compress(b"<script>"))),
        made_of((44, 26), 4, zlib.compress(bytes(89 * 26) + bytes(50_000_000))),
    ],
    ids=["more at its end", "a text", "a profile", "more pixels"],
)
def test_only_the_pixels_of_a_file_go_on(made, tmp_path):
    assert read(tmp_path, made) == read(tmp_path, made_of())


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (b"", "no PNG"),
        (b"<svg onload=alert(1)></svg>", "no PNG"),
        (b"GIF89a" + bytes(40), "no PNG"),
        (made_of()[:-40], "cannot be read"),
        (made_of((43, 26)), "no PNG of 44 x 26"),
        (made_of((2**31 - 1, 2**31 - 1)), "no PNG of 44 x 26"),
        (made_of((44, 26), 4, b"x"), "cannot be read"),
        (made_of((44, 26), 4, zlib.compress(b"\x05" * 89 * 26)), "cannot be read"),
        (made_of((44, 26), 6), "cannot be read"),
        (made_of((44, 26), 0, zlib.compress(bytes(45 * 26))), "are L, expected LA"),
        (made_of() + bytes(sheets.LARGEST), "more than"),
    ],
)
def test_no_other_file_is_taken_for_a_sheet_even_where_its_hash_is_named(made, reason, tmp_path):
    with pytest.raises(BenchError, match=rf"is not the sheet of its entry.*{reason}.*again"):
        read(tmp_path, made)


def test_another_file_than_the_named_one_is_no_sheet(tmp_path):
    entry, _, path = written(tmp_path)
    sheet_path(path).write_bytes(made_of())
    with pytest.raises(BenchError, match="its sha256 is another"):
        read_sheet(path, entry)


def test_a_sheet_of_more_pixels_than_a_page_needs_is_refused_before_it_is_unpacked(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sheets, "LARGEST_RAW", 44 * 26)
    with pytest.raises(BenchError, match="44 x 26 pixels are too many"):
        read(tmp_path, made_of())


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

    monkeypatch.setattr(beside, "write_entry", killed)
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
