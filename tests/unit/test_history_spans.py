from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rightsizer.history import SLOT_SECONDS, Span
from rightsizer.history.spans import Spans, gaps, joined, not_before


def span(start: int, end: int) -> Span:
    return Span(start * SLOT_SECONDS, end * SLOT_SECONDS)


def spans(*pairs: tuple[int, int]) -> Spans:
    return tuple(span(*pair) for pair in pairs)


def slots(*found: Span) -> set[int]:
    return {slot for one in found for slot in range(one.start // SLOT_SECONDS, one.end // SLOT_SECONDS + 1)}


@pytest.mark.parametrize(
    ("read", "wanted", "missing"),
    [
        ([], (1, 9), [(1, 9)]),
        ([(1, 9)], (1, 9), []),
        ([(0, 20)], (1, 9), []),
        ([(1, 4)], (1, 9), [(5, 9)]),
        ([(5, 9)], (1, 9), [(1, 4)]),
        ([(4, 5)], (1, 9), [(6, 9), (1, 3)]),
        ([(1, 2), (8, 9)], (1, 9), [(3, 7)]),
        ([(2, 2), (4, 4), (6, 6)], (1, 7), [(7, 7), (5, 5), (3, 3), (1, 1)]),
        ([(0, 0), (10, 12)], (1, 9), [(1, 9)]),
        ([(0, 3), (7, 12)], (1, 9), [(4, 6)]),
        ([(3, 4)], (9, 9), [(9, 9)]),
        ([(3, 4)], (9, 8), []),
    ],
)
def test_what_is_missing_newest_first(read: list[tuple[int, int]], wanted: tuple[int, int], missing: list[tuple[int, int]]) -> None:
    assert gaps(spans(*read), span(*wanted)) == spans(*missing)


@pytest.mark.parametrize(
    ("read", "together"),
    [
        ([], []),
        ([(3, 4), (1, 2)], [(1, 4)]),
        ([(1, 9), (3, 4)], [(1, 9)]),
        ([(1, 2), (4, 5)], [(1, 2), (4, 5)]),
        ([(4, 5), (1, 2), (3, 3)], [(1, 5)]),
    ],
)
def test_spans_that_touch_become_one(read: list[tuple[int, int]], together: list[tuple[int, int]]) -> None:
    assert joined(spans(*read)) == spans(*together)


@pytest.mark.parametrize(("oldest", "left"), [(0, [(1, 2), (5, 9)]), (2, [(2, 2), (5, 9)]), (3, [(5, 9)]), (7, [(7, 9)]), (10, [])])
def test_what_is_too_old_drops_off(oldest: int, left: list[tuple[int, int]]) -> None:
    assert not_before(spans((1, 2), (5, 9)), oldest * SLOT_SECONDS) == spans(*left)


SPAN = st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda pair: span(pair[0], pair[0] + pair[1]))


@given(st.lists(SPAN, max_size=8), SPAN)
def test_read_and_missing_together_are_what_was_wanted(read: list[Span], wanted: Span) -> None:
    together = joined(read)
    missing = gaps(together, wanted)
    assert slots(*together) == slots(*read)
    assert slots(*missing) == slots(wanted) - slots(*read)
    assert list(missing) == sorted(missing, key=lambda one: one.start, reverse=True)
    assert not any(one.touches(other) for one, other in pairwise(together))
