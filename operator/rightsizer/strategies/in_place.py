"""The strategy `InPlace`: a running pod gets other sizes without a restart, and the workload's template stays as it is.

Pure renderings and rules for one pod; which pod comes next, and what becomes of it, is told elsewhere. A size that is None stays as it is:
in place nothing can be taken away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rightsizer.checks.creation import ROOM_ABOVE_PEAK
from rightsizer.errors import ResizeReason
from rightsizer.pod import BEST_EFFORT, GUARANTEED, RUNNING, Pod, PodContainer, ResizeState
from rightsizer.quantities import format_cpu, format_memory, format_memory_short, round_up
from rightsizer.workload import MODE_ANNOTATION, RESOURCES, FieldPath, Role, SizeField, Sizes

_SECTIONS: Mapping[SizeField, str] = {"request": "requests", "limit": "limits"}
_LISTS: Mapping[Role, str] = {Role.MAIN: "containers", Role.SIDECAR: "initContainers"}


@dataclass(frozen=True, slots=True)
class ResizePatch:
    """A strategic merge patch for `resize` of a pod.

    uid and resourceVersion are in it, so that the server refuses it when the pod is not what we saw.
    """

    namespace: str
    pod: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a pod is not resized in place. `path`: which number it is about, None where it is about the pod."""

    reason: ResizeReason
    message: str
    path: FieldPath | None = None


def render(pod: Pod, wanted: Mapping[str, Sizes]) -> ResizePatch | None:
    """The patch that gives the containers these sizes: only what differs from what the pod asks for; None where nothing does.

    Containers that the pod does not have are passed over, as it may be of another template.
    """
    lists: dict[str, list[dict[str, Any]]] = {}
    for container in pod.containers:
        resources = _resources(container, wanted.get(container.name, Sizes()))
        if resources:
            lists.setdefault(_LISTS[container.role], []).append({"name": container.name, "resources": resources})
    if not lists:
        return None
    metadata = {"uid": pod.uid, "resourceVersion": pod.resource_version}
    return ResizePatch(pod.namespace, pod.name, {"metadata": metadata, "spec": lists})


def resizable(
    pod: Pod, wanted: Mapping[str, Sizes], *, memory_peaks: Mapping[str, float], restarts_allowed: bool = False
) -> Refusal | None:
    """Why the pod cannot get these sizes in place now; None where nothing speaks against it.

    `memory_peaks`: recent peak of the working set by container, in bytes; a memory limit of a container without one is not lowered.
    `restarts_allowed`: also where the `resizePolicy` of a container has it restarted for that.
    """
    return _of_pod(pod) or next(_of_sizes(pod, wanted, memory_peaks, restarts_allowed=restarts_allowed), None)


def sized(pod: Pod, wanted: Mapping[str, Sizes]) -> Pod:
    """The pod as it asks for its sizes after the patch."""
    return replace(pod, containers=tuple(_sized(container, wanted.get(container.name, Sizes())) for container in pod.containers))


def asks_for(pod: Pod, wanted: Mapping[str, Sizes]) -> bool:
    """Whether the pod asks for these sizes already; the kubelet may not have set them yet."""
    return render(pod, wanted) is None


def _of_pod(pod: Pod) -> Refusal | None:
    if pod.deleting or pod.phase != RUNNING:
        return Refusal(ResizeReason.POD_NOT_RUNNING, f"pod {pod.name} is {'being deleted' if pod.deleting else pod.phase}")
    if pod.annotations.get(MODE_ANNOTATION) in ("Ignore", "Recommend"):
        return Refusal(ResizeReason.OPTED_OUT, f"pod {pod.name} has the annotation {MODE_ANNOTATION}: {pod.annotations[MODE_ANNOTATION]}")
    if pod.resize_state is ResizeState.UNSUPPORTED:
        return Refusal(
            ResizeReason.UNSUPPORTED, f"the kubelet of pod {pod.name} cannot resize it: it does not tell the sizes that it has set"
        )
    if pod.pod_level:
        return Refusal(ResizeReason.POD_LEVEL_RESOURCES, f"pod {pod.name} has requests or limits of its own (spec.resources)")
    if pod.qos_class == BEST_EFFORT:
        return Refusal(ResizeReason.QOS_CLASS_WOULD_CHANGE, f"pod {pod.name} is BestEffort: it stays so")
    if not pod.ready:
        return Refusal(ResizeReason.POD_NOT_READY, f"pod {pod.name} is not ready")
    return None


def _of_sizes(pod: Pod, wanted: Mapping[str, Sizes], memory_peaks: Mapping[str, float], *, restarts_allowed: bool) -> Iterator[Refusal]:
    after = sized(pod, wanted)
    if _guaranteed(after) != (pod.qos_class == GUARANTEED):
        becomes = "would become Guaranteed" if _guaranteed(after) else "would no longer be Guaranteed"
        yield Refusal(ResizeReason.QOS_CLASS_WOULD_CHANGE, f"pod {pod.name} {becomes}")
    for before, container in zip(pod.containers, after.containers, strict=True):
        changed = frozenset(_changed(before, container.sizes))
        yield from _unordered(container)
        if not restarts_allowed:
            yield from _restarting(before, changed)
        if FieldPath(before.name, "memory", "limit") in changed:
            yield from _below_peak(before, container.sizes.memory_limit, memory_peaks.get(before.name))


def _unordered(container: PodContainer) -> Iterator[Refusal]:
    for resource in RESOURCES:
        request, limit = container.sizes.request(resource), container.sizes.limit(resource)
        if request is not None and limit is not None and request > limit:
            path = FieldPath(container.name, resource, "request")
            yield Refusal(ResizeReason.REQUEST_ABOVE_LIMIT, f"{path} would be above the limit that the pod has", path)


def _restarting(container: PodContainer, changed: Collection[FieldPath]) -> Iterator[Refusal]:
    for path in sorted(changed):
        if path.resource in container.restarts_for:
            message = f"{path}: the resizePolicy of {container.name} has it restarted when its {path.resource} is resized"
            yield Refusal(ResizeReason.NEEDS_RESTART, message, path)


def _below_peak(container: PodContainer, limit: int | None, peak: float | None) -> Iterator[Refusal]:
    before = container.memory_limit
    if limit is None or (before is not None and limit >= before):
        return
    path = FieldPath(container.name, "memory", "limit")
    if peak is None:
        yield Refusal(ResizeReason.MEMORY_IN_USE, f"{path} is not lowered: its recent peak is not known", path)
    elif limit < (least := round_up(peak * ROOM_ABOVE_PEAK, 1)):
        told = f"{format_memory_short(limit)} < {format_memory_short(least)}"
        yield Refusal(ResizeReason.MEMORY_IN_USE, f"{path} is not lowered below {ROOM_ABOVE_PEAK} x its recent peak: {told}", path)


def _guaranteed(pod: Pod) -> bool:
    return pod.others_guaranteed and all(container.sizes.guaranteed for container in pod.containers)


def _changed(container: PodContainer, wanted: Sizes) -> Iterator[FieldPath]:
    for resource in RESOURCES:
        for field in _SECTIONS:
            if wanted.get(resource, field) not in (None, container.sizes.get(resource, field)):
                yield FieldPath(container.name, resource, field)


def _sized(container: PodContainer, wanted: Sizes) -> PodContainer:
    sizes = container.sizes
    for path in _changed(container, wanted):
        sizes = sizes.with_value(path.resource, path.field, wanted.get(path.resource, path.field))
    return replace(container, sizes=sizes)


def _resources(container: PodContainer, wanted: Sizes) -> dict[str, dict[str, str]]:
    resources: dict[str, dict[str, str]] = {}
    for path in _changed(container, wanted):
        value = wanted.get(path.resource, path.field) or 0
        written = format_cpu(value) if path.resource == "cpu" else format_memory(value)
        resources.setdefault(_SECTIONS[path.field], {})[path.resource] = written
    return resources
