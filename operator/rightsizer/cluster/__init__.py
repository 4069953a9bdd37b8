"""The cluster as the cycle sees it: the Kubernetes API behind the port `Cluster`."""

from __future__ import annotations

from rightsizer.cluster.connection import current_namespace, in_pod
from rightsizer.cluster.kubernetes_cluster import KubernetesCluster, connect
from rightsizer.cluster.ownership import FIELD_MANAGER
from rightsizer.cluster.service import Service, ServicePort, ServiceProxy, open_service
from rightsizer.cluster.transport import Limits, OnRequest

__all__ = [
    "FIELD_MANAGER",
    "KubernetesCluster",
    "Limits",
    "OnRequest",
    "Service",
    "ServicePort",
    "ServiceProxy",
    "connect",
    "current_namespace",
    "in_pod",
    "open_service",
]
