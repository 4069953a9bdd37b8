"""What a replay of the method `Learned` is made of: lanes side by side, one for each form and the request's own as the last.

What a lane wants and how it follows that, and the state in which a replay stands. How it goes on is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rightsizer.evidence.sizing import Sizing
from rightsizer.methods import choice, forms
from rightsizer.methods.choice import Tally
from rightsizer.methods.pace import Pace
from rightsizer.methods.ranking import Levels
from rightsizer.methods.risk import Conduct, conduct_of, worth_it
from rightsizer.methods.sizing import top_ratio
from rightsizer.methods.statistics import Numbers

LONG_AGO = -(2**40)
"""A slot before all others."""


@dataclass(frozen=True, slots=True)
class Learning:
    """What the method wants of one resource. `sizing`: that of `Measured`, for its bounds, limits and first days; `budget`: share of the
    time above the request, None for the default; `kill_slots`: for so long the lesson of an OOM kill counts."""

    sizing: Sizing
    budget: float | None = None
    kill_slots: int = 0

    def limits(self, requests: Levels) -> Levels:
        """Limits are as high as the rule allows, always: a higher limit costs nothing that is reserved, and a kill costs most."""
        if self.sizing.guaranteed:
            return requests
        if not self.sizing.limit_moves:
            return np.where(np.isnan(requests), np.nan, self.sizing.kept_limit)
        return requests * top_ratio(self.sizing.limit)


@dataclass(frozen=True, slots=True)
class LearnedState:
    """Where a replay stands after its last column, so that it can go on with the next. Shape (lanes, rows), the request in the last lane.

    Requests in force; the slots (from 1970) of the first decision, the last lowering and the last fast raise; how many raises of late,
    as of the slot of the newest; the margin's logarithm and the saved budget; floors by OOM kills with the last slots in which they
    count; what was counted. Of shape (rows,): the form in force, and the level of the busy hours by which it was chosen; and, of the
    last full hour, what the request would be raised to and lowered to, and the least that kills and the guard leave it (NaN: nothing).
    """

    requests: Levels
    decided: NDArray[np.int64]
    lowered: NDArray[np.int64]
    raised_fast: NDArray[np.int64]
    raises: Levels
    raised: NDArray[np.int64]
    margins: Levels
    credits: Levels
    floors: Levels
    floor_ends: NDArray[np.int64]
    tally: Tally
    form: NDArray[np.int64]
    busy: Numbers
    raise_to: Numbers
    lower_to: Numbers
    kill_floor: Numbers
    guard: Numbers


def beginning(rows: int, learning: Learning, pace: Pace) -> LearnedState:
    """Before the first decision."""
    conducts = conducts_of(learning, pace)
    shape = len(conducts), rows
    nothing, never = np.full(shape, np.nan), np.full(shape, LONG_AGO)
    return LearnedState(
        requests=nothing,
        decided=never,
        lowered=never,
        raised_fast=never,
        raises=np.zeros(shape),
        raised=never,
        margins=np.tile([[conduct.start] for conduct in conducts], rows),
        credits=np.tile([[conduct.credit] for conduct in conducts], rows),
        floors=nothing,
        floor_ends=never,
        tally=choice.empty(shape),
        form=np.zeros(rows, dtype=np.int64),
        busy=np.full(rows, np.nan),
        raise_to=np.full(rows, np.nan),
        lower_to=np.full(rows, np.nan),
        kill_floor=np.full(rows, np.nan),
        guard=np.full(rows, np.nan),
    )


_WHOLE_NUMBERS = ("decided", "lowered", "raised_fast", "raised", "floor_ends", "form")
_BY_ROW = ("form", "busy", "raise_to", "lower_to", "kill_floor", "guard")


def packed(state: LearnedState) -> Numbers:
    """The state in one table of shape (rows, figures): a row of it is all that has to be kept of a container."""
    lanes = [getattr(state, item.name) for item in fields(LearnedState) if item.name not in (*_BY_ROW, "tally")]
    lanes += [getattr(state.tally, item.name) for item in fields(Tally)]
    table = np.concatenate([*lanes, [getattr(state, name) for name in _BY_ROW]])
    return np.ascontiguousarray(table.T, dtype=np.float64)


def unpacked(table: Numbers, *, lanes: int) -> LearnedState:
    """The state of a table of so many lanes."""
    figures = iter(np.ascontiguousarray(table.T))

    def of_lanes() -> Levels:
        return np.stack([next(figures) for _ in range(lanes)])

    found: dict[str, Any] = {item.name: of_lanes() for item in fields(LearnedState) if item.name not in (*_BY_ROW, "tally")}
    found["tally"] = Tally(*(of_lanes() for _ in fields(Tally)))
    found |= {name: next(figures) for name in _BY_ROW}
    whole = {name: found[name].astype(np.int64) for name in _WHOLE_NUMBERS}
    return LearnedState(**found | whole)


def forms_of(learning: Learning, pace: Pace) -> tuple[str, ...]:
    """The forms to choose among. Where a change restarts pods only the first: the others pay by changing often."""
    every = forms.FORMS[learning.sizing.resource]
    return every if pace.fast else every[:1]


def conducts_of(learning: Learning, pace: Pace) -> list[Conduct]:
    """One lane for each form where there is a choice, and the request's."""
    resource = learning.sizing.resource
    names = forms_of(learning, pace)
    plain = replace(conduct_of(resource, None, fast=pace.fast), gain=0.0, start=0.0)
    every = [plain] * (len(names) if len(names) > 1 else 0) + [conduct_of(resource, learning.budget, fast=pace.fast)]
    return [worth_it(one, pace.minimum_change) for one in every]


class Conducts:
    """The conducts of all lanes, each figure of shape (lanes, 1)."""

    def __init__(self, conducts: list[Conduct]) -> None:
        for item in fields(Conduct):
            setattr(self, item.name, np.array([[getattr(conduct, item.name)] for conduct in conducts], dtype=np.float64))

    raise_change: Levels
    lower_change: Levels
    above: Levels
    far_above: Levels
    far_above_young: Levels
    settle_slots: Levels
    fast_margin: Levels
    escalation: Levels
    steepness: Levels
    widening: Levels
    set_point: Levels
    gain: Levels
    most_credit: Levels
