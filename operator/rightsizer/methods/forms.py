"""The forms that the method `Learned` chooses among: what request each would have, at many moments at once.

A form is a shape that usage may have: about the same all the time, days that are alike or quiet, bursts that come back. It asks for
nothing that was not seen by then. Which form fits a container, and how a request follows it, is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rightsizer.history import Values
from rightsizer.methods.levels import DAY_SLOTS, HOUR_SLOTS, Estimator, Maximum, WeightedPercentile
from rightsizer.methods.ranking import Columns, Levels
from rightsizer.methods.statistics import Ordered
from rightsizer.workload import ResourceName

STEADY, DAILY, BURST = "steady", "daily", "burst"

FORMS: Mapping[ResourceName, tuple[str, ...]] = {"cpu": (STEADY, DAILY, BURST), "memory": (STEADY,)}
"""The forms of a resource; the first is the one that counts until another has shown to be better. Memory that falls at night is kept: to
follow it cost a point of OOM-free days."""

CPU_MARGIN, MEMORY_MARGIN = 1.04, 1.035
"""What the steady form leaves above the level: less than the dead band, because what grows beyond it is raised at once."""

CPU_LEAST, CPU_MOST = 0.97, 1.11
"""How far the recent peak may move the level: a small margin while it stayed below, a larger one when it did not, never more. A burst
beyond that is cheaper to follow than to reserve for."""

MEMORY_LEAST, MEMORY_MOST = 0.85, 1.06
"""The same for memory, where the largest value of a day says more than percentiles of the days before it."""

RAISE_DISTANCE = 1.1
"""A raise that is made at the least distance from the former request must not be lowered in the same hour."""

LOWER_DISTANCE = 1.01
"""The steady form falls at least so little short of that distance: a lowering that a raise would undo at once is none."""

DAILY_MARGIN = 1.15
"""What the daily form leaves above what yesterday showed for the next hours: one day says less than a week."""

AHEAD_HOURS = 3
"""How far the daily form looks ahead in yesterday: to raise just in time."""

QUIET_HOURS = 25
"""After so many quiet hours the daily form lowers: a day, and the hour at which it began."""

QUIET_SHARE = 0.7
"""The daily form lowers only where the quiet day needs less than this share of the steady form: else it is not worth the two changes."""

BURST_SHARE = 0.7
"""Of the peak of the last week, what the burst form holds: with a CPU limit of twice the request the burst itself still runs."""


@dataclass(frozen=True, slots=True)
class Band:
    """What a form wants: the request it would raise to, and the one it would lower to; shape (rows, ends), NaN where nothing is known."""

    raise_to: Levels
    lower_to: Levels


def bands(resource: ResourceName, values: Values, ends: Columns, *, window: int) -> Mapping[str, Band]:
    """What each form of the resource wants at the end of each of these columns, looking back `window` slots at most."""
    return bands_of(resource, Looking(values, ends, window))


def bands_of(resource: ResourceName, looking: Looking) -> Mapping[str, Band]:
    """The same, of usage that is looked at for more."""
    return _memory(looking) if resource == "memory" else _cpu(looking)


class Looking:
    """Usage as it is looked at from each of the ends; times in hours."""

    def __init__(self, values: Values, ends: Columns, window: int) -> None:
        self.values, self.ends, self.window = values, ends, window
        # From a single end all percentiles are of the same values, and most of the time goes into their order.
        self._newest = Ordered(values[:, max(int(ends[0]) + 1 - window, 0) : int(ends[0]) + 1]) if len(ends) == 1 else None

    def percentile(self, share: float, half_life: int, *, by_load: bool = False) -> Levels:
        slots = half_life * HOUR_SLOTS
        if self._newest is not None:
            return self._newest.weighted_percentile(share=share, half_life=slots, by_load=by_load)[:, np.newaxis]
        return self._levels(WeightedPercentile(share, self.window, slots, by_load))

    def busy_level(self) -> Levels:
        """The level of the busy hours, by which requests of several forms are compared: 1 - level / request is their slack."""
        return self.percentile(0.95, 48)

    def peak(self, hours: int) -> Levels:
        return self._levels(Maximum(min(hours * HOUR_SLOTS, self.window)))

    def yesterday(self, hours: int) -> Levels:
        """The largest value of a day ago: of the hour that ended then, and of so many after it. NaN where that is out of sight."""
        back = DAY_SLOTS - hours * HOUR_SLOTS
        if self.window < QUIET_HOURS * HOUR_SLOTS:
            return np.full((len(self.values), len(self.ends)), np.nan)
        found = Maximum((hours + 1) * HOUR_SLOTS).levels(self.values, np.maximum(self.ends - back, 0))
        found[:, self.ends < back] = np.nan
        return found

    def _levels(self, estimator: Estimator) -> Levels:
        return estimator.levels(self.values, self.ends)


def _cpu(looking: Looking) -> Mapping[str, Band]:
    steady = _steady_cpu(looking)
    return {STEADY: steady, DAILY: _daily(looking, steady), BURST: _burst(looking, steady)}


def _steady_cpu(looking: Looking) -> Band:
    """Raised to what two days ask for, lowered to what one day does: an hour that was busy once is busy again within a day."""
    raising = np.fmax(looking.percentile(0.98, 48), looking.percentile(0.9, 24, by_load=True))
    lowering = np.fmax(looking.percentile(0.98, 24), looking.percentile(0.95, 48, by_load=True))
    raise_to = CPU_MARGIN * _between(looking.peak(48), CPU_LEAST * raising, CPU_MOST * raising)
    lower_to = CPU_MARGIN * _between(looking.peak(24), CPU_LEAST * lowering, CPU_MOST * lowering)
    return Band(raise_to, np.fmax(lower_to, raise_to * LOWER_DISTANCE / RAISE_DISTANCE))


def _daily(looking: Looking, steady: Band) -> Band:
    """Raised to what the same hours of yesterday needed, lowered when a day was quiet; the steady form where yesterday was not seen."""
    yesterday = looking.yesterday(AHEAD_HOURS)
    known = ~np.isnan(yesterday)
    soon = np.fmax(looking.peak(1), yesterday)
    raise_to = np.where(known, np.fmin(steady.raise_to, DAILY_MARGIN * soon), steady.raise_to)
    quiet = DAILY_MARGIN * looking.peak(QUIET_HOURS)
    lower_to = np.where(known & (quiet < QUIET_SHARE * steady.raise_to), quiet, steady.lower_to)
    return Band(raise_to, np.fmax(lower_to, raise_to / RAISE_DISTANCE))


def _burst(looking: Looking, steady: Band) -> Band:
    """Peaks are remembered for a week."""
    raise_to = np.fmax(steady.raise_to, BURST_SHARE * looking.peak(7 * 24))
    return Band(raise_to, np.fmax(steady.lower_to, raise_to / RAISE_DISTANCE))


def _memory(looking: Looking) -> Mapping[str, Band]:
    level = looking.percentile(0.99, 96, by_load=True)
    wanted = MEMORY_MARGIN * _between(looking.peak(24), MEMORY_LEAST * level, MEMORY_MOST * level)
    return {STEADY: Band(wanted, wanted)}


def _between(levels: Levels, least: Levels, most: Levels) -> Levels:
    """Kept between two others; a level that is not known is the least."""
    return np.fmin(np.fmax(levels, least), most)
