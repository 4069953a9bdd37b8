"""The replay of the method `Learned`: each form on its own, and beside them the request that follows the form chosen by then.

All of them are lanes of one walk over time: first one lane for each form, with nothing learned, and last the request itself, whose margin
is under control. A lane is what `rightsizer.methods.risk.Conduct` says; every decision sees only what was there by then. A decision has
seen the slot at whose end it is made and is in force for the slots after it. How good the decisions were is not known here.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from rightsizer.evidence.lanes import Conducts, LearnedState, Learning, beginning, conducts_of, forms_of
from rightsizer.evidence.replay import Cause, Course, asked_by_kill, seen_enough, undecided, whole_hours
from rightsizer.history import SLOT_SECONDS, Values
from rightsizer.methods import choice, forms
from rightsizer.methods import pace as speed
from rightsizer.methods.choice import Tally
from rightsizer.methods.levels import DAY_SLOTS, Maximum
from rightsizer.methods.pace import Pace, Truth
from rightsizer.methods.ranking import Levels
from rightsizer.methods.risk import GUARD
from rightsizer.methods.sizing import LEARNED_PEAK_MARGIN, PEAK_MARGIN
from rightsizer.methods.statistics import Numbers

YOUNG_SLOTS = 2 * DAY_SLOTS
"""For so long after the first decision memory is raised sooner, and before so much was seen no share is believed."""

ESCALATION_HALF_LIFE = DAY_SLOTS
"""A raise of yesterday counts half among those of late."""

MOST_RAISES = 4
"""So many raises of late make a fast one as large as it can be."""

MOST_STEP = 2.0
"""Memory that climbs is given at most so many times what it uses."""

LEAST_FAST_RAISE = 1.1
"""What raises at once is worth it from a tenth of the request on."""

_REQUEST = -1
"""The lane of the request itself."""


def replay_learned(
    values: Values, learning: Learning, pace: Pace, *, first_slot: int, begin: int = 0, state: LearnedState | None = None
) -> tuple[Course, LearnedState]:
    """Replays the columns from `begin` on of values (rows, slots) in millicores or bytes; as `rightsizer.evidence.replay.replay`."""
    walk = _Walk(values, learning, pace, first_slot, begin, state or beginning(len(values), learning, pace))
    return walk.course(), walk.state()


def explained(state: LearnedState, learning: Learning, pace: Pace) -> list[str]:
    """Which form each row has, why, and what came next."""
    names = forms_of(learning, pace)
    return choice.told(names, state.form, state.tally.of_forms(len(names)), state.busy)


class _Walk:
    """One replay under way: the arrays that change from slot to slot."""

    def __init__(self, values: Values, learning: Learning, pace: Pace, first_slot: int, begin: int, state: LearnedState) -> None:
        self._learning, self._pace = learning, pace
        self._sizing = learning.sizing
        self._memory = self._sizing.resource == "memory"
        self._first_slot, self._begin = first_slot, begin
        self._conducts = Conducts(conducts_of(learning, pace))
        self._names = forms_of(learning, pace)
        self._values = values
        self._slots_first = np.ascontiguousarray(values[:, max(begin - 1, 0) :].T, dtype=np.float64)
        self._ends = whole_hours(first_slot, begin, values.shape[1])
        self._measured: Levels | None = None
        self._take(state)
        self._course = undecided(len(values), values.shape[1] - begin)

    def _take(self, state: LearnedState) -> None:
        self._requests = state.requests
        self._decided, self._lowered = state.decided.copy(), state.lowered.copy()
        self._raised_fast, self._raised = state.raised_fast.copy(), state.raised.copy()
        self._raises, self._margins, self._credits = state.raises.copy(), state.margins.copy(), state.credits.copy()
        self._floors, self._floor_ends = state.floors.copy(), state.floor_ends.copy()
        self._tally = Tally(*(getattr(state.tally, item.name).copy() for item in fields(Tally)))
        self._form, self._busy = state.form, state.busy
        self._targets = state.raise_to, state.lower_to
        self._kill_floor, self._guard = state.kill_floor, state.guard

    def state(self) -> LearnedState:
        return LearnedState(
            self._requests,
            self._decided,
            self._lowered,
            self._raised_fast,
            self._raises,
            self._raised,
            self._margins,
            self._credits,
            self._floors,
            self._floor_ends,
            self._tally,
            self._form,
            self._busy,
            *self._targets,
            self._kill_floor,
            self._guard,
        )

    def course(self) -> Course:
        self._prepare()
        hours = {end: hour for hour, end in enumerate(self._ends.tolist())}
        back = 1 if self._begin else 0
        previous = self._slots_first[0] if back else np.full(len(self._values), np.nan)
        for column, newest in enumerate(self._slots_first[back:], start=self._begin):
            before = self._requests
            self._judge(newest)
            causes = np.zeros(before.shape, dtype=np.uint8)
            # A kill in this slot was one at the limit that was in force: its lesson counts for the decision of a full hour, too.
            killed = self._killed(newest, self._first_slot + column)
            if column in hours:
                causes = self._decide(hours[column], column)
            causes = self._hasten(newest, previous, before, killed, self._first_slot + column, causes)
            self._tally.changes[...] += (self._requests != before) & ~np.isnan(before)
            if column in hours:
                choice.fade(self._tally)
            self._course.requests[:, column - self._begin] = self._requests[_REQUEST]
            self._course.causes[:, column - self._begin] = causes[_REQUEST]
            previous = newest
        self._course.limits[:] = self._learning.limits(self._course.requests)
        return self._course

    def _prepare(self) -> None:
        """What is wanted at each whole hour of the walk, and whether it may be done."""
        window, values, ends = self._sizing.window, self._values, self._ends
        looking = forms.Looking(values, ends, window)
        found = forms.bands_of(self._sizing.resource, looking)
        self._raise_to = np.stack([found[name].raise_to for name in self._names])
        self._lower_to = np.stack([found[name].lower_to for name in self._names])
        self._may_raise, self._may_lower = seen_enough(values, ends, window, self._pace)
        self._peaks = Maximum(window).levels(values, ends)
        self._busy_levels = looking.busy_level() if len(self._names) > 1 else self._peaks

    def _judge(self, newest: Numbers) -> None:
        """Counts a slot by what is in force, and lets the margin learn from it."""
        requests, tally = self._requests, self._tally
        decided = ~np.isnan(requests)
        known = decided & ~np.isnan(newest)
        above = newest > requests
        tally.requested[...] += np.where(decided, requests, 0.0)
        tally.slots[...] += decided
        tally.above[...] += above
        tally.unmet[...] += np.where(above, newest - requests, 0.0)
        tally.used[...] += np.where(known, newest, 0.0)
        tally.known[...] += known
        excess = np.where(known, above - self._conducts.set_point, 0.0)
        self._margins += self._conducts.gain * excess
        self._credits = np.clip(self._credits - excess, -self._conducts.most_credit, self._conducts.most_credit)

    def _decide(self, hour: int, column: int) -> NDArray[np.uint8]:
        """The decisions of a whole hour; gives the causes."""
        slot, now = self._first_slot + column, self._requests
        raise_to, lower_to = self._wanted(hour, slot)
        rested = (slot - self._lowered) * SLOT_SECONDS >= self._pace.lower_every_seconds
        settled = slot - self._raised_fast >= self._conducts.settle_slots
        first = np.isnan(now) & ~np.isnan(raise_to) & self._may_raise[:, hour]
        raises = (raise_to > now * (1 + self._conducts.raise_change)) & self._may_raise[:, hour]
        lowers = (lower_to < now * (1 - self._conducts.lower_change)) & self._may_lower[:, hour] & rested & settled & ~raises
        self._requests = np.where(first | raises, raise_to, np.where(lowers, lower_to, now))
        self._decided[first] = slot
        self._lowered[lowers] = slot
        self._count_raises(raises, slot)
        causes = np.select([first, raises, lowers], [Cause.FIRST, Cause.RAISED, Cause.LOWERED], Cause.NONE)
        return causes.astype(np.uint8)

    def _wanted(self, hour: int, slot: int) -> tuple[Levels, Levels]:
        """What each lane would raise to and lower to. Of the request it is kept by what it is made of, too: so it is explained."""
        if len(self._names) > 1:
            self._busy = self._busy_levels[:, hour]
            self._form = choice.chosen(self._form, choice.scores(self._tally.of_forms(len(self._names)), self._busy))
        factors = np.exp(self._margins) * self._conducts.widening
        taught = self._sizing.request_floors(self._taught(hour, slot))
        floors = np.fmax(taught, self._sizing.peak_floors(self._peaks[:, hour], LEARNED_PEAK_MARGIN))
        self._kill_floor = taught[_REQUEST]
        self._guard = self._guarded(hour)
        lanes, targets = [], []
        for levels in (self._raise_to[:, :, hour], self._lower_to[:, :, hour]):
            of_request = levels[self._form, np.arange(len(self._form))]
            lane = (np.vstack([levels, of_request]) if len(self._names) > 1 else levels) * factors
            targets.append(lane[_REQUEST].copy())
            lane[_REQUEST] = np.where(np.isnan(lane[_REQUEST]), np.nan, np.fmax(lane[_REQUEST], self._guard))
            lanes.append(self._sizing.bounded(np.fmax(lane, floors)))
        self._targets = targets[0], targets[1]
        return lanes[0], lanes[1]

    def _guarded(self, hour: int) -> Numbers:
        """What `Measured` would give those that need the guard, NaN for all others: there are few of them."""
        overspent = self._overspent()
        if not overspent.any():
            return np.full(len(overspent), np.nan)
        if self._measured is None:
            self._measured = self._sizing.estimator.levels(self._values, self._ends) * self._sizing.factor
        return np.where(overspent, self._measured[:, hour], np.nan)

    def _overspent(self) -> Truth:
        """The containers that were above their request for much more than was promised: see `GUARD`."""
        above, known = self._tally.above[_REQUEST], self._tally.known[_REQUEST]
        overspent: Truth = above > GUARD * self._conducts.set_point[_REQUEST] * np.maximum(known, YOUNG_SLOTS)
        return overspent

    def _taught(self, hour: int, slot: int) -> Levels:
        """What OOM kills taught."""
        floors = np.fmax(self._floors, self._peaks[:, hour] * PEAK_MARGIN)
        return np.where(self._floor_ends >= slot, floors, np.nan)

    def _hasten(
        self, newest: Numbers, previous: Numbers, before: Levels, killed: Truth, slot: int, causes: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """Raises at once what cannot wait for the hour. At a full hour a jump is told by the request that was in force before it: what the
        hour decides holds what was used, and not what is still to come."""
        requests, conduct = np.fmin(self._requests, before), self._conducts
        near = speed.near_limit(newest, self._learning.limits(requests)) & self._memory & self._sizing.limit_moves
        young = slot - self._decided < YOUNG_SLOTS
        spent = (conduct.most_credit <= 0) | (self._credits < 0)
        twice = (newest > requests * conduct.above) & (previous > requests * conduct.above) & spent
        above = twice | (newest > requests * np.where(young, conduct.far_above_young, conduct.far_above))
        moves = above | near | killed
        if not moves.any():
            return causes
        wanted = self._enough_for(np.fmax(newest, previous), requests, slot)
        wanted = np.fmax(wanted, np.where(killed, self._sizing.request_floors(self._floors), np.nan))
        wanted = self._sizing.bounded(wanted)
        moves &= wanted >= self._requests * LEAST_FAST_RAISE
        self._requests = np.where(moves, wanted, self._requests)
        self._raised_fast[moves] = slot
        self._count_raises(moves, slot)
        urgent = np.where(killed, Cause.OOM_KILL, np.where(near, Cause.NEAR_LIMIT, Cause.ABOVE_REQUEST)).astype(np.uint8)
        return np.where(moves & (causes != Cause.FIRST), urgent, causes)

    def _killed(self, newest: Numbers, slot: int) -> Truth:
        """Where memory was above its limit. A kill leaves its floor."""
        limits = self._learning.limits(self._requests)
        killed = (newest > limits) & self._memory & self._sizing.learns_from_kills & self._sizing.limit_moves
        if killed.any():
            floors = np.fmax(asked_by_kill(limits, newest), np.where(self._floor_ends >= slot, self._floors, np.nan))
            self._floors = np.where(killed, floors, self._floors)
            self._floor_ends[killed] = slot + max(self._learning.kill_slots, self._sizing.window)
        return killed

    def _enough_for(self, level: Numbers, requests: Levels, slot: int) -> Levels:
        """What a fast raise leaves above usage: more after many raises, more for a steep climb above these requests."""
        conduct = self._conducts
        raises = np.minimum(self._raises_of_late(slot), MOST_RAISES)
        escalated = level * (1 + conduct.fast_margin * (1 + conduct.escalation * raises))
        climbing = np.minimum(level + conduct.steepness * (level - requests), MOST_STEP * level)
        return np.fmax(escalated, climbing)

    def _raises_of_late(self, slot: int) -> Levels:
        late: Levels = self._raises * np.exp2((self._raised - slot) / ESCALATION_HALF_LIFE)
        return late

    def _count_raises(self, raises: Truth, slot: int) -> None:
        if raises.any():
            self._raises = np.where(raises, self._raises_of_late(slot) + 1, self._raises)
            self._raised[raises] = slot
