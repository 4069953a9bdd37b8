"""Reads what the operator left in the cluster: where each workload stands, in a line, and whether it is what it should be.

Works on the API's JSON alone, so it can be tested without a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demo.cast import EXAMPLE, EXAMPLE_SIZES, KILLED, KILLED_LIMIT, PAUSED, SCALED_ON_CPU, SHOWS, YOUNG
from rightsizer.quantities import GIBIBYTE, cpu_millicores, memory_bytes

Manifest = Mapping[str, Any]
Key = tuple[str, str]

APPLYING, RECOMMENDING = "shop", "batch"
_ON_THEIR_WAY = ("RollingOut", "ReadyToApply")


@dataclass(frozen=True, slots=True)
class Scene:
    """What the cluster holds: recommendations and workloads by (namespace, name), and the pods of the worked example."""

    recommendations: Mapping[Key, Manifest]
    workloads: Mapping[Key, Manifest]
    example_pods: Sequence[Manifest] = ()
    refused: Sequence[str] = field(default=())


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must hold, and whether it does."""

    text: str
    holds: bool


def by_key(items: Iterable[Manifest]) -> dict[Key, Manifest]:
    """Workloads by namespace and name."""
    return {(item["metadata"]["namespace"], item["metadata"]["name"]): item for item in items}


def by_workload(recommendations: Iterable[Manifest]) -> dict[Key, Manifest]:
    """Recommendations by namespace and name of their workload."""
    return {(item["metadata"]["namespace"], item["spec"]["workloadRef"]["name"]): item for item in recommendations}


def unfinished(scene: Scene) -> list[str]:
    """Workloads without a recommendation or its evidence, or with a change on its way."""
    waiting = {name for namespace, name in scene.workloads if _is_unfinished(scene.recommendations.get((namespace, name)))}
    return sorted(waiting.union(_unproved(scene)))


def _unproved(scene: Scene) -> list[str]:
    """Workloads without evidence, but for the one that is too young for it."""
    known = {key for key, recommendation in scene.recommendations.items() if recommendation.get("status", {}).get("evidence")}
    return sorted(name for key, name in _names(scene) if key not in known and name != YOUNG)


def _is_unfinished(recommendation: Manifest | None) -> bool:
    if recommendation is None or not _recommended(recommendation):
        return True
    summary = recommendation["status"]["summary"]
    return summary["state"] in _ON_THEIR_WAY or summary["reason"] in _ON_THEIR_WAY


def _recommended(recommendation: Manifest) -> bool:
    containers = recommendation.get("status", {}).get("containers", [])
    return bool(containers) and all("recommended" in container for container in containers)


def lines(scene: Scene) -> Iterator[tuple[str, str, str]]:
    """Name, what the workload shows, and what became of it."""
    known = {name: recommendation for (_, name), recommendation in scene.recommendations.items()}
    for name, shows in SHOWS.items():
        yield name, shows, _became(known[name]) if name in known else "no recommendation"


def _became(recommendation: Manifest) -> str:
    status = recommendation["status"]
    summary, change = status["summary"], status.get("lastChange", {})
    wanted = ", ".join(figure for resource in ("cpu", "memory") if (figure := _moves(resource, summary)))
    if change.get("outcome") in ("Verifying", "Succeeded"):
        held = "" if summary["state"] in ("Verifying", "Applied") else f"; {wanted} held back: {summary['reason']}"
        return f"rolled out: {_changed(change)}{held}"
    if summary["state"] == "Recommended":
        return f"recommended: {wanted}{_told(status)}"
    return f"held back ({summary['reason']}): {wanted}" if wanted else "fits as it is"


def _told(status: Manifest) -> str:
    """What was found in the usage, where it keeps numbers as they are."""
    found = sorted({finding["type"] for container in status["containers"] for finding in container.get("findings", [])})
    return f"; found: {', '.join(found)}" if found else ""


def _moves(resource: str, summary: Mapping[str, str]) -> str:
    return f"{resource} {summary[resource]}" if "->" in summary[resource] else ""


def _changed(change: Mapping[str, Any]) -> str:
    before = {container["name"]: container for container in change["previous"]}
    figures = [
        f"{_named(container, change)}{resource} {old} -> {new}"
        for container in change["applied"]
        for resource in ("cpu", "memory")
        if (new := container["requests"].get(resource)) != (old := before[container["name"]]["requests"].get(resource, "unset"))
    ]
    return ", ".join(figures) or "limits only"


def _named(container: Mapping[str, Any], change: Mapping[str, Any]) -> str:
    return f"{container['name']} " if len(change["applied"]) > 1 else ""


def totals(workloads: Mapping[Key, Manifest], namespace: str) -> str:
    """What all pods of a namespace request together: `13.4 cores and 20.1 GiB`."""
    mine = [workload for (place, _), workload in workloads.items() if place == namespace]
    cpu = sum(_pods(workload) * _requested(workload, "cpu", cpu_millicores) for workload in mine)
    memory = sum(_pods(workload) * _requested(workload, "memory", memory_bytes) for workload in mine)
    return f"{cpu / 1000:.1f} cores and {memory / GIBIBYTE:.1f} GiB"


def _pods(workload: Manifest) -> int:
    if workload["kind"] == "DaemonSet":
        return int(workload.get("status", {}).get("desiredNumberScheduled", 0))
    return int(workload["spec"]["replicas"])


def _requested(workload: Manifest, resource: str, read: Callable[[str], int]) -> int:
    pod = workload["spec"]["template"]["spec"]
    containers = [*pod.get("initContainers", []), *pod["containers"]]  # in the demo every init container is a sidecar
    return sum(read(container["resources"]["requests"][resource]) for container in containers)


def findings(scene: Scene, before: Mapping[Key, Manifest]) -> Iterator[Finding]:
    """What the demo promises. `before`: the workloads as they were when the operator started."""
    missing = sorted(name for key, name in _names(scene) if not _recommended(scene.recommendations.get(key, {})))
    yield Finding(f"all {len(scene.workloads)} workloads have a recommendation{_listed(missing)}", not missing)
    unproved = _unproved(scene)
    yield Finding(f"every workload but the new one has evidence{_listed(unproved)}", not unproved)
    example = scene.workloads[EXAMPLE]
    yield Finding(f"web requests and limits are {_sizes(_resources(example))}", _resources(example) == EXAMPLE_SIZES)
    yield Finding("web rolled out: every pod is new and ready", _rolled_out(example))
    running = [_pod_resources(pod) for pod in scene.example_pods]
    yield Finding(f"its {len(running)} pods run with these sizes", bool(running) and all(one == EXAMPLE_SIZES for one in running))
    limit = _memory_limit(scene.workloads[KILLED])
    raised = limit is not None and memory_bytes(limit) >= memory_bytes(KILLED_LIMIT)
    yield Finding(f"thumbnails, OOM-killed at 256Mi, may use at least 256Mi + 100Mi: {limit}", raised)
    touched = sorted(name for key, name in _names(scene) if key[0] == RECOMMENDING and _touched(scene, before, key))
    yield Finding(f"nothing in the namespace of the profile that recommends was touched{_listed(touched)}", not touched)
    yield Finding("catalog keeps the CPU that its autoscaler aims at", _cpu(scene, SCALED_ON_CPU) == _cpu_of(before[SCALED_ON_CPU]))
    yield Finding("checkout is paused and was left alone", not _touched(scene, before, PAUSED))
    yield Finding(f"the API server refused no request of the operator{_listed(scene.refused)}", not scene.refused)


def _names(scene: Scene) -> Iterator[tuple[Key, str]]:
    return ((key, key[1]) for key in scene.workloads)


def _listed(names: Sequence[str]) -> str:
    return f"; not so: {', '.join(names)}" if names else ""


def _touched(scene: Scene, before: Mapping[Key, Manifest], key: Key) -> bool:
    return bool(scene.workloads[key]["spec"]["template"] != before[key]["spec"]["template"])


def _resources(workload: Manifest) -> Mapping[str, Any]:
    return dict(workload["spec"]["template"]["spec"]["containers"][0]["resources"])


def _pod_resources(pod: Manifest) -> Mapping[str, Any]:
    return dict(pod["spec"]["containers"][0]["resources"])


def _sizes(resources: Mapping[str, Mapping[str, str]]) -> str:
    pairs = (f"{resources[section].get('cpu')}/{resources[section].get('memory')}" for section in ("requests", "limits"))
    return " and ".join(pairs)


def _cpu(scene: Scene, key: Key) -> list[str | None]:
    return _cpu_of(scene.workloads[key])


def _cpu_of(workload: Manifest) -> list[str | None]:
    resources = _resources(workload)
    return [resources.get(section, {}).get("cpu") for section in ("requests", "limits")]


def _memory_limit(workload: Manifest) -> str | None:
    value = _resources(workload).get("limits", {}).get("memory")
    return None if value is None else str(value)


def _rolled_out(workload: Manifest) -> bool:
    status, replicas = workload.get("status", {}), workload["spec"]["replicas"]
    counts = [status.get(name, 0) for name in ("updatedReplicas", "replicas", "availableReplicas")]
    seen = status.get("observedGeneration", 0) >= workload["metadata"]["generation"]
    return bool(seen and workload["metadata"]["generation"] > 1 and counts == [replicas] * 3)
