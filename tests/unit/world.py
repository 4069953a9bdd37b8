"""A small cluster with its usage for scenario tests of the cycle: what people do to it, and what they can see of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rightsizer.cycle import Cycle, CycleReport, Measuring
from rightsizer.cycle.measuring import ReadingLimits
from rightsizer.history import SLOT_SECONDS, History, PodSeries
from rightsizer.pod import Pod, PodContainer
from rightsizer.ports import OomSeries
from rightsizer.workload import Container, OwnerRef, RolloutPhase, Sizes, Workload, WorkloadRef
from tests.fakes import FakeClock, FakeCluster, FakeUsageSource, PodUsage
from tests.unit.builders import DAY, MI, NOW, WIDE, workload


class World:
    """Starts without anything. Containers use 180m and 320Mi and have had WIDE for two weeks, unless told otherwise."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW + 60)
        self.cluster = FakeCluster()
        self.cluster.kubelet_time = self.clock.now
        self.source = FakeUsageSource()
        self.progress: list[float] = []
        self.history_folder: Path | None = None
        self.limits = ReadingLimits(at_once=1)
        self.writes_at_once = 1
        self.in_mid_cycle: Callable[[], object] = lambda: None
        """Called whenever a part of the history was read: after the cluster was read, before anything is written."""
        self.restart()

    def restart(self) -> None:
        """The operator's process ends, whatever it was at, and another begins: nothing of its memory is left."""
        self.measuring = Measuring(
            self.source,
            self.cluster,
            new_history=self.new_history,
            limits=self.limits,
            progress=self._progress,
        )
        # One at a time, so that what happens has an order.
        self.cycle = Cycle(self.cluster, self.measuring, self.clock, writes_at_once=self.writes_at_once, rollouts_per_namespace=100)

    def new_history(self, slots: int) -> History:
        return History(slots=slots, folder=self.history_folder)

    def _progress(self, share: float) -> None:
        self.progress.append(share)
        self.in_mid_cycle()

    def run_cycle(self) -> CycleReport:
        return self.cycle.run()

    def run_cycles(self, count: int) -> list[CycleReport]:
        """One a minute, as the operator does."""
        reports = []
        for _ in range(count):
            self.pass_time(60)
            reports.append(self.run_cycle())
        return reports

    def pass_time(self, seconds: float) -> None:
        self.clock.time += seconds

    def next_slot(self) -> None:
        self.pass_time(SLOT_SECONDS)

    def apply_profile(
        self, name: str = "all", *, namespace: str = "shop", mode: str = "Apply", created: str = "2025-01-01", **spec: Any
    ) -> None:
        """As `kubectl apply` of a ResourceProfile: a new one, or another generation of it. Unless it says so, changes are not watched, and
        any number may be made at a time."""
        spec["apply"] = {"verify": {"period": "0m"}, "maxConcurrent": 100, "pauseAfterFailure": "0m", **spec.get("apply", {})}
        before = self.cluster.manifests.get((namespace, name), {"metadata": {"generation": 0}})
        metadata = {
            "name": name,
            "namespace": namespace,
            "uid": f"profile-{namespace}-{name}",
            "generation": before["metadata"]["generation"] + 1,
            "creationTimestamp": f"{created}T00:00:00Z",
        }
        manifest = {"metadata": metadata, "spec": {"mode": mode, **spec}, "status": before.get("status", {})}
        self.cluster.manifests[namespace, name] = manifest

    def apply_cluster_profile(self, name: str = "everywhere", *, mode: str = "Apply", created: str = "2025-01-01", **spec: Any) -> None:
        """As `kubectl apply` of a ClusterResourceProfile."""
        self.apply_profile(name, namespace="", mode=mode, created=created, **spec)
        manifest = self.cluster.manifests["", name]
        manifest["kind"] = "ClusterResourceProfile"
        del manifest["metadata"]["namespace"]

    def delete_profile(self, name: str = "all", *, namespace: str = "shop") -> None:
        del self.cluster.manifests[namespace, name]

    def add_deployment(
        self, name: str = "web", *, namespace: str = "shop", sizes: Sizes = WIDE, container: str = "app", days: float = 14, **fields: Any
    ) -> WorkloadRef:
        """A Deployment with two pods that were used for so many `days` (0: never)."""
        ref = WorkloadRef(namespace, "Deployment", name)
        deployment = workload(Container(container, sizes), ref=ref, **{"uid": f"{namespace}-{name}", **fields})
        self.cluster.add_workload(deployment)
        for pod in ("aaaaa", "bbbbb") if days else ():
            self.use(
                f"{name}-5d9c7b-{pod}", owner=OwnerRef("ReplicaSet", f"{name}-5d9c7b"), namespace=namespace, container=container, days=days
            )
        return ref

    def use(
        self,
        pod: str,
        *,
        owner: OwnerRef | None,
        namespace: str = "shop",
        container: str = "app",
        cpu: float = 180,
        memory: float = 320 * MI,
        days: float = 14,
        until: float | None = None,
        throttled: float | None = None,
    ) -> None:
        """A pod's container uses something, since so many `days`."""
        since = int(self.clock.time - days * DAY) // SLOT_SECONDS * SLOT_SECONDS
        last = None if until is None else int(until)
        self.source.usages.append(PodUsage(PodSeries(namespace, pod, container), cpu, memory, since, last, throttled))
        if owner is not None:
            self.own(pod, owner, namespace=namespace)

    def own(self, pod: str, owner: OwnerRef, *, namespace: str = "shop") -> None:
        """kube-state-metrics and the API tell the owner of the pod."""
        self.source.owners[namespace, pod] = owner
        self.cluster.stored_pods.append(self._pod(pod, owner, namespace=namespace))
        if owner.kind == "ReplicaSet":
            deployment = OwnerRef("Deployment", owner.name.rpartition("-")[0])
            self.source.replica_sets[namespace, owner.name] = deployment
            self.cluster.stored_replica_sets[namespace, owner.name] = deployment

    def _pod(self, name: str, owner: OwnerRef, *, namespace: str) -> Pod:
        """Ready since now, with one container `app` of the sizes WIDE that the kubelet has set."""
        sized = PodContainer("app", 2048 * MI, sizes=WIDE, actual=WIDE, allocated=WIDE, started_at=self.clock.time, ready=True)
        pod = Pod(namespace, name, owner, "Running", self.clock.time, (sized,), uid=f"pod-{namespace}-{name}", resource_version="1")
        return replace(pod, generation=1, observed_generation=1, ready=True, qos_class="Burstable")

    def change_usage(self, *, cpu: float | None = None, memory: float | None = None) -> None:
        """From the next slot on, every container uses so much."""
        now = int(self.clock.time) // SLOT_SECONDS * SLOT_SECONDS
        for index, usage in enumerate(list(self.source.usages)):
            self.source.usages[index] = replace(usage, until=now)
            new = replace(
                usage, since=now + SLOT_SECONDS, cpu=usage.cpu if cpu is None else cpu, memory=usage.memory if memory is None else memory
            )
            self.source.usages.append(new)

    def kill_for_memory(self, pod: str = "web-5d9c7b-aaaaa", *, limit: int | None, namespace: str = "shop", container: str = "app") -> None:
        """The kernel kills a container now; both kube-state-metrics and the pod's status tell of it."""
        at = int(self.clock.time) // SLOT_SECONDS * SLOT_SECONDS
        self.source.kills.append(OomSeries(PodSeries(namespace, pod, container), at, limit))
        killed = (PodContainer(container, limit, restarts=1, oom_killed_at=self.clock.time),)
        self.cluster.stored_pods = [replace(found, containers=killed) if found.name == pod else found for found in self.cluster.stored_pods]

    def workload(self, name: str = "web", *, namespace: str = "shop", kind: str = "Deployment") -> Workload:
        return self.cluster.stored_workloads[WorkloadRef(namespace, kind, name)]

    def sizes(self, name: str = "web", *, namespace: str = "shop", container: str = "app") -> Sizes:
        found = self.workload(name, namespace=namespace).container(container)
        assert found is not None
        return found.sizes

    def recommended(self, name: str = "web", *, namespace: str = "shop", kind: str = "Deployment") -> Mapping[str, Any]:
        """`status` of the recommendation as it is written; empty without one."""
        stored = self.cluster.stored_recommendations.get(WorkloadRef(namespace, kind, name))
        return {} if stored is None else stored.recorded.status

    def told(self, name: str = "web", *, namespace: str = "shop") -> tuple[str, str]:
        """State and reason, as `kubectl get rr` shows them."""
        summary = self.recommended(name, namespace=namespace)["summary"]
        return summary["state"], summary["reason"]

    def last_change(self, name: str = "web", *, namespace: str = "shop") -> Mapping[str, Any]:
        return dict(self.recommended(name, namespace=namespace).get("lastChange", {}))

    def measuring_condition(self, name: str = "all", *, namespace: str = "shop") -> Mapping[str, str]:
        return self.condition(self.profile_status(name, namespace=namespace), "Measuring")

    def profile_status(self, name: str = "all", *, namespace: str = "shop") -> Mapping[str, Any]:
        return dict(self.cluster.manifests[namespace, name]["status"])

    def condition(self, status: Mapping[str, Any], kind: str) -> Mapping[str, str]:
        return dict(next(condition for condition in status["conditions"] if condition["type"] == kind))

    def events(self, kind: str = "Deployment") -> list[str]:
        """Reasons of the events on objects of this kind, oldest first."""
        return [event.reason for event in self.cluster.events if event.target.kind == kind]

    def end_rollouts(self) -> None:
        for ref, found in list(self.cluster.stored_workloads.items()):
            if found.rollout is RolloutPhase.IN_PROGRESS:
                self.cluster.end_rollout(ref)
