"""Plots: the same bytes from the same entry, every kind of file, and no matplotlib where nothing is drawn."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree

import pytest
from PIL import Image

from benchmark.cli import main
from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.plots import plot_convergence, plot_eps_curve
from benchmark.records.diagnosis import CurvePoint
from benchmark.records.entry_files import write_entry
from tests.helpers.run_builder import Run, deterministic

SVG = "{http://www.w3.org/2000/svg}"


def traced(**fields):
    rows = deterministic(clean="1111", pgd_exact="1100", pgd_bpda="1110", autoattack="1000")
    traces = {"pgd:exact": (1.0, 0.5, 0.75), "pgd:bpda": (1.0, 0.75), "autoattack": (0.25,)}
    return Run(rows=rows, traces=traces, **fields).entry()


def lines(path):
    """The points of each line with a drawn path of more than one, by its place among the lines."""
    root = ElementTree.parse(path).getroot()
    groups = [g for g in root.iter(f"{SVG}g") if (g.get("id") or "").startswith("line2d")]
    paths = [g.find(f"{SVG}path") for g in groups]
    return [p.get("d", "").count("L") + 1 for p in paths if p is not None and p.get("clip-path")]


def test_each_attack_with_a_trace_has_a_line_as_long_as_it(tmp_path):
    plot_convergence(traced(), tmp_path / "c.svg")
    drawn = lines(tmp_path / "c.svg")
    levels = [2] * len(("autoattack", "clean", "worst case"))
    assert sorted(drawn) == sorted([3, 2, *levels])


@pytest.mark.parametrize(("native", "levels"), [((), 1), ((0.25,), 1), ((0.5,), 2)])
def test_autoattack_is_a_level_line_and_its_own_verdict_another_where_it_differs(
    native, levels, tmp_path
):
    rows = deterministic(clean="1111", pgd="1100", autoattack="1000")
    traces = {"pgd": (1.0, 0.75, 0.5), "autoattack": native}
    plot_convergence(Run(rows=rows, traces=traces).entry(), tmp_path / "c.svg")
    assert sorted(lines(tmp_path / "c.svg")) == [2] * (levels + len(("clean", "worst case"))) + [3]


@pytest.mark.parametrize("steps", [2, 9])
def test_no_tick_is_markup_however_few_steps_there_are(steps, tmp_path):
    traces = {"pgd": (*[1.0] * (steps - 1), 0.5)}
    entry = Run(rows=deterministic(clean="11", pgd="10"), traces=traces).entry()
    plot_convergence(entry, tmp_path / "c.svg")
    assert "mathdefault" not in (tmp_path / "c.svg").read_text()


def test_the_same_entry_gives_the_same_bytes_in_every_kind(tmp_path):
    for kind in ("svg", "pdf", "png"):
        plot_convergence(traced(), tmp_path / f"a.{kind}")
        plot_convergence(traced(), tmp_path / f"b.{kind}")
        first = (tmp_path / f"a.{kind}").read_bytes()
        assert first == (tmp_path / f"b.{kind}").read_bytes()
        assert b"Date" not in first


def test_a_picture_is_large_and_not_empty(tmp_path):
    plot_convergence(traced(), tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size == (1200, 675)
        assert len(picture.convert("RGB").getcolors(2**24) or []) > 20


@pytest.mark.parametrize("label", ["$\\frac{", "_hidden", "<b>", "a&b", "x" * 300])
def test_no_name_is_markup(label, tmp_path):
    plot_convergence(traced(label=label), tmp_path / "c.svg")
    ElementTree.parse(tmp_path / "c.svg")


def test_an_eps_curve_has_a_point_for_each_budget(tmp_path):
    points = [CurvePoint(eps=eps, rate=rate) for eps, rate in ((0, 1.0), (0.1, 0.4), (0.5, 0.0))]
    entry = traced().model_copy(update={"eps_curve": tuple(points)})
    plot_eps_curve(entry, tmp_path / "e.svg")
    assert max(lines(tmp_path / "e.svg")) == 3
    with pytest.raises(BenchError, match="no eps curve"):
        plot_eps_curve(traced(), tmp_path / "f.svg")


def test_what_cannot_be_drawn_is_refused(tmp_path, capsys):
    with pytest.raises(BenchError, match="nothing to plot"):
        plot_convergence(Run(rows=deterministic(clean="11", pgd="10")).entry(), tmp_path / "c.svg")
    write_entry(traced(), tmp_path / "entry.json")
    words = ["plot", "convergence", str(tmp_path / "entry.json"), "-o"]
    assert main([*words, str(tmp_path / "c.jpeg")]) == 2
    assert ".svg, .pdf or .png" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "c.svg")]) == 0
    assert (tmp_path / "c.svg").exists()
    assert not (tmp_path / "c.jpeg").exists()


@pytest.mark.parametrize(
    "words", [["list", "defenses"], ["plot", "--help"], ["challenge", "--help"]]
)
def test_a_list_or_a_help_starts_neither_torch_nor_matplotlib(words):
    code = (
        "import sys; from benchmark.cli import main; status = main(sys.argv[1:]); "
        "sys.exit(status or 99 * bool({'torch', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
