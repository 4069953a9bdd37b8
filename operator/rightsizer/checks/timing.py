"""The check of the hour: is it one of those at which the profile lets changes begin?"""

from __future__ import annotations

from datetime import datetime

from rightsizer.checks.facts import CheckFacts, Direction, FieldChange, Objection, Reason
from rightsizer.checks.moment import moment
from rightsizer.methods.recommendation import Clamp
from rightsizer.profile import DAYS, ChangeWindow, next_opening

_URGENT = frozenset({Clamp.OOM_KILL, Clamp.NEAR_LIMIT})


def urgent(facts: CheckFacts, change: FieldChange) -> bool:
    """Whether it gives memory to a container that was killed for want of it, or is about to be."""
    raises_memory = change.path.resource == "memory" and change.direction is Direction.RAISE
    return raises_memory and not _URGENT.isdisjoint(facts.clamps(change.path))


def outside_window(facts: CheckFacts) -> Objection | None:
    """The profile names hours for changes, and this is none of them. Urgent memory goes first, unless the profile says no."""
    rule = facts.profile.apply
    if not rule.windows or any(window.contains(facts.now) for window in rule.windows):
        return None
    held = frozenset(one.path for one in facts.changes if not (rule.raise_outside_windows and urgent(facts, one)))
    if not held:
        return None
    return Objection(Reason.OUTSIDE_WINDOW, _told(next_opening(rule.windows, facts.now)), held)


def _told(opening: tuple[float, ChangeWindow] | None) -> str:
    if opening is None:
        return "no window of spec.apply.windows ever opens: see the condition Ready of the profile"
    at, window = opening
    local = datetime.fromtimestamp(at, window.zone)
    return f"outside of spec.apply.windows: the next one opens at {moment(at)} ({DAYS[local.weekday()]} {local:%H:%M} {window.zone})"
