"""A progress bar on stderr for whatever takes longer than a person likes to wait in the dark; nothing where nobody looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

PATIENCE_SECONDS = 2.0

Report = Callable[[str, float, float], None]
"""Told what is going on, how much of it is done and how much there is in all."""


class ProgressBar:
    """Shows what it is told after two seconds, on a terminal only; use it as a context, at whose end the bar goes away."""

    def __init__(self, *, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._since = clock()
        self._bar: Progress | None = None
        self._task: tuple[str, TaskID] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def report(self, what: str, done: float, total: float) -> None:
        """Implements `Report`."""
        if not self._console.is_terminal or self._clock() - self._since < PATIENCE_SECONDS:
            return
        if self._bar is None:
            self._bar = _bar(self._console)
            self._bar.start()
        self._bar.update(self._task_of(self._bar, what), completed=done, total=total)

    def _task_of(self, bar: Progress, what: str) -> TaskID:
        if self._task is None or self._task[0] != what:
            if self._task is not None:
                bar.remove_task(self._task[1])
            self._task = what, bar.add_task(what)
        return self._task[1]


def _bar(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True)
