"""Who holds which size fields: field managers as `metadata.managedFields` and as the server's conflicts name them.

Both spell the path of a container's request in their own way; here they become the FieldPath of the rest of the program.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from rightsizer.cluster.metadata import unix_seconds
from rightsizer.workload import RESOURCES, FieldPath, SizeField

SEVERAL = ", "
FIELD_MANAGER = "rightsizer"
"""The name under which every field that we set is held."""

_POD_SPECS = (("f:spec", "f:template", "f:spec"), ("f:spec", "f:jobTemplate", "f:spec", "f:template", "f:spec"))
_CONTAINER_LISTS = ("f:containers", "f:initContainers")
_SIZE_FIELDS: tuple[tuple[str, SizeField], ...] = (("f:requests", "request"), ("f:limits", "limit"))
_KEY_PREFIX = "k:"
_CONFLICT_PATH = re.compile(
    r'^\.?spec(?:\.jobTemplate\.spec)?\.template\.spec\.(?:initContainers|containers)\[name="(?P<container>[^"]+)"\]'
    r"\.resources\.(?P<field>request|limit)s\.(?P<resource>cpu|memory)$"
)


def owned_fields(managed_fields: Iterable[Mapping[str, Any]]) -> frozenset[FieldPath]:
    """The size fields that our manager holds, by apply or by update, in a workload's template."""
    found: set[FieldPath] = set()
    for entry in managed_fields:
        if entry.get("manager") == FIELD_MANAGER and not entry.get("subresource"):
            found.update(_size_fields(entry.get("fieldsV1") or {}))
    return frozenset(found)


def sized_at(managed_fields: Iterable[Mapping[str, Any]]) -> float | None:
    """When our manager last set size fields that it still holds, in unix seconds."""
    times = [
        unix_seconds(str(entry["time"]))
        for entry in managed_fields
        if entry.get("manager") == FIELD_MANAGER and entry.get("time") and any(_size_fields(entry.get("fieldsV1") or {}))
    ]
    return max(times, default=None)


def other_managers(managed_fields: Iterable[Mapping[str, Any]]) -> dict[FieldPath, str]:
    """The managers, other than ours, that hold size fields of a workload's template; several with commas between them."""
    found: dict[FieldPath, str] = {}
    for entry in managed_fields:
        manager = entry.get("manager")
        if manager and manager != FIELD_MANAGER and not entry.get("subresource"):
            for path in _size_fields(entry.get("fieldsV1") or {}):
                before = found.get(path, "").split(SEVERAL)
                found[path] = sys.intern(SEVERAL.join(sorted({*filter(None, before), str(manager)})))
    return found


def merged_by_name(managed_fields: Iterable[Mapping[str, Any]]) -> bool:
    """Whether containers are held one by one. Where the definition of a kind has them as one value, they are held as a whole."""
    return any(
        key.startswith(_KEY_PREFIX)
        for entry in managed_fields
        for path in _POD_SPECS
        for key in _under(entry.get("fieldsV1") or {}, (*path, _CONTAINER_LISTS[0]))
    )


def path_of(api_path: str) -> str:
    """A path as a conflict names it, in our spelling (`app.cpu.request`); another path is left as it is."""
    match = _CONFLICT_PATH.match(api_path)
    if match is None:
        return api_path
    return f"{match['container']}.{match['resource']}.{match['field']}"


def _size_fields(fields: Mapping[str, Any]) -> Iterator[FieldPath]:
    for path in _POD_SPECS:
        pod = _under(fields, path)
        for list_name in _CONTAINER_LISTS:
            for key, container in _under(pod, (list_name,)).items():
                name = _container_name(key)
                if name is not None and isinstance(container, dict):
                    yield from _of_container(name, container)


def _of_container(name: str, container: Mapping[str, Any]) -> Iterator[FieldPath]:
    for group, size_field in _SIZE_FIELDS:
        held = _under(container, ("f:resources", group))
        for resource in RESOURCES:
            if f"f:{resource}" in held:
                yield FieldPath(name, resource, size_field)


def _container_name(key: str) -> str | None:
    # Entries of a list are keyed `k:{"name":"app"}`; "." stands for the list itself.
    if not key.startswith(_KEY_PREFIX):
        return None
    name = orjson.loads(key[len(_KEY_PREFIX) :]).get("name")
    return name if isinstance(name, str) else None


def _under(fields: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    # An emptied entry is written as null.
    for step in path:
        fields = fields.get(step) or {}
    return fields
