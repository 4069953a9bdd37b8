"""The containers of a pod template, with their sizes and what they are in the pod."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rightsizer.errors import InvalidQuantity
from rightsizer.quantities import cpu_millicores, memory_bytes
from rightsizer.workload import Container, ResourceName, Role, Sizes


def containers_of(pod_spec: Mapping[str, Any]) -> tuple[Container, ...]:
    """Main containers first, then init containers, each in the order of the template."""
    main = [_container(declared, Role.MAIN) for declared in pod_spec.get("containers") or []]
    init = [_container(declared, _init_role(declared)) for declared in pod_spec.get("initContainers") or []]
    return (*main, *init)


def sizes_of(declared: Mapping[str, Any]) -> Sizes:
    """The four numbers of a declared container. Raises InvalidQuantity, naming the field below `resources`."""
    resources = declared.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    return Sizes(
        cpu_request=_read(cpu_millicores, requests, "requests", "cpu"),
        cpu_limit=_read(cpu_millicores, limits, "limits", "cpu"),
        memory_request=_read(memory_bytes, requests, "requests", "memory"),
        memory_limit=_read(memory_bytes, limits, "limits", "memory"),
    )


def _container(declared: Mapping[str, Any], role: Role) -> Container:
    try:
        return Container(name=declared["name"], sizes=sizes_of(declared), role=role, image=str(declared.get("image") or ""))
    except InvalidQuantity as error:
        raise InvalidQuantity(f"container {declared['name']}: resources.{error}") from error


def _init_role(declared: Mapping[str, Any]) -> Role:
    # An init container that is restarted always runs beside the main ones: a native sidecar.
    return Role.SIDECAR if declared.get("restartPolicy") == "Always" else Role.INIT


def _read(number_of: Callable[[Any], int], quantities: Mapping[str, Any], part: str, resource: ResourceName) -> int | None:
    if resource not in quantities:
        return None
    try:
        return number_of(quantities[resource])
    except InvalidQuantity as error:
        raise InvalidQuantity(f"{part}.{resource}: {error}") from error
