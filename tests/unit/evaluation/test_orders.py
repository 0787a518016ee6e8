"""Orders: a subset is the first n of a balanced order or of RobustBench's, and the two are never mixed."""

import json
from dataclasses import replace

import pytest
import torch

from benchmark.errors import BenchError
from benchmark.evaluation.execute.run import Listener, run
from benchmark.evaluation.execute.store import Store
from benchmark.evaluation.prepare.loading import load_dataset
from benchmark.evaluation.prepare.request import Request
from benchmark.publishing.leaderboard.board_text import to_markdown, to_text
from benchmark.publishing.leaderboard.publish import entry_path
from benchmark.publishing.leaderboard.ranking import boards
from benchmark.records.entry import Entry, without_timing
from tests.helpers.sample_entries import toy
from tests.helpers.tiny_task import finished_shard, request


def of_order(entry: Entry, order: str) -> Entry:
    return entry.model_copy(update={"dataset": entry.dataset.model_copy(update={"order": order})})


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_robustbenchs_first_n_are_the_first_of_the_file(name, data_folder):
    dataset = load_dataset(name, folder=data_folder)
    assert dataset.listed("test")[:7].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert len(dataset.listed("test")) == 10_000
    assert dataset.order("test")[:7].tolist() != [0, 1, 2, 3, 4, 5, 6]


def test_an_entry_holds_the_images_that_its_order_names(tmp_path):
    entry = run(request(tmp_path, order="robustbench", samples=5))
    assert entry.per_image.indices == (0, 1, 2, 3, 4)
    assert entry.dataset.order == "robustbench"
    assert "--order robustbench" in entry.command
    nested = run(request(tmp_path, samples=5))
    assert nested.per_image.indices != (0, 1, 2, 3, 4)
    assert nested.dataset.order == "nested"
    assert "--order" not in nested.command


def test_an_image_gets_the_same_outcomes_in_either_order(tmp_path):
    """Draws hang on an image's index, not on its place."""
    outcomes = []
    for order in ("nested", "robustbench"):
        entry = run(request(tmp_path, order=order))
        pairs = zip(entry.per_image.indices, entry.per_image.worst, strict=True)
        outcomes.append(dict(pairs))
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0]) == 12


def test_shards_of_two_orders_never_answer_or_overwrite_each_other(tmp_path):
    first = run(request(tmp_path))
    cached = []
    listener = Listener(on_done=lambda task, result, was: cached.append(was))
    run(request(tmp_path, order="robustbench"), listener)
    assert not any(cached)
    cached.clear()
    assert without_timing(run(request(tmp_path), listener)) == without_timing(first)
    assert all(cached)


@pytest.mark.parametrize("change", [{"order": "robustbench"}, {"preparation": "Crop288"}])
def test_order_and_preparation_give_a_shard_another_file(change, tmp_path):
    job, _, _ = finished_shard()
    other = replace(job, task=replace(job.task, **change))
    store = Store(tmp_path)
    assert store.path(job, 0, 4) != store.path(other, 0, 4)


def test_rows_of_two_orders_are_never_ranked_together():
    nested = [toy("gaussian", pgd="1111"), toy("jpeg", pgd="0000")]
    listed = [of_order(entry, "robustbench") for entry in nested]
    assert [
        [entry.dataset.order for entry in board.entries] for board in boards([*nested, *listed])
    ] == [
        ["nested", "nested"],
        ["robustbench", "robustbench"],
    ]
    page = to_markdown([*nested, *listed], "both")
    assert page.count("RobustBench's first n") == 1
    assert to_text(listed).splitlines()[0].count("RobustBench's first n") == 1
    assert "RobustBench's first n" not in to_text(nested)


def test_entries_of_two_orders_lie_in_two_files(tmp_path):
    nested = toy("gaussian")
    listed = of_order(nested, "robustbench")
    paths = [entry_path(tmp_path, entry) for entry in (nested, listed)]
    assert paths[0] != paths[1]
    assert paths[1].name == "gaussian--net--robustbench.json"


def test_an_entry_without_an_order_is_of_the_nested_one():
    values = toy("gaussian").model_dump(mode="json")
    del values["dataset"]["order"], values["dataset"]["preparation"]
    read = Entry.model_validate_json(json.dumps(values))
    assert (read.dataset.order, read.dataset.preparation) == ("nested", "")


def test_another_order_than_the_two_is_refused():
    with pytest.raises(BenchError, match="order is nested or robustbench; got 'random'"):
        Request(defense="none", order="random")


def test_more_images_than_an_order_has_are_refused_in_one_line(tmp_path):
    with pytest.raises(BenchError, match="has 12 test images in RobustBench's order"):
        run(request(tmp_path, order="robustbench", samples=13))


def test_the_nested_order_is_balanced_and_the_files_is_not_changed(tmp_path):
    digits = load_dataset("digits", folder=tmp_path)
    assert torch.equal(digits.listed(), torch.arange(500))
    assert digits.labels("test")[digits.order()[:20]].bincount().tolist() == [2] * 10
