from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rightsizer.methods.levels import (
    Clamped,
    DailyPeaks,
    Estimator,
    Held,
    HourOfDay,
    Largest,
    Maximum,
    Mean,
    Percentile,
    WeightedPercentile,
    estimator_of,
)
from rightsizer.methods.statistics import CELLS_AT_ONCE, in_order, statistic, weighted_percentile
from rightsizer.profile import LimitRule, ResourceRule

NAN = float("nan")
Table = np.ndarray[tuple[int, int], np.dtype[np.float32]]

USAGE = arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 40)),
    elements=st.one_of(st.just(NAN), st.sampled_from([0.0, 1.0, 2.0, 5.0]), st.floats(0, 1e6, width=32)),
)
ESTIMATORS: dict[str, Estimator] = {
    "p95 of 7": Percentile(0.95, 7),
    "p50 of 40": Percentile(0.5, 40),
    "mean of 7": Mean(7),
    "max of 1": Maximum(1),
    "max of 7": Maximum(7),
    "max of 40": Maximum(40),
    "p90 decaying": WeightedPercentile(0.9, 30, 5),
    "load-p90": WeightedPercentile(0.9, 30, math.inf, by_load=True),
    "load-p90 decaying": WeightedPercentile(0.9, 30, 5, by_load=True),
    "load-p95 of long": WeightedPercentile(0.95, 80, 0.25, by_load=True),
}


def values(*rows: list[float]) -> Table:
    return np.array(rows, dtype=np.float32)


def every(usage: Table) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.arange(usage.shape[1])


def by_hand(estimator: Any, window: list[float]) -> float:
    """The definition, one value after the other; `window` oldest first."""
    known = [(age, value) for age, value in enumerate(reversed(window)) if not math.isnan(value)]
    if not known:
        return NAN
    sizes = [value for _, value in known]
    match estimator:
        case Percentile(share=share):
            return float(np.percentile(np.array(sizes, dtype=np.float64), share * 100))
        case Mean():
            return sum(sizes) / len(sizes)
        case Maximum():
            return max(sizes)
        case WeightedPercentile(share=share, half_life=half_life, by_load=by_load):
            weighed = sorted((value, 0.5 ** (age / half_life) * (value if by_load else 1.0)) for age, value in known)
            total = math.fsum(weight for _, weight in weighed)
            reached = 0.0
            for value, weight in weighed:
                reached += weight
                if reached >= total * share * (1 - 1e-9):
                    return value
    raise AssertionError(estimator)


@pytest.mark.parametrize("name", list(ESTIMATORS))
@given(usage=USAGE)
@settings(max_examples=20, deadline=None)
def test_each_moment_is_what_its_own_window_gives(name: str, usage: Table) -> None:
    estimator: Any = ESTIMATORS[name]
    found = estimator.levels(usage, every(usage))
    for row, column in np.ndindex(usage.shape):
        window = usage[row, max(column + 1 - estimator.window, 0) : column + 1].tolist()
        assert found[row, column] == pytest.approx(by_hand(estimator, window), rel=1e-6, nan_ok=True)


COMBINED: dict[str, Estimator] = {
    **ESTIMATORS,
    "hour of day": HourOfDay(0.95, 72),
    "daily peaks": DailyPeaks(0.9, 2, 1.0),
    "held": Held(Percentile(0.5, 10), 24),
    "largest": Largest((Percentile(0.5, 10), Maximum(3))),
    "clamped": Clamped(Maximum(3), Percentile(0.5, 10), 1.2),
}


@pytest.mark.parametrize("name", list(COMBINED))
@given(usage=USAGE, cut=st.integers(0, 39))
@settings(max_examples=12, deadline=None)
def test_nothing_depends_on_what_comes_later(name: str, usage: Table, cut: int) -> None:
    ends = every(usage)[: cut + 1]
    whole, short = COMBINED[name].levels(usage, ends), COMBINED[name].levels(usage[:, : cut + 1], ends)
    assert np.array_equal(whole, short, equal_nan=True)


@pytest.mark.parametrize("name", list(COMBINED))
@given(usage=USAGE)
@settings(max_examples=12, deadline=None)
def test_one_moment_alone_is_the_same_as_among_many(name: str, usage: Table) -> None:
    many = COMBINED[name].levels(usage, every(usage))
    for column in {0, usage.shape[1] // 2, usage.shape[1] - 1}:
        alone = COMBINED[name].levels(usage, np.array([column]))
        assert alone[:, 0].tolist() == pytest.approx(many[:, column].tolist(), rel=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("row", "share", "half_life", "by_load", "expected"),
    [
        ([1, 1, 1, 9], 0.7, math.inf, False, 1),
        ([1, 1, 1, 9], 0.7, math.inf, True, 9),
        ([9, 1, 1, 1], 0.9, 1, False, 1),
        ([9, 1, 1, 1], 0.94, 1, False, 9),
        ([0, 0, 0], 0.95, 1, True, 0),
        ([0, NAN, 2], 0.95, math.inf, True, 2),
        ([NAN, NAN], 0.95, 1, True, NAN),
        ([5], 0.5, 1, True, 5),
    ],
)
def test_weighted_percentiles(row: list[float], share: float, half_life: float, by_load: bool, expected: float) -> None:
    found = weighted_percentile(values(row), share=share, half_life=half_life, by_load=by_load)
    assert found.tolist() == pytest.approx([expected], nan_ok=True)


def test_a_half_life_of_minutes_over_years_overflows_nothing() -> None:
    usage = np.full((1, 3000), 4.0, dtype=np.float32)
    usage[0, -1] = 7
    found = WeightedPercentile(0.9, 3000, 0.5, by_load=True).levels(usage, every(usage))
    assert found[0, -2:].tolist() == [4, 7]


def test_a_mean_forgets_a_huge_value_that_left_its_window() -> None:
    usage = values([1e30, *[0.1] * 20])
    assert Mean(7).levels(usage, every(usage))[0, 7:].tolist() == pytest.approx([0.1] * 14)


@pytest.mark.parametrize("window", [1, 2, 5, 6, 20, 21, 22, 4032])
def test_means_of_windows_of_any_length(window: int) -> None:
    usage = np.arange(21, dtype=np.float32)[np.newaxis]
    expected = [float(usage[0, max(end + 1 - window, 0) : end + 1].mean()) for end in range(21)]
    assert Mean(window).levels(usage, every(usage))[0].tolist() == pytest.approx(expected)


def test_an_idle_container_has_the_level_zero_and_one_without_values_none() -> None:
    usage = values([0, 0, 0, 0, 0, 0, 9], [NAN] * 7)
    found = WeightedPercentile(0.9, 3, 5, by_load=True).levels(usage, every(usage))
    assert found[0].tolist() == [0, 0, 0, 0, 0, 0, 9]
    assert np.isnan(found[1]).all()


def test_a_large_value_that_left_the_window_leaves_nothing_behind() -> None:
    usage = values([1e6 / 3, 1e6 / 7, 1e6 / 9, 0, 0, 0, 0, 1e-6, 1e-6])
    found = WeightedPercentile(0.9, 3, 0.7, by_load=True).levels(usage, every(usage))
    assert found[0, 5:].tolist() == pytest.approx([0, 0, 1e-6, 1e-6])


def test_the_largest_hour_of_the_day() -> None:
    # Hour 0 uses 5 on the first day and 7 on the second, hour 1 uses 3.
    usage = np.zeros((1, 24 * 12 + 12), dtype=np.float32)
    usage[0, :12], usage[0, 12:24], usage[0, 288:] = 5, 3, 7
    found = HourOfDay(1.0, 2 * 288).levels(usage, np.array([0, 11, 23, 287, 288, 299]))
    assert found.tolist() == [[5, 5, 5, 5, 7, 7]]
    assert HourOfDay(1.0, 24).levels(usage, np.array([23, 288])).tolist() == [[5, 7]]


def test_daily_peaks_decay_by_the_day() -> None:
    usage = np.ones((1, 3 * 288), dtype=np.float32)
    usage[0, 10] = 8  # on the first day; two days later it weighs 0.25 of 1.75
    ends = np.array([5, 20, 300, 700])
    assert DailyPeaks(0.9, 14, 1.0).levels(usage, ends).tolist() == [[1, 8, 8, 8]]
    assert DailyPeaks(0.8, 14, 1.0).levels(usage, ends).tolist() == [[1, 8, 8, 1]]
    assert DailyPeaks(0.9, 2, 1.0).levels(usage, ends).tolist() == [[1, 8, 8, 1]]


def test_held_falls_only_when_all_of_its_hours_have() -> None:
    usage = np.ones((1, 60), dtype=np.float32)
    usage[0, 11] = 6
    found = Held(Maximum(1), 24).levels(usage, np.array([10, 11, 23, 35, 47, 59]))
    assert found.tolist() == [[1, 6, 6, 6, 1, 1]]


def test_clamped_stays_between_the_level_and_a_multiple_of_it() -> None:
    usage = values([10, 10, 10, 30, 10, 10])
    found = Clamped(Maximum(2), Percentile(0.0, 6), 1.5).levels(usage, every(usage))
    assert found.tolist() == [[10, 10, 10, 15, 15, 10]]


def test_the_largest_of_two_where_one_is_not_known() -> None:
    usage = values([4, NAN, NAN, 2, 2])
    assert Largest((Maximum(1), Percentile(0.0, 2))).levels(usage, every(usage))[0].tolist() == pytest.approx(
        [4, 4, NAN, 2, 2], nan_ok=True
    )


@pytest.mark.parametrize("name", list(COMBINED))
def test_no_rows_and_no_moments(name: str) -> None:
    empty = np.empty((0, 30), dtype=np.float32)
    assert COMBINED[name].levels(empty, np.arange(30)).shape == (0, 30)
    assert COMBINED[name].levels(values([1.0, 2.0]), np.array([], dtype=np.int64)).shape == (1, 0)


@pytest.mark.parametrize(
    ("statistic_name", "half_life", "expected"),
    [
        ("mean", None, Mean(4032)),
        ("max", None, Maximum(4032)),
        ("p95", None, Percentile(0.95, 4032)),
        ("p95", 43_200, WeightedPercentile(0.95, 4032, 144)),
        ("load-p94", 43_200, WeightedPercentile(0.94, 4032, 144, by_load=True)),
        ("load-p94", None, WeightedPercentile(0.94, 4032, math.inf, by_load=True)),
    ],
)
def test_the_estimator_of_a_statistic(statistic_name: str, half_life: int | None, expected: Estimator) -> None:
    rule = ResourceRule(statistic_name, 0.2, LimitRule(), 1, 2, half_life)
    assert estimator_of(rule, window_seconds=14 * 86_400) == expected


@given(usage=USAGE)
@settings(max_examples=20, deadline=None)
def test_in_order_is_sorted_with_gaps_last(usage: Table) -> None:
    ordered, columns = in_order(usage)
    assert np.array_equal(ordered, np.sort(usage, axis=1), equal_nan=True)
    assert np.array_equal(np.take_along_axis(usage, columns, axis=1), ordered, equal_nan=True)


def test_blocks_of_rows_meet_without_a_seam() -> None:
    usage = np.arange(CELLS_AT_ONCE + 3 * 4, dtype=np.float32).reshape(-1, 4)
    found = Percentile(0.5, 4).levels(usage, np.array([3]))
    assert found[:, 0].tolist() == statistic(usage, "p50").tolist()
