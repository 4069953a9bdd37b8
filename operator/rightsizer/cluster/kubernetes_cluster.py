"""The port `Cluster` over a real API server: each call of the cycle as requests, each answer as our frozen values.

Knows which object is read or written for what; how a request is sent, repeated, parsed or refused is in the other files of this folder.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

from rightsizer.checks.confines import DisruptionBudget, LimitRange, Quota, VerticalAutoscaler
from rightsizer.checks.node_room import Node
from rightsizer.cluster.admission import policy_trouble
from rightsizer.cluster.autoscaler_json import parse_autoscaler
from rightsizer.cluster.confines_json import parse_limit_range, parse_pod_sizes, parse_quota
from rightsizer.cluster.connection import ApiConnection, configuration
from rightsizer.cluster.endpoint import (
    AUTOSCALERS,
    CLUSTER_PROFILES,
    DAEMON_SETS,
    DISRUPTION_BUDGETS,
    EVENTS,
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    POD_SIZES,
    PODS,
    PROFILES,
    QUOTAS,
    RECOMMENDATIONS,
    REPLICA_SETS,
    SERVICES,
    VERTICAL_AUTOSCALERS,
    Endpoint,
    workload_endpoint,
)
from rightsizer.cluster.event_json import event_body, event_namespace
from rightsizer.cluster.listing import METADATA_ONLY, ONE_METADATA_ONLY, Lister
from rightsizer.cluster.metadata import Item, annotations_of, controller_of, labels_of
from rightsizer.cluster.pod_json import parse_pod
from rightsizer.cluster.recommendation_json import parse_recommendation, spec_body, status_body
from rightsizer.cluster.service import Service, parse_service
from rightsizer.cluster.surroundings_json import parse_disruption_budget, parse_node, parse_vertical_autoscaler
from rightsizer.cluster.transport import Limits, OnRequest, Request, Transport, ignore_request
from rightsizer.cluster.workload_json import parse_workload, sized_elsewhere
from rightsizer.cluster.writing import Writer
from rightsizer.errors import ClusterError, ClusterNotFound, ClusterRejected, ClusterUnreachable
from rightsizer.pod import Pod
from rightsizer.ports import EventTarget, Listing, Namespace, Recorded
from rightsizer.profile import CLUSTER_KIND, Profile, parse_profile
from rightsizer.status.times import rfc3339
from rightsizer.stopping import Stopping
from rightsizer.strategies import on_create
from rightsizer.strategies.in_place import ResizePatch
from rightsizer.strategies.on_create import PodSizes
from rightsizer.strategies.patch import Patch
from rightsizer.workload import REVERT_ANNOTATION, Autoscaler, OwnerRef, Workload, WorkloadRef

# An event is never worth a wait.
_EVENT_READ_SECONDS = 5.0

ABSENT_SECONDS = 600.0
"""A kind that the cluster does not know is asked for again so late: somebody may install it."""

# Up to so many workloads, one list of the pods of each is cheaper than those of their namespaces.
_FEW_WORKLOADS = 10

_LOG = logging.getLogger(__name__)

Parsed = TypeVar("Parsed")


class KubernetesCluster:
    """The cluster behind a transport. Every call but `emit` may raise ClusterError."""

    def __init__(self, transport: Transport, *, page_size: int = 500, now: Callable[[], float] = time.time) -> None:
        self._transport = transport
        self._lister = Lister(transport, page_size=page_size)
        self._writer = Writer(transport)
        self._now = now
        self._absent: dict[str, float] = {}

    def profiles(self) -> tuple[Profile, ...]:
        return (*self._lister.whole(PROFILES, parse_profile), *self.cluster_profiles())

    def cluster_profiles(self) -> tuple[Profile, ...]:
        """The cluster-wide ones only. Empty where their definition is not installed."""
        try:
            return tuple(self._lister.whole(CLUSTER_PROFILES, _cluster_profile))
        except ClusterNotFound:
            return ()

    def profiles_of(self, namespaces: Sequence[str]) -> Listing[Profile]:
        """For callers that may not list those of the whole cluster."""
        return self._lister.of_namespaces(PROFILES, parse_profile, namespaces)

    def namespaces(self) -> tuple[Namespace, ...]:
        return tuple(self._lister.whole(NAMESPACES, _namespace, accept=METADATA_ONLY))

    def services(self) -> tuple[Service, ...]:
        """Of the whole cluster. Only the command line asks for them, to find a usage source."""
        return tuple(self._lister.whole(SERVICES, parse_service))

    def workloads(self, kinds: Sequence[str], namespaces: Sequence[str]) -> Listing[Workload]:
        items: list[Workload] = []
        failed: dict[str, ClusterError] = {}
        for kind in kinds:
            listing = self._workloads(workload_endpoint(kind), namespaces)
            items += listing.items
            failed |= listing.failed
        return Listing(tuple(items), failed)

    def _workloads(self, endpoint: Endpoint, namespaces: Sequence[str]) -> Listing[Workload]:
        """Empty where the cluster does not know the kind."""
        now = self._now()
        if now < self._absent.get(endpoint.kind, 0.0):
            return Listing(())
        try:
            listing = self._lister.of_namespaces(endpoint, partial(_sized_itself, endpoint), namespaces)
        except ClusterNotFound as error:
            listing = Listing((), dict.fromkeys(namespaces, error))
        if any(isinstance(error, ClusterNotFound) for error in listing.failed.values()):
            self._absent[endpoint.kind] = now + ABSENT_SECONDS
            return Listing(())
        return Listing(tuple(workload for workload in listing.items if workload is not None), listing.failed)

    def pods(self, namespaces: Sequence[str]) -> Listing[Pod]:
        return self._lister.of_namespaces(PODS, parse_pod, namespaces)

    def pods_of(self, workloads: Sequence[Workload]) -> Listing[Pod]:
        """By one list for each while they are few, else by lists of their namespaces, where others are among them."""
        if len(workloads) > _FEW_WORKLOADS or not all(workload.pod_selector for workload in workloads):
            return self.pods([workload.ref.namespace for workload in workloads])
        items: list[Pod] = []
        failed: dict[str, ClusterError] = {}
        for workload in workloads:
            try:
                items += self._lister.whole(PODS, parse_pod, namespace=workload.ref.namespace, labels=workload.pod_selector)
            except ClusterUnreachable:
                raise
            except ClusterError as error:
                failed[workload.ref.namespace] = error
        return Listing(tuple(items), failed)

    def replica_set_owners(self, namespaces: Sequence[str]) -> Mapping[tuple[str, str], OwnerRef]:
        """Owners by (namespace, ReplicaSet); those of a namespace that failed are missing."""
        listing = self._lister.of_namespaces(REPLICA_SETS, _owned_name, namespaces, accept=METADATA_ONLY)
        for namespace, error in listing.failed.items():
            _LOG.warning("owners of ReplicaSets in %s are guessed from their names: %s", namespace, error)
        return {key: owner for key, owner in listing.items if owner is not None}

    def autoscalers(self, namespaces: Sequence[str]) -> Listing[Autoscaler]:
        """Empty where the cluster has no autoscaling/v2."""
        return self._of_kind_that_may_be_missing(AUTOSCALERS, parse_autoscaler, namespaces)

    def recommendations(self) -> tuple[Recorded, ...]:
        return tuple(self._lister.whole(RECOMMENDATIONS, parse_recommendation))

    def recommendations_of(self, namespaces: Sequence[str]) -> Listing[Recorded]:
        """For callers that may not list those of the whole cluster."""
        return self._lister.of_namespaces(RECOMMENDATIONS, parse_recommendation, namespaces)

    def limit_ranges(self, namespaces: Sequence[str]) -> Listing[LimitRange]:
        return self._lister.of_namespaces(LIMIT_RANGES, parse_limit_range, namespaces)

    def quotas(self, namespaces: Sequence[str]) -> Listing[Quota]:
        return self._lister.of_namespaces(QUOTAS, parse_quota, namespaces)

    def disruption_budgets(self, namespaces: Sequence[str]) -> Listing[DisruptionBudget]:
        return self._lister.of_namespaces(DISRUPTION_BUDGETS, parse_disruption_budget, namespaces)

    def vertical_autoscalers(self, namespaces: Sequence[str]) -> Listing[VerticalAutoscaler]:
        """Empty where their definition is not installed."""
        return self._of_kind_that_may_be_missing(VERTICAL_AUTOSCALERS, parse_vertical_autoscaler, namespaces)

    def nodes(self) -> tuple[Node, ...]:
        return tuple(self._lister.whole(NODES, parse_node))

    def daemon_sets(self) -> tuple[Workload, ...]:
        return tuple(self._lister.whole(DAEMON_SETS, partial(parse_workload, DAEMON_SETS)))

    def annotations_of(self, ref: WorkloadRef) -> Mapping[str, str]:
        """Empty where there is no such workload."""
        endpoint = workload_endpoint(ref.kind)
        path = endpoint.path(namespace=ref.namespace, name=ref.name)
        try:
            return annotations_of(self._transport.call(Request("GET", "get", endpoint.plural, path, accept=ONE_METADATA_ONLY)))
        except ClusterNotFound:
            return {}

    def pod_sizes(self) -> tuple[PodSizes, ...]:
        """Empty where their definition is not installed."""
        try:
            return tuple(self._lister.whole(POD_SIZES, parse_pod_sizes))
        except ClusterNotFound:
            return ()

    def pod_sizes_of(self, namespaces: Sequence[str]) -> Listing[PodSizes]:
        """For callers that may not list those of the whole cluster."""
        return self._lister.of_namespaces(POD_SIZES, parse_pod_sizes, namespaces)

    def write_pod_sizes(self, wanted: PodSizes) -> None:
        body = {
            "apiVersion": POD_SIZES.api_version,
            "kind": POD_SIZES.kind,
            "metadata": {"name": on_create.NAME, "namespace": wanted.namespace},
            "spec": on_create.render(wanted),
        }
        self._writer.apply(POD_SIZES, body, namespace=wanted.namespace, name=on_create.NAME, force=True)

    def policy_trouble(self) -> str:
        return policy_trouble(self._transport)

    def apply(self, patch: Patch, *, force: bool) -> Workload:
        endpoint = workload_endpoint(patch.workload.kind)
        if patch.removal_body is None:
            item = self._apply(endpoint, patch, force=force)
        else:
            item = self._remove(endpoint, patch, patch.removal_body, force=force)
        return parse_workload(endpoint, item)

    def resize(self, patch: ResizePatch) -> Pod:
        return parse_pod(self._writer.merge(PODS, patch.body, namespace=patch.namespace, name=patch.pod, subresource="resize"))

    def write_recommendation(self, recorded: Recorded, workload: Workload, *, existing: Recorded | None = None) -> None:
        """Create or update it. The spec is sent only where `existing`, as it was last read, differs or is None."""
        if existing is None or existing.spec != recorded.spec:
            self._write_spec(recorded, workload)
        if not recorded.status:
            return
        try:
            self._write_status(recorded)
        except ClusterNotFound:
            # Somebody deleted it since it was read.
            self._write_spec(recorded, workload)
            self._write_status(recorded)

    def ask_to_revert(self, recorded: Recorded, *, change_time: float) -> None:
        """Have the operator take back the change of this time (unix seconds)."""
        body = {"metadata": {"annotations": {REVERT_ANNOTATION: rfc3339(change_time)}}}
        self._writer.annotate(RECOMMENDATIONS, body, namespace=recorded.workload.namespace, name=recorded.name)

    def delete_recommendation(self, recorded: Recorded) -> None:
        try:
            self._writer.delete(RECOMMENDATIONS, namespace=recorded.workload.namespace, name=recorded.name)
        except ClusterNotFound:
            _LOG.debug("%s/%s was deleted already", recorded.workload.namespace, recorded.name)

    def write_profile_status(self, profile: Profile, status: Mapping[str, Any]) -> None:
        """The whole status: what is left out goes away. ClusterNotFound where the profile is gone."""
        endpoint, place = (CLUSTER_PROFILES, None) if profile.cluster_wide else (PROFILES, profile.namespace)
        body = {
            "apiVersion": endpoint.api_version,
            "kind": endpoint.kind,
            "metadata": {"name": profile.name} | ({} if place is None else {"namespace": place}),
            "status": dict(status),
        }
        self._writer.apply(endpoint, body, namespace=place, name=profile.name, subresource="status", force=True)

    def emit(self, target: EventTarget, *, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        body = event_body(target, kind=kind, reason=reason, message=message, at=self._now())
        try:
            self._writer.create_once(EVENTS, body, namespace=event_namespace(target), read_seconds=_EVENT_READ_SECONDS)
        except ClusterError as error:
            _LOG.warning("event %s on %s %s/%s is lost: %s", reason, target.kind, target.namespace, target.name, error)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._transport.close()

    def _of_kind_that_may_be_missing(
        self, endpoint: Endpoint, parse: Callable[[Item], Parsed], namespaces: Sequence[str]
    ) -> Listing[Parsed]:
        try:
            listing = self._lister.of_namespaces(endpoint, parse, namespaces)
        except ClusterNotFound:
            return Listing(())
        failed = {namespace: error for namespace, error in listing.failed.items() if not isinstance(error, ClusterNotFound)}
        return Listing(listing.items, failed)

    def _apply(self, endpoint: Endpoint, patch: Patch, *, force: bool) -> dict[str, Any]:
        namespace, name = patch.workload.namespace, patch.workload.name
        if force:
            return self._writer.apply(endpoint, patch.apply_body, namespace=namespace, name=name, force=True)
        return self._writer.apply_unless_owned(endpoint, patch.apply_body, namespace=namespace, name=name)

    def _remove(self, endpoint: Endpoint, patch: Patch, removal_body: Mapping[str, Any], *, force: bool) -> dict[str, Any]:
        namespace, name = patch.workload.namespace, patch.workload.name
        if not force:
            try:
                self._writer.apply_unless_owned(endpoint, patch.apply_body, namespace=namespace, name=name, dry_run=True)
            except ClusterRejected as error:
                # Conflicts are told before anything else is looked at. Here a request may lie above the limit that is about to go.
                _LOG.debug("a dry run that was only asked for conflicts: %s", error)
        return self._writer.merge(endpoint, removal_body, namespace=namespace, name=name)

    def _write_spec(self, recorded: Recorded, workload: Workload) -> None:
        body = spec_body(recorded, workload)
        self._writer.apply(RECOMMENDATIONS, body, namespace=recorded.workload.namespace, name=recorded.name, force=True)

    def _write_status(self, recorded: Recorded) -> None:
        body = status_body(recorded)
        namespace, name = recorded.workload.namespace, recorded.name
        self._writer.apply(RECOMMENDATIONS, body, namespace=namespace, name=name, subresource="status", force=True)


def connect(
    kubeconfig: str | None,
    context: str | None,
    *,
    limits: Limits | None = None,
    page_size: int = 500,
    on_request: OnRequest = ignore_request,
    stopping: Stopping | None = None,
    sleep: Callable[[float], object] | None = None,
) -> KubernetesCluster:
    """The cluster of a kubeconfig file and context, or the one that this process runs in. Sends nothing yet.

    When `stopping` is set, every further call raises Stopped.

    Raises ClusterUnreachable where there is no usable configuration.
    """
    wire = ApiConnection(configuration(kubeconfig, context), stopping)
    transport = Transport(wire, limits=limits, on_request=on_request, stopping=stopping, sleep=sleep)
    return KubernetesCluster(transport, page_size=page_size)


def _sized_itself(endpoint: Endpoint, item: Item) -> Workload | None:
    return None if sized_elsewhere(endpoint, item) else parse_workload(endpoint, item)


def _namespace(item: Item) -> Namespace:
    return Namespace(name=item["metadata"]["name"], annotations=annotations_of(item), labels=labels_of(item))


def _cluster_profile(item: Item) -> Profile:
    # Items of a list need not say what they are, and without its kind it would be taken for one of a namespace.
    return parse_profile({**item, "kind": CLUSTER_KIND})


def _owned_name(item: Item) -> tuple[tuple[str, str], OwnerRef | None]:
    metadata = item["metadata"]
    return (metadata["namespace"], metadata["name"]), controller_of(item)
