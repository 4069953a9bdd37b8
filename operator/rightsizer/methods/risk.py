"""How a request follows its form for a promised share of time above it: dead bands, triggers, and the margin that control adapts.

The margin is under integral control: every slot above the request widens it by the gain, every other one narrows it by gain x budget, so
that in the long run the measured share is the promised one, whatever the usage does. That is adaptive conformal inference: I. Gibbs and
E. Candes, "Adaptive conformal inference under distribution shift", NeurIPS 2021, eq. 2, with the margin's logarithm in place of the
quantile. Usage and time are not known here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from rightsizer.methods.levels import HOUR_SLOTS
from rightsizer.profile import DEFAULT_TIME_ABOVE_REQUEST
from rightsizer.workload import ResourceName

CPU_BUDGET, MEMORY_BUDGET = DEFAULT_TIME_ABOVE_REQUEST["cpu"], DEFAULT_TIME_ABOVE_REQUEST["memory"]

CPU_GAIN = 0.001
"""An hour above the request widens the margin by 1.2 %; so slow, because a budget of 0.3 % is a few values a day."""

GAIN_GROWTH, MOST_GAIN = 0.0025, 0.01
"""Looser budgets see more of what they allow, and can learn faster: by so much for each multiple of the default budget, up to the most."""

START_SLOPE = 0.045
"""Where the margin starts, per e-fold of the budget: 5 % narrower at 1 %, 10 % at 3 %. Control would need weeks to get there."""

CREDIT_GROWTH, MOST_CREDIT = 12.0, 36.0
"""Slots above the request that may be saved up: an hour's for each multiple of the default budget, three hours' at most."""

FIRST_CREDIT = 6.0
"""Slots that are saved up at the beginning."""

GUARD = 4.0
"""A container that was above its request for so many times its budget is given what `Measured` would give, at least. At 3 there are more
than 0.45 changes a day; to do it for all in their first days costs 1.4 points of CPU slack and 5 of memory, and saves no kill."""


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a request follows what its form wants. Changes and margins as shares or factors of the request, credit in slots.

    - `raise_change`, `lower_change`: what a change at a full hour has to be worth; `widening`: what the form's request is multiplied by;
    - `above`: two values above so many times the request raise it at once; `far_above`: one value does, `far_above_young` in the first
      days; `settle_slots`: for so long after it nothing is lowered;
    - `fast_margin`: what such a raise leaves above the larger of the two values; `escalation`: how much more of it for each raise of late;
      `steepness`: how many times the step above the request is expected once more;
    - `set_point`, `gain`, `start`: of the control of the margin's logarithm; `most_credit`: how much of the budget may be saved up, to be
      used before two values above the request raise it; 0: they always do; `credit`: at the beginning.
    """

    raise_change: float
    lower_change: float
    above: float
    far_above: float
    far_above_young: float
    settle_slots: int
    fast_margin: float
    escalation: float = 0.0
    steepness: float = 0.0
    widening: float = 1.0
    set_point: float = 0.0
    gain: float = 0.0
    start: float = 0.0
    most_credit: float = 0.0
    credit: float = 0.0


CPU = Conduct(
    raise_change=0.1,
    lower_change=0.1,
    above=1.0,
    far_above=1.8,  # beyond that, one slot costs as much as a day of the reserve
    far_above_young=1.8,
    settle_slots=HOUR_SLOTS,
    fast_margin=0.2,
    escalation=2.0,  # 20 % the first time, 60 % the second, up to 180 %: what keeps on rising is not chased step by step
)
CPU_LOOSE = replace(CPU, far_above=2.5, far_above_young=2.5, settle_slots=0, fast_margin=0.1, escalation=0.0)
"""Above the default budget: haste would use less of it than was promised."""

MEMORY = Conduct(
    raise_change=0.3,  # memory that creeps up is raised by the two values, at the moment it needs it
    lower_change=0.18,
    above=0.97,  # before it gets there: memory climbs, where CPU jumps
    far_above=1.8,
    far_above_young=1.2,
    settle_slots=2 * HOUR_SLOTS,
    fast_margin=0.12,
    steepness=3.0,  # memory that climbs by a step in 5 minutes climbs on
)
MEMORY_LOOSE = replace(MEMORY, raise_change=0.13, above=1.0, far_above_young=1.8, settle_slots=0, fast_margin=0.1, steepness=0.0)
MEMORY_LOOSE_FROM = 0.003


def _patient(conduct: Conduct) -> Conduct:
    return replace(conduct, above=math.inf, far_above=math.inf, far_above_young=math.inf)


ROLLOUT_CPU = replace(_patient(CPU), raise_change=0.2, lower_change=0.22, widening=1.035)
ROLLOUT_MEMORY = replace(_patient(MEMORY), raise_change=0.12, lower_change=0.34, widening=1.025)
"""Where a change restarts pods: nothing is raised at once but memory near its limit, and changes have to be worth more."""

MEMORY_DIAL = (
    # budget, set point, start, gain, most credit
    (0.0015, 0.0015, 0.0, 0.002, 0.0),
    (0.003, 0.003, -0.02, 0.005, 6.0),
    (0.005, 0.006, -0.05, 0.008, 18.0),
    (0.01, 0.013, -0.08, 0.01, 36.0),
    (0.02, 0.025, -0.10, 0.01, 36.0),
    (0.03, 0.0375, -0.12, 0.01, 36.0),
)
"""The control of memory by budget, straight lines in between. Memory is above its request in few long spells: the set point is higher than
the budget, because most containers have none of them and stay below it. Found by trying, on the traces of the accuracy study."""


def conduct_of(resource: ResourceName, budget: float | None, *, fast: bool) -> Conduct:
    """How requests follow for a budget (share of time above the request; None: the default), `fast` where raising restarts nothing."""
    of_resource = _cpu if resource == "cpu" else _memory
    return of_resource(promised(resource, budget), fast=fast)


def worth_it(conduct: Conduct, minimum_change: float) -> Conduct:
    """The same, where every change has to be worth at least so much (a share), which is what the profile says."""
    return replace(conduct, raise_change=max(conduct.raise_change, minimum_change), lower_change=max(conduct.lower_change, minimum_change))


def promised(resource: ResourceName, budget: float | None) -> float:
    """The share of the time above the request that is promised by a budget; None is the default of the resource."""
    if budget is not None:
        return budget
    return CPU_BUDGET if resource == "cpu" else MEMORY_BUDGET


def _cpu(budget: float, *, fast: bool) -> Conduct:
    conduct = ROLLOUT_CPU if not fast else CPU if budget <= CPU_BUDGET else CPU_LOOSE
    if budget <= CPU_BUDGET:
        return replace(conduct, set_point=budget, gain=CPU_GAIN)
    more = budget / CPU_BUDGET - 1
    credit = min(MOST_CREDIT, CREDIT_GROWTH * more)
    return replace(
        conduct,
        set_point=budget,
        gain=min(MOST_GAIN, CPU_GAIN + GAIN_GROWTH * more),
        start=-START_SLOPE * math.log(budget / CPU_BUDGET),
        most_credit=credit,
        credit=min(FIRST_CREDIT, credit),
    )


def _memory(budget: float, *, fast: bool) -> Conduct:
    conduct = ROLLOUT_MEMORY if not fast else MEMORY_LOOSE if budget >= MEMORY_LOOSE_FROM else MEMORY
    budgets, *columns = (list(column) for column in zip(*MEMORY_DIAL, strict=True))
    # Outside of what was tried, the set point stays in proportion to the budget.
    within = min(max(budget, budgets[0]), budgets[-1])
    set_point, start, gain, most_credit = (float(np.interp(within, budgets, column)) for column in columns)
    return replace(conduct, set_point=set_point * budget / within, start=start, gain=gain, most_credit=most_credit)
