"""Objects as a real API server answers them, for tests: every field that a cluster fills in, also those that nobody should read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]


def app_container(name: str = "app", **resources: Mapping[str, str]) -> Json:
    """A container with `requests=` and `limits=`."""
    return {
        "name": name,
        "image": "registry.example/app:1",
        "imagePullPolicy": "IfNotPresent",
        "resources": dict(resources),
        "terminationMessagePath": "/dev/termination-log",
    }


def managed(manager: str, operation: str, fields: Json, *, subresource: str = "") -> Json:
    """An entry of `metadata.managedFields`."""
    entry: Json = {
        "manager": manager,
        "operation": operation,
        "apiVersion": "apps/v1",
        "time": "2026-01-31T08:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return entry | ({"subresource": subresource} if subresource else {})


def template_fields(containers: Json, *, init: Json | None = None) -> Json:
    """fieldsV1 of a template, by container key such as `k:{"name":"app"}`."""
    pod = {"f:containers": containers} | ({"f:initContainers": init} if init is not None else {})
    return {"f:spec": {"f:template": {"f:spec": pod}}}


def deployment(
    name: str = "web",
    *,
    namespace: str = "shop",
    containers: Sequence[Json] | None = None,
    init_containers: Sequence[Json] = (),
    spec: Json | None = None,
    status: Json | None = None,
    metadata: Json | None = None,
) -> Json:
    """A Deployment of three replicas that is rolled out, as an item of a list (no kind, no apiVersion)."""
    pod: Json = {
        "containers": list(containers or [app_container(requests={"cpu": "300m", "memory": "400Mi"}, limits={"memory": "1Gi"})]),
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
    }
    if init_containers:
        pod["initContainers"] = list(init_containers)
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "resourceVersion": "4711",
            "generation": 2,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"tier": "web"},
            "annotations": {
                "deployment.kubernetes.io/revision": "2",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
            },
            **(metadata or {}),
        },
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
            "progressDeadlineSeconds": 600,
            **(spec or {}),
        },
        "status": deployment_status() if status is None else status,
    }


def deployment_status(*, reason: str = "NewReplicaSetAvailable", conditions: Sequence[Json] = (), **counts: int | None) -> Json:
    """The status of a rolled out Deployment of three, with counts replaced, or left out (None) as a server leaves out zeros."""
    numbers: dict[str, int | None] = {
        "observedGeneration": 2,
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
        **counts,
    }
    progressing = condition("Progressing", "False" if reason == "ProgressDeadlineExceeded" else "True", reason, f"says {reason}")
    return {key: value for key, value in numbers.items() if value is not None} | {"conditions": [progressing, *conditions]}


def condition(kind: str, status: str, reason: str, message: str) -> Json:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-31T08:00:00Z"}


def pod(
    name: str = "web-7d4b9c6f5-x2x4z", *, namespace: str = "shop", owner: tuple[str, str] | None = ("ReplicaSet", "web-7d4b9c6f5")
) -> Json:
    """A running pod of one container whose memory limit is 1Gi."""
    metadata: Json = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "creationTimestamp": "2026-01-31T08:00:00Z"}
    if owner is not None:
        kind, owner_name = owner
        metadata["ownerReferences"] = [
            {"apiVersion": "apps/v1", "kind": kind, "name": owner_name, "uid": "u", "controller": True, "blockOwnerDeletion": True}
        ]
    return {
        "metadata": metadata,
        "spec": {"containers": [app_container(limits={"memory": "1Gi"})], "nodeName": "node-0"},
        "status": {
            "phase": "Running",
            "containerStatuses": [
                {"name": "app", "restartCount": 0, "ready": True, "state": {"running": {"startedAt": "2026-01-31T08:00:01Z"}}}
            ],
        },
    }
