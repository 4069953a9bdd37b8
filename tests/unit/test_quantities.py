from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rightsizer.errors import InvalidQuantity
from rightsizer.quantities import (
    GIBIBYTE,
    KIBIBYTE,
    MAX_VALUE,
    MEBIBYTE,
    cpu_millicores,
    duration_seconds,
    format_cpu,
    format_days,
    format_duration,
    format_memory,
    format_memory_short,
    format_percentage,
    format_share_up,
    memory_bytes,
    percentage,
    round_up,
    round_up_array,
)

MULTIPLIERS = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(1000),
    "M": Fraction(1000**2),
    "G": Fraction(1000**3),
    "T": Fraction(1000**4),
    "P": Fraction(1000**5),
    "E": Fraction(1000**6),
    "Ki": Fraction(1024),
    "Mi": Fraction(1024**2),
    "Gi": Fraction(1024**3),
    "Ti": Fraction(1024**4),
    "Pi": Fraction(1024**5),
    "Ei": Fraction(1024**6),
}


@pytest.mark.parametrize(
    ("text", "millicores"),
    [
        ("0", 0),
        ("216m", 216),
        ("2", 2000),
        ("0.5", 500),
        (".5", 500),
        ("2.", 2000),
        ("+1", 1000),
        ("-0", 0),
        ("1500m", 1500),
        ("1.5", 1500),
        ("1k", 1_000_000),
        ("1e3", 1_000_000),
        ("1E3", 1_000_000),
        ("5e-1", 500),
        ("1e+1", 10_000),
        ("100u", 1),
        ("1000001n", 2),
        ("1n", 1),
        ("0.0011", 2),
        ("0.5m", 1),
        ("1e-999", 1),
        (2, 2000),
        (0.1, 100),
        (0.216, 216),
    ],
)
def test_cpu_in_millicores_rounded_up(text: str | float, millicores: int) -> None:
    assert cpu_millicores(text) == millicores


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("384Mi", 384 * MEBIBYTE),
        ("1.5Gi", 1536 * MEBIBYTE),
        ("64Gi", 64 * GIBIBYTE),
        ("1Ki", KIBIBYTE),
        ("1Ti", 1024 * GIBIBYTE),
        ("1Pi", 1024**5),
        ("1Ei", 1024**6),
        ("1E", 10**18),
        ("1e9", 10**9),
        ("1k", 1000),
        ("1M", 10**6),
        ("1G", 10**9),
        ("1T", 10**12),
        ("1P", 10**15),
        ("128974848", 128_974_848),
        ("128974848000m", 128_974_848),
        ("1m", 1),
        ("0.1", 1),
        ("0.3Ki", 308),
        ("100E", MAX_VALUE),
        ("1e999", MAX_VALUE),
        ("9223372036854775807", MAX_VALUE),
        (335544320, 320 * MEBIBYTE),
        (1e22, MAX_VALUE),
    ],
)
def test_memory_in_bytes_rounded_up(text: str | float, size: int) -> None:
    assert memory_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["abc", " ", "Mi", ".", "-", "1.2.3", "0x10", "1,5", "1e5x7", "--1", "NaN", "1" * 65, math.nan, math.inf, True]
)
def test_not_a_number_is_said(text: str | float) -> None:
    with pytest.raises(InvalidQuantity, match="is not a number"):
        memory_bytes(text)


@pytest.mark.parametrize("text", ["5 Mi", "5Mb", "5mi", "5K", "5kI", "1e", "1e3Mi", "5Mi ", "5Mi\n", "5µ", "5_"])
def test_an_unknown_suffix_is_said_with_the_known_ones(text: str) -> None:
    with pytest.raises(InvalidQuantity, match=r"unknown suffix .* known are n u m k M G T P E Ki Mi Gi Ti Pi Ei"):
        memory_bytes(text)


def test_an_empty_quantity_is_said() -> None:
    with pytest.raises(InvalidQuantity, match="is empty"):
        cpu_millicores("")


@pytest.mark.parametrize("text", ["-1", "-100m", "-1n", "-0.5Gi", -2, -0.1])
def test_a_negative_quantity_is_refused(text: str | float) -> None:
    with pytest.raises(InvalidQuantity, match="is negative"):
        cpu_millicores(text)


@given(st.integers(0, 10**12), st.integers(0, 9), st.sampled_from(sorted(MULTIPLIERS)))
def test_every_suffix_agrees_with_exact_fractions(digits: int, decimals: int, suffix: str) -> None:
    number = f"{digits:0{decimals + 1}d}"
    text = (number[:-decimals] + "." + number[-decimals:] if decimals else number) + suffix
    exact = Fraction(digits, 10**decimals) * MULTIPLIERS[suffix]
    assert memory_bytes(text) == min(math.ceil(exact), MAX_VALUE)
    assert cpu_millicores(text) == min(math.ceil(exact * 1000), MAX_VALUE)


@pytest.mark.parametrize(("millicores", "text"), [(0, "0"), (1, "1m"), (216, "216m"), (1500, "1500m"), (2000, "2"), (-250, "-250m")])
def test_cpu_is_written_as_the_api_server_writes_it(millicores: int, text: str) -> None:
    assert format_cpu(millicores) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (1, "1"),
        (1000, "1000"),
        (1024, "1Ki"),
        (384 * MEBIBYTE, "384Mi"),
        (1536 * MEBIBYTE, "1536Mi"),
        (1024 * MEBIBYTE, "1Gi"),
        (64 * GIBIBYTE, "64Gi"),
        (1024**6, "1Ei"),
        (-32 * MEBIBYTE, "-32Mi"),
    ],
)
def test_memory_is_written_in_the_largest_exact_binary_unit(size: int, text: str) -> None:
    assert format_memory(size) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (500, "500"),
        (384 * MEBIBYTE, "384Mi"),
        (1536 * MEBIBYTE, "1.5Gi"),
        (130_000_000, "124Mi"),
        (999.4 * MEBIBYTE, "999Mi"),
        (1000 * MEBIBYTE, "0.977Gi"),
        (GIBIBYTE, "1Gi"),
        (MAX_VALUE, "8Ei"),
        (-2.25 * GIBIBYTE, "-2.25Gi"),
    ],
)
def test_memory_for_tables_has_three_digits(size: float, text: str) -> None:
    assert format_memory_short(size) == text


@given(st.integers(0, MAX_VALUE // 1000))
def test_cpu_survives_the_round_trip(millicores: int) -> None:
    assert cpu_millicores(format_cpu(millicores)) == millicores


@given(st.integers(0, MAX_VALUE) | st.integers(0, 10**5).map(lambda number: number * MEBIBYTE))
def test_memory_survives_the_round_trip(size: int) -> None:
    assert memory_bytes(format_memory(size)) == size


@pytest.mark.parametrize(("text", "share"), [("20%", 0.2), ("0%", 0.0), ("300%", 3.0), ("12.5%", 0.125), ("7%", 0.07)])
def test_percentages_become_shares_and_back(text: str, share: float) -> None:
    assert percentage(text) == share
    assert format_percentage(share) == text


@pytest.mark.parametrize("text", ["", "20", "%", "-5%", "20 %", "20%%", "a%", "1e2%", ".5%"])
def test_a_bad_percentage_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuantity, match="is no percentage"):
        percentage(text)


@pytest.mark.parametrize(
    ("text", "seconds", "written"),
    [
        ("14d", 1_209_600, "14d"),
        ("24h", 86_400, "24h"),
        ("1d", 86_400, "24h"),
        ("36h", 129_600, "36h"),
        ("48h", 172_800, "2d"),
        ("90m", 5_400, "90m"),
        ("1h30m", 5_400, "90m"),
        ("1d1s", 86_401, "1440m1s"),
        ("45s", 45, "45s"),
        ("60s", 60, "1m"),
        ("0h", 0, "0h"),
    ],
)
def test_durations_are_read_and_written(text: str, seconds: int, written: str) -> None:
    assert duration_seconds(text) == seconds
    assert format_duration(seconds) == written


@pytest.mark.parametrize("text", ["", "14", "d", "1.5h", "-1h", "1 h", "30m1h", "1w", "1h1h", "1H"])
def test_a_bad_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuantity, match="is no duration"):
        duration_seconds(text)


@given(st.integers(0, 10**9))
def test_a_duration_survives_the_round_trip(seconds: int) -> None:
    assert duration_seconds(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0%"), (0.000001, "0.1%"), (0.003, "0.3%"), (0.0031, "0.4%"), (0.0101, "1.1%"), (0.07, "7%"), (1, "100%")]
)
def test_a_share_is_rounded_up(share: float, text: str) -> None:
    assert format_share_up(share) == text


@pytest.mark.parametrize(("days", "text"), [(14, "14d"), (6.999, "7d"), (6.5, "6d"), (1.995, "2d"), (1.5, "36h"), (0.01, "1h")])
def test_days_that_were_looked_at(days: float, text: str) -> None:
    assert format_days(days) == text


@pytest.mark.parametrize(
    ("value", "step", "rounded"),
    [
        (180 * 1.2, 1, 216),  # 216.00000000000003
        (216.001, 1, 217),
        (0.0, 1, 0),
        (1e-12, 1, 1),
        (320 * MEBIBYTE * 1.2, MEBIBYTE, 384 * MEBIBYTE),
        (384 * MEBIBYTE + 1, MEBIBYTE, 385 * MEBIBYTE),
        (215.9999999999, 1, 216),
        (211.0, 10, 220),
        (1.1 * 3, 1, 4),
    ],
)
def test_round_up_gives_what_a_person_gets_by_hand(value: float, step: int, rounded: int) -> None:
    assert round_up(value, step) == rounded
    assert round_up_array(np.array([value]), step).tolist() == [rounded]


def test_round_up_array_keeps_nan_and_shape() -> None:
    rounded = round_up_array(np.array([[np.nan, 1.2], [3.0, 180 * 1.2]], dtype=np.float64), 1)
    np.testing.assert_array_equal(rounded, [[np.nan, 2], [3, 216]])


AMOUNTS = st.floats(0, 1e6, allow_subnormal=False)


@given(AMOUNTS, AMOUNTS, st.sampled_from([1, 10, 1000]))
def test_round_up_is_monotone_and_at_most_one_step_above(smaller: float, larger: float, step: int) -> None:
    assume(smaller <= larger)
    assert round_up(smaller, step) <= round_up(larger, step)
    assert larger * (1 - 1e-9) <= round_up(larger, step) <= larger + step
    assert round_up(larger, step) % step == 0


@given(st.integers(1, 10**6), st.integers(0, 300))
def test_round_up_of_a_whole_percentage_is_the_exact_ceiling(measured: int, percent: int) -> None:
    assert round_up(measured * (1 + percentage(f"{percent}%")), 1) == math.ceil(Fraction(measured * (100 + percent), 100))
