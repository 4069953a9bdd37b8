"""Sets of spans: which parts of time were read, and which are still missing. Pure; whose time it is, is not known here."""

from __future__ import annotations

from collections.abc import Iterable

from rightsizer.history.usage import SLOT_SECONDS, Span

Spans = tuple[Span, ...]


def joined(spans: Iterable[Span]) -> Spans:
    """The same slots in as few spans as possible, oldest first."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: one.start):
        if found and found[-1].touches(span):
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return tuple(found)


def not_before(spans: Iterable[Span], oldest: int) -> Spans:
    """What of the spans lies at the slot `oldest` or after it."""
    return tuple(Span(max(span.start, oldest), span.end) for span in spans if span.end >= oldest)


def gaps(spans: Spans, wanted: Span) -> Spans:
    """What of `wanted` lies in none of the spans (joined, oldest first), newest first."""
    missing, end = [], wanted.end
    for span in reversed(spans):
        if span.start <= end and span.end >= wanted.start:
            if span.end < end:
                missing.append(Span(span.end + SLOT_SECONDS, end))
            end = span.start - SLOT_SECONDS
    if wanted.start <= end:
        missing.append(Span(wanted.start, end))
    return tuple(missing)
