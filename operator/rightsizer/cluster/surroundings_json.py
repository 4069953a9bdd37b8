"""PodDisruptionBudgets, VerticalPodAutoscalers and Nodes of the API as our values, with the defaults of their controllers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rightsizer.checks.confines import ANY_CONTAINER, DisruptionBudget, Room, VerticalAutoscaler
from rightsizer.checks.node_room import Node
from rightsizer.cluster.metadata import Item, group_of
from rightsizer.profile import LabelSelector, Requirement
from rightsizer.quantities import cpu_millicores, memory_bytes
from rightsizer.workload import RESOURCES, ResourceName, WorkloadRef

_NONE: frozenset[ResourceName] = frozenset()


def parse_disruption_budget(item: Item) -> DisruptionBudget:
    """One that its controller has not counted yet is about no pod so far."""
    metadata, status = item["metadata"], item.get("status") or {}
    return DisruptionBudget(
        namespace=metadata["namespace"],
        name=metadata["name"],
        selector=_selector(item["spec"].get("selector")),
        pods=int(status.get("expectedPods", 0)),
        allowed=int(status.get("disruptionsAllowed", 0)),
    )


def parse_vertical_autoscaler(item: Item) -> VerticalAutoscaler:
    """One that only recommends takes nothing."""
    metadata, spec = item["metadata"], item["spec"]
    target = spec.get("targetRef") or {}
    mode = (spec.get("updatePolicy") or {}).get("updateMode") or "Auto"
    policies = (spec.get("resourcePolicy") or {}).get("containerPolicies") or []
    sizes = {ANY_CONTAINER: frozenset(RESOURCES)} | {one.get("containerName") or ANY_CONTAINER: _controlled(one) for one in policies}
    return VerticalAutoscaler(
        namespace=metadata["namespace"],
        name=metadata["name"],
        target=WorkloadRef(metadata["namespace"], target.get("kind", ""), target.get("name", "")),
        group=group_of(target),
        sizes={ANY_CONTAINER: _NONE} if mode == "Off" else sizes,
    )


def parse_node(item: Item) -> Node:
    """Raises InvalidQuantity."""
    metadata, status = item["metadata"], item.get("status") or {}
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or [])
    allocatable = status.get("allocatable") or {}
    return Node(
        name=metadata["name"],
        labels=metadata.get("labels") or {},
        allocatable=Room(cpu_millicores(allocatable.get("cpu", "0")), memory_bytes(allocatable.get("memory", "0"))),
        usable=ready and not (item.get("spec") or {}).get("unschedulable", False),
    )


def _controlled(policy: Mapping[str, Any]) -> frozenset[ResourceName]:
    if policy.get("mode") == "Off":
        return _NONE
    named = policy.get("controlledResources")
    return frozenset(name for name in RESOURCES if named is None or name in named)


def _selector(selector: Mapping[str, Any] | None) -> LabelSelector | None:
    """An empty selector fits every pod, none at all fits no pod."""
    if selector is None:
        return None
    return LabelSelector(
        match_labels=selector.get("matchLabels") or {},
        match_expressions=tuple(
            Requirement(one["key"], one["operator"], tuple(one.get("values") or ())) for one in selector.get("matchExpressions") or []
        ),
    )
