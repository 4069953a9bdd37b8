"""The strategy `OnCreate`: pods get their sizes when they are created, and the workload's template stays as it is.

The sizes of a namespace stand in one object, which an admission policy reads. What an entry does not name, the pod has from its template.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from rightsizer.checks.facts import FieldChange
from rightsizer.quantities import format_cpu, format_memory
from rightsizer.workload import RESOURCES, Container, Sizes, Workload

NAME = "rightsizer"
"""The name of the one PodSizes of each namespace."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What new pods of one workload get: sizes by container; None where a number is that of the template.

    `recommendation`: the name of the ResourceRecommendation that they come from. `since`: in force from then on (unix seconds, whole).
    """

    sizes: Mapping[str, Sizes]
    recommendation: str
    since: float

    @property
    def sized_by(self) -> str:
        """As new pods carry it: deployment-web@2026-01-31T08:00:00Z."""
        return f"{self.recommendation}@{datetime.fromtimestamp(self.since, tz=UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}"


@dataclass(frozen=True, slots=True)
class PodSizes:
    """The sizes in force for the new pods of a namespace, by workload (`Deployment/web`)."""

    namespace: str
    entries: Mapping[str, Entry]


def render(wanted: PodSizes) -> dict[str, Any]:
    """`spec` of the namespace's PodSizes: all of it, since what an apply leaves out goes away."""
    return {
        "workloads": {
            workload: {"sizedBy": entry.sized_by, "containers": {name: _resources(sizes) for name, sizes in sorted(entry.sizes.items())}}
            for workload, entry in sorted(wanted.entries.items())
        }
    }


def sized(workload: Workload, entry: Entry | None) -> Workload:
    """The workload as its new pods are. Nobody else holds what stands in an entry, whoever holds the template's fields."""
    if entry is None:
        return replace(workload, owned=frozenset(), managers={}, sized_at=None)
    containers = tuple(_sized(container, entry.sizes.get(container.name, Sizes())) for container in workload.containers)
    return replace(workload, containers=containers, owned=frozenset(), managers={}, sized_at=entry.since)


def fitting(entry: Entry, workload: Workload) -> Entry | None:
    """The entry without containers that the workload does not have any more; None where nothing is left, or its pods are not sized by it.

    The admission policy leaves a pod as it is that would become invalid or change its QoS class, as after an edit of the template.
    """
    names = {container.name for container in workload.sizable}
    kept = replace(entry, sizes={name: found for name, found in entry.sizes.items() if name in names})
    after = sized(workload, kept)
    valid = all(_ordered(container.sizes) for container in after.containers)
    same_class = after.guaranteed == workload.guaranteed and any(container.sizes != Sizes() for container in workload.containers)
    return kept if kept.sizes and valid and same_class else None


def changed(entry: Entry | None, changes: Iterable[FieldChange], *, recommendation: str, since: float) -> Entry:
    """The entry with these changes; the numbers of earlier ones stay in it."""
    sizes = dict(entry.sizes) if entry is not None else {}
    for change in changes:
        path = change.path
        sizes[path.container] = sizes.get(path.container, Sizes()).with_value(path.resource, path.field, change.after)
    return Entry(sizes, recommendation, since)


def _ordered(sizes: Sizes) -> bool:
    return all((sizes.request(resource) or 0) <= limit for resource in RESOURCES if (limit := sizes.limit(resource)) is not None)


def _sized(container: Container, sizes: Sizes) -> Container:
    merged = container.sizes
    for resource in RESOURCES:
        if (request := sizes.request(resource)) is not None:
            merged = merged.with_value(resource, "request", request)
        if (limit := sizes.limit(resource)) is not None:
            merged = merged.with_value(resource, "limit", limit)
    return replace(container, sizes=merged)


def _resources(sizes: Sizes) -> dict[str, dict[str, str]]:
    sections = {
        "requests": _section(cpu=sizes.cpu_request, memory=sizes.memory_request),
        "limits": _section(cpu=sizes.cpu_limit, memory=sizes.memory_limit),
    }
    return {name: section for name, section in sections.items() if section}


def _section(*, cpu: int | None, memory: int | None) -> dict[str, str]:
    return ({"cpu": format_cpu(cpu)} if cpu is not None else {}) | ({"memory": format_memory(memory)} if memory is not None else {})
