from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rightsizer.cli.options import RULE_NAMES
from rightsizer.evidence.replay import replay
from rightsizer.evidence.rules import CURRENT, RULES, Current, learned, measured, rule_of, standing
from rightsizer.methods.pace import Pace
from rightsizer.profile import DEFAULT_RULE, RiskBudget
from rightsizer.workload import RESOURCES, ResourceName, Sizes

DAY = 288
MI = 2**20
PACE = Pace(86_400, 86_400, minimum_change=0.1, raise_change=0.2, lower_every_seconds=86_400, fast=True)

# Two days: 100 at night, 200 by day from slot 144 on, and one value of 400 in the last slot.
DAYS = np.array([([100.0] * 144 + [200.0] * 144) * 2], dtype=np.float32)
DAYS[0, -1] = 400
PEAKED = DAYS * np.float32(MI)


def wanted(name: str, resource: ResourceName) -> float:
    """The target at the end of the two days, in units of usage."""
    sizing = rule_of(name, window_seconds=14 * 86_400).sizing(resource)
    return float((sizing.estimator.levels(DAYS, np.array([575])) * sizing.factor)[0, 0])


@pytest.mark.parametrize(
    ("name", "cpu", "memory"),
    [
        ("mean+20", (150 + 200 / 576) * 1.2, (150 + 200 / 576) * 1.2),
        ("p95+20", 240, 480),
        ("p99+15", 230, 230),
        ("krr", 200, 460),
        ("vpa", 230, 460),
        ("autopilot", 224, 224),
        ("hour-of-day", 200 * 1.2, 200 * 1.3),
        ("max/0.65", 400 / 0.65, 400 / 0.65),
    ],
)
def test_what_each_rule_wants(name: str, cpu: float, memory: float) -> None:
    assert wanted(name, "cpu") == pytest.approx(cpu)
    assert wanted(name, "memory") == pytest.approx(memory)


def test_the_hour_of_the_day_sees_what_the_percentile_of_all_does_not() -> None:
    usage = np.full((1, 14 * DAY), 100.0, dtype=np.float32)
    for day in range(14):
        usage[0, day * DAY : day * DAY + 12] = 500  # one hour a day is 4 % of the time
    found = {
        name: rule_of(name, window_seconds=14 * 86_400).cpu.estimator.levels(usage, np.array([4031])) for name in ("p95+20", "hour-of-day")
    }
    assert (found["p95+20"][0, 0], found["hour-of-day"][0, 0]) == (100, 500)


def test_the_autopilots_window_weighs_by_load() -> None:
    usage = np.full((1, DAY), 10.0, dtype=np.float32)
    usage[0, -15:] = 1000  # 5 % of the time and nearly all of the work
    assert rule_of("autopilot", window_seconds=86_400).cpu.estimator.levels(usage, np.array([287])).tolist() == [[1000]]
    usage[0, :-3] = 10  # 1 % of the time and a third of the work
    assert rule_of("autopilot", window_seconds=86_400).memory.estimator.levels(usage, np.array([287])).tolist() == [[1000]]


def test_a_perfect_forecast_is_never_exceeded_and_knows_the_next_day_only() -> None:
    plan = rule_of("perfect", window_seconds=14 * 86_400)
    usage = np.concatenate([DAYS, np.full((1, 2 * DAY), 50, dtype=np.float32)], axis=1)
    levels = plan.cpu.estimator.levels(usage, np.array([0, 287, 575, 576]))
    assert levels.tolist() == [[200, 400, 50, 50]]
    course, _ = replay(usage, plan.cpu, plan.paced(PACE), first_slot=1)
    assert not (usage[0, 300:] > course.requests[0, 299:-1]).any()


def test_every_rule_but_the_perfect_one_keeps_the_pace() -> None:
    for name in RULES:
        paced = rule_of(name, window_seconds=86_400).paced(replace(PACE, hold_seconds=3_600))
        assert (paced.hold_seconds == 3_600) == (name != "perfect"), name


def test_only_the_vpa_learns_from_kills() -> None:
    learning = [name for name in RULES if rule_of(name, window_seconds=86_400).memory.learns_from_kills]
    assert learning == ["vpa"]


@pytest.mark.parametrize("name", list(RULES))
def test_all_have_the_same_limits(name: str) -> None:
    plan = rule_of(name, window_seconds=86_400)
    assert (plan.cpu.limit.ratio, plan.memory.limit.ratio, plan.memory.limit.max_ratio) == (2.0, 1.5, None)


@pytest.mark.parametrize("name", list(RULES))
def test_each_has_its_name_its_words_and_its_place_in_the_help(name: str) -> None:
    assert rule_of(name, window_seconds=86_400).name == name
    assert RULES[name].__doc__
    assert (*RULES, CURRENT) == RULE_NAMES


def test_measured_is_the_profiles_rule() -> None:
    plan = measured(DEFAULT_RULE, window_seconds=7 * 86_400, bounded=(True, False))
    assert (plan.name, plan.at_once) == ("Measured", False)
    assert (plan.cpu.minimum, plan.memory.minimum) == (DEFAULT_RULE.cpu.minimum, 0)
    assert plan.sizing("memory").limit == DEFAULT_RULE.memory.limit


def test_sizes_that_stand_are_the_same_in_every_slot() -> None:
    course = standing(np.array([5.0]), np.array([9.0]), columns=3)
    assert (course.requests.tolist(), course.limits.tolist()) == ([[5, 5, 5]], [[9, 9, 9]])
    assert not course.causes.any()


def test_the_sizes_in_force_by_name_and_a_request_that_is_left_out_is_the_limit() -> None:
    current = Current({"a": Sizes(100, 200, 5, None), "b": Sizes(None, 300, None, None)})
    found = {resource: current.replayed(resource, DAYS[[0, 0], :2], PACE, first_slot=1, names=["b", "a"]).course for resource in RESOURCES}
    assert (found["cpu"].requests.tolist(), found["cpu"].limits.tolist()) == ([[300, 300], [100, 100]], [[300, 300], [200, 200]])
    assert np.array_equal(found["memory"].requests[:, 0], [np.nan, 5], equal_nan=True)
    assert np.isnan(found["memory"].limits).all()


def test_a_guaranteed_pod_stays_so_under_both_methods() -> None:
    plan = measured(DEFAULT_RULE, window_seconds=86_400, guaranteed=True)
    learning = learned(DEFAULT_RULE, RiskBudget(), window_seconds=86_400, guaranteed=True)
    assert plan.cpu.guaranteed
    assert plan.memory.guaranteed
    assert learning.cpu.sizing.guaranteed
    assert learning.memory.sizing.guaranteed
