"""From results to an entry: one choice an image, gaps that stay gaps, and the flags."""

import dataclasses
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.engine.criterion import Outcome, Rule
from benchmark.errors import BenchError
from benchmark.scoring.assembly import assemble
from benchmark.scoring.statistics import bootstrap, wilson
from tests.helpers.run_builder import WHOLE, Run, deterministic


def single(family):
    return family.rates.single.value


def test_an_image_is_robust_where_it_is_right_on_the_clean_image_and_under_every_attack():
    entry = Run(rows=WHOLE).entry()
    assert entry.status == "complete"
    assert entry.clean.single.value == pytest.approx(5 / 6)
    assert entry.per_image.worst == ("1", "1", "0", "0", "0", "0")
    assert entry.worst.single.value == pytest.approx(2 / 6)
    assert single(entry.columns.adaptive) == pytest.approx(3 / 6)


def test_a_clean_image_of_another_label_is_never_robust():
    """Column by column: no attack can make a wrong image right."""
    entry = Run(rows=deterministic(clean="01", oblivious="11", pgd="11")).entry()
    assert entry.per_image.worst == ("0", "1")
    assert single(entry.columns.oblivious) == single(entry.columns.adaptive) == 0.5
    assert entry.per_image.chosen == ("clean", "clean")


def test_the_attack_that_broke_an_image_is_named():
    chosen = Run(rows=WHOLE).entry().per_image.chosen
    assert chosen == ("clean", "clean", "autoattack", "oblivious", "autoattack", "clean")


def test_one_candidate_is_chosen_on_select_draws_and_its_score_stands_even_where_others_score_lower():
    rows = {
        "clean": [Outcome(1.0, 5.0, "1111")],
        "pgd": [Outcome(0.25, -1.0, "1110")],  # the worst on select draws
        "auxiliary": [Outcome(0.50, -0.5, "0000")],  # lower on score draws, by luck
    }
    entry = Run(rows=rows, is_stochastic=True).entry()
    assert entry.worst.single.value == 0.75
    assert entry.per_image.chosen == ("pgd",)
    assert entry.per_image.worst == ("1110",)


def test_among_equals_on_select_draws_the_smaller_margin_is_chosen():
    rows = {
        "clean": [Outcome(1.0, 5.0, "1111")],
        "pgd": [Outcome(0.5, 0.2, "1000")],
        "auxiliary": [Outcome(0.5, 0.1, "1100")],
    }
    assert Run(rows=rows, is_stochastic=True).entry().per_image.chosen == ("auxiliary",)


def test_each_rule_makes_its_own_choice():
    def cell(single_rate, vote_rate, any_rate, bits):
        rates = {Rule.SINGLE: single_rate, Rule.VOTE: vote_rate, Rule.ANY: any_rate}
        return {rule: Outcome(rate, 0.0, bits[rule]) for rule, rate in rates.items()}

    bits = [
        {Rule.SINGLE: a, Rule.VOTE: b, Rule.ANY: c}
        for a, b, c in [("1111", "11", "11"), ("1000", "01", "11"), ("1110", "00", "01")]
    ]
    rows = {
        "clean": [cell(1.0, 1.0, 1.0, bits[0])],
        "pgd": [cell(0.2, 0.5, 0.6, bits[1])],
        "auxiliary": [cell(0.4, 0.1, 0.7, bits[2])],
    }
    worst = Run(rows=rows, is_stochastic=True).entry().worst
    assert (worst.single.value, worst.vote.value, worst.any_of.value) == (0.25, 0.0, 1.0)


def test_autoattack_on_a_stochastic_victim_shows_its_number_and_never_enters_the_worst_case():
    rows = {"clean": ["1111", "1111"], "autoattack": ["0000", "0000"], "pgd": ["1100", "1111"]}
    entry = Run(rows=rows, is_stochastic=True).entry()
    assert single(entry.columns.autoattack) == 0.0
    assert entry.worst.single.value == 0.75
    assert "autoattack" not in entry.per_image.chosen


def test_autoattack_on_a_deterministic_victim_counts():
    rows = deterministic(clean="11", autoattack="00", pgd="11")
    assert Run(rows=rows).entry().worst.single.value == 0.0


def test_one_outcome_an_image_gets_wilson_and_several_get_the_bootstrap():
    fixed = Run(rows=WHOLE).entry().clean.single
    assert (fixed.low, fixed.high) == wilson(5, 6)
    noisy = Run(rows={"clean": ["1111", "1100", "0000"]}, is_stochastic=True).entry().clean.single
    assert (noisy.low, noisy.high) == bootstrap([1.0, 0.5, 0.0])


def test_rows_that_met_other_images_are_refused():
    a = Run(rows=WHOLE).evaluated()
    b = Run(rows=WHOLE, pixels="q").evaluated()
    key = a.rows[2].job.key
    mixed = dataclasses.replace(a, results={**a.results, key: b.results[key]})
    with pytest.raises(BenchError, match="the dataset changed between runs"):
        assemble(mixed)


@pytest.mark.parametrize("order", [(0, 0, 1, 2), (0, 1, 1, 2)])
def test_shards_that_overlap_are_our_bug_and_not_a_result(order):
    run = Run(rows=WHOLE).evaluated()
    key = run.rows[0].job.key
    shards = tuple(run.results[key][i] for i in order)
    with pytest.raises(ValueError, match="does not fit"):
        assemble(dataclasses.replace(run, results={**run.results, key: shards}))


def test_another_jobs_shards_are_our_bug_and_not_a_result():
    run = Run(rows=WHOLE).evaluated()
    first, second = run.rows[0].job.key, run.rows[1].job.key
    swapped = {**run.results, first: run.results[second]}
    with pytest.raises(ValueError, match="does not fit"):
        assemble(dataclasses.replace(run, results=swapped))


def test_the_order_and_the_size_of_shards_change_no_rate():
    run = Run(rows=WHOLE)
    a, b = run.entry(shard=1), run.entry(shard=4)
    assert (a.clean, a.worst, a.columns, a.per_image) == (b.clean, b.worst, b.columns, b.per_image)
    evaluated = run.evaluated()
    backwards = {key: shards[::-1] for key, shards in evaluated.results.items()}
    assert assemble(dataclasses.replace(evaluated, results=backwards)) == run.entry()


def test_costs_are_for_each_image_and_a_job_in_two_rows_was_run_once():
    run = Run(rows=WHOLE, sources={"made-bare:net": list("000000")}, seconds=4.0)
    entry = run.entry(shard=2)
    assert entry.attacks[0].cost.forwards_per_image == 3
    assert entry.attacks[0].cost.seconds_per_image == 2.0
    assert entry.cost.backwards_per_image == len(WHOLE) + 1
    evaluated = run.evaluated()
    twice = dataclasses.replace(evaluated.rows[-1], id="made-again:net")
    doubled = dataclasses.replace(evaluated, rows=(*evaluated.rows, twice))
    assert assemble(doubled).cost == entry.cost


def test_traces_of_shards_are_joined_and_a_short_one_stands_still():
    run = Run(rows=deterministic(clean="1111", pgd="0000"), traces={"pgd": (1.0, 0.5, 0.0)})
    evaluated = run.evaluated()
    key = evaluated.rows[1].job.key
    first, second = evaluated.results[key]
    short = dataclasses.replace(second, trace=(1.0, 0.5))
    entry = assemble(
        dataclasses.replace(evaluated, results={**evaluated.results, key: (first, short)})
    )
    assert entry.attacks[1].trace == (1.0, 0.5, 0.25)


def test_the_undefended_classifier_is_measured_by_the_sources_made_on_it():
    sources = {"made-bare:net": list("000011"), "clean-bare:net": list("111111")}
    entry = Run(rows=WHOLE, sources=sources).entry()
    assert entry.undefended.clean.value == 1.0
    assert entry.undefended.oblivious.value == pytest.approx(2 / 6)


def test_sources_on_other_classifiers_say_nothing_of_the_undefended_one():
    run = Run(rows=WHOLE, sources={"made-surrogates:mlp": list("000000")}).evaluated()
    source = run.rows[-1]
    other = dataclasses.replace(source.job.classifier, name="mlp")
    moved = dataclasses.replace(source, job=dataclasses.replace(source.job, classifier=other))
    shards = tuple(
        dataclasses.replace(shard, job=moved.job.key) for shard in run.results[source.job.key]
    )
    entry = assemble(
        dataclasses.replace(
            run, rows=(*run.rows[:-1], moved), results={**run.results, moved.job.key: shards}
        )
    )
    assert entry.undefended.oblivious is None
    assert entry.sources[0].classifier == "mlp"


@pytest.mark.parametrize(
    ("protocol", "samples", "expected"),
    [
        ("quick", None, True),
        ("standard", 6, False),
        ("standard", 7, True),
        ("standard", None, False),
    ],
)
def test_a_first_look_or_too_few_images_are_preliminary(protocol, samples, expected):
    assert Run(rows=WHOLE, protocol=protocol, samples=samples).entry().preliminary is expected


bits = st.text("01", min_size=4, max_size=4)


@given(bits, bits, bits, bits)
@settings(max_examples=60, deadline=None)
def test_worst_is_at_most_every_column_and_every_column_at_most_clean(clean, pgd, transfer, more):
    rows = deterministic(clean=clean, pgd=pgd, transfer=transfer)
    entry = Run(rows=rows).entry()
    expected = tuple(
        "1" if set(row) == {"1"} else "0" for row in zip(clean, pgd, transfer, strict=True)
    )
    assert entry.per_image.worst == expected
    for family in (entry.columns.adaptive, entry.columns.transfer):
        assert entry.worst.single.value <= single(family) <= entry.clean.single.value
    added = Run(rows=rows | deterministic(auxiliary=more)).entry()
    assert all(a <= b for a, b in zip(added.per_image.worst, entry.per_image.worst, strict=True))


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 4), min_size=1, max_size=4), st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_worst_case_of_a_stochastic_victim_is_the_score_of_its_lowest_selection(images, random):
    def cell(selected, scored):
        return Outcome(selected / 4, random.random(), "1" * scored + "0" * (4 - scored))

    rows = {
        "clean": [cell(a, b) for a, b, _, _ in images],
        "pgd": [cell(c, d) for _, _, c, d in images],
    }
    entry = Run(rows=rows, is_stochastic=True).entry()
    for (a, b, c, d), got in zip(images, entry.per_image.worst, strict=True):
        if a != c:
            assert got.count("1") == (b if a < c else d)


def test_from_results_to_a_page_nothing_imports_torch():
    files = ("records.entry_files", "scoring.assembly", "scoring.validation")
    files += ("publishing.leaderboard.publish", "publishing.site.build")
    modules = ", ".join(f"benchmark.{name}" for name in files)
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_plugins_of_an_entry_carry_their_arguments_as_values():
    stage = Run(rows=WHOLE, weights="w" * 64).entry().defense.stages[0]
    assert stage.arguments == json.loads('{"sigma": 0.25}')
    assert (stage.plugin, stage.weights_sha256) == ("toys:Toy", "w" * 64)
