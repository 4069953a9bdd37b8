"""Shapes: levels, exact integrals, loops, and the traces that they are made of."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.usage import UsageShape, constant, ramp, recorded, steps
from tests.usage.quantity import MEBIBYTE, amount
from tests.usage.trace import TRACES_DIRECTORY, read_traces

NOW = 1_790_000_000.0
DAY = 86_400.0

SHAPES = {
    "constant": constant(0.18),
    "steps": steps([1.0, 2.0, 5.0], seconds_each=700.0),
    "ramp": ramp(1.0, 2.0, period_seconds=5000.0, anchor_seconds=77.0),
    "recorded": recorded([10.0, 70.0, 130.0, 400.0], [0.5, 2.0, 0.0, 1.0]),
    "recorded, held": recorded([10.0, 70.0, 130.0, 400.0], [0.5, 2.0, 0.0, 1.0], held=True),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_integral_is_the_area_below_the_levels(shape: UsageShape) -> None:
    times = np.linspace(NOW, NOW + 20_000.0, 400_001)
    area = np.trapezoid(shape.at(times), times)
    assert shape.integral(start=times[0], end=times[-1]) == pytest.approx(area, rel=1e-4)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_integrals_of_neighbouring_times_add_up(shape: UsageShape) -> None:
    cuts = np.array([NOW, NOW + 0.5, NOW + 699.0, NOW + 5 * DAY])
    parts = shape.integral(start=cuts[:-1], end=cuts[1:])
    assert parts.sum() == pytest.approx(float(shape.integral(start=cuts[0], end=cuts[-1])), rel=1e-9)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_shape_repeats_after_its_period(shape: UsageShape) -> None:
    times = NOW + np.arange(0.0, 5000.0, 37.0)
    assert shape.at(times + shape.period_seconds) == pytest.approx(shape.at(times), abs=1e-6)


def test_a_constant_integrates_without_rounding_error_at_any_millisecond() -> None:
    times = NOW + np.arange(0, 3 * DAY, 61.007)
    seconds = constant(0.18).integral(start=NOW - 5 * DAY, end=times)
    exact = [0.18 * (5 * DAY + round(float(offset), 3)) for offset in times - NOW]
    assert np.round(seconds, 6) == pytest.approx(exact, abs=1.1e-6)


def test_steps_hold_and_a_ramp_climbs() -> None:
    assert steps([1.0, 3.0], seconds_each=10.0).at([0.0, 9.9, 10.0, 19.9, 20.0]).tolist() == [1.0, 1.0, 3.0, 3.0, 1.0]
    assert ramp(100.0, 200.0, period_seconds=10.0).at([0.0, 5.0, 9.0, 10.0]).tolist() == [100.0, 150.0, 190.0, 100.0]


def test_a_record_of_days_keeps_whole_days_and_the_time_of_day() -> None:
    times = NOW + np.arange(0.0, 2.4 * DAY, 3600.0)
    shape = recorded(times, times % DAY)
    assert shape.period_seconds == 2 * DAY
    assert shape.at(NOW + 101 * DAY + 7200.0) == pytest.approx((NOW + 7200.0) % DAY)


def test_gaps_of_a_record_are_bridged_from_their_neighbours() -> None:
    shape = recorded([0.0, 10.0, 20.0, 30.0], [1.0, float("nan"), 3.0, 3.0])
    assert shape.at([5.0, 10.0]).tolist() == [1.5, 2.0]


def test_scaling_moves_levels_and_never_below_zero() -> None:
    shape = ramp(10.0, 30.0, period_seconds=10.0).scaled(2.0, plus=-30.0)
    assert shape.at([0.0]).tolist() == [0.0]
    assert shape.peak == 30.0


def test_squeezing_changes_the_time_and_cutting_the_height() -> None:
    shape = ramp(0.0, 8.0, period_seconds=100.0).squeezed(10.0).at_most(6.0)
    assert shape.period_seconds == 10.0
    assert shape.peak == 6.0


def test_crossings_of_a_level_are_found_on_the_way_up_only() -> None:
    shape = recorded([0.0, 10.0, 20.0, 30.0, 40.0], [1.0, 5.0, 5.0, 1.0, 5.0])
    assert shape.rises_above(4.0) == (10.0, 40.0)


@pytest.mark.parametrize(
    ("offsets", "levels", "message"),
    [
        ([0.0], [1.0], "at least two"),
        ([0.0, 1.0], [1.0], "as many"),
        ([1.0, 2.0], [1.0, 1.0], "ascend from 0"),
        ([0.0, 2.0, 2.0], [1.0, 1.0, 1.0], "ascend from 0"),
        ([0.0, 1.0], [1.0, -1.0], "not negative"),
        ([0.0, 1.0], [1.0, float("nan")], "finite"),
    ],
)
def test_an_impossible_shape_is_refused(offsets: list[float], levels: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UsageShape(offsets=np.array(offsets), levels=np.array(levels))


def test_a_record_without_levels_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two levels"):
        recorded([1.0, 2.0, 3.0], [float("nan"), 1.0, float("nan")])


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [("180m", 0.18), ("2", 2.0), ("1.5", 1.5), ("320Mi", 320 * MEBIBYTE), ("1Gi", 2**30), ("1G", 1e9), ("100k", 1e5)],
)
def test_quantities(quantity: str, expected: float) -> None:
    assert amount(quantity) == expected


@pytest.mark.parametrize("text", ["", "Mi", "5 Mi", "1MiMi", "abc"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        amount(text)


def test_traces_read_with_their_gaps() -> None:
    trace = read_traces("operate-first-k8s")["noobaa-operator/h0"]
    assert trace.times.size == trace.cpu_cores.size == trace.memory_bytes.size == 5980
    assert np.isnan(trace.cpu_cores).any()
    assert trace.memory().scaled(1 / MEBIBYTE).peak == pytest.approx(157.4, abs=3)


def test_every_trace_is_listed_and_the_folder_stays_small() -> None:
    listed = (TRACES_DIRECTORY / "series.csv").read_text(encoding="utf-8").splitlines()[1:]
    names = {tuple(line.split(",")[:2]) for line in listed}
    found = {(path.name, series) for path in TRACES_DIRECTORY.glob("*.csv.gz") for series in read_traces(path.name.removesuffix(".csv.gz"))}
    assert found == names
    assert sum(path.stat().st_size for path in TRACES_DIRECTORY.iterdir() if path.is_file()) < 5_000_000


def test_a_file_of_another_form_is_refused(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "odd.csv.gz", "wt") as out:
        out.write("a,b\n")
    with pytest.raises(ValueError, match="unexpected heading"):
        read_traces("odd", directory=tmp_path)
