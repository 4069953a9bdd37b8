"""When changes may begin: times of the week by the clock on the wall of some place.

Wall-clock time decides, also where it jumps: an hour that daylight saving leaves out is in no window, one that comes twice is in it twice.
What is a change, and which may come at any time, is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MINUTES_OF_DAY = 24 * 60

_LOOKED_AHEAD_DAYS = 15
"""A weekly window may fall into an hour that is left out, so that its next opening is a week later."""


@dataclass(frozen=True, slots=True)
class ChangeWindow:
    """From `start` to `end`, in minutes after midnight, on `days` (0 is Monday); without days it never opens.

    One that ends at or before its start ends on the next day, and its days are those on which it starts.
    """

    days: frozenset[int]
    start: int
    end: int
    zone: tzinfo = UTC

    def contains(self, now: float) -> bool:
        """`now` in unix seconds. The start belongs to it, the end does not."""
        local = datetime.fromtimestamp(now, self.zone)
        minute, today = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return today in self.days and self.start <= minute < self.end
        began_yesterday = (today - 1) % 7 in self.days
        return (today in self.days and minute >= self.start) or (began_yesterday and minute < self.end)

    def opening(self, now: float) -> float | None:
        """When it is open next, in unix seconds: `now` where it is; None where it never is."""
        if self.contains(now):
            return now
        today = datetime.fromtimestamp(now, self.zone).date()
        days = (today + timedelta(days=ahead) for ahead in range(_LOOKED_AHEAD_DAYS))
        starts = (start for day in days if day.weekday() in self.days for start in self._starts(day))
        return next((start for start in starts if start > now and self.contains(start)), None)

    def _starts(self, day: date) -> Iterator[float]:
        """The moments of a day at which it may open, in order: one, or two where that hour comes twice."""
        wall = datetime.combine(day, time(self.start // 60, self.start % 60), self.zone)
        first, second = wall.timestamp(), wall.replace(fold=1).timestamp()
        if second >= first:
            yield from dict.fromkeys((first, second))
            return
        # Its start is left out on that day: it opens with the first minute after the gap.
        yield from (moment for moment in range(int(second), int(first) + 1, 60) if self.contains(moment))


NEVER = ChangeWindow(frozenset(), 0, MINUTES_OF_DAY)


def next_opening(windows: Iterable[ChangeWindow], now: float) -> tuple[float, ChangeWindow] | None:
    """When the first of the windows is open next, and which one that is; None where none ever is."""
    openings = ((opening, window) for window in windows if (opening := window.opening(now)) is not None)
    return min(openings, key=lambda found: found[0], default=None)
