"""Finds the workload behind each pod of the usage history, past pods included.

kube-state-metrics is asked first; where it knows nothing of a namespace, the API's pods and the naming rules of the controllers are used.
Owners do not change, so a pod that is known is never asked for again. Asking is apart from learning: it may run in another thread.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from rightsizer.errors import ClusterError
from rightsizer.history import PodSeries, Span
from rightsizer.pod import Pod
from rightsizer.ports import Cluster, OwnerSource, PodOwners, UsageSource
from rightsizer.workload import ContainerKey, OwnerRef, Workload, WorkloadRef, workload_by_pod_name, workload_of

logger = logging.getLogger(__name__)

ASKED_AT_MOST = 3
"""After so many answers without an owner, a pod is taken to have none."""

MOST_KNOWN = 200_000
"""Pods of the past are not needed any more: beyond so many, everything is forgotten and asked for anew."""

PodName = tuple[str, str]
KilledContainer = tuple[ContainerKey, float, int | None]


class PodWorkloads:
    """Workloads by (namespace, pod). A pod of no workload that can be sized is known as None."""

    def __init__(self, source: UsageSource, cluster: Cluster | None) -> None:
        self._source = source
        self._cluster = cluster
        self._known: dict[PodName, WorkloadRef | None] = {}
        self._misses: Counter[PodName] = Counter()
        self._sources: dict[str, OwnerSource] = {}
        self._pods_listed: dict[str, Sequence[Pod]] = {}
        self._replica_sets_listed: dict[str, Mapping[PodName, OwnerRef]] = {}

    def source_of(self, namespace: str) -> OwnerSource | None:
        """Where owners of this namespace were read; None while no pod of it was seen."""
        return self._sources.get(namespace)

    def key_of(self, series: PodSeries) -> ContainerKey | None:
        workload = self._known.get((series.namespace, series.pod))
        return None if workload is None else ContainerKey(workload, series.container)

    def begin(self) -> None:
        """A new refresh begins: what the API told may have changed."""
        self._pods_listed.clear()
        self._replica_sets_listed.clear()
        if len(self._known) > MOST_KNOWN:
            self._known.clear()

    def ask(self, pods: Collection[PodName], *, span: Span) -> PodOwners | None:
        """What kube-state-metrics tells of the namespaces of pods that are not known; None where all are. Changes nothing.

        Raises UsageSourceError.
        """
        namespaces = {namespace for namespace, pod in pods if (namespace, pod) not in self._known}
        return self._source.pod_owners(namespaces=sorted(namespaces), span=span) if namespaces else None

    def learn(self, pods: Collection[PodName], owners: PodOwners | None, present: Mapping[str, Sequence[Workload]]) -> None:
        """Find the workloads of these pods. `owners`: what `ask` told; `present`: the workloads there are now, by namespace."""
        if owners is None:
            return
        unknown: defaultdict[str, set[str]] = defaultdict(set)
        for namespace, pod in pods:
            if (namespace, pod) not in self._known:
                unknown[namespace].add(pod)
        told = {namespace for namespace, _ in owners.pods}
        for namespace, names in unknown.items():
            if namespace in told:
                self._sources[namespace] = OwnerSource.KUBE_STATE_METRICS
                found = {pod: workload_of(namespace, owners.pods.get((namespace, pod)), owners.replica_sets, owners.jobs) for pod in names}
            else:
                self._sources[namespace] = OwnerSource.API_AND_NAMES
                found = self._by_api_and_names(namespace, names, present.get(namespace, ()))
            self._remember(namespace, found)

    def oom_kills_of_pods(self, namespace: str) -> Iterator[KilledContainer]:
        """OOM kills that the pods' own status tells, for where kube-state-metrics is missing."""
        for pod in self._api_pods(namespace):
            # The name of a ReplicaSet does not tell whether it is that of a Deployment.
            workload = self._known.get((namespace, pod.name)) or workload_of(namespace, pod.owner)
            for container in pod.containers:
                if workload is not None and container.oom_killed_at is not None:
                    yield ContainerKey(workload, container.name), container.oom_killed_at, container.memory_limit

    def _remember(self, namespace: str, found: Mapping[str, WorkloadRef | None]) -> None:
        for pod, workload in found.items():
            name = (namespace, pod)
            self._misses[name] += 1
            # kube-state-metrics may tell of a new pod a scrape later than the kubelet does.
            if workload is not None or self._misses[name] >= ASKED_AT_MOST:
                self._known[name] = workload
                del self._misses[name]

    def _by_api_and_names(self, namespace: str, pods: Collection[str], present: Sequence[Workload]) -> dict[str, WorkloadRef | None]:
        refs = [workload.ref for workload in present]
        owners: dict[str, OwnerRef | None] = {pod.name: pod.owner for pod in self._api_pods(namespace)}
        replica_sets = self._replica_sets(namespace) if owners else {}
        return {
            pod: workload_of(namespace, owners[pod], replica_sets) if pod in owners else workload_by_pod_name(pod, refs) for pod in pods
        }

    def _api_pods(self, namespace: str) -> Sequence[Pod]:
        if namespace not in self._pods_listed:
            self._pods_listed[namespace] = self._list_pods(namespace)
        return self._pods_listed[namespace]

    def _list_pods(self, namespace: str) -> Sequence[Pod]:
        if self._cluster is None:
            return ()
        try:
            listing = self._cluster.pods([namespace])
        except ClusterError as error:
            logger.warning("pods of namespace %s could not be listed, names must do: %s", namespace, error)
            return ()
        return listing.items

    def _replica_sets(self, namespace: str) -> Mapping[PodName, OwnerRef]:
        if namespace not in self._replica_sets_listed:
            self._replica_sets_listed[namespace] = self._list_replica_sets(namespace)
        return self._replica_sets_listed[namespace]

    def _list_replica_sets(self, namespace: str) -> Mapping[PodName, OwnerRef]:
        if self._cluster is None:
            return {}
        try:
            return self._cluster.replica_set_owners([namespace])
        except ClusterError as error:
            logger.warning("ReplicaSets of namespace %s could not be listed, names must do: %s", namespace, error)
            return {}
