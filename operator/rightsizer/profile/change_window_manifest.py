"""Reads `spec.apply.windows` of a profile. A window that cannot be read never opens: whoever writes one wants less to happen, not more."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rightsizer.errors import InvalidQuantity
from rightsizer.profile import value
from rightsizer.profile.change_window import DAYS, MINUTES_OF_DAY, NEVER, ChangeWindow
from rightsizer.profile.section import Findings, Section

_EVERY_DAY = frozenset(range(len(DAYS)))
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00")


def change_windows(section: Section, findings: Findings) -> tuple[ChangeWindow, ...]:
    """The windows of `spec.apply`; without any, changes may be made at all times."""
    before = len(findings.problems)
    entries = section.sections("windows")
    # No list, or something in it that is no window: who knows when.
    found = tuple(_window(entry, findings) for entry in entries) if len(findings.problems) == before else (NEVER,)
    findings.problems[before:] = [
        replace(problem, message=f"{problem.message}; the window never opens", kept=True) for problem in findings.problems[before:]
    ]
    return found


def _window(entry: Section, findings: Findings) -> ChangeWindow:
    before = len(findings.problems)
    days = entry.take("days", _days, _EVERY_DAY)
    start = entry.take("start", _start, 0)
    end = entry.take("end", _minute, MINUTES_OF_DAY)
    zone = entry.take("timeZone", _time_zone, UTC)
    if start == end:
        entry.note("end", "must not be the start; the whole day is from 00:00 to 24:00")
    return ChangeWindow(days, start, end, zone) if len(findings.problems) == before else NEVER


def _days(found: object) -> frozenset[int]:
    if not isinstance(found, list) or not found or any(day not in DAYS for day in found):
        raise InvalidQuantity(f"must be a list of at least one of {', '.join(DAYS)}, is {found!r}")
    return frozenset(DAYS.index(day) for day in found)


def _start(found: object) -> int:
    minute = _minute(found)
    if minute == MINUTES_OF_DAY:
        raise InvalidQuantity("must be before 24:00: the day after begins at 00:00")
    return minute


def _minute(found: object) -> int:
    if not isinstance(found, str) or not _TIME.fullmatch(found):
        # YAML reads 16:00 without quotes as a number of minutes.
        raise InvalidQuantity(f'must be a time of the day in quotes, such as "09:00", up to "24:00", is {found!r}')
    hours, _, minutes = found.partition(":")
    return int(hours) * 60 + int(minutes)


def _time_zone(found: object) -> tzinfo:
    name = value.text(found)
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        # A folder of the database, such as Europe, is an OSError.
        raise InvalidQuantity(f"must be a time zone of the IANA database, such as Europe/Paris, is {name!r}") from error
