"""Which slots are asked for, and asked for again because their samples may have come late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer.cycle.wanted import share_read, with_late, without
from rightsizer.history import SLOT_SECONDS, Span
from rightsizer.history.spans import Spans, gaps, joined

SLOTS = 100


def at(slot: int) -> int:
    return 1_000_000 * SLOT_SECONDS + slot * SLOT_SECONDS


def spans(*bounds: tuple[int, int]) -> Spans:
    return tuple(Span(at(first), at(last)) for first, last in bounds)


(WANTED,) = spans((1, SLOTS))


@pytest.mark.parametrize(
    ("missing", "newest_value", "expected"),
    [
        ([(100, 100)], 99, [(96, 100)]),
        ([(99, 100)], 98, [(96, 100)]),
        ([(100, 100)], 96, [(88, 100)]),
        ([(100, 100)], 97, [(96, 100)]),
        ([(100, 100)], 2, [(88, 100)]),
        ([(100, 100)], None, [(96, 100)]),
        ([(90, 100)], 89, [(86, 100)]),
        ([(91, 100)], 90, [(88, 100)]),
        ([(100, 100), (98, 98), (50, 60)], 99, [(96, 100), (50, 60)]),
        ([(100, 100), (90, 97)], 99, [(90, 100)]),
        ([(3, 100)], 2, [(1, 100)]),
        ([(1, 100)], None, [(1, 100)]),
        ([(50, 60)], 49, [(50, 60)]),
        ([], 100, []),
    ],
    ids=[
        "a new slot",
        "two new slots",
        "nothing newer came for more than 15 minutes",
        "nothing newer came for 15 minutes",
        "nothing newer came for long",
        "no values at all",
        "after a pause",
        "after a pause that a full refresh began",
        "what is missing within",
        "what is missing just before",
        "at the begin of the window",
        "nothing was read yet",
        "no slot is new",
        "nothing is missing",
    ],
)
def test_asked_for_in_a_full_refresh(missing: list[tuple[int, int]], newest_value: int | None, expected: list[tuple[int, int]]) -> None:
    value = None if newest_value is None else at(newest_value)
    assert with_late(spans(*missing), WANTED, newest_value=value) == spans(*expected)


@pytest.mark.parametrize(
    ("missing", "newest_value", "expected"),
    [
        ([(99, 99)], 98, [(99, 99)]),
        ([(99, 99)], None, [(99, 99)]),
        ([(99, 99)], 97, [(96, 99)]),
        ([(99, 99)], 96, [(96, 99)]),
        ([(99, 99)], 95, [(87, 99)]),
        ([(98, 99)], 97, [(94, 99)]),
        ([(99, 99), (50, 60)], 98, [(99, 99), (50, 60)]),
    ],
    ids=[
        "a new slot",
        "no values at all",
        "the slot before has no value yet",
        "nothing newer came for 15 minutes",
        "for more",
        "a full refresh was missed",
        "what is missing within",
    ],
)
def test_asked_for_in_between(missing: list[tuple[int, int]], newest_value: int | None, expected: list[tuple[int, int]]) -> None:
    (wanted,) = spans((1, 99))
    value = None if newest_value is None else at(newest_value)
    assert with_late(spans(*missing), wanted, newest_value=value) == spans(*expected)


@given(pauses=st.lists(st.integers(1, 20), min_size=1, max_size=30), behind=st.integers(0, 3))
def test_however_long_the_pauses_each_slot_is_read_again_when_it_is_old_enough(pauses: list[int], behind: int) -> None:
    """But what a later full refresh has to do. Also where samples are always so many slots late."""
    start = newest = at(0)
    read_at: dict[int, int] = {}
    for pause in pauses:
        missing, newest = Span(newest + SLOT_SECONDS, newest + pause * SLOT_SECONDS), newest + pause * SLOT_SECONDS
        newest_value = missing.start - (1 + behind) * SLOT_SECONDS
        for span in with_late((missing,), Span(start - SLOT_SECONDS, newest), newest_value=newest_value):
            read_at.update(dict.fromkeys(slots_of([span]), newest))
    full = newest // 600 * 600
    for slot in range(start + SLOT_SECONDS, newest + 1, SLOT_SECONDS):
        assert read_at[slot] - slot >= 900 or slot > full - 900


SLOT = st.integers(1, SLOTS)
SOME = st.lists(st.tuples(SLOT, SLOT).map(lambda pair: Span(at(min(pair)), at(max(pair)))), max_size=6)


def slots_of(some: Spans | list[Span]) -> set[int]:
    return {slot for span in some for slot in range(span.start, span.end + 1, SLOT_SECONDS)}


@given(read=SOME, newest_value=st.none() | SLOT.map(at))
def test_nothing_that_is_missing_is_forgotten_and_nothing_is_asked_twice(read: list[Span], newest_value: int | None) -> None:
    missing = gaps(joined(read), WANTED)
    asked = with_late(missing, WANTED, newest_value=newest_value)
    assert slots_of(missing) <= slots_of(asked) <= slots_of([WANTED])
    assert sum(span.slots for span in asked) == len(slots_of(asked))
    assert list(asked) == sorted(asked, key=lambda span: span.start, reverse=True)


@given(some=SOME, left_out=SOME)
def test_without_is_the_rest(some: list[Span], left_out: list[Span]) -> None:
    rest = without(joined(some)[::-1], left_out)
    assert slots_of(rest) == slots_of(some) - slots_of(left_out)
    assert list(rest) == sorted(rest, key=lambda span: span.start, reverse=True)


def test_share_read() -> None:
    assert share_read(spans((1, 20), (51, 60)), WANTED) == 0.7
    assert share_read((), WANTED) == 1.0
