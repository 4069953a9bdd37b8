"""LimitRanges, ResourceQuotas and PodSizes of the API as our values. What of them does not concern CPU or memory is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rightsizer.checks.confines import Amount, Bounds, LimitRange, Quota
from rightsizer.cluster.metadata import Item, unix_seconds
from rightsizer.cluster.template import sizes_of
from rightsizer.errors import InvalidQuantity
from rightsizer.quantities import cpu_millicores, memory_bytes
from rightsizer.strategies.on_create import Entry, PodSizes
from rightsizer.workload import RESOURCES, ResourceName

_COUNTED: Mapping[str, Amount] = {
    "cpu": ("cpu", "request"),
    "memory": ("memory", "request"),
    "requests.cpu": ("cpu", "request"),
    "requests.memory": ("memory", "request"),
    "limits.cpu": ("cpu", "limit"),
    "limits.memory": ("memory", "limit"),
}


def parse_limit_range(item: Item) -> LimitRange:
    """Raises InvalidQuantity."""
    metadata = item["metadata"]
    limits = (limit for limit in item["spec"]["limits"] if limit["type"] in ("Container", "Pod"))
    return LimitRange(metadata["namespace"], metadata["name"], tuple(_bounds(limit) for limit in limits))


def parse_quota(item: Item) -> Quota:
    """Raises InvalidQuantity."""
    metadata = item["metadata"]
    spec = item.get("spec") or {}
    # Pods of a workload have no end, and those that are sized are not BestEffort.
    elsewhere = not {"Terminating", "BestEffort"}.isdisjoint(spec.get("scopes") or [])
    hard = {} if elsewhere else spec.get("hard") or {}
    return Quota(metadata["namespace"], metadata["name"], _amounts(hard), _amounts((item.get("status") or {}).get("used") or {}))


def parse_pod_sizes(item: Item) -> PodSizes:
    """What cannot be read is left out: it is written again, or taken away."""
    workloads = (item.get("spec") or {}).get("workloads") or {}
    entries = ((name, _entry(entry)) for name, entry in workloads.items())
    return PodSizes(item["metadata"]["namespace"], {name: entry for name, entry in entries if entry is not None})


def _entry(entry: Mapping[str, Any]) -> Entry | None:
    recommendation, _, since = str(entry.get("sizedBy", "")).rpartition("@")
    try:
        sizes = {name: sizes_of({"resources": container}) for name, container in entry["containers"].items()}
        return Entry(sizes, recommendation, unix_seconds(since))
    except (InvalidQuantity, ValueError, KeyError, TypeError, AttributeError):
        return None


def _bounds(limit: Mapping[str, Any]) -> Bounds:
    ratios = limit.get("maxLimitRequestRatio") or {}
    return Bounds(
        per_pod=limit["type"] == "Pod",
        least=_sizes(limit.get("min") or {}),
        most=_sizes(limit.get("max") or {}),
        # Thousandths, as ratios are quantities too (1500m is 1.5).
        ratio={resource: cpu_millicores(ratios[resource]) / 1000 for resource in RESOURCES if resource in ratios},
    )


def _sizes(quantities: Mapping[str, Any]) -> dict[ResourceName, int]:
    return {resource: _size(resource, quantities[resource]) for resource in RESOURCES if resource in quantities}


def _amounts(quantities: Mapping[str, Any]) -> dict[Amount, int]:
    return {amount: _size(amount[0], quantities[name]) for name, amount in _COUNTED.items() if name in quantities}


def _size(resource: ResourceName, quantity: str) -> int:
    return cpu_millicores(quantity) if resource == "cpu" else memory_bytes(quantity)
