"""What became of it, as the cluster and its audit log tell: changes that were lost, made twice, or forbidden.

The operator's own word counts for nothing but the record that it keeps in the recommendations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tests.chaos.cluster import ROLLOUTS_AT_ONCE, ChaosCluster
from tests.scenario import GENEROUS, WORKED_EXAMPLE, Manifest, Stage, resources_of

BEFORE = 2
"""The generation of the due workloads before any change: made, and told to take their time."""


def lost(stage: Stage, cluster: ChaosCluster) -> list[str]:
    """Those whose sizes in force, pods or record are not as they have to be in the end."""
    found = []
    for strategy, references in cluster.due.items():
        templates = workloads(stage, cluster)
        records = recommendations(stage, cluster)
        sizes = pod_sizes(stage, cluster)
        pods = pods_of(stage, cluster) if strategy != "OnCreate" else {}
        for reference in references:
            in_force = resources_of(templates[reference]) if strategy == "Rollout" else sizes.get(reference, {})
            there = strategy == "OnCreate" or all(resources == WORKED_EXAMPLE for resources in pods.get(reference, [{}]))
            outcome = records.get(reference, {}).get("lastChange", {}).get("outcome")
            if in_force != WORKED_EXAMPLE or not there or outcome != "Succeeded":
                found.append(f"{reference} ({strategy}): {in_force}, pods as wanted: {there}, {outcome}")
    return found


def doubled(stage: Stage, cluster: ChaosCluster) -> list[str]:
    """Those that were changed more than once: a second generation too many, or more than one change on record that was made."""
    templates, records = workloads(stage, cluster), recommendations(stage, cluster)
    found = []
    for strategy, references in cluster.due.items():
        most = BEFORE + 1 if strategy == "Rollout" else BEFORE
        for reference in references:
            generation = templates[reference]["metadata"]["generation"]
            record = records.get(reference, {})
            changes = [one for one in (record.get("lastChange", {}), *record.get("history", [])) if one.get("outcome") != "Abandoned"]
            if generation > most or len(changes) != 1:
                found.append(f"{reference} ({strategy}): generation {generation}, {len(changes)} changes")
    return found


def forbidden(stage: Stage, cluster: ChaosCluster, rollouts: Mapping[str, int]) -> list[str]:
    """Those that were changed although a check forbids it, and namespaces where more rollouts were seen at a time than allowed."""
    templates, sizes = workloads(stage, cluster), pod_sizes(stage, cluster)
    found = [name for name in cluster.forbidden if resources_of(templates[name]) != GENEROUS or name in sizes]
    return found + [f"{place}: {count} rollouts at a time" for place, count in rollouts.items() if count > ROLLOUTS_AT_ONCE]


def requests_for_changes(events: Sequence[Manifest], references: Sequence[str]) -> Counter[str]:
    """The requests of the operator that rollouts cost, by what they were: of each workload from the record before its patch on, the lists
    of pods, and all events. What was written before is the recommendation, and why it waits."""
    counted: Counter[str] = Counter()
    for reference in references:
        place, kind, name = reference.split("/")
        mine = [told for event in events if (told := _of(event, place, f"{kind.lower()}-{name}", name))]
        begin = mine.index("patch deployments") - 1 if "patch deployments" in mine else 0
        counted.update(mine[begin:])
    every = Counter((event["verb"], (event.get("objectRef") or {}).get("resource")) for event in events)
    counted.update({"list pods": every["list", "pods"], "create events": every["create", "events"]})
    return counted


def _of(event: Manifest, place: str, recommendation: str, workload: str) -> str:
    """What a request of the operator about a workload was; empty where it was about another."""
    target = event.get("objectRef") or {}
    resource, name = "/".join(filter(None, (target.get("resource"), target.get("subresource")))), str(target.get("name", ""))
    if target.get("namespace") != place or event["verb"] == "list":
        return ""
    mine = name == (recommendation if resource.startswith("resourcerecommendations") else workload)
    return f"{event['verb']} {resource}" if mine else ""


def rolling(stage: Stage, cluster: ChaosCluster) -> Counter[str]:
    """How many workloads are in a rollout of their template, by namespace."""
    found: Counter[str] = Counter()
    for item in stage.bed.kubectl.items("deployments", namespace="", selector=f"app in ({','.join(_due_names(cluster))})"):
        if item["metadata"]["generation"] > BEFORE and not _complete(item):
            found[item["metadata"]["namespace"]] += 1
    return found


def workloads(stage: Stage, cluster: ChaosCluster) -> dict[str, Manifest]:
    places = set(cluster.namespaces)
    items = stage.bed.kubectl.items("deployments", namespace="")
    return {reference(item, "Deployment"): item for item in items if item["metadata"]["namespace"] in places}


def recommendations(stage: Stage, cluster: ChaosCluster) -> dict[str, Manifest]:
    """The status of each recommendation, by workload."""
    items = stage.bed.kubectl.items("resourcerecommendations", namespace="")
    return {f"{item['metadata']['namespace']}/Deployment/{item['spec']['workloadRef']['name']}": item.get("status", {}) for item in items}


def pod_sizes(stage: Stage, cluster: ChaosCluster) -> dict[str, Any]:
    """What new pods get, by workload."""
    return {
        f"{item['metadata']['namespace']}/{name}": entry["containers"]["app"]
        for item in stage.bed.kubectl.items("podsizes", namespace="")
        for name, entry in item["spec"]["workloads"].items()
    }


def pods_of(stage: Stage, cluster: ChaosCluster) -> dict[str, list[Any]]:
    """The resources of each running pod of the due workloads, by workload."""
    found: dict[str, list[Any]] = {}
    for item in stage.bed.kubectl.items("pods", namespace="", selector=f"app in ({','.join(_due_names(cluster))})"):
        if "deletionTimestamp" not in item["metadata"]:
            name = f"{item['metadata']['namespace']}/Deployment/{item['metadata']['labels']['app']}"
            found.setdefault(name, []).append(item["spec"]["containers"][0]["resources"])
    return found


def reference(item: Manifest, kind: str) -> str:
    return f"{item['metadata']['namespace']}/{kind}/{item['metadata']['name']}"


def _due_names(cluster: ChaosCluster) -> list[str]:
    return sorted({name.split("/")[2] for references in cluster.due.values() for name in references})


def _complete(item: Manifest) -> bool:
    status, wanted = item.get("status", {}), item["spec"]["replicas"]
    seen = status.get("observedGeneration", 0) >= item["metadata"]["generation"]
    return bool(seen and status.get("updatedReplicas") == wanted == status.get("replicas") == status.get("availableReplicas"))
