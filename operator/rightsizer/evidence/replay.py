"""The replay: what a rule would have decided over a container's past, each decision seeing only what was there by then.

A walk forward over time for many containers at once. Once an hour the rule is asked, as it is by the live operator; in between only usage
above the request or near the limit moves anything. A decision has seen the slot at whose end it is made and is in force for the slots after
it. How good the decisions were is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from rightsizer.evidence.sizing import Sizing
from rightsizer.history import SLOT_SECONDS, Values
from rightsizer.methods import pace as speed
from rightsizer.methods.levels import HOUR_SLOTS, Maximum
from rightsizer.methods.pace import Pace, Truth
from rightsizer.methods.ranking import Columns, Levels, counts
from rightsizer.methods.sizing import OOM_ADDITION, OOM_FACTOR, PEAK_MARGIN
from rightsizer.methods.statistics import Numbers, extent

_LONG_AGO = -(2**40)
"""A slot before all others."""


class Cause(IntEnum):
    """Why a size was decided."""

    NONE = 0
    FIRST = 1
    RAISED = 2
    LOWERED = 3
    ABOVE_REQUEST = 4
    NEAR_LIMIT = 5
    OOM_KILL = 6


@dataclass(frozen=True, slots=True)
class State:
    """Where a replay stands after its last column, so that it can go on with the next: arrays of shape (rows,), slots counted from 1970.

    Requests and limits in force (NaN: none), when each row was last lowered and last raised at once, the floor that an OOM kill left and
    the last slot in which it counts, and the targets of the hours that are still held, newest last (rows, hours).
    """

    requests: Numbers
    limits: Numbers
    lowered: NDArray[np.int64]
    raised_fast: NDArray[np.int64]
    floors: Numbers
    floor_ends: NDArray[np.int64]
    held: Levels


@dataclass(frozen=True, slots=True)
class Course:
    """What was decided by the end of each column, from the first replayed one on: shape (rows, columns). NaN: nothing yet, or no limit."""

    requests: Levels
    limits: Levels
    causes: NDArray[np.uint8]


def beginning(rows: int, pace: Pace) -> State:
    """Before the first decision."""
    nothing, never = np.full(rows, np.nan), np.full(rows, _LONG_AGO)
    hours = pace.hold_seconds // (HOUR_SLOTS * SLOT_SECONDS)
    return State(nothing, nothing, never, never, nothing, never, np.full((rows, hours), np.nan))


def replay(
    values: Values, sizing: Sizing, pace: Pace, *, first_slot: int, begin: int = 0, state: State | None = None
) -> tuple[Course, State]:
    """Replays the columns from `begin` on of values (rows, slots) in millicores or bytes; the columns before it are the past they look at.

    `first_slot`: the slot of column 0, counted from 1970; whole hours are those that it divides by 12. To go on later, give the state that
    came out, and values that reach as far back as the rule's window.
    """
    walk = _Walk(values, sizing, pace, first_slot, begin, state or beginning(len(values), pace))
    return walk.course(), walk.state()


class _Walk:
    """One replay under way: the arrays that change from hour to hour."""

    def __init__(self, values: Values, sizing: Sizing, pace: Pace, first_slot: int, begin: int, state: State) -> None:
        self._values = values
        self._sizing = sizing
        self._pace = pace
        self._first_slot = first_slot
        self._begin = begin
        self._requests, self._limits = state.requests.copy(), state.limits.copy()
        self._lowered, self._raised_fast = state.lowered.copy(), state.raised_fast.copy()
        self._floors, self._floor_ends = state.floors.copy(), state.floor_ends.copy()
        self._held = state.held
        self._ends = whole_hours(first_slot, begin, values.shape[1])
        self._peaks = Maximum(sizing.window).levels(values, self._ends)
        self._peak = np.full(len(values), np.nan)
        self._course = undecided(len(values), values.shape[1] - begin)

    def course(self) -> Course:
        targets, may_raise, may_lower = self._targets(), *seen_enough(self._values, self._ends, self._sizing.window, self._pace)
        column = self._begin
        for hour, end in enumerate(self._ends.tolist()):
            self._between(column, end)
            self._peak = self._peaks[:, hour]
            self._decide(end, targets[:, hour], may_raise[:, hour], may_lower[:, hour])
            column = end + 1
        self._between(column, self._values.shape[1] - 1)
        return self._course

    def state(self) -> State:
        return State(self._requests, self._limits, self._lowered, self._raised_fast, self._floors, self._floor_ends, self._held)

    def _targets(self) -> Levels:
        """The requests that the rule wants at each whole hour; under a hold the largest of its time."""
        wanted = self._sizing.estimator.levels(self._values, self._ends) * self._sizing.factor
        hours = self._held.shape[1]
        every = np.concatenate([self._held, wanted], axis=1)
        self._held = every[:, every.shape[1] - hours :]
        return Maximum(hours + 1).levels(every, np.arange(hours, every.shape[1]))

    def _decide(self, end: int, target: Numbers, may_raise: Truth, may_lower: Truth) -> None:
        """The decision of a whole hour."""
        slot = self._first_slot + end
        floors = self._floor(slot)
        least = np.fmax(self._sizing.request_floors(floors), self._sizing.peak_floors(self._peak))
        wanted = self._sizing.bounded(np.where(np.isnan(target), np.nan, np.fmax(target, least)))
        rested = (slot - self._lowered) * SLOT_SECONDS >= self._pace.lower_every_seconds
        settled = (slot - self._raised_fast) * SLOT_SECONDS >= self._pace.settle_seconds
        may_lower = may_lower & rested & settled
        request = _allowed(self._requests, wanted, may_raise, may_lower)
        first = np.isnan(self._requests) & ~np.isnan(request)
        resized = first | self._far_enough(self._requests, request)
        request = np.where(resized, request, self._requests)
        wanted_limit = self._sizing.limits(request, target / self._sizing.factor, self._peak, floors)
        limit = _allowed(self._limits, wanted_limit, may_raise | resized, may_lower)
        moves = resized | self._worth_alone(limit)
        limit = np.where(moves, limit, self._limits)
        lowers = moves & ~first & ((request < self._requests) | (limit < self._limits))
        causes = np.where(first, Cause.FIRST, np.where(lowers, Cause.LOWERED, Cause.RAISED))
        self._requests, self._limits = request, limit
        self._lowered[lowers] = slot
        column = end - self._begin
        self._course.causes[moves, column] = causes[moves]
        self._course.requests[:, column], self._course.limits[:, column] = request, limit

    def _far_enough(self, now: Numbers, wanted: Numbers) -> Truth:
        least = np.where(wanted > now, self._pace.raise_change, self._pace.minimum_change)
        return speed.far_enough(now, wanted, least)

    def _worth_alone(self, limit: Numbers) -> Truth:
        """Whether a limit moves without its request: only upwards, as it reserves nothing, and where that restarts nothing."""
        if not self._pace.fast:
            return np.zeros(len(limit), dtype=np.bool_)
        return speed.far_enough(self._limits, limit, self._pace.minimum_change) & (limit > self._limits)

    def _floor(self, slot: int) -> Numbers:
        """What OOM kills of the window taught."""
        floors = np.fmax(self._floors, self._peak * PEAK_MARGIN)
        return np.where(self._floor_ends >= slot, floors, np.nan)

    def _between(self, begin: int, end: int) -> None:
        """The columns from `begin` to `end`, in which only what cannot wait is decided."""
        if end < begin:
            return
        columns = slice(begin - self._begin, end + 1 - self._begin)
        self._course.requests[:, columns] = self._requests[:, np.newaxis]
        self._course.limits[:, columns] = self._limits[:, np.newaxis]
        rows = np.flatnonzero(self._alarming(np.fmax.reduce(self._values[:, begin : end + 1], axis=1)))
        for column in range(begin, end + 1) if len(rows) else ():
            self._step(rows, column)

    def _alarming(self, largest: Numbers) -> Truth:
        """The rows in which something may happen: where the largest value is below all bounds, none is reached."""
        alarming = largest > self._requests if self._pace.fast else np.zeros(len(largest), dtype=np.bool_)
        return alarming | speed.near_limit(largest, self._limits) if self._sizing.resource == "memory" else alarming

    def _step(self, rows: NDArray[np.intp], column: int) -> None:
        newest = self._values[rows, column].astype(np.float64)
        previous = self._values[rows, column - 1].astype(np.float64) if column else np.full(len(rows), np.nan)
        request, limit = self._requests[rows], self._limits[rows]
        above = speed.above_request(previous, newest, request, self._pace.far_above) & self._pace.fast
        memory = self._sizing.resource == "memory"
        near = speed.near_limit(newest, limit) & memory & self._sizing.limit_moves
        killed = (newest > limit) & memory & self._sizing.learns_from_kills
        self._learn(rows[killed], self._first_slot + column, newest[killed])
        moves = above | near | killed
        if moves.any():
            wanted = np.where(above, np.fmax(previous, newest), newest) * speed.FAST_MARGIN
            if memory:
                wanted = np.fmax(wanted, speed.climbing_to(previous, newest))
            wanted = np.fmax(wanted, self._sizing.request_floors(np.where(killed, self._floors[rows], np.nan)))
            causes = np.where(killed, Cause.OOM_KILL, np.where(near, Cause.NEAR_LIMIT, Cause.ABOVE_REQUEST))
            self._raise(rows[moves], column, wanted[moves], newest[moves], causes[moves])
        self._course.requests[rows, column - self._begin] = self._requests[rows]
        self._course.limits[rows, column - self._begin] = self._limits[rows]

    def _learn(self, rows: NDArray[np.intp], slot: int, used: Numbers) -> None:
        """Leaves the floor of an OOM kill."""
        asked = asked_by_kill(self._limits[rows], used)
        self._floors[rows] = np.fmax(asked, np.where(self._floor_ends[rows] >= slot, self._floors[rows], np.nan))
        self._floor_ends[rows] = slot + self._sizing.window

    def _raise(self, rows: NDArray[np.intp], column: int, wanted: Numbers, used: Numbers, causes: NDArray[np.int64]) -> None:
        requests = np.fmax(self._requests[rows], self._sizing.bounded(wanted))
        floors = np.where(self._floor_ends[rows] >= self._first_slot + column, self._floors[rows], np.nan)
        # What is raised at once is above its level.
        wanted_limits = self._sizing.limits(requests, np.zeros(len(rows)), np.fmax(self._peak[rows], used), floors)
        limits = np.fmax(self._limits[rows], wanted_limits)
        moved = (requests > self._requests[rows]) | (limits > self._limits[rows])
        self._requests[rows], self._limits[rows] = requests, limits
        self._raised_fast[rows[moved]] = self._first_slot + column
        self._course.causes[rows[moved], column - self._begin] = causes[moved]


def asked_by_kill(limits: Numbers, used: Numbers) -> Numbers:
    """The limits that OOM kills at these limits, with this usage, ask for: see `rightsizer.methods.sizing.oom_floor`."""
    return np.fmax(np.fmax(limits * OOM_FACTOR, limits + OOM_ADDITION), used * PEAK_MARGIN)


def whole_hours(first_slot: int, begin: int, end: int) -> Columns:
    """The columns from `begin` to before `end` at whose end an hour is full."""
    columns = np.arange(begin, end)
    whole: Columns = columns[(first_slot + columns) % HOUR_SLOTS == 0]
    return whole


def undecided(rows: int, columns: int) -> Course:
    """A course in which nothing was decided yet."""
    shape = rows, columns
    return Course(np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, dtype=np.uint8))


def _allowed(now: Numbers, wanted: Numbers, may_raise: Truth, may_lower: Truth) -> Numbers:
    """What is wanted as far as it may be done; the first number raises."""
    lower = wanted < now
    return np.where(np.isnan(wanted) | np.where(lower, ~may_lower, ~may_raise), now, wanted)


def seen_enough(values: Values, ends: Columns, window: int, pace: Pace) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether enough was seen at each end to raise, and to lower: shape (rows, ends)."""
    first, last, samples = _reach_of_one(values, int(ends[0]), window) if len(ends) == 1 else _reach(values, ends, window)
    if not pace.steady:
        return _seen_enough_of_runs(values, ends, window, pace, first)
    history = np.maximum(last - first + 1, 0) * SLOT_SECONDS
    fresh = speed.fresh((ends - last) * SLOT_SECONDS) & (history > 0)
    usable = fresh & (samples * SLOT_SECONDS >= history * speed.LEAST_COVERAGE)
    return (
        usable & speed.long_enough(history, pace.raise_after_seconds),
        usable & speed.long_enough(history, pace.lower_after_seconds),
    )


def _seen_enough_of_runs(
    values: Values, ends: Columns, window: int, pace: Pace, first: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The same for what runs now and then. It is as old as its first run, and what matters is how many there were."""
    known = ~np.isnan(values)
    starts = known.copy()
    starts[:, 1:] &= ~known[:, :-1]
    begin = np.maximum(ends + 1 - window, 0)
    # One that began before the window counts as well.
    runs = counts(np.where(starts, np.float32(1), np.float32(np.nan)), ends, window) + (known & ~starts)[:, begin]
    history = np.maximum(ends - first + 1, 0) * SLOT_SECONDS
    covered = counts(values, ends, window) * SLOT_SECONDS >= history * speed.LEAST_COVERAGE
    some = history > 0
    return (
        some & speed.long_enough(history, pace.raise_after_seconds),
        some & speed.long_enough(history, pace.lower_after_seconds) & (covered | (runs >= speed.LEAST_RUNS)),
    )


_Reach = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def _reach(values: Values, ends: Columns, window: int) -> _Reach:
    """The first and the last column with a value of the window at each end, and how many there are; the first after the last for none."""
    known = ~np.isnan(values)
    columns = np.arange(values.shape[1], dtype=np.int64)
    last = np.maximum.accumulate(np.where(known, columns, -1), axis=1)[:, ends]
    following = np.minimum.accumulate(np.where(known, columns, len(columns))[:, ::-1], axis=1)[:, ::-1]
    return following[:, np.maximum(ends + 1 - window, 0)], last, counts(values, ends, window)


def _reach_of_one(values: Values, end: int, window: int) -> _Reach:
    """The same at a single end, a tenth of the work."""
    begin = max(end + 1 - window, 0)
    there = extent(values[:, begin : end + 1])
    first = np.where(there.samples > 0, begin + there.first, end + 1)
    return first[:, np.newaxis], (begin + there.last)[:, np.newaxis], there.samples[:, np.newaxis]
