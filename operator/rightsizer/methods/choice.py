"""Which form a container is given: each is replayed over the container's own past, and what it would have cost there decides.

A tally is what a replay counts; costs are in points of slack. Arrays of shape (forms, rows), the form that counts at first in front. How
requests are replayed is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from rightsizer.methods.levels import DAY_SLOTS
from rightsizer.methods.ranking import Levels
from rightsizer.methods.statistics import Numbers

TALLY_HALF_LIFE_DAYS = 14.0
"""What a form cost two weeks ago says half as much as what it costs today."""

HOURLY_DECAY = 2.0 ** (-1 / (24 * TALLY_HALF_LIFE_DAYS))

SLACK_POINTS, ABOVE_POINTS, UNMET_POINTS, CHANGE_POINTS = 100.0, 30.0, 8.0, 8.0
"""What is worth as much as a point of slack: 1/30 % of time above the request, 1/8 % of unmet demand, 1/8 of a change a day."""

PRIOR_POINTS = 1.0
"""How much cheaper another form has to be than the first: that one fits most containers, and the past of one is short."""

PRIOR_DAYS = 1.0
"""A difference counts n / (n + 1) after n days."""

LEAST_DAYS = 2.0
"""Before two days of its own replay a container has the first form: a daily form has not seen a second day before."""

SWITCH_POINTS = 0.5
"""How much cheaper than the one in force: forms that cost the same would take turns, and each turn is a change."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted of requests in force, by slot: their sum and number, how often and by how much usage was above, changes, usage."""

    requested: Levels
    slots: Levels
    above: Levels
    unmet: Levels
    changes: Levels
    used: Levels
    known: Levels

    @property
    def days(self) -> Levels:
        return self.slots / DAY_SLOTS

    def of_forms(self, number: int) -> Tally:
        """Of so many first lanes only."""
        return Tally(*(getattr(self, item.name)[:number] for item in fields(Tally)))


def empty(shape: tuple[int, int]) -> Tally:
    return Tally(*(np.zeros(shape) for _ in fields(Tally)))


def fade(tally: Tally) -> None:
    """Lets an hour pass, in place."""
    for item in fields(Tally):
        counted: Levels = getattr(tally, item.name)
        counted *= HOURLY_DECAY


@dataclass(frozen=True, slots=True)
class Costs:
    """What each form cost more than the first, in points of slack, by cause; negative is cheaper."""

    slack: Levels
    above: Levels
    unmet: Levels
    changes: Levels

    @property
    def total(self) -> Levels:
        return self.slack + self.above + self.unmet + self.changes


def costs(tally: Tally, busy: Numbers) -> Costs:
    """The costs by a tally; `busy` is the level of the busy hours of each row, in the unit of the requests."""
    slack = np.nan_to_num(-busy * _per(tally.slots, tally.requested))
    return Costs(
        slack=_beyond_first(slack) * SLACK_POINTS,
        above=_beyond_first(_per(tally.above, tally.known)) * ABOVE_POINTS * 100,
        unmet=_beyond_first(_per(tally.unmet, tally.used)) * UNMET_POINTS * 100,
        changes=_beyond_first(_per(tally.changes, tally.days)) * CHANGE_POINTS,
    )


def scores(tally: Tally, busy: Numbers) -> Levels:
    """What is compared: costs, believed the less the shorter the past, with what speaks for the first form; the least is the best."""
    days = tally.days[0]
    found: Levels = costs(tally, busy).total * days / (days + PRIOR_DAYS)
    found[1:] += PRIOR_POINTS
    found[1:, days < LEAST_DAYS] = np.inf
    return found


def chosen(current: NDArray[np.int64], scores: Levels) -> NDArray[np.int64]:
    """The form of each row: another one than the current only where it is better by enough."""
    best = scores.argmin(axis=0)
    rows = np.arange(len(current))
    better = scores[best, rows] < scores[current, rows] - SWITCH_POINTS
    return np.where(better, best, current)


def told(names: Sequence[str], current: NDArray[np.int64], tally: Tally, busy: Numbers) -> list[str]:
    """Which form each row has, why, and what came next: `daily: 3.2 points cheaper than steady over 9.1 days of replay (...)`."""
    if len(names) == 1:
        return [f"{names[0]}: the only form of this resource under this strategy"] * len(current)
    found, points, days = costs(tally, busy), scores(tally, busy), tally.days[0]
    return [_told(names, int(current[row]), found, points[:, row], float(days[row]), row) for row in range(len(current))]


def _told(names: Sequence[str], current: int, found: Costs, points: Numbers, days: float, row: int) -> str:
    if days < LEAST_DAYS:
        return f"{names[0]}: {days:.1f} days were replayed, others are chosen from {LEAST_DAYS:.0f} days on"
    others = [place for place in np.argsort(points).tolist() if place != current]
    return f"{names[current]}: {_why(names, current, found, row, days)}; runner-up {_why_not(names, others[0], points, current)}"


def _why(names: Sequence[str], current: int, found: Costs, row: int, days: float) -> str:
    if current == 0:
        return f"no other form was cheaper by enough over {days:.1f} days of replay"
    by_cause = {item.name: float(getattr(found, item.name)[current, row]) for item in fields(Costs)}
    causes = ", ".join(f"{name} {points:+.1f}" for name, points in by_cause.items())
    return f"{-sum(by_cause.values()):.1f} points cheaper than {names[0]} over {days:.1f} days of replay ({causes})"


def _why_not(names: Sequence[str], other: int, points: Numbers, current: int) -> str:
    return f"{names[other]} ({points[other] - points[current]:+.1f} points)"


def _per(part: Levels, whole: Levels) -> Levels:
    shares: Levels = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return shares


def _beyond_first(figures: Levels) -> Levels:
    beyond: Levels = figures - figures[0]
    return beyond
