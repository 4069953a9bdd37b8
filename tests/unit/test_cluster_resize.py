"""Pods with what a resize needs of them, and the request that resizes one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rightsizer.cluster import KubernetesCluster, connect
from rightsizer.cluster.endpoint import DEPLOYMENTS
from rightsizer.cluster.pod_json import parse_pod
from rightsizer.cluster.workload_json import label_query, parse_workload
from rightsizer.errors import (
    ClusterError,
    ClusterForbidden,
    ClusterNotFound,
    ClusterRejected,
    ClusterStale,
    ResizeReason,
    ResizeRefused,
)
from rightsizer.pod import CRASH_LOOP, ResizeCondition, ResizeState
from rightsizer.strategies.in_place import ResizePatch
from rightsizer.workload import Role, Sizes, Workload
from tests.api_objects import app_container, condition, deployment, pod
from tests.api_server import ApiServer, Reply, paged, refusal

MI = 1024 * 1024
MORNING = 1_769_846_400.0
PODS = "/api/v1/namespaces/shop/pods"
PATH = f"{PODS}/web-1/resize"
PATCH = ResizePatch("shop", "web-1", {"metadata": {"uid": "u"}, "spec": {"containers": []}})


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path) -> Iterator[KubernetesCluster]:
    cluster = connect(server.kubeconfig(tmp_path), None, sleep=lambda seconds: None)
    yield cluster
    cluster.close()


def resized_pod() -> dict[str, Any]:
    """Asked for 200m, and the kubelet still has 100m."""
    item = pod()
    item["metadata"] |= {"resourceVersion": "12", "generation": 3, "annotations": {"rightsizer.dev/sized-by": "x", "example.com/a": "b"}}
    item["spec"]["containers"] = [app_container(requests={"cpu": "200m", "memory": "64Mi"})]
    item["status"]["containerStatuses"][0] |= {
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        "allocatedResources": {"cpu": "100m", "memory": "64Mi"},
    }
    pending = condition("PodResizePending", "True", "Deferred", "Node didn't have enough resource: cpu") | {"observedGeneration": 3}
    item["status"] |= {"observedGeneration": 3, "qosClass": "Burstable", "conditions": [condition("Ready", "True", "", ""), pending]}
    return item


class TestParsing:
    def test_pod_with_a_deferred_resize(self) -> None:
        found = parse_pod(resized_pod())
        assert (found.uid, found.resource_version, found.generation, found.observed_generation) == ("uid-web-7d4b9c6f5-x2x4z", "12", 3, 3)
        assert (found.ready, found.deleting, found.qos_class, found.pod_level) == (True, False, "Burstable", False)
        assert found.annotations == {"rightsizer.dev/sized-by": "x"}
        assert found.pending == ResizeCondition("Deferred", "Node didn't have enough resource: cpu", MORNING, 3)
        (app,) = found.containers
        assert (app.sizes.cpu_request, app.actual, app.allocated) == (200, Sizes(100, None, 64 * MI), Sizes(100, None, 64 * MI))
        assert (app.role, app.started_at, app.waiting, app.ready, app.restarts_for) == (Role.MAIN, MORNING + 1, "", True, ())
        assert found.resize_state is ResizeState.DEFERRED

    def test_sizes_are_shared_between_pods(self) -> None:
        one, other = parse_pod(resized_pod()).containers[0], parse_pod(resized_pod()).containers[0]
        assert one.sizes is other.sizes
        assert one.actual is one.allocated is other.actual

    def test_a_pod_can_be_a_key(self) -> None:
        assert {parse_pod(resized_pod()): "left"}[parse_pod(resized_pod())] == "left"

    def test_resize_in_progress(self) -> None:
        item = resized_pod()
        item["status"]["conditions"] = [condition("PodResizeInProgress", "True", "Error", "no")]
        assert parse_pod(item).progress == ResizeCondition("Error", "no", MORNING, None)
        assert parse_pod(item).resize_state is ResizeState.ERROR

    def test_condition_that_is_over(self) -> None:
        item = resized_pod()
        item["status"]["conditions"] = [condition("PodResizePending", "False", "Deferred", ""), condition("Ready", "False", "", "")]
        assert (parse_pod(item).pending, parse_pod(item).ready) == (None, False)

    def test_resize_policy(self) -> None:
        item = resized_pod()
        item["spec"]["containers"][0]["resizePolicy"] = [
            {"resourceName": "cpu", "restartPolicy": "NotRequired"},
            {"resourceName": "memory", "restartPolicy": "RestartContainer"},
        ]
        assert parse_pod(item).containers[0].restarts_for == ("memory",)

    def test_crash_loop(self) -> None:
        item = resized_pod()
        item["status"]["containerStatuses"][0] |= {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "ready": False}
        (app,) = parse_pod(item).containers
        assert (app.waiting, app.started_at, app.ready) == (CRASH_LOOP, None, False)

    def test_pod_that_is_deleted(self) -> None:
        item = resized_pod()
        item["metadata"]["deletionTimestamp"] = "2026-01-31T08:00:30Z"
        assert parse_pod(item).deleting

    def test_old_kubelet(self) -> None:
        item = resized_pod()
        del item["status"]["containerStatuses"][0]["resources"]
        assert parse_pod(item).resize_state is ResizeState.UNSUPPORTED

    def test_kubelet_that_has_set_nothing_is_not_old(self) -> None:
        item = resized_pod()
        item["spec"]["containers"] = [app_container()]
        item["status"]["containerStatuses"][0]["resources"] = {}
        assert parse_pod(item).resize_state is ResizeState.SETTLED

    def test_sizes_of_the_pod_itself(self) -> None:
        item = resized_pod()
        item["spec"]["resources"] = {"limits": {"cpu": "1"}}
        assert parse_pod(item).pod_level

    @pytest.mark.parametrize(("limits", "guaranteed"), [({"cpu": "1", "memory": "1Gi"}, True), ({"cpu": "1"}, False)])
    def test_plain_init_containers_count_for_the_qos_class(self, limits: dict[str, str], guaranteed: bool) -> None:
        item = resized_pod()
        item["spec"]["initContainers"] = [app_container("migrate", limits=limits), app_container("proxy") | {"restartPolicy": "Always"}]
        assert parse_pod(item).others_guaranteed is guaranteed

    @pytest.mark.parametrize(
        ("selector", "query"),
        [
            ({}, ""),
            ({"matchLabels": {"app": "web", "tier": "front"}}, "app=web,tier=front"),
            (
                {
                    "matchLabels": {"app": "web"},
                    "matchExpressions": [
                        {"key": "tier", "operator": "In", "values": ["a", "b"]},
                        {"key": "track", "operator": "NotIn", "values": ["canary"]},
                        {"key": "live", "operator": "Exists"},
                        {"key": "old", "operator": "DoesNotExist"},
                    ],
                },
                "app=web,tier in (a,b),track notin (canary),live,!old",
            ),
            ({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "x", "operator": "Near", "values": ["1"]}]}, ""),
        ],
    )
    def test_label_query(self, selector: dict[str, Any], query: str) -> None:
        assert label_query(selector) == query


class TestPodsOf:
    def workload(self, name: str = "web", *, namespace: str = "shop", **spec: Any) -> Workload:
        return parse_workload(DEPLOYMENTS, deployment(name, namespace=namespace, spec=spec))

    def test_few_are_asked_for_by_their_labels(self, server: ApiServer, cluster: KubernetesCluster) -> None:
        server.on("GET", PODS, paged([pod()]))
        listing = cluster.pods_of([self.workload("web"), self.workload("api")])
        assert [asked.query.get("labelSelector") for asked in server.received] == ["app=web", "app=api"]
        assert (len(listing.items), listing.failed) == (2, {})

    def test_many_by_their_namespaces(self, server: ApiServer, cluster: KubernetesCluster) -> None:
        server.on("GET", PODS, paged([pod()]))
        cluster.pods_of([self.workload(f"web-{number}") for number in range(11)])
        assert [asked.query.get("labelSelector") for asked in server.received] == [None]

    def test_one_without_labels_by_its_namespace(self, server: ApiServer, cluster: KubernetesCluster) -> None:
        server.on("GET", PODS, paged([pod()]))
        cluster.pods_of([self.workload(selector={})])
        assert [asked.query.get("labelSelector") for asked in server.received] == [None]

    def test_a_namespace_that_is_refused_does_not_stop_the_others(self, server: ApiServer, cluster: KubernetesCluster) -> None:
        server.on("GET", PODS, refusal(403))
        server.on("GET", "/api/v1/namespaces/other/pods", paged([pod(namespace="other")]))
        listing = cluster.pods_of([self.workload(), self.workload(namespace="other")])
        assert [found.namespace for found in listing.items] == ["other"]
        assert isinstance(listing.failed["shop"], ClusterForbidden)

    def test_of_nothing(self, server: ApiServer, cluster: KubernetesCluster) -> None:
        assert cluster.pods_of([]).items == ()
        assert server.received == []


class TestResize:
    def test_it_is_a_strict_patch_of_the_subresource(self, server: ApiServer, cluster: KubernetesCluster) -> None:
        server.on("PATCH", PATH, Reply(body=resized_pod()))
        assert cluster.resize(PATCH).containers[0].sizes.cpu_request == 200
        (asked,) = server.received
        assert asked.headers["Content-Type"] == "application/strategic-merge-patch+json"
        assert (asked.query, asked.body) == ({"fieldManager": "rightsizer", "fieldValidation": "Strict"}, PATCH.body)

    @pytest.mark.parametrize(
        ("reply", "reason"),
        [
            pytest.param(
                refusal(403, "pods is forbidden", causes=[{"reason": "NodeCapacity"}]), ResizeReason.NODE_TOO_SMALL, id="node, by its cause"
            ),
            pytest.param(
                refusal(403, "node didn't have enough allocatable resources: cpu"), ResizeReason.NODE_TOO_SMALL, id="node, by its words"
            ),
            pytest.param(refusal(403, "exceeded quota: rq, requested: limits.cpu=1"), ResizeReason.QUOTA_EXCEEDED, id="quota"),
            pytest.param(
                refusal(403, "maximum cpu usage per Container is 2, but limit is 3"), ResizeReason.LIMIT_RANGE_FORBIDS, id="maximum"
            ),
            pytest.param(
                refusal(403, "cpu max limit to request ratio per Container is 4, but provided ratio is 10"),
                ResizeReason.LIMIT_RANGE_FORBIDS,
                id="ratio",
            ),
            pytest.param(
                refusal(422, "Pod QOS Class may not change as a result of resizing"), ResizeReason.QOS_CLASS_WOULD_CHANGE, id="QoS class"
            ),
            pytest.param(refusal(422, "resource limits cannot be removed"), ResizeReason.NEEDS_ROLLOUT, id="removal"),
            pytest.param(refusal(422, "Pod running on node without support for resize"), ResizeReason.UNSUPPORTED, id="old kubelet"),
            pytest.param(refusal(404, "the server could not find the requested resource"), ResizeReason.UNSUPPORTED, id="old server"),
            pytest.param(refusal(422, "only cpu and memory resources are mutable"), ResizeReason.REJECTED, id="anything else"),
        ],
    )
    def test_refusals_have_a_reason(self, server: ApiServer, cluster: KubernetesCluster, reply: Reply, reason: ResizeReason) -> None:
        server.on("PATCH", PATH, reply)
        with pytest.raises(ResizeRefused) as caught:
            cluster.resize(PATCH)
        assert (caught.value.reason, caught.value.detail) == (reason, reply.body["message"])
        assert isinstance(caught.value, ClusterRejected)
        assert len(server.received) == 1

    @pytest.mark.parametrize(
        ("reply", "error"),
        [
            pytest.param(refusal(403, 'User "rightsizer" cannot patch resource "pods/resize"'), ClusterForbidden, id="no right"),
            pytest.param(refusal(409, "the object has been modified"), ClusterStale, id="changed"),
            pytest.param(refusal(422, "uid", causes=[{"field": "metadata.uid"}]), ClusterStale, id="another of its name"),
            pytest.param(
                Reply(404, {"kind": "Status", "message": 'pods "web-1" not found', "details": {"name": "web-1", "kind": "pods"}}),
                ClusterNotFound,
                id="gone",
            ),
        ],
    )
    def test_other_trouble_keeps_its_error(
        self, server: ApiServer, cluster: KubernetesCluster, reply: Reply, error: type[ClusterError]
    ) -> None:
        server.on("PATCH", PATH, reply)
        with pytest.raises(error) as caught:
            cluster.resize(PATCH)
        assert type(caught.value) is error

    def test_the_same_words_mean_nothing_of_the_kind_for_other_requests(self, server: ApiServer, cluster: KubernetesCluster) -> None:
        server.on("GET", PODS, refusal(403, "exceeded quota: rq"))
        failed = cluster.pods(["shop"]).failed["shop"]
        assert type(failed) is ClusterForbidden
