"""Renders the API objects of a scenario's workloads: what a person would have written by hand for them.

Every value comes from the scenario, so that history, live usage and the cluster agree. It sends nothing anywhere.
"""

from __future__ import annotations

from typing import Any

from tests.usage.workload import ContainerUsage, Resources, WorkloadUsage

Manifest = dict[str, Any]


def namespace(name: str) -> Manifest:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def workload_manifest(workload: WorkloadUsage) -> Manifest:
    """A Deployment, StatefulSet, DaemonSet or CronJob with the requests and limits that the scenario starts from."""
    return {
        "apiVersion": "batch/v1" if workload.kind == "CronJob" else "apps/v1",
        "kind": workload.kind,
        "metadata": {"name": workload.name, "namespace": workload.namespace, "labels": {"app": workload.name}},
        "spec": _cron_job_spec(workload) if workload.kind == "CronJob" else _controller_spec(workload),
    }


def horizontal_pod_autoscaler(in_namespace: str, deployment: str, *, min_replicas: int, max_replicas: int, cpu_percent: int) -> Manifest:
    """An autoscaler that keeps a Deployment's CPU at a share of what it requests."""
    target = {"type": "Utilization", "averageUtilization": cpu_percent}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": deployment, "namespace": in_namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
            "minReplicas": min_replicas,
            "maxReplicas": max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }


def _controller_spec(workload: WorkloadUsage) -> Manifest:
    own: Manifest = {} if workload.kind == "DaemonSet" else {"replicas": workload.replicas}
    if workload.kind == "StatefulSet":
        own["serviceName"] = workload.name
    return {**own, "selector": {"matchLabels": {"app": workload.name}}, "template": _template(workload)}


def _cron_job_spec(workload: WorkloadUsage) -> Manifest:
    template = _template(workload)
    template["spec"]["restartPolicy"] = "Never"
    return {"schedule": "0 * * * *", "jobTemplate": {"spec": {"template": template}}}


def _template(workload: WorkloadUsage) -> Manifest:
    spec: Manifest = {
        "terminationGracePeriodSeconds": 1,
        "containers": [_container(usage) for usage in workload.containers if not usage.sidecar],
    }
    sidecars = [{**_container(usage), "restartPolicy": "Always"} for usage in workload.containers if usage.sidecar]
    if sidecars:
        spec["initContainers"] = sidecars
    return {"metadata": {"labels": {"app": workload.name}}, "spec": spec}


def _container(usage: ContainerUsage) -> Manifest:
    resources = {"requests": _amounts(usage.requests), "limits": _amounts(usage.limits)}
    return {"name": usage.name, "image": usage.image, "resources": {key: at for key, at in resources.items() if at}}


def _amounts(resources: Resources) -> dict[str, str]:
    amounts = {"cpu": resources.cpu, "memory": resources.memory}
    return {resource: amount for resource, amount in amounts.items() if amount is not None}
