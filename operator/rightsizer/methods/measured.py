"""The method `Measured`: measure, add a buffer, bound it, and let the limit follow from the request.

A pure function from usage arrays to sizes. It works through the containers in blocks and, within a block, rule by rule, so that the
arithmetic is done on arrays and the memory that it needs does not grow with the number of containers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rightsizer.history import SLOT_SECONDS, Span, UsageWindow, Values
from rightsizer.methods.explanation import Steps, choice, text
from rightsizer.methods.levels import estimator_of
from rightsizer.methods.pace import Truth
from rightsizer.methods.patterns.presence import NOTICEABLY_THROTTLED
from rightsizer.methods.recommendation import Clamp, ContainerFacts, ContainerRecommendation, Explanation, Learnt, Measurement
from rightsizer.methods.sizing import STEPS, Inputs, Sized, buffers, leak_hold, limits, requests, unthrottled, with_buffer
from rightsizer.methods.statistics import Numbers, extent, peak, runs, share_above
from rightsizer.methods.wishes import Wishes, learnt_of, wishes_of
from rightsizer.profile import LEARNED, ContainerRule, LimitPolicy, ResourceRule
from rightsizer.workload import RESOURCES, ResourceName, Sizes

ROWS_AT_ONCE = 512
"""What is made of two weeks of so many containers on the way takes some MB; of 10,000 at once it would be more than all else together."""

_SHOWN_STEPS = 10
"""Measured values are rounded to a tenth of a step (0.1m, 0.1Mi) before they are used: what is shown is what is calculated with."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The rule that a person can redo by hand. See `rightsizer.methods.sizing` for its arithmetic."""

    name: str = "Measured"

    def recommend(self, usage: UsageWindow, facts: Sequence[ContainerFacts]) -> list[ContainerRecommendation]:
        """One recommendation per row of `usage`. A container that is ignored, or without any value, keeps what it has.

        Raises InvalidQuantity for an unknown statistic, and ValueError when `facts` and `usage` do not have the same number of rows.
        """
        return sized_by_rule(usage, facts)


@dataclass(frozen=True, slots=True)
class Given:
    """What counts as measured in place of the rule's statistic: levels by row in millicores and bytes, NaN for none; told under a name."""

    told: str
    levels: Mapping[ResourceName, Numbers]


def sized_by_rule(usage: UsageWindow, facts: Sequence[ContainerFacts], given: Given | None = None) -> list[ContainerRecommendation]:
    """The sizes by the rules of the profiles, of their own statistics or of what is given. Raises as `Measured.recommend`."""
    if len(facts) != len(usage.keys):
        raise ValueError(f"{len(facts)} facts for {len(usage.keys)} histories")
    found: list[ContainerRecommendation] = []
    for start in range(0, len(facts), ROWS_AT_ONCE):
        found += _of_block(usage, slice(start, start + ROWS_AT_ONCE), facts[start : start + ROWS_AT_ONCE], given)
    return found


def _of_block(usage: UsageWindow, rows: slice, facts: Sequence[ContainerFacts], given: Given | None) -> list[ContainerRecommendation]:
    pods = _most_pods(usage.pods[rows])
    cpu, memory = usage.cpu[rows], usage.memory[rows]
    recognised = [fact.recognised for fact in facts]
    nothing = np.full(len(memory), np.nan)
    demand = _unthrottled(usage, rows, np.array([one.throttled for one in recognised], dtype=np.bool_))
    seen = {
        "cpu": _Seen("cpu", cpu, usage.span, pods, _throttled_shares(usage, rows), nothing, demand, given=_given(given, "cpu", rows)),
        "memory": _Seen(
            "memory",
            memory,
            usage.span,
            pods,
            np.zeros(len(memory)),
            _numbers([one.leak_start for one in recognised]),
            given=_given(given, "memory", rows),
        ),
    }
    explained = {resource: _of_resource(seen[resource], facts) for resource in RESOURCES}
    return [
        _recommendation(fact, cpu=cpu, memory=memory)
        for fact, cpu, memory in zip(facts, explained["cpu"], explained["memory"], strict=True)
    ]


def _given(given: Given | None, resource: ResourceName, rows: slice) -> Given | None:
    return None if given is None else Given(given.told, {resource: given.levels[resource][rows]})


def _most_pods(pods: NDArray[np.uint16]) -> NDArray[np.uint16]:
    return pods.max(axis=1) if pods.shape[1] else np.zeros(len(pods), dtype=np.uint16)


def _throttled_shares(usage: UsageWindow, rows: slice) -> Numbers:
    if usage.throttled is None:
        return np.zeros(len(usage.cpu[rows]))
    return share_above(usage.throttled[rows], NOTICEABLY_THROTTLED, among=usage.cpu[rows])


def _unthrottled(usage: UsageWindow, rows: slice, throttled: Truth) -> Values | None:
    """The CPU without throttling, NaN in the rows in which there is hardly any; None where that is all of them."""
    if usage.throttled is None or not throttled.any():
        return None
    found = np.full(usage.cpu[rows].shape, np.nan, dtype=np.float32)
    found[throttled] = unthrottled(usage.cpu[rows][throttled], usage.throttled[rows][throttled], noticeably=NOTICEABLY_THROTTLED)
    return found


def _recommendation(fact: ContainerFacts, *, cpu: Explanation | None, memory: Explanation | None) -> ContainerRecommendation:
    current = fact.container.sizes
    wanted: Sizes = current
    if cpu is not None:
        wanted = replace(wanted, cpu_request=cpu.request, cpu_limit=cpu.limit)
    if memory is not None:
        wanted = replace(wanted, memory_request=memory.request, memory_limit=memory.limit)
    return ContainerRecommendation(fact.container.name, current, wanted, cpu, memory, findings=fact.recognised.findings)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen of one resource: values of shape (containers, slots); most pods at once and throttled share by container.

    `leak_start`: from what a leak climbs anew, NaN without one. `unthrottled`: the values of the throttled containers as if they were not.
    `given`: what counts in place of the rule's statistic, of this resource only.
    """

    resource: ResourceName
    values: Values
    span: Span
    pods: NDArray[np.uint16]
    throttled: Numbers
    leak_start: Numbers
    unthrottled: Values | None = None
    given: Given | None = None

    def of(self, rows: Sequence[int]) -> _Seen:
        """These rows, in ascending order."""
        if len(rows) == len(self.values):
            return self
        given = None if self.given is None else Given(self.given.told, {self.resource: self.given.levels[self.resource][rows]})
        return replace(
            self,
            values=self.values[rows],
            pods=self.pods[rows],
            throttled=self.throttled[rows],
            leak_start=self.leak_start[rows],
            unthrottled=None if self.unthrottled is None else self.unthrottled[rows],
            given=given,
        )

    def levels(self, rule: ResourceRule) -> Numbers:
        """What counts as measured, of each container."""
        return self._levels_of(self.values, rule) if self.given is None else self.given.levels[self.resource]

    def unthrottled_levels(self, rule: ResourceRule) -> Numbers | None:
        """What would have been measured without throttling, NaN where there is hardly any; None where that is everywhere.

        What is given knows of no throttling: it stays as it is.
        """
        if self.unthrottled is None:
            return None
        rows = np.flatnonzero(~np.isnan(self.unthrottled).all(axis=1))
        levels = np.full(len(self.unthrottled), np.nan)
        if self.given is not None:
            levels[rows] = self.given.levels[self.resource][rows]
        elif len(rows):
            levels[rows] = self._levels_of(self.unthrottled[rows], rule)
        return levels

    def _levels_of(self, values: Values, rule: ResourceRule) -> Numbers:
        newest = np.array([self.span.slots - 1])
        return estimator_of(rule, window_seconds=self.span.slots * SLOT_SECONDS).levels(values, newest)[:, 0]


def _of_resource(seen: _Seen, facts: Sequence[ContainerFacts]) -> list[Explanation | None]:
    found: list[Explanation | None] = [None] * len(facts)
    for rule, rows in _rows_by_rule(facts).items():
        mine = [facts[row] for row in rows]
        explanations = _of_rule(rule.resource(seen.resource), seen.of(rows), mine)
        for row, explanation in zip(rows, explanations, strict=True):
            found[row] = explanation
    return found


def _rows_by_rule(facts: Sequence[ContainerFacts]) -> dict[ContainerRule, list[int]]:
    rows: defaultdict[ContainerRule, list[int]] = defaultdict(list)
    for row, fact in enumerate(facts):
        if not fact.rule.ignored:
            rows[fact.rule].append(row)
    return rows


def _of_rule(rule: ResourceRule, seen: _Seen, facts: Sequence[ContainerFacts]) -> list[Explanation | None]:
    resource = seen.resource
    learnt = learnt_of(facts, resource)
    wishes = wishes_of(learnt, _numbers(_requested(facts, resource)))
    measurements = _measurements(seen, rule, facts, learnt, wishes)
    inputs = replace(_inputs(seen, rule, measurements, facts), wishes=wishes)
    requested = requests(resource, rule, inputs)
    limited = limits(resource, rule.limit, inputs, requested.values)
    shares = buffers(rule, inputs)
    targets = with_buffer(inputs.measured, shares)
    return [
        _explanation(
            resource,
            rule,
            found,
            fact,
            learnt=learnt[row],
            buffer=float(shares[row]),
            target=float(targets[row]),
            unthrottled=None if inputs.unthrottled is None else float(inputs.unthrottled[row]),
            requested=_at(requested, row),
            limited=_at(limited, row),
        )
        if found.samples and not np.isnan(found.value)
        else None
        for row, (found, fact) in enumerate(zip(measurements, facts, strict=True))
    ]


def _measurements(
    seen: _Seen, rule: ResourceRule, facts: Sequence[ContainerFacts], learnt: Sequence[Learnt | None], wishes: Wishes | None
) -> list[Measurement]:
    resource, values, span = seen.resource, seen.values, seen.span
    there = extent(values)
    latest, peaks = _as_shown(resource, seen.levels(rule)), _as_shown(resource, peak(values))
    splits = [fact.recognised.splits.get(resource) for fact in facts]
    # What is held was replayed without knowing of releases.
    held = _as_shown(resource, _numbers([None if split else fact.held.get(resource) for fact, split in zip(facts, splits, strict=True)]))
    # What is held stands in for no level: where the method has none, there is nothing to say.
    measured = np.where(np.isnan(latest), np.nan, np.fmax(latest, held))
    if wishes is not None:
        # Three decimals are shown. Rounded down, because the product is rounded up to whole steps.
        wanted = np.floor(wishes.levels * 1_000 / STEPS[resource]) * STEPS[resource] / 1_000
        learned = ~np.isnan(wanted) & ~np.isnan(latest)
        latest, measured = np.where(learned, wanted, latest), np.where(learned, wanted, measured)
    steady = np.array([fact.key.workload.steady for fact in facts], dtype=np.bool_)
    run_counts, longest_runs = runs(values[:, :0] if steady.all() else values)
    # What runs now and then is as old as its first run.
    history = np.where(steady | (there.samples == 0), there.history_seconds, (span.slots - there.first) * SLOT_SECONDS)
    last = values[np.arange(len(values)), there.last] if values.shape[1] else latest
    before = np.where(there.last > 0, values[np.arange(len(values)), there.last - 1], np.nan) if values.shape[1] else latest
    return [
        Measurement(
            statistic=_told_statistic(seen, rule, learnt[row]),
            window_seconds=span.slots * SLOT_SECONDS,
            value=float(measured[row]),
            peak=float(peaks[row]),
            samples=int(there.samples[row]),
            coverage=int(there.samples[row]) / span.slots,
            history_seconds=int(history[row]),
            newest=span.start + int(there.last[row]) * SLOT_SECONDS,
            pods=int(seen.pods[row]),
            throttled=float(seen.throttled[row]),
            latest=float(latest[row]) if measured[row] > latest[row] else None,
            last_value=float(last[row]),
            previous_value=None if np.isnan(before[row]) else float(before[row]),
            release=None if split is None else split.release,
            before_release_seconds=0 if split is None else split.before_seconds,
            runs=None if steady[row] else int(run_counts[row]),
            longest_run_slots=int(longest_runs[row]),
        )
        for row, split in enumerate(splits)
    ]


def _told_statistic(seen: _Seen, rule: ResourceRule, learnt: Learnt | None) -> str:
    if learnt is not None:
        return f"{LEARNED} {learnt.form}"
    return rule.told_statistic if seen.given is None else seen.given.told


def _as_shown(resource: ResourceName, values: Numbers) -> Numbers:
    # Divided last: 1803 / 10 is the float that is nearest to 180.3, 1803 x 0.1 is not.
    return np.rint(values * _SHOWN_STEPS / STEPS[resource]) * STEPS[resource] / _SHOWN_STEPS


def _inputs(seen: _Seen, rule: ResourceRule, measurements: Sequence[Measurement], facts: Sequence[ContainerFacts]) -> Inputs:
    resource, unthrottled_levels = seen.resource, seen.unthrottled_levels(rule)
    requested = _numbers(_requested(facts, resource))
    return Inputs(
        measured=np.array([found.value for found in measurements]),
        peak=np.array([found.peak for found in measurements]),
        oom_floor=_numbers([fact.oom_floor for fact in facts]),
        current_limit=_numbers([fact.container.sizes.limit(resource) for fact in facts]),
        guaranteed=np.array([fact.guaranteed for fact in facts], dtype=np.bool_),
        newest=np.array([found.last_value for found in measurements]),
        previous=_numbers([found.previous_value for found in measurements]),
        leak_hold=None if np.isnan(seen.leak_start).all() else leak_hold(requested, seen.leak_start, rule.buffer),
        unthrottled=None if unthrottled_levels is None else _as_shown(resource, unthrottled_levels),
        current_request=requested,
        fast=np.array([fact.fast for fact in facts], dtype=np.bool_),
    )


def _requested(facts: Sequence[ContainerFacts], resource: ResourceName) -> list[int | None]:
    # A request that is left out is set to the limit by the API server.
    sizes = [fact.container.sizes for fact in facts]
    return [found.limit(resource) if found.request(resource) is None else found.request(resource) for found in sizes]


def _numbers(values: Sequence[float | None]) -> Numbers:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _at(sized: Sized, row: int) -> tuple[float, Clamp]:
    return float(sized.values[row]), sized.clamps[row]


def _explanation(
    resource: ResourceName,
    rule: ResourceRule,
    found: Measurement,
    fact: ContainerFacts,
    *,
    learnt: Learnt | None,
    buffer: float,
    target: float,
    unthrottled: float | None,
    requested: tuple[float, Clamp],
    limited: tuple[float, Clamp],
) -> Explanation:
    steps = Steps(
        resource=resource,
        measurement=found,
        buffer=buffer,
        target=target,
        oom_floor=fact.oom_floor,
        request=int(requested[0]),
        request_clamp=requested[1],
        limit=None if np.isnan(limited[0]) else int(limited[0]),
        limit_rule=rule.limit,
        limit_clamp=limited[1],
        current_request=fact.container.sizes.request(resource),
        unthrottled=unthrottled,
        rule_buffer=rule.buffer,
        learned=learnt is not None,
    )
    return Explanation(
        resource=resource,
        measurement=found,
        buffer=buffer,
        target=target,
        request=steps.request,
        request_clamp=steps.request_clamp,
        limit=steps.limit,
        limit_policy=rule.limit.policy,
        limit_ratio=rule.limit.ratio if rule.limit.policy is LimitPolicy.RATIO else None,
        limit_clamp=steps.limit_clamp,
        text=text(steps),
        choice="" if learnt is None else choice(resource, learnt),
        learned=learnt is not None,
    )
