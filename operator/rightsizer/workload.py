"""The workloads of a cluster as frozen values: what is declared, what runs, who scales it.

Nothing here knows where the values come from. CPU is in millicores and memory in bytes, both whole numbers, because that is
the finest step that Kubernetes keeps for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

ResourceName = Literal["cpu", "memory"]
RESOURCES: tuple[ResourceName, ResourceName] = ("cpu", "memory")
SizeField = Literal["request", "limit"]

MODE_ANNOTATION = "rightsizer.dev/mode"
PAUSED_ANNOTATION = "rightsizer.dev/paused"
FREEZE_ANNOTATION = "rightsizer.dev/freeze"
REVERT_ANNOTATION = "rightsizer.dev/revert"
"""On a recommendation: the time of the change that is to be taken back."""
ANNOTATION_PREFIX = "rightsizer.dev/"

CRON_JOB = "CronJob"
ARGO_ROLLOUT = "Rollout"

_REPLICA_SET_NAME = re.compile(r"^(?P<deployment>.+)-[a-z0-9]{1,10}$")
# A CronJob names its Jobs after the minute for which they run, counted from 1970.
_JOB_NAME = re.compile(r"^(?P<cron_job>.+)-[0-9]{8,}$")


@dataclass(frozen=True, slots=True, order=True)
class OwnerRef:
    """The controller of a pod as the pod or kube-state-metrics names it, such as ReplicaSet/web-5d9c7b."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True, order=True)
class WorkloadRef:
    """Which workload: its namespace, kind and name."""

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @property
    def steady(self) -> bool:
        """Whether its pods run all the time. Those of a CronJob come and go, and in between there is no usage to be seen."""
        return self.kind != CRON_JOB


@dataclass(frozen=True, slots=True, order=True)
class ContainerKey:
    """One container of a workload over all its pods, past and present: the unit that is measured and sized."""

    workload: WorkloadRef
    container: str


@dataclass(frozen=True, slots=True)
class Sizes:
    """Requests and limits of one container; None where a field is not set. CPU in millicores, memory in bytes."""

    cpu_request: int | None = None
    cpu_limit: int | None = None
    memory_request: int | None = None
    memory_limit: int | None = None

    def request(self, resource: ResourceName) -> int | None:
        return self.cpu_request if resource == "cpu" else self.memory_request

    def limit(self, resource: ResourceName) -> int | None:
        return self.cpu_limit if resource == "cpu" else self.memory_limit

    def get(self, resource: ResourceName, field: SizeField) -> int | None:
        return self.request(resource) if field == "request" else self.limit(resource)

    @property
    def guaranteed(self) -> bool:
        """Whether it has limits for both, and requests equal to them: what each container of a Guaranteed pod has."""
        # A request that is left out is set to the limit by the API server; a limit of 0 counts as none for the QoS class.
        cpu = bool(self.cpu_limit) and self.cpu_request in (None, self.cpu_limit)
        memory = bool(self.memory_limit) and self.memory_request in (None, self.memory_limit)
        return cpu and memory

    def with_value(self, resource: ResourceName, field: SizeField, value: int | None) -> Sizes:
        """A copy with one of the four numbers set to `value`, or unset with None."""
        return replace(self, **{f"{resource}_{field}": value})


@dataclass(frozen=True, slots=True, order=True)
class FieldPath:
    """One of the four numbers of a container: `app.cpu.request`."""

    container: str
    resource: ResourceName
    field: SizeField

    def __str__(self) -> str:
        return f"{self.container}.{self.resource}.{self.field}"


class Role(StrEnum):
    """What a container is in its pod. Plain init containers are never sized, but count for the QoS class."""

    MAIN = "container"
    SIDECAR = "sidecar"
    INIT = "init"


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the pod template declares it; `image` is empty where it is not known."""

    name: str
    sizes: Sizes
    role: Role = Role.MAIN
    image: str = ""


class RolloutPhase(StrEnum):
    """Where a workload stands with its newest template."""

    COMPLETE = "Complete"
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment, StatefulSet, DaemonSet, CronJob or Argo Rollout with the fields that sizing needs.

    `replicas` is the number of pods wanted now, of a CronJob that of one run; `last_run`: when a CronJob last ran (unix seconds). `paused`:
    whether its rollouts are. `rollout_message` says why a rollout is not complete, in the API's words.
    `owned` are the size fields that our own field manager holds, `managers` the names of others that hold some, read from
    `metadata.managedFields`. `sized_at`: when our field manager last set size fields (unix seconds), None where it holds none.
    `pod_annotations`: those of the pod template that are ours. `pod_labels`, `node_selector`: those of the pod template. `max_surge`,
    `max_unavailable`: how many pods there are above `replicas`, and below, while its own rolling update replaces them.
    `pod_selector`: the labels of its pods as a query of the API. `merged_by_name`: whether Server-Side Apply merges its containers one by
    one, and does not replace all of them.
    """

    ref: WorkloadRef
    uid: str
    api_version: str
    resource_version: str
    generation: int
    containers: tuple[Container, ...]
    replicas: int
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    paused: bool = False
    rollout: RolloutPhase = RolloutPhase.COMPLETE
    rollout_message: str = ""
    owned: frozenset[FieldPath] = frozenset()
    managers: Mapping[FieldPath, str] = field(default_factory=dict)
    sized_at: float | None = None
    pod_annotations: Mapping[str, str] = field(default_factory=dict)
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    max_surge: int = 0
    max_unavailable: int = 1
    pod_selector: str = ""
    last_run: float | None = None
    merged_by_name: bool = True

    @property
    def group(self) -> str:
        """The API group of its kind, such as apps."""
        return self.api_version.rpartition("/")[0]

    @property
    def sizable(self) -> tuple[Container, ...]:
        """The containers that can be sized: main containers and native sidecars."""
        return tuple(container for container in self.containers if container.role is not Role.INIT)

    @property
    def guaranteed(self) -> bool:
        """Whether its pods are of QoS class Guaranteed: each container has limits for both, and requests equal to them."""
        return bool(self.containers) and all(container.sizes.guaranteed for container in self.containers)

    def container(self, name: str) -> Container | None:
        return next((container for container in self.containers if container.name == name), None)


@dataclass(frozen=True, slots=True)
class OomKill:
    """A container that was killed for memory. `memory_limit` in bytes, None where it had none or it is not known."""

    key: ContainerKey
    at: float
    memory_limit: int | None


@dataclass(frozen=True, slots=True)
class ScalingMetric:
    """One metric of a HorizontalPodAutoscaler: what is scaled on, and how the target is written."""

    resource: str
    target_type: str
    container: str | None = None


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """A HorizontalPodAutoscaler with the workload that it scales. `group`: the API group of that; empty where it is not named."""

    namespace: str
    name: str
    target: WorkloadRef
    metrics: tuple[ScalingMetric, ...]
    group: str = ""

    def scales(self, workload: Workload) -> bool:
        return self.target == workload.ref and same_group(self.group, workload.group)


def same_group(named: str, group: str) -> bool:
    """Whether a reference that names this API group, or none, can mean an object of the other one."""
    # Deployments were of `extensions` once, and old manifests live long.
    return named in ("", group) or (named, group) == ("extensions", "apps")


def workload_of(
    namespace: str,
    owner: OwnerRef | None,
    replica_set_owners: Mapping[tuple[str, str], OwnerRef] | None = None,
    job_owners: Mapping[tuple[str, str], OwnerRef | None] | None = None,
) -> WorkloadRef | None:
    """The workload behind a pod's controller.

    A ReplicaSet leads to its Deployment, or Argo Rollout, through `replica_set_owners` ((namespace, ReplicaSet) -> owner) where that is
    known, else through the naming rule `<deployment>-<pod template hash>`. So does a Job to its CronJob through `job_owners` (None: made
    by hand), else through `<cron job>-<minute>`. None for a pod without controller.
    """
    if owner is None:
        return None
    if owner.kind == "Job":
        return _workload_of_job(namespace, owner, job_owners or {})
    if owner.kind != "ReplicaSet":
        return WorkloadRef(namespace, owner.kind, owner.name)
    known = (replica_set_owners or {}).get((namespace, owner.name))
    if known is not None:
        return WorkloadRef(namespace, known.kind, known.name)
    match = _REPLICA_SET_NAME.match(owner.name)
    return WorkloadRef(namespace, "Deployment", match["deployment"]) if match else None


def _workload_of_job(namespace: str, job: OwnerRef, owners: Mapping[tuple[str, str], OwnerRef | None]) -> WorkloadRef:
    if (namespace, job.name) in owners:
        known = owners[namespace, job.name] or job
        return WorkloadRef(namespace, known.kind, known.name)
    match = _JOB_NAME.match(job.name)
    return WorkloadRef(namespace, CRON_JOB, match["cron_job"]) if match else WorkloadRef(namespace, job.kind, job.name)


# How the controllers name their pods: Deployment web -> web-<template hash>-<5>, StatefulSet -> web-<ordinal>, DaemonSet -> web-<5>,
# CronJob -> web-<minute>-<5>, or web-<minute>-<index>-<5> of an indexed Job.
_POD_NAME_ENDINGS: Mapping[str, re.Pattern[str]] = {
    "Deployment": re.compile(r"^-[a-z0-9]{1,10}-[a-z0-9]{5}$"),
    "StatefulSet": re.compile(r"^-\d+$"),
    "DaemonSet": re.compile(r"^-[a-z0-9]{5}$"),
    CRON_JOB: re.compile(r"^-[0-9]{8,}(-[0-9]+)?-[a-z0-9]{5}$"),
    ARGO_ROLLOUT: re.compile(r"^-[a-z0-9]{1,10}-[a-z0-9]{5}$"),
}


def workload_by_pod_name(pod: str, workloads: Iterable[WorkloadRef]) -> WorkloadRef | None:
    """The workload that would name a pod so. None without one, and also when several would: a guess could size the wrong one."""
    fitting = [
        ref
        for ref in workloads
        if pod.startswith(ref.name) and (ending := _POD_NAME_ENDINGS.get(ref.kind)) is not None and ending.match(pod[len(ref.name) :])
    ]
    return fitting[0] if len(fitting) == 1 else None
