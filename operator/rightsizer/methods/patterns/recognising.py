"""Runs the detectors over a block of containers and words what they found, in the order of `FindingType`.

What is made of a finding is decided elsewhere; here only the sentence is, with the figures that justify it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from rightsizer.history import SLOT_SECONDS, Span, UsageWindow, Values
from rightsizer.methods.finding import NOTHING_RECOGNISED, Finding, FindingType, Known, Recognised
from rightsizer.methods.levels import HOUR_SLOTS
from rightsizer.methods.pace import Truth
from rightsizer.methods.patterns.climb import climbs
from rightsizer.methods.patterns.presence import IDLE_MILLICORES, hot_replicas, idle, short_history, throttled_often
from rightsizer.methods.patterns.rarity import rare_peaks
from rightsizer.methods.patterns.shift import Shifts, shifts
from rightsizer.methods.patterns.spikes import spikes
from rightsizer.methods.release import Release, Split, Splits, since_releases
from rightsizer.methods.statistics import Numbers
from rightsizer.quantities import MEBIBYTE, format_cpu, format_memory
from rightsizer.workload import ResourceName

_LEAST: Mapping[ResourceName, float] = {"cpu": 50.0, "memory": 64.0 * MEBIBYTE}
"""Millicores and bytes below which a shift or a peak is not worth a word."""

_TITLES: Mapping[ResourceName, str] = {"cpu": "CPU", "memory": "memory"}

_OF_STEADY = frozenset({FindingType.MEMORY_LEAK, FindingType.MEMORY_GROWTH, FindingType.STARTUP_SPIKE, FindingType.IDLE})
"""Of what runs now and then, each run climbs from nothing and falls back to it, each begins with a start, and its CPU is diluted by the
time in which it does not run."""

Rows = slice | NDArray[np.intp]


class _Found:
    """The findings so far; the detectors ask what is told already, and add what they found."""

    def __init__(self, known: Sequence[Known], left_out: Truth) -> None:
        """`left_out`: rows of which `_OF_STEADY` would say nothing that is true."""
        self._rows = len(known)
        self._known = known
        self._left_out = left_out
        self._by_type: dict[FindingType, dict[int, str]] = {kind: {} for kind in FindingType}

    def told(self, kind: FindingType) -> Truth:
        return np.fromiter((kind in mine.told for mine in self._known), dtype=np.bool_, count=self._rows)

    def add(self, kind: FindingType, found: Truth, message: Callable[[int], str]) -> None:
        """Of two messages for one container, the first one stays."""
        for row in np.flatnonzero(found & ~self._left_out if kind in _OF_STEADY else found).tolist():
            self._by_type[kind].setdefault(row, message(row))

    def all(self) -> tuple[tuple[Finding, ...], ...]:
        return tuple(tuple(Finding(kind, found[row]) for kind, found in self._by_type.items() if row in found) for row in range(self._rows))


def recognise(usage: UsageWindow, rows: Rows, known: Sequence[Known]) -> list[Recognised]:
    """What there is to recognise in each of these rows of the window. `known`: by row, what is known besides. A finding that is told goes
    on more easily than it begins, so that what lies at the edge is not told and taken back."""
    usage = _part(usage, rows)
    unsteady = np.fromiter((not key.workload.steady for key in usage.keys), dtype=np.bool_, count=len(known))
    found = _Found(known, unsteady)
    leak_start = np.where(unsteady, np.nan, _climbs(found, usage.memory))
    throttled = _throttled(found, usage)
    # Memory first: its peaks kill. Of two findings of one type, the first one is told.
    memory_splits, cpu_splits = _shifts(found, "memory", usage, known), _shifts(found, "cpu", usage, known)
    splits = [_splits(cpu=cpu_splits.get(row), memory=memory_splits.get(row)) for row in range(len(known))]
    counting = since_releases(usage, splits)
    _rare_peaks(found, "memory", _by_clock(counting.memory, usage.span))
    _rare_peaks(found, "cpu", _by_clock(counting.cpu, usage.span))
    _of_pods(found, usage)
    _of_little(found, usage.cpu, usage.memory)
    return [
        NOTHING_RECOGNISED if not findings else Recognised(findings, None if np.isnan(start) else start, cut_off, split)
        for findings, start, cut_off, split in zip(found.all(), leak_start.tolist(), throttled.tolist(), splits, strict=True)
    ]


def _part(usage: UsageWindow, rows: Rows) -> UsageWindow:
    numbers = np.arange(len(usage.keys))[rows].tolist()
    return UsageWindow(
        keys=tuple(usage.keys[row] for row in numbers),
        span=usage.span,
        cpu=usage.cpu[rows],
        memory=usage.memory[rows],
        pods=usage.pods[rows],
        cpu_mean=None if usage.cpu_mean is None else usage.cpu_mean[rows],
        throttled=None if usage.throttled is None else usage.throttled[rows],
    )


def _splits(*, cpu: Split | None, memory: Split | None) -> Splits:
    found: dict[ResourceName, Split | None] = {"cpu": cpu, "memory": memory}
    # Thousands are remembered, nearly all without one.
    return {resource: split for resource, split in found.items() if split is not None} or NOTHING_RECOGNISED.splits


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


def _throttled(found: _Found, usage: UsageWindow) -> Truth:
    kind, cpu = FindingType.THROTTLED, usage.cpu
    if usage.throttled is None:
        return np.zeros(len(cpu), dtype=np.bool_)
    often, share = throttled_often(usage.throttled, cpu, told=found.told(kind))
    found.add(
        kind,
        often,
        lambda row: f"the CPU limit cut usage off in {_percent(share[row])} of the values: the request is raised as if it had not",
    )
    return often


def _shifts(found: _Found, resource: ResourceName, usage: UsageWindow, known: Sequence[Known]) -> dict[int, Split]:
    """Tells shifts; answers those that came with a release, by row."""
    kind, values = FindingType.LEVEL_SHIFT, usage.cpu if resource == "cpu" else usage.memory
    newest, former = [one.release for one in known], [one.splits.get(resource) for one in known]
    seen = shifts(values, told=found.told(kind), released=_columns(usage.span, newest), split=_columns(usage.span, former))
    large = seen.found & (np.fmax(seen.before, seen.after) >= _LEAST[resource])
    splits = {}
    for row in np.flatnonzero(large & (seen.released | seen.split_on)).tolist():
        release = newest[row] if seen.released[row] else former[row]
        if release is not None:
            splits[row] = _split(release, values[row], usage.span, int(seen.column[row]))
    found.add(kind, large, lambda row: _shift_message(resource, seen, row, usage.span, splits.get(row)))
    return splits


def _columns(span: Span, releases: Sequence[Release | None]) -> Numbers:
    """The first column wholly after each release; NaN without one."""
    times = np.array([np.nan if release is None else release.at for release in releases], dtype=np.float64)
    return np.ceil((times - span.start) / SLOT_SECONDS) + 1


def _split(release: Release, values: Values, span: Span, column: int) -> Split:
    seen = np.flatnonzero(~np.isnan(values[:column]))
    before = (column - int(seen[0])) * SLOT_SECONDS if len(seen) else 0
    return Split(release, span.start + column * SLOT_SECONDS, before)


def _shift_message(resource: ResourceName, seen: Shifts, row: int, span: Span, split: Split | None) -> str:
    before = "" if np.isnan(seen.before[row]) else f", before {_amount(resource, seen.before[row])}"
    means = f"{_TITLES[resource]} is {_amount(resource, seen.after[row])} in the mean{before}"
    if split is not None:
        return f"since {split.release} {means}: only usage since then counts"
    return f"since about {_moment(span.start + (seen.column[row] - 1) * SLOT_SECONDS)} {means}: as after a release, but none was seen"


def _by_clock(values: Values, span: Span) -> Values:
    """The values up to the end of the hour in which they end, by the clock, so that a block of twelve slots is such an hour.

    Much is started at the full hour: in hours that begin at another time it would be in one more of them, and peaks would be rare or not
    by when they were looked for.
    """
    missing = -(span.end // SLOT_SECONDS) % HOUR_SLOTS
    return np.concatenate([values[:, missing:], np.full((len(values), missing), np.nan, dtype=values.dtype)], axis=1) if missing else values


def _rare_peaks(found: _Found, resource: ResourceName, values: Values) -> None:
    kind = FindingType.RARE_PEAK
    rare = rare_peaks(values, told=found.told(kind), least=_LEAST[resource])
    found.add(
        kind,
        rare.found,
        lambda row: (
            f"{_TITLES[resource]} came to {_amount(resource, rare.peak[row])} on {rare.days[row]:.0f} of {rare.seen_days[row]:.0f} days"
            f"{_apart(rare.apart[row])}, its usual peaks are {_amount(resource, rare.usual[row])}"
            + (": the limit has room for it" if resource == "memory" else ": the limit has to carry it")
        ),
    )


def _of_pods(found: _Found, usage: UsageWindow) -> None:
    kinds = FindingType.STARTUP_SPIKE, FindingType.HOT_REPLICA
    cpu, pods = usage.cpu, usage.pods
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
    hot = hot_replicas(cpu, usage.cpu_mean, pods, told=found.told(kinds[1]))
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
