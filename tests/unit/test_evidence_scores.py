from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rightsizer.evidence.replay import Cause, Course
from rightsizer.evidence.rules import standing
from rightsizer.evidence.scores import Scores, in_force, joined, score, start_of_judging

NAN = float("nan")
DAY = 288
Table = np.ndarray[tuple[int, int], np.dtype[np.float32]]


def usage(*spells: tuple[float, int]) -> Table:
    return np.array([[level for level, slots in spells for _ in range(slots)]], dtype=np.float32)


def judged(values: Table, *, request: float = 100, limit: float = 200, start: int = 0, **options: Any) -> Scores:
    """By sizes that stay, known from the slot before `start` on."""
    wide = np.concatenate([np.full((len(values), 1), NAN, dtype=np.float32), values], axis=1)
    course = standing(np.full(len(values), float(request)), np.full(len(values), float(limit)), columns=wide.shape[1])
    lengths = np.full(len(values), wide.shape[1])
    return score(wide, course, starts=np.full(len(values), start + 1), lengths=lengths, **options)


def decided(values: Table, requests: list[tuple[float, int]], causes: dict[int, Cause]) -> Scores:
    """By requests decided slot by slot, with twice as much for the limit."""
    sizes = np.array([[level for level, slots in requests for _ in range(slots)]])
    numbers = np.zeros(sizes.shape, dtype=np.uint8)
    for column, cause in causes.items():
        numbers[0, column] = cause
    course = Course(sizes, sizes * 2, numbers)
    return score(values, course, starts=np.array([0]), lengths=np.array([values.shape[1]]))


@pytest.mark.parametrize(
    ("values", "figure", "expected"),
    [
        (usage((50, DAY)), "slack", 0.5),
        (usage((50, DAY), (80, DAY)), "slack", 0.35),
        (usage((150, DAY)), "slack", -0.5),
        (usage((50, DAY), (NAN, DAY)), "slack", 0.5),
        (usage((50, DAY), (NAN, DAY - 11), (99, 11)), "slack", 0.5),  # less than an hour of values is no day
        (usage((50, DAY), (NAN, DAY - 12), (80, 12)), "slack", 0.35),
        (usage((NAN, DAY)), "slack", NAN),
        (usage((NAN, DAY)), "oom_events", NAN),
        (usage((50, 10)), "footprint", 2),
        (usage((50, 10), (NAN, 10)), "footprint", 2),
        (usage((0, 10)), "footprint", NAN),
        (usage((50, 90), (101, 10)), "above", 0.1),
        (usage((100, 90), (NAN, 90), (101, 10)), "above", 0.1),
        (usage((50, 90), (150, 10)), "unmet", 500 / 6000),
        (usage((0, 90)), "unmet", NAN),
        (usage((50, 98), (200, 1), (201, 1)), "above_limit", 0.01),
        (usage((50, 10)), "queued", 0),
        (usage((100, 10), (300, 1), (100, 10)), "queued", 100 / 2300),
        (usage((100, 10), (300, 1), (150, 1), (100, 10)), "queued", 150 / 2450),  # 100 wait, then 50 of the next
        (usage((100, 10), (300, 1), (NAN, 1), (250, 1)), "queued", 150 / 1550),
        (usage((100, 10), (250, 3), (100, 1)), "oom_events", 1),
        (usage((100, 10), (250, 1), (100, 1), (250, 1), (100, 3), (250, 1)), "oom_events", 2),
        (usage((100, 10), (250, 1), (100, 5), (250, 1)), "oom_events", 2),
        (usage((100, 10), (250, 1), (100, 4), (250, 1)), "oom_events", 1),
        (usage((100, DAY), (250, 1), (100, DAY - 1), (100, DAY), (NAN, DAY)), "oom_free", 2 / 3),
        (usage((100, DAY)), "oom_free", 1),
        (usage((100, DAY)), "changes", 0),
        (usage((100, DAY)), "quiet", 1),
        (usage((50, DAY)), "reaction", NAN),
        (usage((50, 10), (150, 12), (100, 10)), "reaction", 12 * 300),
        (usage((50, 10), (150, 11), (100, 10)), "reaction", NAN),  # not for an hour
        (usage((50, 10), (150, 12), (100, 10), (150, 20)), "reaction", 16 * 300),
        (usage((50, DAY * 2)), "days", 2),
    ],
)
def test_one_figure(values: Table, figure: str, expected: float) -> None:
    assert getattr(judged(values), figure).tolist() == pytest.approx([expected], nan_ok=True)


def test_what_was_before_the_judging_does_not_count() -> None:
    found = judged(usage((150, DAY), (50, DAY)), start=DAY)
    assert (found.above[0], found.slack[0], found.days[0]) == (0, 0.5, 1)


def test_a_slot_is_judged_by_what_was_decided_before_it() -> None:
    assert in_force(np.array([[1.0, 2.0, 3.0]])).tolist() == [pytest.approx([NAN, 1, 2], nan_ok=True)]
    found = decided(usage((50, 10), (150, 10)), [(100, 10), (200, 10)], {0: Cause.FIRST, 10: Cause.RAISED})
    # Only the first slot of the jump: the request of its end covers the rest. Nothing is in force in slot 0.
    assert found.above.tolist() == [1 / 19]


def test_changes_are_counted_and_the_first_decision_is_none() -> None:
    causes = {0: Cause.FIRST, 5: Cause.RAISED, 290: Cause.LOWERED, 300: Cause.ABOVE_REQUEST}
    found = decided(usage((50, 3 * DAY)), [(100, 3 * DAY)], causes)
    assert found.changes.tolist() == [1]
    assert found.quiet.tolist() == pytest.approx([1 / 3])


def test_the_request_of_a_gap_counts_for_nothing() -> None:
    found = decided(usage((50, 144), (NAN, 144)), [(100, 144), (1000, 144)], {})
    assert found.slack.tolist() == pytest.approx([0.5])
    assert found.footprint.tolist() == pytest.approx([2.0])


def test_without_limits_nothing_is_above_them() -> None:
    found = judged(usage((150, DAY)), limit=NAN)
    assert np.isnan(found.above_limit).all()
    assert (found.oom_events[0], found.oom_free[0], found.queued[0]) == (0, 1, 0)


def test_throttled_slots_are_flagged() -> None:
    values = usage((50, 100))
    throttled = np.zeros((1, 101), dtype=np.float32)
    throttled[0, 1:11] = 0.5
    assert judged(values, throttled=throttled).censored.tolist() == [0.1]
    assert np.isnan(judged(values).censored).all()


def test_without_any_value_every_rate_is_unknown() -> None:
    found = judged(usage((NAN, DAY)))
    for figure in ("slack", "footprint", "above", "unmet", "above_limit", "queued", "oom_events", "oom_free", "reaction"):
        assert np.isnan(getattr(found, figure)).all(), figure


@pytest.mark.parametrize(("days", "expected"), [(1, 1), (9.9, 1), (10, 7), (30, 7)])
def test_when_judging_begins(days: float, expected: int) -> None:
    assert start_of_judging(np.array([round(days * DAY)])).tolist() == [expected * DAY]


def test_rows_begin_where_they_begin() -> None:
    values = np.concatenate([usage((150, DAY), (50, DAY), (80, DAY))] * 2)
    course = standing(np.array([100.0, 100.0]), np.array([200.0, 200.0]), columns=3 * DAY)
    found = score(values, course, starts=np.array([DAY, 2 * DAY]), lengths=np.array([2 * DAY, 3 * DAY]))
    assert found.slack.tolist() == pytest.approx([0.5, 0.2])
    assert found.above.tolist() == [0, 0]


def test_scores_of_blocks_are_joined() -> None:
    one, other = judged(usage((50, DAY))), judged(usage((80, DAY)))
    assert joined([one, other]).slack.tolist() == pytest.approx([0.5, 0.2])
