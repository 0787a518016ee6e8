"""Memory that runs out: fewer rows in a pass, and a batch in pieces that is as the whole one."""

from __future__ import annotations

import logging
import weakref

import pytest
import torch

from benchmark.compute.memory import BatchLimit, free_memory, is_out_of_memory
from benchmark.engine.attacking.external import InPieces
from benchmark.engine.attacking.target import Target
from benchmark.errors import BenchError
from tests.helpers.out_of_memory import Cramped, run_out_of_memory, times_freed
from tests.helpers.toy_plugins import Noise, Same, image_draws, nonlinear_target

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def freed(monkeypatch):
    return times_freed(monkeypatch)


def widths(room: BatchLimit, total: int, most: int) -> list[int]:
    """Rows of the passes that came to their end, where a pass over more than `most` runs out of memory."""

    def one_pass(rows):
        if len(rows) > most:
            run_out_of_memory()
        return rows.tolist()

    passes = [found for _, found in room.passes(total, one_pass, CPU)]
    assert [row for found in passes for row in found] == list(range(total))
    return [len(found) for found in passes]


def test_a_pass_that_runs_out_of_memory_is_made_again_with_half_its_rows_as_are_all_later(freed):
    room = BatchLimit(64)
    assert widths(room, 70, most=20) == [16, 16, 16, 16, 6]
    assert room.halvings == 2
    assert len(freed) == 2
    assert widths(room, 20, most=64) == [16, 4]


def test_where_a_batch_is_smaller_than_the_limit_its_own_size_is_halved():
    room = BatchLimit(2048)
    assert widths(room, 6, most=3) == [3, 3]
    assert room.halvings == 1


def test_one_row_that_does_not_fit_is_refused_in_one_line_that_says_why():
    with pytest.raises(BenchError, match=r"one image needs more memory .*can't allocate") as caught:
        widths(BatchLimit(8), 3, most=0)
    assert "\n" not in str(caught.value)


def test_a_batch_that_must_not_be_cut_is_refused_at_once():
    with pytest.raises(BenchError, match="batch of 8 images that cannot be cut"):
        widths(BatchLimit(8, least=8), 8, most=4)


def test_another_failure_is_passed_on_as_it_is():
    def one_pass(rows):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match=r"^shapes do not fit$"):
        list(BatchLimit(8).passes(3, one_pass, CPU))


def test_it_is_said_once_however_often_it_happens(caplog):
    with caplog.at_level(logging.WARNING):
        widths(BatchLimit(64), 64, most=1)
    assert len([record for record in caplog.records if "memory ran out" in record.message]) == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (MemoryError("Unable to allocate 8 GiB for an array"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_says_that_memory_ran_out_is_told_from_what_does_not(error, expected):
    assert is_out_of_memory(error) is expected


def test_a_broken_circle_that_holds_tensors_is_freed():
    class Node:
        def __init__(self):
            self.me = self

    reference = weakref.ref(Node())
    free_memory()
    assert reference() is None


def test_torchs_own_allocator_is_understood():
    with pytest.raises(RuntimeError) as caught:
        run_out_of_memory()
    assert is_out_of_memory(caught.value)


def in_pieces(victim, x, weights, *, rows, retain=False):
    """Logits and the gradients of their weighted sums, one for each row of `weights`, through pieces."""
    draws = image_draws(len(x))
    pieces = InPieces(rows)
    leaf = x.clone().requires_grad_()
    logits = pieces(leaf, lambda part, at: victim.logits(part, draws=draws.take(at), mode="exact"))
    gradients = [
        torch.autograd.grad((w * logits).sum(), leaf, retain_graph=retain or w is not weights[-1])[
            0
        ]
        for w in weights
    ]
    return logits.detach(), torch.stack(gradients), pieces.backwards, pieces


@pytest.mark.parametrize(
    "cramped",
    [{"rows": 8}, {"rows": 5, "where": "backward"}, {"rows": 1}, {"where": "anywhere"}],
    ids=str,
)
def test_a_batch_in_pieces_has_the_logits_and_gradients_of_the_whole(cramped):
    target, x, _ = nonlinear_target(Noise())
    weights = list(image_draws(3, "weights").normal((len(x), 6), dtype=torch.float64))
    logits, gradients, counted, _ = in_pieces(target.victim, x, weights, rows=64)
    assert counted == 3 * len(x)
    tight = Cramped(target.victim, **cramped)
    again, slopes, counted, pieces = in_pieces(tight, x, weights, rows=64)
    assert tight.failures
    assert pieces.room.halvings == tight.failures
    torch.testing.assert_close(again, logits, rtol=0, atol=1e-12)
    torch.testing.assert_close(slopes, gradients, rtol=0, atol=1e-12)
    assert counted == 3 * len(x)


def test_a_whole_batch_in_pieces_is_passed_forward_once_and_no_older_graph_is_kept():
    target, x, _ = nonlinear_target(Same())
    draws = image_draws(len(x))
    passed = []

    def row_logits(part, rows):
        passed.append(len(part))
        return target.victim.logits(part, draws=draws.take(rows), mode="exact")

    pieces = InPieces(64)
    leaf = x.clone().requires_grad_()
    first = pieces(leaf, row_logits)
    (slope,) = torch.autograd.grad(first.sum(), leaf, retain_graph=True)
    assert passed == [23]
    pieces(leaf, row_logits)
    assert passed == [23, 23]
    (again,) = torch.autograd.grad(first.sum(), leaf)  # its graph gave way to the second call's
    assert passed == [23, 23, 23]
    assert torch.equal(again, slope)


def test_in_pieces_without_gradients_keeps_nothing():
    target, x, _ = nonlinear_target(Same())
    draws = image_draws(len(x))
    pieces = InPieces(5)
    with torch.no_grad():
        logits = pieces(
            x, lambda part, rows: target.victim.logits(part, draws=draws.take(rows), mode="exact")
        )
    expected = target.victim.logits(x, draws=draws, mode="exact")
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)
    assert not logits.requires_grad


def test_a_target_is_as_before_where_memory_never_runs_out():
    target = Target(nonlinear_target()[0].victim, classes=6, batch_size=8)
    assert (target.room.rows, target.room.halvings) == (8, 0)
