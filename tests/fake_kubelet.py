"""What becomes of a resize in the faked cluster: first the API server changes what is asked for, then a kubelet does something about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from rightsizer.pod import Pod, ResizeCondition
from rightsizer.quantities import cpu_millicores, memory_bytes
from rightsizer.workload import FieldPath, SizeField, Sizes

_FIELDS: Mapping[str, SizeField] = {"requests": "request", "limits": "limit"}


class Kubelet(StrEnum):
    """What becomes of a resize that the API server accepted."""

    APPLIES = "applies"
    DEFERS = "defers"
    FINDS_INFEASIBLE = "finds infeasible"
    FAILS = "fails"
    DOES_NOT_LOOK = "does not look"
    """It has not seen the resize: PROPOSED for ever."""
    DOES_NOTHING = "does nothing"
    """It has seen the resize, and what is set never changes: IN_PROGRESS for ever."""


def asked_for(pod: Pod, body: Mapping[str, Any]) -> Pod:
    """As the API server answers it: the spec is another, and the kubelet has not looked yet."""
    sent = dict(sent_sizes(body["spec"]))
    containers = tuple(replace(each, sizes=with_sent(each.name, each.sizes, sent)) for each in pod.containers)
    if containers == pod.containers:
        return pod
    return replace(pod, containers=containers, generation=pod.generation + 1, resource_version=next_version(pod.resource_version))


def left_by(does: Kubelet, pod: Pod, *, at: float) -> Pod:
    """The pod as the kubelet leaves it at a time."""
    if does is Kubelet.DOES_NOT_LOOK:
        return pod
    told = ResizeCondition(does.value, f"the kubelet {does.value}", since=at, generation=pod.generation)
    seen = replace(
        pod, observed_generation=pod.generation, pending=None, progress=None, resource_version=next_version(pod.resource_version)
    )
    if does is Kubelet.DEFERS:
        return replace(seen, pending=replace(told, reason="Deferred"))
    if does is Kubelet.FINDS_INFEASIBLE:
        return replace(seen, pending=replace(told, reason="Infeasible"))
    if does is Kubelet.FAILS:
        return replace(seen, progress=replace(told, reason="Error"))
    if does is Kubelet.DOES_NOTHING:
        return seen
    set_by_it = (replace(each, actual=each.sizes, allocated=each.sizes, memory_limit=each.sizes.memory_limit) for each in pod.containers)
    return replace(seen, containers=tuple(set_by_it))


def sent_sizes(pod: Mapping[str, Any]) -> Iterator[tuple[FieldPath, int | None]]:
    for container in [*pod.get("containers", []), *pod.get("initContainers", [])]:
        for section, values in container["resources"].items():
            for resource, text in values.items():
                read = cpu_millicores if resource == "cpu" else memory_bytes
                yield FieldPath(container["name"], resource, _FIELDS[section]), None if text is None else read(text)


def with_sent(container: str, sizes: Sizes, sent: Mapping[FieldPath, int | None]) -> Sizes:
    for path, value in sent.items():
        if path.container == container:
            sizes = sizes.with_value(path.resource, path.field, value)
    return sizes


def next_version(resource_version: str) -> str:
    return str(int(resource_version) + 1)
