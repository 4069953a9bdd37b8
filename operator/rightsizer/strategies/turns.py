"""Whose turn it is when the pods of a workload are resized in place: one at a time, each ready and settled before the next. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rightsizer.change import BEING_RESIZED, NOT_READY_SECONDS, Progress
from rightsizer.errors import ResizeReason
from rightsizer.pod import RUNNING, Pod, ResizeState
from rightsizer.strategies.in_place import asks_for, resizable, sized
from rightsizer.workload import RESOURCES, RolloutPhase, SizeField, Sizes

DEFERRED_SECONDS = 3_600
"""So long is waited for room on the node of a pod."""

TAKEN_SECONDS = 600
"""So long may a kubelet take for a resize, or for one that failed to be tried again."""

MOST_LEFT = 20
"""So many pods of a change are given up by name; then no more are tried."""

_PASSING = (ResizeReason.POD_NOT_RUNNING, ResizeReason.POD_NOT_READY)
_ENDED = ("Succeeded", "Failed")
_FIELDS: tuple[SizeField, ...] = ("request", "limit")

AskedAt = Callable[[Pod], float]


@dataclass(frozen=True, slots=True)
class Turn:
    """What comes next. `pod`: the one to be resized now, if any. `left`: pods that are given up now, and why."""

    progress: Progress
    pod: Pod | None = None
    left: Mapping[Pod, str] = field(default_factory=dict)


def next_turn(
    pods: Iterable[Pod],
    wanted: Mapping[str, Sizes],
    *,
    left: Mapping[str, str],
    asked_at: AskedAt,
    memory_peaks: Mapping[str, float],
    now: float,
) -> Turn:
    """What comes next for these pods.

    `wanted`: sizes by container. `left`: by name of a pod, why it was given up before. `asked_at`: since when a pod is known to ask for
    these sizes. `memory_peaks`: see `resizable`.
    """
    pods = sorted((pod for pod in pods if not pod.deleting and pod.phase not in _ENDED), key=lambda pod: pod.name)
    given_up: dict[Pod, str] = {}
    passed_over: list[str] = []
    waiting: list[str] = []
    candidates: list[Pod] = []
    done = 0
    for pod in pods:
        if pod.name in left:
            continue
        if asks_for(pod, wanted):
            why, hopeless = _asked(pod, asked_at=asked_at, now=now)
        else:
            why, hopeless = _not_asked(pod, wanted, memory_peaks)
            if not why:
                candidates.append(pod)
                continue
        if why and _long_unready(pod, now=now):
            passed_over.append(why)
        elif hopeless:
            given_up[pod] = why
        elif why:
            waiting.append(why)
        else:
            done += 1
    if len(left) >= MOST_LEFT:
        # Where so many were in vain, no more are tried.
        candidates.clear()
        given_up.clear()
    # Those that are given up now are told as such first, and count from the next turn on.
    reasons = [*left.values(), *passed_over] if pods else []
    progress = _progress(done, len(pods), reasons, [*waiting, *given_up.values(), *(BEING_RESIZED for _ in candidates)])
    return Turn(progress, None if waiting or not candidates else candidates[0], given_up)


def _asked(pod: Pod, *, asked_at: AskedAt, now: float) -> tuple[str, bool]:
    """Why a pod that asks for its sizes is not done with it, and whether there is no hope."""
    state, told = pod.resize_state, f": {pod.resize_message}" if pod.resize_message else ""
    if state is ResizeState.SETTLED:
        return ("" if pod.ready or pod.phase != "Running" else f"pod {pod.name} is not ready"), False
    if state is ResizeState.UNSUPPORTED:
        return f"the kubelet of pod {pod.name} cannot resize it", True
    if state is ResizeState.INFEASIBLE:
        return f"the resize of pod {pod.name} is Infeasible{told}", True
    if state is ResizeState.DEFERRED:
        since = pod.pending.since if pod.pending is not None else asked_at(pod)
        return f"the resize of pod {pod.name} is Deferred{told}", now - since >= DEFERRED_SECONDS
    if pod.phase != "Running":
        return "", False
    if state is not ResizeState.ERROR and now - asked_at(pod) < TAKEN_SECONDS:
        # No words for what goes on as it should: each would be a write.
        return BEING_RESIZED, False
    return f"the resize of pod {pod.name} is {state}{told}", now - asked_at(pod) >= TAKEN_SECONDS


def _not_asked(pod: Pod, wanted: Mapping[str, Sizes], memory_peaks: Mapping[str, float]) -> tuple[str, bool]:
    refusal = resizable(pod, wanted, memory_peaks=memory_peaks)
    if refusal is not None and refusal.reason is ResizeReason.POD_NOT_READY and _gives_more(pod, wanted):
        # That may be just what it lacks.
        refusal = resizable(replace(pod, ready=True), wanted, memory_peaks=memory_peaks)
    if refusal is None:
        return "", False
    return refusal.message, refusal.reason not in _PASSING


def _long_unready(pod: Pod, *, now: float) -> bool:
    """Whether it is not waited for any more. Where the change is to blame for it, that is told by the signs of harm."""
    return pod.phase == RUNNING and pod.unready_since is not None and now - pod.unready_since >= NOT_READY_SECONDS


def _gives_more(pod: Pod, wanted: Mapping[str, Sizes]) -> bool:
    """Whether no number of the pod would become less."""
    after = {container.name: container.sizes for container in sized(pod, wanted).containers}
    return all(
        (after[container.name].get(resource, field) or 0) >= (container.sizes.get(resource, field) or 0)
        for container in pod.containers
        for resource in RESOURCES
        for field in _FIELDS
    )


def _progress(done: int, count: int, reasons: Sequence[str], waiting: Sequence[str]) -> Progress:
    so_far = f"{done} of {count} pods are resized"
    if waiting:
        # Not how many: the record is written when it changes.
        return Progress(RolloutPhase.IN_PROGRESS, waiting[0])
    if reasons and not done:
        return Progress(RolloutPhase.FAILED, f"no pod could be resized: {reasons[0]}")
    return Progress(RolloutPhase.COMPLETE, f"{so_far}; {'; '.join(reasons)}" if reasons else "")
