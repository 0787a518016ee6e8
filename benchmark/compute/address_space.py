"""Memory that a shell or a cluster rations (`ulimit -v`): said in one line, not in a hundred odd failures."""

from __future__ import annotations

import errno
import resource

from benchmark.errors import BenchError

NEEDED = 4 * 10**9
"""Bytes of addresses that torch, threads and a small run take, most of them never touched."""
STARTING = 10**9
"""What commands take that compute nothing."""
_PLENTY = 4 * NEEDED
_SIGNS = (
    "failed to map segment",
    "cannot allocate memory",
    "can't allocate memory",
    "unable to allocate",
    "can't start new thread",
    "out of memory",
    "bad_alloc",
)
"""How libraries say it that have no exception of their own for it."""


def refuse_cramped(needed: int = NEEDED) -> None:
    """Refuses a limit under which libraries cannot even be loaded.

    Args:
        needed: Bytes of addresses.

    Raises:
        BenchError: It is so low.
    """
    limit = _limit()
    if limit is not None and limit < needed:
        raise BenchError(_line(limit, needed))


def refuse_rationed(error: BaseException) -> None:
    """Ends all work where an error means that a limit is used up: each further piece would fail likewise.

    Args:
        error: Whatever was raised.

    Raises:
        BenchError: It means that.
    """
    limit = _limit()
    if limit is not None and _means_memory(error):
        raise BenchError(_line(limit, NEEDED)) from error


def _limit() -> int | None:
    """Bytes of addresses that this process may have; None where they are no ration but plenty."""
    found = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if found == resource.RLIM_INFINITY or found >= _PLENTY else found


def _line(limit: int, needed: int) -> str:
    return (
        f"memory ran out: this shell or job allows {limit / 1e9:.2g} GB of addresses (ulimit -v), and "
        f"bench takes at least {needed / 1e9:.2g} GB in each process; allow more (ulimit -v unlimited), or use "
        f"fewer --workers or a smaller --batch-size; what was finished is kept"
    )


def _means_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, says that there is no more memory."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        text = str(error).lower().replace("cuda out of memory", "")  # a GPU's is another
        is_full = isinstance(error, OSError) and error.errno == errno.ENOMEM
        if isinstance(error, MemoryError) or is_full or any(sign in text for sign in _SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False
