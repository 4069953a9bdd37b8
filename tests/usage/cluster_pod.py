"""Describes the pods that a cluster has now in the form in which past pods are described, with the usage of their workload.

Reads API objects as plain JSON mappings, whoever fetched them, and remembers nothing but which pod plays which part of its
workload, so that the busiest stays the busiest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.usage.pod import ContainerRun, Owner, PodRun
from tests.usage.workload import ContainerUsage, Resources, WorkloadUsage

JsonObject = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterObjects:
    """What the API server holds, as JSON."""

    pods: Sequence[JsonObject] = ()
    replicasets: Sequence[JsonObject] = ()
    jobs: Sequence[JsonObject] = ()


@dataclass(slots=True)
class _Ordinals:
    """Hands the lowest free ordinal of a workload to each new pod, and takes it back when the pod is gone."""

    of_uid: dict[str, int] = field(default_factory=dict)

    def assign(self, uids: Sequence[str]) -> dict[str, int]:
        self.of_uid = {uid: ordinal for uid, ordinal in self.of_uid.items() if uid in uids}
        for uid in uids:
            if uid not in self.of_uid:
                taken = set(self.of_uid.values())
                self.of_uid[uid] = next(ordinal for ordinal in range(len(taken) + 1) if ordinal not in taken)
        return self.of_uid


class ClusterPods:
    """Matches pods of a cluster with the workloads of a scenario."""

    def __init__(self, workloads: Iterable[WorkloadUsage]) -> None:
        self._workloads: dict[tuple[str, str, str], WorkloadUsage] = {
            (workload.namespace, workload.kind, workload.name): workload for workload in workloads
        }
        self._ordinals: dict[tuple[str, str, str], _Ordinals] = {}

    def running(self, objects: ClusterObjects) -> list[PodRun]:
        """The pods that have started and not finished, with usage where the scenario knows their workload."""
        uppers = {
            (kind, item["metadata"]["namespace"], item["metadata"]["name"]): controller(item)
            for kind, items in (("ReplicaSet", objects.replicasets), ("Job", objects.jobs))
            for item in items
        }
        told: set[tuple[str, Owner]] = set()
        runs: list[PodRun] = []
        pods = sorted(filter(_is_running, objects.pods), key=_seniority)
        ordinals = self._assigned(pods, uppers)
        for pod in pods:
            owner, upper = _owners(pod, uppers)
            first = owner is not None and (pod["metadata"]["namespace"], owner) not in told
            if owner is not None:
                told.add((pod["metadata"]["namespace"], owner))
            workload = self._workload(pod, upper or owner)
            runs.append(_run(pod, workload, owner, upper, tells=first, ordinal=ordinals[pod["metadata"]["uid"]]))
        return runs

    def _workload(self, pod: JsonObject, top: Owner | None) -> WorkloadUsage | None:
        return None if top is None else self._workloads.get((pod["metadata"]["namespace"], top.kind, top.name))

    def _assigned(self, pods: Sequence[JsonObject], uppers: Mapping[tuple[str, str, str], Owner | None]) -> dict[str, int]:
        groups: dict[tuple[str, str, str], list[str]] = {}
        for pod in pods:
            owner, upper = _owners(pod, uppers)
            top = upper or owner or Owner(kind="Pod", name=pod["metadata"]["name"])
            groups.setdefault((pod["metadata"]["namespace"], top.kind, top.name), []).append(pod["metadata"]["uid"])
        self._ordinals = {key: self._ordinals.get(key, _Ordinals()) for key in groups}
        return {uid: ordinal for key, uids in groups.items() for uid, ordinal in self._ordinals[key].assign(uids).items()}


def controller(item: JsonObject) -> Owner | None:
    """The controlling owner of an object."""
    for reference in item["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return Owner(kind=reference["kind"], name=reference["name"])
    return None


def _owners(pod: JsonObject, uppers: Mapping[tuple[str, str, str], Owner | None]) -> tuple[Owner | None, Owner | None]:
    owner = controller(pod)
    if owner is None:
        return None, None
    return owner, uppers.get((owner.kind, pod["metadata"]["namespace"], owner.name))


def _is_running(pod: JsonObject) -> bool:
    return pod.get("status", {}).get("phase") == "Running" and "nodeName" in pod["spec"]


def _seniority(pod: JsonObject) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]


def _run(
    pod: JsonObject,
    workload: WorkloadUsage | None,
    owner: Owner | None,
    upper: Owner | None,
    *,
    tells: bool,
    ordinal: int,
) -> PodRun:
    started = _seconds(pod["status"].get("startTime") or pod["metadata"]["creationTimestamp"])
    usages = {usage.name: usage for usage in workload.containers} if workload else {}
    return PodRun(
        namespace=pod["metadata"]["namespace"],
        name=pod["metadata"]["name"],
        uid=pod["metadata"]["uid"],
        node=pod["spec"]["nodeName"],
        owner=owner,
        upper_owner=upper,
        tells_upper_owner=tells,
        started=started,
        ended=math.inf,
        containers=tuple(_containers(pod, usages, pod_started=started)),
        share=workload.share_of_pod(ordinal) if workload else 1.0,
        cgroup_series=workload is not None and workload.cgroup_series,
    )


def _containers(pod: JsonObject, usages: Mapping[str, ContainerUsage], *, pod_started: float) -> Iterator[ContainerRun]:
    statuses = {status["name"]: status for key in ("initContainerStatuses", "containerStatuses") for status in pod["status"].get(key) or ()}
    for container, sidecar in _long_running(pod["spec"]):
        name = container["name"]
        status = statuses.get(name, {})
        count = int(status.get("restartCount") or 0)
        since = (status.get("state") or {}).get("running", {}).get("startedAt")
        resources = container.get("resources") or {}
        yield ContainerRun(
            name=name,
            usage=usages.get(name),
            requests=_resources(resources.get("requests")),
            limits=_resources(resources.get("limits")),
            image=container.get("image", ""),
            sidecar=sidecar,
            restarted=(max(_seconds(since), pod_started),) if since and count else (),
            earlier_restarts=count - 1 if since and count else count,
            restart_reason=(status.get("lastState") or {}).get("terminated", {}).get("reason"),
        )


def _long_running(spec: JsonObject) -> Iterator[tuple[JsonObject, bool]]:
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            yield container, True
    for container in spec["containers"]:
        yield container, False


def _resources(amounts: Mapping[str, str] | None) -> Resources:
    return Resources(cpu=(amounts or {}).get("cpu"), memory=(amounts or {}).get("memory"))


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()
