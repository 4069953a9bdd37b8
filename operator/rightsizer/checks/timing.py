"""The check of the hour: is it one of those at which the profile lets changes begin?"""

from __future__ import annotations

from datetime import datetime

from rightsizer.checks.facts import CheckFacts, Objection, Reason
from rightsizer.checks.moment import moment
from rightsizer.checks.pressure import relieves
from rightsizer.profile import DAYS, ChangeWindow, next_opening


def outside_window(facts: CheckFacts) -> Objection | None:
    """The profile names hours for changes, and this is none of them. Urgent memory goes first, unless the profile says no."""
    rule = facts.profile.apply
    if not rule.windows or any(window.contains(facts.now) for window in rule.windows):
        return None
    held = frozenset(one.path for one in facts.changes if not (rule.raise_outside_windows and relieves(facts.recommendations, one)))
    if not held:
        return None
    return Objection(Reason.OUTSIDE_WINDOW, _told(next_opening(rule.windows, facts.now)), held)


def _told(opening: tuple[float, ChangeWindow] | None) -> str:
    if opening is None:
        return "no window of spec.apply.windows ever opens: see the condition Ready of the profile"
    at, window = opening
    local = datetime.fromtimestamp(at, window.zone)
    return f"outside of spec.apply.windows: the next one opens at {moment(at)} ({DAYS[local.weekday()]} {local:%H:%M} {window.zone})"
