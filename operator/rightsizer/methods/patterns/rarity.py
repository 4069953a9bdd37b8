"""Peaks that come on few days, such as a weekly report: an upper percentile of the window passes over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rightsizer.history import Values
from rightsizer.methods.levels import DAY_SLOTS, HOUR_SLOTS
from rightsizer.methods.pace import Truth
from rightsizer.methods.patterns.blocks import blocks, peaks, whole
from rightsizer.methods.statistics import Numbers, percentile

USUAL = 0.97
"""The usual upper level is so high among the peaks of the hours: what comes for up to five hours a week is above it."""

ABOVE, ABOVE_TOLD = 1.75, 1.5
"""How many times the usual upper level a peak is; to be told first, and to be told on. The buffer covers what is below."""

LEAST_SLOTS = 2
"""Ten minutes on one day: what is shorter is noise, and CPU has much of it."""

LEAST_DAYS = 7
"""In less than a week nothing can be called rare."""

OF_THE_DAYS, OF_THE_DAYS_TOLD = 0.2, 0.3
"""The share of the days on which it may come: two of fourteen, or a weekend with a day around it."""


@dataclass(frozen=True, slots=True)
class RarePeaks:
    """Rows with rare peaks. `days`: on how many days; `seen_days`: of how many; `peak`, `usual`: in the unit of the values; `apart`: days
    from the first of them to the last."""

    found: Truth
    days: Numbers
    seen_days: Numbers
    peak: Numbers
    usual: Numbers
    apart: Numbers


def rare_peaks(values: Values, *, told: Truth, least: float) -> RarePeaks:
    """The rare peaks of values (rows, slots); one below `least` is not worth a word. `told`: rows of which it is told already.

    Those are told on by either bar: above the lower one there may be so many days that it would not be rare, which is no reason to take
    back what is rare above the higher one.
    """
    values = whole(values, DAY_SLOTS)
    hourly = peaks(values, HOUR_SLOTS)
    usual = percentile(hourly, USUAL)
    highest = np.fmax.reduce(hourly, axis=1, initial=np.nan).astype(np.float64)
    seen = (~np.isnan(blocks(hourly, DAY_SLOTS // HOUR_SLOTS))).any(axis=2).sum(axis=1).astype(np.float64)
    most = np.where(seen >= LEAST_DAYS, seen * np.where(told, OF_THE_DAYS_TOLD, OF_THE_DAYS), 0.0)
    large = highest >= least
    on_day = _days_above(values, usual * ABOVE, (highest > usual * ABOVE) & large)
    found = _rare(on_day, most)
    lower = told & ~found & large
    if lower.any():
        on_lower = _days_above(values, usual * ABOVE_TOLD, lower)
        found |= (rare := _rare(on_lower, most))
        on_day[rare] = on_lower[rare]
    return RarePeaks(found, on_day.sum(axis=1).astype(np.float64), seen, highest, usual, _apart(on_day))


def _days_above(values: Values, above: Numbers, where: Truth) -> Truth:
    """The days (rows, days) with a peak above the bar of its row, in some of the rows."""
    rows = np.flatnonzero(where)
    on_day = np.zeros((len(values), values.shape[1] // DAY_SLOTS), dtype=np.bool_)
    on_day[rows] = (blocks(values[rows], DAY_SLOTS) > above[rows, np.newaxis, np.newaxis]).sum(axis=2) >= LEAST_SLOTS
    return on_day


def _rare(on_day: Truth, most: Numbers) -> Truth:
    days = on_day.sum(axis=1)
    rare: Truth = (days > 0) & (days <= most)
    return rare


def _apart(on_day: Truth) -> Numbers:
    number = on_day.shape[1]
    if not number:
        return np.zeros(len(on_day))
    first, last = on_day.argmax(axis=1), number - 1 - on_day[:, ::-1].argmax(axis=1)
    return np.where(on_day.any(axis=1), last - first, 0).astype(np.float64)
