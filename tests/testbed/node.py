"""The manifest of a node that kwok runs: ready from its first moment, with the features of a current kubelet."""

from __future__ import annotations

from typing import Any

HEALTHY = {"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True"}


def node_manifest(name: str, *, cpu: str = "16", memory: str = "64Gi", pods: int = 500) -> dict[str, Any]:
    """A Node with this capacity, all of it allocatable."""
    capacity = {"cpu": cpu, "memory": memory, "pods": str(pods), "ephemeral-storage": "200Gi"}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [{"type": kind, "status": status} for kind, status in HEALTHY.items()],
            "nodeInfo": {
                "architecture": "amd64",
                "operatingSystem": "linux",
                "bootID": "",
                "containerRuntimeVersion": "kwok",
                "kernelVersion": "",
                "kubeProxyVersion": "",
                "kubeletVersion": "kwok",
                "machineID": "",
                "osImage": "",
                "systemUUID": "",
            },
        },
    }
