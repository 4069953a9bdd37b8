"""Other rules than the profile's own, from their published descriptions, to be replayed and judged in the same way.

All get the same limits (CPU 2 x, memory 1.5 x the request): what is compared is the request. Buffers, windows and half-lives are theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from rightsizer.evidence.lanes import Learning
from rightsizer.evidence.learning import explained, replay_learned
from rightsizer.evidence.replay import Course, replay
from rightsizer.evidence.sizing import Sizing, sizing_of
from rightsizer.history import SLOT_SECONDS, Values
from rightsizer.methods.levels import (
    DAY_SLOTS,
    HOUR_SLOTS,
    DailyPeaks,
    Estimator,
    Held,
    HourOfDay,
    Maximum,
    Mean,
    Percentile,
    WeightedPercentile,
)
from rightsizer.methods.pace import Pace
from rightsizer.methods.ranking import Columns, Levels
from rightsizer.methods.statistics import Numbers
from rightsizer.profile import ContainerRule, LimitRule, RiskBudget
from rightsizer.workload import ResourceName, Sizes

CURRENT = "current"
CPU_LIMIT = LimitRule(ratio=2.0)
MEMORY_LIMIT = LimitRule(ratio=1.5)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was decided, and for each row how the method came to it; nothing where it is the same for all."""

    course: Course
    explanations: tuple[str, ...] = ()


class Rule(Protocol):
    """What can be replayed."""

    @property
    def name(self) -> str: ...

    def replayed(self, resource: ResourceName, values: Values, pace: Pace, *, first_slot: int, names: Sequence[str]) -> Replayed:
        """Its decisions over values (rows, slots) in millicores or bytes; slots are counted from 1970. `names`: whose the rows are."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rule wants of both resources. `at_once`: whether it is followed in every hour, without dead band or waiting."""

    name: str
    cpu: Sizing
    memory: Sizing
    at_once: bool = False

    def sizing(self, resource: ResourceName) -> Sizing:
        return self.cpu if resource == "cpu" else self.memory

    def replayed(self, resource: ResourceName, values: Values, pace: Pace, *, first_slot: int, names: Sequence[str]) -> Replayed:
        course, _ = replay(values, self.sizing(resource), self.paced(pace), first_slot=first_slot)
        return Replayed(course)

    def paced(self, pace: Pace) -> Pace:
        """The speeds at which the rule is followed."""
        if not self.at_once:
            return pace
        return replace(pace, minimum_change=0.0, raise_change=0.0, lower_every_seconds=0, hold_seconds=0, fast=False)


@dataclass(frozen=True, slots=True)
class LearnedPlan:
    """The method `Learned`: what it wants of both resources."""

    cpu: Learning
    memory: Learning
    name: str = "Learned"

    def replayed(self, resource: ResourceName, values: Values, pace: Pace, *, first_slot: int, names: Sequence[str]) -> Replayed:
        learning = self.cpu if resource == "cpu" else self.memory
        course, state = replay_learned(values, learning, pace, first_slot=first_slot)
        return Replayed(course, tuple(explained(state, learning, pace)))


@dataclass(frozen=True, slots=True)
class Current:
    """The sizes that are in force today, as if they always had been. A container without a request has none to be judged by."""

    sizes: Mapping[str, Sizes]
    name: str = CURRENT

    def replayed(self, resource: ResourceName, values: Values, pace: Pace, *, first_slot: int, names: Sequence[str]) -> Replayed:
        requests = _numbers(self.sizes[name].request(resource) for name in names)
        limits = _numbers(self.sizes[name].limit(resource) for name in names)
        # A request that is left out is set to the limit by the API server.
        return Replayed(standing(np.where(np.isnan(requests), limits, requests), limits, columns=values.shape[1]))


def _numbers(sizes: Iterable[int | None]) -> Numbers:
    return np.array([np.nan if size is None else size for size in sizes], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class NextDay:
    """The largest value of the next 24 hours: what nobody can know, to see what knowing it would be worth."""

    def levels(self, values: Values, ends: Columns) -> Levels:
        backwards = Maximum(DAY_SLOTS).levels(values[:, ::-1], np.arange(values.shape[1]))[:, ::-1]
        ahead = np.concatenate([backwards[:, 1:], np.full((len(values), 1), np.nan)], axis=1)
        return ahead[:, ends]


def measured(rule: ContainerRule, *, window_seconds: int, bounded: tuple[bool, bool] = (True, True), guaranteed: bool = False) -> Plan:
    """The method `Measured` with the rule of a profile. `bounded`: whether the bounds of CPU and memory count."""
    return Plan(
        "Measured",
        sizing_of("cpu", rule.cpu, window_seconds=window_seconds, bounded=bounded[0], guaranteed=guaranteed),
        sizing_of("memory", rule.memory, window_seconds=window_seconds, bounded=bounded[1], guaranteed=guaranteed),
    )


def learned(
    rule: ContainerRule,
    risk: RiskBudget,
    *,
    window_seconds: int,
    bounded: tuple[bool, bool] = (True, True),
    guaranteed: bool = False,
) -> LearnedPlan:
    """The method `Learned` with the bounds and limits of a rule, and the risk budget of its profile."""
    plan = measured(rule, window_seconds=window_seconds, bounded=bounded, guaranteed=guaranteed)
    budget, kill_slots = risk.time_above_request, risk.kill_memory_seconds // SLOT_SECONDS
    return LearnedPlan(Learning(plan.cpu, budget), Learning(plan.memory, budget, kill_slots))


def standing(requests: Numbers, limits: Numbers, *, columns: int) -> Course:
    """The course of sizes that stay as they are, such as those of today."""
    shape = len(requests), columns
    return Course(
        np.broadcast_to(requests[:, np.newaxis], shape), np.broadcast_to(limits[:, np.newaxis], shape), np.zeros(shape, dtype=np.uint8)
    )


def _plan(name: str, window: int, cpu: Estimator, memory: Estimator, factor: float, memory_factor: float | None = None) -> Plan:
    return Plan(
        name,
        Sizing("cpu", cpu, factor, CPU_LIMIT, window, learns_from_kills=False),
        Sizing("memory", memory, memory_factor or factor, MEMORY_LIMIT, window, learns_from_kills=False),
    )


def _mean(window: int) -> Plan:
    """The mean, plus 20 %."""
    return _plan("mean+20", window, Mean(window), Mean(window), 1.2)


def _p95(window: int) -> Plan:
    """The 95th percentile of CPU, the largest value of memory, plus 20 %."""
    return _plan("p95+20", window, Percentile(0.95, window), Maximum(window), 1.2)


def _p99(window: int) -> Plan:
    """Crane: the 99th percentile, plus 15 %."""
    return _plan("p99+15", window, Percentile(0.99, window), Percentile(0.99, window), 1.15)


def _krr(window: int) -> Plan:
    """KRR's simple strategy: the 95th percentile of CPU as it is, the largest value of memory plus 15 %, two weeks."""
    return _plan("krr", window, Percentile(0.95, window), Maximum(window), 1.0, 1.15)


def _vpa(window: int) -> Plan:
    """VerticalPodAutoscaler: the 90th percentile, decaying by half in 24 h, of CPU and of the daily peaks of memory, plus 15 %.

    A kill raises memory by 20 % or 100Mi. Its histogram's buckets of 5 % are left out, as are its bounds.
    """
    plan = _plan("vpa", window, WeightedPercentile(0.9, window, DAY_SLOTS), DailyPeaks(0.9, -(-window // DAY_SLOTS), 1.0), 1.15)
    return replace(plan, memory=replace(plan.memory, learns_from_kills=True))


def _autopilot(window: int) -> Plan:
    """Autopilot's moving window: p95 of CPU (half-life 12 h), p98 of memory (48 h), both by load, the last hour's largest, plus 12 %."""
    cpu = WeightedPercentile(0.95, window, 12 * HOUR_SLOTS, by_load=True)
    memory = WeightedPercentile(0.98, window, 48 * HOUR_SLOTS, by_load=True)
    return _plan("autopilot", window, Held(cpu, HOUR_SLOTS), Held(memory, HOUR_SLOTS), 1.12)


def _hour_of_day(window: int) -> Plan:
    """Attune: the largest of the 95th percentiles of the 24 hours of the day plus 20 %; the 99th percentile of memory plus 30 %."""
    return _plan("hour-of-day", window, HourOfDay(0.95, window), Percentile(0.99, window), 1.2, 1.3)


def _peak_share(window: int) -> Plan:
    """The largest value is 65 % of the request."""
    return _plan("max/0.65", window, Maximum(window), Maximum(window), 1 / 0.65)


def _perfect(window: int) -> Plan:
    """A perfect forecast of the next day's largest value, followed every hour."""
    return replace(_plan("perfect", window, NextDay(), NextDay(), 1.0), at_once=True)


RULES: Mapping[str, Callable[[int], Plan]] = {
    "mean+20": _mean,
    "p95+20": _p95,
    "p99+15": _p99,
    "krr": _krr,
    "vpa": _vpa,
    "autopilot": _autopilot,
    "hour-of-day": _hour_of_day,
    "max/0.65": _peak_share,
    "perfect": _perfect,
}
"""The rules to compare with, by name; each is made for a window of so many slots."""


def rule_of(name: str, *, window_seconds: int) -> Plan:
    """The plan of one of `RULES`."""
    return RULES[name](window_seconds // SLOT_SECONDS)
