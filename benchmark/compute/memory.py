"""Memory that runs out: met by fewer rows in one pass, which costs time and changes no outcome."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from benchmark.errors import BenchError

log = logging.getLogger(__name__)

T = TypeVar("T")

_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
"""How torch, its CPU allocator, cuBLAS and cuDNN say it where they have no exception of their own for it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)


class BatchLimit:
    """How many rows one pass may have: halved each time memory runs out, and never raised again.

    It begins large, because what a row takes hangs on the attack, the gradient mode and the purifier: to
    measure it would take a pass of each kind, and a guess too large costs no more than a few passes that break
    off. A victim treats each row alone, so that fewer rows in a pass change rounding and nothing else.

    Args:
        rows: At the most in one pass.
        least: Where a pass must not be cut further (a network in training mode looks at its batch as a whole).
    """

    def __init__(self, rows: int, *, least: int = 1) -> None:
        self.rows = rows
        self.least = least
        self.halvings = 0
        """How often memory has run out."""

    def passes(
        self, total: int, one_pass: Callable[[Tensor], T], device: torch.device
    ) -> Iterator[tuple[Tensor, T]]:
        """Makes passes over rows 0 to `total`, as many rows in each as there is memory for.

        Args:
            total: How many rows there are.
            one_pass: Rows `(r,)` in order to what a pass over them gives; it may be called again with fewer of
                them, so that it must keep nothing of a pass that failed.
            device: Where the rows' positions are made.

        Yields:
            The rows `(r,)` of each pass that came to its end, and what it gave.

        Raises:
            BenchError: Not even the fewest rows fit.
        """
        start = 0
        while start < total:
            part = torch.arange(start, min(start + self.rows, total), device=device)
            try:
                found = one_pass(part)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._refuse(error, len(part))
            else:
                yield part, found
                start += len(part)
                continue
            # only here are the error, and with it the failed pass's tensors, gone
            self.halve(len(part))

    def halve(self, rows: int) -> None:
        """Takes note that so many rows were too many, and frees what torch keeps for later."""
        self.rows = max(self.least, rows // 2)
        level = logging.DEBUG if self.halvings else logging.WARNING
        log.log(
            level,
            "memory ran out at %d rows in one pass; going on with %d, which changes no outcome "
            "(--batch-size %d says so at once)",
            rows,
            self.rows,
            self.rows,
        )
        self.halvings += 1
        free_memory()

    def _refuse(self, error: BaseException, rows: int) -> None:
        if rows > self.least:
            return
        what = "one image" if rows == 1 else f"a batch of {rows} images that cannot be cut"
        reason = " ".join(str(error).split())[:200]
        raise BenchError(
            f"{what} needs more memory than there is ({reason}); end what else takes memory there, or name "
            f"another device with --device"
        ) from error


@contextmanager
def whole_batch(images: int) -> Iterator[None]:
    """Says what to do where memory runs out in training, whose batch is not cut: that would change the weights.

    Args:
        images: In one batch.

    Raises:
        BenchError: Memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise BenchError(
            f"memory ran out at {images} images a step ({' '.join(str(error).split())[:150]}); train with "
            f"smaller batches (--recipe-arg batch_size={max(1, images // 2)})"
        ) from error


def free_memory() -> None:
    """Gives unused memory back: of broken reference circles, and what torch caches on a GPU."""
    gc.collect()
    torch.cuda.empty_cache()  # does nothing before CUDA is used
