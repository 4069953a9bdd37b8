"""What the cycle needs of the outside, as protocols: a usage source, a cluster, a clock. Fakes of them ship with the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, Literal, Protocol, TypeVar

from rightsizer.checks.confines import DisruptionBudget, LimitRange, Quota, VerticalAutoscaler
from rightsizer.checks.node_room import Node
from rightsizer.errors import ClusterError
from rightsizer.history import PodSeries, Span, UsageBatch, UsageKind
from rightsizer.pod import Pod
from rightsizer.profile import Profile
from rightsizer.strategies.in_place import ResizePatch
from rightsizer.strategies.on_create import PodSizes
from rightsizer.strategies.patch import Patch
from rightsizer.workload import Autoscaler, OwnerRef, Workload, WorkloadRef

Item = TypeVar("Item")


class OwnerSource(StrEnum):
    """Where the workload behind a pod was read."""

    KUBE_STATE_METRICS = "kube-state-metrics"
    API_AND_NAMES = "API objects and naming rules"


@dataclass(frozen=True, slots=True)
class PodOwners:
    """Controllers of pods, past ones included: (namespace, pod) -> owner, and (namespace, ReplicaSet) -> its owner.

    `jobs`: (namespace, Job) -> its owner, None for one that was made by hand; empty where that is not told, or no pod is of a Job.
    """

    pods: Mapping[tuple[str, str], OwnerRef]
    replica_sets: Mapping[tuple[str, str], OwnerRef]
    jobs: Mapping[tuple[str, str], OwnerRef | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OomSeries:
    """An OOM kill as the usage source shows it. `at` in unix seconds (end of the slot), limit in bytes if it is known."""

    series: PodSeries
    at: int
    memory_limit: int | None


@dataclass(frozen=True, slots=True)
class Load:
    """What a namespace weighs: containers with usage now, and how many seconds their samples lie apart.

    `limited`: series of CFS periods now, which only containers with a CPU limit have; where there are none, nothing can be throttled.
    `recorded`: whether recording rules work there.
    """

    series: int
    scrape_interval_seconds: int
    limited: int = 0
    recorded: bool = False


class UsageSource(Protocol):
    """Anything that speaks the Prometheus API. Each call may raise UsageSourceError; none retries for longer than its time limit."""

    @property
    def narrowed_by(self) -> str:
        """In words, by which settings it may pass over what is there: matchers, names of labels; empty where there are none."""
        ...

    def loads(self, namespaces: Sequence[str], *, at: int) -> Mapping[str, Load]:
        """What each of these namespaces weighs at a time (unix seconds); those without samples are left out."""
        ...

    def usage(
        self, kind: UsageKind, *, namespaces: Sequence[str], span: Span, scrape_interval_seconds: int, recorded: bool = False
    ) -> UsageBatch:
        """5-minute values of every container of these namespaces, in one query. Of `throttled`, only those above 0.

        `recorded`: the same values from recording rules, which is cheaper. Only where they are complete: see `recorded`.
        """
        ...

    def recorded(self, *, namespaces: Sequence[str], span: Span, scrape_interval_seconds: int) -> frozenset[str]:
        """Those of the namespaces of which recording rules have kept the usage of every slot of the span."""
        ...

    def pod_owners(self, *, namespaces: Sequence[str], span: Span) -> PodOwners:
        """Owners of all pods that there were within the span, from kube-state-metrics; empty where it is missing."""
        ...

    def oom_kills(self, *, namespaces: Sequence[str], span: Span) -> list[OomSeries]:
        """From kube-state-metrics; empty where it is missing."""
        ...


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace with its annotations (the opt-out) and its labels (what a cluster-wide profile selects it by)."""

    name: str
    annotations: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A ResourceRecommendation as it stands in the cluster. `spec` and `status` are the API's JSON.

    `revert_asked`: a person wants the change of this time (unix seconds) taken back.
    """

    workload: WorkloadRef
    name: str
    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    revert_asked: float | None = None


@dataclass(frozen=True, slots=True)
class Listing(Generic[Item]):
    """What a list gave, and the namespaces in which it was refused or failed."""

    items: tuple[Item, ...]
    failed: Mapping[str, ClusterError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventTarget:
    """The object that an event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


class Cluster(Protocol):
    """The Kubernetes API. Each call may raise ClusterError; lists are paged and keep only the fields of the values."""

    def profiles(self) -> tuple[Profile, ...]:
        """Those of namespaces, and the cluster-wide ones."""
        ...

    def namespaces(self) -> tuple[Namespace, ...]: ...

    def workloads(self, kinds: Sequence[str], namespaces: Sequence[str]) -> Listing[Workload]:
        """Workloads of these namespaces, by cluster-wide lists; per namespace where those are refused."""
        ...

    def pods(self, namespaces: Sequence[str]) -> Listing[Pod]: ...

    def pods_of(self, workloads: Sequence[Workload]) -> Listing[Pod]:
        """The pods of these workloads, by their labels where they are few. Others may be among them: its owner says whose it is."""
        ...

    def resize(self, patch: ResizePatch) -> Pod:
        """Ask for other sizes of a running pod, and answer it as it is then; the kubelet acts later, see `Pod.resize_state`.

        ResizeRefused with the reason where it cannot be; ClusterStale where the pod is not what was seen; ClusterNotFound where it is gone.
        """
        ...

    def replica_set_owners(self, namespaces: Sequence[str]) -> Mapping[tuple[str, str], OwnerRef]: ...

    def autoscalers(self, namespaces: Sequence[str]) -> Listing[Autoscaler]: ...

    def recommendations(self) -> tuple[Recorded, ...]: ...

    def apply(self, patch: Patch, *, force: bool) -> Workload:
        """Make the change; ClusterOwned where others hold the fields and `force` is False. Answers the workload as it is then."""
        ...

    def write_recommendation(self, recorded: Recorded, workload: Workload, *, existing: Recorded | None = None) -> None:
        """Create or update it (spec, then status), owned by the workload. Written only by this field manager.

        `existing` is the recommendation as it was last read; its spec is not sent again where it is the same.
        """
        ...

    def limit_ranges(self, namespaces: Sequence[str]) -> Listing[LimitRange]: ...

    def quotas(self, namespaces: Sequence[str]) -> Listing[Quota]: ...

    def disruption_budgets(self, namespaces: Sequence[str]) -> Listing[DisruptionBudget]: ...

    def vertical_autoscalers(self, namespaces: Sequence[str]) -> Listing[VerticalAutoscaler]:
        """Empty where the API server does not know them."""
        ...

    def nodes(self) -> tuple[Node, ...]: ...

    def daemon_sets(self) -> tuple[Workload, ...]:
        """Of the whole cluster, also where nothing else is read."""
        ...

    def annotations_of(self, ref: WorkloadRef) -> Mapping[str, str]:
        """Of one workload; empty where there is none."""
        ...

    def pod_sizes(self) -> tuple[PodSizes, ...]:
        """The sizes in force for new pods, of every namespace that has any."""
        ...

    def write_pod_sizes(self, wanted: PodSizes) -> None:
        """All entries of a namespace at once: those that are not among them go."""
        ...

    def policy_trouble(self) -> str:
        """Why the admission policies that read the PodSizes do not work, in a sentence; empty where they are in place."""
        ...

    def delete_recommendation(self, recorded: Recorded) -> None: ...

    def write_profile_status(self, profile: Profile, status: Mapping[str, Any]) -> None: ...

    def emit(self, target: EventTarget, *, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """An event on an object; failures are logged and swallowed, an event is never worth a cycle."""
        ...


class Clock(Protocol):
    """The time; a fake one moves by hand."""

    def now(self) -> float: ...
