from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rightsizer.cluster import KubernetesCluster, connect
from rightsizer.cluster.endpoint import DEPLOYMENTS
from rightsizer.cluster.workload_json import parse_workload
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
from rightsizer.profile import parse_profile
from rightsizer.strategies.patch import Patch
from rightsizer.workload import WorkloadRef
from tests.api_objects import deployment
from tests.api_server import ApiServer, Reply, refusal

WEB = WorkloadRef("shop", "Deployment", "web")
PATH = "/apis/apps/v1/namespaces/shop/deployments/web"
RECOMMENDATIONS = "/apis/rightsizer.dev/v1alpha1/namespaces/shop/resourcerecommendations"
RECOMMENDATION = f"{RECOMMENDATIONS}/deployment-web"
EVENTS = "/api/v1/namespaces/shop/events"
APPLY_BODY = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "uid": "uid-web", "resourceVersion": "4711"}}
REMOVAL_BODY = {"metadata": {"uid": "uid-web"}, "spec": {"template": {}}}
CPU_REQUEST = '.spec.template.spec.containers[name="app"].resources.requests.cpu'
MEMORY_LIMIT = '.spec.template.spec.containers[name="app"].resources.limits.memory'


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path) -> Iterator[KubernetesCluster]:
    cluster = connect(server.kubeconfig(tmp_path), None, sleep=lambda seconds: None)
    yield cluster
    cluster.close()


def patch(*, removal: bool = False) -> Patch:
    return Patch(WEB, "apps/v1", APPLY_BODY, REMOVAL_BODY if removal else None)


def conflict(**managers: str) -> Reply:
    """A conflict over the CPU request (`cpu`) and the memory limit (`memory`)."""
    fields = {"cpu": CPU_REQUEST, "memory": MEMORY_LIMIT}
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{manager}" using apps/v1', "field": fields[name]}
        for name, manager in managers.items()
    ]
    return refusal(409, "Apply failed with conflicts", causes=causes)


def test_apply_is_a_server_side_apply_under_our_name(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.on("PATCH", PATH, Reply(body=deployment(metadata={"resourceVersion": "4712", "generation": 3})))
    workload = cluster.apply(patch(), force=False)
    assert (workload.ref, workload.resource_version, workload.generation) == (WEB, "4712", 3)
    (received,) = server.received
    assert received.headers["Content-Type"] == "application/apply-patch+yaml"
    assert received.query == {"fieldManager": "rightsizer", "fieldValidation": "Strict", "force": "false"}
    assert received.body == APPLY_BODY


def test_forced_apply_takes_over_at_once(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.on("PATCH", PATH, Reply(body=deployment()))
    cluster.apply(patch(), force=True)
    assert [received.query["force"] for received in server.received] == ["true"]


def test_fields_of_others_are_told_with_their_managers(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.on("PATCH", PATH, conflict(cpu="kubectl-client-side-apply", memory="argocd-controller"))
    with pytest.raises(ClusterOwned) as caught:
        cluster.apply(patch(), force=False)
    assert caught.value.owners == {"app.cpu.request": "kubectl-client-side-apply", "app.memory.limit": "argocd-controller"}
    assert len(server.received) == 1


def test_manager_that_the_message_does_not_name_is_unknown(server: ApiServer, cluster: KubernetesCluster) -> None:
    cause = {"reason": "FieldManagerConflict", "message": "conflict", "field": ".spec.replicas"}
    server.on("PATCH", PATH, refusal(409, "Apply failed", causes=[cause]))
    with pytest.raises(ClusterOwned) as caught:
        cluster.apply(patch(), force=False)
    assert caught.value.owners == {".spec.replicas": "unknown"}


def test_conflict_with_our_own_second_entry_is_forced(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.on("PATCH", PATH, conflict(cpu="rightsizer", memory="rightsizer"), Reply(body=deployment()))
    assert cluster.apply(patch(), force=False).ref == WEB
    assert [received.query["force"] for received in server.received] == ["false", "true"]


def test_conflict_with_ourselves_and_another_is_that_of_the_other(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.on("PATCH", PATH, conflict(cpu="rightsizer", memory="helm"))
    with pytest.raises(ClusterOwned) as caught:
        cluster.apply(patch(), force=False)
    assert caught.value.owners == {"app.memory.limit": "helm"}
    assert len(server.received) == 1


def test_removal_asks_for_conflicts_and_then_merges(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.on("PATCH", PATH, Reply(body=deployment()), Reply(body=deployment(metadata={"resourceVersion": "4712"})))
    assert cluster.apply(patch(removal=True), force=False).resource_version == "4712"
    asked, made = server.received
    assert (asked.query["dryRun"], asked.query["force"], asked.body) == ("All", "false", APPLY_BODY)
    assert made.headers["Content-Type"] == "application/strategic-merge-patch+json"
    assert made.query == {"fieldManager": "rightsizer", "fieldValidation": "Strict"}
    assert made.body == REMOVAL_BODY


def test_removal_stops_where_others_own_the_fields(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.on("PATCH", PATH, conflict(cpu="kubectl"))
    with pytest.raises(ClusterOwned):
        cluster.apply(patch(removal=True), force=False)
    assert [received.query.get("dryRun") for received in server.received] == ["All"]


def test_removal_goes_on_where_only_the_dry_run_is_invalid(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.on("PATCH", PATH, refusal(422, "must be less than or equal to cpu limit of 500m"), Reply(body=deployment()))
    cluster.apply(patch(removal=True), force=False)
    assert len(server.received) == 2


def test_forced_removal_does_not_ask(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.on("PATCH", PATH, Reply(body=deployment()))
    cluster.apply(patch(removal=True), force=True)
    assert [received.headers["Content-Type"] for received in server.received] == ["application/strategic-merge-patch+json"]


MALFORMED = "failed to convert new object (shop/web; apps/v1, Kind=Deployment): quantities must match the regular expression"
UNKNOWN_FIELD = "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.nonsense: field not declared in schema"
NO_OBJECT = "uid mismatch: the provided object specified uid u, and no existing object was found"
IMMUTABLE_UID = [{"reason": "FieldValueInvalid", "message": "field is immutable", "field": "metadata.uid"}]


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        pytest.param(refusal(400, "strict decoding error: unknown field"), ClusterRejected, id="unknown field"),
        pytest.param(refusal(422, "must be less than or equal to cpu limit"), ClusterRejected, id="invalid"),
        pytest.param(refusal(500, MALFORMED), ClusterRejected, id="500 on a malformed quantity"),
        pytest.param(refusal(500, UNKNOWN_FIELD), ClusterRejected, id="500 on an unknown field"),
        pytest.param(refusal(409, "Conflict", causes=[{"reason": "Other"}]), ClusterStale, id="conflict for another cause"),
        pytest.param(refusal(403, "exceeded quota"), ClusterForbidden, id="forbidden"),
        pytest.param(refusal(404, "not found"), ClusterNotFound, id="gone"),
        pytest.param(refusal(409, NO_OBJECT), ClusterNotFound, id="gone, and apply would create it"),
        pytest.param(refusal(409, "the object has been modified"), ClusterStale, id="changed since it was read"),
        pytest.param(refusal(422, "Invalid", causes=IMMUTABLE_UID), ClusterStale, id="another object of the same name"),
    ],
)
def test_refused_write_is_not_repeated(server: ApiServer, cluster: KubernetesCluster, refused: Reply, expected: type[ClusterError]) -> None:
    server.on("PATCH", PATH, refused)
    with pytest.raises(expected, match=f"patch {PATH}: HTTP {refused.status}: {refused.body['message'][:8]}"):
        cluster.apply(patch(), force=False)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        pytest.param(refusal(429, headers={"Retry-After": "1"}), ClusterBusy, id="429"),
        pytest.param(refusal(500, "etcd"), ClusterUnreachable, id="500"),
        pytest.param(Reply(0), ClusterUnreachable, id="connection lost"),
    ],
)
def test_write_is_repeated_after_passing_trouble(
    server: ApiServer, cluster: KubernetesCluster, trouble: Reply, expected: type[ClusterError]
) -> None:
    server.on("PATCH", PATH, trouble, trouble, Reply(body=deployment()))
    assert cluster.apply(patch(), force=False).ref == WEB
    server.on("PATCH", PATH, trouble)
    with pytest.raises(expected):
        cluster.apply(patch(), force=False)
    assert len(server.received) == 3 + 4


def recorded(*, profile: str = "web", status: dict[str, Any] | None = None) -> Recorded:
    spec = {"workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "profileRef": {"name": profile}}
    return Recorded(WEB, "deployment-web", spec, {"mode": "Recommend"} if status is None else status)


def writes(server: ApiServer) -> list[tuple[str, list[str]]]:
    return [
        (received.path.removeprefix(RECOMMENDATIONS), sorted(set(received.body) - {"apiVersion", "kind", "metadata"}))
        for received in server.received
    ]


def accept_recommendations(server: ApiServer) -> None:
    server.on("PATCH", RECOMMENDATION, Reply())
    server.on("PATCH", f"{RECOMMENDATION}/status", Reply())


WORKLOAD = parse_workload(DEPLOYMENTS, deployment())


def test_new_recommendation_is_written_in_two_parts(server: ApiServer, cluster: KubernetesCluster) -> None:
    accept_recommendations(server)
    cluster.write_recommendation(recorded(), WORKLOAD)
    assert writes(server) == [("/deployment-web", ["spec"]), ("/deployment-web/status", ["status"])]
    for received in server.received:
        assert received.query == {"fieldManager": "rightsizer", "fieldValidation": "Strict", "force": "true"}
        assert received.headers["Content-Type"] == "application/apply-patch+yaml"
    assert server.received[0].body["metadata"]["ownerReferences"][0]["uid"] == "uid-web"


def test_recommendation_whose_spec_is_the_same_gets_a_status_only(server: ApiServer, cluster: KubernetesCluster) -> None:
    accept_recommendations(server)
    cluster.write_recommendation(recorded(), WORKLOAD, existing=recorded(status={"mode": "Ignore"}))
    assert writes(server) == [("/deployment-web/status", ["status"])]


def test_recommendation_of_another_profile_gets_both(server: ApiServer, cluster: KubernetesCluster) -> None:
    accept_recommendations(server)
    cluster.write_recommendation(recorded(), WORKLOAD, existing=recorded(profile="other"))
    assert len(server.received) == 2


def test_recommendation_without_status_has_none_written(server: ApiServer, cluster: KubernetesCluster) -> None:
    accept_recommendations(server)
    cluster.write_recommendation(recorded(status={}), WORKLOAD)
    assert writes(server) == [("/deployment-web", ["spec"])]


def test_recommendation_that_was_deleted_meanwhile_is_created_again(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.on("PATCH", RECOMMENDATION, Reply())
    server.on("PATCH", f"{RECOMMENDATION}/status", refusal(404), Reply())
    cluster.write_recommendation(recorded(), WORKLOAD, existing=recorded())
    assert [path for path, _ in writes(server)] == ["/deployment-web/status", "/deployment-web", "/deployment-web/status"]


def test_deleting_a_recommendation(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.on("DELETE", RECOMMENDATION, Reply(body={"kind": "Status", "status": "Success"}))
    cluster.delete_recommendation(recorded())
    assert len(server.asked("DELETE", RECOMMENDATION)) == 1


def test_deleting_a_recommendation_that_is_gone_is_fine(server: ApiServer, cluster: KubernetesCluster) -> None:
    cluster.delete_recommendation(recorded())
    assert len(server.received) == 1


def test_deleting_a_recommendation_without_the_right_is_told(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.on("DELETE", RECOMMENDATION, refusal(403))
    with pytest.raises(ClusterForbidden):
        cluster.delete_recommendation(recorded())


TARGET = EventTarget("apps/v1", "Deployment", "shop", "web", "uid-web")


def test_event_is_created(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.on("POST", EVENTS, Reply(201))
    cluster.emit(TARGET, kind="Normal", reason="Applied", message="cpu 300m -> 216m")
    (received,) = server.received
    assert (received.body["reason"], received.body["message"]) == ("Applied", "cpu 300m -> 216m")


@pytest.mark.parametrize("trouble", [refusal(500), refusal(403), refusal(429), Reply(0), Reply(201, b"garbage")])
def test_event_that_fails_is_logged_and_not_repeated(
    server: ApiServer, cluster: KubernetesCluster, trouble: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    server.on("POST", EVENTS, trouble)
    cluster.emit(TARGET, kind="Warning", reason="Failed", message="")
    assert len(server.received) == 1
    assert "event Failed on Deployment shop/web is lost" in caplog.text


def test_status_of_a_profile(server: ApiServer, cluster: KubernetesCluster) -> None:
    metadata = {"name": "web", "namespace": "shop", "uid": "uid-profile", "generation": 1, "creationTimestamp": "2026-01-31T08:00:00Z"}
    manifest = {"apiVersion": "rightsizer.dev/v1alpha1", "kind": "ResourceProfile", "metadata": metadata, "spec": {}}
    path = "/apis/rightsizer.dev/v1alpha1/namespaces/shop/resourceprofiles/web/status"
    server.on("PATCH", path, Reply())
    cluster.write_profile_status(parse_profile(manifest), {"observedGeneration": 1})
    (received,) = server.asked("PATCH", path)
    assert received.body["metadata"] == {"name": "web", "namespace": "shop"}
    assert received.body["status"] == {"observedGeneration": 1}
    assert received.query["force"] == "true"


def test_status_of_a_cluster_wide_profile(server: ApiServer, cluster: KubernetesCluster) -> None:
    manifest = {"kind": "ClusterResourceProfile", "metadata": {"name": "all", "uid": "uid-profile", "generation": 1}, "spec": {}}
    path = "/apis/rightsizer.dev/v1alpha1/clusterresourceprofiles/all/status"
    server.on("PATCH", path, Reply())
    cluster.write_profile_status(parse_profile(manifest), {"observedGeneration": 1})
    (received,) = server.asked("PATCH", path)
    assert (received.body["kind"], received.body["metadata"]) == ("ClusterResourceProfile", {"name": "all"})


def test_event_on_a_cluster_wide_profile_lives_in_the_default_namespace(server: ApiServer, cluster: KubernetesCluster) -> None:
    path = "/api/v1/namespaces/default/events"
    server.on("POST", path, Reply(201))
    cluster.emit(EventTarget("rightsizer.dev/v1alpha1", "ClusterResourceProfile", "", "all", "u"), kind="Normal", reason="R", message="m")
    (received,) = server.asked("POST", path)
    assert (received.body["metadata"]["namespace"], received.body["involvedObject"]["namespace"]) == ("default", "")
