from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rightsizer.evidence.replay import Cause, Course, State, beginning, replay
from rightsizer.evidence.sizing import Sizing, sizing_of
from rightsizer.methods.levels import Maximum, Percentile, WeightedPercentile
from rightsizer.methods.pace import FAST_MARGIN, NEAR_LIMIT, Pace
from rightsizer.profile import DEFAULT_RULE, LimitPolicy, LimitRule
from rightsizer.workload import ResourceName
from tests.unit.plain_walk import walked

NAN = float("nan")
MI = 2**20
HOUR = 3_600
Table = np.ndarray[tuple[int, int], np.dtype[np.float32]]

QUICK = Pace(
    raise_after_seconds=HOUR, lower_after_seconds=2 * HOUR, minimum_change=0.1, raise_change=0.2, lower_every_seconds=3 * HOUR, fast=True
)
SLOW = replace(QUICK, fast=False, hold_seconds=2 * HOUR)
CPU = Sizing("cpu", Maximum(24), 1.2, LimitRule(ratio=2.0), 24)
MEMORY = Sizing("memory", Percentile(0.5, 24), 1.2, LimitRule(ratio=1.5, max_ratio=2.0), 24)


def constant(level: float, slots: int = 36) -> Table:
    return np.full((1, slots), level, dtype=np.float32)


def run(usage: Table, sizing: Sizing = CPU, pace: Pace = QUICK, **options: Any) -> Course:
    return replay(usage, sizing, pace, first_slot=1, **options)[0]


def moves(course: Course, row: int = 0) -> list[Any]:
    """Column, cause and request of each decision."""
    return [(column, Cause(course.causes[row, column]), course.requests[row, column]) for column in np.flatnonzero(course.causes[row])]


def test_the_first_decision_is_made_when_enough_was_seen() -> None:
    course = run(constant(100))
    assert moves(course) == [(11, Cause.FIRST, pytest.approx(120))]
    assert np.isnan(course.requests[0, :11]).all()
    assert course.limits[0, 11:].tolist() == pytest.approx([240] * 25)


@pytest.mark.parametrize(("first_slot", "column"), [(1, 11), (0, 12), (7, 17), (12, 12)])
def test_hours_are_those_of_the_clock(first_slot: int, column: int) -> None:
    course, _ = replay(constant(100), CPU, replace(QUICK, raise_after_seconds=HOUR), first_slot=first_slot)
    assert moves(course)[0][0] == column


@pytest.mark.parametrize(
    ("gap", "first"),
    [
        (slice(0, 0), 11),
        (slice(0, 5), 23),  # the history begins with the first value
        (slice(1, 8), 23),  # less than half of the first hour is there
        (slice(9, 16), 23),  # nothing in the last 15 minutes of the first hour
        (slice(10, 11), 11),
    ],
)
def test_what_keeps_the_first_decision_back(gap: slice, first: int) -> None:
    usage = constant(100)
    usage[0, gap] = NAN
    assert moves(run(usage))[0][0] == first


def test_nothing_is_decided_without_any_value() -> None:
    course, state = replay(constant(NAN), MEMORY, QUICK, first_slot=1)
    assert moves(course) == []
    assert np.isnan(state.requests).all()


def test_usage_that_rises_slowly_is_followed_at_full_hours_from_twice_the_minimum_change_on() -> None:
    usage = constant(100, 60)
    usage[0, 12:], usage[0, 24:] = 115, 119.9
    assert [move[:2] for move in moves(run(usage))] == [(11, Cause.FIRST)]
    usage[0, 36:] = 120.0
    # 120 is not above the request of 120: no haste.
    assert moves(run(usage))[1:] == [(47, Cause.RAISED, pytest.approx(144))]


def test_two_values_above_the_request_raise_it_at_once_and_one_does_not() -> None:
    usage = constant(100, 48)
    usage[0, 14] = 300
    sizing = replace(CPU, estimator=Percentile(0.5, 24))
    assert len(moves(run(usage, sizing))) == 1
    usage[0, 15] = 200
    assert moves(run(usage, sizing))[1] == (15, Cause.ABOVE_REQUEST, pytest.approx(300 * FAST_MARGIN))
    assert len(moves(run(usage, sizing, SLOW))) == 1


def test_one_value_far_above_the_request_is_enough_where_the_pace_says_so() -> None:
    usage = constant(100, 48)
    usage[0, 14] = 181
    sizing = replace(CPU, estimator=Percentile(0.5, 24))
    found = moves(run(usage, sizing, replace(QUICK, far_above=1.5)))
    assert found[1] == (14, Cause.ABOVE_REQUEST, pytest.approx(181 * FAST_MARGIN))


def test_a_gap_between_two_values_above_the_request_is_no_haste() -> None:
    usage = constant(100, 24)
    usage[0, 14], usage[0, 15], usage[0, 16] = 300, NAN, 300
    assert len(moves(run(usage, replace(CPU, estimator=Percentile(0.5, 24))))) == 1


def test_lowering_waits_for_its_history_and_then_for_its_turn() -> None:
    usage = constant(100, 120)
    usage[0, 2:], usage[0, 60:] = 80, 40
    course = run(usage)
    # After two hours 100 has left the window of two hours; then, after three hours, another step may be made.
    lowered: list[Any] = [(column, request) for column, cause, request in moves(course) if cause is Cause.LOWERED]
    assert lowered == [(35, pytest.approx(96)), (83, pytest.approx(48))]


def test_lowering_is_at_most_every_so_often() -> None:
    usage = constant(1000, 24 * 12)
    for hour in range(24):
        usage[0, hour * 12 : hour * 12 + 12] = 1000 * 0.8**hour
    sizing = replace(CPU, estimator=Maximum(12))
    lowered = [column for column, cause, _ in moves(run(usage, sizing)) if cause is Cause.LOWERED]
    assert np.diff(lowered).tolist() == [36] * (len(lowered) - 1)
    assert len(lowered) == 8


def test_a_hold_lowers_to_the_largest_target_of_its_time() -> None:
    usage = constant(100, 96)
    usage[0, 24:] = 50
    sizing = replace(CPU, estimator=Maximum(12))
    free, held = (moves(run(usage, sizing, replace(SLOW, hold_seconds=hold)))[1][0] for hold in (0, 2 * HOUR))
    assert (free, held) == (35, 59)


def test_what_was_raised_at_once_settles_before_it_is_lowered() -> None:
    usage = constant(100, 96)
    usage[0, 37:39] = 400
    sizing = replace(CPU, estimator=Percentile(0.5, 24))
    found = {settle: moves(run(usage, sizing, replace(QUICK, settle_seconds=settle * HOUR)))[2] for settle in (0, 2)}
    assert [move[:2] for move in found.values()] == [(47, Cause.LOWERED), (71, Cause.LOWERED)]


def test_memory_near_its_limit_is_raised_under_every_strategy() -> None:
    usage = constant(100 * MI, 24)
    usage[0, 13:15] = 180 * MI * NEAR_LIMIT + MI  # the limit is 1.5 x 120Mi
    usage[0, 13] -= 2 * MI
    for pace in (QUICK, SLOW):
        course = run(usage, MEMORY, pace)
        assert moves(course)[1][:2] == (14, Cause.NEAR_LIMIT)
        assert course.requests[0, 14] == pytest.approx(usage[0, 14] * FAST_MARGIN)
        assert course.limits[0, 14] > usage[0, 14] * 1.5
    usage[0, 13] -= 20 * MI
    assert run(usage, MEMORY, SLOW).requests[0, 14] == pytest.approx(usage[0, 14] + 4 * 22 * MI)
    usage[0, 13] = NAN
    assert run(usage, MEMORY, SLOW).requests[0, 14] == pytest.approx(usage[0, 14] * FAST_MARGIN)


def test_cpu_near_its_limit_is_throttled_and_not_raised_alone() -> None:
    usage = constant(100, 24)
    usage[0, 14] = 239
    assert len(moves(run(usage, replace(CPU, estimator=Percentile(0.5, 24))))) == 1


def test_a_kill_leaves_a_floor_for_as_long_as_the_window() -> None:
    usage = constant(400 * MI, 96)
    usage[0, 14] = 800 * MI  # the limit is 1.5 x 480Mi = 720Mi
    course = run(usage, MEMORY)
    assert moves(course)[1][:2] == (14, Cause.OOM_KILL)
    assert course.requests[0, 14] == pytest.approx(800 * MI * 2)  # it climbs
    assert course.limits[0, 14] >= 720 * MI * 1.2
    # Until the kill leaves the window of 2 hours, the limit may not fall below 1.2 x 800Mi, which is twice a request of 480Mi.
    assert course.requests[0, 23:38].min() >= 480 * MI
    forgetful = run(usage, replace(MEMORY, learns_from_kills=False))
    assert moves(forgetful)[1][:2] == (14, Cause.NEAR_LIMIT)


def test_the_limit_follows_the_peak_without_the_request() -> None:
    usage = constant(100 * MI, 60)
    usage[0, 13] = 104 * MI
    sizing = replace(MEMORY, estimator=Percentile(0.5, 24))
    course = run(usage, sizing)
    assert course.limits[0, [12, 23]].tolist() == pytest.approx([180 * MI, 208 * MI])
    assert course.requests[0, 12:24].tolist() == pytest.approx([120 * MI] * 12)
    # It is not lowered alone, and where a change restarts pods not raised either.
    assert course.limits[0, -1] == pytest.approx(208 * MI)
    assert run(usage, sizing, SLOW).limits[0, -1] == pytest.approx(180 * MI)


def test_the_request_leaves_room_for_a_limit_that_holds_the_peak() -> None:
    usage = constant(100 * MI, 60)
    usage[0, 5] = 300 * MI
    course = run(usage, replace(MEMORY, estimator=Percentile(0.5, 24)))
    assert course.requests[0, 11] == pytest.approx(300 * MI * 1.2 / 2)
    assert course.limits[0, 11] == pytest.approx(300 * MI * 1.2)
    assert course.requests[0, 47] == pytest.approx(120 * MI)  # two hours later it has left the window


@pytest.mark.parametrize(
    ("rule", "expected"), [(LimitRule(LimitPolicy.NONE), NAN), (LimitRule(LimitPolicy.KEEP), NAN), (LimitRule(ratio=3.0), 360.0)]
)
def test_limits_by_policy(rule: LimitRule, expected: float) -> None:
    assert run(constant(100), replace(CPU, limit=rule)).limits[0, -1] == pytest.approx(expected, nan_ok=True)


def test_bounds_and_the_least_that_is_asked_for() -> None:
    assert run(constant(100), replace(CPU, minimum=300.0)).requests[0, -1] == 300
    assert run(constant(100), replace(CPU, maximum=50.0)).requests[0, -1] == 50
    assert run(constant(0), CPU).requests[0, -1] == pytest.approx(0.1)
    assert run(constant(0), MEMORY).requests[0, -1] == MI


@pytest.mark.parametrize("bounded", [True, False])
def test_the_sizing_of_a_profiles_rule(bounded: bool) -> None:
    rule = replace(DEFAULT_RULE.cpu, statistic="p95", half_life_seconds=None)
    found = sizing_of("cpu", rule, window_seconds=7 * 86_400, bounded=bounded)
    assert (found.estimator, found.factor, found.window) == (Percentile(0.95, 2016), 1.2, 2016)
    assert (found.minimum, found.maximum) == ((10, 16_000) if bounded else (0, math.inf))


LEVELS = st.sampled_from([NAN, 0.0, 40.0, 50.0, 60.0, 90.0, 100.0, 130.0, 200.0, 700.0])
USAGE = st.lists(st.tuples(LEVELS, st.integers(1, 30)), min_size=3, max_size=12).map(
    lambda spells: np.array([[level for level, length in spells for _ in range(length)]], dtype=np.float32)
)
PACES = st.sampled_from([QUICK, SLOW, replace(QUICK, settle_seconds=HOUR, far_above=1.3), replace(SLOW, hold_seconds=0)])
SIZINGS = st.sampled_from(
    [CPU, MEMORY, replace(MEMORY, learns_from_kills=False), replace(CPU, estimator=WeightedPercentile(0.9, 24, 6, by_load=True))]
)


def scaled(usage: Table, sizing: Sizing) -> Table:
    return usage * np.float32(MI) if sizing.resource == "memory" else usage


@given(usage=USAGE, sizing=SIZINGS, pace=PACES)
@settings(max_examples=150, deadline=None)
def test_it_is_what_a_plain_walk_gives(usage: Table, sizing: Sizing, pace: Pace) -> None:
    usage = scaled(usage, sizing)
    course = run(usage, sizing, pace)
    expected = np.array(walked(usage[0].astype(float).tolist(), sizing, pace))
    np.testing.assert_allclose(course.requests[0], expected[:, 0], rtol=1e-6)
    np.testing.assert_allclose(course.limits[0], expected[:, 1], rtol=1e-6)
    assert course.causes[0].tolist() == expected[:, 2].tolist()


@given(usage=USAGE, sizing=SIZINGS, pace=PACES, share=st.floats(0.1, 0.9))
@settings(max_examples=60, deadline=None)
def test_cutting_the_usage_short_changes_nothing_before_the_cut(usage: Table, sizing: Sizing, pace: Pace, share: float) -> None:
    usage = scaled(usage, sizing)
    cut = max(int(usage.shape[1] * share), 1)
    whole, short = run(usage, sizing, pace), run(usage[:, :cut], sizing, pace)
    for item in fields(Course):
        assert np.array_equal(getattr(whole, item.name)[:, :cut], getattr(short, item.name), equal_nan=True)


@given(usage=USAGE, sizing=SIZINGS, pace=PACES, share=st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_going_on_later_is_the_same_as_going_through(usage: Table, sizing: Sizing, pace: Pace, share: float) -> None:
    usage = scaled(usage, sizing)
    begin = int(usage.shape[1] * share)
    whole, end = replay(usage, sizing, pace, first_slot=1)
    _, state = replay(usage[:, :begin], sizing, pace, first_slot=1)
    # As much of the past as the rule's window, and not a value more, with the slots counted on.
    kept = max(begin - sizing.window, 0)
    rest, last = replay(usage[:, kept:], sizing, pace, first_slot=1 + kept, begin=begin - kept, state=state)
    for item in fields(Course):
        assert np.allclose(getattr(rest, item.name), getattr(whole, item.name)[:, begin:], rtol=1e-12, equal_nan=True)
    for item in fields(State):
        assert np.allclose(getattr(last, item.name), getattr(end, item.name), rtol=1e-12, equal_nan=True)


def test_rows_do_not_disturb_each_other() -> None:
    random = np.random.default_rng(3)
    usage = (random.gamma(2.0, 50.0, (7, 200)) * MI).astype(np.float32)
    together = run(usage, MEMORY)
    for row in range(7):
        alone = run(usage[row : row + 1], MEMORY)
        assert np.array_equal(alone.requests[0], together.requests[row], equal_nan=True)


@pytest.mark.parametrize("resource", ["cpu", "memory"])
def test_no_rows_and_no_columns(resource: ResourceName) -> None:
    sizing = CPU if resource == "cpu" else MEMORY
    assert run(np.empty((0, 24), dtype=np.float32), sizing).requests.shape == (0, 24)
    course, state = replay(np.empty((2, 0), dtype=np.float32), sizing, SLOW, first_slot=1)
    assert course.requests.shape == (2, 0)
    assert state.held.shape == beginning(2, SLOW).held.shape
