"""Resizes of running pods in front of a real API server, with exactly the rights that the manifests grant; kwok plays the kubelet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rightsizer.cluster import KubernetesCluster, connect
from rightsizer.errors import ClusterForbidden, ClusterNotFound, ClusterStale, ResizeReason, ResizeRefused
from rightsizer.pod import CRASH_LOOP, Pod, ResizeState
from rightsizer.strategies.in_place import ResizePatch, asks_for, render, resizable, sized
from rightsizer.workload import Role, Sizes, WorkloadRef
from tests.testbed import Testbed

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
MI = 1024 * 1024
HOME, LIMITED, COUNTED = "resize", "resize-limited", "resize-counted"
ACCOUNT_FILES = ("recommend-only/namespace.yaml", "recommend-only/serviceaccount.yaml", "recommend-only/rbac.yaml")
RIGHTS = str(ROOT / "manifests" / "in-place" / "rbac.yaml")
HOLD = "testbed.rightsizer.dev/resize"
OLD_KUBELET = {"testbed.rightsizer.dev/old-kubelet": "true"}

BEFORE = Sizes(cpu_request=300, cpu_limit=600, memory_request=400 * MI, memory_limit=600 * MI)
WORKED = Sizes(cpu_request=216, cpu_limit=432, memory_request=384 * MI, memory_limit=576 * MI)
BURSTABLE = {"requests": {"cpu": "300m", "memory": "400Mi"}, "limits": {"cpu": "600m", "memory": "600Mi"}}
SAME = {"cpu": "300m", "memory": "400Mi"}
PEAKS = {"app": 320.0 * MI, "proxy": 32.0 * MI}

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def prepared(bed: Testbed) -> Testbed:
    """The shared cluster with the account of the operator and namespaces of this module's own, of which two are confined."""
    for name in ACCOUNT_FILES:
        bed.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "manifests" / name))
    bed.kubectl("apply", "--server-side", "--force-conflicts", "-f", RIGHTS)
    for name in (HOME, LIMITED, COUNTED):
        bed.create_namespace(name)
    bounds = {"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "200Mi"}, "maxLimitRequestRatio": {"cpu": "4"}}
    bed.apply(confining("LimitRange", LIMITED, limits=[bounds]), confining("ResourceQuota", COUNTED, hard={"requests.cpu": "500m"}))
    return bed


@pytest.fixture(scope="module")
def cluster(prepared: Testbed) -> Iterator[KubernetesCluster]:
    cluster = connect(str(prepared.kubeconfig_for(namespace="rightsizer", service_account="rightsizer")), None)
    yield cluster
    cluster.close()


def confining(kind: str, namespace: str, **spec: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "bounds", "namespace": namespace}, "spec": spec}


def deployment(name: str, namespace: str, resources: Manifest, annotations: Mapping[str, str], **spec: Any) -> Manifest:
    labels = {"app": name}
    containers = [{"name": "app", "image": "app:1", "resources": resources}]
    template = {"metadata": {"labels": labels, "annotations": dict(annotations)}, "spec": {"containers": containers, **spec}}
    body = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "spec": body}


def running(
    bed: Testbed,
    cluster: KubernetesCluster,
    name: str,
    *,
    namespace: str = HOME,
    resources: Manifest = BURSTABLE,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Pod:
    """The one pod of a new Deployment, ready."""
    bed.apply(deployment(name, namespace, resources, annotations or {}, **spec))
    bed.wait_for(lambda: any(pod.ready for pod in pods_of(cluster, name, namespace=namespace)), what=f"{name} ready")
    (pod,) = pods_of(cluster, name, namespace=namespace)
    return pod


def pods_of(cluster: KubernetesCluster, name: str, *, namespace: str = HOME) -> tuple[Pod, ...]:
    """As they are found by the labels of their Deployment."""
    wanted = WorkloadRef(namespace, "Deployment", name)
    workload = next(found for found in cluster.workloads(["Deployment"], [namespace]).items if found.ref == wanted)
    listing = cluster.pods_of([workload])
    assert listing.failed == {}
    return listing.items


def seen(cluster: KubernetesCluster, pod: Pod) -> Pod:
    return next(found for found in cluster.pods([pod.namespace]).items if found.name == pod.name)


def wait_state(bed: Testbed, cluster: KubernetesCluster, pod: Pod, state: ResizeState) -> Pod:
    bed.wait_for(lambda: seen(cluster, pod).resize_state is state, timeout_seconds=15.0, what=f"{pod.name} {state}")
    return seen(cluster, pod)


def annotate(bed: Testbed, pod: Pod, annotation: str) -> None:
    bed.kubectl("annotate", "pod", pod.name, "-n", pod.namespace, annotation, "--overwrite")


def patch(pod: Pod, sizes: Sizes, *, of: str = "app") -> ResizePatch:
    found = render(pod, {of: sizes})
    assert found is not None
    return found


def refused(cluster: KubernetesCluster, asked: ResizePatch) -> ResizeRefused:
    with pytest.raises(ResizeRefused) as caught:
        cluster.resize(asked)
    return caught.value


class TestTheKubelet:
    def test_a_resize_is_applied_without_a_restart(self, prepared: Testbed, cluster: KubernetesCluster) -> None:
        pod = running(prepared, cluster, "applied")
        assert (pod.qos_class, pod.containers[0].sizes, pod.resize_state) == ("Burstable", BEFORE, ResizeState.SETTLED)
        assert resizable(pod, {"app": WORKED}, memory_peaks=PEAKS) is None
        asked = render(pod, {"app": WORKED})
        assert asked is not None
        answered = cluster.resize(asked)
        assert (answered.resize_state, answered.generation) == (ResizeState.PROPOSED, pod.generation + 1)
        assert (answered.containers[0].sizes, answered.containers[0].actual) == (WORKED, BEFORE)
        after = wait_state(prepared, cluster, pod, ResizeState.SETTLED)
        assert (after.uid, after.containers[0].restarts, after.containers[0].actual) == (pod.uid, 0, WORKED)
        assert after.containers[0].memory_limit == 576 * MI
        assert asks_for(after, {"app": WORKED})

    def test_a_deferred_resize_is_taken_when_there_is_room(self, prepared: Testbed, cluster: KubernetesCluster) -> None:
        pod = running(prepared, cluster, "deferred", annotations={HOLD: "Deferred"})
        cluster.resize(patch(pod, Sizes(cpu_request=400)))
        held = wait_state(prepared, cluster, pod, ResizeState.DEFERRED)
        assert (held.resize_message, held.containers[0].actual) == ("held back by an annotation", BEFORE)
        assert held.pending is not None
        assert held.pending.since >= pod.created_at
        annotate(prepared, pod, f"{HOLD}-")
        after = wait_state(prepared, cluster, pod, ResizeState.SETTLED)
        assert (after.pending, after.resize_message) == (None, "")

    @pytest.mark.parametrize(
        ("held", "state"),
        [
            ("Infeasible", ResizeState.INFEASIBLE),
            ("Error", ResizeState.ERROR),
            ("InProgress", ResizeState.IN_PROGRESS),
            ("Unseen", ResizeState.PROPOSED),
        ],
    )
    def test_a_resize_that_is_held_is_told_and_can_be_taken_back(
        self, prepared: Testbed, cluster: KubernetesCluster, held: str, state: ResizeState
    ) -> None:
        pod = running(prepared, cluster, f"held-{held.lower()}", annotations={HOLD: held})
        cluster.resize(patch(pod, Sizes(cpu_request=400)))
        there = wait_state(prepared, cluster, pod, state)
        assert there.containers[0].actual == BEFORE
        annotate(prepared, pod, f"{HOLD}-")
        cluster.resize(patch(wait_state(prepared, cluster, pod, ResizeState.SETTLED), Sizes(cpu_request=300)))
        after = wait_state(prepared, cluster, pod, ResizeState.SETTLED)
        assert (after.containers[0].actual, after.pending, after.progress) == (BEFORE, None, None)

    def test_a_second_resize_is_not_judged_by_what_was_said_of_the_first(self, prepared: Testbed, cluster: KubernetesCluster) -> None:
        pod = running(prepared, cluster, "twice", annotations={HOLD: "Infeasible"})
        cluster.resize(patch(pod, Sizes(cpu_request=400)))
        told = wait_state(prepared, cluster, pod, ResizeState.INFEASIBLE)
        annotate(prepared, pod, f"{HOLD}=Unseen")
        told = replace(told, resource_version=seen(cluster, pod).resource_version)
        assert cluster.resize(patch(told, Sizes(cpu_request=350))).resize_state is ResizeState.PROPOSED

    def test_a_native_sidecar_is_resized(self, prepared: Testbed, cluster: KubernetesCluster) -> None:
        proxy = {"name": "proxy", "image": "p:1", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}}
        pod = running(prepared, cluster, "meshed", initContainers=[{"name": "migrate", "image": "m:1"}, proxy])
        assert [(found.name, found.role) for found in pod.containers] == [("app", Role.MAIN), ("proxy", Role.SIDECAR)]
        wanted = {"app": WORKED, "proxy": Sizes(cpu_request=24, memory_request=48 * MI)}
        assert resizable(pod, wanted, memory_peaks=PEAKS) is None
        asked = render(pod, wanted)
        assert asked is not None
        cluster.resize(asked)
        after = wait_state(prepared, cluster, pod, ResizeState.SETTLED)
        assert [found.actual for found in after.containers] == [WORKED, wanted["proxy"]]

    def test_an_old_kubelet_cannot_resize(self, prepared: Testbed, cluster: KubernetesCluster) -> None:
        pod = running(prepared, cluster, "old", annotations=OLD_KUBELET)
        assert pod.resize_state is ResizeState.UNSUPPORTED
        refusal = resizable(pod, {"app": WORKED}, memory_peaks=PEAKS)
        assert refusal is not None
        assert refusal.reason is refused(cluster, patch(pod, Sizes(cpu_request=216))).reason is ResizeReason.UNSUPPORTED

    def test_a_container_that_was_killed_or_crashes_is_seen(self, prepared: Testbed, cluster: KubernetesCluster) -> None:
        pod = running(prepared, cluster, "trouble")
        prepared.oom_kill(HOME, pod.name, "app", times=2)
        killed = seen(cluster, pod).containers[0]
        assert (killed.restarts, killed.oom_killed_at is not None, killed.waiting) == (2, True, "")
        annotate(prepared, pod, "testbed.rightsizer.dev/crash-loop=app")
        prepared.wait_for(lambda: seen(cluster, pod).containers[0].waiting == CRASH_LOOP, what="the crash loop")
        crashing = seen(cluster, pod)
        assert (crashing.ready, crashing.containers[0].restarts, crashing.containers[0].started_at) == (False, 3, None)
        refusal = resizable(crashing, {"app": WORKED}, memory_peaks=PEAKS)
        assert refusal is not None
        assert refusal.reason is ResizeReason.POD_NOT_READY
        annotate(prepared, pod, "testbed.rightsizer.dev/crash-loop-")
        prepared.wait_for(lambda: seen(cluster, pod).ready, what="the crash loop over")


class TestRefusals:
    def test_a_node_that_is_too_small(self, prepared: Testbed, cluster: KubernetesCluster) -> None:
        pod = running(prepared, cluster, "huge")
        error = refused(cluster, patch(pod, Sizes(cpu_request=100_000, cpu_limit=100_000)))
        assert error.reason is ResizeReason.NODE_TOO_SMALL
        assert "enough allocatable resources: cpu, requested: 100000" in error.detail

    @pytest.mark.parametrize(
        "sizes",
        [
            pytest.param(Sizes(cpu_limit=3000, cpu_request=1000), id="above the maximum"),
            pytest.param(Sizes(memory_request=100 * MI), id="below the minimum"),
            pytest.param(Sizes(cpu_request=100), id="ratio"),
        ],
    )
    def test_a_limit_range(self, prepared: Testbed, cluster: KubernetesCluster, sizes: Sizes) -> None:
        pod = running(prepared, cluster, "limited", namespace=LIMITED)
        assert refused(cluster, patch(pod, sizes)).reason is ResizeReason.LIMIT_RANGE_FORBIDS

    def test_a_quota_has_room_for_the_difference_only(self, prepared: Testbed, cluster: KubernetesCluster) -> None:
        pod = running(prepared, cluster, "counted", namespace=COUNTED)
        assert refused(cluster, patch(pod, Sizes(cpu_request=501))).reason is ResizeReason.QUOTA_EXCEEDED
        assert cluster.resize(patch(pod, Sizes(cpu_request=500))).containers[0].sizes.cpu_request == 500

    @pytest.mark.parametrize(
        ("name", "resources", "sizes"),
        [
            ("stays-burstable", BURSTABLE, Sizes(cpu_request=600, memory_request=600 * MI)),
            ("stays-guaranteed", {"requests": SAME, "limits": SAME}, Sizes(cpu_request=200)),
            ("stays-best-effort", {}, Sizes(cpu_request=200)),
        ],
    )
    def test_another_qos_class(self, prepared: Testbed, cluster: KubernetesCluster, name: str, resources: Manifest, sizes: Sizes) -> None:
        pod = running(prepared, cluster, name, resources=resources)
        refusal = resizable(pod, {"app": sizes}, memory_peaks=PEAKS)
        assert refusal is not None
        assert refusal.reason is refused(cluster, patch(pod, sizes)).reason is ResizeReason.QOS_CLASS_WOULD_CHANGE

    def test_a_guaranteed_pod_may_have_both_changed(self, prepared: Testbed, cluster: KubernetesCluster) -> None:
        pod = running(prepared, cluster, "guaranteed", resources={"requests": SAME, "limits": SAME})
        wanted = {"app": Sizes(216, 216, 384 * MI, 384 * MI)}
        assert resizable(pod, wanted, memory_peaks=PEAKS) is None
        asked = render(pod, wanted)
        assert asked is not None
        cluster.resize(asked)
        assert wait_state(prepared, cluster, pod, ResizeState.SETTLED).containers[0].actual == wanted["app"]

    @pytest.mark.parametrize(("section", "resources"), [("requests", {"requests": SAME}), ("limits", BURSTABLE)])
    def test_nothing_can_be_taken_away(self, prepared: Testbed, cluster: KubernetesCluster, section: str, resources: Manifest) -> None:
        pod = running(prepared, cluster, f"kept-{section}", resources=resources)
        body = patch(pod, Sizes(cpu_request=200)).body
        body = {**body, "spec": {"containers": [{"name": "app", "resources": {section: {"cpu": None}}}]}}
        assert refused(cluster, ResizePatch(HOME, pod.name, body)).reason is ResizeReason.NEEDS_ROLLOUT

    def test_a_request_above_its_limit(self, prepared: Testbed, cluster: KubernetesCluster) -> None:
        pod = running(prepared, cluster, "unordered")
        refusal = resizable(pod, {"app": Sizes(cpu_request=700)}, memory_peaks=PEAKS)
        assert refusal is not None
        assert refusal.reason is refused(cluster, patch(pod, Sizes(cpu_request=700))).reason is ResizeReason.REQUEST_ABOVE_LIMIT

    def test_anything_else_that_is_invalid(self, prepared: Testbed, cluster: KubernetesCluster) -> None:
        pod = running(prepared, cluster, "strange")
        stranger = replace(pod, containers=(replace(pod.containers[0], name="stranger"),))
        assert refused(cluster, patch(stranger, Sizes(cpu_request=200), of="stranger")).reason is ResizeReason.REJECTED


class TestOtherPods:
    def test_a_pod_that_changed_since_it_was_read(self, prepared: Testbed, cluster: KubernetesCluster) -> None:
        pod = running(prepared, cluster, "changed")
        annotate(prepared, pod, "example.com/touched=true")
        with pytest.raises(ClusterStale):
            cluster.resize(patch(pod, Sizes(cpu_request=200)))
        assert cluster.resize(patch(seen(cluster, pod), Sizes(cpu_request=200))).containers[0].sizes.cpu_request == 200

    def test_another_pod_of_the_same_name(self, prepared: Testbed, cluster: KubernetesCluster) -> None:
        pod = running(prepared, cluster, "replaced")
        with pytest.raises(ClusterStale):
            cluster.resize(patch(replace(pod, uid="6d0f2a4c-0000-4000-8000-000000000000"), Sizes(cpu_request=200)))
        assert seen(cluster, pod).generation == pod.generation

    def test_a_pod_that_goes_while_it_is_resized(self, prepared: Testbed, cluster: KubernetesCluster) -> None:
        pod = running(prepared, cluster, "leaving", annotations={HOLD: "Deferred"})
        cluster.resize(patch(pod, Sizes(cpu_request=400)))
        wait_state(prepared, cluster, pod, ResizeState.DEFERRED)
        prepared.kubectl("scale", "deployment", "leaving", "-n", HOME, "--replicas=0")
        prepared.wait_for(lambda: pods_of(cluster, "leaving") == (), what="the pod gone")
        with pytest.raises(ClusterNotFound):
            cluster.resize(patch(pod, Sizes(cpu_request=350)))

    def test_without_the_right_nothing_is_resized(self, prepared: Testbed, cluster: KubernetesCluster) -> None:
        pod = running(prepared, cluster, "forbidden")
        prepared.kubectl("delete", "-f", RIGHTS)
        try:
            with pytest.raises(ClusterForbidden, match="cannot patch resource"):
                prepared.wait_for(lambda: not cluster.resize(patch(seen(cluster, pod), Sizes(cpu_request=200))), what="the right gone")
        finally:
            prepared.kubectl("apply", "--server-side", "--force-conflicts", "-f", RIGHTS)

    def test_only_sizes_are_sent(self, prepared: Testbed, cluster: KubernetesCluster) -> None:
        pod = running(prepared, cluster, "narrow")
        asked = patch(pod, Sizes(cpu_request=200))
        cluster.resize(asked)
        found = json.loads(prepared.kubectl("get", "pod", pod.name, "-n", HOME, "--show-managed-fields", "-o", "json"))
        ours = [entry for entry in found["metadata"]["managedFields"] if entry["manager"] == "rightsizer"]
        assert [(entry["subresource"], list(entry["fieldsV1"])) for entry in ours] == [("resize", ["f:spec"])]
        assert sized(pod, {"app": Sizes(cpu_request=200)}).containers[0].sizes == replace(BEFORE, cpu_request=200)
