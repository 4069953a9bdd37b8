"""A level that changed for good, as after a release: every day since is above, or below, every day before.

A whole day is the unit, so that nights do not count as shifts, and three days on both sides, so that weekends do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rightsizer.history import Values
from rightsizer.methods.levels import HOUR_SLOTS
from rightsizer.methods.pace import Truth
from rightsizer.methods.patterns.blocks import means
from rightsizer.methods.statistics import Numbers

BLOCK_HOURS = 3
"""When a level changed is told to three hours: what is finer costs more and says no more."""

DAY_BLOCKS = 24 // BLOCK_HOURS

SIDE_HOURS = 72
"""What must have been seen before and after: a weekend is shorter. Where a release is known a day is enough, to tell day from night."""

NEAR_BLOCKS = 3
"""So many blocks from a release on its change is looked for: pods are replaced one after the other, and caches fill."""

SHIFT, SHIFT_TOLD = 1.5, 1.3
"""How many times any day before each day after is; to be told first, and to be told on. The buffer covers what is below."""

LEAST_BLOCKS = DAY_BLOCKS // 2
"""A day of which less was seen is no day: its mean says more about the gap."""


@dataclass(frozen=True, slots=True)
class Shifts:
    """Rows whose level changed. `released`, `split_on`: with the newest release, and still with the one that split before; `column`: the
    first slot of the new level; `before`, `after`: the means on both sides, in the unit of the values, NaN where nothing is known. All are
    meaningless where `found` is not set."""

    found: Truth
    released: Truth
    split_on: Truth
    column: Numbers
    before: Numbers
    after: Numbers


def shifts(values: Values, *, told: Truth, released: Numbers | None = None, split: Numbers | None = None) -> Shifts:
    """A shift of each row of values (rows, slots): with its newest release, else with the one that split it before, else the largest.

    `told`: rows of which a shift is told already. `released`, `split`: the columns with which those releases begin; NaN: none is known.
    """
    slots = BLOCK_HOURS * HOUR_SLOTS
    level = means(values, slots)
    rows, blocks = level.shape
    nothing, none = np.zeros(rows), np.zeros(rows, dtype=np.bool_)
    if blocks < 2 * DAY_BLOCKS:
        return Shifts(none, none, none, nothing, nothing, nothing)
    first, least = values.shape[1] % slots, np.where(told, SHIFT_TOLD, SHIFT)
    factors = _factors(level)
    newest, at_newest = _highest(factors, _near(level, _block(released, rows, first)))
    former, at_former, gone = _former(factors, level, _block(split, rows, first))
    largest, at_largest = _highest(factors, _open_to_both(level))
    with_newest = newest >= least
    with_former = ((former >= SHIFT_TOLD) | gone) & ~with_newest
    best = np.where(with_newest, at_newest, np.where(with_former, at_former, at_largest))
    after = np.arange(blocks) >= best[:, np.newaxis]
    return Shifts(
        found=with_newest | with_former | (largest >= least),
        released=with_newest,
        split_on=with_former,
        column=(best * slots + first).astype(np.float64),
        before=_mean_where(level, ~after),
        after=_mean_where(level, after),
    )


def _block(columns: Numbers | None, rows: int, first: int) -> Numbers:
    """The first block that begins at these columns or later."""
    return np.full(rows, np.nan) if columns is None else np.ceil((columns - first) / (BLOCK_HOURS * HOUR_SLOTS))


def _factors(level: Numbers) -> Numbers:
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
    return factors


def _highest(factors: Numbers, where: Truth) -> tuple[Numbers, NDArray[np.int64]]:
    """The highest factor of each row where it may be, and its block."""
    possible = np.where(where, factors, 0.0)
    best = possible.argmax(axis=1)
    return possible[np.arange(len(factors)), best], best


def _former(factors: Numbers, level: Numbers, split: Numbers) -> tuple[Numbers, NDArray[np.int64], Truth]:
    """The same near the release that split the history before. The third: where too little before it is left to compare with, so that
    nothing speaks against it any more."""
    factor, best = _highest(factors, _near(level, split))
    last = split + NEAR_BLOCKS - 1
    gone: Truth = (last >= 0) & (split < DAY_BLOCKS)
    return factor, np.where(gone, np.nan_to_num(last), best).astype(np.int64), gone


def _near(level: Numbers, block: Numbers) -> Truth:
    """The blocks in which the change of a release at this block may show."""
    distance = np.arange(level.shape[1]) - block[:, np.newaxis]
    near: Truth = (distance >= 0) & (distance < NEAR_BLOCKS)
    return near


def _open_to_both(level: Numbers) -> Truth:
    """The blocks with enough seen on both sides to find a shift whose time is not known."""
    places, seen = np.arange(level.shape[1]), ~np.isnan(level)
    side = SIDE_HOURS // BLOCK_HOURS
    first, last = seen.argmax(axis=1)[:, np.newaxis], places[-1] - seen[:, ::-1].argmax(axis=1)[:, np.newaxis]
    open_to_both: Truth = (places - first >= side) & (last + 1 - places >= side)
    return open_to_both


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
