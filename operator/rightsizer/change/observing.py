"""What became of a change, judged by the workload, its pods and what they suffered: the step from one outcome to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rightsizer.change.change import IN_FORCE, Change, Outcome, Progress, made, not_lowered
from rightsizer.change.signs import Sign, SignKind, blamed
from rightsizer.checks.facts import Direction, FieldChange
from rightsizer.checks.moment import moment
from rightsizer.profile import IN_PLACE, ON_CREATE
from rightsizer.workload import FieldPath, RolloutPhase, Workload

UNWATCHED: Mapping[str, Any] = {"memory_watched_until": None, "cpu_watched_until": None}


@dataclass(frozen=True, slots=True)
class Watch:
    """How a change is watched.

    `period_seconds`: how long, 0 for not at all. `memory_peak_at`: when the hour ends that next sees as much memory as this workload uses
    at most (unix seconds), if that is known. `throttling_known_at`: when it is known how much is throttled from now on, if it ever is.
    `signs`: of harm, since the change. `blind`: the pods could not be seen, so nothing is known of how they are.
    `steady`: see `rightsizer.workload.WorkloadRef.steady`.
    """

    now: float = 0.0
    period_seconds: int = 0
    memory_peak_at: float | None = None
    throttling_known_at: float | None = None
    signs: tuple[Sign, ...] = ()
    blind: bool = False
    steady: bool = True


def observe(change: Change, workload: Workload, progress: Progress, watch: Watch) -> Change:
    """What became of the change, judged by the sizes that are in force, how far they came to the pods, and what the pods suffered.

        before        in force      pods           after
        STARTED       other         any            ABANDONED
        STARTED       as applied    any            as IN_PROGRESS
        IN_PROGRESS,
        VERIFYING     other         any            SUPERSEDED, or UNDONE where the former values are back
        IN_PROGRESS,
        VERIFYING     as applied    harmed         FAILED
        IN_PROGRESS   as applied    InProgress     IN_PROGRESS
        IN_PROGRESS   as applied    Complete       VERIFYING, or SUCCEEDED where it is not watched
        IN_PROGRESS   as applied    Failed         FAILED
        VERIFYING     as applied    well           SUCCEEDED once it was watched long enough
        SUCCEEDED     former        any            UNDONE
        SUCCEEDED     as applied    OOM kill       FAILED until the memory was seen at its peak
        SUCCEEDED     as applied    throttled      FAILED until the throttling of its first hour was read

    Other changes that ended are returned as they are. A change that takes another one back is not watched.
    """
    if change.outcome is Outcome.STARTED:
        if _differing(change, workload):
            return _abandoned(change)
        change = made(change)
    if change.outcome not in (Outcome.IN_PROGRESS, Outcome.VERIFYING, Outcome.SUCCEEDED):
        return change
    differing = _differing(change, workload)
    if differing:
        return _overwritten(change, workload, differing)
    if change.outcome is Outcome.SUCCEEDED:
        return _after_success(change, watch)
    harm = _harm(change, watch.signs)
    if harm is not None and not change.reverts:
        # Which pods could not be resized is told no more: only where that is why it failed, another strategy may do better.
        return replace(change, outcome=Outcome.FAILED, message=harm.message, left={})
    if change.outcome is Outcome.VERIFYING:
        # What nobody saw is not verified.
        return _verified(change, watch) if watch.now >= (change.watched_until or 0.0) and not watch.blind else change
    return _by_progress(change, progress, watch)


def watched_from_now(change: Change, watch: Watch) -> Change:
    """The change after it came to its pods."""
    if change.reverts or not watch.period_seconds:
        return _verified(change, watch)
    # Whole minutes would be enough; whole seconds are what the record keeps.
    until = float(int(watch.now + watch.period_seconds))
    lowered_cpu = any(_lowers_cpu_limit(one) for one in change.fields())
    lowered_memory = any(_lowers_memory(one) for one in change.fields())
    peak = watch.memory_peak_at if lowered_memory and watch.memory_peak_at is not None and watch.memory_peak_at > until else None
    return replace(
        change,
        outcome=Outcome.VERIFYING,
        message=f"{_where(change, watch)}; watched until {moment(until)}",
        watched_until=until,
        memory_watched_until=peak,
        cpu_watched_until=watch.throttling_known_at if lowered_cpu else None,
    )


def dropped(change: Change, workload: Workload) -> Change:
    """The change where the sizes at creation that it stood for went with the profile's mode or strategy: nobody undid it."""
    if change.outcome not in (Outcome.STARTED, Outcome.IN_PROGRESS, Outcome.VERIFYING, Outcome.SUCCEEDED):
        return change
    if not _differing(change, workload):
        return change
    message = f"the profile sizes nothing by {change.strategy} any more: new pods are as the template says"
    # A fallback goes on with the same numbers, where not all pods got them.
    ended = not_lowered(change) if change.left else change
    return replace(
        ended,
        outcome=Outcome.SUPERSEDED,
        message=message,
        watched_until=None,
        **UNWATCHED,
    )


def cut_short(change: Change) -> Change:
    """The change as it is remembered where the next one came while it was being watched, or was asked to take it back before that."""
    if change.outcome is Outcome.IN_PROGRESS:
        return replace(change, outcome=Outcome.SUPERSEDED, message="taken back before all pods had it")
    if change.outcome is not Outcome.VERIFYING:
        return change
    message = f"{_words(change, steady=True)}; the next change came before its watch ended"
    return replace(change, outcome=Outcome.SUCCEEDED, message=message, watched_until=None, **UNWATCHED)


def _by_progress(change: Change, progress: Progress, watch: Watch) -> Change:
    if progress.phase is RolloutPhase.FAILED:
        # Where no pod was resized, none was lowered.
        ended = not_lowered(change) if change.strategy == IN_PLACE and not change.reverts else change
        return replace(ended, outcome=Outcome.FAILED, message=progress.message or "the rollout failed")
    if progress.phase is RolloutPhase.COMPLETE:
        return watched_from_now(change, watch)
    words = "" if change.reverts else progress.message or "the pods are being replaced"
    return replace(change, outcome=Outcome.IN_PROGRESS, message=words or change.message)


def _after_success(change: Change, watch: Watch) -> Change:
    if change.reverts or not change.still_watched:
        return change
    oom_until, throttled_until = change.memory_watched_until or 0.0, change.cpu_watched_until or 0.0
    harm = _harm(
        change,
        (
            sign
            for sign in watch.signs
            if (sign.kind is SignKind.OOM_KILL and sign.at <= oom_until) or (sign.kind is SignKind.THROTTLED and throttled_until)
        ),
    )
    if harm is not None:
        return replace(change, outcome=Outcome.FAILED, message=harm.message, **UNWATCHED)
    if watch.now <= max(oom_until, throttled_until):
        return change
    return replace(change, failures=0, **UNWATCHED)


def _verified(change: Change, watch: Watch) -> Change:
    # What only gave more proves nothing about what failed, and what is still watched nothing at all.
    ended = replace(change, outcome=Outcome.SUCCEEDED, message=_where(change, watch), watched_until=None)
    unproved = change.reverts or ended.still_watched or not _lowers(change)
    return ended if unproved else replace(ended, failures=0)


def _lowers(change: Change) -> bool:
    return any(one.direction is Direction.LOWER for one in change.fields())


def _where(change: Change, watch: Watch) -> str:
    return _words(change, steady=watch.steady)


def _words(change: Change, *, steady: bool) -> str:
    if change.reverts:
        return f"the former values are back: {change.reverts}"
    if not steady:
        return "in force from its next run on; Jobs that run keep theirs"
    return IN_FORCE if change.strategy == ON_CREATE else "every pod runs with the new values"


def _harm(change: Change, signs: Iterable[Sign]) -> Sign | None:
    return next((sign for sign in signs if blamed(change, sign)), None)


def _lowers_cpu_limit(one: FieldChange) -> bool:
    return one.path.resource == "cpu" and one.path.field == "limit" and one.direction is Direction.LOWER


def _lowers_memory(one: FieldChange) -> bool:
    return one.path.resource == "memory" and one.direction is Direction.LOWER


def _overwritten(change: Change, workload: Workload, paths: tuple[FieldPath, ...]) -> Change:
    undone = _as_before(change, workload, paths)
    if change.outcome is Outcome.SUCCEEDED and not undone:
        return change
    manager = next((workload.managers[path] for path in sorted(paths) if path in workload.managers), "")
    who = manager or "somebody else"
    first = f"container {min(paths).container} (it is gone)" if workload.container(min(paths).container) is None else str(min(paths))
    if undone and not change.reverts:
        return replace(
            change, outcome=Outcome.UNDONE, undone_by=manager, message=f"{who} put the former value of {first} back", watched_until=None
        )
    return replace(change, outcome=Outcome.SUPERSEDED, message=f"{who} changed {first} since", watched_until=None)


def _as_before(change: Change, workload: Workload, paths: Iterable[FieldPath]) -> bool:
    return all(
        (container := workload.container(path.container)) is not None
        and container.sizes.get(path.resource, path.field) == change.previous[path.container].get(path.resource, path.field)
        for path in paths
    )


def _abandoned(change: Change) -> Change:
    return replace(not_lowered(change), outcome=Outcome.ABANDONED, message="recorded, but not made")


def _differing(change: Change, workload: Workload) -> tuple[FieldPath, ...]:
    """The numbers that are not as the change left them, those of a container that is gone among them."""
    containers = {name: workload.container(name) for name in change.applied}

    def now(path: FieldPath) -> int | None:
        container = containers[path.container]
        return None if container is None else container.sizes.get(path.resource, path.field)

    return tuple(one.path for one in change.numbers() if containers[one.path.container] is None or now(one.path) != one.after)
