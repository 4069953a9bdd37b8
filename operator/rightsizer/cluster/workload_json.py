"""A Deployment, StatefulSet or DaemonSet of the API as a Workload."""

from __future__ import annotations

from collections.abc import Callable

from rightsizer.cluster.endpoint import Endpoint
from rightsizer.cluster.metadata import Item, annotations_of, own_annotations
from rightsizer.cluster.ownership import other_managers, owned_fields, sized_at
from rightsizer.cluster.rollout import (
    Standing,
    daemon_set_standing,
    deployment_standing,
    stateful_set_standing,
    wanted_replicas,
)
from rightsizer.cluster.template import containers_of
from rightsizer.workload import Workload, WorkloadRef

_STANDINGS: dict[str, Callable[[Item], Standing]] = {
    "Deployment": deployment_standing,
    "StatefulSet": stateful_set_standing,
    "DaemonSet": daemon_set_standing,
}

_EXPRESSIONS: dict[str, str] = {
    "In": "{key} in ({values})",
    "NotIn": "{key} notin ({values})",
    "Exists": "{key}",
    "DoesNotExist": "!{key}",
}


def parse_workload(endpoint: Endpoint, item: Item) -> Workload:
    """The workload behind an item of a list, which does not name its own kind. Raises InvalidQuantity."""
    metadata, spec = item["metadata"], item["spec"]
    phase, message = _STANDINGS[endpoint.kind](item)
    managed_fields = metadata.get("managedFields") or []
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
        pod_annotations=own_annotations(spec["template"].get("metadata") or {}),
        pod_selector=label_query(spec.get("selector") or {}),
    )


def label_query(selector: Item) -> str:
    """A label selector as `labelSelector` of a list: app=web,tier in (a,b). Empty where it selects all, or says what is not known."""
    terms = [f"{label}={value}" for label, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or []:
        written = _EXPRESSIONS.get(expression.get("operator", ""))
        if written is None:
            return ""
        terms.append(written.format(key=expression["key"], values=",".join(expression.get("values") or [])))
    return ",".join(terms)


def _replicas(kind: str, item: Item) -> int:
    if kind == "DaemonSet":
        return int((item.get("status") or {}).get("desiredNumberScheduled", 0))
    return wanted_replicas(item)
