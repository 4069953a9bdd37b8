"""A pod of the API as a Pod: who controls it, what its containers ask for and have, how they last ended, where a resize of it stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from rightsizer.cluster.metadata import Item, controller_of, own_annotations, unix_seconds
from rightsizer.cluster.template import containers_of, sizes_of
from rightsizer.pod import Pod, PodContainer, ResizeCondition
from rightsizer.workload import RESOURCES, Container, ResourceName, Role, Sizes

_OOM_KILLED = "OOMKilled"


def parse_pod(item: Item) -> Pod:
    """The pod behind an item of a list. Raises InvalidQuantity."""
    metadata, spec, status = item["metadata"], item["spec"], item.get("status") or {}
    statuses = _by_name((status.get("containerStatuses") or []) + (status.get("initContainerStatuses") or []))
    declared = _by_name((spec.get("containers") or []) + (spec.get("initContainers") or []))
    containers = containers_of(spec)
    conditions = {condition["type"]: condition for condition in status.get("conditions") or [] if condition.get("status") == "True"}
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        owner=controller_of(item),
        phase=status.get("phase", "Unknown"),
        created_at=unix_seconds(metadata["creationTimestamp"]),
        containers=tuple(
            _container(container, declared[container.name], statuses.get(container.name, {}))
            for container in containers
            if container.role is not Role.INIT
        ),
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        generation=int(metadata.get("generation", 0)),
        observed_generation=int(status.get("observedGeneration", 0)),
        ready="Ready" in conditions,
        unready_since=None if "Ready" in conditions else _unready_since(metadata, status),
        deleting="deletionTimestamp" in metadata,
        qos_class=status.get("qosClass", ""),
        others_guaranteed=all(container.sizes.guaranteed for container in containers if container.role is Role.INIT),
        pod_level=bool(spec.get("resources")),
        pending=_condition(conditions.get("PodResizePending")),
        progress=_condition(conditions.get("PodResizeInProgress")),
        annotations=own_annotations(metadata),
    )


def _by_name(entries: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {entry["name"]: entry for entry in entries}


def _container(container: Container, declared: Mapping[str, Any], status: Mapping[str, Any]) -> PodContainer:
    state = status.get("state") or {}
    sizes = _shared(container.sizes)
    # The status names what the kubelet has set, which after a resize in place may not be what the spec asks for.
    actual = _shared(sizes_of(status)) if status.get("resources") is not None else None
    limit = actual.memory_limit if actual is not None else None
    started_at = (state.get("running") or {}).get("startedAt")
    return PodContainer(
        name=container.name,
        memory_limit=sizes.memory_limit if limit is None else limit,
        restarts=int(status.get("restartCount", 0)),
        ended_at=_ended_at(status),
        oom_killed_at=_oom_killed_at(status),
        role=container.role,
        sizes=sizes,
        actual=actual,
        allocated=_allocated(status),
        restarts_for=_restarts_for(declared),
        waiting=(state.get("waiting") or {}).get("reason", ""),
        started_at=unix_seconds(started_at) if started_at else None,
        ready=bool(status.get("ready", False)),
    )


@lru_cache(maxsize=16_384)
def _shared(sizes: Sizes) -> Sizes:
    """One value for all pods of the same sizes: a cluster has many pods and few sizes."""
    return sizes


def _allocated(status: Mapping[str, Any]) -> Sizes | None:
    requests = status.get("allocatedResources")
    return None if requests is None else _shared(sizes_of({"resources": {"requests": requests}}))


def _restarts_for(declared: Mapping[str, Any]) -> tuple[ResourceName, ...]:
    policies = {policy.get("resourceName"): policy.get("restartPolicy") for policy in declared.get("resizePolicy") or []}
    return tuple(resource for resource in RESOURCES if policies.get(resource) == "RestartContainer")


def _condition(condition: Mapping[str, Any] | None) -> ResizeCondition | None:
    if condition is None:
        return None
    return ResizeCondition(
        reason=condition.get("reason", ""),
        message=condition.get("message", ""),
        since=unix_seconds(condition["lastTransitionTime"]) if condition.get("lastTransitionTime") else 0.0,
        generation=condition.get("observedGeneration"),
    )


def _unready_since(metadata: Mapping[str, Any], status: Mapping[str, Any]) -> float | None:
    if status.get("phase") in ("Succeeded", "Failed"):
        return None
    ready: Mapping[str, Any] = next((one for one in status.get("conditions") or [] if one["type"] == "Ready"), {})
    return unix_seconds(ready.get("lastTransitionTime") or metadata["creationTimestamp"])


def _ended_at(status: Mapping[str, Any]) -> float | None:
    ends = ((status.get(state) or {}).get("terminated") or {} for state in ("state", "lastState"))
    return next((unix_seconds(end["finishedAt"]) for end in ends if end.get("finishedAt")), None)


def _oom_killed_at(status: Mapping[str, Any]) -> float | None:
    """When it was last killed for memory: now ended that way, or before its last restart."""
    for state in ("state", "lastState"):
        terminated = (status.get(state) or {}).get("terminated") or {}
        if terminated.get("reason") == _OOM_KILLED and terminated.get("finishedAt"):
            return unix_seconds(terminated["finishedAt"])
    return None
