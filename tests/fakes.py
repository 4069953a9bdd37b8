"""The ports of the cycle, faked: a usage source, a cluster and a clock that live in memory.

They keep the promises of the real ones that the cycle leans on (preconditions, ownership of fields, garbage collection, lists that fail by
namespace) and know no more of it. Faults are switched on per call and namespace; every call is kept in order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from rightsizer.checks.confines import DisruptionBudget, LimitRange, Quota, VerticalAutoscaler
from rightsizer.checks.node_room import Node
from rightsizer.errors import ClusterError, ClusterNotFound, ClusterOwned, ClusterStale
from rightsizer.history import SLOT_SECONDS, PodSeries, Span, UsageBatch, UsageKind
from rightsizer.pod import Pod
from rightsizer.ports import EventTarget, Listing, Load, Namespace, OomSeries, PodOwners, Recorded
from rightsizer.profile import Profile, parse_profile
from rightsizer.strategies.in_place import ResizePatch
from rightsizer.strategies.on_create import PodSizes
from rightsizer.strategies.patch import Patch
from rightsizer.workload import (
    Autoscaler,
    Container,
    FieldPath,
    OwnerRef,
    ResourceName,
    RolloutPhase,
    Workload,
    WorkloadRef,
)
from tests.fake_kubelet import Kubelet, asked_for, left_by, next_version, sent_sizes, with_sent


class FakeClock:
    """Moves by hand. Implements `ports.Clock`."""

    def __init__(self, time: float) -> None:
        self.time = time

    def now(self) -> float:
        return self.time


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a port: its name, the namespaces that it is about, and what it is about in words."""

    name: str
    namespaces: tuple[str, ...]
    about: str = ""


@dataclass(slots=True)
class _Fault:
    error: BaseException
    call: str | None
    namespace: str | None
    times: int | None
    after: bool
    skip: int


class Faults:
    """Errors to be raised by calls, and the calls that were made."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._faults: list[_Fault] = []

    def fail(
        self,
        error: BaseException,
        *,
        call: str | None = None,
        namespace: str | None = None,
        times: int | None = None,
        after: bool = False,
        skip: int = 0,
    ) -> None:
        """From the next fitting call but `skip` on, `times` times (None: until `recover`). `after`: the call does its work first."""
        self._faults.append(_Fault(error, call, namespace, times, after, skip))

    def recover(self) -> None:
        self._faults.clear()

    def made(self, *names: str) -> int:
        """How many calls of these names, or of any, were made."""
        return sum(not names or call.name in names for call in self.calls)

    def called(self, name: str, namespaces: Sequence[str] = (), about: str = "") -> None:
        """Note the call, and raise what is to be raised before it does anything."""
        self.calls.append(Call(name, tuple(namespaces), about))
        self.raise_fault(name, namespaces)

    def raise_fault(self, name: str, namespaces: Sequence[str], *, after: bool = False) -> None:
        for fault in self._faults:
            fits = fault.call in (None, name) and (fault.namespace is None or fault.namespace in namespaces)
            if not fits or fault.after != after or fault.times == 0:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
            raise fault.error


@dataclass(frozen=True, slots=True)
class PodUsage:
    """One container of one pod that always uses the same; `since` and `until` in unix seconds, slots of both included."""

    series: PodSeries
    cpu: float
    memory: float
    since: int
    until: int | None = None
    throttled: float | None = None
    """Share of CFS periods; None: without a CPU limit, and so without such periods."""

    def there_at(self, time: float) -> bool:
        return self.since <= time and (self.until is None or time <= self.until + SLOT_SECONDS)

    def values(self, kind: UsageKind, span: Span) -> list[float]:
        value = {"cpu": self.cpu, "memory": self.memory, "throttled": self.throttled or np.nan}[kind]
        last = span.end if self.until is None else self.until
        return [value if self.since <= slot <= last else np.nan for slot in range(span.start, span.end + 1, SLOT_SECONDS)]


class FakeUsageSource(Faults):
    """Implements `ports.UsageSource`. `hidden`: resources without series.

    `kube_state_metrics` False: as if it were not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.usages: list[PodUsage] = []
        self.owners: dict[tuple[str, str], OwnerRef] = {}
        self.replica_sets: dict[tuple[str, str], OwnerRef] = {}
        self.jobs: dict[tuple[str, str], OwnerRef | None] = {}
        self.kills: list[OomSeries] = []
        self.hidden: set[ResourceName] = set()
        self.narrowed_by = ""
        self.interval_seconds: int | None = 30
        self.kube_state_metrics = True
        self.recorded_since: dict[str, int] = {}
        """By namespace, from which slot on recording rules kept its usage."""

    def loads(self, namespaces: Sequence[str], *, at: int) -> Mapping[str, Load]:
        self.called("loads", namespaces)
        if self.interval_seconds is None or "cpu" in self.hidden:
            return {}
        there = Counter(usage.series.namespace for usage in self.usages if usage.there_at(at))
        limited = Counter(usage.series.namespace for usage in self.usages if usage.there_at(at) and usage.throttled is not None)
        return {
            name: Load(there[name], self.interval_seconds, limited[name], name in self.recorded_since) for name in namespaces if there[name]
        }

    def recorded(self, *, namespaces: Sequence[str], span: Span, scrape_interval_seconds: int) -> frozenset[str]:
        assert scrape_interval_seconds > 0
        self.called("recorded", namespaces)
        return frozenset(name for name in namespaces if self.recorded_since[name] <= span.start)

    def usage(
        self, kind: UsageKind, *, namespaces: Sequence[str], span: Span, scrape_interval_seconds: int, recorded: bool = False
    ) -> UsageBatch:
        assert scrape_interval_seconds > 0
        assert not recorded or all(self.recorded_since[name] <= span.start for name in namespaces)
        self.called("usage", namespaces, f"{'recorded ' if recorded else ''}{kind} {span.start}..{span.end}")
        found = [
            (usage.series, values)
            for usage in self.usages
            if usage.series.namespace in namespaces and kind not in self.hidden
            if not np.isnan(values := usage.values(kind, span)).all()
        ]
        table = np.array([values for _, values in found], dtype=np.float32).reshape(len(found), span.slots)
        return UsageBatch(kind, span, tuple(series for series, _ in found), table)

    def pod_owners(self, *, namespaces: Sequence[str], span: Span) -> PodOwners:
        self.called("pod_owners", namespaces, f"{span.start}..{span.end}")
        if not self.kube_state_metrics:
            return PodOwners({}, {})
        return PodOwners(_of_namespaces(self.owners, namespaces), _of_namespaces(self.replica_sets, namespaces), self.jobs)

    def oom_kills(self, *, namespaces: Sequence[str], span: Span) -> list[OomSeries]:
        self.called("oom_kills", namespaces)
        if not self.kube_state_metrics:
            return []
        return [kill for kill in self.kills if kill.series.namespace in namespaces and span.start <= kill.at <= span.end]


def _of_namespaces(owners: Mapping[tuple[str, str], OwnerRef], namespaces: Sequence[str]) -> dict[tuple[str, str], OwnerRef]:
    return {key: owner for key, owner in owners.items() if key[0] in namespaces}


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it was posted."""

    target: EventTarget
    kind: str
    reason: str
    message: str


@dataclass(slots=True)
class _Stored:
    """A recommendation and the uid of the workload that owns it."""

    recorded: Recorded
    owner_uid: str
    status_history: list[Mapping[str, Any]] = field(default_factory=list)


WRITES = ("apply", "resize", "write_recommendation", "delete_recommendation", "write_profile_status", "write_pod_sizes")


class FakeCluster(Faults):
    """Implements `ports.Cluster`. A change of a template starts a rollout, which ends by `end_rollout` or `fail_rollout` only."""

    def __init__(self) -> None:
        super().__init__()
        self.manifests: dict[tuple[str, str], dict[str, Any]] = {}
        """Profiles by (namespace, name); the namespace of cluster-wide ones is ""."""
        self.namespace_annotations: dict[str, dict[str, str]] = {}
        self.namespace_labels: dict[str, dict[str, str]] = {}
        self.stored_workloads: dict[WorkloadRef, Workload] = {}
        self.stored_pods: list[Pod] = []
        self.stored_replica_sets: dict[tuple[str, str], OwnerRef] = {}
        self.stored_autoscalers: list[Autoscaler] = []
        self.stored_recommendations: dict[WorkloadRef, _Stored] = {}
        self.foreign_recommendations: list[Recorded] = []
        self.events: list[Event] = []
        self.applied: list[tuple[Patch, bool]] = []
        """The patches that changed a workload, and whether ownership was forced."""
        self.stored_pod_sizes: dict[str, PodSizes] = {}
        self.stored_limit_ranges: list[LimitRange] = []
        self.stored_quotas: list[Quota] = []
        self.stored_disruption_budgets: list[DisruptionBudget] = []
        self.stored_vertical_autoscalers: list[VerticalAutoscaler] = []
        self.stored_nodes: list[Node] = []
        self.resized: list[ResizePatch] = []
        """The resizes that were accepted."""
        self.kubelet = Kubelet.APPLIES
        """What becomes of a resize; refusals are faults of the call `resize`. See `kubelet_of` for single pods."""
        self.kubelet_of: dict[str, Kubelet] = {}
        self.kubelet_time: Callable[[], float] = lambda: 0.0
        self.missing_policy = ""
        """Why pods are not sized at their creation, if so."""

    @property
    def writes(self) -> int:
        return self.made(*WRITES)

    def profiles(self) -> tuple[Profile, ...]:
        self.called("profiles")
        return tuple(parse_profile(manifest) for manifest in self.manifests.values())

    def namespaces(self) -> tuple[Namespace, ...]:
        self.called("namespaces")
        names = {namespace for namespace, _ in self.manifests} | {ref.namespace for ref in self.stored_workloads}
        names |= {*self.namespace_annotations, *self.namespace_labels}
        annotations, labels = self.namespace_annotations, self.namespace_labels
        return tuple(Namespace(name, annotations.get(name, {}), labels.get(name, {})) for name in sorted(names - {""}))

    def workloads(self, kinds: Sequence[str], namespaces: Sequence[str]) -> Listing[Workload]:
        there = [workload for ref, workload in self.stored_workloads.items() if ref.kind in kinds]
        failed = self._failed("workloads", namespaces)
        return Listing(
            tuple(workload for workload in there if workload.ref.namespace in namespaces if workload.ref.namespace not in failed), failed
        )

    def pods(self, namespaces: Sequence[str]) -> Listing[Pod]:
        failed = self._failed("pods", namespaces)
        return Listing(tuple(pod for pod in self.stored_pods if pod.namespace in namespaces and pod.namespace not in failed), failed)

    def pods_of(self, workloads: Sequence[Workload]) -> Listing[Pod]:
        """Those of their namespaces, as where the workloads are many."""
        failed = self._failed("pods_of", sorted({workload.ref.namespace for workload in workloads}))
        wanted = {workload.ref.namespace for workload in workloads} - set(failed)
        return Listing(tuple(pod for pod in self.stored_pods if pod.namespace in wanted), failed)

    def resize(self, patch: ResizePatch) -> Pod:
        self.called("resize", [patch.namespace], patch.pod)
        before = self.pod(patch.pod, namespace=patch.namespace)
        metadata = patch.body["metadata"]
        if (before.uid, before.resource_version) != (metadata["uid"], metadata["resourceVersion"]):
            raise ClusterStale(f"{patch.pod}: the object has been modified")
        asked = asked_for(before, patch.body)
        if asked != before:
            self.resized.append(patch)
            self._store_pod(left_by(self.kubelet_of.get(patch.pod, self.kubelet), asked, at=self.kubelet_time()))
        self.raise_fault("resize", [patch.namespace], after=True)
        return asked

    def pod(self, name: str, *, namespace: str = "shop") -> Pod:
        found = next((pod for pod in self.stored_pods if (pod.namespace, pod.name) == (namespace, name)), None)
        if found is None:
            raise ClusterNotFound(f"pods {namespace}/{name}: not found")
        return found

    def edit_pod(self, name: str, *, namespace: str = "shop", **fields: Any) -> Pod:
        """Something happens to it: any field of `Pod`."""
        before = self.pod(name, namespace=namespace)
        return self._store_pod(replace(before, **{"resource_version": next_version(before.resource_version), **fields}))

    def let_kubelet(self, name: str, does: Kubelet, *, namespace: str = "shop") -> Pod:
        """The kubelet comes to another end with what was asked of the pod, such as APPLIES after DEFERS."""
        return self._store_pod(left_by(does, self.pod(name, namespace=namespace), at=self.kubelet_time()))

    def _store_pod(self, pod: Pod) -> Pod:
        self.stored_pods = [pod if (each.namespace, each.name) == (pod.namespace, pod.name) else each for each in self.stored_pods]
        return pod

    def replica_set_owners(self, namespaces: Sequence[str]) -> Mapping[tuple[str, str], OwnerRef]:
        self.called("replica_set_owners", namespaces)
        return _of_namespaces(self.stored_replica_sets, namespaces)

    def autoscalers(self, namespaces: Sequence[str]) -> Listing[Autoscaler]:
        failed = self._failed("autoscalers", namespaces)
        there = (each for each in self.stored_autoscalers if each.namespace in namespaces and each.namespace not in failed)
        return Listing(tuple(there), failed)

    def recommendations(self) -> tuple[Recorded, ...]:
        self.called("recommendations")
        ours = (stored.recorded for stored in self.stored_recommendations.values())
        return tuple(_copied(recorded) for recorded in (*ours, *self.foreign_recommendations))

    def limit_ranges(self, namespaces: Sequence[str]) -> Listing[LimitRange]:
        failed = self._failed("limit_ranges", namespaces)
        return Listing(tuple(one for one in self.stored_limit_ranges if one.namespace in namespaces), failed)

    def quotas(self, namespaces: Sequence[str]) -> Listing[Quota]:
        failed = self._failed("quotas", namespaces)
        return Listing(tuple(one for one in self.stored_quotas if one.namespace in namespaces), failed)

    def disruption_budgets(self, namespaces: Sequence[str]) -> Listing[DisruptionBudget]:
        failed = self._failed("disruption_budgets", namespaces)
        return Listing(tuple(one for one in self.stored_disruption_budgets if one.namespace in namespaces), failed)

    def vertical_autoscalers(self, namespaces: Sequence[str]) -> Listing[VerticalAutoscaler]:
        failed = self._failed("vertical_autoscalers", namespaces)
        return Listing(tuple(one for one in self.stored_vertical_autoscalers if one.namespace in namespaces), failed)

    def nodes(self) -> tuple[Node, ...]:
        self.called("nodes")
        return tuple(self.stored_nodes)

    def daemon_sets(self) -> tuple[Workload, ...]:
        self.called("daemon_sets")
        return tuple(one for ref, one in self.stored_workloads.items() if ref.kind == "DaemonSet")

    def annotations_of(self, ref: WorkloadRef) -> Mapping[str, str]:
        self.called("annotations_of", [ref.namespace], str(ref))
        found = self.stored_workloads.get(ref)
        return {} if found is None else found.annotations

    def pod_sizes(self) -> tuple[PodSizes, ...]:
        self.called("pod_sizes")
        return tuple(self.stored_pod_sizes.values())

    def write_pod_sizes(self, wanted: PodSizes) -> None:
        self.called("write_pod_sizes", [wanted.namespace], " ".join(wanted.entries))
        self.stored_pod_sizes[wanted.namespace] = wanted
        self.raise_fault("write_pod_sizes", [wanted.namespace], after=True)

    def policy_trouble(self) -> str:
        self.called("policy_trouble")
        return self.missing_policy

    def apply(self, patch: Patch, *, force: bool) -> Workload:
        namespace = [patch.workload.namespace]
        self.called("apply", namespace, str(patch.workload))
        before = self._matching(patch)
        conflicts = {} if force else {str(path): before.managers[path] for path in _changed(patch, before) if path in before.managers}
        if conflicts:
            raise ClusterOwned(f"conflicts with {', '.join(sorted(conflicts.values()))}", conflicts)
        after = _patched(patch, before)
        self.stored_workloads[patch.workload] = after
        if after.generation != before.generation:
            self.applied.append((patch, force))
        self.raise_fault("apply", namespace, after=True)
        return after

    def write_recommendation(self, recorded: Recorded, workload: Workload, *, existing: Recorded | None = None) -> None:
        namespace = [recorded.workload.namespace]
        outcome = recorded.status.get("lastChange", {}).get("outcome", "")
        self.called("write_recommendation", namespace, f"{recorded.workload} {outcome}".strip())
        there = self.stored_workloads.get(recorded.workload)
        if there is not None and there.uid == workload.uid:
            # One whose owner is gone would be collected as garbage.
            stored = self.stored_recommendations.setdefault(recorded.workload, _Stored(recorded, workload.uid))
            # The annotation is of others, so it stays.
            stored.recorded = replace(_copied(recorded), revert_asked=stored.recorded.revert_asked)
            stored.owner_uid = workload.uid
            stored.status_history.append(stored.recorded.status)
        self.raise_fault("write_recommendation", namespace, after=True)

    def delete_recommendation(self, recorded: Recorded) -> None:
        self.called("delete_recommendation", [recorded.workload.namespace], str(recorded.workload))
        self.stored_recommendations.pop(recorded.workload, None)

    def write_profile_status(self, profile: Profile, status: Mapping[str, Any]) -> None:
        self.called("write_profile_status", [profile.namespace], profile.name)
        manifest = self.manifests.get((profile.namespace, profile.name))
        if manifest is None:
            raise ClusterNotFound(f"resourceprofiles {profile.namespace}/{profile.name}: not found")
        manifest["status"] = json.loads(json.dumps(status))

    def emit(self, target: EventTarget, *, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self.called("emit", [target.namespace], reason)
        self.events.append(Event(target, kind, reason, message))

    def add_workload(self, workload: Workload) -> None:
        self.stored_workloads[workload.ref] = workload

    def edit(self, ref: WorkloadRef, **fields: Any) -> Workload:
        """Somebody changed it: any field of `Workload`."""
        before = self.stored_workloads[ref]
        self.stored_workloads[ref] = replace(before, **fields, resource_version=next_version(before.resource_version))
        return self.stored_workloads[ref]

    def end_rollout(self, ref: WorkloadRef) -> None:
        self.edit(ref, rollout=RolloutPhase.COMPLETE, rollout_message="")

    def fail_rollout(self, ref: WorkloadRef, message: str) -> None:
        self.edit(ref, rollout=RolloutPhase.FAILED, rollout_message=message)

    def delete_workload(self, ref: WorkloadRef) -> None:
        """With its recommendation, which the garbage collector takes."""
        del self.stored_workloads[ref]
        self.stored_recommendations.pop(ref, None)

    def _failed(self, name: str, namespaces: Sequence[str]) -> dict[str, ClusterError]:
        """Errors by namespace; a fault without a namespace is the server's and raised."""
        self.calls.append(Call(name, tuple(namespaces)))
        failed: dict[str, ClusterError] = {}
        for namespace in [*namespaces, ""]:
            try:
                self.raise_fault(name, [namespace])
            except ClusterError as error:
                if not any(fault.namespace for fault in self._faults if fault.error is error):
                    raise
                failed[namespace] = error
        return failed

    def _matching(self, patch: Patch) -> Workload:
        workload = self.stored_workloads.get(patch.workload)
        metadata = patch.apply_body["metadata"]
        if workload is None or workload.uid != metadata["uid"]:
            raise ClusterStale(f"{patch.workload}: uid mismatch")
        if workload.resource_version != metadata["resourceVersion"]:
            raise ClusterStale(f"{patch.workload}: the object has been modified")
        return workload


def _copied(recorded: Recorded) -> Recorded:
    """As it comes back from the API server: through JSON."""
    return replace(recorded, spec=json.loads(json.dumps(recorded.spec)), status=json.loads(json.dumps(recorded.status)))


def _sent(body: Mapping[str, Any]) -> Iterator[tuple[FieldPath, int | None]]:
    """The fields of a patch; None for one that is to go."""
    spec = body["spec"]
    yield from sent_sizes(spec.get("jobTemplate", {}).get("spec", spec)["template"]["spec"])


def _changed(patch: Patch, workload: Workload) -> dict[FieldPath, int | None]:
    sent = {**dict(_sent(patch.apply_body)), **dict(_sent(patch.removal_body or patch.apply_body))}
    containers = {container.name: container.sizes for container in workload.containers}
    return {path: value for path, value in sent.items() if containers[path.container].get(path.resource, path.field) != value}


def _patched(patch: Patch, before: Workload) -> Workload:
    changed = _changed(patch, before)
    owned = frozenset(path for path, value in _sent(patch.apply_body) if value is not None)
    managers = {path: manager for path, manager in before.managers.items() if path not in changed}
    if not changed:
        return replace(before, owned=owned)
    containers = tuple(_with(container, changed) for container in before.containers)
    rolls = bool(before.replicas) and before.ref.steady
    return replace(
        before,
        containers=containers,
        owned=owned,
        managers=managers,
        generation=before.generation + 1,
        resource_version=next_version(before.resource_version),
        rollout=RolloutPhase.IN_PROGRESS if rolls else RolloutPhase.COMPLETE,
        rollout_message="the controller has not seen the newest template yet" if rolls else "",
    )


def _with(container: Container, changed: Mapping[FieldPath, int | None]) -> Container:
    return replace(container, sizes=with_sent(container.name, container.sizes, changed))
