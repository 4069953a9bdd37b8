"""The replay a second time: one container, one value after the other, as slow as it is plain. What the fast one is compared with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from rightsizer.evidence.replay import Cause
from rightsizer.evidence.sizing import Sizing
from rightsizer.methods.pace import FAST_MARGIN, NEAR_LIMIT, Pace

NAN = math.nan
MI = 2**20
HOUR_SLOTS = 12

Step = tuple[float, float, int]


def walked(usage: list[float], sizing: Sizing, pace: Pace) -> list[Step]:
    """Request, limit and cause at the end of each slot; the first slot begins an hour."""
    walk = _Walk(usage, sizing, pace)
    return [walk.step(slot) for slot in range(len(usage))]


@dataclass
class _Walk:
    usage: list[float]
    sizing: Sizing
    pace: Pace
    request: float = NAN
    limit: float = NAN
    floor: float = NAN
    floor_end: int = -(10**9)
    lowered: int = -(10**9)
    raised_fast: int = -(10**9)
    targets: list[float] = field(default_factory=list)

    def step(self, slot: int) -> Step:
        cause = self._at_once(slot)
        if slot % HOUR_SLOTS == HOUR_SLOTS - 1:
            cause = self._of_the_hour(slot) or cause
        return self.request, self.limit, int(cause)

    def _at_once(self, slot: int) -> Cause:
        value, previous = self.usage[slot], self.usage[slot - 1] if slot else NAN
        memory = self.sizing.resource == "memory"
        twice = value > self.request and previous > self.request
        above = self.pace.fast and (twice or value > self.request * self.pace.far_above)
        near = memory and value >= self.limit * NEAR_LIMIT
        killed = memory and self.sizing.learns_from_kills and value > self.limit
        if killed:
            self._learn(slot, value)
        if not (above or near):
            return Cause.NONE
        level = (_largest([value, previous]) if above else value) * FAST_MARGIN
        if memory and value > previous:
            level = max(level, min(value + 4 * (value - previous), 2 * value))
        if killed:
            level = max(level, self.floor / self._top_ratio)
        return self._raise(slot, level, value, Cause.OOM_KILL if killed else Cause.NEAR_LIMIT if near else Cause.ABOVE_REQUEST)

    def _learn(self, slot: int, value: float) -> None:
        asked = max(self.limit * 1.2, self.limit + 100 * MI, value * 1.2)
        self.floor = max(asked, self.floor) if self.floor_end > slot else asked
        self.floor_end = slot + 1 + self.sizing.window

    def _raise(self, slot: int, level: float, value: float, cause: Cause) -> Cause:
        last_hour = slot // HOUR_SLOTS * HOUR_SLOTS - 1
        peak = self._peak(last_hour) if last_hour >= 0 else NAN
        request = max(self.request, self._bounded(level))
        limit = max(self.limit, self._limit_of(request, 0.0, _largest([peak, value]), self.floor if self.floor_end > slot else NAN))
        moved = request > self.request or limit > self.limit
        self.request, self.limit = request, limit
        if moved:
            self.raised_fast = slot + 1
        return cause if moved else Cause.NONE

    def _of_the_hour(self, slot: int) -> Cause:
        wanted, peak = self._wanted(slot), self._peak(slot)
        may_raise, may_lower = self._may(slot)
        if math.isnan(self.request):
            if not may_raise or math.isnan(wanted):
                return Cause.NONE
            self.request, self.limit = wanted, self._limit_of(wanted, self._level(), peak, self._taught(slot))
            return Cause.FIRST
        before = self.request, self.limit
        worth_lowering = self.request - wanted >= self.pace.minimum_change * self.request and wanted < self.request
        worth_raising = wanted - self.request >= self.pace.raise_change * self.request and wanted > self.request
        if (worth_lowering and may_lower) or (worth_raising and may_raise):
            self.request = wanted
        self._move_limit(
            peak, self._taught(slot), may_raise=may_raise or self.request != before[0], may_lower=may_lower, moved=self.request != before[0]
        )
        if self.request < before[0] or self.limit < before[1]:
            self.lowered = slot + 1
            return Cause.LOWERED
        return Cause.NONE if (self.request, self.limit) == before else Cause.RAISED

    def _move_limit(self, peak: float, floor: float, *, may_raise: bool, may_lower: bool, moved: bool) -> None:
        limit = self._limit_of(self.request, self._level(), peak, floor)
        allowed = (limit < self.limit and may_lower) or (limit > self.limit and may_raise)
        alone = self.pace.fast and limit - self.limit >= self.pace.minimum_change * self.limit and limit > self.limit
        if allowed and (moved or alone):
            self.limit = limit

    def _wanted(self, slot: int) -> float:
        past = np.array([self.usage[: slot + 1]], dtype=np.float32)
        self.targets.append(self.sizing.estimator.levels(past, np.array([slot]))[0, 0] * self.sizing.factor)
        held_peak = self._peak(slot) * 1.2 / self._top_ratio if self.sizing.limit.max_ratio else NAN
        return self._bounded(_largest([self._target(), self._taught(slot) / self._top_ratio, held_peak]))

    def _target(self) -> float:
        return _largest(self.targets[-(self.pace.hold_seconds // 3_600 + 1) :])

    def _level(self) -> float:
        return self._target() / self.sizing.factor

    def _taught(self, slot: int) -> float:
        return _largest([self.floor, self._peak(slot) * 1.2]) if self.floor_end > slot else NAN

    def _may(self, slot: int) -> tuple[bool, bool]:
        seen, now = self._seen(slot), slot + 1
        rested = (now - self.lowered) * 300 >= self.pace.lower_every_seconds
        settled = (now - self.raised_fast) * 300 >= self.pace.settle_seconds
        return _enough(seen, self.pace.raise_after_seconds), _enough(seen, self.pace.lower_after_seconds) and rested and settled

    def _seen(self, slot: int) -> list[float]:
        return self.usage[max(slot + 1 - self.sizing.window, 0) : slot + 1]

    def _peak(self, slot: int) -> float:
        return _largest(self._seen(slot))

    @property
    def _top_ratio(self) -> float:
        return self.sizing.limit.max_ratio or self.sizing.limit.ratio

    def _bounded(self, level: float) -> float:
        least = max(self.sizing.minimum, 0.1 if self.sizing.resource == "cpu" else MI)
        return level if math.isnan(level) else min(max(level, least), self.sizing.maximum)

    def _limit_of(self, request: float, level: float, peak: float, floor: float) -> float:
        rule = self.sizing.limit
        asked = _largest([2 * peak if peak > level else NAN, floor])
        lifted = min(asked, request * rule.max_ratio) if rule.max_ratio and not math.isnan(asked) else 0.0
        return max(request * rule.ratio, lifted)


def _largest(values: list[float]) -> float:
    return max((value for value in values if not math.isnan(value)), default=NAN)


def _enough(seen: list[float], needed: int) -> bool:
    known = [place for place, value in enumerate(seen) if not math.isnan(value)]
    if not known or len(seen) - 1 - known[-1] > 3:
        return False
    history = (known[-1] - known[0] + 1) * 300
    return needed - history <= 0.01 * needed and len(known) * 300 >= history * 0.5
