"""Where entries go, and the pages made from them: nothing overwritten, nothing lost, the same bytes twice."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.errors import BenchError
from benchmark.publishing.leaderboard.escaping import file_name
from benchmark.publishing.leaderboard.publish import entry_path, publish_folder
from benchmark.publishing.leaderboard.write_entries import undefended_beside, write_row
from benchmark.records.entry_files import write_entry
from tests.helpers.run_builder import Run, deterministic
from tests.helpers.sample_entries import cells, labels, toy


def test_an_entry_goes_where_its_dataset_threat_defense_and_model_say(tmp_path):
    standard = toy("atop[digits]+jpeg", model="digits-cnn")
    assert entry_path(tmp_path, standard) == (
        tmp_path / "digits" / "linf-8-255" / "atop[digits]+jpeg--digits-cnn.json"
    )
    quick = toy("atop[digits]+jpeg", model="digits-cnn", protocol="quick")
    assert entry_path(tmp_path, quick).name == "atop[digits]+jpeg--digits-cnn--quick.json"
    few = toy("none", model="m", samples=512)
    assert entry_path(tmp_path, few).name == "none--m--n4.json"


def test_an_entry_replaces_its_own_earlier_run_and_nothing_else(tmp_path):
    first = toy("gaussian", arguments='{"sigma": 0.1}')
    others = [
        toy("gaussian", arguments='{"sigma": 0.2}'),
        toy("gaussian", version=2),
        toy("gaussian", protocol="quick"),
        toy("gaussian", samples=512),
        toy("gaussian", model="Net"),
        Run(rows=deterministic(clean="11"), label="gaussian").entry(),
        toy("gaussian", arguments='{"sigma": 0.1}', weights="v" * 64),
        toy("gaussian", arguments='{"sigma": 0.1}', content="c" * 64),
        toy("gaussian", arguments='{"sigma": 0.1}', pixels="q"),
        with_source(first, "o" * 64),
    ]
    paths = []
    for entry in (first, *others):
        paths.append(entry_path(tmp_path, entry))
        write_entry(entry, paths[-1])
    assert len(set(paths)) == len(paths)
    again = toy("gaussian", arguments='{"sigma": 0.1}', pgd="0000")
    assert entry_path(tmp_path, again) == paths[0]
    assert [entry_path(tmp_path, entry) for entry in others] == paths[1:]


def with_source(entry, sha256):
    """The entry, as if its defense had other source."""
    (stage,) = entry.defense.stages
    stages = (stage.model_copy(update={"source_sha256": sha256}),)
    defense = entry.defense.model_copy(update={"stages": stages})
    return entry.model_copy(update={"defense": defense})


def test_a_new_run_finds_its_own_entry_where_another_has_taken_the_plain_name(tmp_path):
    first, other = toy("it"), toy("it", content="c" * 64)
    paths = []
    for entry in (first, other):
        paths.append(entry_path(tmp_path, entry))
        write_entry(entry, paths[-1])
    paths[0].unlink()
    assert entry_path(tmp_path, other) == paths[1]
    assert entry_path(tmp_path, first) == paths[0]


def test_hashes_of_source_are_compared_where_they_were_made_alike(tmp_path):
    old = toy("it").model_copy(update={"key_version": 0})
    write_entry(old, path := entry_path(tmp_path, old))
    made_again = with_source(toy("it"), "o" * 64)
    assert entry_path(tmp_path, made_again) == path
    write_entry(made_again, path)
    assert entry_path(tmp_path, with_source(made_again, "t" * 64)) != path


def test_an_entry_whose_clean_row_is_a_gap_is_replaced_by_its_whole_run(tmp_path):
    holed = toy("it", failed=frozenset({("clean", 0)}))
    assert holed.dataset.pixels_sha256 == ""
    write_entry(holed, path := entry_path(tmp_path, holed))
    assert entry_path(tmp_path, toy("it")) == path


def test_no_file_with_other_content_is_written_over_whatever_its_name_says(tmp_path):
    first, other = toy("it"), toy("it", content="c" * 64)
    write_entry(first, entry_path(tmp_path, first))
    write_entry(first.model_copy(update={"seed": 5}), entry_path(tmp_path, other))
    with pytest.raises(BenchError, match="holds other content than the hash in its name says"):
        entry_path(tmp_path, other)


def test_a_damaged_entry_is_mended_by_its_next_run(tmp_path):
    path = entry_path(tmp_path, toy("a"))
    write_entry(toy("a"), path)
    path.write_text("{")
    assert entry_path(tmp_path, toy("a")) == path


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "npz:/tmp/x.npz",
        "file:C:\\x",
        "..",
        ".",
        "",
        "a--b",
        "é",
        "x" * 300,
        "a\0b",
    ],
)
def test_no_name_leaves_its_folder(name, tmp_path):
    path = entry_path(tmp_path, toy(name, model=name, dataset=name))
    assert path.resolve() == path
    assert len(path.relative_to(tmp_path).parts) == 3
    assert not any(part.startswith(".") for part in path.relative_to(tmp_path).parts)
    write_entry(toy(name, model=name, dataset=name), path)


@given(st.text(max_size=20), st.text(max_size=20))
@settings(max_examples=200, deadline=None)
def test_two_names_never_share_a_file_name(a, b):
    assert (file_name(a) == file_name(b)) == (a == b)
    assert "--" not in file_name(a)


def test_names_that_are_alike_once_made_safe_stay_apart():
    assert len({file_name(name) for name in ("a/b", "a:b", "a-b", "a--b", ".a-b")}) == 5


@pytest.fixture
def leaderboards(tmp_path):
    for entry in (
        toy("a"),
        toy("b", pgd="1110"),
        toy("c", dataset="mnist"),
        toy("a", protocol="quick"),
    ):
        write_entry(entry, entry_path(tmp_path, entry))
    return tmp_path


def test_publishing_twice_writes_identical_bytes_and_leaves_nothing_else(leaderboards):
    folders = sorted(leaderboards.glob("*/*"))
    first = list(map(publish_folder, folders))
    pages = {done.page: done.page.read_bytes() for done in first}
    assert {page.parent.parent.name for page in pages} == {"digits", "mnist"}
    list(map(publish_folder, folders))
    assert {page: page.read_bytes() for page in pages} == pages
    names = sorted(path.name for path in next(iter(pages)).parent.iterdir())
    assert names == ["README.md", "a--net--quick.json", "a--net.json", "b--net.json"]


def test_a_damaged_entry_is_named_on_the_page_and_the_others_stand(leaderboards):
    folder = leaderboards / "digits" / "linf-8-255"
    (folder / "b--net.json").write_text('{"schema_version": 1}')
    (folder / "z_|odd.json").mkdir()
    done = publish_folder(folder)
    assert labels(done.entries) == ["a", "a"]
    assert len(done.damaged) == 2
    assert "b--net.json" in done.damaged[0]
    page = done.page.read_text()
    assert "- b--net.json: not an entry" in page
    assert "- z\\_&#124;odd.json: not an entry" in page
    assert [row[1] for row in cells(page) if row[0] == "1"] == ["a", "a (preliminary)"]


def test_an_entry_moved_by_hand_to_another_threats_folder_is_not_ranked_there(leaderboards):
    folder = leaderboards / "digits" / "linf-8-255"
    write_entry(toy("other", threat="linf:4/255", pgd="1111"), folder / "other--net.json")
    page = publish_folder(folder).page.read_text()
    assert page.count("\n## ") == 3
    assert "digits test, linf:4/255" in page


def test_an_empty_or_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(BenchError, match="found none"):
        publish_folder(tmp_path)
    with pytest.raises(BenchError, match="there is none"):
        publish_folder(tmp_path / "no")


def test_a_page_says_no_time_and_no_path(leaderboards):
    page = publish_folder(leaderboards / "digits" / "linf-8-255").page.read_text()
    assert str(leaderboards) not in page
    assert not re.search(r"\d{4}-\d\d-\d\d|\d\d:\d\d", page)


def test_a_row_is_shown_with_its_undefended_classifier_where_an_earlier_run_measured_that(tmp_path):
    undefended = toy("none", pgd="0000")
    for entry in (undefended, toy("none", model="other"), toy("none", protocol="quick"), toy("b")):
        write_row(entry, None, tmp_path)
    assert undefended_beside([write_row(toy("a"), None, tmp_path)]) == [undefended]
    assert undefended_beside([write_row(undefended, None, tmp_path)]) == []
