"""A Deployment, StatefulSet, DaemonSet, CronJob or Argo Rollout of the API as a Workload."""

from __future__ import annotations

from collections.abc import Callable

from rightsizer.cluster.endpoint import Endpoint
from rightsizer.cluster.metadata import Item, annotations_of, own_annotations, unix_seconds
from rightsizer.cluster.ownership import merged_by_name, other_managers, owned_fields, sized_at
from rightsizer.cluster.rollout import (
    Standing,
    argo_rollout_standing,
    cron_job_standing,
    daemon_set_standing,
    deployment_standing,
    rolling_steps,
    stateful_set_standing,
    wanted_replicas,
)
from rightsizer.cluster.template import containers_of
from rightsizer.workload import ARGO_ROLLOUT, CRON_JOB, Workload, WorkloadRef

_STANDINGS: dict[str, Callable[[Item], Standing]] = {
    "Deployment": deployment_standing,
    "StatefulSet": stateful_set_standing,
    "DaemonSet": daemon_set_standing,
    CRON_JOB: cron_job_standing,
    ARGO_ROLLOUT: argo_rollout_standing,
}

_EXPRESSIONS: dict[str, str] = {
    "In": "{key} in ({values})",
    "NotIn": "{key} notin ({values})",
    "Exists": "{key}",
    "DoesNotExist": "!{key}",
}


def parse_workload(endpoint: Endpoint, item: Item) -> Workload:
    """The workload behind an item of a list, which does not name its own kind. Raises InvalidQuantity."""
    metadata, spec, template = item["metadata"], item["spec"], _template(endpoint.kind, item)
    phase, message = _STANDINGS[endpoint.kind](item)
    managed_fields = metadata.get("managedFields") or []
    max_surge, max_unavailable = rolling_steps(endpoint.kind, item)
    return Workload(
        ref=WorkloadRef(namespace=metadata["namespace"], kind=endpoint.kind, name=metadata["name"]),
        uid=metadata["uid"],
        api_version=endpoint.api_version,
        resource_version=metadata["resourceVersion"],
        generation=int(metadata.get("generation", 0)),
        containers=containers_of(template["spec"]),
        replicas=_replicas(endpoint.kind, item),
        labels=metadata.get("labels") or {},
        annotations=annotations_of(item),
        paused=bool(spec.get("paused", False)),
        rollout=phase,
        rollout_message=message,
        owned=owned_fields(managed_fields),
        managers=other_managers(managed_fields),
        sized_at=sized_at(managed_fields),
        pod_labels=(template.get("metadata") or {}).get("labels") or {},
        node_selector=template["spec"].get("nodeSelector") or {},
        max_surge=max_surge,
        max_unavailable=max_unavailable,
        pod_annotations=own_annotations(template.get("metadata") or {}),
        pod_selector=label_query(spec.get("selector") or {}),
        merged_by_name=endpoint.kind != ARGO_ROLLOUT or merged_by_name(managed_fields),
        last_run=_last_run(item) if endpoint.kind == CRON_JOB else None,
    )


def sized_elsewhere(endpoint: Endpoint, item: Item) -> bool:
    """Whether it has no template of its own: an Argo Rollout may take that of a Deployment, which it scales to nothing."""
    return endpoint.kind == ARGO_ROLLOUT and "template" not in item["spec"]


def _template(kind: str, item: Item) -> Item:
    spec = item["spec"]["jobTemplate"]["spec"] if kind == CRON_JOB else item["spec"]
    template: Item = spec["template"]
    return template


def _last_run(item: Item) -> float | None:
    last = (item.get("status") or {}).get("lastScheduleTime")
    return None if last is None else unix_seconds(last)


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
    if kind == CRON_JOB:
        parallelism = item["spec"]["jobTemplate"]["spec"].get("parallelism")
        return 1 if parallelism is None else int(parallelism)
    return wanted_replicas(item)
