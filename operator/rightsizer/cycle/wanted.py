"""Which slots to ask the usage source for: what is missing, and again what was asked for before all its samples can have been there.

Samples come late: by a scrape always, by minutes where they are sent on to Thanos or Mimir, and by as much as the server's clock is behind
ours. Pure; what is done with the spans, and who answers, is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rightsizer.history import SLOT_SECONDS, Span
from rightsizer.history.spans import Spans, gaps, joined

LATE_SECONDS = 900
"""A slot is asked for until it is so old."""

FULL_SECONDS = 600
"""At multiples of it in unix time, a refresh is a full one: it asks again for what may have been incomplete, not for what is new alone."""

LATEST_SECONDS = 3_600
"""The same for a namespace of which nothing newer came, as while its samples are held up. What comes later still is not seen."""


def with_late(missing: Spans, wanted: Span, *, newest_value: int | None) -> Spans:
    """What is missing (newest first); in a full refresh, or where samples are late, with the slots before that may be incomplete.

    `newest_value`: the last slot of the namespace with a value. Where no slot is new, or nothing was read yet, it is `missing` itself.

    read up to    newest value    asked for at 12:00    at 12:05
    11:55         11:55           11:40..12:00
    11:55         11:30           11:00..12:00
    11:00         11:00           10:50..12:00          10:50..12:05
    12:00         12:00                                 12:05
    12:00         11:50                                 11:50..12:05
    12:00         11:30                                 11:05..12:05
    """
    if not missing or missing[0].end < wanted.end or missing[0].start == wanted.start:
        return missing
    new = missing[0].start
    behind = 0 if newest_value is None else new - newest_value
    if behind > LATE_SECONDS:
        start = new - LATEST_SECONDS
    elif _full_before(wanted.end) >= new or behind > SLOT_SECONDS:
        # What is before it was old enough when the last full refresh read it.
        start = _full_before(new - LATE_SECONDS)
    else:
        return missing
    return joined((Span(max(start, wanted.start), wanted.end), *missing))[::-1]


def awaited_after(newest: int) -> int:
    """The slot up to which all were asked for when they were old enough, where the newest one has been read."""
    return _full_before(newest) - LATE_SECONDS


def _full_before(time: int) -> int:
    return time // FULL_SECONDS * FULL_SECONDS


def without(spans: Iterable[Span], left_out: Sequence[Span]) -> Spans:
    """The slots of the spans (newest first) that are not left out, newest first."""
    if not left_out:
        return tuple(spans)
    known = joined(left_out)
    return tuple(gap for span in joined(spans)[::-1] for gap in gaps(known, span))


def slots(spans: Iterable[Span]) -> int:
    return sum(span.slots for span in spans)


def share_read(unread: Iterable[Span], wanted: Span) -> float:
    """Which share of the wanted slots is not among the unread ones."""
    return 1.0 - slots(unread) / wanted.slots
