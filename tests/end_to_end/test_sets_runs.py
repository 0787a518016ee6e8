"""Whole runs under threats that are no lp balls: what does not belong is a named gap, the rest is measured."""

from __future__ import annotations

import json

import pytest

from benchmark.cli import main
from benchmark.estimate.estimate import estimate
from benchmark.evaluation.execute.run import run
from benchmark.records.protocol import Protocol
from benchmark.records.protocol_files import parse_protocol
from tests.helpers.tiny_task import request

pytestmark = pytest.mark.slow

CLEAN = "- {id: clean, column: clean, knowledge: oblivious, attack: clean}"
FLOWS = """
sources:
  - {id: clean-bare, attack: clean, against: bare}
  - {id: made, attack: stadv, against: bare, arguments: {steps: 5}}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: oblivious, column: oblivious, knowledge: oblivious, attack: transfer, sources: [made]}
  - {id: stadv, column: adaptive, knowledge: white-box, attack: stadv, gradients: [best], eot: 2,
     arguments: {steps: 5}}
"""
MIXED = """
sources:
  - {id: made, attack: pgd, against: bare, arguments: {steps: 3}}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: oblivious, column: oblivious, knowledge: oblivious, attack: transfer, sources: [made]}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [best], arguments: {steps: 3}}
  - {id: stadv, column: adaptive, knowledge: white-box, attack: stadv, gradients: [best], arguments: {steps: 5}}
"""
OTHERS = {
    "spatial:1": "rotation-translation, arguments: {rotations: 5, shifts: 3}",
    "wasserstein:0.5": "wasserstein, gradients: [best], eot: 2, arguments: {steps: 5, window: 3}",
    "pixels:3": "local-search, eot: 2, arguments: {rounds: 3}",
    "sticker:0.25": "rp2, gradients: [best], eot: 2, arguments: {steps: 5}",
}


def protocol(rows: str) -> Protocol:
    head = "name: sets\nversion: 1\nsummary: one set\nsamples: 12\nshard_size: 4\n"
    return parse_protocol(
        f"{head}criterion: {{draws: 4, vote: 2, any_of: 2}}{rows}".encode(), where=""
    )


@pytest.mark.parametrize("defense", ["none", None], ids=["fixed", "random"])
def test_flows_are_searched_transferred_and_judged(tmp_path, defense):
    changes = {"defense": defense} if defense else {}
    entry = run(request(tmp_path, threat="stadv:0.5", protocol=protocol(FLOWS), **changes))
    assert entry.status == "complete", entry.gaps
    assert (entry.threat.norm, entry.threat.eps, entry.threat.text) == ("stadv", 0.5, "stadv:0.5")
    clean, worst = entry.clean.single.value, entry.worst.single.value
    assert worst < clean
    assert worst <= entry.columns.adaptive.rates.single.value + 1e-9
    assert entry.columns.oblivious.rates.single.value <= clean
    assert entry.command.count("stadv:0.5") == 1


def test_what_does_not_belong_to_the_threat_is_a_named_gap(tmp_path):
    entry = run(request(tmp_path, threat="stadv:0.5", protocol=protocol(MIXED)))
    reasons = {gap.row: gap.reason for gap in entry.gaps}
    assert set(reasons) == {"made", "oblivious", "pgd"}
    assert set(reasons.values()) == {
        "attack 'pgd' works under l2, linf and the threat is stadv:0.5: name a threat of these, or an "
        "attack of stadv"
    }
    assert entry.status == "gaps"
    assert entry.columns.adaptive.rates is None
    assert entry.worst is not None


def test_under_an_lp_threat_the_gap_is_the_other_way_round(tmp_path):
    rows = f"\nattacks:\n  {CLEAN}\n"
    rows += "  - {id: spin, column: adaptive, knowledge: black-box, attack: rotation-translation}\n"
    entry = run(request(tmp_path, threat="linf:0.1", protocol=protocol(rows)))
    assert [gap.row for gap in entry.gaps] == ["spin"]
    assert "works under spatial and the threat is linf:0.1" in entry.gaps[0].reason


@pytest.mark.parametrize("threat", OTHERS)
def test_every_other_set_runs_from_the_request_to_the_entry(tmp_path, threat):
    rows = f"\nattacks:\n  {CLEAN}\n"
    rows += f"  - {{id: own, column: adaptive, knowledge: white-box, attack: {OTHERS[threat]}}}\n"
    asked = request(tmp_path, threat=threat, protocol=protocol(rows))
    entry = run(asked)
    assert entry.status == "complete", entry.gaps
    assert entry.threat.text == threat
    assert entry.worst.single.value < entry.clean.single.value
    expense = estimate(asked)
    assert not expense.unknown
    assert not any(row.left for row in expense.rows)


def test_a_slug_names_the_folder_and_the_page_and_the_entry_comes_back(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flows.yaml").write_text(
        f"name: flows\nversion: 1\nsummary: flows\nsamples: 6\n{FLOWS}"
    )
    words = ["run", "--defense", "none", "--threat", "stadv:0.1", "--protocol", "flows.yaml"]
    assert main([*words, "--samples", "6", "--workers", "1"]) == 0
    (file,) = (tmp_path / "results" / "digits" / "stadv-0.1").glob("*.json")
    assert json.loads(file.read_text())["threat"]["norm"] == "stadv"
    assert "stadv:0.1" in (file.parent / "README.md").read_text()
    capsys.readouterr()
