"""Coarser time axes for the detectors: what repeats over hours or days is seen in blocks of slots, at a fraction of the cost.

Nothing here knows what a value stands for. Blocks are counted from the newest slot, so that the last one is always whole.
"""

from __future__ import annotations

from functools import reduce
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rightsizer.history import Values
from rightsizer.methods.statistics import Numbers

Number = TypeVar("Number", np.float32, np.float64, np.uint8)


def lows(values: Values, slots: int) -> Values:
    """The smallest value of each block of so many slots, NaN where there is none; shape (rows, blocks)."""
    return reduced(whole(values, slots), slots, np.fmin)


def peaks(values: Values, slots: int) -> Values:
    """The largest value of each block of so many slots, NaN where there is none; shape (rows, blocks)."""
    return reduced(whole(values, slots), slots, np.fmax)


def means(values: Values, slots: int) -> Numbers:
    """The mean of what is known of each block of so many slots, NaN where nothing is; shape (rows, blocks)."""
    there = whole(values, slots)
    known = ~np.isnan(there)
    sums = reduced(np.where(known, there, 0).astype(np.float64), slots, np.add)
    counts = reduced(known.astype(np.uint8), slots, np.add)
    found: Numbers = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return found


def reduced(values: NDArray[Number], slots: int, ufunc: np.ufunc) -> NDArray[Number]:
    """Each block of so many columns made one by `ufunc`.

    By two and three columns at a time: numpy works on few long rows several times faster than on many short blocks.
    """
    for step in (2, 3):
        while slots % step == 0:
            parts = [values[:, place::step] for place in range(step)]
            values, slots = reduce(ufunc, parts), slots // step
    if slots > 1:
        raise ValueError("blocks have a number of slots that only 2 and 3 divide")
    return values


def whole(values: Values, slots: int) -> Values:
    """Without the columns at the beginning that do not fill a block."""
    return values[:, values.shape[1] % slots :]


def blocks(values: Values, slots: int) -> Values:
    """Shape (rows, blocks, slots); what does not fill a block at the beginning is left out."""
    rows, columns = values.shape
    return whole(values, slots).reshape(rows, columns // slots, slots)


def last_known(values: Numbers) -> Numbers:
    """At each place the newest value up to it; NaN before the first."""
    known = ~np.isnan(values)
    columns = np.arange(values.shape[1])
    last: NDArray[np.int64] = np.maximum.accumulate(np.where(known, columns, 0), axis=1)
    return np.take_along_axis(values, last, axis=1)


def median(values: Numbers) -> Numbers:
    """The median of what is known of each row; NaN for a row without any."""
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    counts = (~np.isnan(values)).sum(axis=1)
    # NaN sorts to the end.
    ordered = np.sort(values, axis=1)
    every = np.arange(len(values))
    low, high = ordered[every, np.maximum(counts - 1, 0) // 2], ordered[every, np.minimum(counts // 2, values.shape[1] - 1)]
    return np.where(counts == 0, np.nan, np.where(counts % 2 == 0, (low + high) / 2, low))
