from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from rightsizer.cluster.autoscaler_json import parse_autoscaler
from rightsizer.cluster.endpoint import DAEMON_SETS, DEPLOYMENTS, NAMESPACES, PODS, STATEFUL_SETS, workload_endpoint
from rightsizer.cluster.event_json import event_body, event_namespace
from rightsizer.cluster.ownership import owned_fields, path_of
from rightsizer.cluster.pod_json import parse_pod
from rightsizer.cluster.recommendation_json import parse_recommendation, spec_body, status_body
from rightsizer.cluster.workload_json import parse_workload
from rightsizer.errors import ClusterRejected, InvalidQuantity
from rightsizer.pod import PodContainer
from rightsizer.ports import EventTarget, Recorded
from rightsizer.status.naming import recommendation_name
from rightsizer.workload import (
    RESOURCES,
    Container,
    FieldPath,
    OwnerRef,
    Role,
    RolloutPhase,
    ScalingMetric,
    Sizes,
    WorkloadRef,
)
from tests.api_objects import app_container, deployment, managed, pod, template_fields

MEBIBYTE = 1024 * 1024
MORNING = datetime(2026, 1, 31, 8, tzinfo=UTC).timestamp()
GIBIBYTE_LIMIT = Sizes(memory_limit=1024 * MEBIBYTE)
APP = 'k:{"name":"app"}'
APP_FIELDS: dict[str, Any] = {"f:resources": {"f:requests": {"f:cpu": {}, "f:memory": {}}, "f:limits": {"f:memory": {}}}}


def test_deployment_as_a_workload() -> None:
    workload = parse_workload(DEPLOYMENTS, deployment())
    assert workload.ref == WorkloadRef("shop", "Deployment", "web")
    assert (workload.uid, workload.api_version, workload.resource_version, workload.generation) == ("uid-web", "apps/v1", "4711", 2)
    assert workload.containers == (
        Container(
            "app", Sizes(cpu_request=300, memory_request=400 * MEBIBYTE, memory_limit=1024 * MEBIBYTE), image="registry.example/app:1"
        ),
    )
    assert (workload.replicas, workload.paused, workload.rollout) == (3, False, RolloutPhase.COMPLETE)
    assert workload.labels == {"tier": "web"}
    assert workload.annotations == {"deployment.kubernetes.io/revision": "2"}
    assert workload.owned == frozenset()


@pytest.mark.parametrize(
    ("resources", "sizes"),
    [
        pytest.param({}, Sizes(), id="none"),
        pytest.param({"requests": {"cpu": "1", "memory": "1Gi"}}, Sizes(cpu_request=1000, memory_request=1024 * MEBIBYTE), id="requests"),
        pytest.param({"limits": {"cpu": "0.5", "memory": "1e9"}}, Sizes(cpu_limit=500, memory_limit=10**9), id="limits"),
        pytest.param({"requests": {"cpu": "1500u"}}, Sizes(cpu_request=2), id="rounded up"),
        pytest.param({"requests": {"cpu": "100m", "example.com/gpu": "1"}}, Sizes(cpu_request=100), id="other resources"),
        pytest.param({"requests": None}, Sizes(), id="null"),
    ],
)
def test_sizes_of_a_container(resources: dict[str, Any], sizes: Sizes) -> None:
    assert parse_workload(DEPLOYMENTS, deployment(containers=[app_container(**resources)])).containers[0].sizes == sizes


def test_quantity_that_is_none_is_named() -> None:
    with pytest.raises(InvalidQuantity, match="abc"):
        parse_workload(DEPLOYMENTS, deployment(containers=[app_container(requests={"cpu": "abc"})]))


def test_roles_follow_from_the_list_and_the_restart_policy() -> None:
    init = [app_container("migrate"), app_container("proxy") | {"restartPolicy": "Always"}]
    workload = parse_workload(DEPLOYMENTS, deployment(init_containers=init))
    assert [(container.name, container.role) for container in workload.containers] == [
        ("app", Role.MAIN),
        ("migrate", Role.INIT),
        ("proxy", Role.SIDECAR),
    ]


def test_paused_deployment() -> None:
    assert parse_workload(DEPLOYMENTS, deployment(spec={"paused": True})).paused


def test_replicas_left_out_are_one() -> None:
    item = deployment()
    del item["spec"]["replicas"]
    assert parse_workload(DEPLOYMENTS, item).replicas == 1


def test_daemon_set_has_as_many_replicas_as_nodes_want_it() -> None:
    item = deployment("agent", status={"desiredNumberScheduled": 7, "observedGeneration": 2})
    workload = parse_workload(DAEMON_SETS, item)
    assert (workload.ref.kind, workload.replicas, workload.rollout) == ("DaemonSet", 7, RolloutPhase.IN_PROGRESS)


def test_daemon_set_without_status_has_no_replicas() -> None:
    assert parse_workload(DAEMON_SETS, deployment("agent", status={})).replicas == 0


def test_stateful_set_as_a_workload() -> None:
    workload = parse_workload(STATEFUL_SETS, deployment("db", status={"observedGeneration": 2, "readyReplicas": 3}))
    assert (workload.ref.kind, workload.rollout) == ("StatefulSet", RolloutPhase.COMPLETE)


def paths(*texts: str) -> frozenset[FieldPath]:
    found = {
        str(path): path
        for container in ("app", "proxy")
        for resource in RESOURCES
        for path in (FieldPath(container, resource, "request"), FieldPath(container, resource, "limit"))
    }
    return frozenset(found[text] for text in texts)


def test_when_we_last_set_sizes() -> None:
    ours = managed("rightsizer", "Apply", template_fields({APP: APP_FIELDS})) | {"time": "2026-01-02T03:04:05Z"}
    emptied = managed("rightsizer", "Update", template_fields({APP: None})) | {"time": "2026-02-02T03:04:05Z"}
    theirs = managed("kubectl", "Apply", template_fields({APP: APP_FIELDS})) | {"time": "2026-03-02T03:04:05Z"}
    assert parse_workload(DEPLOYMENTS, deployment(metadata={"managedFields": [ours, emptied, theirs]})).sized_at == 1767323045.0
    assert parse_workload(DEPLOYMENTS, deployment(metadata={"managedFields": [emptied, theirs]})).sized_at is None


@pytest.mark.parametrize(
    ("entries", "owned"),
    [
        pytest.param([], paths(), id="no entries"),
        pytest.param(
            [managed("rightsizer", "Apply", template_fields({APP: APP_FIELDS}))],
            paths("app.cpu.request", "app.memory.request", "app.memory.limit"),
            id="applied",
        ),
        pytest.param(
            [
                managed("rightsizer", "Apply", template_fields({APP: {"f:resources": {"f:requests": {"f:cpu": {}}}}})),
                managed("rightsizer", "Update", template_fields({APP: {"f:resources": {"f:limits": {"f:cpu": {}}}}})),
            ],
            paths("app.cpu.request", "app.cpu.limit"),
            id="applied and updated",
        ),
        pytest.param([managed("kubectl", "Apply", template_fields({APP: APP_FIELDS}))], paths(), id="of others"),
        pytest.param([managed("rightsizer", "Apply", template_fields({APP: None}))], paths(), id="emptied by a revert"),
        pytest.param([managed("rightsizer", "Apply", {})], paths(), id="empty"),
        pytest.param(
            [managed("rightsizer", "Update", template_fields({APP: APP_FIELDS}), subresource="status")], paths(), id="of a subresource"
        ),
        pytest.param(
            [managed("rightsizer", "Apply", template_fields({".": {}, APP: {"f:image": {}, "f:name": {}}}))], paths(), id="other fields"
        ),
        pytest.param(
            [
                managed(
                    "rightsizer",
                    "Apply",
                    template_fields({}, init={'k:{"name":"proxy"}': {"f:resources": {"f:requests": {"f:memory": {}, "f:gpu": {}}}}}),
                )
            ],
            paths("proxy.memory.request"),
            id="native sidecar, other resources",
        ),
    ],
)
def test_fields_that_we_own(entries: list[dict[str, Any]], owned: frozenset[FieldPath]) -> None:
    assert owned_fields(entries) == owned
    assert parse_workload(DEPLOYMENTS, deployment(metadata={"managedFields": entries})).owned == owned


@pytest.mark.parametrize(
    ("api_path", "path"),
    [
        ('.spec.template.spec.containers[name="app"].resources.requests.cpu', "app.cpu.request"),
        ('.spec.template.spec.initContainers[name="proxy"].resources.limits.memory', "proxy.memory.limit"),
        ('.spec.template.spec.containers[name="app"].resources.limits.example.com/gpu',) * 2,
        (".spec.replicas", ".spec.replicas"),
        ("", ""),
    ],
)
def test_path_of_a_conflict(api_path: str, path: str) -> None:
    assert path_of(api_path) == path


def test_pod() -> None:
    parsed = parse_pod(pod())
    assert (parsed.namespace, parsed.name, parsed.owner) == ("shop", "web-7d4b9c6f5-x2x4z", OwnerRef("ReplicaSet", "web-7d4b9c6f5"))
    assert (parsed.phase, parsed.created_at) == ("Running", MORNING)
    assert parsed.containers == (PodContainer("app", 1024 * MEBIBYTE, sizes=GIBIBYTE_LIMIT, started_at=MORNING + 1, ready=True),)


def test_pod_without_owner_and_status() -> None:
    item = pod(owner=None)
    del item["status"]
    parsed = parse_pod(item)
    assert (parsed.owner, parsed.phase) == (None, "Unknown")
    assert parsed.containers == (PodContainer("app", memory_limit=1024 * MEBIBYTE, sizes=GIBIBYTE_LIMIT),)


def test_owner_that_does_not_control_is_none() -> None:
    item = pod()
    item["metadata"]["ownerReferences"][0]["controller"] = False
    assert parse_pod(item).owner is None


KILLED = {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-01-31T08:00:00Z"}}
EARLIER = {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-01-30T08:00:00Z"}}
FAILED = {"terminated": {"reason": "Error", "exitCode": 1, "finishedAt": "2026-01-31T08:00:00Z"}}
WAITING = {"waiting": {"reason": "CrashLoopBackOff"}}


@pytest.mark.parametrize(
    ("status", "killed_at"),
    [
        pytest.param({"state": WAITING, "lastState": KILLED}, MORNING, id="before the last restart"),
        pytest.param({"state": KILLED, "lastState": EARLIER}, MORNING, id="just now"),
        pytest.param({"state": KILLED}, MORNING, id="never restarted"),
        pytest.param({"state": {"running": {}}, "lastState": FAILED}, None, id="ended in another way"),
        pytest.param({"state": {"running": {}}, "lastState": {}}, None, id="never ended"),
        pytest.param({"state": {"terminated": {"reason": "OOMKilled", "finishedAt": None}}}, None, id="no time"),
    ],
)
def test_oom_kill_of_a_container(status: dict[str, Any], killed_at: float | None) -> None:
    item = pod()
    item["status"]["containerStatuses"] = [{"name": "app", "restartCount": 4, **status}]
    (found,) = parse_pod(item).containers
    assert (found.memory_limit, found.restarts, found.oom_killed_at) == (1024 * MEBIBYTE, 4, killed_at)


def test_memory_limit_that_the_kubelet_has_set_counts() -> None:
    item = pod()
    item["status"]["containerStatuses"][0]["resources"] = {"limits": {"memory": "512Mi"}}
    assert parse_pod(item).containers[0].memory_limit == 512 * MEBIBYTE


def test_native_sidecar_of_a_pod_is_seen_and_init_containers_are_not() -> None:
    item = pod()
    item["spec"]["initContainers"] = [app_container("migrate"), app_container("proxy") | {"restartPolicy": "Always"}]
    item["status"]["initContainerStatuses"] = [
        {"name": "migrate", "restartCount": 1, "state": {}},
        {"name": "proxy", "restartCount": 2, "state": {}, "lastState": KILLED},
    ]
    (proxy,) = parse_pod(item).containers[1:]
    assert (proxy.name, proxy.role, proxy.memory_limit, proxy.restarts, proxy.oom_killed_at) == ("proxy", Role.SIDECAR, None, 2, MORNING)


def test_autoscaler_keeps_the_metrics_that_depend_on_requests() -> None:
    metrics = [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}},
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
        {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "app", "target": {"type": "Utilization"}}},
        {"type": "Pods", "pods": {"metric": {"name": "requests_per_second"}, "target": {"type": "AverageValue"}}},
        {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value"}}},
    ]
    item = {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "metrics": metrics},
    }
    parsed = parse_autoscaler(item)
    assert (parsed.name, parsed.target) == ("web", WorkloadRef("shop", "Deployment", "web"))
    assert parsed.metrics == (
        ScalingMetric("cpu", "Utilization"),
        ScalingMetric("memory", "AverageValue"),
        ScalingMetric("cpu", "Utilization", container="app"),
    )


def test_autoscaler_without_metrics() -> None:
    item = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}}}
    assert parse_autoscaler(item).metrics == ()


def test_name_of_a_recommendation() -> None:
    assert recommendation_name(WorkloadRef("shop", "StatefulSet", "db")) == "statefulset-db"


def test_longest_name_that_fits_is_left_alone() -> None:
    name = "d" * (253 - len("deployment-"))
    assert recommendation_name(WorkloadRef("shop", "Deployment", name)) == f"deployment-{name}"


def test_too_long_names_are_cut_and_stay_different() -> None:
    names = {recommendation_name(WorkloadRef("shop", "Deployment", "d" * 252 + end)) for end in "ab"}
    assert len(names) == 2
    assert {len(name) for name in names} == {253}


def recorded(*, profile: str = "web", status: dict[str, Any] | None = None) -> Recorded:
    spec = {"workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "profileRef": {"name": profile}}
    return Recorded(WorkloadRef("shop", "Deployment", "web"), "deployment-web", spec, status or {})


def test_body_of_a_recommendation_is_owned_by_the_workload() -> None:
    body = spec_body(recorded(status={"mode": "Apply"}), parse_workload(DEPLOYMENTS, deployment()))
    assert body["metadata"] == {
        "name": "deployment-web",
        "namespace": "shop",
        "labels": {"rightsizer.dev/profile": "web"},
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": "web",
                "uid": "uid-web",
                "controller": False,
                "blockOwnerDeletion": False,
            }
        ],
    }
    assert body["spec"] == recorded().spec
    assert "status" not in body


def test_name_of_a_profile_that_is_no_label_is_left_out() -> None:
    assert spec_body(recorded(profile="p" * 64), parse_workload(DEPLOYMENTS, deployment()))["metadata"]["labels"] == {}


def test_body_of_a_status_names_the_object_and_nothing_else() -> None:
    assert status_body(recorded(status={"mode": "Apply"})) == {
        "apiVersion": "rightsizer.dev/v1alpha1",
        "kind": "ResourceRecommendation",
        "metadata": {"name": "deployment-web", "namespace": "shop"},
        "status": {"mode": "Apply"},
    }


def test_recommendation_is_read_as_it_was_written() -> None:
    written = recorded(status={"mode": "Apply"})
    item = spec_body(written, parse_workload(DEPLOYMENTS, deployment())) | {"status": {"mode": "Apply"}}
    assert parse_recommendation(item) == written


def test_event() -> None:
    target = EventTarget("apps/v1", "Deployment", "shop", "web", "uid-web")
    body = event_body(target, kind="Warning", reason="RolloutFailed", message="it failed", at=MORNING + 0.7)
    assert body["metadata"] == {"generateName": "web.", "namespace": "shop"}
    assert body["involvedObject"]["uid"] == "uid-web"
    assert (body["type"], body["reason"], body["message"]) == ("Warning", "RolloutFailed", "it failed")
    assert body["firstTimestamp"] == body["lastTimestamp"] == "2026-01-31T08:00:00Z"
    assert body["source"] == {"component": "rightsizer"}


def test_event_that_is_too_long_is_cut() -> None:
    target = EventTarget("v1", "Node", "", "n" * 253, "u")
    body = event_body(target, kind="Normal", reason="R", message="m" * 1025, at=0.0)
    assert len(body["message"]) == 1024
    assert body["message"].endswith("...")
    assert len(body["metadata"]["generateName"]) <= 253 - 5
    assert event_namespace(target) == "default"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (DEPLOYMENTS.path(), "/apis/apps/v1/deployments"),
        (DEPLOYMENTS.path(namespace="shop", name="web"), "/apis/apps/v1/namespaces/shop/deployments/web"),
        (DEPLOYMENTS.path(namespace="a/b", name="c", subresource="status"), "/apis/apps/v1/namespaces/a%2Fb/deployments/c/status"),
        (PODS.path(namespace="shop"), "/api/v1/namespaces/shop/pods"),
        (NAMESPACES.path(), "/api/v1/namespaces"),
    ],
)
def test_path(path: str, expected: str) -> None:
    assert path == expected


def test_kind_that_is_not_supported_is_refused() -> None:
    with pytest.raises(ClusterRejected, match="ReplicaSet"):
        workload_endpoint("ReplicaSet")
