"""Signs of harm in the pods of a workload since a change of it, and which numbers of the change they speak against.

A sign by itself blames nobody: memory that was raised did not cause an OOM kill. Pods are those that the change reached; who they are is
for the caller to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from rightsizer.change.change import Change
from rightsizer.checks.facts import Direction, FieldChange
from rightsizer.pod import CRASH_LOOP, Pod, PodContainer
from rightsizer.workload import FieldPath

NOT_READY_SECONDS = 600
"""So long may a pod take to get ready: the default deadline of a Deployment, held for kinds without one as well."""

SEVERAL_RESTARTS = 2
"""So often has a container of a new pod to restart: how often those of the pods before it did is not known, and once may have any cause."""

RESTLESS_SECONDS = 86_400
"""A container that restarted within this time before a change is not watched for restarts after it."""


class SignKind(StrEnum):
    """What a pod may suffer."""

    OOM_KILL = "OOM kill"
    CRASH_LOOP = "crash loop"
    RESTART = "restart"
    NOT_READY = "not ready"
    THROTTLED = "throttled"


@dataclass(frozen=True, slots=True)
class Sign:
    """Something bad that was seen of a container, or of a whole pod (`container` empty). `at` in unix seconds, 0 where it lasts."""

    kind: SignKind
    container: str
    message: str
    at: float = 0.0


def signs_of(pods: Iterable[Pod], *, since: float, now: float, restless: Iterable[str] = ()) -> tuple[Sign, ...]:
    """What these pods suffered since a time. `restless`: containers whose restarts tell nothing.

    In a pod from before that time one restart tells something; in one that was created since, several.
    """
    quiet = frozenset(restless)
    return tuple(sign for pod in pods for sign in _of_pod(pod, since=since, now=now, restless=quiet))


def restless(pods: Iterable[Pod], *, now: float) -> tuple[str, ...]:
    """The containers that restart of their own accord."""
    names = {
        container.name
        for pod in pods
        for container in pod.containers
        if container.waiting == CRASH_LOOP or (container.ended_at is not None and now - container.ended_at < RESTLESS_SECONDS)
    }
    return tuple(sorted(names))


def blamed(change: Change, sign: Sign) -> tuple[FieldChange, ...]:
    """The numbers of the change that a sign speaks against; empty where it has another cause.

    An OOM kill speaks against memory that was lowered, throttling against CPU that was; what ends or never begins to work against
    everything.
    """
    fields = change.fields()
    if sign.kind is SignKind.OOM_KILL:
        return tuple(one for one in fields if _lowered(one, sign.container, "memory"))
    if sign.kind is SignKind.THROTTLED:
        return tuple(one for one in fields if _lowered(one, sign.container, "cpu"))
    if sign.container and sign.container not in change.applied:
        return ()
    return fields


def _lowered(one: FieldChange, container: str, resource: str) -> bool:
    return one.direction is Direction.LOWER and one.path.container == container and one.path.resource == resource


def _of_pod(pod: Pod, *, since: float, now: float, restless: frozenset[str]) -> Iterator[Sign]:
    for container in pod.containers:
        yield from _of_container(pod, container, since=since, restless=restless)
    if pod.unready_since is not None and now - max(pod.unready_since, since) >= NOT_READY_SECONDS:
        yield Sign(SignKind.NOT_READY, "", f"pod {pod.name} has not been ready for {NOT_READY_SECONDS // 60} minutes")


def _of_container(pod: Pod, container: PodContainer, *, since: float, restless: frozenset[str]) -> Iterator[Sign]:
    if container.oom_killed_at is not None and container.oom_killed_at >= since:
        message = f"container {container.name} of pod {pod.name} was killed for memory"
        yield Sign(SignKind.OOM_KILL, container.name, message, container.oom_killed_at)
        # What follows a kill is told by it.
        return
    if container.name in restless:
        return
    if container.waiting == CRASH_LOOP and container.ended_at is not None and container.ended_at >= since:
        yield Sign(SignKind.CRASH_LOOP, container.name, f"container {container.name} of pod {pod.name} crashes again and again")
    elif container.ended_at is not None and container.ended_at >= since and container.restarts >= _least_restarts(pod, since):
        message = f"container {container.name} of pod {pod.name} restarted"
        yield Sign(SignKind.RESTART, container.name, message, container.ended_at)


def _least_restarts(pod: Pod, since: float) -> int:
    return 1 if pod.created_at < since else SEVERAL_RESTARTS


def raised_paths(change: Change) -> frozenset[FieldPath]:
    """What the change gave more of."""
    return frozenset(one.path for one in change.fields() if one.direction is Direction.RAISE)
