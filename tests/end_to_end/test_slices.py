"""Slices: parts of a run in processes of their own, assembled to the very entry of the whole run."""

from __future__ import annotations

import multiprocessing
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.cli import main
from benchmark.errors import BenchError
from benchmark.evaluation.execute.run import Listener, run, run_slice
from benchmark.evaluation.prepare.slices import Slice
from benchmark.records.entry import without_timing
from benchmark.records.entry_files import read_entry
from tests.helpers.tiny_task import PROTOCOL, Noise, request

pytestmark = pytest.mark.slow

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["torch", "benchmark.evaluation.execute.run", "tests.helpers.tiny_task"]
)


def one_slice(folder, part):
    run_slice(request(folder, slice=part))


def shards(folder):
    """Every shard file with what tells whether it was written again."""
    return {
        path.relative_to(folder): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*.shard")
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return run(request(folder)), shards(folder)


def test_three_processes_make_the_shards_of_one_run_and_nothing_is_computed_twice(whole, tmp_path):
    entry, expected = whole
    together = [CONTEXT.Process(target=one_slice, args=(tmp_path, Slice(k, 3))) for k in (1, 2)]
    alone = CONTEXT.Process(target=one_slice, args=(tmp_path, Slice(3, 3)))
    for process in together:
        process.start()
    for process in together:
        process.join(60)
    after_two = shards(tmp_path)
    alone.start()
    alone.join(60)
    assert [process.exitcode for process in (*together, alone)] == [0, 0, 0]
    made = shards(tmp_path)
    assert made.keys() == expected.keys()
    assert len(after_two) * 3 == len(made) * 2
    cached = []
    listener = Listener(on_done=lambda task, result, was: cached.append(was))
    assembled = run(request(tmp_path), listener)
    assert without_timing(assembled) == without_timing(entry)
    assert all(cached)
    assert len(cached) == len(made)
    assert shards(tmp_path) == made


def test_a_slice_writes_its_own_images_and_says_what_is_left(tmp_path):
    sliced = run_slice(request(tmp_path, slice=Slice(2, 3)))
    assert {path.name for path in shards(tmp_path)} == {"000004-000008.shard"}
    assert sliced.images == 4
    assert sliced.shards == len(shards(tmp_path)) == sliced.total / 3
    assert sliced.left == sliced.total - sliced.shards
    assert list(sliced.waiting) == [Slice(1, 3), Slice(3, 3)]


def test_the_last_slice_finds_nothing_left_and_one_done_again_does_nothing(tmp_path):
    one_slice(tmp_path, Slice(1, 2))
    last = run_slice(request(tmp_path, slice=Slice(2, 2)))
    assert (last.left, last.waiting) == (0, ())
    before = shards(tmp_path)
    one_slice(tmp_path, Slice(2, 2))
    assert shards(tmp_path) == before


def test_slices_beyond_the_shards_are_empty_and_the_others_make_the_whole_run(whole, tmp_path):
    done = [run_slice(request(tmp_path, slice=Slice(k, 5))) for k in range(1, 6)]
    assert sorted(sliced.images for sliced in done) == [0, 0, 4, 4, 4]
    assert done[-1].left == 0
    assert without_timing(run(request(tmp_path))) == without_timing(whole[0])


class Stubborn(Noise):
    """Crashes in every attack."""

    name = "stubborn"

    def purify(self, x, *, draws):
        if x.requires_grad:
            raise RuntimeError("out of luck")
        return super().purify(x, draws=draws)


def test_a_crashed_shard_is_still_left(tmp_path):
    sliced = run_slice(request(tmp_path, slice=Slice(1, 1), defense=Stubborn()))
    assert 0 < sliced.left < sliced.total
    assert sliced.waiting == (Slice(1, 1),)


@given(st.sets(st.integers(0, 10_000), max_size=60), st.integers(1, 80))
def test_slices_part_the_shards_in_order_and_evenly(starts, n):
    slices = [Slice(k, n) for k in range(1, n + 1)]
    parts = [sorted(part.own(starts)) for part in slices]
    assert [start for part in parts for start in part] == sorted(starts)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert slices[0].siblings_of(starts, starts) == [
        part for part, own in zip(slices, parts, strict=True) if own
    ]
    for start in starts:
        (holder,) = slices[-1].siblings_of(starts, [start])
        assert start in holder.own(starts)


@pytest.mark.parametrize(
    "text", ["0/3", "4/3", "1/0", "3", "a/b", "1/2/3", "-1/3", "1/ 3", "1.5/3", "", "1" * 7 + "/9"]
)
def test_what_is_no_slice_is_one_line(text):
    with pytest.raises(BenchError, match="expected k/n with k from 1 to n, such as 2/8") as caught:
        Slice.parse(text)
    assert "\n" not in str(caught.value)


def test_a_slice_has_no_entry_and_a_whole_run_no_slice(tmp_path):
    with pytest.raises(BenchError, match="use run_slice"):
        run(request(tmp_path, slice=Slice(1, 2)))
    with pytest.raises(BenchError, match="needs a slice"):
        run_slice(request(tmp_path))


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """A folder in which commands are typed, and what all of them begin with."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_bytes(PROTOCOL)
    return ["run", "--defense", "gaussian", "--defense-arg", "sigma=0.1", "--protocol", "tiny.yaml",
            "--classes", "3,8", "--offline", "--runs", "shared", "--workers", "1"]  # fmt: skip


def test_the_command_line_prints_what_is_left_and_the_command_that_assembles(
    typed, tmp_path, capsys
):
    assert main([*typed, "--slice", "1/2"]) == 0
    first = capsys.readouterr().out
    assert "slice 1/2: its 4 images" in first
    assert "are left, of slices 2/2" in first
    assert main([*typed, "--slice=2/2"]) == 0
    last = capsys.readouterr().out
    assert "shards of the run are there" in last
    assert not (tmp_path / "results").exists()
    before = shards(tmp_path / "shared")
    words = shlex.split(last.partition("Assemble with: ")[2])
    assert words[0] == "bench"
    assert sorted(words[1:]) == sorted(typed)
    assert main(words[1:]) == 0
    assert shards(tmp_path / "shared") == before
    (sliced,) = (tmp_path / "results").rglob("gaussian*.json")
    assert main([*typed, "--runs", "apart", "--results", "boards"]) == 0
    (unsliced,) = (tmp_path / "boards").rglob("gaussian*.json")
    assert without_timing(read_entry(sliced)) == without_timing(read_entry(unsliced))


def test_an_empty_slice_says_so_and_is_no_failure(typed, capsys):
    assert main([*typed, "--slice", "1/9"]) == 0
    assert "no images are its own" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--slice", "4/3"], "expected k/n"),
        (["--slice", ""], "expected k/n"),
        (["--slice", "1/3", "--json"], "--json prints entries"),
    ],
)
def test_a_wrong_slice_is_one_line_and_status_2(typed, words, message, capsys, tmp_path):
    assert main([*typed, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "shared").exists()


def test_help_shows_slurm_how(capsys):
    assert main(["run", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--slice $SLURM_ARRAY_TASK_ID/8" in shown
    assert "--array=1-8" in shown
