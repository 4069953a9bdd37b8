"""The pods that a workload had in the past, by rule, and the form in which pods of past and present are described.

Names, uids and times follow from the workload and absolute time alone, so that any day can be written by itself. It knows
no metric and no file format.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tests.usage.shape import FloatArray
from tests.usage.workload import NO_RESOURCES, PAUSE_IMAGE, ContainerUsage, Resources, WorkloadUsage, digest, fraction

BEGINNING_SECONDS = 1_577_836_800.0
"""2020-01-01: since when pods run that are never replaced."""

ROLLOUT_STEP_SECONDS = 60.0
"""Between two pods of a rollout."""

SAME_NAME_GAP_SECONDS = 360.0
"""How long a pod is gone before another of the same name starts. Longer than the 5 minutes for which Prometheus goes on
showing a series that just ended, or both would be seen together. Loaded history cannot hold staleness markers."""

_NODES = ("node-0", "node-1", "node-2")
_SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A controller as named in an owner reference."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRun:
    """A container of a pod that exists or existed."""

    name: str
    usage: ContainerUsage | None
    """None: a container of which no usage is known."""
    requests: Resources = NO_RESOURCES
    limits: Resources = NO_RESOURCES
    image: str = PAUSE_IMAGE
    sidecar: bool = False
    restarted: tuple[float, ...] = ()
    """Unix times of the known restarts, ascending."""
    earlier_restarts: int = 0
    """Restarts whose times are not known."""
    restart_reason: str | None = None

    def memory_bytes(self, times: FloatArray, *, share: float) -> FloatArray:
        """The working set at each time, never above the limit: beyond it the kernel kills."""
        levels = np.zeros_like(times) if self.usage is None else self.usage.memory.at(times) * share
        limit = self.limits.memory_bytes
        return levels if limit is None else np.minimum(levels, limit)

    def cpu_seconds(self, *, start: FloatArray | float, end: FloatArray, share: float) -> FloatArray:
        """The CPU time used from each start to each end."""
        return np.zeros_like(end) if self.usage is None else self.usage.cpu.integral(start=start, end=end) * share


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRun:
    """A pod that exists or existed: runs from ``started`` up to, not including, ``ended`` (unix times)."""

    namespace: str
    name: str
    uid: str
    node: str
    owner: Owner | None
    upper_owner: Owner | None
    """The Deployment behind a ReplicaSet, the CronJob behind a Job."""
    tells_upper_owner: bool
    """True for one pod of each ReplicaSet or Job."""
    started: float
    ended: float
    containers: tuple[ContainerRun, ...]
    share: float = 1.0
    """Factor of this pod's usage."""
    cgroup_series: bool = False

    def grid(self, *, begin: float, end: float, spacing_seconds: float) -> FloatArray:
        """The multiples of the spacing in [begin, end) at which the pod ran."""
        first = math.ceil(max(begin, self.started) / spacing_seconds)
        last = math.ceil(min(end, self.ended) / spacing_seconds)
        return np.arange(first, last, dtype=np.float64) * spacing_seconds


def pods_between(workload: WorkloadUsage, *, begin: float, end: float, until: float = math.inf) -> Iterator[PodRun]:
    """The pods that ran at some time of [begin, end), by start.

    ``until`` is the end of all history. It matters only for a workload with ``history_hours`` (none without it) and for
    the last StatefulSet pods, which leave before the live ones of the same name take over.
    """
    for generation, start in _generations(workload, begin=begin, end=end, until=until):
        for ordinal in range(workload.replicas):
            pod = _past_pod(workload, generation=generation, ordinal=ordinal, start=start, until=until)
            if pod.started < min(end, pod.ended) and pod.ended > begin:
                yield pod


def history_begin(workload: WorkloadUsage, *, begin: float, until: float) -> float:
    """From when on the workload has a history that reaches back to begin at most."""
    return begin if workload.history_hours is None else until - workload.history_hours * 3600.0


def _generations(workload: WorkloadUsage, *, begin: float, end: float, until: float) -> Iterator[tuple[int, float]]:
    if workload.history_hours is not None:
        if math.isfinite(until):
            yield 0, math.floor(history_begin(workload, begin=begin, until=until))
        return
    every = workload.replaced_every_seconds
    if every is None:
        yield 0, BEGINNING_SECONDS
        return
    phase = math.floor(fraction(workload.namespace, workload.workload, "phase") * every)
    rollout = workload.replicas * ROLLOUT_STEP_SECONDS
    first, last = math.floor((begin - rollout - phase) / every), math.floor((end - phase) / every)
    for generation in range(first, last + 1):
        yield generation, math.floor(phase + generation * every)


def _past_pod(workload: WorkloadUsage, *, generation: int, ordinal: int, start: float, until: float) -> PodRun:
    started = start + (0.0 if workload.kind == "CronJob" else ordinal * ROLLOUT_STEP_SECONDS)
    ended = _end(workload, started=started, until=until)
    owner, upper_owner = _owners(workload, generation=generation, started=started)
    name = _pod_name(workload, owner=owner, generation=generation, ordinal=ordinal)
    identity = digest(workload.namespace, workload.workload, name, str(generation))
    return PodRun(
        namespace=workload.namespace,
        name=name,
        uid=str(uuid.UUID(bytes=identity[:16], version=4)),
        node=_NODES[identity[16] % len(_NODES)],
        owner=owner,
        upper_owner=upper_owner,
        tells_upper_owner=upper_owner is not None and ordinal == 0,
        started=started,
        ended=ended,
        containers=tuple(_past_container(usage, started=started, ended=ended) for usage in workload.containers),
        share=workload.share_of_pod(ordinal),
        cgroup_series=workload.cgroup_series,
    )


def _end(workload: WorkloadUsage, *, started: float, until: float) -> float:
    if workload.active_minutes is not None:
        return started + workload.active_minutes * 60.0
    every = workload.replaced_every_seconds
    ended = math.inf if every is None or workload.history_hours is not None else started + every
    if workload.kind == "StatefulSet":
        return min(ended, until) - SAME_NAME_GAP_SECONDS
    return ended


def _past_container(usage: ContainerUsage, *, started: float, ended: float) -> ContainerRun:
    # Of a pod without end only the restarts of the years to come are needed.
    last = min(ended, started + 20 * 366 * 86_400.0)
    return ContainerRun(
        name=usage.name,
        usage=usage,
        requests=usage.requests,
        limits=usage.limits,
        image=usage.image,
        sidecar=usage.sidecar,
        restarted=() if usage.restarts is None else usage.restarts.between(start=started, end=last),
        restart_reason=None if usage.restarts is None else usage.restarts.reason,
    )


def _owners(workload: WorkloadUsage, *, generation: int, started: float) -> tuple[Owner, Owner | None]:
    itself = Owner(kind=workload.kind, name=workload.name)
    if workload.kind == "Deployment":
        template_hash = _letters(workload.namespace, workload.name, "template", str(generation), length=10)
        return Owner(kind="ReplicaSet", name=f"{workload.name}-{template_hash}"), itself
    if workload.kind == "CronJob":
        return Owner(kind="Job", name=f"{workload.name}-{int(started // 60):08d}"), itself
    return itself, None


def _pod_name(workload: WorkloadUsage, *, owner: Owner, generation: int, ordinal: int) -> str:
    if workload.kind == "StatefulSet":
        return f"{workload.name}-{ordinal}"
    return f"{owner.name}-{_letters(workload.namespace, owner.name, str(generation), str(ordinal), length=5)}"


def _letters(*parts: str, length: int) -> str:
    number = int.from_bytes(digest(*parts), "big")
    letters = []
    for _ in range(length):
        number, index = divmod(number, len(_SAFE_LETTERS))
        letters.append(_SAFE_LETTERS[index])
    return "".join(letters)
