"""Ranking: one row a defense, groups of one classifier, and the paired difference to that classifier alone."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.publishing.leaderboard.board_text import heading, to_markdown, to_text
from benchmark.publishing.leaderboard.paired import difference
from benchmark.publishing.leaderboard.publish import entry_path
from benchmark.publishing.leaderboard.ranking import boards, shares_group
from benchmark.records.entry import is_undefended
from benchmark.records.missing_rows import Missing, Why
from tests.helpers.run_builder import Run, deterministic
from tests.helpers.sample_entries import cells, labels, toy

NATURAL, ROBUST = {"model": "natural"}, {"model": "robust"}


def groups(entries):
    (board,) = boards(entries)
    return board.groups


def of(n: int, label: str = "it", **fields):
    """An entry on the first n of six images, of which the attack leaves every other one."""
    return toy(label, clean="1" * n, pgd="101010"[:n], **fields) if n else None


def same_protocol(*entries):
    """The same as entries of one board: they differ in their number of images alone."""
    return [e.model_copy(update={"protocol": entries[0].protocol}) for e in entries]


def test_a_robust_classifier_alone_outranks_no_purifier_before_a_natural_one():
    alone = toy("none", pgd="1110", **ROBUST)
    purifier = toy("purifier", pgd="1000", **NATURAL)
    natural, robust = groups([alone, toy("none", pgd="0000", **NATURAL), purifier])
    assert [line.place for line in natural.lines] == [1]
    assert natural.lines[0].gain.value == 0.25
    assert (robust.header.place, robust.lines) == (None, ())


def test_the_undefended_classifier_is_its_groups_header_and_no_row():
    entries = [toy("b", pgd="1110"), toy("none", pgd="1111"), toy("a", pgd="1000")]
    (group,) = groups(entries)
    assert group.header.entry.defense.label == "none"
    assert [(line.entry.defense.label, line.place) for line in group.lines] == [("b", 1), ("a", 2)]
    page, text = to_markdown(entries, "t"), to_text(entries)
    assert [row[:2] for row in cells(page)[1:]] == [["", "net, undefended"], ["1", "b"], ["2", "a"]]
    assert "net alone" in text
    assert "none" not in page.split("|", 1)[1] + text


def test_a_group_without_its_undefended_classifier_says_so():
    page, text = to_markdown([toy("a")], "t"), to_text([toy("a")])
    assert "net, undefended: not measured" in page
    assert "undefended: not measured: net (bench run --defense none measures it)" in text
    assert cells(page)[2][9] == "–"


def test_a_defense_that_calls_itself_none_is_a_row():
    stage = toy("x").defense.stages[0]
    liar = toy("none", pgd="1111")
    liar = liar.model_copy(update={"defense": liar.defense.model_copy(update={"stages": (stage,)})})
    assert is_undefended(toy("none"))
    (group,) = groups([liar])
    assert (group.header, labels([line.entry for line in group.lines])) == (None, ["none"])


def test_each_defense_has_one_row_on_the_most_images_and_the_others_are_named():
    small, large, other = same_protocol(of(4), of(6), of(4, "other"))
    for entries in ([small, large, other], [other, large, small]):
        (board,) = boards(entries)
        assert sorted((e.defense.label, e.dataset.n) for e in board.entries) == [
            ("it", 6),
            ("other", 4),
        ]
        assert list(board.others) == [small]
        for shown in (to_markdown(entries, "t"), to_text(entries)):
            assert "also measured, and not shown: it on net, n = 4" in shown


def test_a_row_goes_by_what_the_classifier_is_and_not_by_its_name():
    first, second = same_protocol(of(4, model="net"), of(6, model="copy", content="a" * 64))
    renamed = first.model_copy(update={"classifier": second.classifier})
    (group,) = groups([second, renamed])
    assert len(group.lines) == 1
    same_name = toy("it", model="net", content="a" * 64)
    assert len(groups([toy("it", model="net"), same_name])) == 2


def test_other_arguments_of_a_defense_are_another_row():
    (group,) = groups([toy("it"), toy("it", arguments='{"sigma": 0.5}')])
    assert [line.place for line in group.lines] == [1, 2]


def test_the_difference_is_paired_image_by_image():
    alone, it = "1100", "1010"
    (group,) = groups([toy("none", pgd=alone), toy("it", pgd=it)])
    gain = group.lines[0].gain
    expected = difference([float(x) for x in alone], [float(x) for x in it])
    assert (gain.value, gain.low, gain.high) == expected
    assert gain.n == 4
    assert expected[0] == 0.0
    page = to_markdown([toy("none", pgd="0000"), toy("it", pgd="1111")], "t")
    assert cells(page)[2][9].startswith("+100.0 (")
    worse = to_markdown([toy("none", pgd="1111"), toy("it", pgd="0111")], "t")
    assert cells(worse)[2][9].startswith("-25.0 (")


@given(st.lists(st.tuples(st.sampled_from("01"), st.sampled_from("01")), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_a_difference_is_that_of_the_two_accuracies_where_both_met_the_same_images(pairs):
    alone, it = ("".join(bits) for bits in zip(*pairs, strict=True))
    clean = "1" * len(pairs)
    none = toy("none", clean=clean, pgd=alone)
    made = toy("it", clean=clean, pgd=it)
    (group,) = groups([none, made])
    gain = group.lines[0].gain
    assert abs(gain.value - (made.worst.single.value - none.worst.single.value)) < 1e-12
    assert gain.low <= gain.value <= gain.high


def test_a_difference_is_taken_on_common_images_and_says_how_many():
    alone, it = same_protocol(of(4, "none"), of(6, "it"))
    (group,) = groups([alone, it])
    assert (group.lines[0].gain.value, group.lines[0].gain.n) == (0.0, 4)
    assert "to 49.0, n = 4)" in to_markdown([alone, it], "t")


def test_entries_on_other_images_of_one_name_stand_on_another_board():
    alone, it = toy("none"), toy("it")
    moved = it.per_image.model_copy(update={"indices": (1, 2, 3, 4)})
    relabelled = it.per_image.model_copy(update={"labels": (9, 9, 9, 9)})
    repainted = it.dataset.model_copy(update={"pixels_sha256": "f" * 64})
    cropped = it.dataset.model_copy(update={"preparation": "crop:8"})
    others = [{"per_image": moved}, {"per_image": relabelled}, {"dataset": repainted}]
    for other in (*others, {"dataset": cropped}):
        first, second = boards([alone, it.model_copy(update=other)])
        assert {len(first.lines), len(second.lines)} == {1}
        assert heading(first) != heading(second)
        (line,) = [line for line in (*first.lines, *second.lines) if line.place]
        assert line.gain is None


def test_only_rows_on_the_most_images_have_a_rank():
    few, many, best = same_protocol(
        of(4, "few"), of(6, "many"), toy("best", clean="1" * 6, pgd="1" * 6)
    )
    (group,) = groups([few, many, best])
    assert "without a rank, on fewer images: few on net (4, not 6)" in to_text([few, many, best])
    assert [(line.entry.defense.label, line.place) for line in group.lines] == [
        ("best", 1),
        ("many", 2),
        ("few", None),
    ]


def test_a_gap_on_either_side_leaves_no_difference_but_one_that_the_task_has_does():
    crashed = {"failed": frozenset({("pgd", 0)})}
    for entries in ([toy("none", **crashed), toy("it")], [toy("none"), toy("it", **crashed)]):
        assert groups(entries)[0].lines[0].gain is None
    rows = deterministic(clean="1111", pgd="1100", transfer="1111")
    why = {"transfer": "no surrogate classifiers are known for digits"}
    alone, it = (Run(rows=rows, label=x, skipped=missing(why)).entry() for x in ("none", "it"))
    (group,) = groups([alone, it])
    assert (group.lines[0].place, group.lines[0].gain.value) == (None, 0.0)
    assert (
        groups([alone, toy("it").model_copy(update={"protocol": alone.protocol})])[0].lines[0].gain
        is None
    )


def missing(reasons):
    return {row: Missing(Why.NO_SURROGATES, reason) for row, reason in reasons.items()}


def test_another_seed_or_precision_is_shown_without_a_rank_and_hides_no_ranked_row():
    own, seeded = same_protocol(of(4), of(6, seed=7))
    mixed = toy("mixed", pgd="1111", precision="mixed")
    mixed = mixed.model_copy(update={"protocol": own.protocol})
    entries = [mixed, seeded, own, toy("none", pgd="0000")]
    (board,) = boards(entries)
    found = {(x.entry.defense.label, x.entry.seed): x.place for x in board.groups[0].lines}
    assert found == {("it", 0): 1, ("mixed", 0): None, ("it", 7): None}
    for shown in (to_markdown(entries, "t"), to_text(entries)):
        assert "¶ it on net: seed 7; ranks are given at seed 0 and precision float32 alone" in shown
        assert "¶ mixed on net: precision mixed" in shown
        assert "it¶" in shown


def test_another_seed_or_precision_replaces_no_ranked_entry(tmp_path):
    paths = {
        entry_path(tmp_path, toy("it", **x)) for x in ({}, {"seed": 1}, {"precision": "mixed"})
    }
    assert {path.name for path in paths} == {
        "it--net.json",
        "it--net--seed1.json",
        "it--net--mixed.json",
    }


def test_a_row_is_paired_with_its_own_classifier_undefended_and_with_no_other():
    """One classifier keeps every image, the other none; a defense keeps half of them before either."""
    rows = [toy("none", pgd="0000", **NATURAL), toy("none", pgd="1111", **ROBUST)]
    rows += [toy("it", pgd="1100", **names) for names in (ROBUST, NATURAL)]
    natural, robust = groups(rows)
    assert [line.gain.value for line in natural.lines] == [0.5]
    assert [line.gain.value for line in robust.lines] == [-0.5]
    assert (natural.header.entry, robust.header.entry) == (rows[0], rows[1])
    (before_natural,), (before_robust,) = natural.lines, robust.lines
    assert not shares_group(before_natural.entry, before_robust.entry)
    assert shares_group(before_natural.entry, rows[0])


def test_rows_stand_by_their_worst_case_then_by_clean_accuracy_then_by_name():
    """Higher ones first; before all of them what may be ranked, and whole runs before preliminary ones."""
    rows = [
        toy("low", pgd="1000"),
        toy("b", pgd="1100", clean="1110"),
        toy("high", pgd="1110"),
        toy("clean", pgd="1100", clean="1111"),
        toy("a", pgd="1100", clean="1110"),
        toy("other seed", pgd="1111", seed=1),
    ]
    (group,) = groups(rows)
    places = [(line.entry.defense.label, line.place) for line in group.lines]
    ranked = [("high", 1), ("clean", 2), ("a", 3), ("b", 4), ("low", 5)]
    assert places == [*ranked, ("other seed", None)]
    early = rows[2].model_copy(update={"preliminary": True})
    (group,) = groups([early, rows[0]])
    assert [line.entry.defense.label for line in group.lines] == ["low", "high"]


def test_a_row_without_clean_accuracy_stands_below_one_that_has_it():
    without = toy("a", pgd="0000", seed=1).model_copy(update={"clean": None})
    (group,) = groups([without, toy("b", pgd="0000", clean="1100", seed=1)])
    assert [line.entry.defense.label for line in group.lines] == ["b", "a"]


def test_the_order_of_files_decides_nothing_between_equal_rows():
    """Alike in all that a board shows but the key of their jobs, which settles it."""
    first, second = (
        entry.model_copy(
            update={
                "attacks": [r.model_copy(update={"job_key": digit * 64}) for r in entry.attacks]
            }
        )
        for digit, entry in (("1", toy("it", arguments='{"a": 1}')), ("2", toy("it")))
    )
    for entries in ([first, second], [second, first]):
        (group,) = groups(entries)
        assert [line.entry.attacks[0].job_key[0] for line in group.lines] == ["1", "2"]


def test_newer_versions_of_a_protocol_and_the_standard_one_come_first():
    made = [toy("it", version=1), toy("it", version=2), toy("it", protocol="another")]
    found = [(board.first.protocol.name, board.first.protocol.version) for board in boards(made)]
    assert found == [("standard", 2), ("standard", 1), ("another", 1)]
