"""The strategy `Rollout`: the pod template is patched, and the workload's own rolling update replaces the pods.

Server-Side Apply deletes what its manager applied once and leaves out the next time, so a patch holds every size field that we own
besides the ones that change. It never names a container that is not in the template: the API server would try to add it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rightsizer.checks.facts import FieldChange
from rightsizer.quantities import format_cpu, format_memory
from rightsizer.strategies.patch import Patch
from rightsizer.workload import CRON_JOB, Container, FieldPath, ResourceName, Role, SizeField, Workload

Fields = Mapping[FieldPath, int | None]

_SECTIONS: Mapping[SizeField, str] = {"request": "requests", "limit": "limits"}
_FORMATS: Mapping[ResourceName, Callable[[int], str]] = {"cpu": format_cpu, "memory": format_memory}


def render(workload: Workload, allowed: Sequence[FieldChange]) -> Patch:
    """The patch that makes these changes, and nothing when there are none: what we own is applied again with the values it has.

    A limit that goes is left out of the apply body, because `null` there means 0; see `Patch.removal_body`.
    """
    changed = {change.path: change.after for change in allowed}
    removes = any(value is None for value in changed.values())
    return Patch(
        workload=workload.ref,
        api_version=workload.api_version,
        apply_body=_body(workload, {path: value for path, value in {**_owned(workload), **changed}.items() if value is not None}),
        removal_body=_body(workload, changed) if removes else None,
    )


def _owned(workload: Workload) -> dict[FieldPath, int | None]:
    return {
        path: container.sizes.get(path.resource, path.field)
        for path in workload.owned
        if (container := workload.container(path.container)) is not None
    }


def _body(workload: Workload, fields: Fields) -> dict[str, Any]:
    """The workload with these fields only. uid and resourceVersion make the API server refuse it when the workload is not what we saw."""
    return {
        "apiVersion": workload.api_version,
        "kind": workload.ref.kind,
        "metadata": {
            "name": workload.ref.name,
            "namespace": workload.ref.namespace,
            "uid": workload.uid,
            "resourceVersion": workload.resource_version,
        },
        "spec": _spec(workload, {"template": {"spec": _pod_spec(workload, fields)}}),
    }


def _spec(workload: Workload, of_pods: dict[str, Any]) -> dict[str, Any]:
    return {"jobTemplate": {"spec": of_pods}} if workload.ref.kind == CRON_JOB else of_pods


def _pod_spec(workload: Workload, fields: Fields) -> dict[str, Any]:
    lists = {
        "containers": [container for container in workload.sizable if container.role is Role.MAIN],
        "initContainers": [container for container in workload.sizable if container.role is Role.SIDECAR],
    }
    rendered = {name: _containers(containers, fields) for name, containers in lists.items()}
    return {name: entries for name, entries in rendered.items() if entries}


def _containers(containers: Sequence[Container], fields: Fields) -> list[dict[str, Any]]:
    # In the template's order: Server-Side Apply reorders a list after the one that it is given.
    entries = [(container.name, _resources(container, fields)) for container in containers]
    return [{"name": name, "resources": resources} for name, resources in entries if resources]


def _resources(container: Container, fields: Fields) -> dict[str, dict[str, str | None]]:
    resources: dict[str, dict[str, str | None]] = {}
    for field, section in _SECTIONS.items():
        for resource, written in _FORMATS.items():
            path = FieldPath(container.name, resource, field)
            if path in fields:
                value = fields[path]
                resources.setdefault(section, {})[resource] = None if value is None else written(value)
    return resources
