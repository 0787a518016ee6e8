"""Time left: how long the rest of some work takes, by the pace of what this process has done of it lately."""

from __future__ import annotations

import time
from bisect import bisect_left

LEAST_SECONDS = 600.0
"""Over at least so many the pace is taken: a step may take minutes."""
_MOST_MARKS = 2000


class Pace:
    """The pace of some work, over the later half of its time in this process, and ten minutes at the least.

    Counting begins at the first mark. So what an earlier process did, what was found done and a slow first step
    do not count. What takes long now and then, such as a validation, counts as often as it comes.
    """

    def __init__(self) -> None:
        self._times: list[float] = []
        self._done: list[float] = []

    def mark(self, done: float) -> None:
        """Notes how much is done by now, at the start of the work and after each part of it."""
        now = time.monotonic()
        if self._done and done < self._done[-1]:  # other work begins
            self._times, self._done = [], []
        if len(self._done) == 1 and self._done[0] == done:
            self._times[0] = now  # nothing is done yet
            return
        self._times.append(now)
        self._done.append(done)
        if len(self._times) > _MOST_MARKS:
            self._times[1:-1], self._done[1:-1] = self._times[1:-1:2], self._done[1:-1:2]

    def seconds(self, left: float) -> float | None:
        """How long the rest still takes; None while nothing is known, or where it should have ended by now.

        Args:
            left: How much is left.
        """
        if len(self._times) < 2:
            return None
        now = self._times[-1]
        since = min((self._times[0] + now) / 2, now - LEAST_SECONDS)
        first = min(bisect_left(self._times, since), len(self._times) - 2)
        done = self._done[-1] - self._done[first]
        if done <= 0:
            return None
        expected = (now - self._times[first]) / done * left - (time.monotonic() - now)
        return expected if expected >= 0 else None
