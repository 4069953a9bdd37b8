"""Usage, request and limit of one container over time, thinned out so that no peak is lost. Knows slots, not rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rightsizer.cli.drawing import Axis, drawing, line, path, text, ticks
from rightsizer.evidence.backtest import Decision, Series
from rightsizer.history import SLOT_SECONDS
from rightsizer.methods.statistics import Numbers
from rightsizer.profile import DAY_SECONDS
from rightsizer.quantities import GIBIBYTE, MEBIBYTE
from rightsizer.workload import ResourceName

MOST_POINTS = 500
WIDTH, HEIGHT = 420, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 10, 26, 24
_SHORT_SECONDS = 3 * DAY_SECONDS
_DAY_STEPS = (1, 2, 7, 14, 28, 91)
_MOST_DAYS = 8
_DATE_ROOM = 90
"""What the date at an end takes, and half of one between."""

_UNITS: Mapping[ResourceName, Sequence[tuple[int, str]]] = {
    "cpu": ((1_000, " cores"), (1, "m")),
    "memory": ((GIBIBYTE, "Gi"), (MEBIBYTE, "Mi")),
}


@dataclass(frozen=True, slots=True)
class Track:
    """Points in the order of time: unix seconds, and millicores or bytes, NaN where there is none."""

    times: NDArray[np.int64]
    used: Numbers
    requests: Numbers
    limits: Numbers


def track(series: Series, decided: Sequence[Decision], resource: ResourceName, *, most: int = MOST_POINTS) -> Track:
    """At most so many points: of each stretch the slot in which most was used, with the sizes in force just then."""
    used = series.usage(resource).astype(np.float64)
    begins = (series.first_slot + np.arange(len(used)) - 1) * SLOT_SECONDS + 1
    moments = np.array([decision.unix_ts for decision in decided], dtype=np.int64)
    # A decision counts for the slots that begin with or after it; before the first one nothing is in force.
    last = np.searchsorted(moments, begins, side="right")
    requests = np.array([np.nan, *(getattr(decision, f"{resource}_request") for decision in decided)])[last]
    limits = np.array([np.nan, *(getattr(decision, f"{resource}_limit") for decision in decided)])[last]
    picked = _highest(used, stretch=-(-len(used) // most))
    return Track(begins[picked] + SLOT_SECONDS - 1, used[picked], requests[picked], limits[picked])


def _highest(used: Numbers, *, stretch: int) -> NDArray[np.intp]:
    known = np.nan_to_num(used, nan=-1.0)
    whole = np.concatenate([known, np.full(-len(known) % stretch, -2.0)]).reshape(-1, stretch)
    places: NDArray[np.intp] = np.arange(len(whole)) * stretch + whole.argmax(axis=1)
    return places


def timeline(title: str, found: Track, resource: ResourceName, *, shows_limit: bool) -> str:
    """The drawing. A limit far above what was used would flatten it: `shows_limit` where it matters."""
    shown = np.concatenate([found.used, found.requests, *([found.limits] if shows_limit else [])])
    highest = max(float(np.nanmax(shown)), 0.0) if np.isfinite(shown).any() else 0.0
    unit, suffix = next((one for one in _UNITS[resource] if highest >= one[0]), _UNITS[resource][-1])
    high = ticks(0, highest / unit, most=3)
    up = Axis(0, high[-1] * unit, HEIGHT - _BOTTOM, _TOP)
    across = Axis(float(found.times[0]), float(found.times[-1]) + 1, _LEFT, WIDTH - _RIGHT)
    x = [across.at(moment) for moment in found.times.tolist()]
    parts = [text(title, _LEFT, 16, kind="title"), *_dates(found, across)]
    for value in high:
        height = up.at(value * unit)
        parts += [line(_LEFT, height, WIDTH - _RIGHT, height), text(f"{value:g}{suffix}", _LEFT - 5, height + 4, anchor="end")]

    if shows_limit:
        parts.append(path(zip(x, _heights(found.limits, up), strict=True), "limit", stepped=True))
    parts.append(path(zip(x, _heights(found.used, up), strict=True), "used"))
    parts.append(path(zip(x, _heights(found.requests, up), strict=True), "request", stepped=True))
    return drawing(parts, width=WIDTH, height=HEIGHT, told=f"{title}: usage and request over time")


def _heights(values: Numbers, up: Axis) -> list[float]:
    return [up.at(value) if value == value else value for value in values.tolist()]


def _dates(found: Track, across: Axis) -> list[str]:
    """When it begins and ends, to the minute where it is short, and the days between as far as there is room."""
    first, last = int(found.times[0]), int(found.times[-1])
    short = last - first < _SHORT_SECONDS
    told = [str(np.datetime64(moment, "s").astype("datetime64[m]" if short else "datetime64[D]")) for moment in (first, last)]
    ends = [words.replace("T", " ") for words in told]
    y = HEIGHT - 7
    parts = [text(ends[0], _LEFT, y), text(ends[1], WIDTH - _RIGHT, y, anchor="end")]
    for day in _days_between(first, last) if not short else ():
        x = across.at(day)
        parts.append(line(x, HEIGHT - _BOTTOM, x, HEIGHT - _BOTTOM + 4))
        if _LEFT + _DATE_ROOM <= x <= WIDTH - _RIGHT - _DATE_ROOM:
            parts.append(text(str(np.datetime64(day, "s").astype("datetime64[D]"))[5:], x, y, anchor="middle"))
    return parts


def _days_between(first: int, last: int) -> range:
    """The beginnings of days, weeks and so on, at most so many that their names have room."""
    days = (last - first) / DAY_SECONDS
    step = next((step for step in _DAY_STEPS if days / step <= _MOST_DAYS), _DAY_STEPS[-1]) * DAY_SECONDS
    return range(-(-first // DAY_SECONDS) * DAY_SECONDS, last, step)
