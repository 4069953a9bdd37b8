"""Raw samples of many series -> one value per series and slot, by the rules of PromQL's `rate` and `max_over_time`, evaluated at slot ends.

Pure and vectorised over all series of a batch. It knows neither labels nor servers. A range is open on its left, (end - range, end], as in
Prometheus 3; in 2.x a sample that lies exactly at the beginning counts as well, which changes a mean rate by next to nothing. 2.45 goes on
to where a young counter was 0 for 1.1 mean distances instead of half of one, which is a tenth of its first rate at most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rightsizer.history import SLOT_SECONDS, Span

Ints = NDArray[np.int64]
SmallInts = NDArray[np.int32]
Floats = NDArray[np.float64]

_SLOT_MS = SLOT_SECONDS * 1000
# The NaN that Prometheus writes where a series ends; every other NaN is a sample.
_STALE = np.uint64(0x7FF0000000000002)
# `rate` goes on to the bound of its range where the next sample would be expected there: within 1.1 of the mean distance.
_EXPECTED = 1.1
# So that what is in between stays within a processor's caches.
_RATES_AT_ONCE = 8_192


@dataclass(frozen=True, slots=True)
class RawSeries:
    """Samples of several series, one series after the other: times in unix milliseconds, values, and how many each series has."""

    times: Ints
    values: Floats
    counts: Ints


@dataclass(frozen=True, slots=True)
class SlotValues:
    """One element per series and slot in which there is a value: the series' number, the slot's end in unix seconds, the value.

    Ordered by series and time.
    """

    series: Ints
    times: Ints
    values: Floats


@dataclass(frozen=True, slots=True)
class _Ranges:
    """For each series and slot, the samples in its range: those numbered `first` to `end` - 1; `ends` in unix milliseconds."""

    series: Ints
    ends: Ints
    first: Ints
    end: Ints


Statistic = Callable[[RawSeries, Span, int], SlotValues]


def rates(raw: RawSeries, span: Span, range_seconds: int) -> SlotValues:
    """`rate(x[range])`: per second, at the end of each slot of the span with at least two samples in its range.

    The increase between the first and the last sample, resets of the counter counted in, extended to the bounds of the range where
    samples would be expected there, else by half their mean distance, and never to before the counter was 0.
    """
    clean = _clean(raw)
    ranges = _ranges(clean, span, range_seconds, at_least=2)
    with np.errstate(invalid="ignore"):
        increase = clean.values[ranges.end - 1] - clean.values[ranges.first] + _lost_in_resets(clean.values, ranges.first, ranges.end - 1)
    values = np.empty(len(increase), dtype=np.float64)
    for begin in range(0, len(values), _RATES_AT_ONCE):
        some = slice(begin, begin + _RATES_AT_ONCE)
        first, last = ranges.first[some], ranges.end[some] - 1
        values[some] = _rate(
            increase[some],
            first_value=clean.values[first],
            distances=last - first,
            sampled=(clean.times[last] - clean.times[first]) / 1000,
            to_start=(clean.times[first] - (ranges.ends[some] - range_seconds * 1000)) / 1000,
            to_end=(ranges.ends[some] - clean.times[last]) / 1000,
            range_seconds=range_seconds,
        )
    return SlotValues(ranges.series, ranges.ends // 1000, values)


def _rate(
    increase: Floats, *, first_value: Floats, distances: Ints, sampled: Floats, to_start: Floats, to_end: Floats, range_seconds: int
) -> Floats:
    """From the increase within `sampled` seconds, which `to_start` and `to_end` separate from the bounds of the range."""
    mean_distance = sampled / distances
    expected = mean_distance * _EXPECTED
    mean_distance /= 2
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        np.copyto(to_start, mean_distance, where=to_start >= expected)
        to_zero = sampled * (first_value / increase)
        np.copyto(to_start, to_zero, where=(increase > 0) & (first_value >= 0) & (to_zero < to_start))
        np.copyto(to_end, mean_distance, where=to_end >= expected)
        extended: Floats = increase * ((sampled + to_start + to_end) / sampled / range_seconds)
    return extended


def peaks(raw: RawSeries, span: Span, range_seconds: int) -> SlotValues:
    """`max_over_time(x[range])`, at the end of each slot of the span with a sample in its range. NaN only where all samples are."""
    clean = _clean(raw)
    ranges = _ranges(clean, span, range_seconds, at_least=1)
    return SlotValues(ranges.series, ranges.ends // 1000, _over(np.fmax, clean.values, ranges.first, ranges.end))


def _clean(raw: RawSeries) -> RawSeries:
    """Without stale markers, and each series in the order of time with each time once."""
    clean = _without(raw, raw.values.view(np.uint64) == _STALE)
    backward = clean.times[1:] <= clean.times[:-1]
    backward[_inner(np.cumsum(clean.counts), len(backward)) - 1] = False
    return _in_order(clean) if backward.any() else clean


def _inner(bounds: Ints, size: int) -> Ints:
    """The bounds that lie between two samples."""
    return bounds[(bounds > 0) & (bounds <= size)]


def _without(raw: RawSeries, unwanted: NDArray[np.bool_]) -> RawSeries:
    if not unwanted.any():
        return raw
    gone = np.bincount(_owners(raw)[unwanted], minlength=len(raw.counts))
    return RawSeries(raw.times[~unwanted], raw.values[~unwanted], raw.counts - gone)


def _in_order(raw: RawSeries) -> RawSeries:
    """Chunks may overlap: samples that came late, or the same ones in two blocks."""
    owners = _owners(raw)
    order = np.lexsort((raw.times, owners))
    ordered = RawSeries(raw.times[order], raw.values[order], raw.counts)
    again = np.zeros(len(order), dtype=bool)
    again[1:] = (ordered.times[1:] == ordered.times[:-1]) & (owners[1:] == owners[:-1])
    return _without(ordered, again)


def _owners(raw: RawSeries) -> Ints:
    """Of each sample, the number of its series."""
    return np.repeat(np.arange(len(raw.counts)), raw.counts)


def _ranges(raw: RawSeries, span: Span, range_seconds: int, *, at_least: int) -> _Ranges:
    """Of each series, the ranges with so many samples: from that which its first sample is in to that which its last sample is in."""
    there = np.flatnonzero(raw.counts)
    counts = raw.counts[there]
    stops = np.cumsum(counts)
    entering, leaving = _slot_numbers(raw.times, span, range_seconds)
    low = entering[stops - counts].astype(np.int64)
    widths = leaving[stops - 1] - low
    # One more column per series, for the samples after its last slot.
    bases = np.cumsum(widths + 1) - widths - 1
    cells = int((widths + 1).sum())
    columns = np.repeat((bases - low).astype(np.int32), counts)
    first = _counted(columns + leaving, cells)
    np.minimum(entering, np.repeat(leaving[stops - 1], counts), out=entering)
    end = _counted(columns + entering, cells)
    enough = end - first >= at_least
    enough[bases + widths] = False
    wanted = np.flatnonzero(enough)
    owner = np.repeat(np.arange(len(there)), widths + 1)[wanted]
    ends = span.start * 1000 + (wanted - (bases - low)[owner]) * _SLOT_MS
    return _Ranges(there[owner], ends, first[wanted], end[wanted])


def _slot_numbers(times: Ints, span: Span, range_seconds: int) -> tuple[SmallInts, SmallInts]:
    """Of each sample, the first slot whose range has it, and the first after it whose range has it no more. Both within 0 and `slots`."""
    range_ms = range_seconds * 1000
    origin = span.start * 1000 - range_ms - _SLOT_MS + 1
    since = np.clip(times, origin, span.end * 1000 + _SLOT_MS)
    since -= origin
    leaving = np.minimum(since // _SLOT_MS, span.slots).astype(np.int32)
    since -= range_ms
    np.maximum(since, 0, out=since)
    since //= _SLOT_MS
    return np.minimum(since, span.slots).astype(np.int32), leaving


def _counted(cells: SmallInts, count: int) -> Ints:
    """For each cell, how many samples are in it or in one before it."""
    return np.cumsum(np.bincount(cells, minlength=count))


def _lost_in_resets(values: Floats, first: Ints, last: Ints) -> Floats:
    """What counters had reached when they began anew, summed over each range."""
    resets = np.flatnonzero(values[1:] < values[:-1]) + 1
    lost = np.zeros(len(first), dtype=np.float64)
    if len(resets):
        # A reset belongs to a range where both its samples do.
        begin, stop = np.searchsorted(resets, first, side="right"), np.searchsorted(resets, last, side="right")
        some = np.flatnonzero(stop > begin)
        lost[some] = _over(np.add, values[resets - 1], begin[some], stop[some])
    return lost


def _over(combine: np.ufunc, values: Floats, first: Ints, end: Ints) -> Floats:
    """The values from `first` to `end` - 1 (at least one), combined, for each pair."""
    pairs = np.stack([first, end], axis=1).reshape(-1)
    # An end may lie just behind the last value.
    found: Floats = combine.reduceat(np.append(values, 0.0), pairs)[::2] if len(pairs) else np.empty(0)
    return found
