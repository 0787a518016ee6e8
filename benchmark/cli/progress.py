"""Progress of work and of downloads, on standard error: bars, or a line a minute where that is no terminal."""

from __future__ import annotations

import contextlib
import time
from bisect import bisect_left
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Task as ShownTask
from rich.text import Text

from benchmark.cli.streams import stdout_kept_clean
from benchmark.files.downloads import reported_to

if TYPE_CHECKING:
    from benchmark.evaluation.execute.run import Listener
    from benchmark.evaluation.execute.shard_queue import Shard
    from benchmark.records.result import Result

LOGGED_EVERY = 60.0
"""Seconds between two lines in a log file."""


class _TimeLeft(ProgressColumn):
    """The time left by a task's own pace."""

    max_refresh = 0.5

    def render(self, task: ShownTask) -> Text:
        """Shows it."""
        return Text(_clock(_left(task)), style="progress.remaining")


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


class RunProgress:
    """A bar that counts finished shards and names the last one.

    Args:
        title: What is being evaluated.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self.failures: list[str] = []
        self._inside = contextlib.ExitStack()
        self._console = Console(stderr=True)
        self._logged = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _TimeLeft(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._downloads: dict[str, TaskID] = {}
        self._static: TaskID | None = None
        self._computed = 0
        self._task = self._add(title, total=None, note="loading")

    def __enter__(self) -> Self:
        self._inside.enter_context(stdout_kept_clean())  # while it lasts, plugins are running
        self._inside.enter_context(self._bar)
        self._inside.enter_context(reported_to(self.download))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._inside.close()

    def step(self, done: int, total: int, note: str) -> None:
        """Shows how far something has come."""
        self._update(self._task, completed=done, total=total, note=note)

    def download(self, what: str, done: int, total: int | None) -> None:
        """Shows how much of a file has come, in megabytes, until all of it has."""
        if what not in self._downloads:
            self._downloads[what] = self._add(f"download {what}", note="MB")
        self._update(
            self._downloads[what],
            completed=done >> 20,
            total=None if total is None else max(1, total >> 20),
            visible=done != total,
        )

    def training(self, done: int, total: int, losses: dict[str, float] | None) -> None:
        """Shows a training step and its losses; None: a file of a static set, made before the first step."""
        if losses is None:
            if self._static is None:
                self._static = self._add("static sets", note="")
            self._update(self._static, completed=done, total=total, visible=done != total)
            return
        note = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self.step(done, total, note)

    def listener(self) -> Listener:
        """What a run tells its progress to."""
        from benchmark.evaluation.execute.run import Listener  # here so that --help starts no torch

        def on_plan(shards: Sequence[Shard]) -> None:
            self._bar.update(self._task, total=len(shards), note="")
            self._mark(self._task, 0)

        def on_done(shard: Shard, result: Result, cached: bool) -> None:
            note = "kept from before" if cached else f"{result.cost.seconds:.1f} s"
            self._computed += (
                not cached
            )  # what was found done says nothing of how long the rest takes
            self._update(self._task, done=self._computed, advance=1, note=f"{shard.row.id} {note}")
            if result.error:
                self.failures.append(f"{self._title}, {shard.row.id}: {result.error}")

        return Listener(on_plan, on_done)

    def _add(self, title: str, **fields: Any) -> TaskID:
        return self._bar.add_task(title, pace=Pace(), **fields)

    def _mark(self, task: TaskID, done: float) -> None:
        self._bar.tasks[task].fields["pace"].mark(done)

    def _update(self, task: TaskID, *, done: float | None = None, **changes: Any) -> None:
        """Shows how far a task has come, of which this process has done so much; None: all of it."""
        self._bar.update(task, **changes)
        self._mark(task, self._bar.tasks[task].completed if done is None else done)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._logged >= LOGGED_EVERY:
            self._logged = now
            self._console.print(self._line(task), soft_wrap=True, markup=False, highlight=False)

    def _line(self, task: TaskID) -> str:
        """How far a task has come, as a line of a log."""
        shown = self._bar.tasks[task]
        passed = timedelta(seconds=int(shown.elapsed or 0))
        left = _left(shown)
        parts = [f"{shown.completed:.0f}/{shown.total or 0:.0f}", f"{passed} elapsed"]
        parts += [] if left is None else [f"{_clock(left)} left"]
        parts += [note] if (note := shown.fields["note"]) else []
        return f"{shown.description}: {', '.join(parts)}"


def _left(task: ShownTask) -> float | None:
    """Seconds that a task still takes; None where nobody can say."""
    if task.total is None or task.remaining is None:
        return None
    pace: Pace = task.fields["pace"]
    return 0.0 if task.finished else pace.seconds(task.remaining)


def _clock(seconds: float | None) -> str:
    return "-:--:--" if seconds is None else str(timedelta(seconds=int(seconds)))
