"""Percentiles of a window that moves over rows of values, at many moments, for little more than the cost of one.

Each row is sorted once. Then every value has a place among all values of its row, and "the values of this window" is a set of places that
only changes a little from one moment to the next: sums over blocks of places lead to the place that is looked for. Ranks look at values
of the future only to know where these would stand, so no answer depends on them. Nothing here knows what a value stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rightsizer.history import Values
from rightsizer.methods.statistics import TIE, in_order

Columns = NDArray[np.int64]
Levels = NDArray[np.float64]

_BLOCK = 64
"""Places in one block. Two weeks are 63 blocks: looking through the blocks costs as much as looking through one of them."""

_MOST_DOUBLINGS = 256
"""Weights are brought down by so many doublings when they have grown by as many: a float holds a thousand."""


class Ranking:
    """The places of the values of each row (rows, slots), and which of them are in the window just now, with their weights."""

    def __init__(self, values: Values, dtype: type[np.generic]) -> None:
        rows, slots = values.shape
        blocks = -(-slots // _BLOCK) or 1
        self._sorted = np.full((rows, blocks * _BLOCK), np.nan, dtype=np.float32)
        self._places = self._ranked(values)
        self._of_place: NDArray[Any] = np.zeros((rows, blocks, _BLOCK), dtype=dtype)
        self._of_block: NDArray[Any] = np.zeros((rows, blocks), dtype=dtype)
        self._rows = np.arange(rows)

    def _ranked(self, values: Values) -> NDArray[np.int32]:
        """The place of each value, by column and row; NaN takes the last places."""
        slots = values.shape[1]
        self._sorted[:, :slots], order = in_order(values)
        places = np.empty(values.shape, dtype=np.int32)
        np.put_along_axis(places, order, np.arange(slots, dtype=np.int32)[np.newaxis, :], axis=1)
        return np.ascontiguousarray(places.T)

    def put(self, column: int, weights: NDArray[Any]) -> None:
        """The values of a column enter the window with these weights (rows,); those that are NaN must have the weight 0."""
        places = self._places[column]
        blocks = places // _BLOCK
        self._of_place[self._rows, blocks, places % _BLOCK] = weights
        self._of_block[self._rows, blocks] += weights

    def drop(self, column: int) -> None:
        """The values of a column leave the window."""
        places = self._places[column]
        blocks = places // _BLOCK
        self._of_place[self._rows, blocks, places % _BLOCK] = 0
        # Added up anew: what subtracting leaves of a large weight would outweigh small ones.
        self._of_block[self._rows, blocks] = self._of_place[self._rows, blocks].sum(axis=1)

    def scale(self, factor: float) -> None:
        """Multiplies all weights."""
        self._of_place *= factor
        self._of_block *= factor

    @property
    def totals(self) -> NDArray[Any]:
        """The weight of all that is in the window, by row."""
        totals: NDArray[Any] = self._of_block.sum(axis=1)
        return totals

    def reaching(self, weights: NDArray[Any]) -> Levels:
        """The smallest value of each row up to which the window holds at least this weight, which is above 0 and at most the total.

        What comes out where the window is empty means nothing.
        """
        sums = np.cumsum(self._of_block, axis=1)
        block = np.minimum((sums < weights[:, np.newaxis]).sum(axis=1), sums.shape[1] - 1)
        within = self._of_place[self._rows, block]
        before = sums[self._rows, block] - self._of_block[self._rows, block]
        reached = np.cumsum(within, axis=1) >= (weights - before)[:, np.newaxis]
        # Where rounding hides the very last step, it is the last value that is there.
        last = _BLOCK - 1 - (within[:, ::-1] > 0).argmax(axis=1)
        place = np.where(reached[:, -1], reached.argmax(axis=1), last)
        found: Levels = self._sorted[self._rows, block * _BLOCK + place].astype(np.float64)
        return found


def moving_percentiles(values: Values, ends: Columns, *, share: float, window: int) -> Levels:
    """The percentile of the last `window` columns at each end (ascending), between the two nearest ranks, as `statistic` has it."""
    known = np.ascontiguousarray(~np.isnan(values).T)
    ranking = Ranking(values, np.int32)
    found = np.full((len(values), len(ends)), np.nan)
    for index in _moving(ranking, ends, window, known.__getitem__):
        found[:, index] = _between_ranks(ranking, share)
    return found


def moving_weighted(values: Values, ends: Columns, *, share: float, window: int, half_life: float, by_load: bool) -> Levels:
    """The smallest value up to which `share` of the weight of the last `window` columns lies, at each end (ascending).

    A value weighs half as much as one `half_life` columns later, and `by_load` also as much as it is large.
    """
    ranking = Ranking(values, np.float64)
    loads = np.nan_to_num(values.T.astype(np.float64)) if by_load else (~np.isnan(values).T).astype(np.float64)
    weights = _Decay(ranking, loads, half_life)
    there = counts(values, ends, window) > 0
    found = np.full((len(values), len(ends)), np.nan)
    for index in _moving(ranking, ends, window, weights):
        totals = ranking.totals
        # Values that are all 0 weigh nothing by their load, and 0 is what they reach.
        found[:, index] = np.where(totals > 0, ranking.reaching(totals * share * (1 - TIE)), 0.0)
    return np.where(there, found, np.nan)


def counts(values: Values, ends: Columns, window: int) -> NDArray[np.int64]:
    """How many of the last `window` columns have a value at each end, by row."""
    sums = np.zeros((len(values), values.shape[1] + 1), dtype=np.int64)
    np.cumsum(~np.isnan(values), axis=1, out=sums[:, 1:])
    return sums[:, ends + 1] - sums[:, np.maximum(ends + 1 - window, 0)]


class _Decay:
    """The weights of each column, relative to a time that is moved along before they grow too large for a float."""

    def __init__(self, ranking: Ranking, loads: Levels, half_life: float) -> None:
        self._ranking = ranking
        self._loads = loads
        self._half_life = half_life
        self._since = 0

    def __call__(self, column: int) -> Levels:
        if (column - self._since) / self._half_life >= _MOST_DOUBLINGS:
            shift = round(_MOST_DOUBLINGS * self._half_life)
            self._ranking.scale(2.0 ** (-shift / self._half_life))
            self._since += shift
        weights: Levels = self._loads[column] * 2.0 ** ((column - self._since) / self._half_life)
        return weights


def _moving(ranking: Ranking, ends: Columns, window: int, weights: Callable[[int], NDArray[Any]]) -> Iterator[int]:
    """Moves the window from one end to the next; gives the number of each end when it is reached."""
    first = newest = 0
    for index, end in enumerate(ends.tolist()):
        for column in range(newest, end + 1):
            ranking.put(column, weights(column))
        for column in range(first, end + 1 - window):
            ranking.drop(column)
        first, newest = max(end + 1 - window, first), end + 1
        yield index


def _between_ranks(ranking: Ranking, share: float) -> Levels:
    totals = ranking.totals
    ranks = np.maximum(totals - 1, 0) * share
    below = np.floor(ranks).astype(np.int64)
    low = ranking.reaching(below + 1)
    high = ranking.reaching(np.ceil(ranks).astype(np.int64) + 1)
    return np.where(totals > 0, low + (high - low) * (ranks - below), np.nan)
