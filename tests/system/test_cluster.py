"""The cluster adapter in front of a real API server, with exactly the rights that the manifests grant."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rightsizer.cluster import KubernetesCluster, Limits, connect
from rightsizer.errors import (
    ClusterBusy,
    ClusterError,
    ClusterForbidden,
    ClusterNotFound,
    ClusterOwned,
    ClusterRejected,
    ClusterStale,
    ClusterUnreachable,
)
from rightsizer.ports import EventTarget, Recorded
from rightsizer.status.naming import recommendation_name
from rightsizer.strategies.patch import Patch
from rightsizer.workload import FieldPath, OwnerRef, RolloutPhase, Sizes, Workload
from tests.testbed import Testbed

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
MEBIBYTE = 1024 * 1024
NAMESPACES = ("adapter", "adapter-b", "adapter-c", "adapter-d")
HOME = NAMESPACES[0]
ACCOUNT_FILES = ("recommend-only/namespace.yaml", "recommend-only/serviceaccount.yaml", "recommend-only/rbac.yaml", "apply-rbac.yaml")
NOT_READY = {"testbed.rightsizer.dev/not-ready": "true"}

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def prepared(bed: Testbed) -> Testbed:
    """The shared cluster with custom resources, the account of the operator, and namespaces of this module's own."""
    bed.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(ROOT / "crds"))
    bed.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/resourcerecommendations.rightsizer.dev")
    make_account(bed)
    for name in NAMESPACES:
        bed.create_namespace(name)
    return bed


def make_account(bed: Testbed) -> None:
    for name in ACCOUNT_FILES:
        bed.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "manifests" / name))


@pytest.fixture(scope="module")
def counted() -> list[tuple[str, str, int]]:
    return []


@pytest.fixture(scope="module")
def cluster(prepared: Testbed, counted: list[tuple[str, str, int]]) -> Iterator[KubernetesCluster]:
    kubeconfig = prepared.kubeconfig_for(namespace="rightsizer", service_account="rightsizer")
    cluster = connect(str(kubeconfig), None, on_request=lambda verb, target, code, seconds: counted.append((verb, target, code)))
    yield cluster
    cluster.close()


def manifest(
    name: str,
    *,
    kind: str = "Deployment",
    replicas: int | None = 2,
    resources: Manifest | None = None,
    annotations: Manifest | None = None,
    **spec: Any,
) -> Manifest:
    """A workload of one container `app` (300m, 400Mi; limits 600m, 600Mi) and a sidecar."""
    sizes = {"requests": {"cpu": "300m", "memory": "400Mi"}, "limits": {"cpu": "600m", "memory": "600Mi"}}
    containers = [{"name": "app", "image": "app:1", "resources": sizes if resources is None else resources}]
    template = {
        "metadata": {"labels": {"app": name}, "annotations": annotations or {}},
        "spec": {"containers": [*containers, {"name": "log", "image": "log:1"}]},
    }
    body: Manifest = {"selector": {"matchLabels": {"app": name}}, "template": template, **spec}
    if replicas is not None:
        body["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": HOME}, "spec": body}


def read(cluster: KubernetesCluster, name: str, kind: str = "Deployment") -> Workload:
    listing = cluster.workloads([kind], [HOME])
    assert listing.failed == {}
    return next(workload for workload in listing.items if workload.ref.name == name)


def wait_phase(
    bed: Testbed, cluster: KubernetesCluster, name: str, phase: RolloutPhase, *, kind: str = "Deployment", generation: int = 1
) -> Workload:
    def reached() -> bool:
        workload = read(cluster, name, kind)
        return workload.generation >= generation and workload.rollout is phase

    bed.wait_for(reached, timeout_seconds=30.0, what=f"{kind}/{name} {phase}")
    return read(cluster, name, kind)


def rolled_out(bed: Testbed, cluster: KubernetesCluster, item: Manifest) -> Workload:
    """Apply as a person does with kubectl, and wait until all runs."""
    bed.apply(item)
    return wait_phase(bed, cluster, item["metadata"]["name"], RolloutPhase.COMPLETE, kind=item["kind"])


def container_patch(workload: Workload, containers: Sequence[Manifest], **metadata: str) -> Manifest:
    identity = {"name": workload.ref.name, "uid": workload.uid, "resourceVersion": workload.resource_version}
    return {
        "apiVersion": workload.api_version,
        "kind": workload.ref.kind,
        "metadata": identity | metadata,
        "spec": {"template": {"spec": {"containers": list(containers)}}},
    }


def sized(workload: Workload, *, cpu: str = "216m", memory: str = "384Mi", container: str = "app", **metadata: str) -> Patch:
    resources = {"requests": {"cpu": cpu, "memory": memory}}
    body = container_patch(workload, [{"name": container, "resources": resources}], **metadata)
    return Patch(workload.ref, workload.api_version, body)


def owned(*texts: str) -> set[str]:
    return set(texts)


def held(workload: Workload) -> set[str]:
    return {str(path) for path in workload.owned}


def test_apply_sizes_and_again_is_nothing(prepared: Testbed, cluster: KubernetesCluster) -> None:
    before = rolled_out(prepared, cluster, manifest("steady"))
    assert before.owned == frozenset()
    changed = cluster.apply(sized(before), force=True)
    assert changed.containers[0].sizes == Sizes(216, 600, 384 * MEBIBYTE, 600 * MEBIBYTE)
    assert changed.generation == before.generation + 1
    assert changed.owned == {FieldPath("app", "cpu", "request"), FieldPath("app", "memory", "request")}
    assert changed.rollout is RolloutPhase.IN_PROGRESS
    after = wait_phase(prepared, cluster, "steady", RolloutPhase.COMPLETE, generation=changed.generation)
    again = cluster.apply(sized(after, cpu="0.216", memory="393216Ki"), force=False)
    assert (again.resource_version, again.generation) == (after.resource_version, after.generation)


def test_fields_of_kubectl_are_told_with_its_name_and_taken_by_force(prepared: Testbed, cluster: KubernetesCluster) -> None:
    prepared.kubectl("apply", "-f", "-", stdin=json.dumps(manifest("clientside")))
    prepared.apply(manifest("serverside"))
    for name, manager in (("clientside", "kubectl-client-side-apply"), ("serverside", "kubectl")):
        before = wait_phase(prepared, cluster, name, RolloutPhase.COMPLETE)
        with pytest.raises(ClusterOwned) as caught:
            cluster.apply(sized(before), force=False)
        assert caught.value.owners == {"app.cpu.request": manager, "app.memory.request": manager}
        assert read(cluster, name).generation == before.generation
        assert held(cluster.apply(sized(before), force=True)) == owned("app.cpu.request", "app.memory.request")


def removal(workload: Workload, *, cpu: str) -> Patch:
    """A CPU request above the limit that goes away with it: the dry run alone would be invalid."""
    apply = container_patch(workload, [{"name": "app", "resources": {"requests": {"cpu": cpu}}}])
    merge = container_patch(workload, [{"name": "app", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": None}}}])
    return Patch(workload.ref, workload.api_version, apply, merge)


def test_limit_is_removed_in_one_generation_and_the_next_apply_is_not_in_our_own_way(prepared: Testbed, cluster: KubernetesCluster) -> None:
    before = rolled_out(prepared, cluster, manifest("unlimited"))
    with pytest.raises(ClusterOwned):
        cluster.apply(removal(before, cpu="900m"), force=False)
    changed = cluster.apply(removal(before, cpu="900m"), force=True)
    assert changed.generation == before.generation + 1
    assert changed.containers[0].sizes == Sizes(900, None, 400 * MEBIBYTE, 600 * MEBIBYTE)
    assert held(changed) == owned("app.cpu.request")
    current = wait_phase(prepared, cluster, "unlimited", RolloutPhase.COMPLETE, generation=changed.generation)
    with pytest.raises(ClusterOwned) as caught:
        cluster.apply(sized(current), force=False)
    assert caught.value.owners == {"app.memory.request": "kubectl"}
    only_cpu = container_patch(current, [{"name": "app", "resources": {"requests": {"cpu": "700m"}}}])
    again = cluster.apply(Patch(current.ref, current.api_version, only_cpu), force=False)
    assert (again.containers[0].sizes.cpu_request, again.generation) == (700, changed.generation + 1)


def test_limit_is_removed_without_force_where_nobody_else_owns_the_request(prepared: Testbed, cluster: KubernetesCluster) -> None:
    before = rolled_out(prepared, cluster, manifest("limited", resources={"limits": {"memory": "1Gi"}}))
    first = cluster.apply(
        Patch(
            before.ref,
            before.api_version,
            container_patch(before, [{"name": "app", "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}}]),
        ),
        force=False,
    )
    current = wait_phase(prepared, cluster, "limited", RolloutPhase.COMPLETE, generation=first.generation)
    changed = cluster.apply(removal(current, cpu="900m"), force=False)
    assert changed.generation == current.generation + 1
    assert (changed.containers[0].sizes.cpu_request, changed.containers[0].sizes.cpu_limit) == (900, None)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"resourceVersion": "1"}, ClusterStale, id="changed since it was read"),
        pytest.param({"cpu": "many"}, ClusterRejected, id="malformed quantity"),
        pytest.param({"cpu": "9"}, ClusterRejected, id="request above the limit"),
        pytest.param({"container": "absent"}, ClusterRejected, id="container that is not in the template"),
        pytest.param({"nonsense": "1"}, ClusterRejected, id="unknown field"),
    ],
)
def test_refused_change(
    prepared: Testbed,
    cluster: KubernetesCluster,
    counted: list[tuple[str, str, int]],
    change: dict[str, str],
    expected: type[ClusterError],
) -> None:
    before = rolled_out(prepared, cluster, manifest("refused"))
    counted.clear()
    with pytest.raises(expected):
        cluster.apply(sized(before, **change), force=True)
    assert len(counted) == 1
    assert read(cluster, "refused").generation == before.generation


def test_workload_that_is_gone_is_not_found_and_not_created(prepared: Testbed, cluster: KubernetesCluster) -> None:
    before = rolled_out(prepared, cluster, manifest("gone", replicas=0))
    prepared.kubectl("delete", "deployment", "gone", "-n", HOME)
    with pytest.raises(ClusterNotFound):
        cluster.apply(sized(before), force=True)
    with pytest.raises(ClusterNotFound):
        cluster.apply(removal(before, cpu="900m"), force=True)
    assert prepared.get("deployment", "gone", namespace=HOME) is None


def test_workload_that_was_recreated_is_stale(prepared: Testbed, cluster: KubernetesCluster) -> None:
    before = rolled_out(prepared, cluster, manifest("again", replicas=0))
    prepared.kubectl("delete", "deployment", "again", "-n", HOME)
    after = rolled_out(prepared, cluster, manifest("again", replicas=0))
    assert after.uid != before.uid
    with pytest.raises(ClusterStale):
        cluster.apply(sized(before), force=True)
    with pytest.raises(ClusterStale):
        cluster.apply(sized(before, resourceVersion=after.resource_version), force=True)
    with pytest.raises(ClusterStale):
        cluster.apply(removal(before, cpu="900m"), force=True)
    assert read(cluster, "again").containers[0].sizes.cpu_request == 300


def test_deployment_rolls_out(prepared: Testbed, cluster: KubernetesCluster) -> None:
    workload = rolled_out(prepared, cluster, manifest("phases"))
    assert (workload.replicas, workload.rollout_message) == (2, "")
    assert prepared.get("deployment", "phases", namespace=HOME) is not None
    changed = cluster.apply(sized(workload), force=True)
    assert changed.rollout is RolloutPhase.IN_PROGRESS
    wait_phase(prepared, cluster, "phases", RolloutPhase.COMPLETE, generation=changed.generation)


def test_deployment_that_does_not_become_ready_fails_at_its_deadline(prepared: Testbed, cluster: KubernetesCluster) -> None:
    prepared.apply(manifest("stuck", annotations=NOT_READY, progressDeadlineSeconds=3))
    workload = wait_phase(prepared, cluster, "stuck", RolloutPhase.FAILED)
    assert workload.rollout_message.startswith("ProgressDeadlineExceeded: ")


def test_deployment_whose_pods_are_refused_by_quota_fails_at_once(prepared: Testbed, cluster: KubernetesCluster) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"pods": "0"}}}
    prepared.apply(quota | {"metadata": {"name": "none", "namespace": NAMESPACES[3]}})
    item = manifest("refused-pods")
    item["metadata"]["namespace"] = NAMESPACES[3]
    prepared.apply(item)

    def workload() -> Workload:
        return cluster.workloads(["Deployment"], [NAMESPACES[3]]).items[0]

    prepared.wait_for(lambda: workload().rollout is RolloutPhase.FAILED, timeout_seconds=20.0, what="failed rollout")
    assert "exceeded quota" in workload().rollout_message


def test_paused_deployment_does_not_roll(prepared: Testbed, cluster: KubernetesCluster) -> None:
    workload = rolled_out(prepared, cluster, manifest("held"))
    prepared.kubectl("rollout", "pause", "deployment/held", "-n", HOME)
    paused = read(cluster, "held")
    assert (workload.paused, paused.paused) == (False, True)


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_other_kinds_roll_out(prepared: Testbed, cluster: KubernetesCluster, kind: str) -> None:
    name = kind.lower()
    more: Manifest = {"serviceName": name} if kind == "StatefulSet" else {}
    prepared.apply(manifest(name, kind=kind, replicas=2 if more else None, **more))
    workload = wait_phase(prepared, cluster, name, RolloutPhase.COMPLETE, kind=kind)
    prepared.wait_for(lambda: read(cluster, name, kind).rollout_message == "", what=f"{name} ready")
    assert workload.replicas >= 2
    changed = cluster.apply(sized(read(cluster, name, kind)), force=True)
    assert (changed.rollout, changed.generation) == (RolloutPhase.IN_PROGRESS, 2)
    after = wait_phase(prepared, cluster, name, RolloutPhase.COMPLETE, kind=kind, generation=2)
    assert after.containers[0].sizes.cpu_request == 216
    pods = [
        pod for pod in prepared.kubectl.items("pods", namespace=HOME, selector=f"app={name}") if "deletionTimestamp" not in pod["metadata"]
    ]
    assert {pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] for pod in pods} == {"216m"}


def test_stateful_set_with_a_stuck_pod_is_not_complete(prepared: Testbed, cluster: KubernetesCluster) -> None:
    ready = rolled_out(prepared, cluster, manifest("stuckset", kind="StatefulSet", serviceName="stuckset"))
    prepared.wait_for(lambda: read(cluster, "stuckset", "StatefulSet").rollout_message == "", what="stuckset ready")
    prepared.apply(manifest("stuckset", kind="StatefulSet", serviceName="stuckset", annotations=NOT_READY))
    prepared.wait_for(
        lambda: "1 of 2 pods are updated" in read(cluster, "stuckset", "StatefulSet").rollout_message,
        what="the first pod replaced",
    )
    stuck = read(cluster, "stuckset", "StatefulSet")
    assert (stuck.rollout, stuck.generation) == (RolloutPhase.IN_PROGRESS, ready.generation + 1)


def test_pods_owners_and_oom_kills(prepared: Testbed, cluster: KubernetesCluster) -> None:
    rolled_out(prepared, cluster, manifest("killed", replicas=1))
    (pod,) = [pod for pod in cluster.pods([HOME]).items if pod.name.startswith("killed-")]
    assert pod.owner is not None
    assert pod.owner.kind == "ReplicaSet"
    assert cluster.replica_set_owners([HOME])[(HOME, pod.owner.name)] == OwnerRef("Deployment", "killed")
    assert (pod.phase, pod.containers[0].memory_limit, pod.containers[0].oom_killed_at) == ("Running", 600 * MEBIBYTE, None)
    prepared.oom_kill(HOME, pod.name, "app")
    (after,) = [found for found in cluster.pods([HOME]).items if found.name == pod.name]
    assert after.containers[0].restarts == 1
    assert after.containers[0].oom_killed_at is not None
    assert after.containers[0].oom_killed_at >= pod.created_at
    assert after.containers[1].oom_killed_at is None


def test_lists_in_small_pages_are_whole(prepared: Testbed) -> None:
    for number in range(7):
        item = manifest(f"many-{number}", replicas=0)
        item["metadata"]["namespace"] = NAMESPACES[1]
        prepared.apply(item)
    paging = connect(str(prepared.kubeconfig), None, page_size=3)
    try:
        whole = paging.workloads(["Deployment"], NAMESPACES)
        single = paging.workloads(["Deployment"], [NAMESPACES[1]])
    finally:
        paging.close()
    names = [workload.ref.name for workload in single.items]
    assert names == sorted(names) == [f"many-{number}" for number in range(7)]
    assert {item.ref for item in whole.items} >= {item.ref for item in single.items}
    assert {item.ref.namespace for item in whole.items} <= set(NAMESPACES)


def test_autoscalers_and_namespaces(prepared: Testbed, cluster: KubernetesCluster) -> None:
    prepared.kubectl("annotate", "namespace", HOME, "rightsizer.dev/mode=Recommend", "--overwrite")
    rolled_out(prepared, cluster, manifest("scaled", replicas=1))
    prepared.kubectl("autoscale", "deployment", "scaled", "--max=3", "--cpu=80%", "-n", HOME)
    (autoscaler,) = cluster.autoscalers([HOME]).items
    assert (autoscaler.target.kind, autoscaler.target.name) == ("Deployment", "scaled")
    assert [(metric.resource, metric.target_type) for metric in autoscaler.metrics] == [("cpu", "Utilization")]
    annotations = {namespace.name: namespace.annotations for namespace in cluster.namespaces()}
    assert annotations[HOME]["rightsizer.dev/mode"] == "Recommend"


def test_account_of_a_few_namespaces_falls_back_and_tells_the_refused_one(prepared: Testbed) -> None:
    prepared.kubectl("create", "serviceaccount", "narrow", "-n", HOME)
    for name in NAMESPACES[:3]:
        prepared.kubectl("create", "rolebinding", "narrow", "--clusterrole=view", f"--serviceaccount={HOME}:narrow", "-n", name)
    narrow = connect(str(prepared.kubeconfig_for(namespace=HOME, service_account="narrow")), None)
    try:
        # The authorizer hears of a new binding a moment later.
        prepared.wait_for(lambda: sorted(narrow.workloads(["Deployment"], NAMESPACES).failed) == [NAMESPACES[3]], what="rights")
        assert isinstance(narrow.workloads(["DaemonSet"], NAMESPACES).failed[NAMESPACES[3]], ClusterForbidden)
        with pytest.raises(ClusterForbidden):
            narrow.recommendations()
    finally:
        narrow.close()


def recorded_for(workload: Workload, *, profile: str = "web", status: Manifest) -> Recorded:
    reference = {"apiVersion": workload.api_version, "kind": workload.ref.kind, "name": workload.ref.name, "uid": workload.uid}
    spec = {"workloadRef": reference, "profileRef": {"kind": "ResourceProfile", "name": profile}}
    return Recorded(workload.ref, recommendation_name(workload.ref), spec, status)


def found(cluster: KubernetesCluster, name: str) -> Recorded | None:
    return next((recorded for recorded in cluster.recommendations() if recorded.name == name), None)


def test_recommendation_is_created_updated_and_goes_with_its_workload(prepared: Testbed, cluster: KubernetesCluster) -> None:
    workload = rolled_out(prepared, cluster, manifest("recorded", replicas=0))
    first = recorded_for(workload, status={"mode": "Recommend", "savings": {"cpu": "1", "memory": "1Gi"}})
    cluster.write_recommendation(first, workload)
    assert found(cluster, "deployment-recorded") == first
    written = prepared.get("rr", "deployment-recorded", namespace=HOME)
    assert written is not None
    assert written["metadata"]["labels"] == {"rightsizer.dev/profile": "web"}
    second = recorded_for(workload, profile="other", status={"mode": "Apply"})
    cluster.write_recommendation(second, workload, existing=first)
    assert found(cluster, "deployment-recorded") == second
    unchanged = prepared.get("rr", "deployment-recorded", namespace=HOME)
    cluster.write_recommendation(second, workload, existing=second)
    assert prepared.get("rr", "deployment-recorded", namespace=HOME) == unchanged
    prepared.kubectl("delete", "deployment", "recorded", "-n", HOME)
    prepared.wait_for(lambda: found(cluster, "deployment-recorded") is None, what="garbage collection of the recommendation")


def test_findings_come_and_go_with_the_status(prepared: Testbed, cluster: KubernetesCluster) -> None:
    workload = rolled_out(prepared, cluster, manifest("oddities", replicas=0))
    leak, idle = {"type": "MemoryLeak", "message": "it leaks"}, {"type": "Idle", "message": "it sleeps"}
    before = None
    for findings in ([leak, idle], [idle], []):
        entry = {"name": "app", **({"findings": findings} if findings else {})}
        wanted = recorded_for(workload, status={"mode": "Recommend", "containers": [entry]})
        cluster.write_recommendation(wanted, workload, existing=before)
        before = found(cluster, "deployment-oddities")
        assert before == wanted


def test_image_and_release_come_and_go_with_the_status(prepared: Testbed, cluster: KubernetesCluster) -> None:
    workload = rolled_out(prepared, cluster, manifest("released", replicas=0))
    container = workload.containers[0]
    assert container.image
    since = "2025-11-20T12:00:00Z"
    released = {"cpu": {"statistic": "p95", "release": {"time": since, "image": container.image}}}
    whole = {"cpu": {"statistic": "p95"}}
    before = None
    for entry in (
        {"image": container.image},
        {"image": container.image, "imageSince": since, "explanation": released},
        {"image": container.image, "imageSince": since, "explanation": whole},
        {"image": "another:2", "imageSince": since, "explanation": whole},
    ):
        wanted = recorded_for(workload, status={"mode": "Recommend", "containers": [{"name": "app", **entry}]})
        cluster.write_recommendation(wanted, workload, existing=before)
        before = found(cluster, "deployment-released")
        assert before == wanted


def test_recommendation_that_somebody_deleted_is_written_again_and_deleted_twice(prepared: Testbed, cluster: KubernetesCluster) -> None:
    workload = rolled_out(prepared, cluster, manifest("rewritten", replicas=0))
    recorded = recorded_for(workload, status={"mode": "Recommend"})
    cluster.write_recommendation(recorded, workload)
    prepared.kubectl("delete", "rr", "deployment-rewritten", "-n", HOME)
    cluster.write_recommendation(recorded, workload, existing=recorded)
    assert found(cluster, "deployment-rewritten") == recorded
    cluster.delete_recommendation(recorded)
    cluster.delete_recommendation(recorded)
    assert found(cluster, "deployment-rewritten") is None


def test_recommendation_that_the_schema_does_not_know_is_rejected(prepared: Testbed, cluster: KubernetesCluster) -> None:
    workload = rolled_out(prepared, cluster, manifest("unknown", replicas=0))
    with pytest.raises(ClusterRejected, match="nonsense"):
        cluster.write_recommendation(recorded_for(workload, status={"nonsense": 1}), workload)


def test_status_of_a_profile(prepared: Testbed, cluster: KubernetesCluster) -> None:
    body = {"apiVersion": "rightsizer.dev/v1alpha1", "kind": "ResourceProfile", "metadata": {"name": "told", "namespace": HOME}}
    prepared.apply(body | {"spec": {}})

    def profile() -> Any:
        return next(found for found in cluster.profiles() if (found.namespace, found.name) == (HOME, "told"))

    first = profile()
    cluster.write_profile_status(first, {"observedGeneration": 1, "workloads": {"matched": 3, "measured": 2}})
    cluster.write_profile_status(first, {"observedGeneration": 1, "workloads": {"matched": 4}})
    assert profile().status == {"observedGeneration": 1, "workloads": {"matched": 4}}
    assert profile().generation == 1
    # A person's edit of the spec is not in our way, nor we in theirs.
    prepared.apply(body | {"spec": {"mode": "Ignore"}})
    prepared.kubectl("delete", "rp", "told", "-n", HOME)
    with pytest.raises(ClusterNotFound):
        cluster.write_profile_status(first, {"observedGeneration": 2})
    assert prepared.get("rp", "told", namespace=HOME) is None


def test_event_on_a_workload(prepared: Testbed, cluster: KubernetesCluster, caplog: pytest.LogCaptureFixture) -> None:
    workload = rolled_out(prepared, cluster, manifest("told-of", replicas=0))
    target = EventTarget(workload.api_version, workload.ref.kind, HOME, workload.ref.name, workload.uid)
    cluster.emit(target, kind="Warning", reason="RolloutFailed", message="m" * 3000)
    assert caplog.text == ""
    events = prepared.kubectl.items("events", namespace=HOME)
    (event,) = [event for event in events if event["involvedObject"]["name"] == "told-of" and event["reason"] == "RolloutFailed"]
    assert (event["type"], event["source"]["component"], event["count"]) == ("Warning", "rightsizer", 1)


def test_api_server_that_is_away_is_told_and_found_again() -> None:
    with Testbed.start() as own:
        make_account(own)
        kubeconfig = own.kubeconfig_for(namespace="rightsizer", service_account="rightsizer")
        cluster = connect(str(kubeconfig), None, limits=Limits(attempts=2, first_pause_seconds=0.01))
        try:
            own.wait_for(lambda: _answers(cluster), what="the account's rights")
            own.kill_api_server()
            with pytest.raises((ClusterUnreachable, ClusterBusy)):
                cluster.namespaces()
            own.start_api_server()
            # Its authorizer fills its caches for a moment after it says that it is ready.
            own.wait_for(lambda: _answers(cluster), what="the account's rights after the restart")
        finally:
            cluster.close()


def _answers(cluster: KubernetesCluster) -> bool:
    try:
        return len(cluster.namespaces()) > 0
    except ClusterForbidden:
        return False
