"""The life of one change as a pure state machine: what was intended, what became of it, what comes next.

A change is recorded before it is made, so a crash at any point leaves either nothing or an intent that the next cycle can judge by
looking at the workload. Nothing here reads or writes anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from rightsizer.checks.differences import sizes_after
from rightsizer.checks.facts import Direction, FieldChange
from rightsizer.profile import ON_CREATE
from rightsizer.workload import RESOURCES, Container, FieldPath, RolloutPhase, SizeField, Sizes, Workload

_FIELDS: tuple[SizeField, ...] = ("request", "limit")

IN_FORCE = "in force for pods that are created from now on; those that run keep theirs"


class Outcome(StrEnum):
    """STARTED: recorded, perhaps not made. IN_PROGRESS: made, pods are being replaced. The others are ends.

    SUPERSEDED: somebody else set other values since. ABANDONED: it was recorded but never made.
    """

    STARTED = "Started"
    IN_PROGRESS = "InProgress"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SUPERSEDED = "Superseded"
    ABANDONED = "Abandoned"

    @property
    def ended(self) -> bool:
        return self not in (Outcome.STARTED, Outcome.IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a workload's sizes. `time` in unix seconds; `previous` and `applied` map container names to full sizes.

    `last_lowered` is when this workload was last lowered (this change included), carried from change to change for the cool-down.
    """

    time: float
    strategy: str
    outcome: Outcome
    previous: Mapping[str, Sizes]
    applied: Mapping[str, Sizes]
    last_lowered: float | None = None
    message: str = ""


def start(workload: Workload, allowed: Sequence[FieldChange], *, now: float, strategy: str, last_lowered: float | None = None) -> Change:
    """The intent to make these changes, to be recorded before they are made. `last_lowered`: when the workload was last lowered before."""
    applied = sizes_after(workload, allowed)
    # Whole seconds, because that is what the record keeps, and a time has to be the same after it was read back.
    time = float(int(now))
    lowers = any(change.direction is Direction.LOWER for change in allowed)
    return Change(
        time=time,
        strategy=strategy,
        outcome=Outcome.STARTED,
        previous={container.name: container.sizes for container in workload.containers if container.name in applied},
        applied=applied,
        last_lowered=time if lowers else last_lowered,
        message="recorded, about to be made",
    )


def observe(change: Change, workload: Workload) -> Change:
    """What became of the change, judged by the workload as it is now. An ended change is returned as it is.

    One step at a time: a change that was recorded and is found made is IN_PROGRESS first, whatever its rollout says.

        before        template       rollout        after
        STARTED       as applied     any            IN_PROGRESS
        STARTED       other          any            ABANDONED
        IN_PROGRESS   other          any            SUPERSEDED
        IN_PROGRESS   as applied     InProgress     IN_PROGRESS
        IN_PROGRESS   as applied     Complete       SUCCEEDED
        IN_PROGRESS   as applied     Failed         FAILED

    A change of what pods get at their creation has no rollout: STARTED and found made, it is SUCCEEDED.
    """
    if change.outcome.ended:
        return change
    difference = _first_difference(change, workload)
    if change.outcome is Outcome.STARTED:
        return made(change) if difference is None else _abandoned(change)
    if difference is not None:
        return replace(change, outcome=Outcome.SUPERSEDED, message=f"somebody else changed {difference} since")
    return _by_rollout(change, workload)


def raises(change: Change) -> bool:
    """Whether it gave any container more: a request or limit that is higher, or gone."""
    return change.outcome not in (Outcome.STARTED, Outcome.ABANDONED) and any(
        FieldChange(FieldPath(name, resource, field), before, after).direction is Direction.RAISE
        for name, sizes in change.applied.items()
        for resource in RESOURCES
        for field in _FIELDS
        if (before := change.previous.get(name, Sizes()).get(resource, field)) != (after := sizes.get(resource, field))
    )


def made(change: Change) -> Change:
    """The change after it was made."""
    if change.strategy == ON_CREATE:
        return replace(
            change, outcome=Outcome.SUCCEEDED, message="in force for pods that are created from now on; those that run keep theirs"
        )
    return replace(change, outcome=Outcome.IN_PROGRESS, message="made, the pods are being replaced")


def _abandoned(change: Change) -> Change:
    # It did not lower anything, so it must not hold back the next try. The time before it is not known any more, but was long enough ago
    # for this change to be allowed.
    last_lowered = None if change.last_lowered == change.time else change.last_lowered
    return replace(change, outcome=Outcome.ABANDONED, message="recorded, but not made", last_lowered=last_lowered)


def _by_rollout(change: Change, workload: Workload) -> Change:
    if workload.rollout is RolloutPhase.FAILED:
        return replace(change, outcome=Outcome.FAILED, message=workload.rollout_message or "the rollout failed")
    if workload.rollout is RolloutPhase.COMPLETE:
        return replace(change, outcome=Outcome.SUCCEEDED, message=workload.in_force)
    return replace(change, outcome=Outcome.IN_PROGRESS, message=workload.rollout_message or "the pods are being replaced")


def _first_difference(change: Change, workload: Workload) -> str | None:
    containers: Mapping[str, Container] = {container.name: container for container in workload.containers}
    for name, sizes in change.applied.items():
        if name not in containers:
            return f"container {name} (it is gone)"
        if containers[name].sizes != sizes:
            return f"the sizes of container {name}"
    return None
