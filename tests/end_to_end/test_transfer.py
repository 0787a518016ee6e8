"""Weights before another classifier, behind another purifier, of several classifiers, and missing ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from benchmark.cli import main
from benchmark.identity.content_names import without_content
from benchmark.records.entry_files import read_entry
from benchmark.records.provenance import KEY, TrainedFor
from tests.end_to_end.test_train import PLUGIN
from tests.helpers.tiny_task import PROTOCOL

pytestmark = pytest.mark.slow

THEIRS = "their_plugin:Shrink"
BOTH = '''

class Both(Shrink):
    """The same, for several classifiers."""

    name = "both"
    recipe = "their_plugin:BothRecipe"


class BothRecipe(ShrinkRecipe):
    """Brings the factor to a half before all classifiers."""

    def __init__(self, *, steps: int = 5, batch_size: int = 8, companions: tuple = ()) -> None:
        super().__init__(steps=steps, batch_size=batch_size)
        self.companions = companions

    def build(self, setting, attacks):
        assert list(setting.companions) == list(self.companions)
        super().build(setting, attacks)
'''


@pytest.fixture
def bench(tmp_path, monkeypatch, capfd):
    """`bench` in a folder of its own, with somebody's trained plugin; gives its status, output and errors."""
    (tmp_path / "their_plugin.py").write_text(PLUGIN + BOTH)
    (tmp_path / "tiny.yaml").write_bytes(PROTOCOL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "trained"))
    monkeypatch.delitem(sys.modules, "their_plugin", raising=False)
    run = ["--protocol", "tiny.yaml", "--samples", "8", "--workers", "1", "--device", "cpu"]

    def call(*words):
        status = main([*words, *(run if words[0] == "run" else ["--device", "cpu"])])
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return call


def train(bench, *words, defense=THEIRS):
    steps = ["--recipe-arg", "steps=5"]
    status, out, error = bench("train", "--defense", defense, "--dataset", "digits", *steps, *words)
    assert status == 0, error
    return out.split()[1]


def the_entry(tmp_path, pattern):
    (path,) = (tmp_path / "results").rglob(pattern)
    return read_entry(path)


def test_training_writes_into_the_weights_what_they_are_for(bench):
    path = train(bench, "--model", "digits-mlp", "--seed", "3")
    with safe_open(path, framework="np") as file:
        said = TrainedFor.model_validate_json(file.metadata()[KEY])
    assert (said.defense, said.names, said.dataset) == ("shrink", ("digits-mlp",), "digits")
    assert (said.shape, said.threat, said.seed, said.behind) == ((1, 8, 8), "linf:0.15", 3, "")
    assert said.arguments == {"steps": 5, "batch_size": 8}
    assert said.recipe == "their_plugin:ShrinkRecipe"
    record = json.loads(Path(path).with_suffix(".json").read_text())
    assert TrainedFor.model_validate_json(json.dumps(record[KEY])) == said


def test_weights_go_before_another_classifier_where_that_is_said(bench, tmp_path):
    path = train(bench, "--model", "digits-cnn")
    words = ("run", "--defense", THEIRS, "--model", "digits-mlp")
    status, _, error = bench(*words)
    assert status == 2
    assert "bench train --defense their_plugin:Shrink --model digits-mlp --dataset digits" in error
    status, _, error = bench(*words, "--weights", path)
    assert status == 2
    assert "write --defense 'their_plugin:Shrink@digits-cnn'" in error
    status, out, _ = bench(
        "run", "--defense", f"{THEIRS}@digits-cnn", "--model", "digits-mlp", "--model", "digits-cnn"
    )
    assert status == 0
    said = "‡ shrink@digits-cnn on digits-mlp: shrink@digits-cnn was trained for digits-cnn"
    assert said in without_content(out)
    entry = the_entry(tmp_path, "shrink-????????-digits-cnn*digits-mlp*.json")
    assert without_content(entry.defense.label) == "shrink@digits-cnn" != entry.defense.label
    assert entry.classifier.name == "digits-mlp"
    (stage,) = entry.defense.stages
    assert stage.training.differs == ("classifier",)
    assert stage.training.trained_for.names == ("digits-cnn",)
    same = the_entry(tmp_path, "shrink-????????--digits-cnn*.json")
    assert without_content(same.defense.label) == "shrink"
    assert same.defense.stages[0].training.differs == ()
    page = next((tmp_path / "results").rglob("README.md")).read_text()
    page = without_content(page)
    assert "shrink@digits-cnn‡" in page
    assert same.defense.stages[0].training.unlike_recipe == {"steps": 5}
    assert "| shrink‡ (" in page
    assert "‡ shrink on digits-cnn: shrink was trained with steps=5, unlike its recipe" in page


def test_members_of_an_expression_may_carry_weights_of_others(bench, tmp_path):
    train(bench, "--model", "digits-cnn")
    text = f"mean({THEIRS}>digits-cnn, {THEIRS}@digits-cnn>digits-mlp, none>digits-conv)"
    status, _, error = bench("run", "--defense", text)
    assert status == 0, error
    entry = the_entry(tmp_path, "mean-*.json")
    assert without_content(entry.defense.label) == (
        "mean(shrink>digits-cnn, shrink@digits-cnn>digits-mlp, none>digits-conv)"
    )
    trained = [stage.training for stage in entry.defense.stages]
    assert [one and one.differs for one in trained] == [(), ("classifier",), None]


def test_what_was_trained_alone_is_said_to_stand_behind_another(bench, tmp_path, caplog):
    train(bench, "--model", "digits-cnn")
    status, out, _ = bench("run", "--defense", f"jpeg+{THEIRS}", "--model", "digits-cnn")
    assert status == 0
    said = without_content(caplog.text)
    assert "shrink was trained alone and stands behind another purifier here" in said
    caplog.clear()
    assert "‡ jpeg+shrink on digits-cnn: shrink was trained alone" in without_content(out)
    entry = the_entry(tmp_path, "jpeg*.json")
    assert entry.defense.stages[1].training.differs == ("alone",)
    assert bench("run", "--defense", f"none+{THEIRS}+jpeg", "--model", "digits-cnn")[0] == 0
    assert "alone" not in caplog.text


def test_an_unnamed_source_of_weights_is_recorded(bench, tmp_path):
    from safetensors.numpy import load_file, save_file

    path = train(bench, "--model", "digits-cnn")
    save_file(load_file(path), "theirs.safetensors")
    words = ("run", "--defense", THEIRS, "--model", "digits-cnn", "--weights", "theirs.safetensors")
    assert bench(*words)[0] == 0
    training = the_entry(tmp_path, "shrink*.json").defense.stages[0].training
    assert (training.stated_by, training.trained_for, training.differs) == ("nothing", None, ())


def test_several_classifiers_are_trained_for_at_once_and_named(bench, tmp_path):
    models = ("--model", "digits-cnn", "--model", "digits-mlp")
    path = train(bench, *models, defense="their_plugin:Both")
    assert "both--digits-cnn-digits-mlp-" in path
    words = ("run", "--defense", "their_plugin:Both@digits-cnn&digits-mlp")
    for model in ("digits-cnn", "digits-mlp", "digits-conv"):
        status, _, error = bench(*words, "--model", model)
        assert status == 0, error
    found = [read_entry(path) for path in (tmp_path / "results").rglob("both*.json")]
    differs = {e.classifier.name: e.defense.stages[0].training.differs for e in found}
    assert differs == {"digits-cnn": (), "digits-mlp": (), "digits-conv": ("classifier",)}
    labels = {without_content(entry.defense.label) for entry in found}
    assert labels == {"both@digits-cnn&digits-mlp"}


@pytest.mark.parametrize(
    ("defense", "models", "reason"),
    [
        (THEIRS, ("digits-cnn", "digits-mlp"), "its recipe takes no companions"),
        ("their_plugin:Both", ("digits-cnn", "digits-cnn"), "named twice"),
        ("jpeg+atop", ("digits-cnn",), "train its stages one by one"),
        ("mean(atop>digits-cnn, atop>digits-mlp)", (), "train its stages one by one"),
        ("atop@digits-cnn", (), "training takes a name alone"),
        ("jpeg", ("digits-cnn",), "has nothing to be trained"),
    ],
)
def test_what_cannot_be_trained_is_one_line(bench, defense, models, reason):
    words = [word for model in models for word in ("--model", model)]
    status, _, error = bench("train", "--defense", defense, *words)
    assert status == 2
    assert reason in error
    assert error.count("\n") == 1


def test_all_that_is_missing_is_named_before_anything_runs(bench, tmp_path):
    many = ("--defense", "jpeg", "--defense", THEIRS, "--defense", f"{THEIRS}@digits-conv")
    models = ("--model", "digits-cnn", "--model", "digits-mlp")
    status, out, error = bench("run", *many, *models)
    assert (status, out) == (2, "")
    assert error.count("bench train --defense") == 3
    for model in ("digits-cnn", "digits-mlp", "digits-conv"):
        assert f"--model {model} --dataset digits" in error
    status, _, error = bench("estimate", *many, *models, "--protocol", "tiny.yaml")
    assert status == 2
    assert error.count("bench train --defense") == 3
    assert not (tmp_path / "results").exists() or not any(tmp_path.rglob("*.json"))


def test_train_makes_all_that_is_missing_and_one_table_holds_all_rows(bench, tmp_path):
    chain = f"mean(jpeg+{THEIRS}>digits-cnn, {THEIRS}@digits-cnn>digits-mlp)"
    many = ("--defense", "none", "--defense", THEIRS, "--defense", "jpeg")
    models = ("--model", "digits-cnn", "--model", "digits-mlp")
    assert bench("run", "--defense", chain, "--train")[0] == 0
    assert len(list((tmp_path / "trained").glob("*.safetensors"))) == 1
    status, out, error = bench("run", *many, *models, "--train")
    assert status == 0, error
    assert len(list((tmp_path / "trained").glob("*.safetensors"))) == 2
    assert out.count("protocol tiny") == 1
    table = [line.split()[:2] for line in out.splitlines()[2:8]]
    assert [row[0] for row in table] == ["digits-cnn", "1", "2", "digits-mlp", "1", "2"]
    assert {without_content(row[1]) for row in table[1:3]} == {
        without_content(row[1]) for row in table[4:6]
    }


def test_a_model_given_twice_is_evaluated_once(bench):
    status, out, _ = bench(
        "run", "--defense", "none", "--model", "digits-mlp", "--model", "digits-mlp"
    )
    assert status == 0
    assert len([line for line in out.splitlines() if line.startswith("   digits-mlp")]) == 1
