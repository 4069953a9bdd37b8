"""Which questions to ask the usage source, in which order and how large. Pure.

A question covers many namespaces and a span of slots. It is kept below bounds on the values in its answer and on the samples that the
server has to touch for it, and it can be halved when that was still too much.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rightsizer.cycle.wanted import LATE_SECONDS
from rightsizer.history import SLOT_SECONDS, Span
from rightsizer.ports import Load

DAY_SECONDS = 86_400
WEEK_SECONDS = 7 * DAY_SECONDS
"""Spans are cut at multiples of these in unix time, so that namespaces whose past is missing alike share their questions.

At days from yesterday on, so that the newest day of all namespaces is soon here, and at weeks before: a series has its price for the
server and for us, however few of its samples are asked for.
"""

MOST_VALUES = 500_000
"""Values in one answer: about 18 MB of JSON, a quarter of a second to decode, and far below any server's limits.

Pods that were replaced come on top: as many again over a week in which a fifth of them is replaced each day.
"""

SLOTS_WORTH_RECORDED = 12
"""An hour. For less, finding out whether recording rules kept it costs as much as they save."""

MOST_SAMPLES = 20_000_000
"""Samples that one question makes the server touch; Prometheus refuses 50 million by default."""


THROTTLING_SECONDS = 3_600
"""New throttling is read by whole hours of unix time: a question about it costs more than one about CPU, however few its slots."""


def throttling_span(span: Span, *, newest: int) -> Span | None:
    """Of which slots the throttling is read together with the usage of this span; None: of none yet, for their hour is not over.

    The hours that end within a short span; all of a longer one, and what its first hour had before it. So each slot is read
    however the spans lie, and nobody has to remember which were left out. `newest`: the last slot that there is. An hour that ended
    just before it is left to the refresh that asks for its last slot for the last time.
    """
    hour_before = (span.start - SLOT_SECONDS) // THROTTLING_SECONDS * THROTTLING_SECONDS
    last_hour = min(span.end, newest - LATE_SECONDS) // THROTTLING_SECONDS * THROTTLING_SECONDS
    end = last_hour if span.slots * SLOT_SECONDS < THROTTLING_SECONDS else span.end
    return Span(hour_before + SLOT_SECONDS, end) if end > hour_before else None


def throttling_known_until(now: float) -> int:
    """Up to which slot the throttling was read by now."""
    return int(now - LATE_SECONDS - SLOT_SECONDS) // THROTTLING_SECONDS * THROTTLING_SECONDS


def throttling_known_at(now: float) -> float:
    """When the throttling is known of some slots that begin now."""
    hour = (int(now) + 2 * SLOT_SECONDS) // THROTTLING_SECONDS + 1
    return float(hour * THROTTLING_SECONDS + LATE_SECONDS + SLOT_SECONDS)


@dataclass(frozen=True, slots=True)
class Question:
    """Usage of these namespaces, which are scraped alike, over this span.

    `limited`: those of them with CPU limits, for only there can be throttling. `recorded`: those with recording rules, which may
    have kept it. `kills_only`: nothing but OOM kills.
    """

    namespaces: tuple[str, ...]
    span: Span
    scrape_interval_seconds: int
    limited: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()
    kills_only: bool = False

    def about(self, namespaces: Sequence[str]) -> Question:
        """The same question about these of its namespaces; possibly about none."""
        limited, recorded = (tuple(name for name in names if name in namespaces) for names in (self.limited, self.recorded))
        return replace(self, namespaces=tuple(namespaces), limited=limited, recorded=recorded)

    def without(self, namespaces: Collection[str]) -> Question:
        """The same question about the others; possibly about none."""
        return self.about([name for name in self.namespaces if name not in namespaces])


def plan(missing: Mapping[str, Iterable[Span]], loads: Mapping[str, Load], *, now: float) -> list[Question]:
    """The questions for what is missing by namespace at the time `now`: newest first, as many namespaces in one as the bounds allow.

    Namespaces must have a load; one whose load of a single slot is above the bounds gets a question of its own.
    """
    alike: defaultdict[tuple[Span, int], list[str]] = defaultdict(list)
    for namespace, spans in missing.items():
        for span in spans:
            for part in _fitting_parts(span, loads[namespace], now):
                alike[part, loads[namespace].scrape_interval_seconds].append(namespace)
    newest_first = sorted(alike, key=lambda key: (key[0].end, key[0].start), reverse=True)
    return [
        _question(namespaces, span, interval, loads)
        for span, interval in newest_first
        for namespaces in _packed(span, sorted(alike[span, interval]), loads)
    ]


def _question(namespaces: tuple[str, ...], span: Span, interval: int, loads: Mapping[str, Load]) -> Question:
    limited = tuple(name for name in namespaces if loads[name].limited)
    recorded = tuple(name for name in namespaces if loads[name].recorded and span.slots >= SLOTS_WORTH_RECORDED)
    return Question(namespaces, span, interval, limited=limited, recorded=recorded)


def halve(question: Question) -> tuple[Question, Question] | None:
    """Two questions that ask for the same, by namespaces and, for a single one, by time (newer half first). None for a single slot."""
    namespaces, span = question.namespaces, question.span
    if len(namespaces) > 1:
        middle = len(namespaces) // 2
        return question.about(namespaces[:middle]), question.about(namespaces[middle:])
    if span.slots == 1:
        return None
    newer, older = _halves(span)
    return replace(question, span=newer), replace(question, span=older)


def _halves(span: Span) -> tuple[Span, Span]:
    middle = span.start + span.slots // 2 * SLOT_SECONDS
    return Span(middle, span.end), Span(span.start, middle - SLOT_SECONDS)


def _fitting_parts(span: Span, load: Load, now: float) -> Iterator[Span]:
    for part in _chunks(span, yesterday=(int(now) // DAY_SECONDS - 1) * DAY_SECONDS):
        yield from _halved_until_fitting(part, load)


def _halved_until_fitting(span: Span, load: Load) -> Iterator[Span]:
    if span.slots == 1 or (_values(load, span) <= MOST_VALUES and _samples(load, span) <= MOST_SAMPLES):
        yield span
        return
    for half in _halves(span):
        yield from _halved_until_fitting(half, load)


def _chunks(span: Span, *, yesterday: int) -> Iterator[Span]:
    """Cut at whole days and weeks of unix time. A slot is named by its end, so a chunk's first slot ends just after its boundary."""
    if span.slots * SLOT_SECONDS < THROTTLING_SECONDS:
        # What is new and may have come late stays together, also at midnight.
        yield span
        return
    start = span.start
    while start <= span.end:
        boundary = _next_multiple(start, DAY_SECONDS) if start > yesterday else min(_next_multiple(start, WEEK_SECONDS), yesterday)
        stop = min(boundary, span.end)
        yield Span(start, stop)
        start = stop + SLOT_SECONDS


def _next_multiple(time: int, unit: int) -> int:
    return -(-time // unit) * unit


def _packed(span: Span, namespaces: Sequence[str], loads: Mapping[str, Load]) -> Iterator[tuple[str, ...]]:
    packed: list[str] = []
    values = samples = 0
    for namespace in namespaces:
        load = loads[namespace]
        values, samples = values + _values(load, span), samples + _samples(load, span)
        if packed and (values > MOST_VALUES or samples > MOST_SAMPLES):
            yield tuple(packed)
            packed, values, samples = [], _values(load, span), _samples(load, span)
        packed.append(namespace)
    if packed:
        yield tuple(packed)


def _values(load: Load, span: Span) -> int:
    return max(load.series * span.slots, load.limited * _throttling_slots(span))


def _samples(load: Load, span: Span) -> int:
    """Of the heavier of the queries that make up a question: the one about throttling reads two series per limited container."""
    of_usage = load.series * _samples_per_series(load, span.slots)
    return max(of_usage, 2 * load.limited * _samples_per_series(load, _throttling_slots(span)))


def _samples_per_series(load: Load, slots: int) -> int:
    return slots * SLOT_SECONDS // load.scrape_interval_seconds + 1


def _throttling_slots(span: Span) -> int:
    found = throttling_span(span, newest=span.end + LATE_SECONDS)
    return 0 if found is None else found.slots
