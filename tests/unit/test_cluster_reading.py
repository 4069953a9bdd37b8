from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rightsizer.cluster import KubernetesCluster, Limits, connect, current_namespace
from rightsizer.errors import (
    ClusterBusy,
    ClusterError,
    ClusterForbidden,
    ClusterNotFound,
    ClusterStale,
    ClusterUnreachable,
)
from rightsizer.ports import Cluster
from rightsizer.workload import OwnerRef, WorkloadRef
from tests.api_objects import app_container, deployment, pod
from tests.api_server import ApiServer, Received, Reply, paged, refusal

DEPLOYMENTS = "/apis/apps/v1/deployments"
PODS = "/api/v1/pods"
MANY = ("a", "b", "shop", "z")


def in_namespace(namespace: str, plural: str = "deployments") -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/{plural}"


def listing_of(*items: dict[str, Any]) -> Reply:
    return Reply(body={"metadata": {}, "items": list(items)})


class Bench:
    """A cluster connected to a fake server, with its sleeps and its counted requests written down."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.server = server
        self.slept: list[float] = []
        self.counted: list[tuple[str, str, int]] = []
        self.on_sleep: Callable[[], None] = lambda: None
        self._folder = folder
        self._open: list[KubernetesCluster] = []

    def connect(self, **limits: Any) -> KubernetesCluster:
        cluster = connect(self.server.kubeconfig(self._folder), None, limits=Limits(**limits), on_request=self._count, sleep=self._sleep)
        self._open.append(cluster)
        return cluster

    def close(self) -> None:
        for cluster in self._open:
            cluster.close()

    def _count(self, verb: str, target: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.counted.append((verb, target, status))

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.on_sleep()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ApiServer() as server:
        bench = Bench(server, tmp_path)
        yield bench
        bench.close()


def test_request_names_the_client_and_its_credentials(bench: Bench) -> None:
    bench.server.on(
        "GET", "/api/v1/namespaces", listing_of({"metadata": {"name": "shop", "annotations": {"a": "b"}, "labels": {"team": "a"}}})
    )
    port: Cluster = bench.connect()
    (namespace,) = port.namespaces()
    assert (namespace.name, namespace.annotations, namespace.labels) == ("shop", {"a": "b"}, {"team": "a"})
    (received,) = bench.server.received
    assert received.headers["authorization"] == "Bearer secret"
    assert received.headers["User-Agent"].startswith("rightsizer/")
    assert "PartialObjectMetadataList" in received.headers["Accept"]
    assert bench.counted == [("list", "namespaces", 200)]


def test_long_list_is_read_in_pages(bench: Bench) -> None:
    bench.server.on("GET", DEPLOYMENTS, paged([deployment(f"d{number}") for number in range(1203)]))
    listing = bench.connect().workloads(["Deployment"], MANY)
    assert [workload.ref.name for workload in listing.items] == [f"d{number}" for number in range(1203)]
    assert [received.query for received in bench.server.received] == [
        {"limit": "500"},
        {"limit": "500", "continue": "500"},
        {"limit": "500", "continue": "1000"},
    ]


def test_list_whose_token_expired_is_started_again(bench: Bench) -> None:
    pages = paged([deployment(f"d{number}") for number in range(600)])
    bench.server.on("GET", DEPLOYMENTS, pages, refusal(410, "The provided continue parameter is too old"), pages)
    listing = bench.connect().workloads(["Deployment"], MANY)
    assert len(listing.items) == len({workload.ref for workload in listing.items}) == 600
    assert bench.slept == []


def test_list_whose_token_expires_again_gives_up(bench: Bench) -> None:
    bench.server.on("GET", DEPLOYMENTS, refusal(410, "too old"))
    with pytest.raises(ClusterStale):
        bench.connect().workloads(["Deployment"], MANY)
    assert len(bench.server.received) == 2


def test_few_namespaces_are_asked_one_by_one(bench: Bench) -> None:
    for namespace in ("a", "b", "c"):
        bench.server.on("GET", in_namespace(namespace), listing_of(deployment(namespace=namespace)))
    listing = bench.connect().workloads(["Deployment"], ["a", "b", "c", "a"])
    assert [workload.ref.namespace for workload in listing.items] == ["a", "b", "c"]
    assert len(bench.server.received) == 3


def test_many_namespaces_are_one_list_without_the_others(bench: Bench) -> None:
    bench.server.on("GET", DEPLOYMENTS, listing_of(deployment(namespace="shop"), deployment(namespace="kube-system")))
    listing = bench.connect().workloads(["Deployment"], MANY)
    assert [workload.ref.namespace for workload in listing.items] == ["shop"]
    assert len(bench.server.received) == 1


def test_no_namespace_is_no_request(bench: Bench) -> None:
    assert bench.connect().workloads(["Deployment", "DaemonSet"], []).items == ()
    assert bench.server.received == []


def test_kinds_are_read_one_after_the_other(bench: Bench) -> None:
    bench.server.on("GET", in_namespace("shop"), listing_of(deployment()))
    bench.server.on("GET", in_namespace("shop", "statefulsets"), listing_of(deployment("db")))
    bench.server.on("GET", in_namespace("shop", "daemonsets"), listing_of(deployment("agent", status={})))
    listing = bench.connect().workloads(["Deployment", "StatefulSet", "DaemonSet"], ["shop"])
    assert [str(workload.ref) for workload in listing.items] == ["Deployment/web", "StatefulSet/db", "DaemonSet/agent"]


def test_list_refused_for_the_cluster_is_asked_by_namespace_and_one_that_is_refused_is_told(bench: Bench) -> None:
    bench.server.on("GET", DEPLOYMENTS, refusal(403, "deployments.apps is forbidden"))
    for namespace in ("a", "shop", "z"):
        bench.server.on("GET", in_namespace(namespace), listing_of(deployment(namespace=namespace)))
    bench.server.on("GET", in_namespace("b"), refusal(403, 'in the namespace "b"'))
    listing = bench.connect().workloads(["Deployment"], MANY)
    assert [workload.ref.namespace for workload in listing.items] == ["a", "shop", "z"]
    assert list(listing.failed) == ["b"]
    assert isinstance(listing.failed["b"], ClusterForbidden)
    assert 'in the namespace "b"' in str(listing.failed["b"])
    assert bench.slept == []


def test_429_on_one_namespace_leaves_the_others(bench: Bench) -> None:
    bench.server.on("GET", in_namespace("a"), refusal(429, "slow down"))
    bench.server.on("GET", in_namespace("b"), listing_of(deployment(namespace="b")))
    listing = bench.connect().workloads(["Deployment"], ["a", "b"])
    assert len(listing.items) == 1
    assert isinstance(listing.failed["a"], ClusterBusy)


def test_trouble_in_one_namespace_leaves_the_others(bench: Bench) -> None:
    bench.server.on("GET", in_namespace("a"), refusal(500, "etcd"))
    bench.server.on("GET", in_namespace("b"), listing_of(deployment(namespace="b")))
    bench.server.on("GET", in_namespace("c"), refusal(500, "etcd"))
    assert sorted(bench.connect().workloads(["Deployment"], ["a", "b", "c"]).failed) == ["a", "c"]


def test_trouble_in_two_namespaces_running_is_that_of_the_server(bench: Bench) -> None:
    for namespace in ("a", "b", "c"):
        bench.server.on("GET", in_namespace(namespace), refusal(500, "etcd"))
    with pytest.raises(ClusterUnreachable):
        bench.connect(attempts=2).workloads(["Deployment"], ["a", "b", "c"])
    assert [received.path for received in bench.server.received] == [in_namespace("a")] * 2 + [in_namespace("b")] * 2


def test_workload_with_an_unreadable_quantity_is_left_out(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    odd = deployment("odd", containers=[app_container(requests={"cpu": "lots"})])
    bench.server.on("GET", in_namespace("shop"), listing_of(odd, deployment()))
    listing = bench.connect().workloads(["Deployment"], ["shop"])
    assert [workload.ref.name for workload in listing.items] == ["web"]
    assert "shop/odd is left out" in caplog.text


def test_pods(bench: Bench) -> None:
    bench.server.on("GET", PODS, listing_of(pod(), pod("lonely", owner=None), pod(namespace="other")))
    assert [found.name for found in bench.connect().pods(MANY).items] == ["web-7d4b9c6f5-x2x4z", "lonely"]


def test_owners_of_replica_sets(bench: Bench) -> None:
    bench.server.on("GET", "/apis/apps/v1/replicasets", refusal(403))
    for namespace in ("a", "z"):
        bench.server.on("GET", in_namespace(namespace, "replicasets"), refusal(403))
    bench.server.on("GET", in_namespace("b", "replicasets"), listing_of(pod("bare", namespace="b", owner=None)))
    bench.server.on("GET", in_namespace("shop", "replicasets"), listing_of(pod("web-7d4b9c6f5", owner=("Deployment", "web"))))
    assert bench.connect().replica_set_owners(MANY) == {("shop", "web-7d4b9c6f5"): OwnerRef("Deployment", "web")}


def autoscaler() -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"scaleTargetRef": target}}


def test_autoscalers(bench: Bench) -> None:
    bench.server.on("GET", "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers", listing_of(autoscaler()))
    (found,) = bench.connect().autoscalers(["shop"]).items
    assert found.target == WorkloadRef("shop", "Deployment", "web")


@pytest.mark.parametrize("namespaces", [("shop",), MANY])
def test_cluster_without_autoscaling_has_no_autoscalers(bench: Bench, namespaces: tuple[str, ...]) -> None:
    listing = bench.connect().autoscalers(namespaces)
    assert (listing.items, listing.failed) == ((), {})


def test_autoscalers_of_a_namespace_that_is_refused_are_told(bench: Bench) -> None:
    bench.server.on("GET", "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers", refusal(403))
    assert list(bench.connect().autoscalers(["shop"]).failed) == ["shop"]


def test_profiles_without_the_custom_resource_are_not_found(bench: Bench) -> None:
    with pytest.raises(ClusterNotFound):
        bench.connect().profiles()


def test_profiles_keep_their_status(bench: Bench) -> None:
    metadata = {
        "name": "web",
        "namespace": "shop",
        "uid": "u",
        "resourceVersion": "1",
        "generation": 3,
        "creationTimestamp": "2026-01-31T08:00:00Z",
    }
    manifest = {
        "apiVersion": "rightsizer.dev/v1alpha1",
        "kind": "ResourceProfile",
        "metadata": metadata,
        "spec": {},
        "status": {"observedGeneration": 2},
    }
    bench.server.on("GET", "/apis/rightsizer.dev/v1alpha1/resourceprofiles", listing_of(manifest))
    (profile,) = bench.connect().profiles()
    assert (profile.namespace, profile.name, profile.generation, profile.status) == ("shop", "web", 3, {"observedGeneration": 2})


CLUSTER_PROFILES = "/apis/rightsizer.dev/v1alpha1/clusterresourceprofiles"


def test_cluster_wide_profiles(bench: Bench) -> None:
    """Whether or not the items of the list say what they are."""
    spec = {"namespaceSelector": {"matchLabels": {"team": "a"}}}
    bench.server.on("GET", "/apis/rightsizer.dev/v1alpha1/resourceprofiles", listing_of())
    named = {"kind": "ClusterResourceProfile", "metadata": {"name": "named", "uid": "u"}, "spec": spec}
    bench.server.on("GET", CLUSTER_PROFILES, listing_of(named, {"metadata": {"name": "bare", "uid": "v"}, "spec": spec}))
    found = bench.connect().profiles()
    assert [(one.name, one.cluster_wide, one.problems) for one in found] == [("named", True, ()), ("bare", True, ())]
    assert [one.covers("shop", {"team": "a"}) for one in found] == [True, True]


def test_cluster_wide_profiles_whose_definition_is_missing_are_none(bench: Bench) -> None:
    bench.server.on("GET", "/apis/rightsizer.dev/v1alpha1/resourceprofiles", listing_of())
    bench.server.on("GET", CLUSTER_PROFILES, refusal(404))
    assert bench.connect().profiles() == ()


def test_cluster_wide_profiles_that_may_not_be_read_are_not_taken_for_none(bench: Bench) -> None:
    bench.server.on("GET", "/apis/rightsizer.dev/v1alpha1/resourceprofiles", listing_of())
    bench.server.on("GET", CLUSTER_PROFILES, refusal(403))
    with pytest.raises(ClusterForbidden):
        bench.connect().profiles()


def test_recommendations(bench: Bench) -> None:
    item = {
        "metadata": {"name": "deployment-web", "namespace": "shop"},
        "spec": {"workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "profileRef": {"name": "web"}},
    }
    bench.server.on("GET", "/apis/rightsizer.dev/v1alpha1/resourcerecommendations", listing_of(item))
    (found,) = bench.connect().recommendations()
    assert (found.workload, found.name, found.status) == (WorkloadRef("shop", "Deployment", "web"), "deployment-web", {})


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        pytest.param(refusal(429, "slow down"), ClusterBusy, id="429"),
        pytest.param(refusal(500, "etcd leader changed"), ClusterUnreachable, id="500"),
        pytest.param(refusal(503, "starting"), ClusterUnreachable, id="503"),
        pytest.param(Reply(502, b"<html>Bad Gateway</html>"), ClusterUnreachable, id="HTML of a proxy"),
        pytest.param(Reply(200, b'{"items": ['), ClusterUnreachable, id="half a JSON"),
        pytest.param(Reply(200, b"<html>welcome</html>"), ClusterUnreachable, id="garbage with 200"),
        pytest.param(Reply(200, b"[]"), ClusterUnreachable, id="no object"),
        pytest.param(Reply(0), ClusterUnreachable, id="connection closed without an answer"),
        pytest.param(Reply(delay_seconds=0.4), ClusterUnreachable, id="no answer in time"),
    ],
)
def test_passing_trouble_is_tried_again_and_told_when_it_stays(bench: Bench, trouble: Reply, expected: type[ClusterError]) -> None:
    cluster = bench.connect(attempts=2, read_seconds=0.15)
    bench.server.on("GET", PODS, trouble, listing_of(pod()))
    assert len(cluster.pods(MANY).items) == 1
    assert (len(bench.slept), len(bench.server.received)) == (1, 2)
    bench.server.on("GET", PODS, trouble)
    with pytest.raises(expected, match=f"list {PODS}"):
        cluster.pods(MANY)
    assert (len(bench.slept), len(bench.server.received)) == (2, 4)


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        (refusal(401, "Unauthorized"), ClusterForbidden),
        (Reply(403, b"not even JSON"), ClusterForbidden),
        (refusal(404, "the server could not find the requested resource"), ClusterNotFound),
    ],
)
def test_refusal_is_not_tried_again(bench: Bench, refused: Reply, expected: type[ClusterError]) -> None:
    bench.server.on("GET", "/api/v1/namespaces", refused)
    with pytest.raises(expected):
        bench.connect().namespaces()
    assert (bench.slept, len(bench.server.received)) == ([], 1)


def test_retry_after_is_obeyed_up_to_a_bound(bench: Bench) -> None:
    def busy(seconds: str) -> Reply:
        return refusal(429, headers={"Retry-After": seconds})

    bench.server.on("GET", PODS, busy("3"), busy("3600"), busy("Sat, 31 Jan 2026 08:00:00 GMT"), listing_of())
    bench.connect(first_pause_seconds=0.5, longest_retry_after_seconds=15).pods(MANY)
    three, bounded, without = bench.slept
    assert 3 <= three <= 3.5
    assert 15 <= bounded <= 15.5
    assert 1 <= without <= 2


def test_server_that_was_away_is_found_again(bench: Bench) -> None:
    bench.server.on("GET", PODS, listing_of(pod()))
    cluster = bench.connect()
    assert len(cluster.pods(MANY).items) == 1
    bench.server.stop()
    bench.on_sleep = lambda: bench.server.start() if len(bench.slept) == 2 else None
    assert len(cluster.pods(MANY).items) == 1
    assert bench.counted == [("list", "pods", 200), ("list", "pods", 0), ("list", "pods", 0), ("list", "pods", 200)]


def test_server_that_stays_away_is_told(bench: Bench) -> None:
    cluster = bench.connect()
    bench.server.stop()
    with pytest.raises(ClusterUnreachable, match="refused"):
        cluster.pods(MANY)
    assert bench.counted == [("list", "pods", 0)] * 4


def test_answer_that_breaks_off_is_tried_again(bench: Bench) -> None:
    def cut(received: Received) -> Reply:
        return Reply(200, b'{"items": []', headers={"Content-Length": "4000"})

    bench.server.on("GET", PODS, cut, listing_of(pod()))
    assert len(bench.connect().pods(MANY).items) == 1


@pytest.mark.parametrize(
    ("attempt", "share", "expected"), [(1, 0.0, 0.25), (1, 1.0, 0.5), (2, 1.0, 1.0), (4, 1.0, 4.0), (5, 1.0, 8.0), (60, 1.0, 8.0)]
)
def test_pauses_double_up_to_a_bound_and_half_is_random(attempt: int, share: float, expected: float) -> None:
    assert Limits().pause(attempt, retry_after_seconds=None, share=share) == expected


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "clusters: {",
        "apiVersion: v1\nkind: Config\n",
        "garbage",
        "[1, 2]",
        "5",
        "current-context: here\ncontexts: here\n",
        "current-context: here\ncontexts: [here]\nclusters: 5\n",
        "current-context: here\ncontexts: [{name: here, context: there}]\nclusters: [{name: there, cluster: 7}]\n",
        b"\xff\xfe\x00garbage",
    ],
)
@pytest.mark.parametrize("use", [connect, current_namespace])
def test_kubeconfig_that_cannot_be_used_is_told_by_its_name(
    tmp_path: Path, content: str | bytes | None, use: Callable[..., object]
) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ClusterUnreachable, match=f"no access to a cluster by the kubeconfig {re.escape(str(path))}: "):
        use(str(path), None)


def test_context_that_is_not_there_is_told(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ClusterUnreachable, match="elsewhere"):
        connect(bench.server.kubeconfig(tmp_path), "elsewhere")


def test_pod_without_its_token_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(ClusterUnreachable, match="token"):
        connect(None, None)


@pytest.mark.parametrize("collecting", [True, False])
def test_reading_leaves_the_garbage_collector_as_it_was(bench: Bench, collecting: bool) -> None:
    bench.server.on("GET", PODS, Reply(200, b"{"), listing_of(pod()))
    cluster = bench.connect()
    before = gc.isenabled()
    (gc.enable if collecting else gc.disable)()
    try:
        cluster.pods(MANY)
        assert gc.isenabled() is collecting
    finally:
        (gc.enable if before else gc.disable)()
