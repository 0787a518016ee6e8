"""Progress of work and of downloads, on standard error: bars, or a line a minute where that is no terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from benchmark.cli.streams import stdout_kept_clean

if TYPE_CHECKING:
    from benchmark.results import Result
    from benchmark.running.run import Listener
    from benchmark.running.tasks import Task


LOGGED_EVERY = 60.0
"""Seconds between two lines in a log file."""
_SPEED_OVER = 600.0
"""Seconds over which what is left is estimated: a step may take minutes."""


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
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
            speed_estimate_period=_SPEED_OVER,
        )
        self._downloads: dict[str, TaskID] = {}
        self._static: TaskID | None = None
        self._task = self._bar.add_task(title, total=None, note="loading")

    def __enter__(self) -> Self:
        from benchmark.fetching.downloads import reported_to  # here so that --help starts quickly

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
            self._downloads[what] = self._bar.add_task(f"download {what}", note="MB")
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
                self._static = self._bar.add_task("static sets", note="")
            self._update(self._static, completed=done, total=total, visible=done != total)
            return
        note = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self.step(done, total, note)

    def listener(self) -> Listener:
        """What a run tells its progress to."""
        from benchmark.running.run import Listener  # here so that --help starts no torch

        def on_plan(tasks: Sequence[Task]) -> None:
            self._bar.update(self._task, total=len(tasks), note="")

        def on_done(task: Task, result: Result, cached: bool) -> None:
            note = "kept from before" if cached else f"{result.cost.seconds:.1f} s"
            self._update(self._task, advance=1, note=f"{task.row.id} {note}")
            if result.error:
                self.failures.append(f"{self._title}, {task.row.id}: {result.error}")

        return Listener(on_plan, on_done)

    def _update(self, task: TaskID, **changes: Any) -> None:
        self._bar.update(task, **changes)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._logged >= LOGGED_EVERY:
            self._logged = now
            self._console.print(self._line(task), soft_wrap=True, markup=False, highlight=False)

    def _line(self, task: TaskID) -> str:
        """How far a task has come, as a line of a log."""
        shown = self._bar.tasks[task]
        passed = timedelta(seconds=int(shown.elapsed or 0))
        left = shown.time_remaining
        parts = [f"{shown.completed:.0f}/{shown.total or 0:.0f}", f"{passed} passed"]
        parts += [] if left is None else [f"{timedelta(seconds=int(left))} left"]
        parts += [note] if (note := shown.fields["note"]) else []
        return f"{shown.description}: {', '.join(parts)}"
