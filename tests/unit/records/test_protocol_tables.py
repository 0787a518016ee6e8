"""The protocols that ship: each loads, names what there is, says what it costs and what its paper did."""

import json
import re
from pathlib import Path

import pytest

from benchmark.classifiers.catalog import home_of
from benchmark.classifiers.zoo_names import resolve
from benchmark.cli import main
from benchmark.engine.arguments import refuse_arguments
from benchmark.engine.threat import Knowledge, Threat
from benchmark.errors import BenchError
from benchmark.estimate.write_costs import costs_of
from benchmark.evaluation.execute.run import run
from benchmark.expression import parse_defense, stages_of
from benchmark.plugins import ATTACKS, DATASETS, DEFENSES
from benchmark.publishing.leaderboard.ranking import boards
from benchmark.records import protocol_files as protocol_module
from benchmark.records.identity import Asked
from benchmark.records.protocol import Column
from benchmark.records.protocol_costs import read_costs
from benchmark.records.protocol_files import (
    load_protocol,
    parse_protocol,
    protocol_names,
    published,
)
from tests.helpers import tiny_task as tiny
from tests.helpers.toy_plugins import Same

PROTOCOLS = {name: load_protocol(name) for name in protocol_names()}
BOARDS = Path(__file__).resolve().parents[3] / "leaderboards"
OWN = {"quick", "standard", "full", "ci"}
PAPERS = {name: protocol.paper for name, protocol in PROTOCOLS.items() if protocol.paper}
ROWS = [
    pytest.param(row, id=f"{name}:{row.id}")
    for name, protocol in PROTOCOLS.items()
    for row in (*protocol.sources, *protocol.attacks)
]
TABLE = b"""
name: theirs-table1
version: 1
summary: a table
samples: 4
preliminary: true
criterion: {draws: 1, vote: 1, any_of: 1}
sources:
  - {id: made-bare, attack: fgsm, against: bare}
  - {id: made-others, attack: fgsm, against: surrogates}
  - {id: cw-bare, attack: cw, against: bare, arguments: {steps: 1, binary_search_steps: 1}}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: white, column: oblivious, knowledge: oblivious, attack: transfer, sources: [made-bare]}
  - {id: black, column: transfer, knowledge: transfer, attack: transfer, sources: [made-others]}
  - {id: cw, column: oblivious, knowledge: oblivious, attack: transfer, sources: [cw-bare]}
paper: {defenses: [aid, 'aid@mnist-a>mnist-b'], table: Table 1, title: its numbers, dataset: mnist,
  models: [mnist-x, mnist-a], threats: ['linf:0.3', 'l2:2'], note: nothing is missing}
"""


def table(**changes):
    return parse_protocol(TABLE, where="table").model_copy(update=changes)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_loads_under_its_own_name_and_says_what_it_is(name):
    protocol = PROTOCOLS[name]
    assert protocol.name == name
    assert protocol.version >= 1
    assert 20 < len(protocol.summary) < 110


@pytest.mark.parametrize("row", ROWS)
def test_every_attack_of_every_protocol_is_there_and_takes_its_arguments(row):
    kind = ATTACKS.get(row.attack)
    refuse_arguments(row.arguments, kind, what=row.id)
    passes = kind(**row.arguments).passes(classes=10, eot=1, stochastic=False, shape=(3, 32, 32))
    assert passes is not None, "bench list protocols could not say what it costs"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_an_attacker_is_said_to_know_is_what_its_images_were_made_on(name):
    """An attack that a paper ran on the bare classifier is oblivious, whatever the paper calls it."""
    protocol = PROTOCOLS[name]
    sees_bare = {row.id: row.sees_bare for row in protocol.sources}
    wanted = {Knowledge.OBLIVIOUS: {True}, Knowledge.TRANSFER: {False}}
    for row in protocol.attacks:
        found = {sees_bare[source] for source in row.sources}
        if row.column is Column.CLEAN:
            assert row.attack == "clean"
        elif row.knowledge in wanted:
            assert (row.attack, found) == ("transfer", wanted[row.knowledge]), row.id
        else:
            assert row.attack != "transfer", row.id


def test_hgds_iterated_images_are_made_on_the_ensemble_with_the_defended_network_in_it():
    """Liao et al. 2018: FGSM on one network, IFGSM4 on that one and two more."""
    made = {row.id: row for row in PROTOCOLS["hgd-table3"].sources}
    assert made["fgsm-bare"].against == "bare"
    assert made["ifgsm4-ensemble"].against == "mean(bare, surrogates)"
    assert made["ifgsm4-ensemble"].arguments == {"steps": 4, "labels": "predicted"}


def test_committed_entries_stand_on_versions_that_were_published():
    entries = [json.loads(file.read_text()) for file in BOARDS.glob("*/*/*.json")]
    named = {(e["protocol"]["name"], e["protocol"]["sha256"]) for e in entries}
    assert {name for name, _ in named} >= {"standard"}
    assert all(published(name, sha256) is not None for name, sha256 in named)


@pytest.mark.parametrize("name", ["quick", "standard", "full"])
def test_no_row_of_a_standard_evaluation_goes_by_what_a_defense_declares(name):
    wishes = {wish for row in PROTOCOLS[name].attacks for wish in row.gradients}
    assert wishes == {"measured", "confirmed", "guide"}
    blind = [row for row in PROTOCOLS[name].attacks if row.last]
    assert [row.attack for row in blind] == ["nes", "square", "hopskipjump"]
    assert {row.when for row in blind} == {"unconfirmed", "saturated"}


def test_full_holds_every_row_of_standard_so_that_none_is_done_twice():
    made = [row for row in PROTOCOLS["standard"].attacks if not row.sources]
    full = PROTOCOLS["full"]
    assert all(row in full.attacks for row in made)
    assert all(row in full.sources for row in PROTOCOLS["standard"].sources)
    assert full.criterion == PROTOCOLS["standard"].criterion
    assert full.shard_size == PROTOCOLS["standard"].shard_size


def test_ci_attacks_by_both_gradients_and_starts_no_other_library():
    ci = PROTOCOLS["ci"]
    assert {row.attack for row in (*ci.sources, *ci.attacks)}.isdisjoint(
        {"autoattack", "fast-autoattack"}
    )
    adaptive = [row for row in ci.attacks if row.column is Column.ADAPTIVE]
    assert all(row.gradients == ["exact", "bpda"] for row in adaptive)
    assert ci.preliminary


def test_every_other_protocol_has_a_paper():
    assert set(PROTOCOLS) - OWN == set(PAPERS)


@pytest.mark.parametrize("name", PAPERS)
def test_a_papers_defenses_dataset_classifiers_and_threats_are_there(name):
    paper = PAPERS[name]
    assert paper.dataset in DATASETS.names()
    for defense in paper.defenses:
        stages = stages_of(parse_defense(defense))
        assert {stage.name for stage in stages} <= set(DEFENSES.names())
    for model in paper.models:
        assert home_of(model) == paper.dataset or resolve(model, paper.dataset)
    for threat in paper.threats:
        assert Threat.parse(threat).eps > 0


@pytest.mark.parametrize("name", PAPERS)
def test_what_is_named_in_a_note_is_there(name):
    paper = PAPERS[name]
    for word in re.findall(
        r"\b(?:aid|atop|hgd|advae|add)-(?:table|croce|athalye)\S*\b", paper.note
    ):
        assert word in PROTOCOLS
    for dataset in re.findall(r"--dataset (\w+)", paper.note):
        assert dataset in DATASETS.names()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b"defenses: [aid, 'aid@mnist-a>mnist-b']", b"defenses: []"), "defenses"),
        ((b"'l2:2'", b"0.3"), "threats"),
        ((b"'l2:2'", b"'l2 of 2'"), "threats"),
        ((b"note: nothing is missing", b"note: ''"), "note"),
        ((b"table: Table 1", b"tabel: Table 1"), "table"),
        ((b"preliminary: true", b"preliminary: false"), "preliminary: true"),
    ],
)
def test_what_no_paper_may_say_is_refused_in_one_line(change, message):
    with pytest.raises(BenchError, match=message) as caught:
        parse_protocol(TABLE.replace(*change), where="file.yaml")
    assert "\n" not in str(caught.value)


def test_no_result_hangs_on_what_is_said_of_a_paper():
    other = table().paper.model_copy(update={"note": "another word"})
    assert table(paper=other).sha256() == table(paper=None).sha256() == table().sha256()
    assert table(samples=5).sha256() != table().sha256()


def test_what_a_defense_or_a_task_cannot_run_is_a_gap_by_name_and_the_rest_is_done(tmp_path):
    """The tiny task has no surrogates, and C&W has no linf."""
    entry = run(tiny.request(tmp_path, protocol=table(), defense=Same()))
    gaps = {gap.row: gap.reason for gap in entry.gaps}
    assert "no surrogate classifiers are known" in gaps["black"]
    assert "l2" in next(reason for row, reason in gaps.items() if row.startswith("cw-bare"))
    assert "cw" in gaps
    assert entry.status == "gaps"
    assert entry.columns.transfer.rates is None
    white = next(row for row in entry.attacks if row.id == "white")
    assert white.status == "ok"


def test_an_attack_that_there_is_not_is_named_before_anything_is_run(tmp_path):
    row = table().attacks[-1].model_copy(update={"attack": "nobodys", "sources": []})
    protocol = table(attacks=[*table().attacks, row.model_copy(update={"id": "more"})])
    with pytest.raises(BenchError, match="no attack is called 'nobodys'"):
        run(tiny.request(tmp_path, protocol=protocol, defense=Same()))


def test_a_papers_rows_are_preliminary_and_never_ranked_with_others(tmp_path):
    kept = [row for row in table().attacks if row.id in ("clean", "white")]
    oblivious = table(attacks=kept)
    entries = [
        run(tiny.request(tmp_path, protocol=protocol, defense=Same()))
        for protocol in (oblivious, tiny.protocol())
    ]
    assert [entry.preliminary for entry in entries] == [True, False]
    assert len(boards(entries)) == 2
    assert entries[0].columns.adaptive is None


@pytest.mark.slow
def test_the_costs_that_are_listed_are_those_that_the_attacks_say():
    costs = read_costs()
    assert set(costs) == set(PROTOCOLS)
    for name, protocol in PROTOCOLS.items():
        assert costs[name] == costs_of(protocol), "python -m benchmark.estimate.write_costs"
        assert not costs[name].unknown
        assert not costs[name].lacks


def test_a_cost_is_that_of_the_attacks_and_of_their_verdicts():
    one = table(sources=table().sources[:1], attacks=[*table().attacks[:2]])
    cost = costs_of(one)
    assert (cost.fixed.jobs, cost.fixed.forwards, cost.fixed.backwards) == (3, 1, 1)
    assert cost.fixed.verdicts == 3
    asked = one.model_copy(update={"criterion": Asked(draws=10)})
    assert costs_of(asked).random.verdicts == 2 * 2 * 10 + 1  # the bare classifier is not random
    lacking = costs_of(table(sources=[], attacks=[*table().attacks[:1], _of("nobodys")]))
    assert lacking.lacks == ("nobodys",)
    assert lacking.fixed.jobs == 1


def test_a_cost_is_that_of_an_image_of_32_by_32_pixels():
    paper = table().paper.model_copy(update={"threats": ["pixels:10"]})
    row = _of("local-search").model_copy(update={"arguments": {"rounds": 1, "probes": 10_000}})
    cost = costs_of(table(paper=paper, sources=[], attacks=[table().attacks[0], row]))
    # the clean image, each pixel, and the image made of the answers
    assert cost.fixed.forwards == 1 + 1 * (32 * 32 + 1)


def test_a_cost_counts_auxiliary_losses_and_what_a_batch_shares_once():
    row = _of("auxiliary").model_copy(update={"arguments": {"steps": 2, "lambdas": [1.0]}})
    fixed = costs_of(table(paper=None, sources=[], attacks=[table().attacks[0], row])).fixed
    # the start and two steps, and one look apart that balances the two losses
    assert (fixed.forwards, fixed.backwards, fixed.auxiliary) == (4, 5, 4)


def _of(attack):
    row = table().attacks[0]
    return row.model_copy(update={"id": attack, "attack": attack, "column": Column.ADAPTIVE})


def test_listing_says_what_each_costs_and_what_its_attackers_know(capsys):
    assert main(["list", "protocols", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == set(PROTOCOLS)
    assert rows["standard"]["knowledge"] == [
        *("oblivious", "transfer", "black-box", "white-box", "known-draw")
    ]
    assert rows["aid-table8"]["knowledge"] == ["oblivious"]
    assert (
        rows["standard"]["cost"]["random"]["backwards"]
        > rows["quick"]["cost"]["random"]["backwards"]
    )
    assert rows["aid-table8"]["paper"]["table"] == "Table 8"
    assert main(["list", "protocols"]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^{name} .*\d[kM]?/\d", text, re.MULTILINE) for name in PROTOCOLS)
    assert "forward/backward" in text


def test_a_protocol_that_names_an_attack_that_there_is_not_is_listed_all_the_same(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "theirs.yaml").write_bytes(
        TABLE.replace(b"attack: cw,", b"attack: nobodys,").replace(b"theirs-table1", b"theirs")
    )
    monkeypatch.setattr(protocol_module, "FOLDER", tmp_path)
    assert main(["list", "protocols"]) == 0
    assert re.search(r"^theirs .*\?", capsys.readouterr().out, re.MULTILINE)


def test_damaged_costs_are_one_line(tmp_path):
    (tmp_path / "costs.json").write_text("{")
    with pytest.raises(BenchError, match="missing or damaged"):
        read_costs(tmp_path / "costs.json")
