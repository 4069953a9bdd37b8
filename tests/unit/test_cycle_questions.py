"""Which questions are asked: everything that is missing once, newest first, within the bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer.cycle import questions
from rightsizer.cycle.questions import DAY_SECONDS, MOST_SAMPLES, MOST_VALUES, Question, halve, throttling_span
from rightsizer.cycle.wanted import LATE_SECONDS
from rightsizer.history import SLOT_SECONDS, Span
from rightsizer.ports import Load

MIDNIGHT = 20_000 * DAY_SECONDS
DAY_SLOTS = DAY_SECONDS // SLOT_SECONDS


# What lies after MIDNIGHT is of yesterday or newer.
NOW = MIDNIGHT + DAY_SECONDS + 3600.0


def plan(missing: Mapping[str, Iterable[Span]], loads: Mapping[str, Load], *, now: float = NOW) -> list[Question]:
    return questions.plan(missing, loads, now=now)


def at(slot: int) -> int:
    """The slot so many slots after midnight."""
    return MIDNIGHT + slot * SLOT_SECONDS


def question(*namespaces: str, first: int = 1, last: int = 288) -> Question:
    return Question(namespaces, Span(at(first), at(last)), 30)


def load(series: int = 10, interval: int = 30) -> Load:
    return Load(series, interval)


class TestPlan:
    def test_nothing(self) -> None:
        assert plan({}, {}) == []

    def test_namespaces_that_miss_the_same_share_a_question(self) -> None:
        span = Span(at(5), at(6))
        assert plan({"b": [span], "a": [span]}, {"a": load(), "b": load()}) == [Question(("a", "b"), span, 30)]

    def test_other_spans_are_other_questions_newest_first(self) -> None:
        old, new = Span(at(1), at(2)), Span(at(5), at(6))
        assert [found.span for found in plan({"a": [old], "b": [new]}, {"a": load(), "b": load()})] == [new, old]

    def test_namespaces_that_are_scraped_otherwise_are_asked_for_otherwise(self) -> None:
        span = Span(at(5), at(6))
        found = plan({"a": [span], "b": [span]}, {"a": load(), "b": load(interval=60)})
        assert {one.namespaces: one.scrape_interval_seconds for one in found} == {("a",): 30, ("b",): 60}

    def test_throttling_is_asked_of_namespaces_with_cpu_limits_alone(self) -> None:
        span = Span(at(5), at(6))
        loads = {"a": load(), "b": Load(10, 30, limited=1), "c": Load(10, 60)}
        found = {one.namespaces: one.limited for one in plan({name: [span] for name in "abc"}, loads)}
        assert found == {("a", "b"): ("b",), ("c",): ()}

    @pytest.mark.parametrize(("slots", "recorded"), [(11, ()), (12, ("a",))])
    def test_recording_rules_are_asked_for_spans_that_are_worth_it(self, slots: int, recorded: tuple[str, ...]) -> None:
        (found,) = plan(dict.fromkeys("ab", (Span(at(1), at(slots)),)), {"a": Load(10, 60, recorded=True), "b": load(interval=60)})
        assert (found.namespaces, found.recorded) == (("a", "b"), recorded)

    @pytest.mark.parametrize(("limited", "parts"), [(0, 1), (1_000, 1), (1_200, 2)])
    def test_both_series_of_throttling_count_as_samples(self, limited: int, parts: int) -> None:
        assert len(plan({"a": [Span(at(1), at(288))]}, {"a": Load(1_200, 10, limited)})) == parts

    @pytest.mark.parametrize(
        ("first", "last", "cut"),
        [
            (1, 288, [(1, 288)]),
            (0, 288, [(1, 288), (0, 0)]),
            (1, 289, [(289, 289), (1, 288)]),
            (100, 700, [(577, 700), (289, 576), (100, 288)]),
            (288, 288, [(288, 288)]),
        ],
        ids=["a day", "its midnight before", "a slot of the next", "three days", "a midnight"],
    )
    def test_days_are_cut_apart(self, first: int, last: int, cut: list[tuple[int, int]]) -> None:
        found = plan({"a": [Span(at(first), at(last))]}, {"a": load()})
        assert [one.span for one in found] == [Span(at(start), at(end)) for start, end in cut]

    @pytest.mark.parametrize(
        ("days_ago", "cut"),
        [
            (0, [(-1, 0), (-8, -1), (-14, -8)]),
            (1, [(0, 1), (-1, 0), (-8, -1), (-14, -8)]),
            (2, [(1, 2), (-1, 1), (-8, -1), (-14, -8)]),
            (7, [(6, 7), (-1, 6), (-8, -1), (-14, -8)]),
            (8, [(7, 8), (6, 7), (-1, 6), (-8, -1), (-14, -8)]),
        ],
    )
    def test_what_is_older_than_yesterday_is_cut_at_weeks(self, days_ago: int, cut: list[tuple[int, int]]) -> None:
        """MIDNIGHT is a day after a week of unix time has begun."""
        span = Span(at(1 - 14 * DAY_SLOTS), at(days_ago * DAY_SLOTS))
        found = plan({"a": [span]}, {"a": load()}, now=at(days_ago * DAY_SLOTS))
        # Days since MIDNIGHT: after the first and up to the last.
        assert [((one.span.start - 300 - MIDNIGHT) / DAY_SECONDS, (one.span.end - MIDNIGHT) / DAY_SECONDS) for one in found] == cut

    def test_what_is_new_is_not_cut_at_midnight(self) -> None:
        span = Span(at(DAY_SLOTS - 1), at(DAY_SLOTS + 1))
        assert [one.span for one in plan({"a": [span]}, {"a": load()}, now=at(DAY_SLOTS + 1))] == [span]

    def test_as_many_namespaces_as_the_values_allow(self) -> None:
        span = Span(at(1), at(288))
        names = [f"n{number}" for number in range(5)]
        series = MOST_VALUES // 288 // 2
        found = plan({name: [span] for name in names}, {name: load(series, 300) for name in names})
        assert [one.namespaces for one in found] == [("n0", "n1"), ("n2", "n3"), ("n4",)]

    def test_as_many_namespaces_as_the_samples_allow(self) -> None:
        span = Span(at(1), at(288))
        names = [f"n{number}" for number in range(4)]
        found = plan({name: [span] for name in names}, {name: load(1_500, 10) for name in names})
        assert [one.namespaces for one in found] == [(name,) for name in names]

    def test_a_large_namespace_is_cut_by_time(self) -> None:
        found = plan({"a": [Span(at(1), at(288))]}, {"a": load(MOST_VALUES // 72, 300)})
        assert [one.span.slots for one in found] == [72] * 4

    def test_one_that_is_too_large_for_a_slot_is_asked_for_by_slots(self) -> None:
        found = plan({"a": [Span(at(1), at(3))], "b": [Span(at(1), at(3))]}, {"a": load(2 * MOST_VALUES), "b": load()})
        assert [(one.namespaces, one.span.slots) for one in found] == [(("a",), 1), (("b",), 3), (("a",), 1), (("a",), 1)]


class TestThrottlingSpan:
    @pytest.mark.parametrize(
        ("first", "last", "throttling"),
        [
            (1, 2, None),
            (11, 11, None),
            (12, 12, (1, 12)),
            (11, 12, (1, 12)),
            (12, 13, (1, 12)),
            (13, 14, None),
            (7, 14, (1, 12)),
            (1, 12, (1, 12)),
            (7, 18, (1, 18)),
            (1, 288, (1, 288)),
            (14, 288, (13, 288)),
        ],
    )
    def test_whole_hours_of_short_spans_and_all_of_long_ones(self, first: int, last: int, throttling: tuple[int, int] | None) -> None:
        found = throttling_span(Span(at(first), at(last)), newest=at(last + 100))
        assert found == (None if throttling is None else Span(at(throttling[0]), at(throttling[1])))

    @given(st.lists(st.integers(1, 30), min_size=1, max_size=20))
    def test_however_a_time_is_cut_all_whole_hours_of_it_are_read(self, lengths: list[int]) -> None:
        read: set[int] = set()
        first = 1
        for length in lengths:
            span = throttling_span(Span(at(first), at(first + length - 1)), newest=at(1_000))
            read.update(range(span.start, span.end + 1, SLOT_SECONDS) if span is not None else ())
            first += length
        assert read >= {at(slot) for slot in range(1, (first - 1) // 12 * 12 + 1)}

    def test_refreshes_read_each_hour_once_when_its_last_slot_is_complete(self) -> None:
        late = LATE_SECONDS // SLOT_SECONDS
        found = {newest: throttling_span(Span(at(newest - late), at(newest)), newest=at(newest)) for newest in range(20, 60)}
        read = {newest: (span.start, span.end) for newest, span in found.items() if span is not None}
        assert read == {hour + late: (at(hour - 11), at(hour)) for hour in (24, 36, 48)}


class TestHalve:
    def test_by_namespaces_first(self) -> None:
        assert halve(question("a", "b", "c")) == (question("a"), question("b", "c"))

    def test_then_by_time_newer_first(self) -> None:
        assert halve(question("a", first=1, last=3)) == (question("a", first=2, last=3), question("a", first=1, last=1))

    def test_each_half_keeps_its_limited_namespaces(self) -> None:
        halves = halve(replace(question("a", "b", "c"), limited=("a", "c")))
        assert halves is not None
        assert [(half.namespaces, half.limited) for half in halves] == [(("a",), ("a",)), (("b", "c"), ("c",))]

    def test_a_slot_of_one_namespace_cannot_be_halved(self) -> None:
        assert halve(question("a", first=7, last=7)) is None

    @given(st.integers(1, 30), st.integers(0, 400), st.integers(1, 400))
    def test_halves_cover_the_whole_once(self, namespaces: int, first: int, slots: int) -> None:
        whole = question(*(f"n{number}" for number in range(namespaces)), first=first, last=first + slots - 1)
        halves = halve(whole)
        assert (halves is None) == (namespaces == slots == 1)
        if halves is not None:
            assert asked(halves) == asked([whole])


def asked(made: list[Question] | tuple[Question, ...]) -> Counter[tuple[str, int]]:
    return Counter(
        (name, slot) for one in made for name in one.namespaces for slot in range(one.span.start, one.span.end + 1, SLOT_SECONDS)
    )


@pytest.mark.parametrize(("left_out", "left"), [([], ("a", "b")), (["a"], ("b",)), (["a", "b", "c"], ())])
def test_without(left_out: list[str], left: tuple[str, ...]) -> None:
    assert question("a", "b").without(left_out) == question(*left)
    found = replace(question("a", "b"), limited=("b",), recorded=("a",)).without(left_out)
    assert (found.limited, found.recorded) == (tuple(name for name in left if name == "b"), tuple(name for name in left if name == "a"))


@st.composite
def missing_spans(draw: st.DrawFn) -> list[Span]:
    """Spans of up to three days with gaps between them, newest first."""
    edges = sorted(draw(st.lists(st.integers(0, 864), min_size=2, max_size=6, unique=True)))
    pairs = [(edges[index], edges[index + 1] - 1) for index in range(0, len(edges) - 1, 2)]
    return [Span(at(first), at(last)) for first, last in reversed(pairs)]


@given(
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.tuples(missing_spans(), st.builds(Load, st.integers(1, 60_000), st.sampled_from([10, 30, 60]), st.integers(0, 60_000))),
        min_size=1,
    )
)
def test_every_missing_slot_is_asked_for_once_within_the_bounds_newest_first(given_: dict[str, tuple[list[Span], Load]]) -> None:
    missing = {name: spans for name, (spans, _) in given_.items()}
    loads = {name: load for name, (_, load) in given_.items()}
    made = plan(missing, loads)
    wanted = Counter((name, slot) for name, spans in missing.items() for span in spans for slot in range(span.start, span.end + 1, 300))
    assert asked(made) == wanted
    ends = [one.span.end for one in made]
    assert ends == sorted(ends, reverse=True)
    for one in made:
        assert {loads[name].scrape_interval_seconds for name in one.namespaces} == {one.scrape_interval_seconds}
        assert len(one.namespaces) == len(set(one.namespaces)) >= 1
        assert one.limited == tuple(name for name in one.namespaces if loads[name].limited)
        if one.span.slots == len(one.namespaces) == 1:
            continue
        series, limited = (sum(getattr(loads[name], each) for name in one.namespaces) for each in ("series", "limited"))
        throttling = throttling_span(one.span, newest=one.span.end + LATE_SECONDS)
        for count, slots in ((series, one.span.slots), (2 * limited, throttling.slots if throttling else 0)):
            assert count * (slots * SLOT_SECONDS // one.scrape_interval_seconds + 1) <= MOST_SAMPLES
        assert series * one.span.slots <= MOST_VALUES
        assert limited * (throttling.slots if throttling else 0) <= MOST_VALUES
