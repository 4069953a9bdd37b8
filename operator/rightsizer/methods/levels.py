"""Estimators: what level a container's usage has, at many moments of its past at once, or just now.

An estimator is a pure function of arrays: values (rows, slots), NaN for gaps, and the columns at whose end the level is asked for. A level
depends on the columns up to its own and within the estimator's window, on nothing after it: so replaying the past and recommending today
are the same code. Nothing here knows what a value stands for, nor what is made of a level.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rightsizer.history import SLOT_SECONDS, Values
from rightsizer.methods.ranking import Columns, Levels, counts, moving_percentiles, moving_weighted
from rightsizer.methods.statistics import peak, percentile, statistic, weighted_percentile
from rightsizer.profile import ResourceRule, parse_statistic

HOUR_SLOTS = 3_600 // SLOT_SECONDS
DAY_SLOTS = 24 * HOUR_SLOTS

_FEW = 4
"""Up to so many ends, each is worked out on its own: preparing for many costs as much as these."""


class Estimator(Protocol):
    """From usage to levels."""

    def levels(self, values: Values, ends: Columns) -> Levels:
        """The level of each row at the end of each of these columns (ascending), shape (rows, ends); NaN where there is no value."""
        ...


@dataclass(frozen=True, slots=True)
class Percentile:
    """The percentile of the last `window` slots, between the two nearest ranks; `share` 0.95 is p95."""

    share: float
    window: int

    def levels(self, values: Values, ends: Columns) -> Levels:
        if len(ends) > _FEW:
            return moving_percentiles(values, ends, share=self.share, window=self.window)
        return _one_by_one(values, ends, self.window, lambda part: percentile(part, self.share))


@dataclass(frozen=True, slots=True)
class WeightedPercentile:
    """The level up to which `share` of the weight of the last `window` slots lies; a weight halves with every `half_life` slots of age.

    With `by_load` a value also weighs as much as it is large, so that it is the level up to which that share of the work was done, and not
    of the time: an idle night does not hide a busy hour. From K. Rzadca et al., "Autopilot: workload autoscaling at Google", EuroSys 2020,
    section 3.2.2: a load-adjusted percentile of exponentially decaying samples.

        values    half_life  by_load  share  level
        1 1 1 9   inf        no       0.7    1        three of four values
        1 1 1 9   inf        yes      0.7    9        a quarter of the work
        9 1 1 1   1          no       0.7    1        0.07 of the weight is 9
    """

    share: float
    window: int
    half_life: float
    by_load: bool = False

    def levels(self, values: Values, ends: Columns) -> Levels:
        if len(ends) > _FEW:
            return moving_weighted(values, ends, share=self.share, window=self.window, half_life=self.half_life, by_load=self.by_load)
        return _one_by_one(values, ends, self.window, self._of_window)

    def _of_window(self, values: Values) -> Levels:
        return weighted_percentile(values, share=self.share, half_life=self.half_life, by_load=self.by_load)


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of the last `window` slots."""

    window: int

    def levels(self, values: Values, ends: Columns) -> Levels:
        if len(ends) <= _FEW:
            return _one_by_one(values, ends, self.window, lambda part: statistic(part, "mean"))
        number = counts(values, ends, self.window)
        total = _moving_sums(np.nan_to_num(values.astype(np.float64)), ends, self.window)
        means: Levels = np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0)
        return means


@dataclass(frozen=True, slots=True)
class Maximum:
    """The largest value of the last `window` slots."""

    window: int

    def levels(self, values: Values, ends: Columns) -> Levels:
        if len(ends) <= _FEW:
            return _one_by_one(values, ends, self.window, peak)
        # A maximum over n columns is that of two maxima over fewer that overlap: doubling gets there in a few passes over all columns.
        running, width = values, 1
        while width < min(self.window, values.shape[1]):
            step = min(width, self.window - width)
            running = np.concatenate([running[:, :step], np.fmax(running[:, step:], running[:, :-step])], axis=1)
            width += step
        largest: Levels = running[:, ends].astype(np.float64)
        return largest


@dataclass(frozen=True, slots=True)
class HourOfDay:
    """The largest of 24 percentiles, each of the values of one hour of the day; hours and days are counted from the first column."""

    share: float
    window: int

    def levels(self, values: Values, ends: Columns) -> Levels:
        found = np.full((len(values), len(ends)), np.nan)
        hours = np.arange(values.shape[1]) // HOUR_SLOTS % 24
        for hour in range(24):
            mine = hours == hour
            last = np.cumsum(mine)[ends] - 1
            of_hour = (
                Percentile(self.share, max(self.window // 24, 1)).levels(values[:, mine], np.maximum(last, 0)) if mine.any() else np.nan
            )
            found = np.fmax(found, np.where(last >= 0, of_hour, np.nan))
        return found


@dataclass(frozen=True, slots=True)
class DailyPeaks:
    """The level up to which `share` of the weight of the daily peaks lies, today's so far among them; a weight halves in `half_life` days.

    Days are counted from the first column; the window is one of whole `days`.
    """

    share: float
    days: int
    half_life: float

    def levels(self, values: Values, ends: Columns) -> Levels:
        found = [self._at(values, end) for end in ends.tolist()]
        return np.stack(found, axis=1) if found else np.empty((len(values), 0))

    def _at(self, values: Values, end: int) -> Levels:
        today = end // DAY_SLOTS
        days = range(max(today - self.days + 1, 0), today + 1)
        parts = [values[:, day * DAY_SLOTS : min((day + 1) * DAY_SLOTS, end + 1)] for day in days]
        peaks = np.stack([np.fmax.reduce(part, axis=1) for part in parts], axis=1)
        return weighted_percentile(peaks, share=self.share, half_life=self.half_life, by_load=False)


@dataclass(frozen=True, slots=True)
class Held:
    """The largest level of the last `slots`, looked at once an hour: it falls only when all of them have."""

    of: Estimator
    slots: int

    def levels(self, values: Values, ends: Columns) -> Levels:
        back = np.arange(0, self.slots + 1, HOUR_SLOTS)
        asked = np.maximum(ends[:, np.newaxis] - back, 0)
        every, places = np.unique(asked, return_inverse=True)
        levels = self.of.levels(values, every)[:, places.reshape(asked.shape)]
        levels[:, ends[:, np.newaxis] < back] = np.nan
        largest: Levels = np.fmax.reduce(levels, axis=2)
        return largest


@dataclass(frozen=True, slots=True)
class Largest:
    """The largest of several levels; one that is not known counts for nothing."""

    of: tuple[Estimator, ...]

    def levels(self, values: Values, ends: Columns) -> Levels:
        return reduce(np.fmax, (estimator.levels(values, ends) for estimator in self.of))


@dataclass(frozen=True, slots=True)
class Clamped:
    """A level kept between the one of `between` and a multiple of it: clamp(of, between, most x between)."""

    of: Estimator
    between: Estimator
    most: float

    def levels(self, values: Values, ends: Columns) -> Levels:
        low = self.between.levels(values, ends)
        return np.fmin(np.fmax(self.of.levels(values, ends), low), self.most * low)


def _moving_sums(values: NDArray[np.float64], ends: Columns, window: int) -> Levels:
    """The sums of the last `window` columns at each of these ends.

    Cut into pieces as wide as the window, each window is the end of one piece and the begin of the next. Nothing is taken away: what a
    difference of running sums leaves after a large value may be less exact than the small values that follow it.
    """
    rows, columns = values.shape
    width = min(window, columns)
    number = -(-columns // width)
    padded = np.zeros((rows, number * width))
    padded[:, :columns] = values
    pieces = padded.reshape(rows, number, width)
    begins = np.cumsum(pieces, axis=2).reshape(padded.shape)
    rests = np.cumsum(pieces[:, :, ::-1], axis=2)[:, :, ::-1].reshape(padded.shape)
    first = np.maximum(ends + 1 - window, 0)
    sums: Levels = begins[:, ends] + np.where(first % width == 0, 0.0, rests[:, first])
    return sums


def _one_by_one(values: Values, ends: Columns, window: int, of_window: Callable[[Values], NDArray[Any]]) -> Levels:
    parts = [of_window(values[:, max(end + 1 - window, 0) : end + 1]) for end in ends.tolist()]
    return np.stack(parts, axis=1) if parts else np.empty((len(values), 0))


def estimator_of(rule: ResourceRule, *, window_seconds: int) -> Estimator:
    """The estimator of a profile's statistic. Raises InvalidQuantity for an unknown one."""
    found = parse_statistic(rule.statistic)
    window = window_seconds // SLOT_SECONDS
    if found.percentile is None:
        return Mean(window)
    if found.percentile == 100:
        return Maximum(window)
    share, half_life = found.percentile / 100, rule.half_life_seconds
    if half_life is None and not found.by_load:
        return Percentile(share, window)
    return WeightedPercentile(share, window, math.inf if half_life is None else half_life / SLOT_SECONDS, found.by_load)
