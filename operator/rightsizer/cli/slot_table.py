"""Samples of any spacing and order brought to 5-minute slots: CPU averaged, memory the highest, for each pod's container.

Only days that hold samples take room (about 3 kB for each container of a pod and day), and days that are too old for the window are
dropped as soon as newer samples show it. Where samples come from is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rightsizer.history import SLOT_SECONDS, History, PodSeries, Span, UsageBatch
from rightsizer.workload import ContainerKey

DAY_SLOTS = 86_400 // SLOT_SECONDS
MOST_YEARS = 5
MOST_SECONDS = MOST_YEARS * 365.25 * 86_400
"""So far apart may samples be that belong together; one that is further has a wrong time."""

MOST_USAGE: Mapping[str, float] = {"cpu_cores": 1e9, "memory_bytes": 1e15}
"""More than any machine has; far larger numbers would be infinite in the arrays of a history."""

_FIRST_CAPACITY = 16

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


def slot_of(times: Floats) -> Numbers:
    """The slot that each time (unix seconds) falls in, counted from the epoch: slot n ends at n x 300 s, its end included."""
    return np.ceil(times / SLOT_SECONDS).astype(np.int64)


class SlotTable:
    """Sums of samples by day. `last` is the last slot that counts, None for that of the newest sample."""

    def __init__(self, *, slots: int, last: int | None = None) -> None:
        self._slots = slots
        self._last = last
        self._days: dict[int, _Day] = {}
        self.newest: int | None = None
        self.oldest: int | None = None

    def add(self, series: Numbers, times: Floats, cpu: Floats, memory: Floats) -> None:
        """Samples of one series each: its number (-1: of none that is wanted), unix seconds, millicores and bytes; NaN for none."""
        slots = slot_of(times)
        if len(slots):
            self.oldest = int(slots.min()) if self.oldest is None else min(int(slots.min()), self.oldest)
        in_time = slots <= self._last if self._last is not None else np.ones(len(slots), dtype=np.bool_)
        if not in_time.any():
            return
        self.newest = max(int(slots[in_time].max()), self.newest or 0)
        wanted = in_time & (series >= 0) & (slots > self._end() - self._slots)
        days = (slots - 1) // DAY_SLOTS
        for day in np.unique(days[wanted]).tolist():
            mine = wanted & (days == day)
            self._days.setdefault(day, _Day()).add(series[mine], (slots[mine] - 1) % DAY_SLOTS, cpu[mine], memory[mine])
        for day in [day for day in self._days if (day + 1) * DAY_SLOTS <= self._end() - self._slots]:
            del self._days[day]

    def _end(self) -> int:
        return self._last if self._last is not None else self.newest or 0

    def history(self, names: Sequence[PodSeries], keys: Sequence[ContainerKey]) -> History:
        """All of it as a history; `names` and `keys` say whose each series is, by its number."""
        history = History(slots=self._slots)
        for number, day in sorted(self._days.items()):
            span = Span((number * DAY_SLOTS + 1) * SLOT_SECONDS, (number + 1) * DAY_SLOTS * SLOT_SECONDS)
            series = day.series()
            whose = tuple(names[index] for index in series)
            whom = [keys[index] for index in series]
            history.add(UsageBatch("cpu", span, whose, day.cpu()), whom)
            history.add(UsageBatch("memory", span, whose, day.memory()), whom)
        return history


class _Day:
    """One row of slots for each series that has samples on this day."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._sums = np.zeros((_FIRST_CAPACITY, DAY_SLOTS), dtype=np.float32)
        self._counts = np.zeros((_FIRST_CAPACITY, DAY_SLOTS), dtype=np.uint16)
        # -1 stands for none while maxima are taken: NaN would win.
        self._peaks = np.full((_FIRST_CAPACITY, DAY_SLOTS), -1, dtype=np.float32)

    def series(self) -> list[int]:
        """The numbers of the series, in the order of the rows."""
        return list(self._rows)

    def add(self, series: Numbers, slots: Numbers, cpu: Floats, memory: Floats) -> None:
        present, inverse = np.unique(series, return_inverse=True)
        rows = np.array([self._rows.setdefault(number, len(self._rows)) for number in present.tolist()], dtype=np.intp)
        self._reserve(len(self._rows))
        places = rows[inverse] * DAY_SLOTS + slots
        known = ~np.isnan(cpu)
        np.add.at(self._sums.reshape(-1), places[known], cpu[known].astype(np.float32))
        np.add.at(self._counts.reshape(-1), places[known], np.uint16(1))
        known = ~np.isnan(memory)
        np.maximum.at(self._peaks.reshape(-1), places[known], memory[known].astype(np.float32))

    def cpu(self) -> NDArray[np.float32]:
        """Means in millicores, NaN without a sample."""
        counts = self._counts[: len(self._rows)]
        means = np.full(counts.shape, np.nan, dtype=np.float32)
        np.divide(self._sums[: len(self._rows)], counts, out=means, where=counts > 0, casting="same_kind")
        return means

    def memory(self) -> NDArray[np.float32]:
        """Peaks in bytes, NaN without a sample."""
        peaks = self._peaks[: len(self._rows)]
        return np.where(peaks < 0, np.float32(np.nan), peaks)

    def _reserve(self, rows: int) -> None:
        missing = rows - len(self._sums)
        if missing > 0:
            more = max(missing, len(self._sums))
            self._sums = _grown(self._sums, more, 0)
            self._counts = _grown(self._counts, more, 0)
            self._peaks = _grown(self._peaks, more, -1)


def _grown(array: NDArray[Any], rows: int, value: int) -> NDArray[Any]:
    return np.concatenate([array, np.full((rows, array.shape[1]), value, dtype=array.dtype)])
