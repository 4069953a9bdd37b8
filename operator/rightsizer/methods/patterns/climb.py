"""Memory that only ever climbs: a leak, where restarts throw it back and it climbs again, or growth, where nothing did so yet.

Both are told; only a leak keeps the sizes from following, for growth may be data that is needed. Restarts are read from the usage itself:
the falls of a saw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rightsizer.history import Values
from rightsizer.methods.levels import HOUR_SLOTS
from rightsizer.methods.pace import Truth
from rightsizer.methods.patterns.blocks import last_known, lows, median
from rightsizer.methods.statistics import Numbers

BLOCK_HOURS = 3
"""The low of three hours is what garbage collection and short requests leave: the floor of the working set, which is what a leak lifts."""

FALL = 0.15
"""A low that is so much below the one before is a restart, not a climb that goes on."""

WARM_UP_BLOCKS = 2
"""What is gained in the first six hours after a restart is warming up: caches and heaps fill, and then stop."""

CLIMB_BLOCKS = 8.0
"""From fall to fall a climb takes a day at least, in the mean: what falls more often is work that comes and goes."""

RISE, RISE_TOLD = 0.15, 0.10
"""What a climb gains after its warm-up, as a share of the usual level; to be told first, and to be told on."""

STEADY, STEADY_TOLD = 0.75, 0.6
"""Gains less losses over gains and losses: 1 goes straight up, 0 wanders."""

EVEN, EVEN_TOLD = 0.6, 0.45
"""What the median step would gain, as a share of what is gained: 1 is the same in each block, 0 is a jump in one of them."""

LEAK_FALLS = 2
"""With two falls, one whole climb has been seen from its begin to its end, and another one after it."""

GROWTH_HOURS = 72
"""An unbroken climb is told after three days: shorter ones are often the slow half of a week."""


@dataclass(frozen=True, slots=True)
class Climbs:
    """Rows that leak, and rows that grow without a fall. `falls`: restarts; `gain`: what a climb gains after its warm-up, as a share of the
    usual level; `before`: bytes, the largest level from which a climb began anew (NaN without a fall)."""

    leak: Truth
    growth: Truth
    falls: Numbers
    gain: Numbers
    before: Numbers


def climbs(memory: Values, *, leak_told: Truth, growth_told: Truth) -> Climbs:
    """The climbs of memory (rows, slots) in bytes; `..._told`: rows of which it is told already."""
    low = lows(memory, BLOCK_HOURS * HOUR_SLOTS).astype(np.float64)
    rows, blocks = low.shape
    if blocks < 2:
        nothing = np.zeros(rows, dtype=np.bool_)
        return Climbs(nothing, nothing, np.zeros(rows), np.zeros(rows), np.full(rows, np.nan))
    before = last_known(low)[:, :-1]
    step = low[:, 1:] - before
    falls = step < -FALL * before
    late = ~np.isnan(step) & ~_shortly_after(falls)
    counted = np.where(late & ~falls, step, np.nan)
    gained, moved = np.nansum(counted, axis=1), np.nansum(np.abs(counted), axis=1)
    number = falls.sum(axis=1).astype(np.float64)
    gain = _share(gained / (number + 1), median(low))
    steady = _share(gained, moved)
    even = _share(np.nan_to_num(median(counted)) * late.sum(axis=1), gained)
    known = (~np.isnan(low)).sum(axis=1)

    def climbing(told: Truth) -> Truth:
        found: Truth = (
            (gain >= np.where(told, RISE_TOLD, RISE))
            & (steady >= np.where(told, STEADY_TOLD, STEADY))
            & (even >= np.where(told, EVEN_TOLD, EVEN))
        )
        return found

    return Climbs(
        leak=climbing(leak_told) & (number >= LEAK_FALLS) & (known >= (number + 1) * CLIMB_BLOCKS),
        growth=climbing(growth_told) & (number == 0) & (known * BLOCK_HOURS >= GROWTH_HOURS),
        falls=number,
        gain=gain,
        before=np.fmax.reduce(np.where(falls, low[:, 1:], np.nan), axis=1),
    )


def _shortly_after(falls: Truth) -> Truth:
    """The steps that belong to the warm-up after a fall."""
    found = falls.copy()
    for distance in range(1, WARM_UP_BLOCKS + 1):
        found[:, distance:] |= falls[:, :-distance]
    return found


def _share(part: Numbers, whole: Numbers) -> Numbers:
    shares: Numbers = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return shares
