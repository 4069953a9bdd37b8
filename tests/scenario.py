"""The cluster of the whole-system tests: workloads with a known past, the product installed, and short words to see what became of them.

Every container uses 180m and 320Mi, as in the worked example, unless it says otherwise; what is wanted for it is then known by heart.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.loaded_prometheus import prometheus_major
from tests.operator_process import ACCOUNT, OperatorProcess, install
from tests.shifted_operator import ShiftedClock
from tests.testbed import Testbed
from tests.testbed.binaries import built_binaries, cache_folder
from tests.usage import ContainerUsage, Resources, WorkloadUsage, constant
from tests.usage.blocks import load_history
from tests.usage.exporter import LiveExporter
from tests.usage.manifest import horizontal_pod_autoscaler, namespace, workload_manifest
from tests.usage.workload import WorkloadKind

Manifest = dict[str, Any]

MEBIBYTE = 1024 * 1024
SLOT_SECONDS = 300.0
WRITING_VERBS = {"create", "update", "patch", "delete", "deletecollection"}

# To lower, a week must have been seen, also by an operator that lives four hours ago.
HISTORY_DAYS = 7.2
SAMPLES_APART_SECONDS = 120.0

GENEROUS = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}
WORKED_EXAMPLE = {"requests": {"cpu": "216m", "memory": "384Mi"}, "limits": {"cpu": "432m", "memory": "576Mi"}}

ALIKE: tuple[tuple[WorkloadKind, str], ...] = (
    ("Deployment", "api"),
    ("Deployment", "cart"),
    ("Deployment", "mail"),
    ("Deployment", "search"),
    ("Deployment", "users"),
    ("StatefulSet", "cache"),
    ("StatefulSet", "queue"),
    ("DaemonSet", "log"),
)
"""The workloads of `kills` and `calm`, which differ in nothing else."""


def container(
    name: str = "app",
    *,
    cpu: float = 0.18,
    memory: float = 320,
    requests: Mapping[str, str] | None = None,
    limits: Mapping[str, str] | None = None,
    sidecar: bool = False,
) -> ContainerUsage:
    """Uses `cpu` cores and `memory` MiB. By default it requests far too much."""
    return ContainerUsage(
        name=name,
        cpu=constant(cpu),
        memory=constant(memory * MEBIBYTE),
        requests=Resources(**(GENEROUS["requests"] if requests is None else requests)),
        limits=Resources(**(GENEROUS["limits"] if limits is None else limits)),
        sidecar=sidecar,
    )


def steady(
    in_namespace: str,
    name: str,
    *containers: ContainerUsage,
    kind: WorkloadKind = "Deployment",
    replicas: int = 1,
    replaced_every_days: float | None = None,
) -> WorkloadUsage:
    """A workload that always uses the same, of one container `app` unless others are given."""
    return WorkloadUsage(
        namespace=in_namespace,
        kind=kind,
        name=name,
        containers=containers or (container(),),
        replicas=2 if kind == "DaemonSet" else replicas,
        replaced_every_days=replaced_every_days,
        variation=0.0,
        cgroup_series=True,
    )


def now_and_then(in_namespace: str, name: str) -> WorkloadUsage:
    """A CronJob with a run of 20 minutes every 72, of one container `app` that uses the same in each."""
    return WorkloadUsage(
        namespace=in_namespace,
        kind="CronJob",
        name=name,
        containers=(container(),),
        replicas=1,
        replaced_every_days=0.05,
        active_minutes=20.0,
        variation=0.0,
        cgroup_series=True,
    )


def workloads() -> tuple[WorkloadUsage, ...]:
    """All of them, each namespace for one test or one group of tests."""
    return (
        *_shop(),
        *_rules(),
        steady("view", "web"),
        steady("quiet", "web"),
        steady("edited", "web"),
        steady("learned", "web"),
        steady("away", "web"),
        steady("asked", "web"),
        steady("trouble", "web"),
        steady("strange", "web"),
        steady("strange", "sleeping", replicas=1),
        steady("strange", "renamed"),
        steady("leaving", "web"),
        steady("leaving", "stays"),
        steady("moving", "again"),
        steady("moving", "stays"),
        steady("shifting", "web"),
        steady("shifting", "stays"),
        *(steady(name, "web") for name in ("door-a", "door-b", "door-c", "door-d")),
        *(steady(name, name_of, kind=kind) for name in ("kills", "calm") for kind, name_of in ALIKE),
    )


def _shop() -> tuple[WorkloadUsage, ...]:
    same = {"cpu": "1", "memory": "1Gi"}
    shipper = container("shipper", cpu=0.02, memory=40, requests={"cpu": "100m", "memory": "128Mi"}, limits={}, sidecar=True)
    return (
        steady("shop", "web", replicas=2, replaced_every_days=3),
        steady("shop", "payments", container(requests=same, limits=same)),
        steady("shop", "catalog", replicas=2),
        steady("shop", "database", container("postgres", requests={"cpu": "100m", "memory": "256Mi"}), kind="StatefulSet"),
        steady("shop", "agent", container("agent"), shipper, kind="DaemonSet"),
        steady("shop", "held"),
    )


def _rules() -> tuple[WorkloadUsage, ...]:
    return (
        steady("rules", "mesh", container(), container("istio-proxy")),
        steady("rules", "unlimited"),
        steady("rules", "kept"),
    )


def manifests(usages: Sequence[WorkloadUsage]) -> list[Manifest]:
    """Namespaces and workloads, in order."""
    return [
        *(namespace(name) for name in dict.fromkeys(usage.namespace for usage in usages)),
        *(workload_manifest(usage) for usage in usages),
    ]


AT_ONCE = {"verify": {"period": "0m"}, "maxConcurrent": 100, "pauseAfterFailure": "0m"}


def profile(in_namespace: str, mode: str = "Apply", *, name: str = "all", **spec: Any) -> Manifest:
    """Unless it says so, changes are not watched, and any number may be made at a time."""
    if mode == "Apply":
        spec["apply"] = {**AT_ONCE, **spec.get("apply", {})}
    return {
        "apiVersion": "rightsizer.dev/v1alpha1",
        "kind": "ResourceProfile",
        "metadata": {"name": name, "namespace": in_namespace},
        "spec": {"mode": mode, **spec},
    }


def cluster_profile(mode: str = "Apply", *, name: str = "everywhere", **spec: Any) -> Manifest:
    """As `profile`."""
    if mode == "Apply":
        spec["apply"] = {**AT_ONCE, **spec.get("apply", {})}
    return {
        "apiVersion": "rightsizer.dev/v1alpha1",
        "kind": "ClusterResourceProfile",
        "metadata": {"name": name},
        "spec": {"mode": mode, **spec},
    }


@dataclass(frozen=True, slots=True)
class Stage:
    """A cluster with the workloads in it, their past in its Prometheus, and their present scraped from the exporter."""

    bed: Testbed
    folder: Path
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    def operator(
        self, *, prometheus_url: str | None = None, clock: ShiftedClock | None = None, account: str = ACCOUNT, **settings: str
    ) -> OperatorProcess:
        """One that is still to be started, with a cycle a second unless said otherwise."""
        return OperatorProcess(
            self.bed,
            log=self.folder / f"operator-{next(self._numbers)}.log",
            prometheus_url=prometheus_url or self.bed.prometheus_url,
            settings={"CYCLE_SECONDS": "1", "ROLLOUTS_PER_NAMESPACE": "100", **settings},
            clock=clock,
            account=account,
        )

    def clock(self, *, shift_seconds: float) -> ShiftedClock:
        clock = ShiftedClock(self.folder / f"clock-{next(self._numbers)}")
        clock.put(shift_seconds)
        return clock

    @contextlib.contextmanager
    def ruled_by(self, *profiles: Manifest) -> Iterator[None]:
        """With these profiles. Afterwards they and their recommendations are gone, so that no later operator works there."""
        self.bed.apply(*profiles)
        try:
            yield
        finally:
            if any(one["kind"] == "ClusterResourceProfile" for one in profiles):
                self.bed.kubectl("delete", "clusterresourceprofiles", "--all")
                self.bed.kubectl("delete", "resourcerecommendations", "--all", "--all-namespaces")
            for name in {one["metadata"]["namespace"] for one in profiles if one["kind"] == "ResourceProfile"}:
                self.bed.kubectl("delete", "resourceprofiles,resourcerecommendations", "--all", "--namespace", name)

    # What is there

    def workload(self, reference: str) -> Manifest:
        """`shop/Deployment/web` as the API server has it."""
        place, kind, name = reference.split("/")
        found = self.bed.get(kind, name, namespace=place)
        assert found is not None, f"{reference} is gone"
        return found

    def generation(self, reference: str) -> int:
        return int(self.workload(reference)["metadata"]["generation"])

    def resources(self, reference: str, container_name: str = "app") -> Manifest:
        """Requests and limits of a container of the template."""
        return resources_of(self.workload(reference), container_name)

    def recommendation(self, reference: str) -> Manifest:
        """The status of its ResourceRecommendation; empty when there is none."""
        place, kind, name = reference.split("/")
        found = self.bed.get("resourcerecommendation", f"{kind.lower()}-{name}", namespace=place)
        return {} if found is None else dict(found.get("status", {}))

    def summary(self, reference: str) -> Manifest:
        return dict(self.recommendation(reference).get("summary", {}))

    def last_change(self, reference: str) -> Manifest:
        return dict(self.recommendation(reference).get("lastChange", {}))

    def condition(self, in_namespace: str, kind: str, *, name: str = "all") -> Manifest:
        """A condition of a profile; empty while there is none."""
        found = self.bed.get("resourceprofile", name, namespace=in_namespace) or {}
        conditions = found.get("status", {}).get("conditions", [])
        return next((dict(one) for one in conditions if one["type"] == kind), {})

    def cluster_status(self, *, name: str = "everywhere") -> Manifest:
        """The status of a cluster-wide profile; empty while there is none."""
        found = self.bed.get("clusterresourceprofile", name) or {}
        return dict(found.get("status", {}))

    def cluster_condition(self, kind: str, *, name: str = "everywhere") -> Manifest:
        """A condition of a cluster-wide profile; empty while there is none."""
        return next((dict(one) for one in self.cluster_status(name=name).get("conditions", []) if one["type"] == kind), {})

    def owned(self, kind: str, reference: str) -> list[Manifest]:
        """The objects of a kind that this workload controls."""
        uid = self.workload(reference)["metadata"]["uid"]
        found = self.bed.kubectl.items(kind, namespace=reference.split("/")[0])
        return [item for item in found if any(owner["uid"] == uid for owner in item["metadata"].get("ownerReferences", []))]

    def events(self, reference: str) -> list[tuple[str, str]]:
        """Type and reason of our events about an object (`shop/ResourceProfile/all`), oldest first."""
        place, kind, name = reference.split("/")
        found = self.bed.kubectl.items("events", namespace=place)
        ours = [
            item
            for item in found
            if (item["involvedObject"]["kind"], item["involvedObject"]["name"]) == (kind, name)
            and "rightsizer" in (item.get("reportingComponent"), item.get("source", {}).get("component"))
        ]
        return [(item["type"], item["reason"]) for item in sorted(ours, key=lambda item: item["metadata"]["creationTimestamp"])]

    # Waiting

    def wait_changed(self, *references: str, outcome: str = "Succeeded", timeout_seconds: float = 40.0) -> None:
        for reference in references:
            ended = partial(self._ended, reference, outcome)
            self.bed.wait_for(ended, timeout_seconds, f"change of {reference} {outcome}")

    def _ended(self, reference: str, outcome: str) -> bool:
        return bool(self.last_change(reference).get("outcome") == outcome)

    def wait_state(self, reference: str, state: str, reason: str, *, timeout_seconds: float = 30.0) -> None:
        what = f"{reference} {state} for {reason}"
        self.bed.wait_for(partial(self._stands, reference, (state, reason)), timeout_seconds, what)

    def _stands(self, reference: str, wanted: tuple[str, str]) -> bool:
        summary = self.summary(reference)
        return (summary.get("state"), summary.get("reason")) == wanted

    def wait_measuring(self, in_namespace: str, reason: str, *, timeout_seconds: float = 30.0) -> None:
        self.bed.wait_for(
            lambda: self.condition(in_namespace, "Measuring").get("reason") == reason,
            timeout_seconds,
            f"Measuring of the profile in {in_namespace}: {reason}",
        )

    # The audit log

    def writes(self, user: str) -> list[Manifest]:
        """Every writing request of a user so far."""
        return [event for event in self.bed.audit_events(user) if event["verb"] in WRITING_VERBS]


def resources_of(workload: Manifest, container_name: str = "app") -> Manifest:
    spec = workload["spec"]["template"]["spec"]
    found = [one for one in [*spec["containers"], *spec.get("initContainers", [])] if one["name"] == container_name]
    assert found, f"no container {container_name}"
    return dict(found[0]["resources"])


def requested(event: Manifest) -> tuple[str, str, str]:
    """API group, resource (with its subresource) and verb of a request in the audit log, as RBAC counts them."""
    target = event["objectRef"]
    resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
    return target.get("apiGroup", ""), resource, event["verb"]


@contextlib.contextmanager
def staged(folder: Path, usages: Sequence[WorkloadUsage], *extra: Manifest, recommend_only: bool = False) -> Iterator[Stage]:
    """A cluster of its own with these workloads, their history, and the product installed. No operator runs yet."""
    blocks = load_history(
        usages,
        days=HISTORY_DAYS,
        until=time.time(),
        cache_directory=cache_folder() / "usage",
        promtool=built_binaries() / "promtool",
        interval_seconds=SAMPLES_APART_SECONDS,
    )
    with Testbed.start() as bed, LiveExporter(usages, bed.kubeconfig) as exporter:
        bed.start_prometheus(blocks=blocks, extra={"scrape_configs": [_scraped(exporter)]})
        install(bed, recommend_only=recommend_only)
        bed.apply(*manifests(usages), *extra)
        stage = Stage(bed, folder)
        wait_rolled_out(stage, usages)
        yield stage


def _scraped(exporter: LiveExporter) -> Manifest:
    config = exporter.scrape_config(interval_seconds=5)
    if prometheus_major() < 3:
        # 2.45 does not know it yet: there the series of a deleted pod are shown for five minutes more.
        del config["track_timestamps_staleness"]
    return config


def wait_rolled_out(stage: Stage, usages: Sequence[WorkloadUsage]) -> None:
    """Until every pod runs: an operator leaves a workload alone whose rollout goes on."""
    for name in dict.fromkeys(usage.namespace for usage in usages):
        # A CronJob has nothing that rolls out.
        kinds = {usage.kind.lower() for usage in usages if usage.namespace == name and usage.kind != "CronJob"}
        for kind in sorted(kinds):
            stage.bed.kubectl("rollout", "status", kind, "--namespace", name, "--timeout=60s", "--selector=app")


def shop_autoscaler() -> Manifest:
    return horizontal_pod_autoscaler("shop", "catalog", min_replicas=2, max_replicas=2, cpu_percent=70)


def annotate(bed: Testbed, reference: str, annotation: str) -> None:
    """`NAME=VALUE`, or `NAME-` to take it away."""
    place, kind, name = reference.split("/")
    bed.kubectl("annotate", "--overwrite", kind, name, "--namespace", place, annotation)
