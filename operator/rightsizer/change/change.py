"""One change of a workload's sizes as a value: what it was, what was wanted, and what became of it so far.

A change is recorded before it is made, so a crash at any point leaves either nothing or an intent that the next cycle can judge by
looking at the workload. Nothing here reads or writes anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from rightsizer.checks.differences import sizes_after
from rightsizer.checks.facts import Direction, FieldChange
from rightsizer.profile import IN_PLACE, ON_CREATE, ROLLOUT
from rightsizer.workload import RESOURCES, FieldPath, RolloutPhase, SizeField, Sizes, Workload

_FIELDS: tuple[SizeField, ...] = ("request", "limit")

RESTARTING = (ROLLOUT,)
"""Strategies under which a change restarts pods."""

BEING_RESIZED = "made, the pods are being resized"
IN_FORCE = "in force for pods that are created from now on; those that run keep theirs"


class Outcome(StrEnum):
    """STARTED: recorded, perhaps not made. IN_PROGRESS: made, and on its way to the pods. VERIFYING: all pods have it and are watched. The
    others are ends.

    SUPERSEDED: somebody else set other values since. UNDONE: somebody else put the former values back. ABANDONED: recorded, never made.
    """

    STARTED = "Started"
    IN_PROGRESS = "InProgress"
    VERIFYING = "Verifying"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SUPERSEDED = "Superseded"
    UNDONE = "Undone"
    ABANDONED = "Abandoned"

    @property
    def ended(self) -> bool:
        return self not in (Outcome.STARTED, Outcome.IN_PROGRESS, Outcome.VERIFYING)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a workload's sizes. Times in unix seconds; `previous` and `applied` map container names to full sizes.

    `last_lowered` is when this workload was last lowered (this change included), carried from change to change for the cool-down;
    `lowered_before`: by changes before this one.
    `watched_until`: when it counts as verified; `memory_watched_until`, `cpu_watched_until`: until when an OOM kill, and throttling, which
    is read by whole hours, is still held against it. `reverts`: the
    trouble for which it takes another change back; empty where it is none of these. `failures`: how many changes in a row were taken back,
    this one included. `undone_by`: the field manager that put the former values back, if that is known. `restless`: containers that
    restarted before it already. `left`: pods that could not be resized in place, and why.
    """

    time: float
    strategy: str
    outcome: Outcome
    previous: Mapping[str, Sizes]
    applied: Mapping[str, Sizes]
    last_lowered: float | None = None
    message: str = ""
    lowered_before: float | None = None
    watched_until: float | None = None
    memory_watched_until: float | None = None
    cpu_watched_until: float | None = None
    reverts: str = ""
    failures: int = 0
    undone_by: str = ""
    restless: tuple[str, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)

    @property
    def still_watched(self) -> bool:
        """Whether something is still held against it, or may be."""
        later = self.memory_watched_until is not None or self.cpu_watched_until is not None
        return not self.outcome.ended or (self.outcome is Outcome.SUCCEEDED and later)

    @property
    def in_hand(self) -> bool:
        """Whether it is being made: nothing else may be changed meanwhile."""
        return self.outcome in (Outcome.STARTED, Outcome.IN_PROGRESS)

    def numbers(self) -> Iterator[FieldChange]:
        """All numbers of the containers that it concerns, also those that it leaves as they were."""
        for name, sizes in self.applied.items():
            previous = self.previous.get(name, Sizes())
            for resource in RESOURCES:
                for which in _FIELDS:
                    yield FieldChange(FieldPath(name, resource, which), previous.get(resource, which), sizes.get(resource, which))

    def fields(self) -> tuple[FieldChange, ...]:
        """The numbers that it moves."""
        return tuple(one for one in self.numbers() if one.before != one.after)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the sizes in force have come to the pods, and why no further."""

    phase: RolloutPhase
    message: str = ""


def by_rollout(workload: Workload) -> Progress:
    """As the workload's own rolling update tells it."""
    return Progress(workload.rollout, workload.rollout_message)


def start(
    workload: Workload,
    allowed: Sequence[FieldChange],
    *,
    now: float,
    strategy: str,
    last_lowered: float | None = None,
    failures: int = 0,
    restless: tuple[str, ...] = (),
) -> Change:
    """The intent to make these changes, to be recorded before they are made. `last_lowered`: when the workload was last lowered before;
    `failures`: how many changes in a row were taken back before."""
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
        lowered_before=last_lowered,
        message="recorded, being made",
        failures=failures,
        restless=restless,
    )


def not_lowered(change: Change) -> Change:
    """The change where it was never made: it lowered nothing, so nothing has to cool down."""
    return replace(change, last_lowered=change.lowered_before)


def raises(change: Change) -> bool:
    """Whether it gave any container more: a request or limit that is higher, or gone. What was taken back gave nothing."""
    made_it = change.outcome not in (Outcome.STARTED, Outcome.ABANDONED) and not change.reverts
    return made_it and any(one.direction is Direction.RAISE for one in change.fields())


def made(change: Change) -> Change:
    """The change after it was made."""
    if change.reverts:
        return replace(change, outcome=Outcome.IN_PROGRESS, message=f"the former values are being put back: {change.reverts}")
    if change.strategy == ON_CREATE:
        return replace(change, outcome=Outcome.IN_PROGRESS, message=IN_FORCE)
    if change.strategy == IN_PLACE:
        return replace(change, outcome=Outcome.IN_PROGRESS, message=BEING_RESIZED)
    return replace(change, outcome=Outcome.IN_PROGRESS, message="made, the pods are being replaced")
