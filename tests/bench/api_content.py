"""Puts a generated cluster into a real API server: namespaces, a profile for each, and workloads as if their controllers had settled.

The testbed's controllers are stopped before, so no pod is made, and the status that they would have written is written here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.bench.generated import GeneratedCluster, GeneratedWorkload
from tests.operator_process import ACCOUNT, NAMESPACE, install
from tests.testbed import Testbed

PARALLEL = 4
CONTROLLERS = ("kube-controller-manager", "kube-scheduler", "kwok")
PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets"}

Json = dict[str, Any]


def fill(bed: Testbed, cluster: GeneratedCluster) -> Path:
    """All objects, and the operator installed; the kubeconfig of the operator's own account."""
    install(bed)
    kubeconfig = bed.kubeconfig_for(namespace=NAMESPACE, service_account=ACCOUNT)
    for name in CONTROLLERS:
        bed.processes.stop(name)
    _in_parallel(bed, [_namespace_objects(name) for name in cluster.namespaces])
    _in_parallel(bed, [_workload_objects(workload) for workload in cluster.workloads])
    return kubeconfig


Writes = Sequence[tuple[str, str, Json]]
"""Method, path and body, to be sent in this order."""


def _namespace_objects(name: str) -> Writes:
    profile = {
        "apiVersion": "rightsizer.dev/v1alpha1",
        "kind": "ResourceProfile",
        "metadata": {"name": "all", "namespace": name},
        "spec": {},
    }
    return [
        ("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        ("POST", f"/apis/rightsizer.dev/v1alpha1/namespaces/{name}/resourceprofiles", profile),
    ]


def _workload_objects(workload: GeneratedWorkload) -> Writes:
    path = f"/apis/apps/v1/namespaces/{workload.namespace}/{PLURALS[workload.kind]}"
    return [
        ("POST", path, workload_manifest(workload)),
        ("PATCH", f"{path}/{workload.name}/status", {"status": settled_status(workload)}),
    ]


def workload_manifest(workload: GeneratedWorkload) -> Json:
    """As long as such objects usually are, since reading them is part of what is measured."""
    labels = {"app.kubernetes.io/name": workload.name, "app.kubernetes.io/part-of": workload.namespace, "tier": "backend"}
    selector = {"app.kubernetes.io/name": workload.name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [_container(workload, index) for index in range(len(workload.containers))]},
    }
    spec: Json = {"replicas": workload.replicas, "selector": {"matchLabels": selector}, "template": template}
    if workload.kind == "StatefulSet":
        spec["serviceName"] = workload.name
    annotations = {"meta.helm.sh/release-name": workload.name, "meta.helm.sh/release-namespace": workload.namespace}
    metadata = {"name": workload.name, "namespace": workload.namespace, "labels": labels, "annotations": annotations}
    return {"apiVersion": "apps/v1", "kind": workload.kind, "metadata": metadata, "spec": spec}


def _container(workload: GeneratedWorkload, index: int) -> Json:
    container = workload.containers[index]
    requests_ = {"cpu": f"{container.cpu_request_millicores}m", "memory": str(container.memory_request_bytes)}
    return {
        "name": container.name,
        "image": f"registry.example/{workload.name}/{container.name}:1.0",
        "ports": [{"name": f"http-{index}", "containerPort": 8080 + index}],
        "env": [
            {"name": name, "value": f"{workload.name}.{name.lower()}.example"} for name in ("DATABASE_HOST", "QUEUE_HOST", "LOG_LEVEL")
        ],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080 + index}, "periodSeconds": 10},
        "resources": {"requests": requests_, "limits": {"memory": str(2 * container.memory_request_bytes)}},
    }


def settled_status(workload: GeneratedWorkload) -> Json:
    """What the controller writes when every pod is there and ready."""
    count = workload.replicas
    status: Json = {
        "observedGeneration": 1,
        "replicas": count,
        "updatedReplicas": count,
        "readyReplicas": count,
        "availableReplicas": count,
    }
    if workload.kind == "StatefulSet":
        return status | {"currentReplicas": count, "currentRevision": "r-1", "updateRevision": "r-1"}
    times = {"lastTransitionTime": "2025-10-01T00:00:00Z", "lastUpdateTime": "2025-10-01T00:00:00Z"}
    available = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "available", **times}
    progressing = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "has progressed", **times}
    return status | {"conditions": [available, progressing]}


def _in_parallel(bed: Testbed, objects: Sequence[Writes]) -> None:
    """A connection for each of some threads; the first failure ends all."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        for done in [pool.submit(_send, bed, objects[start::PARALLEL]) for start in range(PARALLEL)]:
            done.result()


def _send(bed: Testbed, objects: Sequence[Writes]) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(bed.ca_file)
        session.headers["Authorization"] = f"Bearer {_token(bed.kubeconfig)}"
        for method, path, body in (write for writes in objects for write in writes):
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            answer = session.request(method, f"{bed.api_url}{path}", data=json.dumps(body), headers={"Content-Type": kind}, timeout=30.0)
            answer.raise_for_status()


def _token(kubeconfig: Path) -> str:
    return str(yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"])
