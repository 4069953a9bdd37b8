"""Scores: how good decisions were, judged by the usage that came after each. One figure per container, NaN where it has no meaning.

A slot is judged by what was decided by the end of the slot before it. Slots without a value are neither filled nor counted, and nothing is
judged before the first decision. Which rule decided is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rightsizer.evidence.replay import Course
from rightsizer.history import SLOT_SECONDS, Values
from rightsizer.methods.levels import DAY_SLOTS, HOUR_SLOTS
from rightsizer.methods.patterns.presence import NOTICEABLY_THROTTLED
from rightsizer.methods.ranking import Levels
from rightsizer.methods.statistics import Numbers, percentile

OOM_APART_SLOTS = 6
"""Crossings of the memory limit count once in 30 minutes: a killed container that comes back is one event until it has run for a while."""

LEAST_DAY_SLOTS = HOUR_SLOTS
"""A day with less than an hour of values has no 95th percentile worth the name."""

_DAY_SHARE = 0.95
_SUSTAINED_SLOTS = HOUR_SLOTS


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures of shape (rows,). Shares are 0 to 1, times seconds.

    - `days`: how long was judged; `slack`: mean over the days of 1 - p95 of the day's usage / mean of the day's request (the relative
      slack of Autopilot, EuroSys 2020, section 4); `footprint`: requested / used;
    - `above`: share of the slots above the request; `unmet`: usage above the request / usage; `above_limit`: share of the slots above the
      limit; `queued`: share of the work that a container held at its limit would have had to do later;
    - `oom_events`: upward crossings of the limit, 30 minutes apart; `oom_free`: share of the days without a value above the limit;
    - `changes`: a day; `quiet`: share of the days without one; `reaction`: mean time until the request covers usage that stays above the
      former request for an hour; `censored`: share of the slots in which the container was throttled.
    """

    days: Numbers
    slack: Numbers
    footprint: Numbers
    above: Numbers
    unmet: Numbers
    above_limit: Numbers
    queued: Numbers
    oom_events: Numbers
    oom_free: Numbers
    changes: Numbers
    quiet: Numbers
    reaction: Numbers
    censored: Numbers


def joined(parts: list[Scores]) -> Scores:
    """The scores of several blocks of containers as one."""
    return Scores(*(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Scores)))


def start_of_judging(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first column that is judged in histories of these lengths (slots): day 7, or hour 24 where there are less than 10 days."""
    return np.where(lengths >= 10 * DAY_SLOTS, 7 * DAY_SLOTS, DAY_SLOTS)


def score(
    values: Values, course: Course, *, starts: NDArray[np.int64], lengths: NDArray[np.int64], throttled: Values | None = None
) -> Scores:
    """Judges a course over the same columns as values (rows, slots), from column `starts` to before column `lengths` of each row."""
    requests, limits = in_force(course.requests), in_force(course.limits)
    columns = np.arange(values.shape[1])
    inside = (columns >= starts[:, np.newaxis]) & (columns < lengths[:, np.newaxis])
    judged = inside & ~np.isnan(values) & ~np.isnan(requests)
    used = np.where(judged, values, np.nan).astype(np.float64)
    number, work = judged.sum(axis=1), np.nansum(used, axis=1)
    over = used > limits
    days = _Days(starts, values.shape[1])
    changed = inside & (course.causes > 1)
    return Scores(
        days=np.maximum(lengths - starts, 0) / DAY_SLOTS,
        slack=_slack(used, requests, days),
        footprint=_share(np.nansum(np.where(judged, requests, 0.0), axis=1), work),
        above=_share((used > requests).sum(axis=1), number),
        unmet=_share(np.nansum(np.fmax(used - requests, 0.0), axis=1), work),
        above_limit=_share(over.sum(axis=1), np.where(np.isnan(limits).all(axis=1), 0, number)),
        queued=_share(_queued(used, limits), work),
        oom_events=np.where(number > 0, oom_events(over), np.nan),
        oom_free=1 - _share(days.any(over).sum(axis=1), days.any(judged).sum(axis=1)),
        changes=_share(changed.sum(axis=1), np.where(number > 0, lengths - starts, 0) / DAY_SLOTS),
        quiet=1 - _share(days.any(changed).sum(axis=1), np.where(number > 0, days.any(inside).sum(axis=1), 0)),
        reaction=_reaction(used, requests),
        censored=_censored(throttled, judged),
    )


def in_force(decided: Levels) -> Levels:
    """What is in force in each slot: what was decided by the end of the one before it."""
    return np.concatenate([np.full((len(decided), 1), np.nan), decided[:, :-1]], axis=1)


class _Days:
    """Days of 24 hours counted from the column at which each row begins to be judged."""

    def __init__(self, starts: NDArray[np.int64], columns: int) -> None:
        self._starts = starts
        self._days = -(-columns // DAY_SLOTS)

    def split(self, values: NDArray[Any], fill: float) -> NDArray[Any]:
        """Shape (rows, days, slots of a day), `fill` behind the end."""
        wide = np.full((len(values), self._days * DAY_SLOTS), fill, dtype=values.dtype)
        for start in np.unique(self._starts):
            rows = self._starts == start
            rest = values[rows, start:]
            wide[rows, : rest.shape[1]] = rest
        return wide.reshape(len(values), self._days, DAY_SLOTS)

    def any(self, truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether it is so anywhere in a day: shape (rows, days)."""
        return np.asarray(self.split(truth, 0).any(axis=2), dtype=np.bool_)


def _share(part: NDArray[Any], whole: NDArray[Any]) -> Numbers:
    wholes = np.asarray(whole, dtype=np.float64)
    shares: Numbers = np.divide(part, wholes, out=np.full(len(wholes), np.nan), where=wholes > 0)
    return shares


def _slack(used: Levels, requests: Levels, days: _Days) -> Numbers:
    by_day = days.split(used, np.nan)
    wanted = np.where(np.isnan(by_day), np.nan, days.split(requests, np.nan))
    counts = (~np.isnan(by_day)).sum(axis=2)
    peaks = percentile(by_day.reshape(-1, DAY_SLOTS), _DAY_SHARE).reshape(counts.shape)
    means = np.divide(np.nansum(wanted, axis=2), counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    enough = (counts >= LEAST_DAY_SLOTS) & (means > 0)
    slacks = 1 - np.divide(peaks, means, out=np.full(counts.shape, np.nan), where=enough)
    return _share(np.nansum(slacks, axis=1), enough.sum(axis=1))


def _queued(used: Levels, limits: Levels) -> Numbers:
    """The work of each row that did not fit into its own slot under the limit, in units of usage x slots."""
    found = np.zeros(len(used))
    rows = np.flatnonzero((used > limits).any(axis=1))
    queue, later = np.zeros(len(rows)), np.zeros(len(rows))
    for column in range(used.shape[1]) if len(rows) else ():
        arriving = np.nan_to_num(used[rows, column])
        capacity = np.where(np.isnan(limits[rows, column]), np.inf, limits[rows, column])
        left = np.fmax(queue + arriving - capacity, 0.0)
        later += np.fmin(left, arriving)
        queue = left
    found[rows] = later
    return found


def oom_events(over: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How often each row crossed its limit upwards, half an hour apart. `over`: where usage was above the limit, shape (rows, slots)."""
    found = np.zeros(len(over), dtype=np.int64)
    crossing = over.copy()
    crossing[:, 1:] &= ~over[:, :-1]
    for row in np.flatnonzero(crossing.any(axis=1)).tolist():
        last = -OOM_APART_SLOTS
        for column in np.flatnonzero(crossing[row]).tolist():
            if column - last >= OOM_APART_SLOTS:
                found[row] += 1
                last = column
    return found


def _reaction(used: Levels, requests: Levels) -> Numbers:
    above = used > requests
    onset = above.copy()
    onset[:, 1:] &= ~above[:, :-1]
    times, steps = np.zeros(len(used)), np.zeros(len(used))
    for row in np.flatnonzero(onset.any(axis=1)).tolist():
        for column in np.flatnonzero(onset[row]).tolist():
            hour = used[row, column : column + _SUSTAINED_SLOTS]
            if len(hour) == _SUSTAINED_SLOTS and (hour > requests[row, column]).all():
                covered = np.flatnonzero(used[row, column:] <= requests[row, column:])
                times[row] += (covered[0] if len(covered) else used.shape[1] - column) * SLOT_SECONDS
                steps[row] += 1
    return _share(times, steps)


def _censored(throttled: Values | None, judged: NDArray[np.bool_]) -> Numbers:
    if throttled is None:
        return np.full(len(judged), np.nan)
    return _share(((throttled > NOTICEABLY_THROTTLED) & judged).sum(axis=1), judged.sum(axis=1))
