"""Values of slots from raw samples, against the rules of Prometheus written down one series and one slot at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rightsizer.history import Span
from rightsizer.prometheus.slots import RawSeries, SlotValues, peaks, rates
from tests.xor_chunks import STALE, Sample

START = 1_700_000_100
SPAN = Span(START, START + 5 * 300)

Values = dict[tuple[int, int], float]
"""By the number of the series and the end of the slot."""


def raw(*series: Sequence[tuple[float, float]]) -> RawSeries:
    """Times in seconds since the beginning of the first slot."""
    flat = [(round((START - 300 + time) * 1000), value) for samples in series for time, value in samples]
    times = np.array([time for time, _ in flat], dtype=np.int64)
    return RawSeries(
        times, np.array([value for _, value in flat], dtype=np.float64), np.array([len(one) for one in series], dtype=np.int64)
    )


def by_slot(found: SlotValues) -> Values:
    keys = zip(found.series.tolist(), found.times.tolist(), strict=True)
    values = dict(zip(keys, found.values.tolist(), strict=True))
    assert len(values) == len(found.values)
    return values


def scalar_rate(samples: Sequence[Sample], end: int, range_seconds: int) -> float | None:
    """`extrapolatedRate` of Prometheus 3, sample by sample."""
    if len(samples) < 2:
        return None
    increase = samples[-1][1] - samples[0][1]
    for before, after in itertools.pairwise(samples):
        if after[1] < before[1]:
            increase += before[1]
    to_start, to_end = (samples[0][0] - (end - range_seconds) * 1000) / 1000, (end * 1000 - samples[-1][0]) / 1000
    sampled = (samples[-1][0] - samples[0][0]) / 1000
    mean = sampled / (len(samples) - 1)
    if to_start >= mean * 1.1:
        to_start = mean / 2
    if increase > 0 and samples[0][1] >= 0:
        to_start = min(to_start, sampled * (samples[0][1] / increase))
    if to_end >= mean * 1.1:
        to_end = mean / 2
    return increase * ((sampled + to_start + to_end) / sampled / range_seconds)


def scalar_peak(samples: Sequence[Sample], _end: int, _range_seconds: int) -> float | None:
    numbers = [value for _, value in samples if not math.isnan(value)]
    return max(numbers) if numbers else math.nan if samples else None


def reference(series: RawSeries, span: Span, range_seconds: int, statistic: Callable[[Sequence[Sample], int, int], float | None]) -> Values:
    found: Values = {}
    stops = np.cumsum(series.counts).tolist()
    for number, (count, stop) in enumerate(zip(series.counts.tolist(), stops, strict=True)):
        own = zip(series.times[stop - count : stop].tolist(), series.values[stop - count : stop].tolist(), strict=True)
        samples = sorted((time, value) for time, value in own)
        for end in range(span.start, span.end + 1, 300):
            value = statistic([one for one in samples if (end - range_seconds) * 1000 < one[0] <= end * 1000], end, range_seconds)
            if value is not None:
                found[number, end] = value
    return found


def close(found: Values, expected: Values) -> bool:
    return found.keys() == expected.keys() and all(
        math.isclose(found[key], expected[key], rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(found[key]) and math.isnan(expected[key]))
        for key in found
    )


# Scrapes at a distance, some missed, with resets; beginning before, within or after the span.
_series = st.builds(
    lambda begin, interval, values: [(begin + interval * index, value) for index, value in enumerate(values) if value is not None],
    st.integers(-900, 2000).map(float),
    st.sampled_from([14.9, 15.0, 60.0, 60.013, 150.0, 300.0]),
    st.lists(st.one_of(st.none(), st.integers(0, 1000).map(float), st.floats(0, 1e9)), max_size=40),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_series, max_size=5), st.sampled_from([300, 315, 360, 600, 1200]))
def test_rates_and_peaks_are_those_of_prometheus(series: list[list[tuple[float, float]]], range_seconds: int) -> None:
    samples = raw(*series)
    assert close(by_slot(rates(samples, SPAN, range_seconds)), reference(samples, SPAN, range_seconds, scalar_rate))
    assert close(by_slot(peaks(samples, SPAN, range_seconds)), reference(samples, SPAN, range_seconds, scalar_peak))


def counting(*, begin: int = 0, end: int = 1800, per_second: float = 0.5, at: float = 1000.0, every: int = 60) -> list[tuple[float, float]]:
    return [(time, at + per_second * (time - begin)) for time in range(begin, end + 1, every)]


def rate_of(samples: Sequence[tuple[float, float]], *, range_seconds: int = 360) -> list[float | None]:
    found = by_slot(rates(raw(samples), SPAN, range_seconds))
    return [found.get((0, end)) for end in range(SPAN.start, SPAN.end + 1, 300)]


def test_a_steady_counter() -> None:
    assert rate_of(counting(begin=-300)) == pytest.approx([0.5] * 6)


def test_samples_on_the_bounds_the_beginning_of_the_range_is_not_in_it() -> None:
    # At 0 s, the beginning of the first slot, and at 300 s, its end.
    assert rate_of([(0, 5.0), (300, 8.0)], range_seconds=300)[:2] == [None, None]
    assert rate_of([(0.001, 5.0), (300, 8.0)], range_seconds=300)[0] == pytest.approx(0.01, rel=0.01)


def test_one_sample_is_no_rate() -> None:
    assert rate_of([(700, 5.0)]) == [None] * 6


def test_a_reset_counts_what_was_counted_after_it_and_before_it() -> None:
    # 30 at 900 s: counted from 0 since the scrape before.
    samples = [(time, value if time < 900 else value - 1570.0) for time, value in counting(begin=-300)]
    assert rate_of(samples) == pytest.approx([0.5] * 6)


def test_resets_in_one_series_leave_the_others_alone() -> None:
    saw = [(float(time), float(time % 600)) for time in range(0, 1801, 60)]
    alone = by_slot(rates(raw(counting()), SPAN, 360))
    together = by_slot(rates(raw(saw, counting(), [(0.0, math.inf), (60.0, 1.0), (120.0, 2.0)]), SPAN, 360))
    assert {end: value for (number, end), value in together.items() if number == 1} == {end: value for (_, end), value in alone.items()}


def test_a_counter_that_begins_at_zero_is_not_extended_below_it() -> None:
    samples = counting(begin=60, at=0.0, end=300)
    assert rate_of(samples)[0] == pytest.approx(0.5 * 240 / 360)


def test_stale_markers_are_no_samples() -> None:
    samples = counting(end=1200)
    assert rate_of([*samples, (1260, STALE)]) == rate_of(samples)
    assert rate_of([*samples[:4], (181, STALE), *samples[4:]]) == rate_of(samples)


def test_another_nan_is_a_sample() -> None:
    found = by_slot(peaks(raw([(10, math.nan), (70, 3.0), (310, math.nan)]), SPAN, 300))
    assert found[0, START] == 3.0
    assert math.isnan(found[0, START + 300])


def test_samples_out_of_order_and_twice() -> None:
    samples = counting()
    shuffled = [*samples[20:], *samples[5:25], *samples[:10]]
    assert by_slot(rates(raw(shuffled, samples), SPAN, 360)) == by_slot(rates(raw(samples, samples), SPAN, 360))


def test_series_that_follow_each_other_back_in_time_are_not_out_of_order() -> None:
    late, early = counting(begin=900), counting(end=600)
    found = by_slot(rates(raw(late, [], early), SPAN, 360))
    assert {number for number, _ in found} == {0, 2}


def test_samples_outside_of_the_span_are_cut() -> None:
    inside = by_slot(peaks(raw(counting()), SPAN, 300))
    beyond = by_slot(peaks(raw(counting(begin=-86_400, end=86_400, at=1000 - 43_200)), SPAN, 300))
    assert len(beyond) == 6
    assert beyond == {key: pytest.approx(value) for key, value in inside.items()}


@pytest.mark.parametrize("series", [[], [[]], [[], []], [[(-5000.0, 1.0)]], [[(50_000.0, 1.0)]], [[(100.0, STALE)]]])
@pytest.mark.parametrize("statistic", [rates, peaks])
def test_nothing_in_the_span_is_no_value(statistic: Callable[..., SlotValues], series: list[list[tuple[float, float]]]) -> None:
    assert by_slot(statistic(raw(*series), SPAN, 300)) == {}
