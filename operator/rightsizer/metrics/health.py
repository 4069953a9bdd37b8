"""Whether the operator still gets somewhere: the age of the last sign of progress."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Health:
    """Healthy while the last progress is younger than `stalled_after_seconds`. `clock` counts seconds and need not know the date.

    Progress is a cycle that ended, and within a long first one each part of the history that was read.
    """

    def __init__(self, *, stalled_after_seconds: float, clock: Callable[[], float]) -> None:
        self._stalled_after_seconds = stalled_after_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._progress_at = clock()

    def progress(self) -> None:
        with self._lock:
            self._progress_at = self._clock()

    def trouble(self) -> str | None:
        """Why it is not healthy, for a person; None while it is."""
        with self._lock:
            age = self._clock() - self._progress_at
        if age <= self._stalled_after_seconds:
            return None
        return f"no progress for {age:.0f} s (allowed: {self._stalled_after_seconds:.0f} s)"
