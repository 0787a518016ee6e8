"""Claims beside measurements: only where classifier, images and threat agree, else the reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.claims import (
    LABELS,
    SYSTEMS,
    Claim,
    judge,
    threat_of,
)
from benchmark.publishing.leaderboard.data_file import read_lines
from benchmark.records.entry_files import write_entry
from benchmark.records.provenance import Provenance
from tests.helpers.run_builder import Run, deterministic

FILE = Path(__file__).resolve().parents[3] / "leaderboards" / "claims.csv"
HEADER = "system,table,dataset,classifier,defense,attack,norm,eps,steps,threat,metric,value\n"
WHITE = Claim(
    system="AdvAE",
    table="T1",
    dataset="mnist",
    classifier="CNN-X",
    defense="AdvAE",
    attack="pgd",
    norm="linf",
    eps="0.3",
    steps="40 x 0.01",
    threat="white-box",
    metric="acc%",
    value="94.8",
)


def changed(claim, **fields):
    values = {name: getattr(claim, name) for name in Claim.__dataclass_fields__}
    return Claim(**{**values, **fields})


def entry(label="advae", **fields):
    rows = deterministic(clean="1111", pgd="1100")
    same = {"dataset": "mnist", "model": "mnist-x", "threat": "linf:0.3"}
    return Run(rows=rows, label=label, **{**same, **fields}).entry()


def judged(claim, *entries):
    return judge([claim], entries)[0]


def test_a_claim_of_the_same_set_up_has_its_measurement_beside_it():
    found = judged(WHITE, entry(label="hgd"), entry())
    assert found.entry.defense.label == "advae"
    assert found.claim.accuracy == pytest.approx(0.948)
    assert found.measured == {"clean": 1.0, "oblivious": None, "adaptive": 0.5, "worst": 0.5}


def test_a_measurement_of_weights_trained_unlike_their_recipe_never_stands_beside_a_claim():
    made = entry()
    trained = Provenance(stated_by="weights", unlike_recipe={"epochs": 4, "attack": "fgsm"})
    (stage,) = made.defense.stages
    stages = (stage.model_copy(update={"training": trained}),)
    defense = made.defense.model_copy(update={"stages": stages})
    short = made.model_copy(update={"defense": defense})
    found = judged(WHITE, short)
    assert found.entry is None
    assert found.reason == (
        "measured with weights trained with attack=fgsm epochs=4, unlike its recipe"
    )
    assert judged(WHITE, short, made).entry == made


@pytest.mark.parametrize(
    "fields",
    [
        {"dataset": "digits"},
        {"model": "mnist-a"},
        {"threat": "linf:0.2"},
        {"label": "advae@mnist-a"},
        {"label": "advae(residual=raw)"},
        {"label": "advae+jpeg"},
    ],
)
def test_a_measurement_of_another_set_up_never_stands_beside_a_claim(fields):
    found = judged(WHITE, entry(**fields))
    assert found.entry is None
    assert found.reason == "not measured yet"
    assert found.command == (
        "bench run --defense advae --dataset mnist --model mnist-x --threat linf:0.3 --protocol standard"
    )


def test_a_scaled_down_network_is_not_the_papers():
    found = judged(WHITE, entry(label="advae[digits]"))
    assert found.entry is None
    assert found.reason == "measured with a scaled-down network (advae[digits])"


def test_a_clean_claim_needs_no_threat():
    clean = changed(WHITE, attack="none", norm="", eps="", value="99.1")
    assert judged(clean, entry(threat="linf:0.1")).entry is not None


@pytest.mark.parametrize(
    ("tested", "label", "model"),
    [("X/X", "advae", "mnist-x"), ("X/D", "advae@mnist-x", "mnist-d")],
)
def test_a_transferred_purifier_is_told_by_what_it_was_trained_for(tested, label, model):
    claim = changed(WHITE, classifier=f"train/test={tested}")
    assert judged(claim, entry(label=label, model=model)).entry is not None
    assert judged(claim, entry(label="other", model=model)).entry is None


def test_an_ensembles_command_can_be_typed_as_it_stands():
    found = judged(changed(WHITE, classifier="train/test=XAB/D"))
    assert (
        "--defense 'advae@mnist-x&mnist-a&mnist-b' --dataset mnist --model mnist-d" in found.command
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"metric": "LID recall"}, "no accuracy"),
        ({"value": "much"}, "no accuracy"),
        ({"value": "948"}, "no accuracy"),
        ({"defense": "It-Adv-train"}, "not here as that paper has it"),
        ({"norm": "l2", "eps": "unbounded"}, "its budget is l2 unbounded"),
        ({"norm": "spatial", "eps": "0.05"}, "its budget is spatial 0.05"),
        ({"classifier": "CNN-Z"}, "the classifier 'CNN-Z' is not here"),
        ({"system": "AToP", "defense": "AToP RT2 GAN"}, "256 x 256"),
    ],
)
def test_what_cannot_be_compared_says_why(fields, reason):
    found = judged(changed(WHITE, **fields), entry())
    assert found.entry is None
    assert reason in found.reason


def test_of_several_entries_the_one_on_most_images_counts():
    rows = deterministic(clean="11111111", pgd="11111100")
    same = {"dataset": "mnist", "model": "mnist-x", "threat": "linf:0.3", "label": "advae"}
    found = judged(WHITE, entry(), Run(rows=rows, **same).entry(), entry(protocol="quick"))
    assert found.entry.dataset.n == 8


def test_every_claim_of_the_papers_is_read_and_judged():
    claims = read_lines(FILE, Claim)
    assert len(claims) == 1292
    results = judge(claims, [entry()])
    assert all(bool(each.entry) != bool(each.reason) for each in results)
    assert sum(each.entry is not None for each in results) >= 6
    known = {(claim.system, claim.defense) for claim in claims}
    assert set(LABELS) <= known
    assert set(SYSTEMS.values()) <= {claim.system for claim in claims}


def test_budgets_are_read_as_threats():
    assert str(threat_of(changed(WHITE, eps="8/255"))) == "linf:8/255"
    assert threat_of(changed(WHITE, eps="3 (code)")) is None
    assert (
        str(threat_of(changed(WHITE, attack="StAdv", norm="spatial", eps="0.05"))) == "stadv:0.05"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "expected the header"),
        ("a,b\n1,2\n", "expected the header"),
        (HEADER + "AdvAE,T1\n", "line 2: expected 12 fields, got 2"),
        (HEADER + '"AdvAE,T1', "line 2: "),
    ],
)
def test_a_damaged_file_names_its_line(tmp_path, content, reason):
    path = tmp_path / "claims.csv"
    path.write_text(content)
    with pytest.raises(BenchError, match=reason):
        read_lines(path, Claim)


@pytest.fixture
def boards(tmp_path):
    folder = tmp_path / "leaderboards"
    (folder / "mnist" / "linf-0.3").mkdir(parents=True)
    (folder / "claims.csv").write_bytes(FILE.read_bytes())
    write_entry(entry(), folder / "mnist" / "linf-0.3" / "advae--mnist-x.json")
    return folder


def test_the_command_prints_claimed_beside_measured_and_the_reasons(boards, capsys):
    assert main(["claims", "--defense", "advae", "--leaderboards", str(boards)]) == 0
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if "white-box" in line and "pgd" in line)
    assert row.split()[-5:] == ["94.8", "100.0", "–", "50.0", "50.0"]
    assert "'It-Adv-train' is not here" in out


def test_a_program_reads_the_same(boards, capsys):
    words = ["claims", "--defense", "advae", "--table", "T1", "--json"]
    assert main([*words, "--leaderboards", str(boards)]) == 0
    said = json.loads(capsys.readouterr().out)
    beside = [row for row in said if row["measured"]]
    assert {row["n"] for row in beside} == {4}
    assert all(row["not_comparable"] for row in said if row not in beside)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "name a paper with --defense, or give --all"),
        (["--defense", "aid", "--all"], "name a paper with --defense, or give --all"),
        (["--defense", "adi"], "Did you mean 'aid'"),
        (["--defense", "aid", "--table", "T99"], "no claims' table is called 'T99'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(boards, capsys, words, reason):
    assert main(["claims", *words, "--leaderboards", str(boards)]) == 2
    assert reason in capsys.readouterr().err


def test_without_claims_it_says_where_they_were_looked_for(tmp_path, capsys):
    assert main(["claims", "--all", "--leaderboards", str(tmp_path)]) == 2
    assert "claims.csv" in capsys.readouterr().err
