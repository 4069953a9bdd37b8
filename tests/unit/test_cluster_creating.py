"""The adapter for pods that are sized at their creation: one object per namespace, and a look whether the policies are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rightsizer.checks.confines import Bounds, LimitRange, Quota
from rightsizer.cluster import KubernetesCluster, connect
from rightsizer.cluster.endpoint import DEPLOYMENTS
from rightsizer.cluster.workload_json import parse_workload
from rightsizer.strategies.on_create import Entry, PodSizes
from tests.api_objects import deployment
from tests.api_server import ApiServer, Reply, refusal
from tests.unit.builders import WORKED

ALL = "/apis/rightsizer.dev/v1alpha1/podsizes"
ONE = "/apis/rightsizer.dev/v1alpha1/namespaces/shop/podsizes/rightsizer"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
SERVED = Reply(body={"kind": "APIResourceList", "resources": [{"name": "mutatingadmissionpolicies"}]})
PATHS = [
    f"{ADMISSION}/{plural}/{name}"
    for plural in ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings")
    for name in ("size-pods.rightsizer.dev", "clamp-pods.rightsizer.dev", "fit-quota.rightsizer.dev")
]
WEB = PodSizes("shop", {"Deployment/web": Entry({"app": WORKED}, "deployment-web", 1_769_846_400.0)})


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path) -> Iterator[KubernetesCluster]:
    cluster = connect(server.kubeconfig(tmp_path), None, sleep=lambda seconds: None)
    yield cluster
    cluster.close()


def install(server: ApiServer) -> None:
    server.on("GET", ADMISSION, SERVED)
    for path in PATHS:
        server.on("GET", path, Reply(body={}))


def test_all_entries_are_applied_at_once_and_by_force(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.on("PATCH", ONE, Reply(body={}))
    cluster.write_pod_sizes(WEB)
    (asked,) = server.received
    assert (asked.query["force"], asked.query["fieldValidation"]) == ("true", "Strict")
    assert asked.body["metadata"] == {"name": "rightsizer", "namespace": "shop"}
    assert asked.body["spec"]["workloads"]["Deployment/web"]["sizedBy"] == "deployment-web@2026-01-31T08:00:00Z"


def test_what_was_written_is_read_back(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.on("PATCH", ONE, Reply(body={}))
    cluster.write_pod_sizes(WEB)
    server.on("GET", ALL, Reply(body={"items": [server.received[0].body]}))
    assert cluster.pod_sizes() == (WEB,)


def test_without_the_definition_there_are_none(server: ApiServer, cluster: KubernetesCluster) -> None:
    server.on("GET", ALL, refusal(404, "the server could not find the requested resource"))
    assert cluster.pod_sizes() == ()


def test_limits_and_quotas_of_a_namespace(server: ApiServer, cluster: KubernetesCluster) -> None:
    metadata = {"namespace": "shop", "name": "one"}
    limits = {"metadata": metadata, "spec": {"limits": [{"type": "Container", "min": {"cpu": "50m"}}]}}
    quota = {"metadata": metadata, "spec": {"hard": {"cpu": "1"}}, "status": {"used": {"cpu": "1"}}}
    server.on("GET", "/api/v1/namespaces/shop/limitranges", Reply(body={"items": [limits]}))
    server.on("GET", "/api/v1/namespaces/shop/resourcequotas", Reply(body={"items": [quota]}))
    assert cluster.limit_ranges(["shop"]).items == (LimitRange("shop", "one", (Bounds(least={"cpu": 50}),)),)
    assert cluster.quotas(["shop"]).items == (Quota("shop", "one", {("cpu", "request"): 1000}, {("cpu", "request"): 1000}),)


def test_policies_that_are_installed_are_no_trouble(server: ApiServer, cluster: KubernetesCluster) -> None:
    install(server)
    assert cluster.policy_trouble() == ""


@pytest.mark.parametrize("answer", [refusal(404, "no such group"), Reply(body={"resources": [{"name": "validatingadmissionpolicies"}]})])
def test_a_server_without_the_api(server: ApiServer, cluster: KubernetesCluster, answer: Reply) -> None:
    server.on("GET", ADMISSION, answer)
    assert "Kubernetes has from 1.36 on" in cluster.policy_trouble()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("status", "words"), [(404, "is not installed"), (403, "no right to read")])
def test_a_part_that_is_missing_is_named(server: ApiServer, cluster: KubernetesCluster, path: str, status: int, words: str) -> None:
    install(server)
    server.on("GET", path, refusal(status, "no"))
    trouble = cluster.policy_trouble()
    assert words in trouble
    assert path.rpartition("/")[2] in trouble
    assert "kubectl apply -k manifests/on-create/" in trouble


def test_our_annotations_of_the_pod_template_are_read_and_no_others() -> None:
    item = deployment()
    item["spec"]["template"]["metadata"]["annotations"] = {"rightsizer.dev/mode": "Ignore", "other": "x"}
    assert parse_workload(DEPLOYMENTS, item).pod_annotations == {"rightsizer.dev/mode": "Ignore"}
