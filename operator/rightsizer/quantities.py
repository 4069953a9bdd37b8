"""Kubernetes quantities, percentages and durations, read and written exactly.

CPU is in whole millicores and memory in whole bytes everywhere inside Rightsizer; this module is the only place that knows how the
texts of the API stand for them. It must not know what the numbers are used for.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rightsizer.errors import InvalidQuantity

KIBIBYTE = 1024
MEBIBYTE = 1024**2
GIBIBYTE = 1024**3

MAX_VALUE = 2**63 - 1
"""The API server caps larger quantities at this."""

_BINARY_UNITS = tuple((1024**power, prefix + "i") for power, prefix in enumerate("KMGTPE", start=1))
_FACTORS: dict[str, tuple[int, int]] = {
    "": (1, 1),
    "n": (1, 10**9),
    "u": (1, 10**6),
    "m": (1, 10**3),
    **{prefix: (1000**power, 1) for power, prefix in enumerate("kMGTPE", start=1)},
    **{suffix: (factor, 1) for factor, suffix in _BINARY_UNITS},
}
_KNOWN_SUFFIXES = " ".join(suffix for suffix in _FACTORS if suffix)

# `1E` is an exa, `1E3` an exponent: the exponent is only one with digits behind it.
_QUANTITY = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?(?:[eE](?P<exponent>[+-]?[0-9]{1,3}))?(?P<suffix>.*)", re.DOTALL
)
# Longer than any quantity that means something, and short enough that no number of it is slow.
_LONGEST_TEXT = 64

_PERCENTAGE = re.compile(r"(?P<number>[0-9]{1,9}(?:\.[0-9]{1,9})?)%")

_DURATION_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?")

_ROUNDING_TOLERANCE = 1e-9


def cpu_millicores(quantity: str | int | float) -> int:
    """Whole millicores of a quantity of CPU (`216m`, `2`, `0.5`), rounded up to 1m as the API server does.

    Raises InvalidQuantity.
    """
    return _scaled(quantity, 1000)


def memory_bytes(quantity: str | int | float) -> int:
    """Whole bytes of a quantity of memory (`384Mi`, `1e9`, `128974848`), rounded up as the API server does.

    Raises InvalidQuantity.
    """
    return _scaled(quantity, 1)


def _scaled(quantity: str | int | float, scale: int) -> int:
    return _scaled_text(quantity if isinstance(quantity, str) else _number_text(quantity), scale)


@lru_cache(maxsize=16_384)
def _scaled_text(text: str, scale: int) -> int:
    """The quantity times `scale`, rounded up, in whole-number arithmetic so that no digit is lost.

    Remembered, as a cycle reads the same sizes again and again, and there are few different ones.
    """
    parts = _quantity_parts(text)
    whole, fraction = parts["whole"] or "", parts["fraction"] or ""
    factor, divisor = _FACTORS[parts["suffix"]]
    exponent = int(parts["exponent"] or 0) - len(fraction)
    numerator: int = int(whole + fraction) * factor * scale * 10 ** max(exponent, 0)
    denominator: int = divisor * 10 ** max(-exponent, 0)
    if parts["sign"] == "-" and numerator:
        raise InvalidQuantity(f"{text!r} is negative")
    return min(-(-numerator // denominator), MAX_VALUE)


def _number_text(number: Any) -> str:
    # A number in YAML or JSON; its shortest decimal text is what the person wrote (0.1 and not 0.1000000000000000055).
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise InvalidQuantity(f"{number!r} is not a number")
    return repr(number)


def _quantity_parts(text: str) -> re.Match[str]:
    if not text:
        raise InvalidQuantity("the quantity is empty")
    parts = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    if parts is None or not (parts["whole"] or parts["fraction"]) or re.search(r"[0-9.,+-]", parts["suffix"]):
        raise InvalidQuantity(f"{text[:_LONGEST_TEXT]!r} is not a number")
    # Only with a whole exponent or a suffix, never with both.
    if parts["suffix"] not in _FACTORS or (parts["exponent"] and parts["suffix"]):
        raise InvalidQuantity(f"{text!r} has the unknown suffix {parts['suffix']!r}; known are {_KNOWN_SUFFIXES}")
    return parts


def format_cpu(millicores: int) -> str:
    """The quantity of whole millicores as the API server writes it.

    216 -> 216m, 1500 -> 1500m, 2000 -> 2, 0 -> 0
    """
    return f"{millicores}m" if millicores % 1000 else str(millicores // 1000)


def format_memory(size: int) -> str:
    """The quantity of whole bytes in the largest binary unit that is exact, else in bytes.

    402653184 -> 384Mi, 1610612736 -> 1536Mi, 68719476736 -> 64Gi, 1000 -> 1000, 0 -> 0
    """
    if size == 0:
        return "0"
    exact = (f"{size // factor}{suffix}" for factor, suffix in reversed(_BINARY_UNITS) if size % factor == 0)
    return next(exact, str(size))


def format_memory_short(size: float) -> str:
    """About so many bytes, for tables that people read: three digits and a binary unit. Not for the API.

    402653184 -> 384Mi, 1610612736 -> 1.5Gi, 130000000 -> 124Mi, 1048576000 (1000Mi) -> 0.977Gi, 500 -> 500
    """
    number, suffix = float(size), ""
    for factor, unit in _BINARY_UNITS:
        if abs(number) < 999.5:
            break
        number, suffix = size / factor, unit
    return f"{number:.3g}{suffix}"


def percentage(text: str) -> float:
    """The share that a percentage stands for: `20%` -> 0.2. Raises InvalidQuantity."""
    match = _PERCENTAGE.fullmatch(text)
    if match is None:
        raise InvalidQuantity(f"{text!r} is no percentage, such as 20%")
    return float(match["number"]) / 100


def format_percentage(share: float) -> str:
    """A share as a percentage with at most one decimal: 0.2 -> 20%, 0.125 -> 12.5%."""
    return f"{share * 100:.1f}".removesuffix(".0") + "%"


def format_days(days: float) -> str:
    """A time that was looked at, in whole days, below two days in whole hours: 6.95 -> 7d, 6.5 -> 6d, 1.5 -> 36h."""
    # At its edges some slots may be missing, up to an hour of them and the wait for late samples.
    unit, missing = (_DURATION_UNITS["d"], 0.05) if days >= 1.99 else (_DURATION_UNITS["h"], 0.01)
    return format_duration(max(int(days * _DURATION_UNITS["d"] / unit + missing), 1) * unit)


def format_share_up(share: float) -> str:
    """A share as a percentage, rounded up to a tenth, so that what is above a bound also reads so: 0.0031 -> 0.4%, 0.0101 -> 1.1%."""
    # In two steps: 0.07 x 1000 is a little more than 70.
    return format_percentage(math.ceil(round(share * 1000, 6)) / 1000)


def duration_seconds(text: str) -> int:
    """Seconds of a duration in days, hours, minutes and seconds, in this order: `14d`, `24h`, `90m`, `1h30m`, `0h`.

    Raises InvalidQuantity.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise InvalidQuantity(f"{text!r} is no duration, such as 14d, 24h or 1h30m")
    return sum(int(number) * seconds for number, seconds in zip(match.groups(), _DURATION_UNITS.values(), strict=True) if number)


def format_duration(seconds: int) -> str:
    """A duration of 0 s or more in the largest unit that is exact; in days from two days on, because people say 24h.

    1209600 -> 14d, 86400 -> 24h, 129600 -> 36h, 5400 -> 90m, 5430 -> 90m30s, 45 -> 45s
    """
    if seconds >= 2 * _DURATION_UNITS["d"] and seconds % _DURATION_UNITS["d"] == 0:
        return f"{seconds // _DURATION_UNITS['d']}d"
    if seconds % _DURATION_UNITS["h"] == 0:
        return f"{seconds // _DURATION_UNITS['h']}h"
    minutes, rest = divmod(seconds, 60)
    return (f"{minutes}m" if minutes else "") + (f"{rest}s" if rest else "")


def round_up(value: float, step: int) -> int:
    """The smallest multiple of `step` that is not below `value`, as whole millicores or bytes.

    A value that is above a multiple by at most a billionth counts as that multiple: 180 x 1.2 is 216.00000000000003 in binary
    arithmetic, and the person who redoes it by hand gets 216 and not 217.
    """
    steps = value / step
    nearest = round(steps)
    return step * (nearest if abs(steps - nearest) <= _ROUNDING_TOLERANCE * abs(steps) else math.ceil(steps))


def round_up_array(values: NDArray[Any], step: int) -> NDArray[np.float64]:
    """`round_up` of each element, in 64-bit arithmetic; NaN stays NaN.

    Compute `values` in 64 bits too: the error of 32 bits (6e-8) is larger than what is forgiven here.
    """
    steps = np.asarray(values, dtype=np.float64) / step
    nearest = np.rint(steps)
    close = np.abs(steps - nearest) <= _ROUNDING_TOLERANCE * np.abs(steps)
    return step * np.where(close, nearest, np.ceil(steps))
