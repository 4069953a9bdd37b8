"""Statistics over usage windows: one number per container out of thousands of 5-minute values, gaps left out.

They are the ones that a person can redo with Prometheus' `quantile_over_time`, `avg_over_time` and `max_over_time` or in a spreadsheet.
Nothing here knows what a value stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rightsizer.history import SLOT_SECONDS, Values
from rightsizer.profile import parse_statistic

Numbers = NDArray[np.float64]

TIE = 1e-9
"""A share of weights that is reached up to this fraction counts as reached: the order in which weights are added decides less than that."""

CELLS_AT_ONCE = 16_000
"""So many values are worked on at a time: copies of them, of eight bytes each, are below the 128 kB from which on the C library asks the
kernel for new pages, whose zeroing takes twice as long as the sorting does."""


def statistic(values: Values, name: str) -> Numbers:
    """The statistic `name` of each row of `values` (rows, slots); NaN for a row without any value.

    `mean`, `max`, or a percentile `p50`..`p99.9`. A percentile lies between the two nearest ranks, linearly:
    the rank of `p` among n sorted values is (n - 1) x p / 100, counted from 0, as in `quantile_over_time`.

        values        p50   p95   max   mean
        1 2 3 4       2.5   3.85  4     2.5
        1 NaN 3       2     2.9   3     2
        7             7     7     7     7

    Raises InvalidQuantity for any other name.
    """
    return _by_blocks(values, _calculation(name))


def percentile(values: Values, share: float) -> Numbers:
    """The percentile of each row, as `statistic` has it; `share` 0.95 is p95."""
    return _by_blocks(values, partial(_percentile, share=share))


def weighted_percentile(values: Values, *, share: float, half_life: float, by_load: bool) -> Numbers:
    """The smallest value of each row up to which `share` of the weight lies; NaN for a row without any value.

    A weight halves with every `half_life` columns before the last one, and `by_load` it also grows with the value.
    """
    return _by_blocks(values, partial(_weighted, share=share, half_life=half_life, by_load=by_load))


def peak(values: Values) -> Numbers:
    """The largest value of each row; NaN for a row without any."""
    return statistic(values, "max")


def share_above(values: Values, level: float, *, among: Values) -> Numbers:
    """Of the known places of each row of `among`, the share in which `values` is above the level; 0 for a row without any."""
    shares = np.zeros(len(values))
    for rows in portions(values):
        known = ~np.isnan(among[rows])
        counts = known.sum(axis=1)
        above = (known & (values[rows] > level)).sum(axis=1)
        np.divide(above, counts, out=shares[rows], where=counts > 0)
    return shares


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of each row is there. Arrays of shape (rows,); `first` and `last` are column numbers, meaningless where `samples` is 0."""

    samples: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    @property
    def history_seconds(self) -> NDArray[np.int64]:
        """From the begin of the first slot with a value to the end of the last one."""
        return np.where(self.samples > 0, (self.last - self.first + 1) * SLOT_SECONDS, 0)


def extent(values: Values) -> Extent:
    """How much of each row of `values` (rows, slots) is there."""
    rows, slots = values.shape
    if slots == 0:
        nothing = np.zeros(rows, dtype=np.int64)
        return Extent(nothing, nothing, nothing)
    samples, first, last = (np.zeros(rows, dtype=np.int64) for _ in range(3))
    for part in portions(values):
        known = ~np.isnan(values[part])
        samples[part] = known.sum(axis=1, dtype=np.int64)
        first[part], last[part] = known.argmax(axis=1), slots - 1 - known[:, ::-1].argmax(axis=1)
    return Extent(samples, first, last)


def runs(values: Values) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each row, how many times values follow on each other without a gap, and the longest of these runs in slots.

    values               runs   longest
    1 2 NaN 3            2      2
    NaN NaN              0      0
    """
    rows = len(values)
    known = np.zeros((rows, values.shape[1] + 2), dtype=np.int8)
    known[:, 1:-1] = ~np.isnan(values)
    edges = np.diff(known, axis=1)
    starting, ends = np.nonzero(edges == 1), np.nonzero(edges == -1)
    longest = np.zeros(rows, dtype=np.int64)
    np.maximum.at(longest, starting[0], ends[1] - starting[1])
    return np.bincount(starting[0], minlength=rows).astype(np.int64), longest


def _calculation(name: str) -> Callable[[Values], Numbers]:
    found = parse_statistic(name)
    if found.percentile is None:
        return _mean
    return _max if found.percentile == 100 else partial(_percentile, share=found.percentile / 100)


def _by_blocks(values: Values, of_rows: Callable[[Values], Numbers]) -> Numbers:
    result = np.full(len(values), np.nan)
    if values.shape[1]:
        for rows in portions(values):
            result[rows] = of_rows(values[rows])
    return result


def portions(values: Values) -> Iterator[slice]:
    """The rows of `values` (rows, slots) in portions that are worked on at a time."""
    step = max(CELLS_AT_ONCE // max(values.shape[1], 1), 1)
    return (slice(start, start + step) for start in range(0, len(values), step))


def _max(values: Values) -> Numbers:
    largest: Numbers = np.fmax.reduce(values, axis=1).astype(np.float64)
    return largest


def _mean(values: Values) -> Numbers:
    counts = (~np.isnan(values)).sum(axis=1)
    # Summed in 64 bits: the sum of two weeks of memory in bytes has more digits than 32 bits keep.
    sums = np.nansum(values, axis=1, dtype=np.float64)
    means: Numbers = np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0)
    return means


def _percentile(values: Values, share: float) -> Numbers:
    counts = (~np.isnan(values)).sum(axis=1)
    # NaN sorts to the end. Five times faster than numpy's nanpercentile.
    ordered = np.sort(values, axis=1)
    ranks = np.maximum(counts - 1, 0) * share
    below = np.floor(ranks).astype(np.int64)
    above = np.ceil(ranks).astype(np.int64)
    every = np.arange(len(values))
    low: Numbers = ordered[every, below].astype(np.float64)
    high: Numbers = ordered[every, above].astype(np.float64)
    between: Numbers = low + (high - low) * (ranks - below)
    return between


def in_order(values: Values) -> tuple[Values, NDArray[np.int64]]:
    """The values of each row in ascending order, NaN last, and the column that each came from. Values are not negative.

    Numbers that are not negative have the order of their bits. Sorting those with the column beside them is six times faster than an
    argsort.
    """
    columns = np.arange(values.shape[1], dtype=np.uint64)
    # Adding 0 makes a 0 of a negative 0.
    bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32).astype(np.uint64)
    packed = np.sort((bits << np.uint64(32)) | columns, axis=1)
    ordered = (packed >> np.uint64(32)).astype(np.uint32).view(np.float32)
    return ordered, (packed & np.uint64(0xFFFFFFFF)).astype(np.int64)


class Ordered:
    """Rows of values that are put into order once, for several percentiles of them."""

    def __init__(self, values: Values) -> None:
        self._ordered, self._columns = in_order(values)

    def weighted_percentile(self, *, share: float, half_life: float, by_load: bool) -> Numbers:
        """As the function of this name."""
        rows, slots = self._ordered.shape
        if not slots:
            return np.full(rows, np.nan)
        weights = (2.0 ** ((np.arange(slots) - (slots - 1)) / half_life))[self._columns]
        weights[np.isnan(self._ordered)] = 0.0
        if by_load:
            weights *= np.nan_to_num(self._ordered)
        sums = np.cumsum(weights, axis=1, out=weights)
        reached = (sums >= sums[:, -1:] * share * (1 - TIE)).argmax(axis=1)
        # Values that are all 0 weigh nothing by their load; the smallest of them, 0, is what is reached.
        found: Numbers = self._ordered[np.arange(rows), reached].astype(np.float64)
        return found


def _weighted(values: Values, share: float, half_life: float, by_load: bool) -> Numbers:
    return Ordered(values).weighted_percentile(share=share, half_life=half_life, by_load=by_load)
