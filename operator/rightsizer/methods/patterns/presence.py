"""What is simple to see: nothing to do, one replica that does the work of many, a limit in the way, and too short a past."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rightsizer.history import Values
from rightsizer.methods.levels import DAY_SLOTS, HOUR_SLOTS
from rightsizer.methods.pace import HISTORY_SLACK, Truth
from rightsizer.methods.patterns.blocks import peaks
from rightsizer.methods.statistics import Numbers, extent, share_above

NOTICEABLY_THROTTLED = 0.05
"""Share of the CFS periods of a slot above which its usage counts as censored by the limit.

A container with several threads uses up its share of a period (100 ms) now and then while its mean is far below the limit. In one period
of twenty, that hides at most a twentieth of the slot, which the buffer covers; the code of a share is exact to 0.004.
"""

IDLE_MILLICORES = 5.0
"""Half of the smallest request that a profile gives by default: a runtime that waits uses as much."""

IDLE, IDLE_TOLD = 0.99, 0.97
"""The share of the slots in which no more is used; to be told first, and to be told on. A quarter of an hour a day is allowed."""

HOT, HOT_TOLD = 3.0, 2.5
"""How many times the mean of the other pods the busiest one uses; to be told first, and to be told on."""

HOT_MILLICORES = 50.0
"""What the busiest pod uses at least: of next to nothing, differences mean nothing."""

HOT_SHARE, HOT_SHARE_TOLD = 0.8, 0.6
"""The share of the slots with several pods in which one is so: for a while, a rollout makes one hot as well."""

HOT_SLOTS = 4
"""Every fourth slot is looked at: what goes on for most of the time is seen in a quarter of it."""

THROTTLED_SHARE, THROTTLED_SHARE_TOLD = 0.05, 0.02
"""The share of the values that are censored by the limit; to be told first, and to be told on. An upper percentile sees a twentieth."""

WEEK_HOURS = 7 * 24
"""Less than a week knows nothing of a weekend."""


@dataclass(frozen=True, slots=True)
class Hot:
    """Rows with a hot replica. `pods`: the most at once; `times`: the busiest pod over the mean of the others, in the mean."""

    found: Truth
    pods: Numbers
    times: Numbers


def idle(cpu: Values, *, told: Truth) -> Truth:
    """Rows of CPU (rows, slots) in millicores that did next to nothing for a day at least."""
    known = ~np.isnan(cpu)
    counts = known.sum(axis=1)
    quiet = (cpu <= IDLE_MILLICORES).sum(axis=1)
    found: Truth = (counts >= DAY_SLOTS) & (quiet >= counts * np.where(told, IDLE_TOLD, IDLE))
    return found


def hot_replicas(cpu: Values, cpu_mean: Values, pods: NDArray[np.uint16], *, told: Truth) -> Hot:
    """Rows in which the busiest of several pods does the work of many. Arrays (rows, slots): CPU of the busiest, mean, number of pods."""
    cpu, cpu_mean, pods = cpu[:, ::HOT_SLOTS], cpu_mean[:, ::HOT_SLOTS], pods[:, ::HOT_SLOTS]
    several = (pods >= 2) & ~np.isnan(cpu) & ~np.isnan(cpu_mean)
    number = several.sum(axis=1)
    others = np.divide(cpu_mean * pods - cpu, pods - np.float32(1), out=np.full(cpu.shape, np.nan, dtype=np.float32), where=several)
    hot = several & (cpu >= HOT_MILLICORES) & (cpu >= others * np.where(told, HOT_TOLD, HOT)[:, np.newaxis])
    busiest = np.where(several, cpu, 0).sum(axis=1, dtype=np.float64)
    rest = np.where(several, others, 0).sum(axis=1, dtype=np.float64)
    return Hot(
        found=(number >= DAY_SLOTS // HOT_SLOTS) & (hot.sum(axis=1) >= number * np.where(told, HOT_SHARE_TOLD, HOT_SHARE)),
        pods=pods.max(axis=1, initial=0).astype(np.float64),
        times=np.divide(busiest, rest, out=np.full(len(cpu), np.inf), where=rest > 0),
    )


def throttled_often(throttled: Values, cpu: Values, *, told: Truth) -> tuple[Truth, Numbers]:
    """Rows of whose CPU values many are censored, and the share that is: those that are throttled noticeably."""
    share = share_above(throttled, NOTICEABLY_THROTTLED, among=cpu)
    return share >= np.where(told, THROTTLED_SHARE_TOLD, THROTTLED_SHARE), share


def short_history(cpu: Values, memory: Values) -> tuple[Truth, NDArray[np.int64]]:
    """Rows that were seen for less than a week, or than the window where that is shorter; and hours from first to last value."""
    seen = extent(np.fmax(peaks(cpu, HOUR_SLOTS), peaks(memory, HOUR_SLOTS)))
    hours = np.where(seen.samples > 0, seen.last - seen.first + 1, 0)
    needed = min(WEEK_HOURS, cpu.shape[1] // HOUR_SLOTS)
    found: Truth = (hours > 0) & (hours < needed * (1 - HISTORY_SLACK))
    return found, hours
