"""A pod of the API as a Pod: who controls it, and how its containers last ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rightsizer.cluster.metadata import Item, controller_of, unix_seconds
from rightsizer.cluster.template import containers_of
from rightsizer.quantities import memory_bytes
from rightsizer.workload import Container, Pod, PodContainer, Role

_OOM_KILLED = "OOMKilled"


def parse_pod(item: Item) -> Pod:
    """The pod behind an item of a list. Raises InvalidQuantity."""
    metadata, status = item["metadata"], item.get("status") or {}
    lists = (status.get("containerStatuses") or []) + (status.get("initContainerStatuses") or [])
    statuses = {entry["name"]: entry for entry in lists}
    declared = (container for container in containers_of(item["spec"]) if container.role is not Role.INIT)
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        owner=controller_of(item),
        phase=status.get("phase", "Unknown"),
        created_at=unix_seconds(metadata["creationTimestamp"]),
        containers=tuple(_container(container, statuses.get(container.name, {})) for container in declared),
    )


def _container(declared: Container, status: Mapping[str, Any]) -> PodContainer:
    # The status names what the kubelet has set, which after a resize in place may not be what the spec asks for.
    actual = ((status.get("resources") or {}).get("limits") or {}).get("memory")
    return PodContainer(
        name=declared.name,
        memory_limit=declared.sizes.memory_limit if actual is None else memory_bytes(actual),
        restarts=int(status.get("restartCount", 0)),
        oom_killed_at=_oom_killed_at(status),
    )


def _oom_killed_at(status: Mapping[str, Any]) -> float | None:
    """When it was last killed for memory: now ended that way, or before its last restart."""
    for state in ("state", "lastState"):
        terminated = (status.get(state) or {}).get("terminated") or {}
        if terminated.get("reason") == _OOM_KILLED and terminated.get("finishedAt"):
            return unix_seconds(terminated["finishedAt"])
    return None
