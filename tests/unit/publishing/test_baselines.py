"""RobustBench's own numbers: gathered whole, read back, and shown beside entries of that classifier alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.classifiers.zoo_names import zoo_models
from benchmark.cli import main
from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.baselines import Baseline, baselines_of, to_markdown
from benchmark.publishing.leaderboard.data_file import read_lines
from benchmark.publishing.leaderboard.publish import publish_folder
from benchmark.records.entry_files import write_entry
from tests.helpers.sample_entries import cells, toy

SHIPPED = Path(__file__).resolve().parents[3] / "leaderboards" / "robustbench.csv"
GOWAL = "Gowal2021Improving_28_10_ddpm_100m"
SAID = {
    "link": "https://arxiv.org/abs/1",
    "name": "A title\nin two lines, with a comma",
    "authors": "Somebody",
    "additional_data": False,
    "number_forward_passes": 1,
    "dataset": "cifar10",
    "venue": "ICLR 2020",
    "architecture": "WideResNet-28-10",
    "eps": "8/255",
    "clean_acc": "87.50",
    "reported": "63.38",
    "autoattack_acc": "63.44",
    "external": "63.38",
    "unreliable": True,
}


@pytest.fixture
def model_info(tmp_path):
    def write(model, norm="Linf", **changes):
        path = tmp_path / "model_info" / "cifar10" / norm / f"{model}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**SAID, **changes}))
        return tmp_path / "model_info"

    return write


def test_what_is_gathered_is_read_back(model_info, tmp_path, capsys):
    model_info("B", "L2", eps=0.5, external=None, unreliable=False)
    folder = model_info("A")
    model_info("C", "corruptions")
    assert main(["baselines", str(folder), "--out", str(tmp_path)]) == 0
    assert "2 models" in capsys.readouterr().out
    b, a = read_lines(tmp_path / "robustbench.csv", Baseline)
    assert (a.model, a.threat, a.clean, a.autoattack) == ("A", "linf:8/255", "87.50", "63.44")
    assert (a.external, a.unreliable) == ("63.38", "yes")
    assert a.title == "A title in two lines, with a comma"
    assert (b.model, b.threat, b.external, b.unreliable) == ("B", "l2:0.5", "", "")


def test_the_shipped_file_knows_every_lp_model_of_the_zoo():
    baselines = read_lines(SHIPPED, Baseline)
    named = {(each.dataset, each.threat.split(":")[0], each.model) for each in baselines}
    assert len({(each.dataset, each.threat, each.model) for each in baselines}) == len(baselines)
    zoo = {
        (model.dataset, model.norm.lower(), model.model)
        for dataset in ("cifar10", "cifar100", "imagenet")
        for model in zoo_models(dataset)
        if model.norm in ("Linf", "L2")
    }
    assert zoo <= named
    gowal = next(b for b in baselines if b.model == GOWAL)
    assert (gowal.clean, gowal.autoattack, gowal.external) == ("87.50", "63.44", "63.38")
    for each in baselines:
        assert 0 <= float(each.autoattack) <= float(each.clean) <= 100
        assert "<" not in each.venue


def test_a_baseline_stands_beside_entries_of_its_own_classifier_and_threat_alone():
    baselines = read_lines(SHIPPED, Baseline)
    same = toy("atop", model=GOWAL, dataset="cifar10", threat="linf:8/255")
    assert [each.model for each in baselines_of([same], baselines)] == [GOWAL]
    for fields in ({"threat": "linf:4/255"}, {"dataset": "cifar100"}, {"model": "standard-r18"}):
        other = {"model": GOWAL, "dataset": "cifar10", "threat": "linf:8/255", **fields}
        assert baselines_of([toy("atop", **other)], baselines) == []


def test_the_page_shows_them_as_theirs_and_hostile_text_as_text(model_info, tmp_path):
    folder = model_info("net", name="<script>|[x](y)", architecture="a|b")
    main(["baselines", str(folder), "--out", str(tmp_path / "boards")])
    place = tmp_path / "boards" / "cifar10" / "linf-8-255"
    place.mkdir(parents=True)
    write_entry(toy("atop", dataset="cifar10"), place / "atop--net.json")
    page = publish_folder(place).page.read_text()
    assert "RobustBench's own numbers" in page
    assert "<script>" not in page
    (row,) = [row for row in cells(page) if row[0] == "net"]
    assert row[1:5] == ["87.50", "63.44‡", "63.38", "a|b"]
    assert to_markdown([]) == ""


def test_a_page_without_such_classifiers_is_as_it_was(tmp_path):
    write_entry(toy("atop"), tmp_path / "atop--net.json")
    assert "RobustBench's own" not in publish_folder(tmp_path).page.read_text()


@pytest.mark.parametrize("changes", [{"eps": "?"}, {"dataset": None, "clean_acc": None, "eps": -1}])
def test_a_file_of_another_form_is_named(model_info, changes, tmp_path, capsys):
    folder = model_info("A", **changes)
    assert main(["baselines", str(folder), "--out", str(tmp_path)]) == 2
    assert "A.json: not a model's information" in capsys.readouterr().err
    assert not (tmp_path / "robustbench.csv").exists()


def test_no_checkout_and_a_damaged_file_are_one_line_each(tmp_path, capsys):
    assert main(["baselines", str(tmp_path)]) == 2
    assert "model_info folder" in capsys.readouterr().err
    (tmp_path / "robustbench.csv").write_text("a,b\n")
    with pytest.raises(BenchError, match="expected the header dataset,threat"):
        read_lines(tmp_path / "robustbench.csv", Baseline)
    assert read_lines(tmp_path / "none.csv", Baseline, may_lack=True) == []
