"""The walk of the method `Learned` over histories: whole, with the evidence that comes out of it, and on from where it ended.

What is kept of a container between two walks is a few hundred bytes. Who keeps it, and when it is walked, is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rightsizer.evidence.lanes import LearnedState, Learning, conducts_of, forms_of, packed, unpacked
from rightsizer.evidence.learning import explained, replay_learned
from rightsizer.evidence.proof import Basis, Evidence, Figures, judged
from rightsizer.evidence.replay import Course
from rightsizer.history import SLOT_SECONDS, UsageWindow
from rightsizer.methods.recommendation import Learnt
from rightsizer.methods.risk import promised
from rightsizer.methods.statistics import Numbers
from rightsizer.profile import RiskBudget
from rightsizer.workload import RESOURCES, ResourceName


@dataclass(frozen=True, slots=True)
class Walked:
    """How far a container's past was walked through, and what came of it.

    `end`: the last slot, unix seconds; `evidence`: of the whole walk, None where there was too little; `cpu`, `memory`: where each
    resource stands, one row of `rightsizer.evidence.lanes.packed`; `learnt`: of the resources of which there is enough.
    """

    end: int
    evidence: Evidence | None
    cpu: Numbers
    memory: Numbers
    learnt: Mapping[ResourceName, Learnt]

    def stands(self, resource: ResourceName) -> Numbers:
        return self.cpu if resource == "cpu" else self.memory


def walk(usage: UsageWindow, basis: Basis) -> list[Walked]:
    """From the first slot of the window to the last, for each row."""
    states: dict[ResourceName, LearnedState] = {}

    def course(resource: ResourceName) -> tuple[Course, Numbers]:
        found, states[resource] = _replayed(usage, basis, resource)
        return found, np.full(len(usage.keys), np.nan)

    evidence = judged(usage, basis, course)
    return _walked(usage, basis, states, evidence)


def walk_on(usage: UsageWindow, basis: Basis, before: Sequence[Walked]) -> list[Walked]:
    """On to the last slot of the window, for rows that all ended with the same slot of it; their evidence stays.

    Only the hour that the window ends with is looked at over all of it: after a break, those before it lack as many of the oldest slots.
    """
    begin = (before[0].end - usage.span.start) // SLOT_SECONDS + 1
    states: dict[ResourceName, LearnedState] = {}
    for resource in RESOURCES:
        lanes = len(conducts_of(learning_of(basis, resource), basis.pace))
        table = np.stack([one.stands(resource) for one in before])
        _, states[resource] = _replayed(usage, basis, resource, begin=begin, state=unpacked(table, lanes=lanes))
    return _walked(usage, basis, states, [one.evidence for one in before])


def learning_of(basis: Basis, resource: ResourceName) -> Learning:
    """What is wanted of a resource by the basis of the method `Learned`."""
    risk = basis.risk or RiskBudget()
    kill_slots = risk.kill_memory_seconds // SLOT_SECONDS if resource == "memory" else 0
    return Learning(basis.sizing(resource, lambda trouble: None), risk.time_above_request, kill_slots)


def _replayed(
    usage: UsageWindow, basis: Basis, resource: ResourceName, *, begin: int = 0, state: LearnedState | None = None
) -> tuple[Course, LearnedState]:
    learning, first_slot = learning_of(basis, resource), usage.span.start // SLOT_SECONDS
    return replay_learned(usage.of(resource), learning, basis.judged_pace, first_slot=first_slot, begin=begin, state=state)


def _walked(
    usage: UsageWindow, basis: Basis, states: Mapping[ResourceName, LearnedState], evidence: Sequence[Evidence | None]
) -> list[Walked]:
    tables = {resource: packed(states[resource]) for resource in RESOURCES}
    learnt: list[dict[ResourceName, Learnt]] = [{} for _ in evidence]
    for resource in RESOURCES:
        for row, one in enumerate(_learnt(basis, resource, states[resource], evidence)):
            if one is not None:
                learnt[row][resource] = one
    # Copies, because a row of a table would keep all of it.
    return [
        Walked(usage.span.end, evidence[row], tables["cpu"][row].copy(), tables["memory"][row].copy(), learnt[row])
        for row in range(len(evidence))
    ]


def _learnt(basis: Basis, resource: ResourceName, state: LearnedState, evidence: Sequence[Evidence | None]) -> list[Learnt | None]:
    """What came of each row; None for one without a decision, or without anything to judge it by."""
    learning = learning_of(basis, resource)
    names, choices = forms_of(learning, basis.pace), explained(state, learning, basis.pace)
    conduct = conducts_of(learning, basis.pace)[-1]
    margins = (np.exp(state.margins[-1]) * conduct.widening - 1).tolist()
    decided = (~np.isnan(state.requests[-1]) & ~np.isnan(state.raise_to)).tolist()
    share = promised(resource, learning.budget)
    found: list[Learnt | None] = []
    for row, one in enumerate(evidence):
        figures = None if one is None else one.figures(resource)
        if one is None or figures is None or not (figures.judged_slots and decided[row]):
            found.append(None)
            continue
        found.append(_of_row(names[int(state.form[row])], choices[row], state, row, margins[row], share, figures, one.days))
    return found


def _of_row(form: str, choice: str, state: LearnedState, row: int, margin: float, share: float, figures: Figures, days: float) -> Learnt:
    return Learnt(
        form=form,
        choice=choice,
        raise_to=float(state.raise_to[row]),
        lower_to=float(state.lower_to[row]),
        margin=margin,
        kill_floor=float(state.kill_floor[row]),
        guard=float(state.guard[row]),
        promised=share,
        above=figures.above,
        days=days,
    )
