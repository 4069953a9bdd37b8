"""Which slots to ask the usage source for: what is missing, and again what was asked for before all its samples can have been there.

Samples come late: by a scrape always, by minutes where they are sent on to Thanos or Mimir, and by as much as the server's clock is behind
ours. Pure; what is done with the spans, and who answers, is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rightsizer.history import Span
from rightsizer.history.spans import Spans, gaps, joined

LATE_SECONDS = 600
"""A slot is asked for until it is so old: with two slots besides the new one, a steady cycle stays cheap."""

LATEST_SECONDS = 3_600
"""The same for a namespace of which nothing newer came, as while its samples are held up. What comes later still is not seen."""


def with_late(missing: Spans, wanted: Span, *, newest_value: int | None) -> Spans:
    """What is missing (newest first), with the slots before the new ones that may be incomplete.

    `newest_value`: the last slot of the namespace with a value. Where no slot is new, or nothing was read yet, it is `missing` itself.

    read up to    newest value    asked for at 12:00
    11:55         11:55           11:50..12:00
    11:55         11:50           11:50..12:00
    11:55         11:30           11:00..12:00
    11:00         11:00           10:50..12:00
    """
    if not missing or missing[0].end < wanted.end or missing[0].start == wanted.start:
        return missing
    new = missing[0].start
    held_up = newest_value is not None and newest_value < new - LATE_SECONDS
    start = max(new - (LATEST_SECONDS if held_up else LATE_SECONDS), wanted.start)
    return joined((Span(start, wanted.end), *missing))[::-1]


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
