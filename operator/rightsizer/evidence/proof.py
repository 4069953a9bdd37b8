"""Evidence: what a container's own rule would have done over its own past, in the few figures that a person asks for.

The figures come from the replay and are judged from the same day on as recorded series are. Who asks for them, and what is decided by
them, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rightsizer.evidence.replay import Course, State, replay
from rightsizer.evidence.scores import in_force, oom_events, start_of_judging
from rightsizer.evidence.sizing import Sizing, sizing_of
from rightsizer.history import SLOT_SECONDS, UsageWindow, Values
from rightsizer.methods.levels import DAY_SLOTS
from rightsizer.methods.pace import LEAST_RUNS, Pace, Truth
from rightsizer.methods.plugin import Asked, Plugin, Tried
from rightsizer.methods.ranking import Levels
from rightsizer.methods.statistics import Numbers, extent
from rightsizer.profile import ContainerRule, RiskBudget
from rightsizer.workload import RESOURCES, ResourceName, Sizes

LEAST_DAYS = 1.0
"""What is judged for less than a day proves nothing: most of what usage does, it does within one."""

_LEAST_SHARE = 0.25
"""The same for windows of less than four days, as a share of them: half of a window is judged, and half of that may be gaps."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What evidence rests on besides usage: with another one it proves nothing.

    `plugin`: whose levels count in place of the statistic; `risk`: the budget of the method `Learned`, None with another one; `kept`: the
    limits that are in force today and that the rule leaves as they are, nothing else.
    """

    rule: ContainerRule
    guaranteed: bool
    window_seconds: int
    pace: Pace
    plugin: Plugin | None = None
    risk: RiskBudget | None = None
    kept: Sizes = field(default_factory=Sizes)

    @property
    def judged_pace(self) -> Pace:
        """Of a window, no more than half is waited for: whoever wants to have seen all of it would never be judged."""
        half = self.window_seconds // 2
        raising, lowering = min(self.pace.raise_after_seconds, half), min(self.pace.lower_after_seconds, half)
        return replace(self.pace, raise_after_seconds=raising, lower_after_seconds=lowering)

    def sizing(self, resource: ResourceName, tell: Callable[[str], None]) -> Sizing:
        sizing = sizing_of(
            resource, self.rule.resource(resource), window_seconds=self.window_seconds, bounded=True, guaranteed=self.guaranteed
        )
        kept = self.kept.limit(resource)
        if kept is not None:
            # A request is at most a limit that stays, and in a Guaranteed pod it is that limit.
            minimum = kept if self.guaranteed else sizing.minimum
            sizing = replace(sizing, kept_limit=float(kept), minimum=minimum, maximum=min(sizing.maximum, kept))
        return sizing if self.plugin is None else replace(sizing, estimator=Tried(Asked(self.plugin, resource, sizing.window), tell))


@dataclass(frozen=True, slots=True)
class Figures:
    """How one resource of one container would have done. Sizes in millicores or bytes.

    `judged_slots`: those with a value and a request in force; `above`: share of them above the request, 0 to 1; `oom_events`: upward
    crossings of the memory limit; `request`: mean of the request in them; `held`: the highest level at the full hours of the hold, None
    where nothing is held.
    """

    judged_slots: int
    above: float
    oom_events: int
    request: float
    held: float | None = None

    @property
    def days(self) -> float:
        """How much was judged."""
        return self.judged_slots / DAY_SLOTS


@dataclass(frozen=True, slots=True)
class Evidence:
    """The figures of a container over the `days` that were judged, and its `changes` a day, of either resource or both at once.

    `least_days`: a resource of which less was judged has no evidence.
    """

    days: float
    changes: float
    cpu: Figures
    memory: Figures
    least_days: float = LEAST_DAYS

    def proves(self, resource: ResourceName) -> bool:
        """Whether enough of this resource was judged."""
        return self.figures(resource).days >= self.least_days

    @property
    def proves_anything(self) -> bool:
        return any(self.proves(resource) for resource in RESOURCES)

    def figures(self, resource: ResourceName) -> Figures:
        return self.cpu if resource == "cpu" else self.memory


def prove(usage: UsageWindow, basis: Basis, tell: Callable[[str], None] = lambda trouble: None) -> list[Evidence | None]:
    """Replays the rule over each row of `usage`, the whole window. None for rows of which nothing could be judged.

    What a plug-in gives no level for, or looks ahead for, is not judged; `tell` gets why.
    """

    def course(resource: ResourceName) -> tuple[Course, Numbers]:
        sizing = basis.sizing(resource, tell)
        found, state = replay(usage.of(resource), sizing, basis.judged_pace, first_slot=usage.span.start // SLOT_SECONDS)
        return found, _held(state, sizing)

    return judged(usage, basis, course)


def judged(usage: UsageWindow, basis: Basis, course: Callable[[ResourceName], tuple[Course, Numbers]]) -> list[Evidence | None]:
    """The figures of what was decided. `course`: the decisions over each resource, and the levels by row that are held at its end.

    Of what runs now and then little can be judged: a value of each of a few runs is taken to be enough.
    """
    steady = basis.pace.steady
    earliest = basis.judged_pace.lower_after_seconds // SLOT_SECONDS
    starts = np.fmin(_starts(usage.cpu, earliest), _starts(usage.memory, earliest))
    # One after the other: a course takes four times the memory of its usage.
    cpu, cpu_moves = _of_course(usage.cpu, *course("cpu"), starts)
    memory, memory_moves = _of_course(usage.memory, *course("memory"), starts, killed_above_limit=True)
    moves = (cpu_moves | memory_moves).sum(axis=1)
    least_days = min(LEAST_DAYS, usage.span.slots / DAY_SLOTS * _LEAST_SHARE) if steady else LEAST_RUNS / DAY_SLOTS
    return [_evidence(cpu[row], memory[row], int(moves[row]), least_days) for row in range(len(usage.keys))]


def _evidence(cpu: Figures, memory: Figures, moves: int, least_days: float) -> Evidence | None:
    days = max(cpu.days, memory.days)
    return Evidence(days, moves / days, cpu, memory, least_days) if days else None


def _starts(values: Values, earliest: int) -> NDArray[np.int64]:
    """The column from which on each row is judged; after the last one where there is no value.

    Whoever lowers after `earliest` slots of history, before there would be anything to judge, has it judged from there on.
    """
    there, slots = extent(values), values.shape[1]
    starts = there.first + np.fmin(start_of_judging(slots - there.first), earliest)
    return np.where(there.samples > 0, np.fmin(starts, slots), slots).astype(np.int64)


def _of_course(
    values: Values, course: Course, held: Numbers, starts: NDArray[np.int64], *, killed_above_limit: bool = False
) -> tuple[Sequence[Figures], Truth]:
    """The figures of each row, and the slots in which it would have been changed."""
    inside = np.arange(values.shape[1]) >= starts[:, np.newaxis]
    limits = in_force(course.limits) if killed_above_limit else np.full(values.shape, np.nan)
    requests = in_force(course.requests)
    judged = inside & ~np.isnan(values) & ~np.isnan(requests)
    return _figures(values, requests, limits, judged, held), inside & (course.causes > 1)


def _figures(values: Values, requests: Levels, limits: Levels, judged: Truth, held: Numbers) -> list[Figures]:
    """`limits`: those above which a container is killed."""
    number = judged.sum(axis=1)
    above = (judged & (values > requests)).sum(axis=1)
    killed = oom_events(judged & (values > limits))
    sums = np.where(judged, requests, 0.0).sum(axis=1)
    return [
        Figures(
            judged_slots=count,
            above=float(above[row]) / count if count else 0.0,
            oom_events=int(killed[row]),
            request=float(sums[row]) / count if count else 0.0,
            held=None if np.isnan(held[row]) else float(held[row]),
        )
        for row, count in enumerate(number.tolist())
    ]


def _held(state: State, sizing: Sizing) -> Numbers:
    """The highest level among the targets that are held; NaN for none."""
    if not state.held.shape[1]:
        return np.full(len(state.held), np.nan)
    highest: Numbers = np.fmax.reduce(state.held, axis=1) / sizing.factor
    return highest
