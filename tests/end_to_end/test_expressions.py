"""Victim expressions and classes alone, as whole runs on digits with an evaluation of a second."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import benchmark
from benchmark.cli import main
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.victim import GradientMode
from benchmark.errors import BenchError
from benchmark.estimate.estimate import estimate
from benchmark.evaluation.execute.run import Listener, run, run_slice
from benchmark.evaluation.prepare.prepare import bench_of, prepare
from benchmark.evaluation.prepare.request import Request, with_arguments
from benchmark.evaluation.prepare.slices import Slice
from benchmark.publishing.leaderboard.publish import entry_path
from benchmark.records.entry import without_timing
from benchmark.records.entry_files import read_entry
from tests.helpers.tiny_task import PROTOCOL

pytestmark = pytest.mark.slow

BOTH = "mean(jpeg>digits-cnn, gaussian>digits-mlp)"
BARE = "mean(digits-cnn, digits-mlp)"


@pytest.fixture
def asked(tmp_path):
    protocol = tmp_path / "tiny.yaml"
    protocol.write_bytes(PROTOCOL)

    def make(defense, **changes):
        standard = {"protocol": str(protocol), "samples": 8, "device": "cpu", "workers": 1}
        runs = {"runs": tmp_path / "runs"}
        return Request(defense=defense, dataset="digits", **{**standard, **runs, **changes})

    return make


def keys(entry):
    return {row.id: row.job_key for row in (*entry.attacks, *entry.sources)}


def test_an_ensemble_of_undefended_members_is_the_undefended_ensemble(asked):
    members = run(asked("mean(none>digits-cnn, none>digits-mlp)"))
    whole = run(asked("none", model=BARE))
    assert members.classifier == whole.classifier
    assert members.classifier.name == BARE
    assert members.per_image == whole.per_image
    assert members.undefended == whole.undefended
    assert keys(members)["clean"] != keys(whole)["clean"]


def test_a_chain_before_a_classifier_is_that_chain_with_that_model(asked):
    typed = run(asked("jpeg>digits-mlp"))
    plain = run(asked("jpeg", model="digits-mlp"))
    assert keys(typed) == keys(plain)
    assert typed.defense == plain.defense
    assert "'jpeg>digits-mlp'" in typed.command
    assert "--model" not in typed.command


def test_an_expression_is_published_under_its_parts(asked):
    entry = run(asked("mean( jpeg>digits-cnn,gaussian+jpeg>mean(digits-mlp,digits-conv))"))
    assert entry.defense.label == (
        "mean(jpeg>digits-cnn, gaussian+jpeg>mean(digits-mlp, digits-conv))"
    )
    assert entry.classifier.name == "mean(digits-cnn, mean(digits-mlp, digits-conv))"
    assert [stage.label for stage in entry.defense.stages] == ["jpeg", "gaussian", "jpeg"]
    assert entry.defense.stochastic
    assert entry.defense.gradient == "none"
    assert entry.undefended.clean is None or entry.undefended.clean.value > 0.5


def test_oblivious_images_are_made_on_the_mean_of_what_stands_bare(asked):
    ready = prepare(asked("mean(mean(jpeg>digits-cnn, none>digits-conv), jpeg>digits-mlp)"))
    x, _, indices = bench_of(ready).images(0, 4)
    assert torch.allclose(ready.victim.bare_logits(x), ready.classifier(x), atol=1e-6)
    draws = Draws.of(0, indices)
    logits = ready.victim.logits(x, draws=draws, mode=GradientMode.EXACT)
    assert not torch.allclose(logits, ready.classifier(x), atol=1e-6)


def test_the_key_knows_which_purifier_stands_before_which_classifier(asked):
    texts = (
        BOTH,
        "mean(gaussian>digits-cnn, jpeg>digits-mlp)",
        "mean(jpeg+gaussian>digits-cnn, none>digits-mlp)",
        "mean(jpeg>digits-cnn, gaussian>digits-cnn)",
        "mean(jpeg>digits-cnn, gaussian>digits-mlp, none>digits-mlp)",
    )
    entries = [run(asked(text)) for text in texts]
    assert len({keys(entry)["clean"] for entry in entries}) == len(texts)
    paths = {entry_path(asked("none").runs / "boards", entry).name for entry in entries}
    assert len(paths) == len(texts)
    assert all(len(name) < 255 and name.isprintable() for name in paths)


def test_workers_slices_and_resuming_change_nothing(asked, tmp_path):
    reference = run(asked(BOTH))
    assert without_timing(run(asked(BOTH, runs=tmp_path / "two", workers=2))) == without_timing(
        reference
    )
    sliced = asked(BOTH, runs=tmp_path / "sliced")
    for k in (1, 2):
        run_slice(replace(sliced, slice=Slice(k, 2)))
    cached = []
    again = run(sliced, Listener(on_done=lambda task, result, kept: cached.append(kept)))
    assert all(cached)
    assert without_timing(again) == without_timing(reference)


def test_an_expression_can_be_estimated_and_evaluated_from_python(asked):
    assert estimate(asked(BOTH)).title["defense"] == BOTH
    entry = benchmark.evaluate(BOTH, dataset="digits", options=asked(BOTH))
    assert entry.defense.label == BOTH


def test_arguments_reach_the_members_that_they_name(asked):
    entry = run(
        asked(
            "mean(gaussian>digits-cnn, jpeg+gaussian>digits-mlp)",
            defense_args={"gaussian.sigma": 0.2, "jpeg.quality": 30},
        )
    )
    given = [stage.arguments for stage in entry.defense.stages]
    assert [a.get("sigma", a.get("quality")) for a in given] == [0.2, 30, 0.2]
    with pytest.raises(BenchError, match=r"write STAGE.ARGUMENT, such as gaussian\.sigma"):
        prepare(asked(BOTH, defense_args={"sigma": 0.2}))


def given_to(defenses, arguments):
    found = with_arguments([Request(defense=defense) for defense in defenses], arguments)
    return {request.defense: request.defense_args for request in found}


def test_several_defenses_take_arguments_under_their_names():
    given = given_to(
        ["gaussian", "none", "jpeg+gaussian", "hgd@a"],
        {"hgd@a.loss": "fgd", "gaussian.sigma": 0.2, "jpeg.quality": 30, "hgd.loss": "lgd"},
    )
    assert given["gaussian"] == {"sigma": 0.2}
    assert given["none"] == {}
    assert given["jpeg+gaussian"] == {"gaussian.sigma": 0.2, "jpeg.quality": 30}
    assert given["hgd@a"] == {"loss": "fgd"}  # the more precise of the two
    assert given_to(["jpeg"], {"quality": 30}) == {"jpeg": {"quality": 30}}


@pytest.mark.parametrize("key", ["sigma", "atop.sigma", ".sigma"])
def test_an_argument_of_none_of_several_defenses_is_refused(key):
    with pytest.raises(BenchError, match=r"write NAME.ARGUMENT, such as gaussian\.sigma; the def"):
        given_to(["jpeg", "gaussian"], {key: 0.2})


def test_members_of_an_ensemble_are_no_strangers_unless_nobody_else_is(asked, tmp_path):
    quick = {"protocol": "quick"}
    two = prepare(asked("none", model="mean(digits-cnn, digits-mlp)", **quick))
    assert list(two.surrogates) == ["digits-conv", "digits-vgg"]
    three = prepare(asked("none", model="mean(digits-cnn, digits-mlp, digits-conv)", **quick))
    assert list(three.surrogates) == ["digits-vgg"]
    four = "mean(digits-cnn, digits-mlp, digits-conv, digits-vgg)"
    four = prepare(asked("none", model=four, **quick))
    assert list(four.surrogates) == ["digits-conv", "digits-mlp", "digits-vgg"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--defense", BOTH, "--model", "digits-cnn"], "leave out --model 'digits-cnn'"),
        (["--defense", "mean(jpeg>digits-cnn)"], "an ensemble has at least two"),
        (["--defense", "mean(jpeg, none)"], "and the classifier of this member"),
        (["--defense", "jpeg>"], "expected a classifier's name at character 6"),
        (["--defense", "mean(jpg>digits-cnn, none>digits-mlp)"], "Did you mean 'jpeg'"),
        (["--defense", "mean(jpeg>digits-cn, none>digits-mlp)"], "Did you mean 'digits-cnn'"),
        (["--defense", "jpeg@digits-cnn"], "was trained for no classifier; write 'jpeg'"),
        (["--defense", BOTH, "--weights", __file__], "leave it out"),
        (["--defense", "none", "--model", "mean(digits-cnn)"], "an ensemble has at least two"),
        (["--defense", "none", "--classes", "7,x"], "expected numbers with commas"),
        (["--defense", "none", "--classes", "7,,8"], "expected numbers with commas"),
        (["--defense", "none", "--classes", "7,12"], "--classes names 12"),
        (["--defense", "none", "--classes", "9", "--samples", "400"], "--samples 400 is more"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line_and_status_2(words, reason, tmp_path, capfd):
    folders = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "boards")]
    assert main(["run", *words, *folders, "--device", "cpu", "--workers", "1"]) == 2
    said = capfd.readouterr().err
    assert reason in said
    assert said.count("\n") == 1


def test_a_check_of_an_ensemble_says_that_it_is_none_of_a_defense(capfd):
    assert main(["check", BOTH, "--device", "cpu"]) == 2
    assert "check its stages one by one" in capfd.readouterr().err


def test_classes_alone_are_a_subset_of_the_same_order(asked, tmp_path):
    whole = prepare(asked("none", samples=300))
    labels = whole.dataset.labels("test")
    alone = prepare(asked("none", samples=20, only_classes=(7, 9)))
    expected = [i for i in whole.order if int(labels[i]) in (7, 9)][:20]
    assert list(alone.order) == expected


def test_an_entry_says_which_classes_it_is_about_and_lies_beside_the_others(
    asked, tmp_path, capsys
):
    words = ["run", "--defense", "none", "--defense", "jpeg", "--protocol", asked("none").protocol]
    folders = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "boards")]
    some = [*words, *folders, "--samples", "8", "--device", "cpu", "--workers", "1"]
    assert main([*some, "--classes", "9,7"]) == 0
    assert main([*some, "--json"]) == 0
    capsys.readouterr()
    folder = tmp_path / "boards" / "digits" / "linf-0.15"
    entries = {path.name: read_entry(path) for path in folder.glob("*.json")}
    assert len(entries) == 4
    alone = [entry for name, entry in entries.items() if "classes-7-9" in name]
    assert [entry.dataset.only_classes for entry in alone] == [(7, 9)] * 2
    assert all(set(entry.per_image.labels) == {7, 9} for entry in alone)
    assert all("--classes 7,9" in entry.command for entry in alone)
    assert len({keys(entry)["clean"] for entry in entries.values()}) == 4
    page = (folder / "README.md").read_text()
    assert "digits test, classes 7, 9 alone, linf:0.15: protocol tiny" in page
    assert json.loads((tmp_path / "boards" / "schema.json").read_text())
