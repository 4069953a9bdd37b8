"""The values that say what the workloads of a scenario are and use: the input of every writer and of the live exporter.

They name no pods: which pods a workload had at a time follows from them by rule (``pod``), or is asked of the cluster.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

import numpy as np

from tests.usage.quantity import amount
from tests.usage.shape import DAY_SECONDS, UsageShape

WorkloadKind = Literal["Deployment", "StatefulSet", "DaemonSet", "CronJob"]
TerminatedReason = Literal["OOMKilled", "Error", "Completed"]

PAUSE_IMAGE = "registry.k8s.io/pause:3.10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Requests or limits of a container as written in a manifest (``500m``, ``1Gi``); None where not set."""

    cpu: str | None = None
    memory: str | None = None

    @property
    def cpu_cores(self) -> float | None:
        return None if self.cpu is None else amount(self.cpu)

    @property
    def memory_bytes(self) -> float | None:
        return None if self.memory is None else amount(self.memory)


NO_RESOURCES = Resources()


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """Container restarts that come again at the same offsets of a period."""

    period_seconds: float
    anchor_seconds: float
    offsets: tuple[float, ...]
    reason: TerminatedReason = "OOMKilled"

    def between(self, *, start: float, end: float) -> tuple[float, ...]:
        """The unix times of the restarts after start and not after end, ascending, in whole seconds."""
        if not self.offsets or not math.isfinite(end) or end <= start:
            return ()
        first = math.floor((start - self.anchor_seconds) / self.period_seconds)
        last = math.floor((end - self.anchor_seconds) / self.period_seconds)
        begins = self.anchor_seconds + np.arange(first, last + 1) * self.period_seconds
        times = np.floor(np.add.outer(begins, np.array(sorted(self.offsets))).ravel())
        return tuple(times[(times > start) & (times <= end)].tolist())


def restarts_each_loop(shape: UsageShape, *, reason: TerminatedReason = "OOMKilled") -> Restarts:
    """A restart whenever the curve begins anew: the fall of a leak."""
    return Restarts(period_seconds=shape.period_seconds, anchor_seconds=shape.anchor_seconds, offsets=(0.0,), reason=reason)


def restarts_above(shape: UsageShape, level: float, *, apart_seconds: float = 3600.0) -> Restarts:
    """An OOM kill where the memory would rise above its limit, but not sooner after another than so many seconds."""
    offsets: list[float] = []
    for offset in shape.rises_above(level):
        if not offsets or offset - offsets[-1] >= apart_seconds:
            offsets.append(offset)
    return Restarts(period_seconds=shape.period_seconds, anchor_seconds=shape.anchor_seconds, offsets=tuple(offsets))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerUsage:
    """One container: what it uses, and what it requests today."""

    name: str
    cpu: UsageShape
    memory: UsageShape
    requests: Resources = NO_RESOURCES
    limits: Resources = NO_RESOURCES
    image: str = PAUSE_IMAGE
    sidecar: bool = False
    """A native sidecar: an init container that is restarted always."""
    restarts: Restarts | None = None
    throttled_share: float | None = None
    """Share of the CFS periods in which the container was throttled; None: the CFS series are not exposed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadUsage:
    """One workload: its containers, and how its pods come and go.

    With ``replaced_every_days`` all pods are replaced that often, one after the other; of a CronJob it is the time between
    two runs, each of ``active_minutes``. ``history_hours`` bounds the past of a workload that is new: it began that long
    before the end of the history, whenever that is.
    """

    namespace: str
    kind: WorkloadKind
    name: str
    containers: tuple[ContainerUsage, ...]
    replicas: int = 1
    replaced_every_days: float | None = None
    active_minutes: float | None = None
    history_hours: float | None = None
    variation: float = 0.03
    """How far the usage of one pod may lie from that of another (share); 0: all pods use exactly the same."""
    cgroup_series: bool = False
    """Whether the cgroup of the pod and the pause container show up as series of their own, as cAdvisor has them."""

    def __post_init__(self) -> None:
        if self.kind == "CronJob" and (self.replaced_every_days is None or self.active_minutes is None):
            raise ValueError(f"{self.namespace}/{self.name}: a CronJob needs replaced_every_days and active_minutes")

    @property
    def workload(self) -> str:
        """``Deployment/web``."""
        return f"{self.kind}/{self.name}"

    @property
    def replaced_every_seconds(self) -> float | None:
        return None if self.replaced_every_days is None else self.replaced_every_days * DAY_SECONDS

    def share_of_pod(self, ordinal: int) -> float:
        """The factor of this pod's usage: fixed by its ordinal, 1 within the variation."""
        return 1.0 + self.variation * (2.0 * fraction(self.namespace, self.workload, "share", str(ordinal)) - 1.0)


def digest(*parts: str) -> bytes:
    """32 bytes that depend on the words and on nothing else."""
    return hashlib.sha256("\x00".join(parts).encode()).digest()


def fraction(*parts: str) -> float:
    """A number in [0, 1) that depends on the words and on nothing else."""
    return int.from_bytes(digest(*parts)[:6], "big") / 2**48


def scenario_digest(workloads: Iterable[WorkloadUsage], *extra: object) -> str:
    """A name for the content of a scenario: differs when any level, name or option differs."""
    hasher = hashlib.sha256()
    for piece in _pieces((*workloads, *extra)):
        hasher.update(len(piece).to_bytes(8, "big") + piece)
    return hasher.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, np.ndarray):
        yield str(value.dtype).encode()
        yield value.tobytes()
    elif isinstance(value, tuple):
        yield b"tuple %d" % len(value)
        for item in value:
            yield from _pieces(item)
    elif is_dataclass(value):
        yield type(value).__name__.encode()
        for item_field in fields(value):
            yield item_field.name.encode()
            yield from _pieces(getattr(value, item_field.name))
    else:
        yield repr(value).encode()
