"""Where each kind of object lives in the Kubernetes API: its group, version and plural, and the paths that follow from them.

Knows no connection and no values; what is not named here is never read or written.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from rightsizer.errors import ClusterRejected


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One kind of object of the API, such as Deployment of apps/v1."""

    api_version: str
    kind: str
    plural: str

    def path(self, *, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The path of a list (no name) or of an object; of the whole cluster without a namespace."""
        root = "/apis" if "/" in self.api_version else "/api"
        parts = [f"{root}/{self.api_version}"]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource is not None:
            parts.append(subresource)
        return "/".join(parts)


GROUP_VERSION = "rightsizer.dev/v1alpha1"

DEPLOYMENTS = Endpoint("apps/v1", "Deployment", "deployments")
STATEFUL_SETS = Endpoint("apps/v1", "StatefulSet", "statefulsets")
DAEMON_SETS = Endpoint("apps/v1", "DaemonSet", "daemonsets")
CRON_JOBS = Endpoint("batch/v1", "CronJob", "cronjobs")
ARGO_ROLLOUTS = Endpoint("argoproj.io/v1alpha1", "Rollout", "rollouts")
REPLICA_SETS = Endpoint("apps/v1", "ReplicaSet", "replicasets")
PODS = Endpoint("v1", "Pod", "pods")
SERVICES = Endpoint("v1", "Service", "services")
NAMESPACES = Endpoint("v1", "Namespace", "namespaces")
EVENTS = Endpoint("v1", "Event", "events")
AUTOSCALERS = Endpoint("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
PROFILES = Endpoint(GROUP_VERSION, "ResourceProfile", "resourceprofiles")
CLUSTER_PROFILES = Endpoint(GROUP_VERSION, "ClusterResourceProfile", "clusterresourceprofiles")
RECOMMENDATIONS = Endpoint(GROUP_VERSION, "ResourceRecommendation", "resourcerecommendations")
POD_SIZES = Endpoint(GROUP_VERSION, "PodSizes", "podsizes")
LIMIT_RANGES = Endpoint("v1", "LimitRange", "limitranges")
QUOTAS = Endpoint("v1", "ResourceQuota", "resourcequotas")
DISRUPTION_BUDGETS = Endpoint("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
VERTICAL_AUTOSCALERS = Endpoint("autoscaling.k8s.io/v1", "VerticalPodAutoscaler", "verticalpodautoscalers")
NODES = Endpoint("v1", "Node", "nodes")
ADMISSION = "admissionregistration.k8s.io/v1"
ADMISSION_POLICIES = Endpoint(ADMISSION, "MutatingAdmissionPolicy", "mutatingadmissionpolicies")
ADMISSION_BINDINGS = Endpoint(ADMISSION, "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings")

_WORKLOADS = {endpoint.kind: endpoint for endpoint in (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, CRON_JOBS, ARGO_ROLLOUTS)}


def workload_endpoint(kind: str) -> Endpoint:
    """The endpoint of a kind of workload. Raises ClusterRejected for a kind that is not supported."""
    try:
        return _WORKLOADS[kind]
    except KeyError:
        raise ClusterRejected(f"{kind} is no kind of workload that can be read or sized") from None
