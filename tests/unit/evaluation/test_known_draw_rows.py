"""Rows of a known draw, from their protocol to a board: a column of their own, and no word in any other."""

import pytest
from pydantic import ValidationError

from benchmark.audit.replan import problems_of_plan
from benchmark.engine.criterion import Rule
from benchmark.errors import BenchError
from benchmark.estimate.estimate import estimate
from benchmark.evaluation.execute.run import run
from benchmark.publishing.leaderboard.board_text import to_markdown
from benchmark.publishing.leaderboard.columns import columns_of
from benchmark.publishing.site.entry_page import _families
from benchmark.records.entry import without_timing
from benchmark.records.entry_parts import AttackRecord
from benchmark.records.protocol import Column
from benchmark.records.protocol_files import parse_protocol
from benchmark.scoring.series import kept_series
from benchmark.scoring.validation import problems_of
from tests.helpers.tiny_task import PROTOCOL, Noise, request
from tests.helpers.toy_plugins import Same

KNOWN = b"""
  - {id: known-clean, column: known-draw, knowledge: known-draw, attack: clean, victims: stochastic,
     counts: never}
  - {id: known, column: known-draw, knowledge: known-draw, attack: pgd, gradients: [best], victims: stochastic,
     counts: never, arguments: {steps: 10, step_size: 0.25, loss: margin}}
"""


def protocol(added=KNOWN):
    return parse_protocol(PROTOCOL + added.lstrip(b"\n"), where="tiny")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The entry of a random purifier with and without the rows of a known draw."""
    runs = tmp_path_factory.mktemp("runs")
    given = {"defense": Noise(sigma=0.3), "threat": "linf:0.05"}
    with_rows = run(request(runs, protocol=protocol(), **given))
    return with_rows, run(request(runs, **given))


def rows_of(entry):
    return {row.id: row for row in entry.attacks}


def test_each_image_is_judged_once_at_the_draw_that_the_attacker_knows(made):
    rows = rows_of(made[0])
    for name in ("known-clean", "known"):
        assert {len(bits) for bits in rows[name].outcomes} == {1}
        assert (rows[name].counts, rows[name].eot) == (False, 1)
    assert {len(bits) for bits in rows["pgd:exact"].outcomes} == {6}


def test_the_column_is_the_worse_of_its_rows_at_one_draw_under_every_rule(made):
    entry = made[0]
    rows, family = rows_of(entry), entry.columns.known_draw
    assert family.rows == ("known-clean", "known")
    both = zip(rows["known-clean"].outcomes, rows["known"].outcomes, strict=True)
    assert family.rates.single.value == sum(min(pair) == "1" for pair in both) / 12
    assert family.rates.vote == family.rates.any_of == family.rates.single
    # a draw known is an attack more, and nobody but it may make up for one
    assert family.rates.single.value < rows["known-clean"].rates.single.value


def test_nothing_else_of_an_entry_hangs_on_a_row_of_a_known_draw(made):
    """Worst case, choices, flags, every other column: as they are without it."""
    with_rows, without = map(without_timing, made)
    differing = {key for key in with_rows if with_rows[key] != without[key]}
    assert differing <= {"attacks", "columns", "cost", "protocol"}
    assert with_rows["columns"] | {"known_draw": None} == without["columns"]
    kept = [row for row in with_rows["attacks"] if not row["id"].startswith("known")]
    assert kept == without["attacks"]


def test_no_image_of_a_known_draw_is_kept_for_an_audit_which_asks_at_others(made):
    kept = {name for series in kept_series(made[0], "all") for name in series.rows}
    assert "pgd:exact" in kept
    assert not kept & {"known", "known-clean"}


def test_its_entry_is_valid_and_its_plan_is_the_protocols(made):
    assert problems_of(made[0]) == []
    assert [said for said in problems_of_plan(made[0]) if "known" in said] == []


def test_a_row_of_a_known_draw_that_is_said_to_count_is_refused(made):
    row = rows_of(made[0])["known"].model_dump()
    with pytest.raises(ValidationError, match="'known' knows the draw, and enters no worst case"):
        AttackRecord.model_validate(row | {"counts": True})


def test_a_row_said_to_be_of_a_known_draw_is_held_to_its_protocol(made):
    """Were an adaptive row relabelled, its harm would leave the worst case."""
    entry = made[0]
    attacks = [
        row.model_copy(update={"column": Column.KNOWN_DRAW, "counts": False})
        if row.id == "pgd:exact"
        else row
        for row in entry.attacks
    ]
    said = problems_of(entry.model_copy(update={"attacks": tuple(attacks)}))
    assert any(line.startswith("pgd:exact: protocol 'tiny' says column=adaptive") for line in said)
    assert any(line.startswith("pgd:exact: protocol 'tiny' says counts=True") for line in said)


def test_the_column_stands_on_a_board_only_where_some_entry_has_it(made):
    with_rows, without = made
    assert "known draw" in to_markdown([with_rows], "t")
    assert "known draw: attacked and judged at one draw" in to_markdown([with_rows], "t")
    assert "known draw" not in to_markdown([without], "t")
    assert [column.short for column in columns_of([with_rows])].count("known") == 1


def test_the_page_of_an_entry_gives_the_column_no_number_under_rules_of_many_draws(made):
    page = made[0]
    families = {name: under for name, _, under in _families(page, list(Rule))}
    single, *others = families["known draw"]
    assert single.startswith(f"{100 * page.columns.known_draw.rates.single.value:.1f}")
    assert others == ["one draw", "one draw"]
    assert "one draw" not in families["adaptive"]


def test_a_deterministic_victim_has_no_such_row_and_misses_none(tmp_path):
    entry = run(request(tmp_path, protocol=protocol(), defense=Same()))
    assert (entry.status, entry.columns.known_draw) == ("complete", None)
    assert not [row.id for row in entry.attacks if row.id.startswith("known")]
    assert problems_of(entry) == []


def test_its_cost_is_that_of_one_draw_a_gradient(tmp_path):
    rows = {row.id: row for row in estimate(request(tmp_path, protocol=protocol())).rows}
    known = rows["known"]
    assert (known.eot, known.passes.backwards, known.verdict) == (1, 10 + 1, 1 + 1)
    assert rows["pgd:exact"].passes.backwards == 3 * 3


@pytest.mark.parametrize(
    ("before", "after", "got"),
    [
        (b"counts: never", b"counts: always", "stochastic, always, 1"),
        (b"victims: stochastic", b"victims: all", "known-draw, known-draw, all, never"),
        (b"knowledge: known-draw", b"knowledge: white-box", "got known-draw, white-box"),
        (b"column: known-draw", b"column: adaptive", "got adaptive, known-draw"),
        (b"counts: never", b"counts: never, eot: 4", "never, 4"),
    ],
)
def test_a_protocols_row_is_of_a_known_draw_altogether_or_not_at_all(before, after, got):
    with pytest.raises(BenchError, match="is of a known draw: expected") as caught:
        protocol(KNOWN.replace(before, after))
    assert got in str(caught.value)


def test_a_diagnosis_varies_no_row_of_a_known_draw():
    with pytest.raises(BenchError, match="no attack of this protocol at unknown draws: 'known'"):
        protocol(KNOWN + b"diagnosis: {of: known}\n")


def test_an_attack_that_does_not_draw_image_by_image_is_refused_at_a_known_draw(tmp_path):
    added = KNOWN.replace(b"attack: pgd", b"attack: fast-autoattack").replace(
        b", arguments: {steps: 10, step_size: 0.25, loss: margin}", b""
    )
    with pytest.raises(BenchError, match="does not draw image by image") as caught:
        run(request(tmp_path, protocol=protocol(added)))
    assert "\n" not in str(caught.value)


def test_a_row_may_stand_in_any_column_and_never_count(tmp_path):
    never = PROTOCOL.replace(b"eot: 3,", b"eot: 3, counts: never,")
    plain = run(request(tmp_path, protocol=parse_protocol(never, where="tiny")))
    rows = rows_of(plain)
    assert [rows[f"pgd:{mode}"].counts for mode in ("exact", "bpda")] == [False, False]
    assert not any(name.startswith("pgd") for name in plain.per_image.chosen)
    assert plain.columns.adaptive.rates is not None
    assert problems_of(plain) == []
