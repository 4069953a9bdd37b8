from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rightsizer.errors import InvalidQuantity
from rightsizer.methods.statistics import CELLS_AT_ONCE, extent, peak, share_above, statistic

NAN = float("nan")


def values(*rows: list[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize(
    ("row", "name", "expected"),
    [
        ([1, 2, 3, 4], "p50", 2.5),
        ([1, 2, 3, 4], "p95", 3.85),
        ([4, 3, 2, 1], "p95", 3.85),
        ([1, 2, 3, 4], "p99.9", 3.997),
        ([1, 2, 3, 4], "max", 4),
        ([1, 2, 3, 4], "mean", 2.5),
        ([1, NAN, 3], "p50", 2),
        ([1, NAN, 3], "p95", 2.9),
        ([1, NAN, 3], "max", 3),
        ([1, NAN, 3], "mean", 2),
        ([7], "p95", 7),
        ([7], "mean", 7),
        ([0, 0, 0], "p95", 0),
    ],
)
def test_one_row(row: list[float], name: str, expected: float) -> None:
    assert statistic(values(row), name) == pytest.approx([expected], rel=1e-6)


@pytest.mark.parametrize("name", ["p50", "p95", "p99.9", "mean", "max"])
def test_a_row_without_values_is_nan_and_does_not_disturb_others(name: str) -> None:
    found = statistic(values([NAN, NAN], [5, 5], [NAN, NAN]), name)
    assert np.isnan(found).tolist() == [True, False, True]
    assert found[1] == 5


@pytest.mark.parametrize("name", ["p95", "mean", "max"])
def test_no_slots_and_no_rows(name: str) -> None:
    assert np.isnan(statistic(np.empty((2, 0), dtype=np.float32), name)).all()
    assert statistic(np.empty((0, 5), dtype=np.float32), name).shape == (0,)


@pytest.mark.parametrize("name", ["", "p", "95", "p101", "p-1", "pnan", "median", "P95"])
def test_unknown_statistic_is_refused(name: str) -> None:
    with pytest.raises(InvalidQuantity, match="p95"):
        statistic(values([1.0]), name)


def test_the_input_is_not_sorted_in_place() -> None:
    rows = values([3, 1, 2])
    statistic(rows, "p95")
    assert rows.tolist() == [[3, 1, 2]]


def test_the_mean_of_two_weeks_of_memory_keeps_its_digits() -> None:
    rows = np.full((1, 4032), 16 * 2**30 + 2048, dtype=np.float32)
    assert statistic(rows, "mean") == [16 * 2**30 + 2048]


@pytest.mark.parametrize("name", ["p50", "p95", "p99.9", "mean", "max"])
@given(
    rows=arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 40)),
        elements=st.one_of(st.just(NAN), st.floats(0, 1e6, width=32)),
    )
)
def test_it_is_what_numpy_says(name: str, rows: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    for row, found in zip(rows, statistic(rows, name), strict=True):
        known = row[~np.isnan(row)].astype(np.float64)
        if not len(known):
            assert np.isnan(found)
        elif name == "mean":
            assert found == pytest.approx(known.mean(), rel=1e-6)
        else:
            percent = 100.0 if name == "max" else float(name[1:])
            assert found == pytest.approx(np.percentile(known, percent), rel=1e-6)


def test_blocks_of_rows_meet_without_a_seam() -> None:
    rows = np.arange(2 * CELLS_AT_ONCE + 3 * 4, dtype=np.float32).reshape(-1, 4)
    assert statistic(rows, "p50").tolist() == pytest.approx(np.median(rows, axis=1).tolist())
    assert share_above(rows, 4.0, among=rows).tolist() == [0.0, 0.75, *[1.0] * (len(rows) - 2)]
    assert extent(rows).last.tolist() == [3] * len(rows)


def test_extent_of_rows() -> None:
    there = extent(values([NAN, 1, NAN, 2, NAN], [1, 1, 1, 1, 1], [NAN] * 5, [NAN, NAN, 3, NAN, NAN]))
    assert there.samples.tolist() == [2, 5, 0, 1]
    assert there.first.tolist()[:2] == [1, 0]
    assert there.last.tolist()[:2] == [3, 4]
    assert there.history_seconds.tolist() == [900, 1500, 0, 300]


def test_extent_without_slots() -> None:
    there = extent(np.empty((2, 0), dtype=np.float32))
    assert there.samples.tolist() == [0, 0]
    assert there.history_seconds.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("row", "among", "share"),
    [
        ([0.06, 0.05, NAN, 1], [1, 1, 1, 1], 0.5),
        ([0.06, 0.06, 0.06, 0.06], [1, NAN, NAN, NAN], 1),
        ([NAN] * 4, [1] * 4, 0),
        ([1] * 4, [NAN] * 4, 0),
    ],
    ids=["above, not at, the level", "of what is known", "none", "nothing known"],
)
def test_share_above(row: list[float], among: list[float], share: float) -> None:
    assert share_above(values(row), 0.05, among=values(among)).tolist() == [share]


def test_peak_leaves_gaps_out() -> None:
    assert peak(values([1, NAN, 9, 2])).tolist() == [9]


def test_two_weeks_of_a_thousand_containers_with_gaps_are_quick() -> None:
    rows = np.random.default_rng(1).random((1000, 4032), dtype=np.float32)
    rows[:, ::7] = NAN
    began = time.process_time()
    statistic(rows, "p95")
    # A cycle over 10,000 containers has 5 s for everything.
    assert time.process_time() - began < 0.5
