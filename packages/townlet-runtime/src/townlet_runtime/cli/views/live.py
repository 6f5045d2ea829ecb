"""Progress bars and frames on a terminal, drawn by Rich; foreign text is never markup."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console as RichConsole
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from townlet_runtime.cli.console import duration
from townlet_trajectory.storage.json import printable


@contextmanager
def live_progress(*, total: int, unit: str, begun_at: int, told: bool) -> Iterator[_LiveProgress]:
    """Show a bar with stage, count, rate and time left; see `Console.progress`."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} {task.fields[unit]}"),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[left]}") if told else TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=RichConsole(stderr=True)) as progress:
        task = progress.add_task("", total=total, completed=begun_at, unit=unit, rate="", left="", note="")
        yield _LiveProgress(progress, task, begun_at)


class _LiveProgress:
    def __init__(self, progress: Progress, task: TaskID, begun_at: int) -> None:
        self._progress = progress
        self._task = task
        self._begun_at = begun_at
        self._begun = time.monotonic()

    def update(self, stage: str, done: int, note: str = "", *, left: float | None = None) -> None:
        elapsed = time.monotonic() - self._begun
        self._progress.update(
            self._task,
            description=printable(stage),
            completed=done,
            rate=f"{(done - self._begun_at) / elapsed:,.0f}/s" if elapsed > 0.0 else "",
            left="" if left is None else f"{duration(left)} left",
            note=printable(note),
        )


@contextmanager
def live_frames(*, stderr: bool = False) -> Iterator[Callable[[Sequence[str]], None]]:
    """Give a function that shows lines of text, always in the same place of standard output, or of `stderr`."""
    with Live(console=RichConsole(stderr=stderr), auto_refresh=False) as live:
        yield lambda lines: live.update(Text("\n".join(map(printable, lines)), no_wrap=True), refresh=True)
