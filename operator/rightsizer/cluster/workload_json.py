"""A Deployment, StatefulSet or DaemonSet of the API as a Workload."""

from __future__ import annotations

from collections.abc import Callable

from rightsizer.cluster.endpoint import Endpoint
from rightsizer.cluster.metadata import Item, annotations_of
from rightsizer.cluster.ownership import other_managers, owned_fields, sized_at
from rightsizer.cluster.rollout import (
    Standing,
    daemon_set_standing,
    deployment_standing,
    rolling_steps,
    stateful_set_standing,
    wanted_replicas,
)
from rightsizer.cluster.template import containers_of
from rightsizer.workload import ANNOTATION_PREFIX, Workload, WorkloadRef

_STANDINGS: dict[str, Callable[[Item], Standing]] = {
    "Deployment": deployment_standing,
    "StatefulSet": stateful_set_standing,
    "DaemonSet": daemon_set_standing,
}


def parse_workload(endpoint: Endpoint, item: Item) -> Workload:
    """The workload behind an item of a list, which does not name its own kind. Raises InvalidQuantity."""
    metadata, spec = item["metadata"], item["spec"]
    phase, message = _STANDINGS[endpoint.kind](item)
    managed_fields = metadata.get("managedFields") or []
    max_surge, max_unavailable = rolling_steps(endpoint.kind, item)
    return Workload(
        ref=WorkloadRef(namespace=metadata["namespace"], kind=endpoint.kind, name=metadata["name"]),
        uid=metadata["uid"],
        api_version=endpoint.api_version,
        resource_version=metadata["resourceVersion"],
        generation=int(metadata.get("generation", 0)),
        containers=containers_of(spec["template"]["spec"]),
        replicas=_replicas(endpoint.kind, item),
        labels=metadata.get("labels") or {},
        annotations=annotations_of(item),
        paused=bool(spec.get("paused", False)),
        rollout=phase,
        rollout_message=message,
        owned=owned_fields(managed_fields),
        managers=other_managers(managed_fields),
        sized_at=sized_at(managed_fields),
        pod_annotations=_own_annotations(spec["template"]),
        pod_labels=(spec["template"].get("metadata") or {}).get("labels") or {},
        node_selector=spec["template"]["spec"].get("nodeSelector") or {},
        max_surge=max_surge,
        max_unavailable=max_unavailable,
    )


def _own_annotations(template: Item) -> dict[str, str]:
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    return {name: value for name, value in annotations.items() if name.startswith(ANNOTATION_PREFIX)}


def _replicas(kind: str, item: Item) -> int:
    if kind == "DaemonSet":
        return int((item.get("status") or {}).get("desiredNumberScheduled", 0))
    return wanted_replicas(item)
