"""The containers of a pod template, with their sizes and what they are in the pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rightsizer.quantities import cpu_millicores, memory_bytes
from rightsizer.workload import Container, Role, Sizes


def containers_of(pod_spec: Mapping[str, Any]) -> tuple[Container, ...]:
    """Main containers first, then init containers, each in the order of the template."""
    main = [_container(declared, Role.MAIN) for declared in pod_spec.get("containers") or []]
    init = [_container(declared, _init_role(declared)) for declared in pod_spec.get("initContainers") or []]
    return (*main, *init)


def sizes_of(declared: Mapping[str, Any]) -> Sizes:
    """The four numbers of a declared container. Raises InvalidQuantity."""
    resources = declared.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    return Sizes(
        cpu_request=_cpu(requests),
        cpu_limit=_cpu(limits),
        memory_request=_memory(requests),
        memory_limit=_memory(limits),
    )


def _container(declared: Mapping[str, Any], role: Role) -> Container:
    return Container(name=declared["name"], sizes=sizes_of(declared), role=role, image=str(declared.get("image") or ""))


def _init_role(declared: Mapping[str, Any]) -> Role:
    # An init container that is restarted always runs beside the main ones: a native sidecar.
    return Role.SIDECAR if declared.get("restartPolicy") == "Always" else Role.INIT


def _cpu(quantities: Mapping[str, Any]) -> int | None:
    return cpu_millicores(quantities["cpu"]) if "cpu" in quantities else None


def _memory(quantities: Mapping[str, Any]) -> int | None:
    return memory_bytes(quantities["memory"]) if "memory" in quantities else None
