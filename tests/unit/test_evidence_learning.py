from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from rightsizer.evidence.lanes import LearnedState, Learning, conducts_of, forms_of
from rightsizer.evidence.learning import explained, replay_learned
from rightsizer.evidence.replay import Cause, Course
from rightsizer.evidence.rules import learned
from rightsizer.evidence.sizing import sizing_of
from rightsizer.methods.choice import Tally
from rightsizer.methods.levels import DAY_SLOTS
from rightsizer.methods.pace import pace_of
from rightsizer.methods.risk import GUARD
from rightsizer.profile import DAY_SECONDS, DEFAULT_RULE, LimitPolicy, LimitRule, Profile, RiskBudget
from rightsizer.workload import ResourceName

Table = np.ndarray[tuple[int, int], np.dtype[np.float32]]

MI = 2**20
WINDOW = 3 * DAY_SLOTS
PROFILE = Profile("test", "test", raise_after_seconds=DAY_SECONDS, lower_after_seconds=DAY_SECONDS)
PACE = pace_of(PROFILE, strategy="InPlace")
ROLLOUT = pace_of(PROFILE, strategy="Rollout")


def learning(resource: ResourceName, budget: float | None = None, **changes: Any) -> Learning:
    seconds = WINDOW * 300
    return Learning(replace(sizing_of(resource, DEFAULT_RULE.resource(resource), window_seconds=seconds, bounded=False), **changes), budget)


CPU, MEMORY = learning("cpu"), learning("memory")


def usage(days: float, *, level: float = 100.0, rows: int = 1) -> Table:
    return np.full((rows, round(days * DAY_SLOTS)), level, dtype=np.float32)


def noisy(rows: int, days: float, *, seed: int = 3) -> Table:
    random = np.random.default_rng(seed)
    values = random.gamma(8, 12, (rows, round(days * DAY_SLOTS))) * np.where(random.random((rows, round(days * DAY_SLOTS))) < 0.01, 4, 1)
    values[random.random(values.shape) < 0.05] = np.nan
    return values.astype(np.float32)


def scaled(values: Table, resource: ResourceName) -> Table:
    return values * np.float32(MI) if resource == "memory" else values


def run(values: Table, what: Learning = CPU, pace: Any = PACE, **options: Any) -> Course:
    return replay_learned(values, what, pace, first_slot=1, **options)[0]


def moves(course: Course, row: int = 0) -> list[Any]:
    return [(column, Cause(course.causes[row, column]), course.requests[row, column]) for column in np.flatnonzero(course.causes[row])]


def test_the_first_decision_is_the_steady_forms_after_a_day() -> None:
    course = run(usage(2))
    assert moves(course) == [(DAY_SLOTS - 1, Cause.FIRST, pytest.approx(104, abs=0.2))]
    assert course.limits[0, -1] == pytest.approx(2 * course.requests[0, -1])


def test_the_limit_of_memory_is_as_high_as_the_rule_allows() -> None:
    assert run(usage(2, level=100 * MI), MEMORY).limits[0, -1] == pytest.approx(2 * 103.5 * MI, rel=0.01)
    for policy in (LimitPolicy.NONE, LimitPolicy.KEEP):
        assert np.isnan(run(usage(2), learning("cpu", limit=LimitRule(policy))).limits).all()


def test_two_values_above_raise_at_once_and_more_so_after_many_raises() -> None:
    values = usage(3)
    values[0, 400:402], values[0, 424:426] = 150, 200
    found = [(column, request) for column, cause, request in moves(run(values)) if cause is Cause.ABOVE_REQUEST]
    assert found[0] == (401, pytest.approx(150 * 1.2))
    late = 2 ** (-24 / DAY_SLOTS)
    assert found[1] == (425, pytest.approx(200 * (1 + 0.2 * (1 + 2 * late)), rel=1e-3))


def test_a_single_value_far_above_is_enough() -> None:
    values = usage(2)
    values[0, 400], values[0, 450] = 180, 250
    assert [move[:2] for move in moves(run(values)) if move[1] is Cause.ABOVE_REQUEST] == [(450, Cause.ABOVE_REQUEST)]


def test_memory_that_climbs_is_raised_ahead_of_its_climb() -> None:
    values = usage(5, level=100 * MI)
    values[0, 1200:] = 130 * MI
    column, cause, request = moves(run(values, MEMORY))[1]
    assert (column, cause) == (1201, Cause.ABOVE_REQUEST)
    now = 103.5 * MI
    assert request == pytest.approx(130 * MI + 3 * (130 * MI - now), rel=0.02)


@pytest.mark.parametrize("kills", [None, 100.0])
def test_a_kill_leaves_a_floor_for_as_long_as_the_budget_says(kills: float | None) -> None:
    values = usage(9, level=400 * MI)
    values[0, 400] = 1000 * MI
    what = replace(MEMORY, kill_slots=RiskBudget(None, kills).kill_memory_seconds // 300)
    course = run(values, what)
    assert moves(course)[1][:2] == (400, Cause.OOM_KILL)
    # The limit was about 828Mi; 1.2 x 1000Mi is asked for, as twice the request.
    assert (course.requests[0, 1000:1200] >= 600 * MI).all()
    assert (course.requests[0, -1] >= 600 * MI * 0.99) == (kills is not None)


def test_a_kill_in_the_slot_of_a_decision_is_one_at_the_limit_before_it() -> None:
    values = usage(9, level=400 * MI)
    values[0, 407] = 1190 * MI  # the end of an hour; for this peak alone the request would be half of it
    assert (run(values, MEMORY).requests[0, 407:1000] >= 1190 * MI * 1.2 / 2).all()


@pytest.mark.parametrize("column", [298, 299, 300])
def test_a_jump_at_the_end_of_an_hour_is_raised_as_far_as_any_other(column: int) -> None:
    values = usage(2, level=20 * MI)
    # Twice of 25 hours is enough for the level: at 299 the hour by itself would ask for little more than what was used.
    values[0, 100], values[0, column:] = 39 * MI, 39 * MI
    place, cause, request = moves(run(values, MEMORY))[1]
    assert (place, cause, request) == (column, Cause.ABOVE_REQUEST, pytest.approx(78 * MI))


def test_rollout_raises_only_memory_near_its_limit_at_once() -> None:
    values = usage(2, level=100 * MI)
    values[0, 400:404] = 150 * MI
    assert [cause for _, cause, _ in moves(run(values, MEMORY, ROLLOUT)) if cause > Cause.LOWERED] == []
    values[0, 402] = 200 * MI
    assert Cause.NEAR_LIMIT in [cause for _, cause, _ in moves(run(values, MEMORY, ROLLOUT))]
    assert forms_of(CPU, ROLLOUT) == ("steady",)
    assert forms_of(CPU, PACE) == ("steady", "daily", "burst")


def test_the_margin_is_widened_by_what_is_above_and_narrowed_by_what_is_not() -> None:
    _, state = replay_learned(usage(4), CPU, PACE, first_slot=1)
    quiet = 3 * DAY_SLOTS
    assert state.margins[:, 0].tolist() == pytest.approx([0, 0, 0, -0.001 * 0.003 * quiet])
    values = usage(4)
    values[0, 700] = 150
    _, widened = replay_learned(values, CPU, PACE, first_slot=1)
    assert widened.margins[-1, 0] - state.margins[-1, 0] == pytest.approx(0.001)


def test_saved_budget_is_used_before_two_values_above_raise() -> None:
    values = usage(2)
    values[0, 400:460] = 150
    strict, loose = (moves(run(values, learning("cpu", budget))) for budget in (0.003, 0.03))
    assert strict[1][:2] == (401, Cause.ABOVE_REQUEST)
    # At 3 % it begins with 94 for a usage of 100, and may be above for six slots: the seventh raises it.
    assert loose[0] == (287, Cause.FIRST, pytest.approx(93.5, rel=0.01))
    assert loose[1] == (294, Cause.ABOVE_REQUEST, pytest.approx(110))


def test_the_daily_form_is_chosen_for_quiet_days_and_explained() -> None:
    values = np.repeat(np.array([[400, 400, 40, 40] * 4], dtype=np.float32), DAY_SLOTS, axis=1)
    what = Learning(replace(CPU.sizing, window=14 * DAY_SLOTS))
    course, state = replay_learned(values, what, PACE, first_slot=1)
    (text,) = explained(state, what, PACE)
    assert text.startswith("daily: ")
    assert "points cheaper than steady" in text
    assert "runner-up" in text
    assert course.requests[0, -DAY_SLOTS // 2 :].max() == pytest.approx(46, rel=0.02)


def test_who_overspends_gets_what_measured_would_give() -> None:
    values = usage(8)
    values[0, 300:1500:10] = 103
    values[0, 305:1500:50] = 160  # single values above the request raise nothing at once
    plain = run(values, replace(CPU, sizing=replace(CPU.sizing, factor=0.1)))
    above = (values[:, 1:1500] > plain.requests[:, :1499]).mean()
    assert above > GUARD * 0.003
    assert run(values).requests[0, 1450] == pytest.approx(103 * 1.2)


def test_a_third_raise_of_late_goes_further_still() -> None:
    values = usage(2)
    values[0, 400:402], values[0, 404:406], values[0, 408:410] = 150, 200, 330
    assert moves(run(values))[3] == (409, Cause.ABOVE_REQUEST, pytest.approx(330 * 1.99, rel=0.01))


def test_what_was_raised_at_once_settles_before_it_is_lowered() -> None:
    values = usage(2)
    values[0, 400:402] = 150
    assert [move[:2] for move in moves(run(values))[1:3]] == [(401, Cause.ABOVE_REQUEST), (419, Cause.LOWERED)]


def test_lowering_is_at_most_once_a_day() -> None:
    values = (1000 * 0.5 ** (np.arange(6 * DAY_SLOTS) / (DAY_SLOTS // 2)))[np.newaxis].astype(np.float32)
    lowered = {
        every: [column for column, cause, _ in moves(run(values, CPU, replace(PACE, lower_every_seconds=every))) if cause is Cause.LOWERED]
        for every in (0, DAY_SECONDS)
    }
    assert np.diff(lowered[DAY_SECONDS]).min() >= DAY_SLOTS
    assert len(lowered[0]) > len(lowered[DAY_SECONDS]) > 1


@pytest.mark.parametrize(("column", "raised"), [(400, True), (1200, False)])
def test_young_memory_is_raised_sooner(column: int, raised: bool) -> None:
    values = usage(5, level=100 * MI)
    values[0, column] = 130 * MI
    assert (Cause.ABOVE_REQUEST in [cause for _, cause, _ in moves(run(values, MEMORY))]) == raised


@pytest.mark.parametrize(("level", "request_mebibytes"), [(170, 340), (101, 103.5)])
def test_a_fast_raise_of_memory_is_at_most_twice_its_usage_and_at_least_a_tenth(level: float, request_mebibytes: float) -> None:
    values = usage(2, level=100 * MI)
    values[0, 400:402] = level * MI
    assert run(values, MEMORY).requests[0, 402] == pytest.approx(request_mebibytes * MI, rel=0.005)


def test_rollout_has_a_wider_margin_and_every_change_is_worth_the_profiles_minimum() -> None:
    assert run(usage(2), CPU, ROLLOUT).requests[0, -1] == pytest.approx(104 * 1.035, rel=0.002)
    picky = conducts_of(CPU, replace(PACE, minimum_change=0.5))
    assert {(one.raise_change, one.lower_change) for one in picky} == {(0.5, 0.5)}


def test_bounds_hold() -> None:
    assert run(usage(2), learning("cpu", minimum=300.0)).requests[0, -1] == 300
    assert run(usage(2), learning("cpu", maximum=50.0)).requests[0, -1] == 50
    assert run(usage(2, level=0.0)).requests[0, -1] == pytest.approx(0.1)


@pytest.mark.parametrize("pace", [PACE, ROLLOUT])
@pytest.mark.parametrize("resource", ["cpu", "memory"])
@pytest.mark.parametrize("budget", [None, 0.01])
def test_cutting_the_usage_short_changes_nothing_before_the_cut(resource: ResourceName, budget: float | None, pace: Any) -> None:
    values = scaled(noisy(4, 4), resource)
    what = learning(resource, budget)
    whole = run(values, what, pace)
    for cut in (DAY_SLOTS + 7, 2 * DAY_SLOTS, 3 * DAY_SLOTS - 1):
        short = run(values[:, :cut], what, pace)
        for item in fields(Course):
            np.testing.assert_allclose(getattr(short, item.name), getattr(whole, item.name)[:, :cut], rtol=1e-9)


@pytest.mark.parametrize("pace", [PACE, ROLLOUT])
@pytest.mark.parametrize("resource", ["cpu", "memory"])
def test_going_on_later_is_the_same_as_going_through(resource: ResourceName, pace: Any) -> None:
    values, what = scaled(noisy(4, 6, seed=8), resource), learning(resource, 0.01)
    whole, end = replay_learned(values, what, pace, first_slot=1)
    for begin in (0, DAY_SLOTS + 5, 4 * DAY_SLOTS, 5 * DAY_SLOTS + 17):
        _, state = replay_learned(values[:, :begin], what, pace, first_slot=1)
        kept = max(begin - WINDOW, 0)
        rest, last = replay_learned(values[:, kept:], what, pace, first_slot=1 + kept, begin=begin - kept, state=state)
        for item in fields(Course):
            np.testing.assert_allclose(getattr(rest, item.name), getattr(whole, item.name)[:, begin:], rtol=1e-9)
        for name, before in arrays(end).items():
            np.testing.assert_allclose(arrays(last)[name], before, rtol=1e-9, err_msg=name)


def arrays(state: LearnedState) -> dict[str, Any]:
    plain = {item.name: getattr(state, item.name) for item in fields(LearnedState) if item.name != "tally"}
    return plain | {f"tally.{item.name}": getattr(state.tally, item.name) for item in fields(Tally)}


@pytest.mark.parametrize("resource", ["cpu", "memory"])
def test_a_looser_budget_asks_for_less_in_the_mean(resource: ResourceName) -> None:
    values = scaled(noisy(12, 8, seed=1), resource)
    means = [np.nanmean(run(values, learning(resource, budget)).requests) for budget in (None, 0.003, 0.005, 0.01, 0.03)]
    assert (np.diff(means) <= 1e-9 * means[0]).all()


def test_rows_do_not_disturb_each_other() -> None:
    values = noisy(5, 3)
    together = run(values)
    for row in range(5):
        assert np.allclose(run(values[row : row + 1]).requests[0], together.requests[row], equal_nan=True)


@pytest.mark.parametrize("what", [CPU, MEMORY])
def test_no_rows_no_columns_and_no_values(what: Learning) -> None:
    assert run(np.empty((0, 24), dtype=np.float32), what).requests.shape == (0, 24)
    assert run(np.empty((2, 0), dtype=np.float32), what).requests.shape == (2, 0)
    assert np.isnan(run(usage(2, level=float("nan")), what).requests).all()


def test_the_plan_takes_bounds_and_budget_from_the_profile() -> None:
    plan = learned(DEFAULT_RULE, RiskBudget(0.01, 10.0), window_seconds=14 * DAY_SECONDS, bounded=(True, False))
    assert (plan.cpu.budget, plan.memory.budget) == (0.01, 0.01)
    assert (plan.cpu.sizing.minimum, plan.memory.sizing.minimum) == (10, 0)
    assert plan.memory.kill_slots == 100 * DAY_SLOTS
