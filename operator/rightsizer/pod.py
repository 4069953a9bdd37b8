"""The pods of a cluster as frozen values: what was asked for each container, what the kubelet has set, and where a resize stands.

Nothing here knows where the values come from, nor what anybody wants of them. CPU is in millicores, memory in bytes, times in unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rightsizer.workload import RESOURCES, OwnerRef, ResourceName, Role, SizeField, Sizes

_NO_SIZES = Sizes()
_FIELDS: tuple[SizeField, SizeField] = ("request", "limit")

BEST_EFFORT = "BestEffort"
GUARANTEED = "Guaranteed"
RUNNING = "Running"
CRASH_LOOP = "CrashLoopBackOff"


class ResizeState(StrEnum):
    """Where the newest resize of a pod stands.

    PROPOSED: the kubelet has not seen it yet. DEFERRED: no room on the node now, the kubelet tries again. INFEASIBLE: never on this node.
    ERROR: it was begun and failed; the kubelet tries again. UNSUPPORTED: the kubelet does not tell what it has set, so there is no resize.
    """

    SETTLED = "Settled"
    PROPOSED = "Proposed"
    IN_PROGRESS = "InProgress"
    DEFERRED = "Deferred"
    INFEASIBLE = "Infeasible"
    ERROR = "Error"
    UNSUPPORTED = "Unsupported"


@dataclass(frozen=True, slots=True)
class ResizeCondition:
    """What the kubelet says of a resize. `generation`: the pod's, that it speaks of; None where it does not say."""

    reason: str
    message: str
    since: float
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class PodContainer:
    """One container of a running pod, with what its last end was.

    `memory_limit`: as the kubelet has set it, else as it was asked for. `sizes`: as the pod asks for them. `actual`: as the kubelet has
    set them, None where it does not tell. `allocated`: the requests that the kubelet has reserved, None where it does not tell.
    `restarts_for`: a resize of these resources restarts the container (its `resizePolicy`). `waiting`: why it does not run, such as
    CRASH_LOOP; empty where it does. `started_at`: since when it runs, None where it does not. `ended_at`: when it last ended, for whatever
    reason, None where it never did.
    """

    name: str
    memory_limit: int | None
    restarts: int = 0
    oom_killed_at: float | None = None
    role: Role = Role.MAIN
    sizes: Sizes = _NO_SIZES
    actual: Sizes | None = None
    allocated: Sizes | None = None
    restarts_for: tuple[ResourceName, ...] = ()
    waiting: str = ""
    started_at: float | None = None
    ready: bool = False
    ended_at: float | None = None

    @property
    def settled(self) -> bool:
        """Whether the kubelet has set all that the pod asks for."""
        if self.actual is None:
            return False
        return _holds(self.actual, self.sizes, _FIELDS) and (self.allocated is None or _holds(self.allocated, self.sizes, ("request",)))


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as the API server shows it now. `owner` is None for a pod without controller.

    `containers`: main ones and native sidecars. `others_guaranteed`: whether its plain init containers, which are never resized, have
    limits for both resources and requests equal to them. `pod_level`: it has requests or limits of its own, beside those of its containers.
    `unready_since`: since when it is not ready; None where it is, or has ended. `pending`: the kubelet has not begun the resize, and says
    why; `progress`: it has begun it. `annotations`: those that are ours.
    """

    namespace: str
    name: str
    owner: OwnerRef | None
    phase: str
    created_at: float
    containers: tuple[PodContainer, ...] = ()
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    observed_generation: int = 0
    ready: bool = False
    unready_since: float | None = None
    deleting: bool = False
    qos_class: str = ""
    others_guaranteed: bool = True
    pod_level: bool = False
    pending: ResizeCondition | None = None
    progress: ResizeCondition | None = None
    # A pod can be a key, as all else of it is immutable.
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    def container(self, name: str) -> PodContainer | None:
        return next((container for container in self.containers if container.name == name), None)

    @property
    def resize_state(self) -> ResizeState:
        """SETTLED also where nothing was ever asked for."""
        if not self._resizes_told:
            return ResizeState.UNSUPPORTED
        if all(container.settled for container in self.containers):
            return ResizeState.SETTLED
        if self.observed_generation < self.generation:
            return ResizeState.PROPOSED
        if self.pending is not None and self._speaks_of_now(self.pending):
            return ResizeState.INFEASIBLE if self.pending.reason == ResizeState.INFEASIBLE else ResizeState.DEFERRED
        if self.progress is not None and self.progress.reason == ResizeState.ERROR:
            return ResizeState.ERROR
        return ResizeState.IN_PROGRESS

    @property
    def resize_message(self) -> str:
        """What the kubelet says of the resize that is not done; empty where it says nothing, or it is done."""
        told = {ResizeState.DEFERRED: self.pending, ResizeState.INFEASIBLE: self.pending, ResizeState.ERROR: self.progress}
        condition = told.get(self.resize_state)
        return condition.message if condition is not None else ""

    @property
    def _resizes_told(self) -> bool:
        # As the API server decides it: by the first main container that runs; where none does, it cannot be told.
        running = (each for each in self.containers if each.role is Role.MAIN and each.started_at is not None)
        first = next(running, None)
        return first is None or first.actual is not None

    def _speaks_of_now(self, condition: ResizeCondition) -> bool:
        return condition.generation is None or condition.generation >= self.generation


def _holds(has: Sizes, wanted: Sizes, fields: tuple[SizeField, ...]) -> bool:
    """What is not asked for may be anything: the kubelet has values of its own for it."""
    return all(wanted.get(resource, each) in (None, has.get(resource, each)) for resource in RESOURCES for each in fields)
