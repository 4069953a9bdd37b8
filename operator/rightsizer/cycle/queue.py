"""Who may be changed now: rollouts one after the other, in each profile and each namespace, the most urgent and then the largest first.

After a change that was taken back, nothing else is lowered in its profile for a while: what went wrong there may go wrong everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rightsizer.change import RESTARTING, Outcome
from rightsizer.checks.facts import Direction, FieldChange, Objection, Reason
from rightsizer.checks.moment import moment
from rightsizer.checks.pressure import under_pressure
from rightsizer.cycle.assignment import Ruled
from rightsizer.cycle.case import Case
from rightsizer.profile import Profile
from rightsizer.status.standing import Standing

Place = tuple[Case, Standing]

SETTING = "RIGHTSIZER_ROLLOUTS_PER_NAMESPACE"


class Queue:
    """Of one cycle. `per_namespace`: how many workloads of a namespace may be in a rollout of ours at a time."""

    def __init__(self, places: Iterable[tuple[Ruled, Standing]], *, per_namespace: int, now: float) -> None:
        self._per_namespace = per_namespace
        self._now = now
        self._of_profile: Counter[str] = Counter()
        self._of_namespace: Counter[str] = Counter()
        self._failed: dict[str, tuple[float, str]] = {}
        for ruled, standing in places:
            if standing.change is not None and standing.change.in_hand and standing.change.strategy in RESTARTING:
                self._begin(ruled)
            self._note_failure(ruled, standing)

    def objection(self, ruled: Ruled, standing: Standing) -> Objection | None:
        """Why this one, or a part of it, has to wait; where anything is left, it is counted as begun. Ask in the order of `in_order`."""
        allowed, restarting = standing.verdict.allowed, ruled.profile.apply.strategy in RESTARTING
        # It is about to be killed, or was: nobody else's rollout is worth that.
        urgent = under_pressure(standing.recommendations, allowed)
        stopped = None if urgent else self._stopped(ruled.profile, allowed)
        if stopped is not None and not left_by(stopped, allowed):
            return stopped
        full = self._full(ruled) if restarting and not urgent else None
        if full is not None:
            return full
        if restarting:
            self._begin(ruled)
        return stopped

    def _begin(self, ruled: Ruled) -> None:
        self._of_profile[ruled.profile.uid] += 1
        self._of_namespace[ruled.workload.ref.namespace] += 1

    def _note_failure(self, ruled: Ruled, standing: Standing) -> None:
        change = standing.change
        if change is None or not (change.reverts or change.outcome is Outcome.FAILED):
            return
        newest = max(self._failed.get(ruled.profile.uid, (0.0, "")), (change.time, str(ruled.workload.ref)))
        self._failed[ruled.profile.uid] = newest

    def _stopped(self, profile: Profile, allowed: Sequence[FieldChange]) -> Objection | None:
        at, which = self._failed.get(profile.uid, (0.0, ""))
        until = at + profile.apply.pause_after_failure_seconds
        lower = frozenset(change.path for change in allowed if change.direction is Direction.LOWER)
        if not which or self._now >= until or not lower:
            return None
        message = f"the change of {which} failed at {moment(at)}: profile {profile.name} lowers nothing before {moment(until)}"
        return Objection(Reason.QUEUE_STOPPED, message, lower)

    def _full(self, ruled: Ruled) -> Objection | None:
        profile, namespace = ruled.profile, ruled.workload.ref.namespace
        if self._of_profile[profile.uid] >= profile.apply.max_concurrent:
            message = (
                f"profile {profile.name} has as many rollouts under way as it allows (apply.maxConcurrent {profile.apply.max_concurrent})"
            )
        elif self._of_namespace[namespace] >= self._per_namespace:
            message = f"as many rollouts are under way in namespace {namespace} as the operator allows ({SETTING}={self._per_namespace})"
        else:
            return None
        return Objection(Reason.ANOTHER_ROLLOUT_RUNNING, message)


def left_by(objection: Objection, allowed: Iterable[FieldChange]) -> tuple[FieldChange, ...]:
    """What may be changed all the same."""
    return tuple(change for change in allowed if objection.paths is not None and change.path not in objection.paths)


def may_begin(objection: Objection | None) -> bool:
    """Whether the objection leaves anything to be changed, as far as can be told without the numbers."""
    return objection is None or objection.paths is not None


def in_order(places: Iterable[Place]) -> list[Place]:
    """What is under pressure first, then what is raised, then the largest savings."""
    return sorted(places, key=lambda place: (_urgency(place[1]), -_saved(place[1]), place[0].workload.ref))


def _urgency(standing: Standing) -> int:
    allowed = standing.verdict.allowed
    if under_pressure(standing.recommendations, allowed):
        return 0
    return 1 if any(change.direction is Direction.RAISE for change in allowed) else 2


def _saved(standing: Standing) -> float:
    """Of all its pods, in cores and 4 GiB, which cost about as much."""
    saved = sum(_weight(change) for change in standing.verdict.allowed if change.path.field == "request")
    return saved * standing.workload.replicas


def _weight(change: FieldChange) -> float:
    less = (change.before or 0) - (change.after or 0)
    return less / 1000 if change.path.resource == "cpu" else less / (4 << 30)
