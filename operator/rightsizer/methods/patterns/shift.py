"""A level that changed for good, as after a release: every day since is above, or below, every day before.

A whole day is the unit, so that nights do not count as shifts, and three days on both sides, so that weekends do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rightsizer.history import Values
from rightsizer.methods.levels import HOUR_SLOTS
from rightsizer.methods.pace import Truth
from rightsizer.methods.patterns.blocks import means
from rightsizer.methods.statistics import Numbers

BLOCK_HOURS = 3
"""When a level changed is told to three hours: what is finer costs more and says no more."""

DAY_BLOCKS = 24 // BLOCK_HOURS

SIDE_HOURS = 72
"""What must have been seen before and after: a weekend is shorter."""

KNOWN_SIDE_HOURS = 24
"""The same where a release is known: its time need not be found, and a day tells day from night."""

SHIFT, SHIFT_TOLD = 1.5, 1.3
"""How many times any day before each day after is; to be told first, and to be told on. The buffer covers what is below."""

LEAST_BLOCKS = DAY_BLOCKS // 2
"""A day of which less was seen is no day: its mean says more about the gap."""


@dataclass(frozen=True, slots=True)
class Shifts:
    """Rows whose level changed. `column`: the first slot of the new level; `before`, `after`: the means on both sides, in the unit of the
    values. All are meaningless where `found` is not set."""

    found: Truth
    column: Numbers
    before: Numbers
    after: Numbers


def shifts(values: Values, *, told: Truth, changed: Numbers | None = None) -> Shifts:
    """The largest shift of each row of values (rows, slots); `told`: rows of which it is told already.

    `changed`: the column of the newest release of each row, where it is known (NaN: not known): then only that moment is looked at.
    """
    slots = BLOCK_HOURS * HOUR_SLOTS
    level = means(values, slots)
    rows, blocks = level.shape
    nothing = np.zeros(rows)
    if blocks < 2 * DAY_BLOCKS:
        return Shifts(np.zeros(rows, dtype=np.bool_), nothing, nothing, nothing)
    first = values.shape[1] % slots
    known = np.full(rows, np.nan) if changed is None else np.ceil((changed - first) / slots)
    factor = _factors(level, known)
    best = factor.argmax(axis=1)
    after = np.arange(blocks) >= best[:, np.newaxis]
    return Shifts(
        found=factor[np.arange(rows), best] >= np.where(told, SHIFT_TOLD, SHIFT),
        column=(best * slots + first).astype(np.float64),
        before=_mean_where(level, ~after),
        after=_mean_where(level, after),
    )


def _factors(level: Numbers, changed: Numbers) -> Numbers:
    """For a shift at each block: how far apart the days on its sides are at least, upwards or downwards; 0 where none can be."""
    blocks = level.shape[1]
    days = _days(level)
    # Day d begins with block d, so the last one before block b is b - DAY_BLOCKS, and the first one after it b.
    highest, lowest = np.fmax.accumulate(days, axis=1), np.fmin.accumulate(days, axis=1)
    highest_after, lowest_after = np.fmax.accumulate(days[:, ::-1], axis=1)[:, ::-1], np.fmin.accumulate(days[:, ::-1], axis=1)[:, ::-1]
    moments = np.arange(DAY_BLOCKS, blocks - DAY_BLOCKS + 1)
    up = _ratio(lowest_after[:, moments], highest[:, moments - DAY_BLOCKS])
    down = _ratio(lowest[:, moments - DAY_BLOCKS], highest_after[:, moments])
    factors = np.zeros(level.shape)
    factors[:, moments] = np.fmax(up, down)
    factors[~_possible(level, changed)] = 0.0
    return factors


def _possible(level: Numbers, changed: Numbers) -> Truth:
    """Where a shift may be: at a release that is known, else where enough was seen on both sides."""
    places, seen = np.arange(level.shape[1]), ~np.isnan(level)
    side = SIDE_HOURS // BLOCK_HOURS
    first, last = seen.argmax(axis=1)[:, np.newaxis], places[-1] - seen[:, ::-1].argmax(axis=1)[:, np.newaxis]
    open_to_both = (places - first >= side) & (last + 1 - places >= side)
    released = changed[:, np.newaxis]
    possible: Truth = np.where(np.isnan(released), open_to_both, places == released)
    return possible


def _days(level: Numbers) -> Numbers:
    """The mean of each 24 hours in a row; NaN where too few of them are known."""
    known = ~np.isnan(level)
    sums, counts = _running(np.where(known, level, 0.0)), _running(known.astype(np.float64))
    days: Numbers = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts >= LEAST_BLOCKS)
    return days


def _running(level: Numbers) -> Numbers:
    sums = np.zeros((len(level), level.shape[1] + 1))
    np.cumsum(level, axis=1, out=sums[:, 1:])
    running: Numbers = sums[:, DAY_BLOCKS:] - sums[:, :-DAY_BLOCKS]
    return running


def _ratio(over: Numbers, under: Numbers) -> Numbers:
    found: Numbers = np.divide(over, under, out=np.zeros(over.shape), where=under > 0)
    return np.nan_to_num(found)


def _mean_where(level: Numbers, where: Truth) -> Numbers:
    there = where & ~np.isnan(level)
    counts = there.sum(axis=1)
    sums = np.where(there, level, 0.0).sum(axis=1)
    mean: Numbers = np.divide(sums, counts, out=np.full(len(level), np.nan), where=counts > 0)
    return mean
