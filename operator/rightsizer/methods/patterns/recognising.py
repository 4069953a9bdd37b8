"""Runs the detectors over a block of containers and words what they found, in the order of `FindingType`.

What is made of a finding is decided elsewhere; here only the sentence is, with the figures that justify it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from rightsizer.history import SLOT_SECONDS, UsageWindow, Values
from rightsizer.methods.finding import NOTHING_RECOGNISED, Finding, FindingType, Recognised
from rightsizer.methods.pace import Truth
from rightsizer.methods.patterns.climb import climbs
from rightsizer.methods.patterns.presence import IDLE_MILLICORES, hot_replicas, idle, short_history, throttled_often
from rightsizer.methods.patterns.rarity import rare_peaks
from rightsizer.methods.patterns.shift import shifts
from rightsizer.methods.patterns.spikes import spikes
from rightsizer.methods.statistics import Numbers
from rightsizer.quantities import MEBIBYTE, format_cpu, format_memory
from rightsizer.workload import ResourceName

_LEAST: Mapping[ResourceName, float] = {"cpu": 50.0, "memory": 64.0 * MEBIBYTE}
"""Millicores and bytes below which a shift or a peak is not worth a word."""

_TITLES: Mapping[ResourceName, str] = {"cpu": "CPU", "memory": "memory"}

Told = Sequence[frozenset[FindingType]]


Rows = slice | NDArray[np.intp]


class _Found:
    """The findings so far; the detectors ask what is told already, and add what they found."""

    def __init__(self, rows: int, told: Told) -> None:
        self._rows = rows
        self._told = told
        self._by_type: dict[FindingType, dict[int, str]] = {kind: {} for kind in FindingType}

    def told(self, kind: FindingType) -> Truth:
        return np.fromiter((kind in mine for mine in self._told), dtype=np.bool_, count=self._rows)

    def add(self, kind: FindingType, found: Truth, message: Callable[[int], str]) -> None:
        """Of two messages for one container, the first one stays."""
        for row in np.flatnonzero(found).tolist():
            self._by_type[kind].setdefault(row, message(row))

    def all(self) -> tuple[tuple[Finding, ...], ...]:
        return tuple(tuple(Finding(kind, found[row]) for kind, found in self._by_type.items() if row in found) for row in range(self._rows))


def recognise(usage: UsageWindow, rows: Rows, told: Told) -> list[Recognised]:
    """What there is to recognise in each of these rows of the window. `told`: by row, the types that are told of the container already:
    they go on more easily than they begin, so that what lies at the edge is not told and taken back."""
    found = _Found(len(usage.cpu[rows]), told)
    leak_start = _climbs(found, usage.memory[rows])
    throttled = _throttled(found, usage, rows)
    # Memory first: its peaks kill. Of two findings of one type, the first one is told.
    rare_memory = _over_days(found, "memory", usage.memory[rows], end=usage.span.end)
    _over_days(found, "cpu", usage.cpu[rows], end=usage.span.end)
    _of_pods(found, usage, rows)
    _of_little(found, usage.cpu[rows], usage.memory[rows])
    return [
        _one(findings, leak_start=start, throttled=cut_off, rare_memory=rare)
        for findings, start, cut_off, rare in zip(found.all(), leak_start.tolist(), throttled.tolist(), rare_memory.tolist(), strict=True)
    ]


def _one(findings: tuple[Finding, ...], *, leak_start: float, throttled: bool, rare_memory: bool) -> Recognised:
    # One value for all that nothing was found in, which is most of thousands that are remembered.
    if not findings:
        return NOTHING_RECOGNISED
    return Recognised(findings, None if np.isnan(leak_start) else leak_start, throttled, rare_memory)


def _climbs(found: _Found, memory: Values) -> Numbers:
    kinds = FindingType.MEMORY_LEAK, FindingType.MEMORY_GROWTH
    seen = climbs(memory, leak_told=found.told(kinds[0]), growth_told=found.told(kinds[1]))
    found.add(
        kinds[0],
        seen.leak,
        lambda row: (
            f"memory climbs steadily, by {_percent(seen.gain[row])} at a time, fell back {seen.falls[row]:.0f} times and climbs again: "
            "a leak; its sizes are not raised after it, nor lowered"
        ),
    )
    found.add(
        kinds[1],
        seen.growth,
        lambda row: f"memory grew steadily, by {_percent(seen.gain[row])}, and never fell back: data, or a leak; its sizes follow",
    )
    return np.where(seen.leak, seen.before, np.nan)


def _throttled(found: _Found, usage: UsageWindow, rows: Rows) -> Truth:
    kind, cpu = FindingType.THROTTLED, usage.cpu[rows]
    if usage.throttled is None:
        return np.zeros(len(cpu), dtype=np.bool_)
    often, share = throttled_often(usage.throttled[rows], cpu, told=found.told(kind))
    found.add(
        kind,
        often,
        lambda row: f"the CPU limit cut usage off in {_percent(share[row])} of the values: the request is raised as if it had not",
    )
    return often


def _over_days(found: _Found, resource: ResourceName, values: Values, *, end: int) -> Truth:
    """Tells shifts and rare peaks; answers the rows with the latter."""
    kinds, slots = (FindingType.LEVEL_SHIFT, FindingType.RARE_PEAK), values.shape[1]
    shifted = shifts(values, told=found.told(kinds[0]))
    found.add(
        kinds[0],
        shifted.found & (np.fmax(shifted.before, shifted.after) >= _LEAST[resource]),
        lambda row: (
            f"since about {_moment(end + (shifted.column[row] - slots) * SLOT_SECONDS)} {_TITLES[resource]} is "
            f"{_amount(resource, shifted.after[row])} in the mean, before {_amount(resource, shifted.before[row])}: as after a release"
        ),
    )
    rare = rare_peaks(values, told=found.told(kinds[1]), least=_LEAST[resource])
    found.add(
        kinds[1],
        rare.found,
        lambda row: (
            f"{_TITLES[resource]} came to {_amount(resource, rare.peak[row])} on {rare.days[row]:.0f} of {rare.seen_days[row]:.0f} days"
            f"{_apart(rare.apart[row])}, its usual peaks are {_amount(resource, rare.usual[row])}"
            + (": the limit has room for it" if resource == "memory" else ": the limit has to carry it")
        ),
    )
    return rare.found


def _of_pods(found: _Found, usage: UsageWindow, rows: Rows) -> None:
    kinds = FindingType.STARTUP_SPIKE, FindingType.HOT_REPLICA
    cpu, pods = usage.cpu[rows], usage.pods[rows]
    spiky = spikes(cpu, pods, told=found.told(kinds[0]))
    found.add(
        kinds[0],
        spiky.found,
        lambda row: (
            f"CPU came to {_amount('cpu', spiky.peak[row])} at {spiky.starts[row]:.0f} starts of pods, "
            f"else to {_amount('cpu', spiky.usual[row])} (p95): the limit has to carry the start"
        ),
    )
    if usage.cpu_mean is None:
        return
    hot = hot_replicas(cpu, usage.cpu_mean[rows], pods, told=found.told(kinds[1]))
    found.add(
        kinds[1],
        hot.found,
        lambda row: (
            f"one of up to {hot.pods[row]:.0f} pods does most of the work"
            + (f", {hot.times[row]:.1f} times as much as each other" if np.isfinite(hot.times[row]) else "")
            + ": all get what the busiest needs"
        ),
    )


def _of_little(found: _Found, cpu: Values, memory: Values) -> None:
    kinds = FindingType.IDLE, FindingType.SHORT_HISTORY
    found.add(
        kinds[0],
        idle(cpu, told=found.told(kinds[0])),
        lambda row: f"CPU is at most {_amount('cpu', IDLE_MILLICORES)} nearly always: is it still needed? The minimum is kept",
    )
    short, hours = short_history(cpu, memory)
    found.add(kinds[1], short, lambda row: f"seen for about {_length(int(hours[row]))}: a whole week is not known yet")


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _apart(days: float) -> str:
    return f", {days:.0f} days apart" if days > 1 else ""


def _moment(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _length(hours: int) -> str:
    return f"{hours // 24} days" if hours >= 48 else f"{hours} hours" if hours > 1 else "1 hour"


def _amount(resource: ResourceName, value: float) -> str:
    return format_cpu(round(value)) if resource == "cpu" else format_memory(round(value / MEBIBYTE) * MEBIBYTE)
