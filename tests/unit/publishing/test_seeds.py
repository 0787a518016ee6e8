"""The spread of a worst case over seeds: said of a ranked row that was run again, asked for where none was."""

from __future__ import annotations

import shlex

import pytest

from benchmark.engine.criterion import Outcome, Rule
from benchmark.evaluation.execute.run import run
from benchmark.publishing.leaderboard.board_text import to_markdown, to_text
from benchmark.publishing.leaderboard.publish import publish_folder
from benchmark.publishing.leaderboard.ranking import boards
from benchmark.publishing.leaderboard.seeds import spread_lines, spreads, wanted_lines
from benchmark.publishing.site.pages import render
from benchmark.records.entry_files import write_entry
from benchmark.scoring.apply_challenge import challenged
from tests.helpers.html_reader import Page
from tests.helpers.sample_entries import toy
from tests.helpers.tiny_task import request

THREE = [toy("it", pgd=bits, seed=seed) for seed, bits in enumerate(("1100", "1000", "1110"))]
SAID = "worst case 50.0 (25.0 to 75.0 over 3 attack seeds)"


def of(entries):
    (board,) = boards(entries)
    return spread_lines(board), wanted_lines(board)


def test_a_ranked_row_that_stands_at_three_seeds_says_how_far_its_worst_case_moves():
    assert of([*THREE, toy("other")]) == ([f"spread: it on net: {SAID}"], [])
    for page in (to_markdown(THREE, "t"), to_text(THREE)):
        assert page.count(SAID) == 1
    site = render(THREE)
    assert f"spread: it on net: {SAID}" in Page(site["digits--linf-8-255/index.html"]).text
    assert SAID in Page(site["digits--linf-8-255/it--net.html"]).text
    assert "over 3" not in Page(site["digits--linf-8-255/it--net--seed1.html"]).text


@pytest.mark.parametrize(
    "other",
    [
        toy("it", seed=2, weights="w" * 64),
        toy("it", seed=2, arguments='{"sigma": 0.5}'),
        toy("it", seed=2, precision="mixed"),
        toy("it", seed=2, pixels="q"),
        toy("it", seed=2, clean="11111", pgd="11000"),
        toy("it", seed=2, failed=frozenset({("pgd", 0)})),
        toy("it", seed=2, examination=()),
        toy("it", seed=1),
    ],
    ids=[
        "weights",
        "arguments",
        "precision",
        "images",
        "more images",
        "a gap",
        "unmeasured",
        "twice",
    ],
)
def test_only_valid_entries_of_the_same_content_at_other_seeds_enter(other):
    assert all(not spreads(board) for board in boards([*THREE[:2], other]))


def test_a_row_without_a_rank_has_no_spread():
    others = [toy("it", seed=seed) for seed in (1, 2, 3)]
    assert of(others) == ([], [])


def test_what_images_from_outside_took_is_no_spread_of_seeds():
    wrong = dict.fromkeys(Rule, Outcome(0.0, -1.0, "0"))
    lowered = challenged(THREE[0], {0: wrong}, credit="Ada", sha256="0" * 64)
    assert lowered.worst.single.value == 0.25
    (line,), _ = of([lowered, *THREE[1:]])
    assert line.endswith("by its run's own attacks 50.0 (25.0 to 75.0 over 3 attack seeds)")


def test_a_board_of_standard_says_which_commands_would_give_one():
    row, again = (
        entry.model_copy(update={"command": COMMAND}) for entry in (toy("b", pgd="1110"), toy("a"))
    )
    _, (line,) = of([row, again])
    first, second = line.partition("one would by ")[2].split(" and ")
    assert shlex.split(first) == [*shlex.split(COMMAND)[:-2], "--seed", "1"]
    assert second.endswith(" --seed 2")
    _, (line,) = of([row, again, toy("a", seed=1)])
    assert line.endswith("one would by bench run --defense b --seed 2")
    for page in (
        to_markdown([row], "t"),
        Page(render([row])["digits--linf-8-255/index.html"]).text,
    ):
        assert "no row here stands at 3 seeds" in page
    assert of([toy("it", protocol="quick")]) == ([], [])


COMMAND = "bench run --defense b --seed 0"


@pytest.mark.parametrize("command", ["bench run; rm -rf x", "bench run 'x", "sh -c x"])
def test_no_other_command_is_put_on_a_page(command):
    _, (line,) = of([toy("it").model_copy(update={"command": command})])
    assert line.endswith(
        "by the command of it on net with --seed 1 and the command of it on net with --seed 2"
    )


@pytest.mark.slow
def test_of_a_random_victim_the_draws_that_score_it_vary_too(tmp_path):
    """Real runs: a random purifier before a linear network, by a tiny protocol."""
    for seed in (0, 1, 2):
        entry = run(request(tmp_path / "runs", seed=seed, precision="float32"))
        write_entry(entry, tmp_path / "boards/tiny/linf-0.1" / f"{seed}.json")
    published = publish_folder(tmp_path / "boards/tiny/linf-0.1")
    rates = [entry.worst.single.value for entry in published.entries]
    ends = f"{100 * min(rates):.1f} to {100 * max(rates):.1f}"
    assert len(set(rates)) > 1
    assert (
        f"worst case {100 * rates[0]:.1f} ({ends} over 3 seeds of its attacks and its draws)"
        in (published.page.read_text())
    )
