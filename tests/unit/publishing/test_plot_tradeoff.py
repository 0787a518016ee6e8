"""The plot of a board: one point an entry, names that do not touch, one board alone, the same bytes."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

import pytest

from benchmark.cli import main
from benchmark.errors import BenchError
from benchmark.publishing.leaderboard import plot_tradeoff as drawing
from benchmark.publishing.leaderboard.plot_tradeoff import plot_tradeoff
from benchmark.records.entry_files import write_entry
from tests.helpers.run_builder import Run, deterministic
from tests.helpers.sample_entries import toy
from tests.helpers.site_entries import GAPPED


def board():
    return [
        toy("strong", pgd="1110"),
        toy("weak", pgd="0000"),
        toy("none", pgd="0000"),
        toy("costly", clean="1100", pgd="1100"),
    ]


@pytest.fixture
def figure():
    """Draws entries on a canvas, and gives back the figure with its renderer."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    def drawn(entries):
        width, height = drawing.SIZE
        rows = max(1, len(entries) / drawing.ROOM)
        made = Figure(figsize=(width, height * rows), layout="constrained")
        canvas = FigureCanvasAgg(made)
        drawing._tradeoff(made, entries)
        canvas.draw()
        return made, canvas.get_renderer()

    return drawn


def test_each_entry_has_its_point_at_its_accuracies_with_the_intervals_of_both(figure):
    entries = board()
    made, _ = figure(entries)
    bars = made.axes[0].containers
    assert len(bars) == len(entries)
    points = [tuple(float(value[0]) for value in bar.lines[0].get_data()) for bar in bars]
    assert sorted(points) == [(50, 50), (100, 0), (100, 0), (100, 75)]
    for bar in bars:
        (across, up) = bar.lines[2]
        (y,) = {float(y) for _, y in across.get_segments()[0]}
        entry = next(e for e in entries if 100 * e.worst.single.value == y)
        assert [x for x, _ in across.get_segments()[0]] == pytest.approx(
            [100 * entry.clean.single.low, 100 * entry.clean.single.high]
        )
        assert [y for _, y in up.get_segments()[0]] == pytest.approx(
            [100 * entry.worst.single.low, 100 * entry.worst.single.high]
        )


def test_undefended_classifiers_and_entries_with_gaps_look_otherwise(figure):
    rows = deterministic(clean="111100", pgd="110000")
    entries = [GAPPED.entry(), Run(rows=rows, label="none").entry(), Run(rows=rows).entry()]
    made, _ = figure(entries)
    shapes = [bar.lines[0].get_marker() for bar in made.axes[0].containers]
    assert sorted(shapes) == ["D", "o", "v"]
    said = [text.get_text() for text in made.legends[0].get_texts()]
    assert said == [*drawing.MARKS.values(), "no attack did harm"]


@pytest.mark.parametrize("n", [1, 7, 10, 30])
def test_names_neither_touch_each_other_nor_leave_the_figure(n, figure):
    made, renderer = figure([toy(f"purifier-of-a-long-name-{i}", pgd="0000") for i in range(n)])
    texts = [text for text in made.axes[0].texts if text.get_text()]
    assert len(texts) == n
    boxes = [text.get_window_extent(renderer) for text in texts]
    whole = made.bbox
    for box in boxes:
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1
        assert box.x0 > made.axes[0].get_window_extent(renderer).x1
    assert not [1 for a, b in combinations(boxes, 2) if a.overlaps(b)]


def test_what_tells_two_entries_apart_stands_in_their_names(figure):
    entries = [toy("twin"), toy("twin", model="other"), toy("twin", clean="11", pgd="10")]
    made, _ = figure(entries)
    names = {text.get_text().strip() for text in made.axes[0].texts} - {""}
    assert names == {"twin, net, n = 4", "twin, other, n = 4", "twin, net, n = 2"}


def test_the_same_entries_give_the_same_bytes_in_every_kind_and_any_order(tmp_path):
    for kind in ("svg", "pdf", "png"):
        plot_tradeoff(board(), tmp_path / f"a.{kind}")
        plot_tradeoff(board()[::-1], tmp_path / f"b.{kind}")
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_several_boards_are_refused_and_named(tmp_path):
    entries = [*board(), toy("quick", protocol="quick"), toy("far", dataset="mnist")]
    with pytest.raises(BenchError) as caught:
        plot_tradeoff(entries, tmp_path / "t.svg")
    for words in ("got 3", "digits, linf:8/255, standard (version 1) (4)", "quick", "--protocol"):
        assert words in str(caught.value)


def test_an_entry_without_a_worst_case_has_no_point_and_one_alone_no_plot(tmp_path, figure):
    empty = toy("holed").model_copy(update={"clean": None, "worst": None})
    plot_tradeoff([toy("whole"), empty], tmp_path / "t.svg")
    with pytest.raises(BenchError, match="nothing to plot"):
        plot_tradeoff([empty], tmp_path / "t.svg")


@pytest.mark.parametrize("label", ["$\\frac{", "_hidden", "<b>", "a&b", "x" * 300])
def test_no_name_is_markup(label, tmp_path):
    plot_tradeoff([toy(label)], tmp_path / "t.svg")
    ElementTree.parse(tmp_path / "t.svg")


def test_the_command_takes_folders_and_one_protocol(tmp_path, capsys):
    for i, entry in enumerate([*board(), toy("quick", protocol="quick")]):
        write_entry(entry, tmp_path / "boards" / f"{i}.json")
    words = ["plot", "tradeoff", str(tmp_path / "boards"), "-o", str(tmp_path / "t.svg")]
    assert main(words) == 2
    assert not (tmp_path / "t.svg").exists()
    assert main([*words, "--protocol", "standard"]) == 0
    assert (tmp_path / "t.svg").exists()
    assert main([*words, "--protocol", "none-such"]) == 2
    assert "nothing to plot" in capsys.readouterr().err
