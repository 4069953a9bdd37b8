"""Reads the single values of a profile: each function takes what JSON or YAML gave and answers a number or a name.

All raise InvalidQuantity with the words of the custom resource's schema, so that a file on the command line and the API server refuse
the same values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from rightsizer.errors import InvalidQuantity
from rightsizer.profile.rule import DAY_SECONDS, parse_statistic
from rightsizer.quantities import MEBIBYTE, cpu_millicores, duration_seconds, memory_bytes, percentage

HOUR_SECONDS = 3_600
LONGEST_SECONDS = 30 * DAY_SECONDS
MAX_RATIO = 100
MAX_OOM_KILLS = 1_000
MAX_CONCURRENT = 100
METHOD_NAME = "the name of a method, such as Measured: up to 63 letters, digits, '-', '_' and '.', beginning with a letter"
MAX_KILLS = 1000

Choice = TypeVar("Choice", bound=StrEnum)
Name = TypeVar("Name", bound=str)


class _Unexpected(InvalidQuantity):
    def __init__(self, value: object, expected: str) -> None:
        super().__init__(f"must be {expected}, is {value!r}")


def _written(value: object, pattern: str, expected: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise _Unexpected(value, expected)
    return value


def text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidQuantity(f"must be a text, is {value!r}" + (" (put it in quotes)" if isinstance(value, int | float) else ""))
    return value


def texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _Unexpected(value, "a list of texts")
    return tuple(text(element) for element in value)


def whole_number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Unexpected(value, "a whole number")
    return value


def count(*, maximum: int, minimum: int = 0) -> Callable[[object], int]:
    """A whole number from `minimum` to `maximum`."""

    def read(value: object) -> int:
        number = whole_number(value)
        if not minimum <= number <= maximum:
            raise _Unexpected(value, f"a whole number from {minimum} to {maximum:,}")
        return number

    return read


def choice(choices: type[Choice]) -> Callable[[object], Choice]:
    return one_of(*choices)


def one_of(*choices: Name) -> Callable[[object], Name]:
    def read(value: object) -> Name:
        for known in choices:
            if known == value:
                return known
        raise _Unexpected(value, _either(choices))

    return read


def _either(choices: Sequence[str]) -> str:
    return choices[0] if len(choices) == 1 else ", ".join(choices[:-1]) + " or " + choices[-1]


def method_name(value: object) -> str:
    return _written(value, r"(?=.{1,63}$)[A-Za-z]([-A-Za-z0-9_.]*[A-Za-z0-9])?", METHOD_NAME)


def statistic(value: object) -> str:
    return parse_statistic(value if isinstance(value, str) else repr(value)).name


def share(*, maximum: int) -> Callable[[object], float]:
    """A whole percentage from 0% to `maximum`, as a share."""

    def read(value: object) -> float:
        expected = f"a whole percentage from 0% to {maximum}%, such as 20%"
        number = percentage(_written(value, r"[0-9]{1,3}%", expected))
        if number > maximum / 100:
            raise _Unexpected(value, expected)
        return number

    return read


def share_in_tenths(value: object) -> float:
    """A percentage from 0% to 100% with up to one decimal, as a share."""
    expected = "a percentage from 0% to 100% with up to one decimal, such as 1% or 0.5%"
    number = percentage(_written(value, r"[0-9]{1,3}(\.[0-9])?%", expected))
    if number > 1:
        raise _Unexpected(value, expected)
    return number


def small_share(value: object) -> float:
    """A percentage from 0.05% to 10% with up to two decimals, as a share."""
    expected = "a percentage from 0.05% to 10%, such as 1% or 0.3%"
    number = percentage(_written(value, r"[0-9]{1,2}(\.[0-9]{1,2})?%", expected))
    if not 0.0005 <= number <= 0.1:
        raise _Unexpected(value, expected)
    return number


def kills(value: object) -> float:
    """A number of OOM kills in 1000 days."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= MAX_KILLS:
        raise _Unexpected(value, f"a number from 1 to {MAX_KILLS}")
    return float(value)


def ratio(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= MAX_RATIO:
        raise _Unexpected(value, f"a number from 1 to {MAX_RATIO}")
    return float(value)


def cpu(value: object) -> int:
    """A quantity of CPU of at least 1m, in millicores."""
    expected = 'a quantity of CPU of at least 1m, such as 10m or "2"'
    if str(value).endswith("i"):
        # 10Mi would be ten million cores: somebody meant memory.
        raise _Unexpected(value, expected)
    return _quantity(value, cpu_millicores, at_least=1, expected=expected)


def memory(value: object) -> int:
    """A quantity of memory of at least 1Mi, in bytes."""
    return _quantity(value, memory_bytes, at_least=MEBIBYTE, expected="a quantity of memory of at least 1Mi, such as 32Mi")


def _quantity(value: object, read: Callable[[str], int], *, at_least: int, expected: str) -> int:
    try:
        number = read(text(value))
    except InvalidQuantity as error:
        raise InvalidQuantity(f"must be {expected}: {error}") from error
    if number < at_least:
        raise _Unexpected(value, expected)
    return number


def window(value: object) -> int:
    """1h to 30d in whole days or hours, in seconds."""
    return _days_or_hours(value, "14d or 36h")


def _days_or_hours(value: object, example: str) -> int:
    expected = f"a whole number of days or hours from 1h to 30d, such as {example}"
    seconds = duration_seconds(_written(value, r"[0-9]{1,3}[dh]", expected))
    if not HOUR_SECONDS <= seconds <= LONGEST_SECONDS:
        raise _Unexpected(value, expected)
    return seconds


def duration(value: object) -> int:
    """Whole minutes, hours or days up to 30d, in seconds."""
    expected = "a whole number of minutes, hours or days up to 30d, such as 30m, 24h or 7d"
    seconds = duration_seconds(_written(value, r"[0-9]{1,5}[dhm]", expected))
    if seconds > LONGEST_SECONDS:
        raise _Unexpected(value, expected)
    return seconds


def half_life(value: object) -> int:
    """1h to 30d in whole days or hours, in seconds."""
    return _days_or_hours(value, "12h")


def container_name(value: object) -> str:
    return _written(value, r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "a container name: small letters, digits and '-'")


def timestamp(value: object) -> float:
    """RFC 3339, as JSON has it, or the time that a YAML parser already made of it; in unix seconds."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(text(value))
    except ValueError as error:
        raise _Unexpected(value, "a time, such as 2026-01-31T12:00:00Z") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
